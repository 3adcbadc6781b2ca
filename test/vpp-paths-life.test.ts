// Interfaces come and go: none lets anything through that nobody has bound, from its first moment
// on, and a new one never has the rights of the old one whose index it got.
//
//   VPP starts ─ every interface closed ─► core, program ─► bind: open, as far as policy goes
//   deleted ─► unbound at once ─► its index goes to another interface: closed
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { packet } from "./packets.ts";
import { answerTo, seen } from "./translated.ts";
import { by, counted, Graph, skipped, udp } from "./vpp-graph.ts";
import { ADDRESSES, BACKEND, CLIENT, FAMILIES, node } from "./vpp-node.ts";

const { client, backend, vip } = ADDRESSES[4];
const ALERT = new Uint8Array([148, 4, 0, 0]);

/** Two ports and their networks, as VPP alone would forward between them. */
async function plain(graph: Graph): Promise<void> {
  await graph.port("client", 0, {
    addresses: ["10.0.0.254/24", "fd00::fe/64"], neighbors: [client, "fd00::1"],
  });
  await graph.port("backend", 1, {
    addresses: ["10.0.1.254/24", "fd00:1::fe/64"], neighbors: [backend, "fd00:1::1"],
  });
  await graph.vpp.quietly(
    "ip mroute add 239.1.2.3/32 via pg0 Accept", "ip mroute add 239.1.2.3/32 via pg1 Forward",
    "ip mroute add ff05::1:3/128 via pg0 Accept", "ip mroute add ff05::1:3/128 via pg1 Forward",
  );
}
const everything = (): Uint8Array[] => [
  udp({ from: client, to: backend }), udp({ from: "fd00::1", to: "fd00:1::1" }),
  udp({ from: client, to: "239.1.2.3" }), udp({ from: "fd00::1", to: "ff05::1:3" }),
  packet({ from: client, to: "10.0.0.254", protocol: "icmp" }),
  packet({ from: "fd00::1", to: "fd00::fe", protocol: "icmp" }),
  udp({ from: client, to: backend, ttl: 1 }),
  udp({ from: client, to: backend, fragment: { offset: 0, more: true }, payload: 16 }),
  udp({ from: client, to: backend, options: ALERT }),
];

describe.skipIf(skipped)("a VPP that nobody has configured", () => {
  let graph: Graph;
  beforeEach(async () => {
    graph = await Graph.start({ otherPlugins: ["ping_plugin.so"] });
    await plain(graph);
  });
  afterEach(() => graph?.close());

  test("vpp-closed: nothing passes, nothing is answered, nothing is sent", async () => {
    const packets = everything();
    const sent = await graph.send("client", packets);
    expect(sent.left).toEqual([]);
    expect(counted(sent, "no-generation")).toBe(packets.length);
    await graph.vpp.command("ping 10.0.1.1 repeat 1 interval 0.1");
    await graph.vpp.command("ping fd00:1::1 repeat 1 interval 0.1");
    expect(graph.left()).toEqual([]);
  });

  test("vpp-closed-kinds: subinterfaces, loopbacks, tunnels, pipes are closed alike", async () => {
    await graph.vpp.command("create sub-interfaces pg0 100");
    await graph.vpp.command("create loopback interface");
    await graph.vpp.command("ipsec itf create instance 0");
    await graph.vpp.command("pipe create instance 0");
    for (const name of ["pg0.100", "loop0", "ipsec0", "pipe0.0", "pipe0.1"]) {
      const features = await graph.vpp.command(`show interface features ${name}`);
      for (const family of FAMILIES) {
        for (const arc of ["unicast", "multicast", "output", "local"]) {
          const [, nodes = ""] = new RegExp(`^ip${family}-${arc}:\n((?:\\s+\\S.*\n|\n)*)`, "m")
            .exec(features) ?? [];
          expect(`${name} ip${family}-${arc}:${nodes}`).toContain("margay-");
        }
      }
    }
    await graph.vpp.quietly(
      "set interface state pg0.100 up", "set interface ip address pg0.100 10.0.100.254/24",
      "enable ip6 interface pg0.100",
    );
    const sent = await graph.send("client", [
      udp({ from: "10.0.100.1", to: backend }), udp({ from: "fd00:100::1", to: "fd00:1::1" }),
    ], { vlan: 100 });
    expect(sent.left).toEqual([]);
    expect(counted(sent, "no-generation")).toBe(2);
  });
});

