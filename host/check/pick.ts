// Selectors that pick nothing of what the manifests show, and named ports that nobody serves. Not
// told of namespaces that a cluster has beside any repository (kube-system …).
import type { Calculator, Converted } from "../calc/calculate.ts";
import type { HostThing, PodThing } from "../calc/endpoint.ts";
import type { PolicySpec } from "../calc/policy.ts";
import type { SetDefinition } from "../calc/rule.ts";
import { didYouMean } from "../input/nearest.ts";
import { fieldFinding } from "../input/schema-issue.ts";
import type { Rule } from "../model/rule.ts";
import type { Finding, Snapshot } from "../model/snapshot.ts";
import { pathOf } from "./reach.ts";
import { namespaceNames, peerText, selectorText } from "./wording.ts";

/** Namespaces that the manifests of an application rarely hold. */
const SYSTEM = /^(kube-|calico-|tigera-|default$|ingress-|istio-|cert-manager$|monitoring$)/;
type PortSet = Extract<SetDefinition, { kind: "port" }>;

const WORLD_LABELS = ["kubernetes.io/metadata.name", "projectcalico.org/name"];

export function picksNothing(
  policy: PolicySpec, converted: Converted, snapshot: Snapshot, calculator: Calculator,
): Finding[] {
  const selected = converted.selects.flatMap(({ things }) => things)
    .filter((thing): thing is PodThing | HostThing => thing.kind !== "networks");
  if (selected.length === 0) return [selectsNobody(policy, snapshot)];
  const both = [
    ...converted.state.inbound.map((rule) => ({ rule, ingress: true })),
    ...converted.state.outbound.map((rule) => ({ rule, ingress: false })),
  ];
  const findings = both.flatMap(({ rule, ingress }) => [
    ...peersNobody(policy, rule, converted, snapshot, calculator),
    ...portsNobody(policy, rule, ingress, selected, converted, calculator),
  ]);
  const key = ({ line, column, field, message }: Finding): string => {
    return `${line}:${column} ${field} ${message}`;
  };
  return [...new Map(findings.map((each) => [key(each), each])).values()];
}

function selectsNobody({ manifest, namespace }: PolicySpec, snapshot: Snapshot): Finding {
  const spec = manifest.value["spec"] as Record<string, unknown> | undefined;
  const field = ["podSelector", "selector", "subject"].find((name) => spec?.[name] !== undefined);
  const where = namespace === "" ? "" : ` in ${namespace}`;
  const none = !snapshot.pods.some((pod) => namespace === "" || pod.namespace === namespace);
  const text = field === undefined ? "" : selectorText(spec![field]);
  const message = none ? `selects nothing: there are no pods${where}`
    : `selects no pod${where}${text === "" ? "" : `: none has ${text}`}`;
  return fieldFinding(manifest, ["spec", ...field === undefined ? [] : [field]], message,
    { severity: "warning" });
}

/** Sides of a rule whose selector picks nothing. */
function peersNobody(
  { manifest, namespace }: PolicySpec, rule: Rule, { sets }: Converted, snapshot: Snapshot,
  calculator: Calculator,
): Finding[] {
  return (["source", "destination"] as const).flatMap((side) => {
    const services = side === "destination" ? rule.destinationPortSets ?? [] : [];
    const empty = [...rule[`${side}Sets`] ?? [], ...services].map((id) => sets.get(id)!)
      .find((set) => calculator.members.set(set).members.size === 0);
    if (empty === undefined) return [];
    const { path, peer } = rule.origin!;
    const at = ["spec", ...pathOf(path), ...peer === undefined ? [side] : pathOf(peer)];
    const wanted = valueAt(manifest.value, at);
    const names = namespaceNames(wanted, WORLD_LABELS);
    if (names.some((name) => SYSTEM.test(name) && !hasPods(snapshot, name))) return [];
    const unknown = names.find((name) => !snapshot.namespaces.has(name));
    const message = unknown === undefined ? what(empty, wanted, namespace, snapshot)
      : `picks nothing: there is no namespace ${unknown}` +
        didYouMean(unknown, snapshot.namespaces.keys());
    return [fieldFinding(manifest, at, message, { severity: "warning" })];
  });
}

