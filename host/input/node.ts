// Nodes of a snapshot: Node objects, and nodes that other objects name (a pod's nodeName, a host
// endpoint's node). Where nothing names any, one node carries all.
import type { Family } from "../model/address.ts";
import { familyOf } from "../model/address.ts";
import type { Manifest, NodeObject } from "../model/snapshot.ts";
import { AddressPool, nodePool, numberOf } from "./pool.ts";

export const SOLE_NODE = "node-1";
export const DEFAULT_INTERFACE = "eth0";

interface NodeValue {
  metadata: { labels?: Record<string, string>; annotations?: Record<string, string> };
  status?: { addresses?: { type: string; address: string }[] };
}

interface HostEndpointSpec {
  node: string;
  interfaceName?: string;
  expectedIPs?: string[];
}

const ADDRESS_TYPES = ["InternalIP", "ExternalIP"];

interface PodValue {
  spec: { nodeName?: string };
  status?: { hostIP?: string; hostIPs?: { ip: string }[] };
}

/** In order of name. Nodes without addresses have none yet: giveNodeAddresses(). */
export function readNodes(
  manifests: readonly Manifest[], hostEndpoints: readonly Manifest[], pods: readonly Manifest[],
): NodeObject[] {
  const nodes = new Map<string, NodeObject>();
  for (const { name, value } of manifests) nodes.set(name, readNode(name, value as never));
  const specs = hostEndpoints.map(({ value }) => value["spec"] as HostEndpointSpec);
  const placed = pods.map(({ value }) => value as unknown as PodValue);
  for (const name of [...placed.map(({ spec }) => spec.nodeName), ...specs.map((s) => s.node)]) {
    if (name && !nodes.has(name)) nodes.set(name, bareNode(name));
  }
  if (nodes.size === 0) nodes.set(SOLE_NODE, bareNode(SOLE_NODE));
  for (const node of nodes.values()) {
    const own = specs.filter((spec) => spec.node === node.name);
    node.interface = interfaceOf(own);
    if (node.addresses.length > 0) continue;
    const expected = own.flatMap(({ expectedIPs }) => expectedIPs ?? []);
    const told = placed.filter(({ spec }) => spec.nodeName === node.name)
      .flatMap(({ status }) => [
        status?.hostIP ?? "", ...(status?.hostIPs ?? []).map(({ ip }) => ip),
      ]);
    node.addresses = [...new Set([...expected, ...told])].filter(isAddress);
  }
  return [...nodes.values()].sort((a, b) => a.name < b.name ? -1 : 1);
}

/** Gives an address of each family to nodes that have none at all. */
export function giveNodeAddresses(
  nodes: readonly NodeObject[], families: readonly Family[], taken: Set<bigint>,
): void {
  const pools = families.map((family) => nodePool(family, taken));
  for (const node of nodes) {
    if (node.addresses.length > 0) continue;
    node.addresses = pools.flatMap((pool: AddressPool) => pool.take() ?? []);
    for (const address of node.addresses) taken.add(numberOf(address));
  }
}

function bareNode(name: string): NodeObject {
  return {
    name, labels: { "kubernetes.io/hostname": name }, addresses: [], interface: DEFAULT_INTERFACE,
  };
}

function readNode(name: string, { metadata, status }: NodeValue): NodeObject {
  const annotations = metadata.annotations ?? {};
  const calico = ["projectcalico.org/IPv4Address", "projectcalico.org/IPv6Address"]
    .flatMap((key) => annotations[key]?.split("/")[0] ?? []);
  const own = ADDRESS_TYPES.flatMap((type) => {
    return (status?.addresses ?? []).filter((each) => each.type === type)
      .map(({ address }) => address);
  });
  return {
    ...bareNode(name), labels: metadata.labels ?? {},
    addresses: [...new Set([...calico, ...own])].filter(isAddress),
  };
}

export function isAddress(text: string): boolean {
  try {
    numberOf(text);
    return true;
  } catch {
    return false;
  }
}

/** The interface to the world, by the name that its host endpoint gives it. */
function interfaceOf(endpoints: readonly HostEndpointSpec[]): string {
  const names = endpoints.map(({ interfaceName }) => interfaceName ?? "")
    .filter((name) => name !== "" && name !== "*" && !name.startsWith("cali")).sort();
  return names.includes(DEFAULT_INTERFACE) ? DEFAULT_INTERFACE : names[0] ?? DEFAULT_INTERFACE;
}

export function familiesOf(addresses: readonly string[]): Set<Family> {
  return new Set(addresses.map(familyOf));
}
