// Policies of a cluster's administrators (policy.networking.k8s.io) in Calico's terms:
//
//   ClusterNetworkPolicy (v1alpha2)   tier Admin → kube-admin, Baseline → kube-baseline
//   AdminNetworkPolicy (v1alpha1)     kube-admin          order = priority
//   BaselineAdminNetworkPolicy        kube-baseline
//
// Both tiers pass at their end, so that a direction without rules is no policy's. One rule for each
// protocol of ports and each peer. Domain names are not known here: as peers of Accept they match
// nothing; a Deny or Pass that cannot be read whole denies all (fail closed).
// Source: kubernetes-sigs/network-policy-api apis/v1alpha{1,2};
// projectcalico libcalico-go/lib/backend/k8s/conversion (clusternetworkpolicy.go).
import type { Rule } from "../model/rule.ts";
import type { Manifest } from "../model/snapshot.ts";
import { anyEntity, prefixedText, type Entity } from "./entity.ts";
import { fields, listAt, numberAt, objectAt, textAt, type Fields, type Path } from "./field.ts";
import { byProtocol, podsOf, type ProtocolPorts } from "./kubernetes.ts";
import { NAMESPACE_LABEL, NAMESPACE_PREFIX } from "./label.ts";
import { ADMIN_TIER, BASELINE_TIER, plainPolicy, type PolicySpec } from "./policy.ts";
import { parsePort, parseProtocol, portRange, type PortMatch } from "./port.ts";
import { Reader } from "./reader.ts";
import { originOf, type Report } from "./report.ts";
import type { RuleSpec } from "./rule.ts";
import { Selector } from "./selector/selector.ts";

const TIERS: Record<string, string> = { Admin: ADMIN_TIER, Baseline: BASELINE_TIER };
const ACTIONS: Record<string, Rule["action"]> = {
  Accept: "allow", Allow: "allow", Deny: "deny", Pass: "pass",
};
/** Of the one BaselineAdminNetworkPolicy, which has no priority. */
const BASELINE_ORDER = 1000;

/** Undefined where an error was found. */
export function clusterPolicy(manifest: Manifest, report: Report): PolicySpec | undefined {
  const reader = new Reader(manifest, report);
  const policy: PolicySpec = {
    ...plainPolicy(manifest, `Kubernetes${manifest.kind}`),
    tier: tierOf(reader),
    order: numberAt(reader.spec, "priority") ?? BASELINE_ORDER,
    selector: subjectOf(reader),
    inbound: rulesOf(reader, "ingress"),
    outbound: rulesOf(reader, "egress"),
  };
  policy.ingress = policy.inbound.length > 0;
  policy.egress = policy.outbound.length > 0;
  return reader.failed ? undefined : policy;
}

function tierOf(reader: Reader): string {
  if (reader.manifest.kind === "AdminNetworkPolicy") return ADMIN_TIER;
  if (reader.manifest.kind === "BaselineAdminNetworkPolicy") return BASELINE_TIER;
  const name = textAt(reader.spec, "tier");
  if (!(name in TIERS)) reader.error(["spec", "tier"], `tier: "${name}": Admin or Baseline`);
  return TIERS[name] ?? ADMIN_TIER;
}

function subjectOf(reader: Reader): string {
  const subject = objectAt(reader.spec, "subject");
  const path = ["spec", "subject"];
  if (!fields(subject["namespaces"]) && !fields(subject["pods"])) {
    reader.error(path, "subject: namespaces or pods");
  }
  const { selector, namespaceSelector } = fields(subject["namespaces"])
    ? {
        ...namespacesOf(reader, subject, path),
        selector: reader.labelSelector(undefined, "pods", path),
      }
    : podsOf(reader, subject["pods"], [...path, "pods"]);
  if (reader.failed) return "";
  return `(${selector}) && ${prefixedText(namespaceSelector, NAMESPACE_PREFIX)}`
    .replaceAll("all()", `has(${NAMESPACE_LABEL})`);
}

