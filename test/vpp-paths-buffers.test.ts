// Packets that are more than one buffer of plain bytes: chains, super-packets for segmentation,
// checksums left to the hardware; and the program's own answers.
//
//   client ─ 4,000 bytes, two buffers, GSO 1,000, partial checksum ─► DNAT ─► VPP cuts ─► backend
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packet, type Spec } from "./packets.ts";
import { answerTo, seen, wrongChecksum } from "./translated.ts";
import { by, counted, fresh, type Graph, skipped } from "./vpp-graph.ts";
import { ADDRESSES, FAMILIES, node, nodeProgram } from "./vpp-node.ts";

let graph: Graph;
const of = (more: Spec): Uint8Array => packet({ sourcePort: fresh(), flags: "S", ...more });
const PROTOCOLS = ["tcp", "udp", "sctp"] as const;
const SEGMENT = 1000;

describe.skipIf(skipped)("buffers", () => {
  beforeAll(async () => {
    const program = nodeProgram();
    const web = program.services.filter(({ protocol, name }) => protocol === "tcp"
      && name.startsWith("web"));
    program.services.push(...web.map((each) => ({
      ...each, name: each.name.replace("tcp", "sctp"), protocol: "sctp" as const,
    })));
    program.policies.push({ name: "none", rules: [{ name: "none", action: "deny" }] });
    // Nothing of the host's own may leave: an answer of the program's is not the host's.
    Object.assign(program.endpoints.find((each) => each.name === "uplink")!, { egress: "none" });
    graph = await node({}, program);
    const { client } = ADDRESSES[4];
    await graph.port("segments", 6, {
      flags: `gso-enabled gso-size ${SEGMENT}`, neighbors: [client], endpoint: 0,
      addresses: ["10.0.6.254/24", "fd00:6::fe/64"],
    });
    await graph.port("offload", 7, {
      flags: "csum-offload-enabled", endpoint: 0,
      addresses: ["10.0.7.254/24", "fd00:7::fe/64"],
    });
    // Where the links are not told to take super-packets.
    await graph.vpp.quietly("set interface feature gso pg1 enable",
      "set interface feature gso pg3 enable");
  });
  afterAll(() => graph?.close());

  describe.each(FAMILIES)("IPv%i", (family) => {
    const { client, backend, vip, empty, world, node: own } = ADDRESSES[family];

    test.each(PROTOCOLS)("vpp-chained: %s over several buffers is translated, to and fro",
      async (protocol) => {
        for (const payload of [2000, 2010, 2020, 2030, 2040, 4000, 8000]) {
          const whole = of({ from: client, to: vip, protocol, payload });
          const sent = await graph.send("client", [whole]);
          expect(by(sent)).toEqual(["backend"]);
          const { bytes } = sent.left[0]!;
          expect(seen(bytes)).toMatchObject({ to: backend, port: 8080 });
          expect(wrongChecksum(bytes)).toBeUndefined();
          expect(bytes.subarray(-payload)).toEqual(whole.subarray(-payload));
          const back = await graph.send("backend", [packet(answerTo(bytes, { payload }))]);
          expect(by(back)).toEqual(["client"]);
          expect(seen(back.left[0]!.bytes)).toMatchObject({ from: vip, sourcePort: 80 });
          expect(wrongChecksum(back.left[0]!.bytes)).toBeUndefined();
        }
      });

    test.each([["dnat", vip, "backend"], ["snat", world, "world"], ["plain", backend, "backend"]])(
      "vpp-gso: a super-packet is judged once, and cut with right headers, %s",
      async (_, to, port) => {
        const whole = of({ from: client, to, payload: 4200, flags: "AP" });
        const sent = await graph.send("segments", [whole]);
        expect(by(sent)).toEqual(Array(5).fill(port));
        const parts = sent.left.map((each) => each.bytes);
        for (const bytes of parts) {
          expect(seen(bytes)).toMatchObject(seen(parts[0]!));
          expect(wrongChecksum(bytes)).toBeUndefined();
        }
        expect(seen(parts[0]!)).toMatchObject({
          from: to === world ? own : client, to: to === vip ? backend : to,
          port: to === vip ? 8080 : 80,
        });
        const data = Buffer.concat(parts.map((each) => each.subarray(seen(each).l4 + 20)));
        expect(data.equals(Buffer.alloc(4200, 0xa5))).toBe(true);
      });

    test.each(["tcp", "udp"] as const)(
      "vpp-offload: %s whose checksum is left to VPP leaves right", async (protocol) => {
        for (const to of [vip, world, backend]) {
          const whole = of({ from: client, to, protocol, payload: 77 });
          const sent = await graph.send("offload", [whole]);
          expect(sent.left).toHaveLength(1);
          expect(wrongChecksum(sent.left[0]!.bytes)).toBeUndefined();
          expect(seen(sent.left[0]!.bytes).to).toBe(to === vip ? backend : to);
        }
      });

    test("vpp-answers: rejects leave by where they came in, past the host's own policy",
      async () => {
        const sent = await graph.send("client", [
          of({ from: client, to: empty }),
          of({ from: client, to: empty, protocol: "udp", payload: 3000 }),
        ]);
        expect(by(sent)).toEqual(["client", "client"]);
        const [reset, error] = sent.left.map((each) => each.bytes);
        expect(seen(reset!))
          .toMatchObject({ from: empty, to: client, protocol: 6, sourcePort: 80 });
        expect(reset![seen(reset!).l4 + 13]).toBe(0x14);
        expect(seen(error!)).toMatchObject({ from: empty, to: client });
        for (const bytes of [reset!, error!]) expect(wrongChecksum(bytes)).toBeUndefined();
        expect(counted(sent, "no-backend")).toBe(2);
        expect(counted(sent, "policy-denied")).toBe(0);
        const offloaded = await graph.send("offload", [of({ from: client, to: empty })]);
        expect(wrongChecksum(offloaded.left[0]!.bytes)).toBeUndefined();
      });
  });
});