describe.skipIf(skipped)("a VPP that is beside others", () => {
  let graph: Graph;
  beforeAll(async () => {
    graph = await Graph.start({ manual: true });
    await plain(graph);
  });
  afterAll(() => graph?.close());

  test("vpp-manual: only interfaces that are named are closed", async () => {
    const two = () => [udp({ from: client, to: backend }), udp({ from: client, to: "239.1.2.3" })];
    expect(by(await graph.send("client", two()))).toEqual(["backend", "backend"]);
    await graph.vpp.expect("set margay input pg0", "input enabled");
    const sent = await graph.send("client", two());
    expect(sent.left).toEqual([]);
    expect(counted(sent, "no-generation")).toBe(2);
    await graph.vpp.expect("set margay input pg0 disable", "input disabled");
    expect(by(await graph.send("client", two()))).toEqual(["backend", "backend"]);
  });
});

describe.skipIf(skipped)("interfaces that go", () => {
  let graph: Graph;
  beforeAll(async () => { graph = await node(); });
  afterAll(() => graph?.close());
  const indexOf = async (name: string): Promise<string | undefined> =>
    new RegExp(`^${name}\\s+(\\d+)`, "m").exec(await graph.vpp.command("show interface"))?.[1];

  test("vpp-index-reused: a new interface has nothing of the one whose index it got", async () => {
    const more = { addresses: ["10.0.7.254/24"] };
    await graph.port("old", 7, { ...more, endpoint: CLIENT });
    const flow = udp({ from: client, to: vip });
    expect(by(await graph.send("old", [flow]))).toEqual(["backend"]);
    const index = await indexOf("pg7");
    await graph.vpp.quietly("delete packet-generator interface pg7");
    graph.ports.delete("old");
    await graph.port("new", 8, more);
    expect(await indexOf("pg8")).toBe(index);
    const sent = await graph.send("new", [flow, udp({ from: client, to: vip })]);
    expect(sent.left).toEqual([]);
    expect(counted(sent, "unknown-endpoint")).toBe(2);
    await graph.bind("pg8", CLIENT);
    expect(by(await graph.send("new", [flow]))).toEqual(["backend"]);
  });

  test("vpp-index-reused: nor has a subinterface, whatever kind took the index", async () => {
    const create = async (tag: number) => {
      await graph.vpp.command(`create sub-interfaces pg0 ${tag}`);
      await graph.vpp.quietly(
        `set interface state pg0.${tag} up`,
        `set interface ip address pg0.${tag} 10.0.${tag}.254/24`,
      );
      return indexOf(`pg0.${tag}`);
    };
    const index = await create(101);
    await graph.bind("pg0.101", CLIENT);
    const flow = udp({ from: client, to: backend });
    expect(by(await graph.send("client", [flow], { vlan: 101 }))).toEqual(["backend"]);
    await graph.vpp.quietly("delete sub-interface pg0.101");
    expect(await create(102)).toBe(index);
    const sent = await graph.send("client", [flow], { vlan: 102 });
    expect(sent.left).toEqual([]);
    expect(counted(sent, "unknown-endpoint")).toBe(1);
    await graph.vpp.quietly("delete sub-interface pg0.102");
  });

  test("vpp-deleted-under-traffic: interfaces go and come while packets run: VPP runs on",
    async () => {
      graph.left();
      await graph.vpp.command("clear errors");
      await graph.port("gone", 9, {
        addresses: ["10.0.9.254/24"], neighbors: ["10.0.9.1"], endpoint: BACKEND,
      });
      const packets = [1, 2, 3, 4].flatMap((n) => [
        udp({ from: client, to: "10.0.9.1", port: n * 10 }), udp({ from: client, to: vip }),
      ]);
      await graph.stream("client", packets, { vlan: 103, limit: 1e9, stream: "rate 2e4" });
      for (let round = 0; round < 12; round++) {
        await graph.vpp.command("create sub-interfaces pg0 103");
        await graph.vpp.quietly(
          "set interface state pg0.103 up", "set interface ip address pg0.103 10.0.103.254/24");
        await graph.bind("pg0.103", CLIENT);
        await new Promise((done) => setTimeout(done, 15));
        // Where packets go to, and then where they come from.
        if (round === 6) {
          await graph.vpp.quietly("delete packet-generator interface pg9");
          graph.ports.delete("gone");
        }
        await graph.vpp.quietly("delete sub-interface pg0.103");
      }
      await graph.endStream();
      const all = graph.left();
      expect(all.length).toBeGreaterThan(100);
      // What had its link taken away goes where the default route leads.
      expect(new Set(all.map((each) => `${each.by} ${seen(each.bytes).to}`)))
        .toEqual(new Set([`backend ${backend}`, "world 10.0.9.1"]));
      const errors = await graph.errors();
      expect(counted({ errors }, "unknown-endpoint")).toBeGreaterThan(0);
      // And everything else goes on as it did.
      const sent = await graph.send("client", [udp({ from: client, to: vip })]);
      expect(by(sent)).toEqual(["backend"]);
      const back = await graph.send("backend", [packet(answerTo(sent.left[0]!.bytes))]);
      expect(back.left.map((each) => [each.by, seen(each.bytes).from])).toEqual([["client", vip]]);
    });
});
