// Maglev across nodes, small: three programs behind a router that spreads flows over the living
// nodes, one Service with DSR (bench/nat/nodes.ts; bench/nat.ts has a million flows). A node's pods
// leave the set while a pod comes, then the node leaves the router.
import { describe, expect, test } from "vitest";
import { Reason, Verdict } from "../assembly/layout.ts";
import { SYN, type Stream } from "../bench/nat/frames.ts";
import { moves } from "../bench/nat/moves.ts";
import {
  addressOf, Cluster, flowsToVip, PORT, TARGET, VIP, type Pod,
} from "../bench/nat/nodes.ts";
import { packet } from "./packets.ts";
import { core } from "./shop.ts";

const FLOWS = 6000;

const CHANGES = [[5, 1], [12, 1], [5, 2]] as const;

describe.each(["a", "b", "c"])("maglev-nodes: node %s goes, a pod comes", (removed) => {
  test.each(CHANGES)("%i pods a node, told in %i pushes: who began before stays, of those begun " +
    "after it at most the changed slots' share moves", async (podsPerNode, pushes) => {
    const { before, after, changedSlots } = await moves({
      core, flows: FLOWS, podsPerNode, removed, pushes,
    });
    // Two thirds have a pod that lives; a third of those come to a node that never saw them.
    expect(before.living).toBeGreaterThan(FLOWS * 0.6);
    expect(before.unseen).toBeGreaterThan(before.living / 4);
    expect(before).toMatchObject({ moved: 0, dropped: 0, passedOnTwice: 0 });
    expect(after.living).toBe(FLOWS);
    expect(after.unseen).toBeGreaterThan(FLOWS / 4);
    expect(after).toMatchObject({ dropped: 0, passedOnTwice: 0 });
    expect(changedSlots.living).toBeLessThan(0.5);
    expect(after.moved / after.living).toBeLessThanOrEqual(changedSlots.living);
  });
});

test("maglev-nodes: a pod answers its client itself, from the Service's address", async () => {
  const nodes = ["a", "b", "c"];
  const pods = nodes.flatMap((node) => [0, 1].map((number): Pod => ({ node, number })));
  const cluster = new Cluster(core, nodes, 4096);
  await cluster.serve(pods);
  const flows = 300;
  const stream = flowsToVip(flows);
  const reached = cluster.send(stream, 0, flows, SYN);
  const answered = new Set<string>();
  for (let flow = 0; flow < flows; flow++) {
    const { source, sourcePort } = stream.flow(flow);
    const client = source.subarray(12).join(".");
    const pod = podOf(nodes, reached[flow]!);
    const answer = answerOf(stream, flow, addressOf(nodes, pod));
    const { verdict, reason, bytes } = cluster.balancers.get(pod.node)!.answer(pod, answer);
    expect({ verdict, reason }).toEqual({ verdict: Verdict.Pass, reason: Reason.Established });
    const wanted = packet({
      from: VIP, to: client, sourcePort: PORT, port: sourcePort, flags: "SA",
    });
    expect(bytes).toEqual(wanted);
    answered.add(pod.node);
  }
  expect(answered.size).toBe(3);
  cluster.close();
});

test("maglev-nodes: a pause shorter than an established session's moves nobody", async () => {
  const nodes = ["a", "b", "c"];
  const pods = nodes.flatMap((node) => [0, 1, 2, 3, 4].map((number): Pod => ({ node, number })));
  const cluster = new Cluster(core, nodes, 8192);
  await cluster.serve(pods);
  await cluster.serve([...pods, { node: "a", number: 5 }]);
  const flows = 2000;
  const stream = flowsToVip(flows);
  const begun = cluster.send(stream, 0, flows, SYN);
  for (let flow = 0; flow < flows; flow++) {
    const pod = podOf(nodes, begun[flow]!);
    const answer = answerOf(stream, flow, textOf(begun[flow]!));
    expect(cluster.balancers.get(pod.node)!.answer(pod, answer).verdict).toBe(Verdict.Pass);
  }
  const moved = (): number => {
    const now = cluster.send(stream, 0, flows);
    return now.filter((pod, i) => pod !== begun[i]).length;
  };
  expect(moved()).toBe(0);
  cluster.idle(30 * 60_000);
  expect(moved()).toBe(0);
  cluster.close();
});

/** A pod by its address as a number. */
function podOf(nodes: string[], address: number): Pod {
  return { node: nodes[((address >>> 16) & 255) - 1]!, number: address & 0xffff };
}
function answerOf(stream: Stream, flow: number, from: string): Uint8Array {
  const { source, sourcePort } = stream.flow(flow);
  const client = source.subarray(12).join(".");
  return packet({ from, to: client, sourcePort: TARGET, port: sourcePort, flags: "SA" });
}
function textOf(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}
