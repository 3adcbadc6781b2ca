// The plugin's own nodes in a running VPP: which interfaces have them, what an interface's number
// stands for, fragments out of order, the host stack's table, traces. What a node lets out or not
// is shown from outside in vpp-paths-*.test.ts.
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from "vitest";
import { fragmentsOf, reassembled } from "./fragmented.ts";
import { packet } from "./packets.ts";
import { answerTo, seen, wrongChecksum } from "./translated.ts";
import { by, counted, fresh, Graph, type Sent, skipped, udp } from "./vpp-graph.ts";
import { ADDRESSES, CLIENT, FAMILIES, node, nodeProgram, OTHER } from "./vpp-node.ts";

const ARCS = [
  ["ip4-unicast", "margay-ip4-input"], ["ip6-unicast", "margay-ip6-input"],
  ["ip4-multicast", "margay-ip4-input"], ["ip6-multicast", "margay-ip6-input"],
  ["ip4-output", "margay-ip4-output"], ["ip6-output", "margay-ip6-output"],
  ["ip4-local", "margay-ip4-local"], ["ip6-local", "margay-ip6-local"],
] as const;
let graph: Graph;

/** Which of our arcs an interface has: "arc node" each. */
async function arcsOf(vpp: Graph["vpp"], name: string): Promise<string[]> {
  const text = await vpp.command(`show interface features ${name}`);
  let arc = "";
  const found: string[] = [];
  for (const line of text.split("\n")) {
    const heading = /^([a-z0-9-]+):$/.exec(line.trim());
    if (heading) arc = heading[1]!;
    else if (line.trim().startsWith("margay-")) found.push(`${arc} ${line.trim()}`);
  }
  return found.sort();
}
const ALL = ARCS.map((each) => each.join(" ")).sort();

