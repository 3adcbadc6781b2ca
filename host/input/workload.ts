// Pods of a snapshot: Pod objects, and what Deployments, StatefulSets, DaemonSets, ReplicaSets,
// Jobs and CronJobs would make, for a Git repository holds no Pods.
//
//   Deployment shop/web, 3 replicas ─► shop/web-0, shop/web-1   (two show what a third would)
//   DaemonSet ─► one a node that its nodeSelector picks
//
// Where pods of a workload are there themselves (`kubectl get all -o yaml`), they stand for it.
import type { ContainerPort, Manifest, NodeObject, PodObject } from "../model/snapshot.ts";
import { isAddress } from "./node.ts";

/** More replicas than these are not made: all have the same labels. */
const REPLICAS_MAX = 2;
/** Who makes those that make pods. */
const OWNERS = new Map([["ReplicaSet", "Deployment"], ["Job", "CronJob"]]);
const FINISHED = new Set(["Succeeded", "Failed", "Completed"]);

interface Owner {
  kind: string;
  name: string;
}

interface Container {
  ports?: {
    name?: string; containerPort: number; protocol: ContainerPort["protocol"];
    hostPort?: number; hostIP?: string;
  }[];
}

interface PodSpec {
  nodeName?: string;
  hostNetwork?: boolean;
  serviceAccountName?: string;
  serviceAccount?: string;
  nodeSelector?: Record<string, string>;
  containers?: Container[];
  initContainers?: Container[];
}

interface Metadata {
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: Owner[];
}

interface PodStatus {
  phase?: string;
  podIP?: string;
  podIPs?: { ip: string }[];
  conditions?: { type: string; status: string }[];
}

interface Template {
  metadata?: Metadata;
  spec?: PodSpec;
}

/** A Pod object as it stands; undefined of one that has finished: its addresses are free. */
export function readPod(of: Manifest): PodObject | undefined {
  const { metadata, spec, status } = of.value as unknown as {
    metadata: Metadata; spec: PodSpec; status?: PodStatus;
  };
  if (FINISHED.has(status?.phase ?? "")) return undefined;
  const owner = metadata.ownerReferences?.[0];
  return {
    ...podOf(of, of.name, metadata, spec),
    addresses: podAddresses(metadata.annotations ?? {}, status).filter(isAddress),
    ready: isReady(status),
    ...owner === undefined ? {} : { owner: { kind: owner.kind, name: owner.name } },
  };
}

function isReady(status: PodStatus | undefined): boolean {
  const condition = status?.conditions?.find(({ type }) => type === "Ready");
  return condition === undefined ? status?.phase !== "Pending" : condition.status === "True";
}

/** status, else what Calico's CNI plugin wrote down, else what the author asks it for. */
function podAddresses(annotations: Record<string, string>, status?: PodStatus): string[] {
  const listed = status?.podIPs?.map(({ ip }) => ip) ?? [];
  if (listed.length > 0) return listed;
  if (status?.podIP) return [status.podIP];
  const noted = annotations["cni.projectcalico.org/podIPs"] ??
    annotations["cni.projectcalico.org/podIP"];
  if (noted) return noted.split(",").map((text) => text.trim().split("/")[0]!);
  const asked = annotations["cni.projectcalico.org/ipAddrs"];
  try {
    const list: unknown = asked === undefined ? [] : JSON.parse(asked);
    return Array.isArray(list) ? list.filter((each) => typeof each === "string") : [];
  } catch {
    return [];
  }
}

/** How many pods a workload makes, and of what. */
interface Plan {
  of: Manifest;
  template: Template;
  count: number;
}

/**
 * The pods that workloads make, without addresses. `pods`, the ones that are there, get their
 * workloads as owners.
 */
export function makePods(
  workloads: readonly Manifest[], pods: readonly PodObject[], nodes: readonly NodeObject[],
): PodObject[] {
  const byKey = new Map(workloads.map((of) => [keyOf(of.namespace, of), of]));
  const manned = new Set<string>();
  for (const pod of pods) {
    for (const owner of ownersOf(pod, byKey)) {
      manned.add(keyOf(pod.namespace, owner));
      pod.owner = owner;
    }
  }
  const taken = new Set(pods.map(({ namespace, name }) => `${namespace}/${name}`));
  return workloads.filter((of) => {
    return !manned.has(keyOf(of.namespace, of)) && !ownedByThere(of, byKey);
  }).flatMap((of) => made(planOf(of), nodes, taken));
}

function keyOf(namespace: string, { kind, name }: Owner): string {
  return `${kind} ${namespace}/${name}`;
}