function hasPods(snapshot: Snapshot, namespace: string): boolean {
  return snapshot.pods.some((pod) => pod.namespace === namespace);
}

function what(
  set: SetDefinition, wanted: unknown, namespace: string, snapshot: Snapshot,
): string {
  if (set.kind === "service") {
    const known = snapshot.services.map((each) => `${each.namespace}/${each.name}`);
    return `picks nothing: ${known.includes(set.service)
      ? `Service ${set.service} has no endpoints here`
      : `there is no Service ${set.service}${didYouMean(set.service, known)}`}`;
  }
  if (set.kind === "nodes") return `picks no node: none has ${selectorText(wanted)}`;
  const { pods, namespaces } = peerText(wanted);
  if (namespaces === undefined) {
    const text = pods ?? selectorText(wanted);
    const where = namespace === "" ? "" : ` in ${namespace}`;
    if (pods === undefined) return `picks nothing${where}${text === "" ? "" : `: ${text}`}`;
    return `picks no pod: ${pods === "" ? `there are none${where}` : `none${where} has ${text}`}`;
  }
  const among = namespaces === "" ? "" : ` in namespaces with ${namespaces}`;
  return `picks no pod: ${pods ? `none has ${pods}` : "there are none"}${among}`;
}

/** Named ports: of who is selected (ingress), of whom it sends to (egress). */
function portsNobody(
  { manifest }: PolicySpec, rule: Rule, ingress: boolean, selected: (PodThing | HostThing)[],
  { sets }: Converted, calculator: Calculator,
): Finding[] {
  const ids = rule.destinationNamedPorts ?? [];
  return ids.map((id) => sets.get(id)!).flatMap((set) => {
    if (set.kind !== "port") return [];
    const serves = ingress
      ? selected.some(({ ports }) => ports.some((port) => {
        return port.name === set.port && ["any", port.protocol].includes(set.protocol);
      }))
      : calculator.members.set(set).members.size > 0;
    if (serves) return [];
    const who = ingress ? "no pod that it selects" : "nothing that it may send to";
    const protocol = set.protocol === "any" ? "" : `${set.protocol} `;
    const names = ingress ? [...new Set(selected.flatMap(({ ports }) => {
      return ports.map(({ name, port, protocol: of }) => `${name} (${port}/${of})`);
    }))] : [];
    const message = `${who} has a ${protocol}port named ${set.port}` +
      (names.length > 0 ? `; there are ${names.join(", ")}` : "");
    const path = ["spec", ...pathOf(rule.origin!.path)];
    return [fieldFinding(manifest, portPath(manifest.value, path, set), message,
      { severity: "warning" })];
  });
}

/** The entry below a rule that is this port name, or bears it with this protocol. */
function portPath(
  value: unknown, rule: (string | number)[], { port: name, protocol }: PortSet,
): (string | number)[] {
  const bears = (entry: unknown): boolean => {
    if (typeof entry !== "object" || entry === null) return entry === name;
    const { protocol: own } = entry as { protocol?: string };
    return Object.values(entry as object).includes(name) &&
      (own === undefined || protocol === "any" || own.toLowerCase() === protocol);
  };
  for (const list of [["ports"], ["protocols"], ["destination", "ports"]]) {
    const entries = valueAt(value, [...rule, ...list]);
    const i = Array.isArray(entries) ? entries.findIndex(bears) : -1;
    if (i >= 0) return [...rule, ...list, i];
  }
  return rule;
}

function valueAt(value: unknown, path: readonly (string | number)[]): unknown {
  return path.reduce((at: unknown, step) => {
    return (at as Record<string | number, unknown> | undefined)?.[step];
  }, value);
}
