// Calico's own policies (projectcalico.org/v3 and crd.projectcalico.org/v1): GlobalNetworkPolicy,
// NetworkPolicy, StagedGlobalNetworkPolicy, StagedNetworkPolicy; and rules as profiles have them.
//
// Types left out: ingress alone without egress rules, egress alone without ingress rules, else both
// (v3: the API's default). The crd form bears what the datastore bears, where none means both.
// Source: projectcalico api/pkg/{apis/projectcalico/v3,defaults},
// libcalico-go/lib/backend/syncersv1/updateprocessors.
import type { IcmpMatch, Rule } from "../model/rule.ts";
import type { Manifest } from "../model/snapshot.ts";
import { prefixedText, type Entity } from "./entity.ts";
import {
  fields, flagAt, listAt, numberAt, objectAt, textAt, textsAt, type Fields, type Path,
} from "./field.ts";
import {
  NAMESPACE_LABEL, NAMESPACE_PREFIX, SERVICE_ACCOUNT_LABEL, SERVICE_ACCOUNT_PREFIX,
} from "./label.ts";
import { DEFAULT_TIER, plainPolicy, type PolicySpec } from "./policy.ts";
import { Reader } from "./reader.ts";
import { originOf, type Report } from "./report.ts";
import type { RuleSpec } from "./rule.ts";

const ACTIONS: Record<string, Rule["action"]> = {
  allow: "allow", deny: "deny", pass: "pass", "next-tier": "pass", log: "log",
};

/** Undefined where an error was found, or where a staged deletion leaves nothing. */
export function calicoPolicy(manifest: Manifest, report: Report): PolicySpec | undefined {
  const reader = new Reader(manifest, report);
  const { spec } = reader;
  const staged = manifest.kind.startsWith("Staged");
  if (staged && textAt(spec, "stagedAction") === "Delete") return undefined;
  const policy: PolicySpec = {
    ...plainPolicy(manifest, manifest.kind),
    tier: textAt(spec, "tier") || DEFAULT_TIER,
    order: numberAt(spec, "order") ?? Infinity,
    staged,
    inbound: calicoRules(reader, "ingress", manifest.namespace),
    outbound: calicoRules(reader, "egress", manifest.namespace),
    untracked: flagAt(spec, "doNotTrack"),
    preDnat: flagAt(spec, "preDNAT"),
    applyOnForward: flagAt(spec, "applyOnForward"),
    everywhere: textsAt(spec, "performanceHints").includes("AssumeNeededOnEveryNode"),
  };
  readTypes(reader, policy);
  checkPhases(reader, policy);
  const selector = reader.selector(spec, "selector", ["spec"]);
  const namespaces = reader.selector(spec, "namespaceSelector", ["spec"]);
  const accounts = reader.selector(spec, "serviceAccountSelector", ["spec"]);
  if (reader.failed) return undefined;
  policy.selector = subjectSelector(selector, manifest.namespace, namespaces, accounts);
  return policy;
}

/** Whom a policy is for; `namespace`: its own, "" of a cluster's. */
export function subjectSelector(
  selector: string, namespace: string, namespaces: string, accounts: string,
): string {
  return namespace === ""
    ? clusterSelector(selector, namespaces, accounts)
    : namespacedSelector(selector, namespace, accounts);
}

/** The rules of a policy's or a profile's direction. */
export function calicoRules(
  reader: Reader, direction: "ingress" | "egress", namespace: string,
): RuleSpec[] {
  return listAt(reader.spec, direction).flatMap((value, i) => {
    const rule = fields(value) ?? {};
    const path = ["spec", direction, i];
    const name = textAt(rule, "action");
    const action = ACTIONS[name.toLowerCase()];
    if (!action) reader.error([...path, "action"], `"${name}": Allow, Deny, Pass or Log`);
    if (fields(rule["http"])) {
      reader.warning([...path, "http"], "HTTP is not looked at: the rule holds whatever is asked");
    }
    const ipVersion = numberAt(rule, "ipVersion");
    const icmp = icmpOf(rule, "icmp");
    const notIcmp = icmpOf(rule, "notICMP");
    const protocol = reader.protocol(rule, "protocol", path);
    const notProtocol = reader.protocol(rule, "notProtocol", path);
    const spec: RuleSpec = {
      action: action ?? "deny",
      source: entityOf(reader, objectAt(rule, "source"), [...path, "source"], namespace),
      destination: entityOf(
        reader, objectAt(rule, "destination"), [...path, "destination"], namespace,
      ),
      origin: originOf(reader.manifest, path),
      ...(ipVersion === 4 || ipVersion === 6 ? { ipVersion } : {}),
      ...(protocol === undefined ? {} : { protocol }),
      ...(notProtocol === undefined ? {} : { notProtocol }),
      ...(icmp ? { icmp } : {}),
      ...(notIcmp ? { notIcmp } : {}),
    };
    return [spec];
  });
}

