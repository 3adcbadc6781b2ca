// Whatever comes in by an interface is judged there: unicast and multicast, with options, out of a
// tunnel; and what no endpoint answers for is dropped, whatever the interface is or was.
//
//   ESP from the gateway ─► world (judged: for the node) ─► decrypted ─► ipsec0 (judged) ─► pod
import { createCipheriv } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fragmentsOf } from "./fragmented.ts";
import { packet, sum16 } from "./packets.ts";
import { seen, setWord, wrongChecksum } from "./translated.ts";
import { by, counted, type Graph, lastPort, skipped, udp } from "./vpp-graph.ts";
import { ADDRESSES, CLIENT, FAMILIES, node, nodeProgram, UPLINK } from "./vpp-node.ts";

let graph: Graph;

const GROUPS = { 4: "239.1.2.3", 6: "ff05::1:3" } as const;
/** Of every kind that VPP takes another way, from somebody, to nobody in particular. */
const allKinds = (family: 4 | 6, from: string): Uint8Array[] => [
  udp({ from, to: ADDRESSES[family].backend }),
  udp({ from, to: GROUPS[family] }),
  udp({ from, to: family === 4 ? "224.0.0.1" : "ff02::1" }),
  udp({ from, to: ADDRESSES[family].pod }),
  fragmentsOf(udp({ from, to: ADDRESSES[family].backend, payload: 64 }), 48, 1)[0]!,
  ...family === 4 ? [
    udp({ from, to: ADDRESSES[4].backend, options: ALERT }),
    udp({ from, to: ADDRESSES[4].backend, options: RECORD }),
  ] : [
    udp({ from, to: ADDRESSES[6].backend, extensions: [
      { number: 0, body: new Uint8Array([0, 5, 2, 0, 0, 1, 0]) },
    ] }),
  ],
];
const ALERT = new Uint8Array([148, 4, 0, 0]);
const RECORD = new Uint8Array([7, 7, 4, 0, 0, 0, 0, 0]);
const STAMP = new Uint8Array([68, 8, 5, 0, 0, 0, 0, 0]);
const sourceRoute = (kind: number) => new Uint8Array([kind, 7, 4, 10, 0, 2, 1, 0]);

