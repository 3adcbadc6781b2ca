// Snapshots made by hand for tests of host/calc: objects as their authors write them, every field
// of a manifest at a place of its own, so that origins and findings can be told apart.
import { calculate, type CalculateOptions } from "../../../host/calc/calculate.ts";
import type { Rule } from "../../../host/model/rule.ts";
import type {
  Finding, Manifest, NodeObject, PodObject, Snapshot,
} from "../../../host/model/snapshot.ts";
import type { NodeState, TierState } from "../../../host/model/state.ts";

type Fields = Record<string, unknown>;
type Path = readonly (string | number)[];

/** Line: 10 for each step of the path, plus its numbers; column: length of the path. */
export function place(path: Path): { line: number; column: number } {
  const numbers = path.filter((step): step is number => typeof step === "number");
  const line = 1 + path.length * 10 + numbers.reduce((sum, number) => sum + number, 0);
  return { line, column: path.length + 1 };
}

/** An object as a manifest of FILE, "NAME.yaml" where it is not said. */
export function manifest(value: Fields, file?: string): Manifest {
  const metadata = value["metadata"] as { name: string; namespace?: string };
  return {
    apiVersion: value["apiVersion"] as string, kind: value["kind"] as string,
    namespace: metadata.namespace ?? "", name: metadata.name, value,
    file: file ?? `${metadata.name}.yaml`, line: 1, column: 1, at: place,
  };
}

export interface PodText {
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  serviceAccount?: string;
  node?: string;
  addresses?: string[];
  hostNetwork?: boolean;
  ready?: boolean;
  ports?: PodObject["ports"];
  manifest?: Manifest;
}

/** "shop/web", with an address, on node1, under the account default. */
export function pod(name: string, address: string, text: PodText = {}): PodObject {
  const [namespace, own] = name.split("/") as [string, string];
  return {
    namespace, name: own, labels: {}, annotations: {}, serviceAccount: "default", node: "node1",
    addresses: [address], hostNetwork: false, ready: true, ports: [], ...text,
  };
}

export function node(name: string, address: string, labels: Record<string, string> = {}):
NodeObject {
  return { name, labels, addresses: [address], interface: "eth0" };
}

const LISTS: Record<string, keyof Snapshot> = {
  Service: "services", EndpointSlice: "endpointSlices", Tier: "tiers", NetworkSet: "networkSets",
  GlobalNetworkSet: "globalNetworkSets", HostEndpoint: "hostEndpoints", Profile: "profiles",
  IPPool: "ipPools", FelixConfiguration: "felixConfigurations", ServiceCIDR: "serviceCIDRs",
};

export interface World {
  pods?: PodObject[];
  nodes?: NodeObject[];
  /** Labels by name; those that pods name are there anyway. */
  namespaces?: Record<string, Record<string, string>>;
  /** Labels by "namespace/name". */
  serviceAccounts?: Record<string, Record<string, string>>;
  /** Everything else, sorted by kind. */
  objects?: (Fields | Manifest)[];
}

export function snapshot(world: World): Snapshot {
  const labelled = (labels: Record<string, Record<string, string>> = {}) => new Map(
    Object.entries(labels).map(([name, own]) => [name, { labels: own, annotations: {} }]),
  );
  const empty: Snapshot = {
    namespaces: labelled(world.namespaces), serviceAccounts: labelled(world.serviceAccounts),
    nodes: world.nodes ?? [node("node1", "172.16.0.1")], pods: world.pods ?? [],
    services: [], endpointSlices: [], policies: [], tiers: [], networkSets: [],
    globalNetworkSets: [], hostEndpoints: [], profiles: [], ipPools: [], felixConfigurations: [],
    serviceCIDRs: [],
  };
  for (const object of world.objects ?? []) {
    const each = "at" in object ? (object as Manifest) : manifest(object);
    (empty[LISTS[each.kind] ?? "policies"] as Manifest[]).push(each);
  }
  return empty;
}

/** Kubernetes' NetworkPolicy "shop/db". */
export function networkPolicy(name: string, spec: Fields): Fields {
  return object("networking.k8s.io/v1", "NetworkPolicy", name, spec);
}

/** A kind of Calico's, "shop/db" or "db". */
export function calico(kind: string, name: string, spec: Fields, labels = {}): Fields {
  return object("projectcalico.org/v3", kind, name, spec, labels);
}

export function object(
  apiVersion: string, kind: string, name: string, spec: Fields, labels = {},
): Fields {
  const [own, namespace] = name.split("/").reverse() as [string, string | undefined];
  const metadata = { name: own, ...(namespace === undefined ? {} : { namespace }), labels };
  return { apiVersion, kind, metadata, spec };
}

/** The state of node1, without findings; they are returned beside it. */
export function calculated(world: World, node = "node1", options: CalculateOptions = {}): {
  state: NodeState; findings: Finding[];
} {
  const findings: Finding[] = [];
  const state = calculate(snapshot(world), node, { ...options, findings });
  return { state, findings };
}

/** Of a policy: its rules without their origins. */
export function bareRules(
  state: NodeState, key: string, direction: "inbound" | "outbound" = "inbound",
): Omit<Rule, "origin">[] {
  const policy = state.policies.get(key);
  if (!policy) throw new Error(`no ${key}; there are ${[...state.policies.keys()].join(", ")}`);
  return policy[direction].map(({ origin: _, ...rule }) => rule);
}

/** Members of the set that a rule names, or of the one set of the state. */
export function members(state: NodeState, id?: string): string[] {
  const sets = [...state.sets.values()];
  const set = id === undefined ? sets[0] : state.sets.get(id);
  if (!set || (id === undefined && sets.length > 1)) {
    throw new Error(`${id ?? "one set"}: there are ${[...state.sets.keys()].join(", ")}`);
  }
  return [...set.members].sort();
}

/** Lists of policies of a workload, "tier: ingress | egress". */
export function tierTexts(tiers: TierState[]): string[] {
  return tiers.map(({ name, defaultAction, ingress, egress }) => {
    return `${name} ${defaultAction}: ${ingress.join(", ")} | ${egress.join(", ")}`;
  });
}

/** "file:line severity field: message". */
export function findingTexts(findings: Finding[]): string[] {
  return findings.map(({ severity, object: name, field, message }) => {
    return `${severity} ${name} ${field}: ${message}`;
  });
}
