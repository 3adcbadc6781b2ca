// Fragments through VPP's shallow reassembly: whatever order they come in, all parts of a datagram
// meet the verdict of its first, translated alike; and what VPP reassembles for itself is judged.
//
//   2nd, 3rd, 1st ─► shallow reassembly ─► 1st, 2nd, 3rd ─► judged ─► backend
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from "vitest";
import { fragmentsOf, reassembled } from "./fragmented.ts";
import { packet, type Spec } from "./packets.ts";
import { answerTo, seen, wrongChecksum } from "./translated.ts";
import { counted, skipped, type Graph, type Sent } from "./vpp-graph.ts";
import { ADDRESSES, FAMILIES, node } from "./vpp-node.ts";

let graph: Graph;
async function send(...all: Parameters<Graph["send"]>): Promise<Sent> {
  const sent = await graph.send(...all);
  onTestFailed(() => console.log(sent.trace, [...sent.errors]));
  return sent;
}
const by = (sent: Sent) => sent.left.map((each) => each.by);
let port = 20000, identification = 100;
const udp = (more: Omit<Spec, "protocol">): Uint8Array =>
  packet({ protocol: "udp", sourcePort: ++port, payload: 200, ...more });
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
        const whole = udp({ from: client, to: vip });
        const parts = cut(whole);
        expect(parts).toHaveLength(4);
        const sent = await send("client", order.map((n) => parts[n]!));
        expect(by(sent)).toEqual(Array(4).fill("backend"));
        const again = reassembled(sent.left.map((each) => each.bytes));
        expect(seen(again)).toMatchObject({ from: client, to: backend, port: 8080 });
        expect(wrongChecksum(again)).toBeUndefined();
        expect(again.subarray(-200)).toEqual(whole.subarray(-200));
      });

    test("vpp-fragments-apart: the first comes a moment later than the others", async () => {
      const [first, ...rest] = cut(udp({ from: client, to: vip }));
      const sent = await graph.sendAll([
        { from: "client", packets: rest }, { from: "client", packets: [first!] },
      ]);
      onTestFailed(() => console.log(sent.trace, [...sent.errors]));
      const again = reassembled(sent.left.map((each) => each.bytes));
      expect(by(sent)).toEqual(Array(4).fill("backend"));
      expect(seen(again)).toMatchObject({ to: backend, port: 8080 });
      expect(wrongChecksum(again)).toBeUndefined();
    });

    test("vpp-fragments-mixed: flows interleaved do not borrow each other's verdicts",
      async () => {
        const good = cut(udp({ from: client, to: vip }));
        const bad = cut(udp({ from: client, to: vip, port: 1 }));
        const denied = cut(udp({ from: client, to: backend, port: 1 }));
        const masqueraded = cut(udp({ from: client, to: world }));
        const sent = await send("client", [3, 1, 0, 2].flatMap((n) =>
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
        const [, ...rest] = cut(udp({ from: client, to: backend }));
        expect((await send("client", rest)).left).toEqual([]);
        // The same number from another pod is another datagram.
        identification -= 1;
        const [first] = cut(udp({ from: other, to: backend }));
        expect(by(await send("other", [first!]))).toEqual(["backend"]);
      });

    test("vpp-fragments-answer: an answer's parts are un-NATed alike", async () => {
      const there = await send("client", [udp({ from: client, to: vip })]);
      const answer = packet(answerTo(there.left[0]!.bytes, { payload: 200 }));
      const parts = cut(answer);
      const sent = await send("backend", [2, 3, 0, 1].map((n) => parts[n]!));
      expect(by(sent)).toEqual(Array(4).fill("client"));
      const again = reassembled(sent.left.map((each) => each.bytes));
      expect(seen(again)).toMatchObject({ from: vip, sourcePort: 80, to: client, port });
      expect(wrongChecksum(again)).toBeUndefined();
    });

    test("vpp-fragments-own: VPP puts a ping together and answers it; denied parts do not come",
      async () => {
        // VPP itself puts three parts together at most, unless it is told otherwise.
        const ping = packet({ from: client, to: pod, protocol: "icmp", payload: 150 });
        const parts = cut(ping);
        const sent = await send("client", [parts[2]!, parts[0]!, parts[1]!]);
        expect(new Set(by(sent))).toEqual(new Set(["client"]));
        const reply = sent.left.length === 1 ? sent.left[0]!.bytes
          : reassembled(sent.left.map((each) => each.bytes));
        expect(seen(reply)).toMatchObject({ from: pod, to: client });
        expect(wrongChecksum(reply)).toBeUndefined();
        expect(reply.subarray(-150)).toEqual(ping.subarray(-150));
        const denied = await send("client", cut(udp({ from: client, to: pod, port: 1 })));
        expect(denied.left).toEqual([]);
        expect(counted(denied, "policy-denied")).toBeGreaterThan(0);
      });
  });
});
