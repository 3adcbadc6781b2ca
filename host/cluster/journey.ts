// Packets on their way through the nodes: a frame into each node that some of them stand at, then
// on to where what came out goes, until all of them are there.
import type { Clock } from "../dataplane/dataplane.ts";
import type { NodeRun } from "./node.ts";
import { onward, type Entry, type Roads, type Trip } from "./path.ts";

/** Client's node, the node of a NodePort, the backend's node; beyond them it goes in circles. */
const HOPS_MAX = 4;

/** Fills the trips' hops; returns how many packets were judged. At most a frame at a time. */
export function carry(trips: readonly Trip[], roads: Roads, clock: Clock): number {
  for (const trip of trips) trip.hops = [];
  let moving = trips.map((trip) => ({ trip, entry: trip.entry, bytes: trip.bytes }));
  let judged = 0;
  for (let hop = 0; hop < HOPS_MAX && moving.length > 0; hop++) {
    judge(moving, clock);
    judged += moving.length;
    moving = moving.flatMap(({ trip }) => {
      const entry = onward(trip, roads);
      const { bytes } = trip.hops[trip.hops.length - 1]!.result;
      return entry && bytes ? [{ trip, entry, bytes }] : [];
    });
  }
  return judged;
}

interface Moving {
  trip: Trip;
  entry: Entry;
  bytes: Uint8Array;
}

/** One frame of packets into each node. */
function judge(packets: readonly Moving[], clock: Clock): void {
  const byNode = new Map<NodeRun, Moving[]>();
  for (const packet of packets) {
    const same = byNode.get(packet.entry.node);
    if (same) same.push(packet);
    else byNode.set(packet.entry.node, [packet]);
  }
  for (const [node, all] of byNode) {
    const results = node.process(
      all.map(({ entry, bytes }) => ({ interface: entry.at, bytes })), clock,
    );
    results.forEach((result, i) => all[i]!.trip.hops.push({ node, result }));
  }
}
