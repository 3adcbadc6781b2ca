// What an author wrote, for explanations: the rule's object in its manifest, its peer in a few
// words, and what an end has of what the peer asks for.
//
//   from: [{ podSelector: { matchLabels: { app: api } } }]  ─►  "app=api", "it has app=web"
import type { Origin } from "../model/rule.ts";
import type { Manifest, Snapshot } from "../model/snapshot.ts";
import type { Words } from "./condition.ts";
import type { FlowEnd } from "./types.ts";

type Fields = Record<string, unknown>;

/** Policies and profiles by what reports call them: "NetworkPolicy shop/db". */
export class Authors {
  private readonly byKey = new Map<string, Manifest>();

  constructor(private readonly snapshot: Snapshot) {
    for (const manifest of [...snapshot.policies, ...snapshot.profiles]) {
      const { kind, namespace, name, apiVersion } = manifest;
      const of = namespace === "" ? name : `${namespace}/${name}`;
      // Calico's and Kubernetes' kind of one name: reports tell them apart as kubectl does.
      const group = apiVersion.split("/")[0]!.replace(/^crd\./, "");
      this.byKey.set(`${kind}.${group} ${of}`, manifest);
      if (group !== "projectcalico.org" || !this.byKey.has(`${kind} ${of}`)) {
        this.byKey.set(`${kind} ${of}`, manifest);
      }
    }
  }

  manifest(policy: string): Manifest | undefined {
    return this.byKey.get(policy);
  }

  /** Words for the ends that a rule asks about; ends that it doesn't ask about are left out. */
  words(policy: string, origin: Origin | undefined, from: FlowEnd, to: FlowEnd): Words {
    const rule = fieldsAt(this.byKey.get(policy)?.value["spec"], origin?.path ?? "");
    if (!rule) return {};
    const words: Words = {};
    const source = fieldsAt(rule, "source"), destination = fieldsAt(rule, "destination");
    if (source || destination) {
      const ends = [["source", source, from], ["destination", destination, to]] as const;
      for (const [side, entity, end] of ends) {
        const text = entity && entityText(entity);
        if (text) words[side] = { text, has: this.has(end, text) };
      }
      return words;
    }
    const peer = fieldsAt(rule, origin?.peer ?? "");
    if (!peer || origin?.peer === undefined) return {};
    const [side, end] = origin.peer.startsWith("from")
      ? ["source", from] as const : ["destination", to] as const;
    const text = peerText(peer);
    if (text) words[side] = { text, has: this.has(end, text) };
    return words;
  }

  /** What an end has of the labels that a text names; its address where it has no labels. */
  private has(end: FlowEnd, text: string): string {
    if (end.kind !== "pod") return `address ${end.address}`;
    const { namespace, labels } = end.pod;
    const spaces = this.snapshot.namespaces.get(namespace)?.labels ?? {};
    const named = (all: Record<string, string>): string[] => Object.entries(all)
      .filter(([key]) => mentions(text, key)).map(([key, value]) => `${key}=${value}`);
    const own = named(labels);
    const theirs = /namespace/.test(text) ? named(spaces) : [];
    const found = [...own, ...theirs.map((each) => `namespace ${each}`)];
    if (/^\d|:|^address/.test(text) && found.length === 0) return `address ${end.address}`;
    if (found.length) return found.join(", ");
    const all = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    const most = all.slice(0, 3).join(", ") + (all.length > 3 ? " …" : "");
    return `${all.length === 0 ? "no labels" : most}, namespace ${namespace}`;
  }
}

function mentions(text: string, key: string): boolean {
  const at = text.indexOf(key);
  if (at < 0) return false;
  const around = (text[at - 1] ?? " ") + (text[at + key.length] ?? " ");
  return !/[\w./-]/.test(around);
}

/** What stands at "ingress[0].from[1]" below an object. */
function fieldsAt(from: unknown, path: string): Fields | undefined {
  let at: unknown = from;
  for (const step of path.match(/[^.[\]]+/g) ?? []) {
    if (typeof at !== "object" || at === null) return undefined;
    at = (at as Fields)[step];
  }
  return typeof at === "object" && at !== null ? at as Fields : undefined;
}

/** A peer of Kubernetes' policies. */
function peerText(peer: Fields): string {
  const block = fieldsAt(peer, "ipBlock");
  if (block) {
    const except = block["except"] as string[] | undefined;
    return String(block["cidr"]) + (except?.length ? ` except ${except.join(", ")}` : "");
  }
  const networks = peer["networks"];
  if (Array.isArray(networks)) return networks.join(", ");
  const inside = fieldsAt(peer, "pods") ?? peer;
  const parts: string[] = [];
  const spaces = fieldsAt(inside, "namespaceSelector") ?? fieldsAt(peer, "namespaces");
  const pods = fieldsAt(inside, "podSelector"), nodes = fieldsAt(peer, "nodes");
  if (spaces) parts.push(`namespace ${labelsText(spaces)}`);
  if (pods) parts.push(labelsText(pods));
  if (nodes) parts.push(`nodes ${labelsText(nodes)}`);
  return parts.join(" and ");
}

/** A metav1.LabelSelector. */
function labelsText(selector: Fields): string {
  const labels = Object.entries(fieldsAt(selector, "matchLabels") ?? {})
    .map(([key, value]) => `${key}=${String(value)}`);
  const expressions = selector["matchExpressions"];
  const more = (Array.isArray(expressions) ? expressions as Fields[] : []).map((each) => {
    const key = String(each["key"]), operator = String(each["operator"]);
    if (operator === "Exists") return key;
    if (operator === "DoesNotExist") return `no ${key}`;
    const values = (each["values"] as string[] | undefined ?? []).join(", ");
    return `${key} ${operator === "In" ? "in" : "not in"} (${values})`;
  });
  return [...labels, ...more].join(", ") || "any";
}

/** A source or destination of Calico's rules, without its ports. */
function entityText(entity: Fields): string {
  const parts: string[] = [];
  const list = (name: string): string => (entity[name] as string[]).join(", ");
  if (entity["selector"]) parts.push(String(entity["selector"]));
  if (entity["notSelector"]) parts.push(`not (${String(entity["notSelector"])})`);
  if (entity["namespaceSelector"]) parts.push(`namespace ${String(entity["namespaceSelector"])}`);
  if (entity["nets"]) parts.push(list("nets"));
  if (entity["notNets"]) parts.push(`none of ${list("notNets")}`);
  const accounts = fieldsAt(entity, "serviceAccounts");
  if (accounts) {
    const names = (accounts["names"] as string[] | undefined ?? []).join(", ");
    parts.push(`service account ${names || String(accounts["selector"] ?? "")}`);
  }
  const service = fieldsAt(entity, "services");
  if (service) {
    parts.push(`service ${String(service["namespace"] ?? "")}/${String(service["name"])}`);
  }
  return parts.join(" and ");
}