/** The chain of a pod's owners, nearest first; a ReplicaSet's Deployment by its name. */
function ownersOf(pod: PodObject, byKey: ReadonlyMap<string, Manifest>): Owner[] {
  const chain: Owner[] = [];
  let owner = pod.owner;
  while (owner !== undefined && chain.length < 4) {
    chain.push(owner);
    const there = byKey.get(keyOf(pod.namespace, owner));
    owner = there === undefined ? ownerByName(owner, pod, byKey) : ownerOf(there);
  }
  return chain;
}

function ownerOf(of: Manifest): Owner | undefined {
  const owner = (of.value["metadata"] as Metadata).ownerReferences?.[0];
  return owner === undefined ? undefined : { kind: owner.kind, name: owner.name };
}

/** "web-5d4f8c" of a Deployment "web"; "backup-28391" of a CronJob "backup". */
function ownerByName(
  { kind, name }: Owner, pod: PodObject, byKey: ReadonlyMap<string, Manifest>,
): Owner | undefined {
  const above = OWNERS.get(kind);
  if (above === undefined) return undefined;
  const owner = { kind: above, name: name.replace(/-[^-]+$/, "") };
  return byKey.has(keyOf(pod.namespace, owner)) ? owner : undefined;
}

/** A Deployment's ReplicaSet, a CronJob's Job: the Deployment, the CronJob makes the pods. */
function ownedByThere(of: Manifest, byKey: ReadonlyMap<string, Manifest>): boolean {
  const owner = ownerOf(of);
  return owner !== undefined && byKey.has(keyOf(of.namespace, owner));
}

function planOf(of: Manifest): Plan {
  const spec = of.value["spec"] as Record<string, unknown>;
  if (of.kind === "CronJob") {
    const job = (spec["jobTemplate"] as { spec: Record<string, unknown> }).spec;
    return { of, template: job["template"] as Template, count: countOf(job["parallelism"]) };
  }
  const count = countOf(of.kind === "Job" ? spec["parallelism"] : spec["replicas"]);
  return { of, template: spec["template"] as Template, count };
}

function countOf(asked: unknown): number {
  return Math.min(typeof asked === "number" ? asked : 1, REPLICAS_MAX);
}

function made(
  { of, template, count }: Plan, nodes: readonly NodeObject[], taken: Set<string>,
): PodObject[] {
  const places = of.kind === "DaemonSet" ? nodes.filter((node) => picks(template, node))
    : Array.from({ length: count }, () => undefined);
  return places.map((node, i) => {
    const name = freeName(of, i, taken);
    const metadata = {
      annotations: template.metadata?.annotations ?? {},
      labels: { ...template.metadata?.labels, ...addedLabels(of, name, i) },
    };
    const pod = podOf(of, name, metadata, template.spec ?? {});
    return { ...pod, ...node && { node: node.name }, owner: { kind: of.kind, name: of.name } };
  });
}

function picks(template: Template, node: NodeObject): boolean {
  return Object.entries(template.spec?.nodeSelector ?? {}).every(([key, value]) => {
    // Nodes that no Node object describes have no labels to go by.
    return node.labels[key] === value || Object.keys(node.labels).length <= 1;
  });
}

function freeName(of: Manifest, i: number, taken: Set<string>): string {
  const names = [`${of.name}-${i}`, `${of.name}-${of.kind.toLowerCase()}-${i}`];
  const name = names.find((each) => !taken.has(`${of.namespace}/${each}`)) ?? names[1]!;
  taken.add(`${of.namespace}/${name}`);
  return name;
}

/** Labels that controllers add, as far as they can be known. */
function addedLabels(of: Manifest, name: string, i: number): Record<string, string> {
  if (of.kind === "StatefulSet") {
    return {
      "statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": String(i),
    };
  }
  if (of.kind === "Job") {
    return { "job-name": of.name, "batch.kubernetes.io/job-name": of.name };
  }
  return {};
}

function podOf(of: Manifest, name: string, metadata: Metadata, spec: PodSpec): PodObject {
  return {
    namespace: of.namespace, name,
    labels: metadata.labels ?? {}, annotations: metadata.annotations ?? {},
    serviceAccount: spec.serviceAccountName || spec.serviceAccount || "default",
    node: spec.nodeName ?? "", addresses: [], hostNetwork: spec.hostNetwork ?? false, ready: true,
    ports: [...spec.containers ?? [], ...spec.initContainers ?? []].flatMap(({ ports }) => {
      return (ports ?? []).map((port): ContainerPort => ({
        name: port.name ?? "", port: port.containerPort, protocol: port.protocol,
        ...port.hostPort ? { hostPort: port.hostPort } : {},
        ...port.hostIP ? { hostIP: port.hostIP } : {},
      }));
    }),
    manifest: of,
  };
}
