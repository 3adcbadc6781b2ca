// Where flows of an exhaustive test come from: every pod, every node, and an address of each class
// that rules, entries of `only` or the test's own endpoints tell apart.
import { familyOf } from "../model/address.ts";
import type { OnlyText } from "../cluster/flow.ts";
import { resolveEnd } from "../cluster/resolve.ts";
import type { FlowEnd } from "../cluster/types.ts";
import { podName, type World } from "../cluster/world.ts";
import { addressClasses, prefixHolds, type AddressClass, type LabelledPrefix } from
  "./addresses.ts";
import { EVERYONE } from "./testfile.ts";

/** Where flows come from: an end, or a class of addresses. */
export interface Source {
  end: FlowEnd;
  /** What a report calls it: its workload, its node, its class. */
  label: string;
  class?: AddressClass;
}

/** A test's endpoints outside of the cluster: name and prefix. */
export type Nets = ReadonlyMap<string, string>;

const endpointLabel = (name: string): string => `endpoint ${name}`;

/** Pods and nodes, an entry for each of their addresses. */
export function insideSources(world: World): Source[] {
  const pods = world.snapshot.pods.flatMap((pod) => pod.addresses.map((address): Source => (
    { end: { kind: "pod", pod, address }, label: sourceLabel({ kind: "pod", pod, address }) })));
  const nodes = world.snapshot.nodes.flatMap((node) => node.addresses.map((address): Source => (
    { end: { kind: "node", node, address }, label: `node:${node.name}` })));
  return [...pods, ...nodes];
}

/** A source for each class of addresses outside, of the families that the cluster has. */
export function outsideSources(
  prefixes: readonly LabelledPrefix[], world: World, nets: Nets,
): Source[] {
  const own = ownAddresses(world);
  const labelled = [...prefixes, ...[...nets].map(([name, prefix]) => (
    { prefix, label: endpointLabel(name) }))];
  const families = new Set([...own].map(familyOf));
  return ([4, 6] as const).filter((family) => families.has(family)).flatMap((family) =>
    addressClasses(family, labelled, own, localPrefixes(world)).map((found): Source => ({
      end: { kind: "address", address: found.address }, class: found,
      label: `${className(found)} (${found.address})`,
    })));
}

/** An address of each class that a net has: what its name stands for. */
export function netEnds(
  name: string, prefixes: readonly LabelledPrefix[], world: World, nets: Nets,
): FlowEnd[] {
  return outsideSources(prefixes, world, nets)
    .filter((source) => source.class!.labels.includes(endpointLabel(name)))
    .map(({ end }) => end);
}

function className({ labels, within, isPublic }: AddressClass): string {
  const named = labels.find((label) => label.startsWith(endpointLabel("")));
  if (named !== undefined) return named.slice(endpointLabel("").length);
  return within ?? (isPublic ? "internet" : "private addresses");
}

/** What reports call an end: a pod by its workload, an address as it is. */
export function sourceLabel(end: FlowEnd): string {
  switch (end.kind) {
    case "pod": return `${end.pod.namespace}/${end.pod.owner?.name ?? end.pod.name}`;
    case "node": return `node:${end.node.name}`;
    case "service": return end.via ?? end.service;
    case "address": return end.address;
  }
}

/** Whom an entry of `only` means. Throws FlowError. */
export function coverage(
  { from }: OnlyText, world: World, nets: Nets,
): (source: Source) => boolean {
  const { end } = from;
  if (end.kind === "word" && end.name === EVERYONE) return () => true;
  if (end.kind === "internet") return (source) => source.class?.isPublic === true;
  if (end.kind === "address") {
    const prefix = end.prefix ?? end.address;
    const owner = end.prefix === undefined ? world.ownerOf(end.address) : undefined;
    // Who has an address in the cluster is named, or is not meant.
    const isMeant = (source: Source): boolean => source.class !== undefined ||
      (owner !== undefined && source.end.address === owner.address);
    return (source) => isMeant(source) && prefixHolds(prefix, source.end.address);
  }
  if (end.kind === "word" && nets.has(end.name)) {
    const label = endpointLabel(end.name);
    return (source) => source.class?.labels.includes(label) === true;
  }
  const ends = resolveEnd(from, world, "from");
  const nodes = new Set(ends.flatMap((each) => each.kind === "node" ? [each.address] : []));
  const pods = new Set(ends.flatMap((each) => each.kind === "pod" ? [podName(each.pod)] : []));
  return ({ end: source }) => {
    if (source.kind === "pod" && pods.has(podName(source.pod))) return true;
    // A pod of the host's network sends as its node does.
    const asNode = source.kind === "node" || (source.kind === "pod" && source.pod.hostNetwork);
    return asNode && nodes.has(source.address);
  };
}

/** Addresses that pods, nodes and Services have. */
function ownAddresses(world: World): Set<string> {
  return new Set([
    ...world.snapshot.pods.flatMap(({ addresses }) => addresses),
    ...world.snapshot.nodes.flatMap(({ addresses }) => addresses),
    ...[...world.services.values()].flatMap(({ addresses }) => addresses),
  ]);
}

/** Pools: no internet, whatever addresses they are of. */
function localPrefixes(world: World): string[] {
  return world.snapshot.ipPools.flatMap(({ value }) => {
    const cidr = (value["spec"] as { cidr?: unknown } | undefined)?.cidr;
    return typeof cidr === "string" ? [cidr] : [];
  });
}
