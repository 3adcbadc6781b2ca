// The way of a flow's packet through the nodes: where it enters, and where it goes on to.
//
//   pod ──► its interface ─┐                      ┌─► local pod or the node itself: done
//   node ─► host interface ┴─► source's node ─────┤
//   world ─────────────────► destination's node   ├─► uplink ─► the node that has the destination
//                            at its uplink        │             as it was rewritten, and so on
//                                                 └─► peer (DSR) ─► that node, at its peer uplink
import { Verdict } from "../../assembly/layout.ts";
import { nodeOf } from "./frontend.ts";
import { destinationOf, type Hop } from "./judgement.ts";
import type { NodeRun } from "./node.ts";
import type { Flow, FlowEnd, Side } from "./types.ts";
import { endName, type World } from "./world.ts";

/** A flow that no node's program can be asked about; the message says why. */
export class NoPath extends Error {}

export interface Entry {
  node: NodeRun;
  /** Number of the interface; one that no endpoint has where the pod is unknown to its node. */
  at: number;
}

/** A flow's packet on its way. */
export interface Trip {
  flow: Flow;
  entry: Entry;
  bytes: Uint8Array;
  hops: Hop[];
  note?: string;
}

export interface Roads {
  nodes: ReadonlyMap<string, NodeRun>;
  oneSided: Readonly<Record<Side, ReadonlyMap<string, NodeRun>>>;
  world: World;
  /** The one node that is asked, where only one is. */
  only: string | undefined;
}

/** Throws NoPath. */
export function entryOf(flow: Flow, roads: Roads): Entry {
  const source = nodeOf(flow.from), target = targetNode(flow.to, roads.world);
  const order = flow.side === "ingress" ? [target, source] : [source, target];
  const name = order.find((each) => each !== undefined && roads.nodes.has(each)) ??
    anywhere(flow, roads);
  const node = (flow.side === undefined ? roads.nodes : roads.oneSided[flow.side]).get(name);
  if (!node) throw new Error("flows that ask for one side need a cluster with `sides`");
  if (name !== source) return { node, at: node.uplinkFor(flow.to.address) };
  const isWorkload = flow.from.kind === "pod" && !flow.from.pod.hostNetwork;
  return { node, at: isWorkload ? node.interfaceOf(flow.from.address) : node.host };
}

/** A packet of the world for a VIP comes in at any node. */
function anywhere(flow: Flow, { nodes, only }: Roads): string {
  const [first] = nodes.keys();
  if (flow.to.kind === "service" && first !== undefined) return first;
  const names = `${endName(flow.from)} -> ${endName(flow.to)}`;
  throw new NoPath(only === undefined
    ? `${names}: neither end is in the cluster, so no node judges it`
    : `${names}: neither end is on node ${only}`);
}

/** The node that a packet goes to from the one that passed it on; undefined: it is there. */
export function onward(
  { flow, hops }: Trip, { nodes, world }: Roads,
): Entry | undefined {
  const { node, result } = hops[hops.length - 1]!;
  const { verdict, bytes, peer } = result;
  if (verdict !== Verdict.Pass || !bytes || flow.side !== undefined) return undefined;
  if (peer !== undefined) {
    const next = nodes.get(node.peerName(peer) ?? "");
    return next && { node: next, at: next.peerUplink };
  }
  // Only NAT changes where it goes.
  const isAsAsked = flow.to.kind !== "service" && !flow.isReply &&
    hops.every((hop) => hop.result.backend === undefined);
  const destination = isAsAsked ? flow.to.address : destinationOf(bytes);
  const owner = isAsAsked ? flow.to : world.ownerOf(destination);
  const name = owner && nodeOf(owner);
  const next = name === undefined || name === node.name ? undefined : nodes.get(name);
  return next && { node: next, at: next.uplinkFor(destination) };
}

/** Where a packet enters that leaves an address: its owner's node, else the uplink of `beyond`. */
export function entryFrom(
  address: string, destination: string, beyond: NodeRun, { nodes, world }: Roads,
): Entry {
  const owner = world.ownerOf(address);
  const node = owner && nodes.get(nodeOf(owner) ?? "");
  if (!node) return { node: beyond, at: beyond.uplinkFor(destination) };
  const isWorkload = owner!.kind === "pod" && !owner!.pod.hostNetwork;
  return { node, at: isWorkload ? node.interfaceOf(address) : node.host };
}

function targetNode(to: FlowEnd, world: World): string | undefined {
  if (to.kind !== "service") return nodeOf(to);
  if (to.entry !== undefined) return to.entry;
  const owner = to.backend && world.ownerOf(to.backend.address);
  return owner && nodeOf(owner);
}