function rulesOf(reader: Reader, direction: "ingress" | "egress"): RuleSpec[] {
  const peersName = direction === "ingress" ? "from" : "to";
  return listAt(reader.spec, direction).flatMap((value, i) => {
    const rule = fields(value) ?? {};
    const path = ["spec", direction, i];
    const name = textAt(rule, "action");
    const action = ACTIONS[name];
    if (!action) {
      reader.error([...path, "action"], `"${name}": Accept (Allow before v1alpha2), Deny or Pass`);
      return [];
    }
    const peers: [Path, Entity][] = [];
    let unknown = false;
    const written = listAt(rule, peersName);
    if (written.length === 0) reader.error([...path, peersName], `${peersName}: needs a peer`);
    written.forEach((peer, at) => {
      const entity = peerOf(reader, fields(peer) ?? {}, action, [...path, peersName, at]);
      if (entity) peers.push([[peersName, at], entity]);
      else unknown = true;
    });
    if (unknown && action !== "allow") {
      const origin = originOf(reader.manifest, path);
      return [{ action: "deny", source: anyEntity(), destination: anyEntity(), origin }];
    }
    return portsOf(reader, rule, path).flatMap(({ protocol, ports }) => {
      return peers.map(([peerPath, peer]): RuleSpec => {
        const origin = originOf(reader.manifest, path, peerPath);
        const base = { action, origin, ...(protocol === undefined ? {} : { protocol }) };
        return direction === "ingress"
          ? { ...base, source: peer, destination: { ...anyEntity(), ports } }
          : { ...base, source: anyEntity(), destination: { ...peer, ports } };
      });
    });
  });
}

function peerOf(
  reader: Reader, peer: Fields, action: Rule["action"], path: Path,
): Entity | undefined {
  if (fields(peer["namespaces"])) return namespacesOf(reader, peer, path);
  if (fields(peer["pods"])) return podsOf(reader, peer["pods"], [...path, "pods"]);
  if (fields(peer["nodes"])) {
    const text = reader.labelSelector(peer["nodes"], "nodes", [...path, "nodes"]);
    const nodes = reader.attempt([...path, "nodes"], () => Selector.parse(text));
    return nodes ? { ...anyEntity(), nodes } : anyEntity();
  }
  if (listAt(peer, "networks").length > 0) {
    return { ...anyEntity(), nets: reader.nets(peer, "networks", path) };
  }
  const domains = listAt(peer, "domainNames").length > 0;
  const what = domains ? "domainNames: names are not resolved" : "no known kind of peer";
  const consequence = action === "allow" ? "the peer matches nothing" : "the rule denies all";
  reader.warning(domains ? [...path, "domainNames"] : path, `${what}: ${consequence}`);
  return undefined;
}

function namespacesOf(reader: Reader, from: Fields, path: Path): Entity {
  const at = [...path, "namespaces"];
  return {
    ...anyEntity(),
    namespaceSelector: reader.labelSelector(objectAt(from, "namespaces"), "namespaces", at),
  };
}

/** `protocols` of v1alpha2, `ports` of v1alpha1; none = any. */
function portsOf(reader: Reader, rule: Fields, path: Path): ProtocolPorts[] {
  const protocols = listAt(rule, "protocols");
  const ports = listAt(rule, "ports");
  if (protocols.length + ports.length === 0) return [{ ports: [] }];
  return byProtocol([
    ...protocols.flatMap((value, i) => protocolOf(reader, fields(value) ?? {}, [
      ...path, "protocols", i,
    ])),
    ...ports.flatMap((value, i) => portOf(reader, fields(value) ?? {}, [...path, "ports", i])),
  ]);
}

type Match = [string, PortMatch | undefined];

function protocolOf(reader: Reader, from: Fields, path: Path): Match[] {
  const name = ["tcp", "udp", "sctp"].find((each) => fields(from[each]));
  if (name !== undefined) {
    const port = fields(objectAt(from, name)["destinationPort"]);
    return matchOf(reader, [...path, name, "destinationPort"], name, () => {
      const range = fields(port?.["range"]);
      if (range) return portRange(numberAt(range, "start") ?? NaN, numberAt(range, "end") ?? NaN);
      return port ? parsePort(port["number"]) : undefined;
    });
  }
  return matchOf(reader, path, "", () => {
    return parsePort(textAt(from, "destinationNamedPort") || undefined);
  });
}

function portOf(reader: Reader, from: Fields, path: Path): Match[] {
  const number = fields(from["portNumber"]);
  const range = fields(from["portRange"]);
  if (number) {
    const protocol = textAt(number, "protocol") || "TCP";
    return matchOf(reader, path, protocol, () => parsePort(number["port"]));
  }
  if (range) {
    return matchOf(reader, path, textAt(range, "protocol") || "TCP", () => {
      return portRange(numberAt(range, "start") ?? NaN, numberAt(range, "end") ?? NaN);
    });
  }
  return matchOf(reader, path, "", () => parsePort(textAt(from, "namedPort") || undefined));
}

function matchOf(
  reader: Reader, path: Path, protocol: string, port: () => PortMatch | undefined,
): Match[] {
  const match = reader.attempt(path, (): Match => {
    return [protocol === "" ? "" : String(parseProtocol(protocol)), port()];
  });
  return match ? [match] : [];
}
