// Kubernetes' NetworkPolicy (and Calico's staged form of it) in Calico's terms: tier default,
// order 1,000; one rule for each protocol of `ports` and each peer, ports merged into ranges.
//
// Without policyTypes: ingress, and egress where there are egress rules (the API server's default;
// of the staged form none is made, and Felix takes ingress alone). A peer with no namespaceSelector
// is of the policy's own namespace; pods of the host's network are in no peer.
// Source: networking.k8s.io/v1 NetworkPolicySpec;
// projectcalico libcalico-go/lib/backend/k8s/conversion (K8sNetworkPolicyToCalico).
import type { Protocol } from "../model/rule.ts";
import type { Manifest } from "../model/snapshot.ts";
import { anyEntity, type Entity } from "./entity.ts";
import { fields, listAt, numberAt, objectAt, textAt, textsAt, type Path } from "./field.ts";
import { NAMESPACE_LABEL } from "./label.ts";
import { networkText } from "./net.ts";
import { KUBERNETES_ORDER, plainPolicy, type PolicySpec } from "./policy.ts";
import { parsePort, parseProtocol, portRange, simplifyPorts, type PortMatch } from "./port.ts";
import { Reader } from "./reader.ts";
import { originOf, type Report } from "./report.ts";
import type { RuleSpec } from "./rule.ts";

const STAGED = "StagedKubernetesNetworkPolicy";

/** Undefined where an error was found, or where a staged deletion leaves nothing. */
export function kubernetesPolicy(manifest: Manifest, report: Report): PolicySpec | undefined {
  const reader = new Reader(manifest, report);
  const { spec } = reader;
  const staged = manifest.kind === STAGED;
  if (staged && textAt(spec, "stagedAction") === "Delete") return undefined;
  const types = textsAt(spec, "policyTypes");
  const none = types.length === 0;
  const egress = none ? !staged && listAt(spec, "egress").length > 0 : types.includes("Egress");
  const pods = reader.labelSelector(spec["podSelector"], "pods", ["spec", "podSelector"]);
  const policy: PolicySpec = {
    ...plainPolicy(manifest, staged ? STAGED : "KubernetesNetworkPolicy"),
    order: KUBERNETES_ORDER,
    staged,
    ingress: none || types.includes("Ingress"),
    egress,
    selector: `(${pods}) && ${NAMESPACE_LABEL} == '${manifest.namespace}'`,
    inbound: rulesOf(reader, "ingress"),
    outbound: rulesOf(reader, "egress"),
  };
  if (!none && !egress && policy.outbound.length > 0) {
    reader.warning(["spec", "egress"], "egress rules never run: policyTypes lacks Egress");
  }
  if (!policy.ingress && policy.inbound.length > 0) {
    reader.warning(["spec", "ingress"], "ingress rules never run: policyTypes lacks Ingress");
  }
  return reader.failed ? undefined : policy;
}

function rulesOf(reader: Reader, direction: "ingress" | "egress"): RuleSpec[] {
  const peersName = direction === "ingress" ? "from" : "to";
  return listAt(reader.spec, direction).flatMap((value, i) => {
    const rule = fields(value) ?? {};
    const path = ["spec", direction, i];
    const written = listAt(rule, peersName);
    const peers = written.map((peer, at): [Path, Entity] => {
      return [[peersName, at], peerOf(reader, peer, [...path, peersName, at])];
    });
    if (peers.length === 0) peers.push([[], anyEntity()]);
    const rules: RuleSpec[] = [];
    for (const { protocol, ports } of protocolsOf(reader, listAt(rule, "ports"), path)) {
      for (const [peerPath, peer] of peers) {
        const origin = originOf(reader.manifest, path, peerPath);
        const base = { action: "allow" as const, origin, ...(protocol ? { protocol } : {}) };
        rules.push(direction === "ingress"
          ? { ...base, source: peer, destination: { ...anyEntity(), ports } }
          : { ...base, source: anyEntity(), destination: { ...peer, ports } });
      }
    }
    return rules;
  });
}

/** The ports of one protocol; no protocol and no ports = any. */
export interface ProtocolPorts {
  protocol?: Protocol;
  ports: PortMatch[];
}

/** In order of the protocols' names. A port without a number takes its protocol's others in. */
function protocolsOf(reader: Reader, ports: unknown[], path: Path): ProtocolPorts[] {
  if (ports.length === 0) return [{ ports: [] }];
  const matches = ports.map((value, i): [string, PortMatch | undefined] => {
    const port = fields(value) ?? {};
    const at = [...path, "ports", i];
    const protocol = reader.attempt([...at, "protocol"], () => {
      return String(parseProtocol(port["protocol"] ?? "TCP"));
    });
    const number = port["port"];
    if (number === undefined || number === null) return [protocol ?? "", undefined];
    const match = reader.attempt([...at, "port"], () => {
      const first = parsePort(number);
      const last = numberAt(port, "endPort");
      if (last === undefined) return first;
      if (first.name !== undefined) throw new Error(`endPort: "${first.name}" is no number`);
      return portRange(first.first, last);
    });
    return [protocol ?? "", match];
  });
  return byProtocol(matches);
}

/** Gathers ports by protocol ("" = none); one without a port takes all of its protocol. */
export function byProtocol(matches: [string, PortMatch | undefined][]): ProtocolPorts[] {
  const ports = new Map<string, PortMatch[] | undefined>();
  for (const [protocol, match] of matches) {
    const known = ports.get(protocol);
    if (match === undefined) ports.set(protocol, undefined);
    else if (known) known.push(match);
    else if (!ports.has(protocol)) ports.set(protocol, [match]);
  }
  return [...ports].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, list]) => ({
    ...(name === "" ? {} : { protocol: parseProtocol(name) }),
    ports: simplifyPorts(list ?? []),
  }));
}

function peerOf(reader: Reader, value: unknown, path: Path): Entity {
  const peer = fields(value) ?? {};
  const block = fields(peer["ipBlock"]);
  if (block) {
    const at = [...path, "ipBlock"];
    const net = reader.attempt([...at, "cidr"], () => networkText(textAt(block, "cidr")));
    const notNets = reader.nets(block, "except", at);
    return { ...anyEntity(), nets: net === undefined ? [] : [net], notNets };
  }
  if (!fields(peer["podSelector"]) && !fields(peer["namespaceSelector"])) {
    reader.error(path, "a peer is a podSelector, a namespaceSelector or an ipBlock");
  }
  const { podSelector: pods, namespaceSelector: namespaces } = peer;
  return {
    ...anyEntity(),
    selector: reader.labelSelector(pods, "pods", [...path, "podSelector"]),
    namespaceSelector: fields(namespaces)
      ? reader.labelSelector(namespaces, "namespaces", [...path, "namespaceSelector"])
      : "",
  };
}

/** Of a NamespacedPod (policy.networking.k8s.io): pods of namespaces. */
export function podsOf(reader: Reader, value: unknown, path: Path): Entity {
  const pods = fields(value) ?? {};
  const spaces = objectAt(pods, "namespaceSelector");
  return {
    ...anyEntity(),
    selector: reader.labelSelector(
      objectAt(pods, "podSelector"), "pods", [...path, "podSelector"],
    ),
    namespaceSelector: reader.labelSelector(
      spaces, "namespaces", [...path, "namespaceSelector"],
    ),
  };
}
