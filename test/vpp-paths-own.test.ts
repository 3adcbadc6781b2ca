// What VPP sends by itself, and what is for VPP itself: its ICMP errors about translated packets,
// its fragments for a small link, its ping, copies of multicast, packets to its own addresses.
//
//   client ─► VIP ─ judged, DNAT ─► backend's link is too small, TTL ends ─► ICMP error, unmarked
//   client ◄─ un-NATed, quoting what the client sent ◄─ output arc ◄────────┘
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reassembled } from "./fragmented.ts";
import { checksumsRight, packet } from "./packets.ts";
import { answerTo, icmpError, seen, wrongChecksum } from "./translated.ts";
import { by, counted, type Graph, lastPort, skipped, udp } from "./vpp-graph.ts";
import { ADDRESSES, FAMILIES, node, nodeProgram } from "./vpp-node.ts";

const SMALL = 1300;
let graph: Graph;
/** What an error quotes, from its start on. */
const quoted = (bytes: Uint8Array) => bytes.subarray(seen(bytes).l4 + 8);

describe.skipIf(skipped)("VPP's own", () => {
  beforeAll(async () => {
    graph = await node({ otherPlugins: ["ping_plugin.so"] }, nodeProgram(), {
      backend: { ...{
        addresses: ["10.0.1.254/24", "fd00:1::fe/64"], neighbors: ["10.0.1.1", "fd00:1::1"],
        endpoint: 1,
      }, mtu: SMALL },
    });
    // The world's link is as small, for what is masqueraded.
    await graph.vpp.quietly(`set interface mtu packet ${SMALL} pg3`);
  });
  afterAll(() => graph?.close());

  describe.each(FAMILIES)("IPv%i", (family) => {
    const { client, backend, vip, world, node: own, pod, other } = ADDRESSES[family];
    const expired = family === 4 ? 11 : 3, tooBig = family === 4 ? 3 : 2;

    test.each([
      ["dnat", vip], ["snat", world], ["plain", backend],
    ] as const)("vpp-own-expired: TTL ends in VPP: the sender hears what it sent, %s",
      async (_, to) => {
        const bytes = udp({ from: client, to, ttl: 1, payload: 40 });
        const sent = await graph.send("client", [bytes]);
        expect(by(sent)).toEqual(["client"]);
        const error = sent.left[0]!.bytes;
        expect(seen(error)).toMatchObject({ to: client, protocol: family === 4 ? 1 : 58 });
        expect(error[seen(error).l4]).toBe(expired);
        expect(wrongChecksum(error)).toBeUndefined();
        expect(seen(quoted(error))).toMatchObject({
          from: client, to, protocol: 17, sourcePort: lastPort, port: 80,
        });
      });

    test.each([
      ["dnat", vip], ["snat", world], ["plain", backend],
    ] as const)("vpp-own-too-big: a packet too big for the next link, %s: the sender hears so",
      async (_, to) => {
        const bytes = udp({ from: client, to, payload: 1400 });
        const sent = await graph.send("client", [bytes]);
        expect(by(sent)).toEqual(["client"]);
        const error = sent.left[0]!.bytes;
        expect([error[seen(error).l4], seen(error).to]).toEqual([tooBig, client]);
        expect(wrongChecksum(error)).toBeUndefined();
        expect(seen(quoted(error))).toMatchObject({ from: client, to, sourcePort: lastPort });
        if (family === 4) expect(error[21]).toBe(4);
        // What the link takes, for the sender to go by.
        const at = seen(error).l4 + 6;
        expect((error[at]! << 8) | error[at + 1]!).toBe(SMALL);
      });

    test("vpp-own-answers: an error about an answer quotes what its sender sent", async () => {
      const there = udp({ from: client, to: vip });
      const out = (await graph.send("client", [there])).left[0]!.bytes;
      expect(seen(out).to).toBe(backend);
      const answer = packet(answerTo(out, { ttl: 1, payload: 30 }));
      const sent = await graph.send("backend", [answer]);
      expect(by(sent)).toEqual(["backend"]);
      const error = sent.left[0]!.bytes;
      expect(error[seen(error).l4]).toBe(expired);
      expect(wrongChecksum(error)).toBeUndefined();
      expect(seen(quoted(error))).toMatchObject({
        from: backend, to: client, sourcePort: 8080, port: lastPort,
      });
    });

    test("vpp-own-ping: VPP answers a pod's ping, and pings a pod itself", async () => {
      const bytes = packet({ from: client, to: pod, protocol: "icmp", payload: 24 });
      const sent = await graph.send("client", [bytes]);
      expect(by(sent)).toEqual(["client"]);
      expect(seen(sent.left[0]!.bytes)).toMatchObject({ from: pod, to: client });
      expect(checksumsRight(sent.left[0]!.bytes)).toBe(true);
      graph.left();
      await graph.vpp.command(`ping ${other} repeat 1 interval 0.1`);
      const left = graph.left();
      expect(left.map((each) => [each.by, seen(each.bytes).to])).toEqual([["other", other]]);
    });

    test("vpp-own-denied: what the host may not send does not leave", async () => {
      const program = nodeProgram();
      program.policies.push({ name: "none", rules: [{ name: "none", action: "deny" }] });
      program.endpoints.find((each) => each.name === "uplink")!.egress = "none";
      await graph.push(program);
      graph.left();
      await graph.vpp.command("clear errors");
      await graph.vpp.command(`ping ${ADDRESSES[family].gateway} repeat 1 interval 0.1`);
      expect(graph.left()).toEqual([]);
      const errors = await graph.errors();
      expect(counted({ errors }, "policy-denied")).toBe(1);
      await graph.push(nodeProgram());
      await graph.vpp.command(`ping ${ADDRESSES[family].gateway} repeat 1 interval 0.1`);
      expect(graph.left().map((each) => each.by)).toEqual(["world"]);
    });

    test("vpp-own-local: packets to VPP's own addresses are judged", async () => {
      const closed = { from: world, to: own, port: 1 };
      const unserved = { ...closed, port: 4321, payload: 32 };
      const sent = await graph.send("world", [udp(closed), udp(unserved)]);
      expect(counted(sent, "policy-denied")).toBe(1);
      // No listener: an ICMP error of VPP's own, by the flow that it quotes.
      expect(by(sent)).toEqual(["world"]);
      const error = sent.left[0]!.bytes;
      expect(seen(error)).toMatchObject({ from: own, to: world });
      expect(seen(quoted(error))).toMatchObject({ from: world, to: own, port: 4321 });
      expect(wrongChecksum(error)).toBeUndefined();
    });

    test("vpp-own-error-in: an error about a translated flow from outside reaches the pod",
      async () => {
        const bytes = udp({ from: client, to: world });
        const out = (await graph.send("client", [bytes])).left[0]!.bytes;
        expect(seen(out).from).toBe(own);
        const error = icmpError({
          from: ADDRESSES[family].gateway, to: own, quoted: out,
          type: family === 4 ? 11 : 3, code: 0,
        });
        const sent = await graph.send("world", [error]);
        expect(by(sent)).toEqual(["client"]);
        expect(seen(quoted(sent.left[0]!.bytes))).toMatchObject({ from: client, to: world });
        expect(wrongChecksum(sent.left[0]!.bytes)).toBeUndefined();
      });
  });

  test("vpp-own-fragments: VPP cuts a DNATed datagram for a smaller link: all parts arrive",
    async () => {
      const { client, vip, backend } = ADDRESSES[4];
      const whole = udp({
        from: client, to: vip, payload: 2800,
        fragment: { offset: 0, more: false, identification: 77 },
      });
      const sent = await graph.send("client", [whole]);
      expect(by(sent)).toEqual(["backend", "backend", "backend"]);
      const again = reassembled(sent.left.map((each) => each.bytes));
      expect(seen(again)).toMatchObject({ from: client, to: backend, port: 8080 });
      expect(again.subarray(28)).toEqual(whole.subarray(28));
      expect(wrongChecksum(again)).toBeUndefined();
    });

  test.each(FAMILIES)("vpp-own-fragments: and VPP's own answers, IPv%i", async (family) => {
    const { backend } = ADDRESSES[family];
    const to = family === 4 ? "10.0.1.254" : "fd00:1::fe";
    const ping = packet({
      from: backend, to, protocol: "icmp", payload: 2000,
      ...family === 4 ? { fragment: { offset: 0, more: false } } : {},
    });
    const sent = await graph.send("backend", [ping]);
    expect(by(sent)).toEqual(["backend", "backend"]);
    const again = reassembled(sent.left.map((each) => each.bytes));
    expect(seen(again)).toMatchObject({ from: to, to: backend });
    expect(again.subarray(-2000)).toEqual(ping.subarray(-2000));
    expect(wrongChecksum(again)).toBeUndefined();
  });

  test("vpp-own-fragments: and a masqueraded one", async () => {
    const { client, world, node: own } = ADDRESSES[4];
    const whole = udp({
      from: client, to: world, payload: 2800,
      fragment: { offset: 0, more: false, identification: 78 },
    });
    const sent = await graph.send("client", [whole]);
    expect(by(sent)).toEqual(["world", "world", "world"]);
    const again = reassembled(sent.left.map((each) => each.bytes));
    expect(seen(again)).toMatchObject({ from: own, to: world });
    expect(wrongChecksum(again)).toBeUndefined();
  });
});
