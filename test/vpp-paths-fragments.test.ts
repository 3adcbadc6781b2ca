// Fragments through VPP's shallow reassembly: whatever order they come in, all parts of a datagram
// meet the verdict of its first, translated alike; and what VPP reassembles for itself is judged.
//
//   2nd, 3rd, 1st ─► shallow reassembly ─► 1st, 2nd, 3rd ─► judged ─► backend
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fragmentsOf, reassembled } from "./fragmented.ts";
import { packet } from "./packets.ts";
import { answerTo, seen, wrongChecksum } from "./translated.ts";
import { by, counted, type Graph, lastPort, skipped, udp } from "./vpp-graph.ts";
import { ADDRESSES, FAMILIES, node } from "./vpp-node.ts";

let graph: Graph;
let identification = 100;
/** A datagram of a new flow that makes four parts. */
const long = (spec: Parameters<typeof udp>[0]): Uint8Array => udp({ payload: 200, ...spec });
const cut = (whole: Uint8Array): Uint8Array[] => fragmentsOf(whole, 64, ++identification);
/** Of four parts. */
const ORDERS = {
  forward: [0, 1, 2, 3], backward: [3, 2, 1, 0], "first last": [1, 2, 3, 0],
  "last first": [3, 0, 1, 2],
};

describe.skipIf(skipped)("fragments", () => {
  beforeAll(async () => { graph = await node({ otherPlugins: ["ping_plugin.so"] }); });
  afterAll(() => graph?.close());

  describe.each(FAMILIES)("IPv%i", (family) => {
    const { client, other, backend, vip, world, pod, node: own } = ADDRESSES[family];

    test.each(Object.entries(ORDERS))(
      "vpp-fragments-order: %s: all parts arrive, translated as one", async (_, order) => {
        const whole = long({ from: client, to: vip });
        const parts = cut(whole);
        expect(parts).toHaveLength(4);
        const sent = await graph.send("client", order.map((n) => parts[n]!));
        expect(by(sent)).toEqual(Array(4).fill("backend"));
        const again = reassembled(sent.left.map((each) => each.bytes));
        expect(seen(again)).toMatchObject({ from: client, to: backend, port: 8080 });
        expect(wrongChecksum(again)).toBeUndefined();
        expect(again.subarray(-200)).toEqual(whole.subarray(-200));
      });

    test("vpp-fragments-apart: the first comes a moment later than the others", async () => {
      const [first, ...rest] = cut(long({ from: client, to: vip }));
      const sent = await graph.sendAll([
        { from: "client", packets: rest }, { from: "client", packets: [first!] },
      ]);
      const again = reassembled(sent.left.map((each) => each.bytes));
      expect(by(sent)).toEqual(Array(4).fill("backend"));
      expect(seen(again)).toMatchObject({ to: backend, port: 8080 });
      expect(wrongChecksum(again)).toBeUndefined();
    });

    test("vpp-fragments-mixed: flows interleaved do not borrow each other's verdicts",
      async () => {
        const good = cut(long({ from: client, to: vip }));
        const bad = cut(long({ from: client, to: vip, port: 1 }));
        const denied = cut(long({ from: client, to: backend, port: 1 }));
        const masqueraded = cut(long({ from: client, to: world }));
        const sent = await graph.send("client", [3, 1, 0, 2].flatMap((n) =>
          [bad[n]!, good[n]!, denied[n]!, masqueraded[n]!]));
        expect(by(sent).sort()).toEqual([...Array(4).fill("backend"), ...Array(4).fill("world")]);
        for (const [name, from, to] of [["backend", client, backend], ["world", own, world]]) {
          const parts = sent.left.filter((each) => each.by === name);
          const again = reassembled(parts.map((each) => each.bytes));
          expect(seen(again)).toMatchObject({ from, to });
          expect(wrongChecksum(again)).toBeUndefined();
        }
      });

    test("vpp-fragments-lone: without a first nothing passes, whoever's identification it bears",
      async () => {
        const [, ...rest] = cut(long({ from: client, to: backend }));
        expect((await graph.send("client", rest)).left).toEqual([]);
        // The same number from another pod is another datagram.
        identification -= 1;
        const [first] = cut(long({ from: other, to: backend }));
        expect(by(await graph.send("other", [first!]))).toEqual(["backend"]);
      });

    test("vpp-fragments-answer: an answer's parts are un-NATed alike", async () => {
      const there = await graph.send("client", [long({ from: client, to: vip })]);
      const answer = packet(answerTo(there.left[0]!.bytes, { payload: 200 }));
      const parts = cut(answer);
      const sent = await graph.send("backend", [2, 3, 0, 1].map((n) => parts[n]!));
      expect(by(sent)).toEqual(Array(4).fill("client"));
      const again = reassembled(sent.left.map((each) => each.bytes));
      expect(seen(again)).toMatchObject({ from: vip, sourcePort: 80, to: client, port: lastPort });
      expect(wrongChecksum(again)).toBeUndefined();
    });

    test("vpp-fragments-own: VPP puts a ping together and answers it; denied parts do not come",
      async () => {
        // VPP itself puts three parts together at most, unless it is told otherwise.
        const ping = packet({ from: client, to: pod, protocol: "icmp", payload: 150 });
        const parts = cut(ping);
        const sent = await graph.send("client", [parts[2]!, parts[0]!, parts[1]!]);
        expect(new Set(by(sent))).toEqual(new Set(["client"]));
        const reply = sent.left.length === 1 ? sent.left[0]!.bytes
          : reassembled(sent.left.map((each) => each.bytes));
        expect(seen(reply)).toMatchObject({ from: pod, to: client });
        expect(wrongChecksum(reply)).toBeUndefined();
        expect(reply.subarray(-150)).toEqual(ping.subarray(-150));
        const denied = await graph.send("client", cut(long({ from: client, to: pod, port: 1 })));
        expect(denied.left).toEqual([]);
        expect(counted(denied, "policy-denied")).toBeGreaterThan(0);
      });
  });
});