function entityOf(reader: Reader, from: Fields, path: Path, namespace: string): Entity {
  const accounts = fields(from["serviceAccounts"]);
  const service = fields(from["services"]);
  const entity: Entity = {
    selector: reader.selector(from, "selector", path),
    notSelector: reader.selector(from, "notSelector", path),
    namespaceSelector: reader.selector(from, "namespaceSelector", path),
    nets: reader.nets(from, "nets", path),
    notNets: reader.nets(from, "notNets", path),
    ports: reader.ports(from, "ports", path),
    notPorts: reader.ports(from, "notPorts", path),
  };
  if (accounts) {
    const selector = reader.selector(accounts, "selector", [...path, "serviceAccounts"]);
    entity.serviceAccounts = { names: textsAt(accounts, "names"), selector };
  }
  const name = textAt(service, "name");
  if (service && name !== "") {
    const within = textAt(service, "namespace") || namespace;
    if (within === "") reader.error([...path, "services"], "services: a namespace is needed");
    entity.service = { namespace: within, name };
  }
  return entity;
}

function icmpOf(rule: Fields, name: string): IcmpMatch | undefined {
  const match = fields(rule[name]);
  const type = numberAt(match, "type");
  if (type === undefined) return undefined;
  const code = numberAt(match, "code");
  return code === undefined ? { type } : { type, code };
}

function readTypes(reader: Reader, policy: PolicySpec): void {
  const types = textsAt(reader.spec, "types").map((type) => type.toLowerCase());
  const ingress = policy.inbound.length > 0;
  const egress = policy.outbound.length > 0;
  if (types.length > 0) {
    policy.ingress = types.includes("ingress");
    policy.egress = types.includes("egress");
  } else if (reader.manifest.apiVersion.startsWith("crd.")) {
    policy.ingress = policy.egress = true;
    if (!(ingress && egress)) {
      const other = ingress || !egress ? "egress" : "ingress";
      reader.warning(["spec"], "types: none are given, and in the crd.projectcalico.org form " +
        `that means both: ${other} is denied too; say types`);
    }
  } else {
    policy.ingress = ingress || !egress;
    policy.egress = egress;
  }
}

function checkPhases(reader: Reader, policy: PolicySpec): void {
  const { untracked, preDnat, applyOnForward } = policy;
  const phase = untracked ? "doNotTrack" : "preDNAT";
  if ((untracked || preDnat) && !applyOnForward) {
    const advice = "applyOnForward must be true with it; Calico refuses";
    reader.warning(["spec", phase], `${phase}: ${advice}`);
  }
  if (preDnat && policy.outbound.length > 0) {
    reader.warning(["spec", "egress"], "preDNAT: egress rules never run in that phase");
  }
}

function namespacedSelector(selector: string, namespace: string, accounts: string): string {
  const own = `${NAMESPACE_LABEL} == '${namespace}'`;
  return andPrefixed(
    selector === "" ? own : `(${selector}) && ${own}`, accounts, SERVICE_ACCOUNT_PREFIX,
  );
}

/** all() of namespaces and accounts is "bears one": the plain all() takes host endpoints too. */
function clusterSelector(selector: string, namespaces: string, accounts: string): string {
  let text = selector;
  if (namespaces !== "") {
    text = andPrefixed(text, namespaces, NAMESPACE_PREFIX)
      .replaceAll("all()", `has(${NAMESPACE_LABEL})`);
  }
  if (accounts !== "") {
    text = andPrefixed(text, accounts, SERVICE_ACCOUNT_PREFIX)
      .replaceAll("all()", `has(${SERVICE_ACCOUNT_LABEL})`);
  }
  return text;
}

function andPrefixed(selector: string, more: string, prefix: string): string {
  if (more === "") return selector;
  const text = prefixedText(more, prefix);
  return selector === "" ? text : `(${selector}) && ${text}`;
}