describe.skipIf(skipped)("what comes in", () => {
  beforeAll(async () => {
    graph = await node();
    await graph.port("stranger", 5, {
      addresses: ["10.0.5.254/24", "fd00:5::fe/64"], neighbors: ["10.0.5.1", "fd00:5::1"],
    });
    for (const group of Object.values(GROUPS)) {
      const prefix = `${group}/${group.includes(":") ? 128 : 32}`;
      await graph.vpp.quietly(
        `ip mroute add ${prefix} via pg0 Accept`, `ip mroute add ${prefix} via pg5 Accept`,
        `ip mroute add ${prefix} via pg1 Forward`, `ip mroute add ${prefix} via pg2 Forward`,
      );
    }
  });
  afterAll(() => graph?.close());

  describe.each(FAMILIES)("IPv%i", (family) => {
    const { client, backend, other, pod } = ADDRESSES[family];

    test("vpp-in-unbound: an interface without an endpoint lets nothing in", async () => {
      const from = family === 4 ? "10.0.5.1" : "fd00:5::1";
      const packets = [...allKinds(family, from), ...allKinds(family, client)];
      const sent = await graph.send("stranger", packets);
      expect(sent.left).toEqual([]);
      expect(counted(sent, "unknown-endpoint")).toBe(packets.length);
    });

    test("vpp-in-multicast: a group's packets are judged once, and every copy leaves", async () => {
      const group = { from: client, to: GROUPS[family] };
      const sent = await graph.send("client", [udp({ ...group, payload: 100 })]);
      expect(by(sent).sort()).toEqual(["backend", "other"]);
      for (const { bytes } of sent.left) {
        // Outside the cluster, so masqueraded; a copy is not translated again.
        const { node: from } = ADDRESSES[family];
        expect(seen(bytes)).toMatchObject({ from, to: GROUPS[family], sourcePort: lastPort });
        expect(wrongChecksum(bytes)).toBeUndefined();
      }
      const denied = await graph.send("client", [udp({ ...group, port: 1 })]);
      expect(denied.left).toEqual([]);
      expect(counted(denied, "policy-denied")).toBe(1);
      const spoofed = await graph.send("client", [udp({ ...group, from: other })]);
      expect(spoofed.left).toEqual([]);
      expect(counted(spoofed, "spoofed-source")).toBe(1);
    });

    test("vpp-in-spoofed: a pod sends from its own address alone, whatever it is to", async () => {
      const packets = allKinds(family, other);
      const sent = await graph.send("client", packets);
      expect(sent.left).toEqual([]);
      expect(counted(sent, "spoofed-source")).toBe(packets.length);
    });

    test("vpp-in-forged: no flag that a packet comes with spares it the judgement", async () => {
      const flags = [...Array.from({ length: 9 }, (_, n) => `avail${n + 1}`), "local"];
      for (const flag of flags) {
        const sent = await graph.send("client", [
          udp({ from: client, to: backend, port: 1 }), udp({ from: client, to: pod, port: 1 }),
          udp({ from: other, to: GROUPS[family] }),
        ], { stream: `buffer-flags ${flag}` });
        expect(`${flag}: ${by(sent).join()}`).toBe(`${flag}: `);
        expect(counted(sent, "policy-denied")).toBe(2);
        expect(counted(sent, "spoofed-source")).toBe(1);
      }
    });

    test("vpp-in-once: a packet between pods is judged at its entry and passes once", async () => {
      const sent = await graph.send("client", [
        udp({ from: client, to: backend }), udp({ from: client, to: backend, port: 1 }),
        udp({ from: client, to: pod, port: 1 }),
      ]);
      expect(by(sent)).toEqual(["backend"]);
      expect(counted(sent, "policy-denied")).toBe(2);
    });
  });

  describe("IPv4 options", () => {
    const { client, backend, vip } = ADDRESSES[4];
    test.each([["record route", RECORD], ["timestamp", STAMP], ["router alert", ALERT]])(
      "vpp-in-options: %s is judged as any packet, and translated", async (_, options) => {
        const sent = await graph.send("client", [
          udp({ from: client, to: backend, options }),
          udp({ from: client, to: vip, options }),
          udp({ from: client, to: backend, port: 1, options }),
        ]);
        expect(by(sent)).toEqual(["backend", "backend"]);
        expect(counted(sent, "policy-denied")).toBe(1);
        for (const { bytes } of sent.left) {
          expect(seen(bytes).to).toBe(backend);
          expect([bytes[0]! & 15, bytes[20]]).toEqual([5 + options.length / 4, options[0]]);
          expect(wrongChecksum(bytes)).toBeUndefined();
        }
        expect(seen(sent.left[1]!.bytes).port).toBe(8080);
      });

    test.each([["loose", 131], ["strict", 137]])(
      "vpp-in-source-route: a %s source route is dropped by name", async (_, kind) => {
        const sent = await graph.send("client", [
          udp({ from: client, to: backend, options: sourceRoute(kind) }),
        ]);
        expect(sent.left).toEqual([]);
        expect(counted(sent, "source-route")).toBe(1);
      });

    test("vpp-in-igmp: a report with router alert comes to VPP's IGMP, judged", async () => {
      const report = packet({
        from: client, to: "224.0.0.22", protocol: 2, options: ALERT, payload: 8, ttl: 1,
      });
      const sent = await graph.send("client", [report]);
      expect(sent.trace).toMatch(/margay-ip4-options[\s\S]*ip4-local|ip4-local[\s\S]*margay-/);
      expect(sent.left).toEqual([]);
      const unbound = await graph.send("stranger", [report]);
      expect(counted(unbound, "unknown-endpoint")).toBe(1);
      expect(unbound.trace).not.toMatch(/ip4-local\n/);
    });
  });

  describe("tunnels", () => {
    const KEY = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
    const SALT = Buffer.from([0, 0, 0x12, 0x34]);
    let sequence = 0;
    /** A packet in ESP in tunnel mode, AES-GCM with an ICV of 16 bytes (RFC 4303, RFC 4106). */
    function esp(inner: Uint8Array): Uint8Array {
      const header = Buffer.alloc(16);
      header.writeUInt32BE(200, 0);
      header.writeUInt32BE(++sequence, 4);
      header.writeUInt32BE(sequence, 12);
      const pad = (4 - ((inner.length + 2) % 4)) % 4;
      const trailer = Buffer.from([...[1, 2, 3].slice(0, pad), pad, inner[0]! >> 4 === 6 ? 41 : 4]);
      const cipher = createCipheriv(
        "aes-128-gcm", KEY, Buffer.concat([SALT, header.subarray(8)]), { authTagLength: 16 });
      cipher.setAAD(header.subarray(0, 8));
      const body = Buffer.concat([cipher.update(inner), cipher.update(trailer), cipher.final()]);
      const { gateway: from, node: to } = ADDRESSES[4];
      const content = Buffer.concat([header, body, cipher.getAuthTag()]);
      const bytes = packet({ from, to, protocol: 50, content: content.subarray(8) });
      bytes.set(content, 20);
      return bytes;
    }

    beforeAll(async () => {
      const sa = `crypto-key ${KEY.toString("hex")} crypto-alg aes-gcm-128 esp salt 0x1234`;
      await graph.vpp.command("ipsec itf create instance 0");
      await graph.vpp.quietly(
        `ipsec sa add 20 spi 200 inbound ${sa} tunnel src 192.0.2.254 dst 192.0.2.1`,
        `ipsec sa add 30 spi 300 ${sa} tunnel src 192.0.2.1 dst 192.0.2.254`,
        "ipsec tunnel protect ipsec0 sa-in 20 sa-out 30",
        "set interface state ipsec0 up", "set interface unnumbered ipsec0 use pg3",
        "enable ip6 interface ipsec0",
      );
    });

    test.each(FAMILIES)("vpp-in-tunnel: what a tunnel carries is judged on its own, IPv%i",
      async (family) => {
        const { client, backend, world } = ADDRESSES[family];
        const good = () => esp(udp({ from: world, to: backend }));
        await graph.vpp.expect("margay bind ipsec0 none", "interface bound");
        const unbound = await graph.send("world", [good()]);
        expect(unbound.trace).toMatch(/esp4-decrypt-tun/);
        expect(unbound.left).toEqual([]);
        expect(counted(unbound, "unknown-endpoint")).toBe(1);

        await graph.bind("ipsec0", UPLINK);
        const bound = await graph.send("world", [
          good(), esp(udp({ from: world, to: backend, port: 1 })),
        ]);
        expect(bound.left.map((each) => [each.by, seen(each.bytes).from])).toEqual([
          ["backend", world],
        ]);
        expect(counted(bound, "policy-denied")).toBe(1);

        await graph.bind("ipsec0", CLIENT);
        const pod = await graph.send("world", [good(), esp(udp({ from: client, to: backend }))]);
        expect(by(pod)).toEqual(["backend"]);
        expect(counted(pod, "spoofed-source")).toBe(1);
      });

    test("vpp-in-tunnel-outer: and what carries it is judged, too", async () => {
      const program = nodeProgram();
      program.policies.push({ name: "no-esp", rules: [
        { name: "esp", action: "deny", protocol: 50 }, { name: "all", action: "allow" },
      ] });
      program.endpoints.find((each) => each.name === "uplink")!.ingress = "no-esp";
      await graph.bind("ipsec0", UPLINK);
      await graph.push(program);
      // Another flow than the one that is established: from another host of the link.
      const bytes = esp(udp({ from: ADDRESSES[4].world, to: ADDRESSES[4].backend }));
      bytes[15] = 253;
      setWord(bytes, 10, 0);
      setWord(bytes, 10, ~sum16(bytes.subarray(0, 20)) & 0xffff);
      const sent = await graph.send("world", [bytes]);
      expect(sent.left).toEqual([]);
      expect(counted(sent, "policy-denied")).toBe(1);
      expect(sent.trace).not.toMatch(/esp4-decrypt/);
      await graph.push(nodeProgram());
    });
  });
});