describe.skipIf(skipped)("the plugin's nodes", () => {
  beforeAll(async () => {
    graph = await node({ otherPlugins: ["ping_plugin.so"] });
  });
  afterAll(() => graph?.close());

  test("vpp-nodes-new: every interface has all arcs from its making, whatever it is", async () => {
    const { vpp } = graph;
    await vpp.command("create loopback interface instance 7");
    await vpp.command("create sub-interfaces pg0 100");
    await vpp.command("create packet-generator interface pg20");
    for (const name of ["pg0", "pg0.100", "loop7", "pg20"]) {
      expect([name, await arcsOf(vpp, name)]).toEqual([name, ALL]);
    }
    expect(await arcsOf(vpp, "local0")).toEqual(expect.arrayContaining(ALL));
    await vpp.expect("set margay input loop7 disable", "input disabled");
    expect(await arcsOf(vpp, "loop7")).toEqual([]);
  });

  test("vpp-nodes-manual: but for the manual mode", async () => {
    const manual = await Graph.start({ manual: true });
    try {
      await manual.vpp.command("create loopback interface instance 7");
      expect(await arcsOf(manual.vpp, "loop7")).toEqual([]);
      await manual.vpp.expect("set margay input loop7", "input enabled");
      expect(await arcsOf(manual.vpp, "loop7")).toEqual(ALL);
    } finally {
      await manual.close();
    }
  });

  test("vpp-nodes-deleted: the number of an interface that is gone stands for nothing",
    async () => {
      const { vpp } = graph;
      const create = () => vpp.command("create loopback interface instance 9");
      const { client, backend } = ADDRESSES[4];
      const bytes = () => udp({ from: client, to: backend });
      const index = async () =>
        Number(/^loop9\s+(\d+)/m.exec(await vpp.command("show interface loop9"))![1]);
      await create();
      const number = await index();
      await vpp.quietly("set interface state loop9 up", "enable ip4 interface loop9");
      await graph.bind("loop9", CLIENT);
      const bound = await sendAt("loop9", [bytes()]);
      expect(by(bound)).toEqual(["backend"]);
      await vpp.command("delete loopback interface intfc loop9");
      await create();
      expect(await index()).toBe(number);
      await vpp.quietly("set interface state loop9 up", "enable ip4 interface loop9");
      expect(await arcsOf(vpp, "loop9")).toEqual(ALL);
      const unbound = await sendAt("loop9", [bytes()]);
      expect(by(unbound)).toEqual([]);
      expect(counted(unbound, "unknown-endpoint")).toBe(1);
      // Bound to another: judged as that.
      await graph.bind("loop9", OTHER);
      const other = await sendAt("loop9", [bytes()]);
      expect(counted(other, "spoofed-source")).toBe(1);
    });

  /** Packets that seem to have come in by an interface that is no port. */
  async function sendAt(name: string, packets: Uint8Array[]): Promise<Sent> {
    return await graph.send("client", packets, { stream: `interface ${name}`, node: "ip4-input" });
  }

  describe.each(FAMILIES)("fragments, IPv%i", (family) => {
    const { client, backend, vip } = ADDRESSES[family];
    const parts = (to: string) => fragmentsOf(udp({ from: client, to, payload: 160 }), 64, fresh());

    test.each(["in order", "the last in front"])(
      "vpp-nodes-fragments: all parts of a datagram arrive, translated: %s", async (order) => {
        const [first, second, third] = parts(vip);
        const all = [first!, second!, third!];
        const packets = order === "in order" ? all : all.reverse();
        const sent = await graph.send("client", packets);
        expect(by(sent)).toEqual(["backend", "backend", "backend"]);
        const again = reassembled(sent.left.map((each) => each.bytes));
        expect(seen(again)).toMatchObject({ from: client, to: backend, port: 8080 });
        expect(wrongChecksum(again)).toBeUndefined();
        expect(counted(sent, "later-fragment")).toBe(0);
      });

    test("vpp-nodes-fragments: later parts that come first wait for it, also in frames apart",
      async () => {
        const [first, second, third] = parts(vip);
        expect(by(await graph.send("client", [third!, second!]))).toEqual([]);
        const sent = await graph.send("client", [first!]);
        expect(by(sent)).toEqual(["backend", "backend", "backend"]);
        expect(seen(reassembled(sent.left.map((each) => each.bytes))).port).toBe(8080);
      });

    test("vpp-nodes-fragments: of other protocols too, which VPP's reassembly knows not",
      async () => {
        const whole = packet({ from: client, to: backend, protocol: 47, payload: 160 });
        const [first, second, third] = fragmentsOf(whole, 64, fresh());
        const sent = await graph.send("client", [third!, second!, first!]);
        expect(by(sent)).toEqual(["backend", "backend", "backend"]);
      });

    test("vpp-nodes-fragments: whole packets in a frame with fragments keep their order",
      async () => {
        const wholes = [1, 2, 3].map(() => udp({ from: client, to: backend }));
        const [first, second] = parts(backend);
        const [a, b, c] = wholes;
        const sent = await graph.send("client", [a!, second!, b!, first!, c!]);
        const first3 = sent.left.map((each) => each.bytes)
          .filter((bytes) => wholes.some((whole) => whole.length === bytes.length));
        expect(first3.map((bytes) => seen(bytes).sourcePort))
          .toEqual(wholes.map((bytes) => seen(bytes).sourcePort));
        expect(by(sent)).toHaveLength(5);
      });
  });

  test("vpp-nodes-trace: tracing can begin at our nodes, and tells what was decided", async () => {
    const { vpp } = graph;
    const { client, vip } = ADDRESSES[4];
    await vpp.command("clear trace");
    await vpp.quietly("trace add margay-ip4-input 2");
    const packets = [1, 2, 3].map(() => udp({ from: client, to: vip }));
    await graph.stream("client", packets);
    await expect.poll(() => vpp.command("show packet-generator")).not.toMatch(/^run\s+Yes/m);
    await vpp.quietly("packet-generator delete run");
    const trace = await vpp.command("show trace");
    expect(trace.match(/^Packet \d+$/gm)).toHaveLength(2);
    expect(trace).toMatch(/margay: verdict=pass reason=allowed .* hook=entering .*rewrite=10\./);
    expect(trace).toMatch(/pg1-tx/);
    expect(trace).not.toMatch(/pg-input/);
  });

  test("vpp-nodes-host-stack: packets of a host stack's table are judged as from its endpoint",
    async () => {
      const { vpp } = graph;
      await vpp.quietly("ip table add 5", "ip6 table add 5");
      await vpp.command("create loopback interface instance 5");
      await vpp.quietly(
        "set interface state loop5 up", "set interface ip table loop5 5",
        "set interface ip6 table loop5 5", "set interface ip address loop5 10.0.2.9/32",
        "set interface ip address loop5 fd00:2::9/128",
      );
      const program = nodeProgram();
      program.endpoints.find((each) => each.name === "other")!.addresses
        .push("10.0.2.9", "fd00:2::9");
      await graph.push(program);
      await graph.bind("loop5", OTHER);
      await vpp.expect("margay host-stack add table 5 interface loop5", "host stack added");
      expect(await vpp.command("margay host-stack add table 5 interface loop5"))
        .toMatch(/table 5: has a host stack already/);
      expect(await vpp.command("margay host-stack add table 99 interface loop5"))
        .toMatch(/table 99: no such IPv4 table/);
      for (const family of FAMILIES) {
        const { backend } = ADDRESSES[family];
        graph.left();
        await vpp.command("clear errors");
        await vpp.command("clear trace");
        await vpp.quietly(`trace add margay-ip${family}-host 10`);
        await vpp.command(`ping ${backend} source loop5 table-id 5 repeat 1 interval 0.1`);
        const left = graph.left();
        const trace = await vpp.command("show trace");
        onTestFailed(() => console.log(trace));
        expect(left.map((each) => [each.by, seen(each.bytes).to])).toEqual([["backend", backend]]);
        expect(trace).toMatch(/margay: verdict=pass reason=allowed .*egress:\d/);
        // And back: to the address in that table.
        const back = packet(answerTo(left[0]!.bytes));
        expect(counted(await graph.send("backend", [back]), "policy-denied")).toBe(0);
      }
      // Its endpoint's policy decides, and its address.
      await graph.bind("loop5", CLIENT);
      await vpp.command("clear errors");
      await vpp.command("ping 10.0.1.1 source loop5 table-id 5 repeat 1 interval 0.1");
      const errors = await graph.errors();
      expect(counted({ errors }, "spoofed-source")).toBe(1);
      expect(graph.left()).toEqual([]);
      await vpp.expect("margay host-stack del table 5", "host stack deleted");
      expect(await vpp.command("margay host-stack del table 5")).toMatch(/has no host stack/);
      await vpp.command("ping 10.0.1.1 source loop5 table-id 5 repeat 1 interval 0.1");
      expect(graph.left()).toEqual([]);
      await graph.push(nodeProgram());
    });
});
