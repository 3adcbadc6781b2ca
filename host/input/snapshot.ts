// A cluster from its manifests: what host/calc reads. Objects are checked, the same object twice
// is an error, workloads become pods, and what has no address or node yet gets one.
//
//   readSnapshot(paths) ─ manifest.ts ─► documents ─ schema.ts ─► objects ─ workload.ts ─► pods
//
// Addresses depend on the objects alone: pods in order of namespace and name, from the pools in
// order of name. With `keep`, a snapshot from before, what was there keeps its own.
import type { Finding, Manifest, PodObject, Snapshot } from "../model/snapshot.ts";
import { plainManifest, readDocuments } from "./manifest.ts";
import type { Documents, ReadOptions } from "./manifest.ts";
import { readNodes } from "./node.ts";
import { byName, giveServiceAddresses, keepPlaces, place } from "./placement.ts";
import { checkManifest, groupOf } from "./schema.ts";
import { fieldFinding, objectName } from "./schema-issue.ts";
import { makePods, readPod } from "./workload.ts";

export interface SnapshotOptions extends ReadOptions {
  /** Pods, nodes and Services that were in it keep their addresses and nodes. */
  keep?: Snapshot;
}

export interface ReadSnapshot {
  snapshot: Snapshot;
  /** Errors: what they are about is not in the snapshot. */
  findings: Finding[];
  /** The objects that the snapshot was made of, checked: for applyManifests(). */
  objects: Manifest[];
  documents: Documents;
}

export function readSnapshot(
  paths: readonly string[], options: SnapshotOptions = {},
): ReadSnapshot {
  const documents = readDocuments(paths, options);
  return assemble(documents, [], options);
}

/** A snapshot of plain objects, which no file bears. */
export function snapshotOf(
  values: readonly unknown[], options: SnapshotOptions = {},
): ReadSnapshot {
  const documents = readDocuments([]);
  documents.manifests = values.map((value) => plainManifest(value as Record<string, unknown>));
  return assemble(documents, [], options);
}

/** As `kubectl apply`: the files' objects replace those of the same name, the others stay. */
export function applyManifests(
  before: ReadSnapshot, paths: readonly string[], options: SnapshotOptions = {},
): ReadSnapshot {
  const documents = readDocuments(paths, options);
  return assemble(documents, before.objects, { keep: before.snapshot, ...options });
}

/** A pod that no manifest has. */
export interface ExtraPod {
  namespace: string;
  name: string;
  labels?: Record<string, string>;
  serviceAccount?: string;
  node?: string;
  addresses?: string[];
  ports?: PodObject["ports"];
}

/** The snapshot with more pods, which get free addresses; those that are there keep theirs. */
export function withPods(snapshot: Snapshot, extra: readonly ExtraPod[]): Snapshot {
  const pods = extra.map((pod): PodObject => ({
    labels: {}, annotations: {}, serviceAccount: "default", node: "", addresses: [], ports: [],
    hostNetwork: false, ready: true, ...pod,
  }));
  const changed: Snapshot = {
    ...snapshot, namespaces: new Map(snapshot.namespaces),
    serviceAccounts: new Map(snapshot.serviceAccounts),
    pods: [...snapshot.pods, ...pods],
  };
  const faults: Finding[] = [];
  place(changed, pods, faults);
  if (faults.length > 0) throw new Error(faults[0]!.message);
  changed.pods.sort(byName);
  return changed;
}

function assemble(
  documents: Documents, base: readonly Manifest[], options: SnapshotOptions,
): ReadSnapshot {
  const findings = [...documents.findings];
  const read: Manifest[] = [];
  for (const manifest of documents.manifests) {
    const checked = checkManifest(manifest);
    if (checked === undefined) continue;
    documents.objects++;
    if ("findings" in checked) findings.push(...checked.findings);
    else read.push(checked.manifest);
  }
  const objects = unique(read, documents, findings);
  const replaced = new Set(objects.map(keyOf));
  const all = [...base.filter((of) => !replaced.has(keyOf(of))), ...objects];
  return { snapshot: build(all, options.keep, findings), findings, objects: all, documents };
}

/** One API's object, whichever of its versions it is written in. */
function keyOf(of: Manifest): string {
  return `${groupOf(of.apiVersion).replace(/^crd\./, "")} ${objectName(of)}`;
}

/** Of objects that are there twice the later one stays, as `kubectl apply` would leave it. */
function unique(
  objects: readonly Manifest[], { found }: Documents, findings: Finding[],
): Manifest[] {
  const last = new Map<string, Manifest>();
  for (const of of objects) {
    const key = keyOf(of);
    const earlier = last.get(key);
    last.delete(key);
    last.set(key, of);
    if (earlier === undefined) continue;
    const folder = found.kustomizations[0];
    const hint = folder === undefined ? ""
      : ` (a kustomization's patches? Render it: kustomize build ${folder})`;
    findings.push(fieldFinding(of, [], `is in ${earlier.file}:${earlier.line}:${earlier.column} ` +
      `too; kubectl apply would leave this one, the later${hint}`));
  }
  return [...last.values()];
}

const WORKLOADS = new Set([
  "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob",
]);
const LISTS: Record<string, keyof Snapshot> = {
  Service: "services", EndpointSlice: "endpointSlices", Tier: "tiers", NetworkSet: "networkSets",
  GlobalNetworkSet: "globalNetworkSets", HostEndpoint: "hostEndpoints", Profile: "profiles",
  IPPool: "ipPools", FelixConfiguration: "felixConfigurations", ServiceCIDR: "serviceCIDRs",
};

function build(
  objects: readonly Manifest[], keep: Snapshot | undefined, findings: Finding[],
): Snapshot {
  const of = (kind: string): Manifest[] => objects.filter((each) => each.kind === kind);
  const snapshot: Snapshot = {
    namespaces: new Map(), serviceAccounts: new Map(), nodes: [], pods: [], services: [],
    endpointSlices: [], policies: [], tiers: [], networkSets: [], globalNetworkSets: [],
    hostEndpoints: [], profiles: [], ipPools: [], felixConfigurations: [],
    serviceCIDRs: [],
  };
  for (const object of objects) {
    const list = LISTS[object.kind];
    if (list !== undefined) (snapshot[list] as Manifest[]).push(object);
    else if (/Policy$/.test(object.kind)) snapshot.policies.push(object);
  }
  for (const object of of("Namespace")) snapshot.namespaces.set(object.name, labelled(object));
  for (const object of of("ServiceAccount")) {
    snapshot.serviceAccounts.set(`${object.namespace}/${object.name}`, labelled(object));
  }
  const pods = of("Pod").flatMap((pod) => readPod(pod) ?? []);
  snapshot.nodes = readNodes(of("Node"), snapshot.hostEndpoints, of("Pod"));
  const workloads = objects.filter(({ kind }) => WORKLOADS.has(kind));
  snapshot.pods = [...pods, ...makePods(workloads, pods, snapshot.nodes)].sort(byName);
  for (const { namespace } of objects) {
    if (namespace !== "" && !snapshot.namespaces.has(namespace)) {
      snapshot.namespaces.set(namespace, { labels: {}, annotations: {} });
    }
  }
  if (keep !== undefined) keepPlaces(snapshot, keep);
  place(snapshot, snapshot.pods, findings);
  giveServiceAddresses(snapshot);
  return snapshot;
}

function labelled(manifest: Manifest) {
  const metadata = manifest.value["metadata"] as {
    labels?: Record<string, string>; annotations?: Record<string, string>;
  };
  return { labels: metadata.labels ?? {}, annotations: metadata.annotations ?? {}, manifest };
}
