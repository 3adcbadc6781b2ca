// Where the pods, nodes and Services of a snapshot are that no object places: nodes in turn, pod
// addresses from the pools, in order of namespace and name; ClusterIPs as an API server gives them.
import type { Family } from "../model/address.ts";
import type { Finding, Manifest, PodObject, Snapshot } from "../model/snapshot.ts";
import { withValue } from "./manifest.ts";
import { familiesOf, giveNodeAddresses } from "./node.ts";
import { numberOf, podPools, servicePool } from "./pool.ts";
import { fieldFinding, objectName } from "./schema-issue.ts";

/** In order of namespace and name. */
export function byName(a: PodObject, b: PodObject): number {
  if (a.namespace !== b.namespace) return a.namespace < b.namespace ? -1 : 1;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

/** What was placed by us stays where it was; what an object says itself counts more. */
export function keepPlaces(snapshot: Snapshot, keep: Snapshot): void {
  const before = new Map(keep.pods.map((pod) => [`${pod.namespace}/${pod.name}`, pod]));
  for (const pod of snapshot.pods) {
    const old = before.get(`${pod.namespace}/${pod.name}`);
    if (old === undefined || old.hostNetwork !== pod.hostNetwork) continue;
    const there = snapshot.nodes.some(({ name }) => name === old.node);
    if (pod.node === "" && there) pod.node = old.node;
    if (pod.addresses.length === 0 && !pod.hostNetwork) pod.addresses = [...old.addresses];
  }
  for (const node of snapshot.nodes) {
    const old = keep.nodes.find(({ name }) => name === node.name);
    if (node.addresses.length === 0 && old !== undefined) node.addresses = [...old.addresses];
  }
  snapshot.services = snapshot.services.map((service) => {
    const old = keep.services.find((each) => objectName(each) === objectName(service));
    const spec = old?.value["spec"] as ServiceSpec | undefined;
    const own = service.value["spec"] as ServiceSpec;
    if (spec?.clusterIPs === undefined || own.clusterIP || own.clusterIPs) return service;
    return withClusterIPs(service, spec.clusterIPs);
  });
}

/**
 * Gives pods their nodes and addresses, in order of name, and makes sure of the namespaces and
 * service accounts that they are in.
 */
export function place(snapshot: Snapshot, pods: readonly PodObject[], findings: Finding[]): void {
  const taken = takenAddresses(snapshot);
  const pools = podPools(snapshot.ipPools, taken);
  const families = new Set<Family>(pools.map(({ family }) => family));
  giveNodeAddresses(snapshot.nodes, [...families], taken);
  const nodes = new Map(snapshot.nodes.map((node) => [node.name, node]));
  let next = 0;
  for (const pod of [...pods].sort(byName)) {
    if (pod.node === "") pod.node = snapshot.nodes[next++ % snapshot.nodes.length]!.name;
    if (pod.hostNetwork) {
      pod.addresses = nodes.get(pod.node)?.addresses ?? [];
    } else if (pod.addresses.length === 0) {
      for (const pool of pools) {
        const address = pool.take();
        if (address !== undefined) pod.addresses.push(address);
        else findings.push(exhausted(pod, pool.family));
      }
    }
    const account = `${pod.namespace}/${pod.serviceAccount}`;
    if (!snapshot.serviceAccounts.has(account)) {
      snapshot.serviceAccounts.set(account, { labels: {}, annotations: {} });
    }
    if (!snapshot.namespaces.has(pod.namespace)) {
      snapshot.namespaces.set(pod.namespace, { labels: {}, annotations: {} });
    }
  }
  for (const [name, namespace] of snapshot.namespaces) {
    // The API server sets it, whatever was written.
    snapshot.namespaces.set(name, {
      ...namespace, labels: { ...namespace.labels, "kubernetes.io/metadata.name": name },
    });
  }
}

function exhausted({ namespace, name, manifest }: PodObject, family: Family): Finding {
  const message = `no IPPool has an IPv${family} address left for pod ${namespace}/${name}`;
  if (manifest !== undefined) return fieldFinding(manifest, [], message);
  return {
    severity: "error", file: "", line: 1, column: 1, object: `Pod ${namespace}/${name}`, field: "",
    message,
  };
}

interface ServiceSpec {
  type: string;
  clusterIP?: string;
  clusterIPs?: string[];
  ipFamilies?: ("IPv4" | "IPv6")[];
  ipFamilyPolicy?: string;
}

function takenAddresses(snapshot: Snapshot): Set<bigint> {
  const services = snapshot.services.flatMap(({ value }) => {
    const spec = value["spec"] as ServiceSpec;
    return [spec.clusterIP ?? "", ...spec.clusterIPs ?? []];
  });
  const all = [
    ...snapshot.nodes.flatMap(({ addresses }) => addresses),
    ...snapshot.pods.flatMap(({ addresses }) => addresses), ...services,
  ];
  return new Set(all.filter((text) => /[.:]/.test(text)).map(numberOf));
}

/** Well-known addresses, which are given to nobody else. */
const DNS = "kube-system/kube-dns";
const DNS_ADDRESS = "10.96.0.10";
const API_ADDRESS = "10.96.0.1";

/** ClusterIPs of Services that have none yet, as the API server gives them. */
export function giveServiceAddresses(snapshot: Snapshot): void {
  const taken = takenAddresses(snapshot);
  const families = familiesOf(snapshot.pods.flatMap(({ addresses }) => addresses));
  const cluster: Family[] = families.size === 0 ? [4] : [...families].sort();
  const dnsFree = !taken.has(numberOf(DNS_ADDRESS));
  for (const address of [DNS_ADDRESS, API_ADDRESS]) taken.add(numberOf(address));
  const pools = { 4: servicePool(4, taken), 6: servicePool(6, taken) };
  const needy = snapshot.services.filter(({ value }) => {
    const spec = value["spec"] as ServiceSpec;
    return !spec.clusterIP && !spec.clusterIPs?.length && spec.type !== "ExternalName";
  }).sort((a, b) => objectName(a) < objectName(b) ? -1 : 1);
  const given = new Map(needy.map((service) => {
    const wanted = serviceFamilies(service.value["spec"] as ServiceSpec, cluster);
    const addresses = wanted.flatMap((family) => {
      const dns = family === 4 && dnsFree && `${service.namespace}/${service.name}` === DNS;
      return (dns ? DNS_ADDRESS : pools[family].take()) ?? [];
    });
    return [service, withClusterIPs(service, addresses)];
  }));
  snapshot.services = snapshot.services.map((service) => given.get(service) ?? service);
}

function serviceFamilies(spec: ServiceSpec, cluster: readonly Family[]): Family[] {
  const asked = spec.ipFamilies?.map((name): Family => name === "IPv4" ? 4 : 6) ?? [];
  const dual = /DualStack$/.test(spec.ipFamilyPolicy ?? "");
  const all = [...new Set([...asked, ...cluster])].filter((family) => {
    return asked.includes(family) || cluster.includes(family);
  });
  return dual ? all.slice(0, 2) : all.slice(0, Math.max(1, asked.length));
}

function withClusterIPs(service: Manifest, clusterIPs: readonly string[]): Manifest {
  const spec = service.value["spec"] as Record<string, unknown>;
  return withValue(service, {
    value: { ...service.value, spec: { ...spec, clusterIP: clusterIPs[0], clusterIPs } },
  });
}
