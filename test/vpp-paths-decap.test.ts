// Packets that VPP decapsulates in the middle of its graph, past the input arcs: what comes out of
// them is judged as the interface's that brought them, whatever their outer packet was allowed.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fragmentsOf } from "./fragmented.ts";
import type { Spec } from "./packets.ts";
import { by, fresh, type Graph, skipped, udp } from "./vpp-graph.ts";
import { ADDRESSES, CLIENT, FAMILIES, node, type Family } from "./vpp-node.ts";
import { addressBytes } from "../host/model/address.ts";

const SID = { 4: "2001:db8:1::4d4", 6: "2001:db8:1::6d6" } as const;
let graph: Graph;

/** In an IPv6 packet to a segment identifier, as SRv6's End.DT takes it (RFC 8986, 4.6 to 4.8). */
function inSegment(family: Family, inner: Uint8Array): Uint8Array {
  const outer = new Uint8Array(40 + inner.length);
  const view = new DataView(outer.buffer);
  outer[0] = 0x60;
  view.setUint16(4, inner.length);
  outer[6] = family === 4 ? 4 : 41;
  outer[7] = 64;
  outer.set(addressBytes(ADDRESSES[6].world), 8);
  outer.set(addressBytes(SID[family]), 24);
  outer.set(inner, 40);
  return outer;
}
const labelled = (label: number, inner: Uint8Array): Uint8Array =>
  Uint8Array.from([label >> 12, (label >> 4) & 0xff, ((label & 15) << 4) | 1, 64, ...inner]);

const toBackend = (family: Family, more: Partial<Spec> = {}): Uint8Array => udp({
  from: ADDRESSES[family].world, to: ADDRESSES[family].backend, payload: 60, ...more,
});

describe.skipIf(skipped)("what is decapsulated past the input arcs", () => {
  beforeAll(async () => {
    graph = await node();
    await graph.vpp.quietly(
      `sr localsid address ${SID[4]} behavior end.dt4 0`,
      `sr localsid address ${SID[6]} behavior end.dt6 0`,
      "mpls table add 0", "set interface mpls pg3 enable",
      "mpls local-label add eos 34 via ip4-lookup-in-table 0",
      "mpls local-label add eos 36 via ip6-lookup-in-table 0",
    );
  });
  afterAll(() => graph?.close());

  const WAYS = FAMILIES.flatMap((family) => [
    {
      family, way: "SRv6",
      send: (inner: Uint8Array) => graph.send("world", [inSegment(family, inner)]),
    },
    {
      family, way: "MPLS", send: (inner: Uint8Array) => graph.send(
        "world", [labelled(family === 4 ? 34 : 36, inner)], { node: "mpls-input" },
      ),
    },
  ]);
  describe.each(WAYS)("IPv$family in $way", ({ family, send }) => {
    test("vpp-decap-judged: what policy lets in arrives, what it denies does not", async () => {
      expect(by(await send(toBackend(family)))).toEqual(["backend"]);
      const denied = await send(toBackend(family, { port: 1 }));
      expect(by(denied)).toEqual([]);
      expect([...denied.errors.keys()].join()).toContain("policy-denied");
    });

    test("vpp-decap-fragments: a fragment inside passes by no session of its own", async () => {
      const whole = toBackend(family, { port: 1, payload: 200 });
      for (const part of fragmentsOf(whole, 96, fresh())) {
        expect(by(await send(part))).toEqual([]);
      }
    });
  });

  test("vpp-decap-host-stack: an interface's number passed on gives no host stack", async () => {
    const { vpp } = graph;
    await vpp.quietly("ip table add 7", "ip6 table add 7");
    await vpp.command("create loopback interface instance 5");
    await vpp.expect("margay host-stack add table 7 interface loop5", "host stack added");
    await vpp.quietly("delete loopback interface intfc loop5");
    await vpp.command("create loopback interface instance 6");
    await graph.bind("loop6", CLIENT);
    const route = await vpp.command("show ip fib table 7 0.0.0.0/0");
    expect(route).toContain("its interface is gone");
    await vpp.expect("margay host-stack del table 7", "host stack deleted");
  });
});
