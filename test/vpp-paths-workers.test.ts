// Two threads: the main one takes what comes over memif, the worker what the packet generator
// sends. A flow whose directions land on different ones has one session; a datagram's fragments
// come together wherever they arrive.
//
//   wire ─ pg0 ═ L2 ═ memif0/0 ── memif1/0 (pod, received on main) ─► VPP ─► pg1 (pod, worker)
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseSessions } from "../host/vpp/text.ts";
import { fragmentsOf, reassembled } from "./fragmented.ts";
import { packet } from "./packets.ts";
import { answerTo, seen, wrongChecksum } from "./translated.ts";
import {
  by, counted, fresh, Graph, lastPort, macOf, type Sent, skipped, udp,
} from "./vpp-graph.ts";
import { ADDRESSES, BACKEND, CLIENT, FAMILIES, nodeProgram, wireWorld } from "./vpp-node.ts";

const POD_MAC = "02:fe:00:00:00:aa";
let graph: Graph;
const SETTLE = { settleMs: 40 };
/** From the client: what its wire carries is for the pod interface's own address. */
const client = (packets: Uint8Array[], awaited = packets.length): Promise<Sent> =>
  graph.send("wire", packets, {
    destinationMac: POD_MAC, traced: "memif-input", awaited, ...SETTLE,
  });
const send = (from: string, packets: Uint8Array[], awaited = packets.length): Promise<Sent> =>
  graph.send(from, packets, { awaited, ...SETTLE });
let identification = 0;

/** On which thread the plugin's input nodes saw the packets that were traced. */
function threads(sent: Sent): string[] {
  return sent.trace.split(/^-+ Start of thread /m).slice(1)
    .filter((text) => /^[\d:]+: margay-ip[46]-input/m.test(text))
    .map((text) => /^\d+ (\S+)/.exec(text)![1]!);
}

describe.skipIf(skipped)("two threads", () => {
  beforeAll(async () => {
    graph = await Graph.start({
      otherPlugins: ["memif_plugin.so"],
      sections: { cpu: "main-core 0 corelist-workers 1" },
    });
    await graph.open();
    await graph.push(nodeProgram());
    await graph.port("wire", 0);
    await graph.vpp.command(`create memif socket id 1 filename ${graph.vpp.path("memif.sock")}`);
    await graph.vpp.command("create interface memif id 0 socket-id 1 master");
    // The other end in the same VPP, by a socket of the same name.
    await graph.vpp.command(`create memif socket id 2 filename ${graph.vpp.path("memif.sock")}`);
    await graph.vpp.command(`create interface memif id 0 socket-id 2 slave hw-addr ${POD_MAC}`);
    await graph.vpp.quietly(
      "set interface state memif1/0 up", "set interface state memif2/0 up",
      "set interface l2 xconnect pg0 memif1/0", "set interface l2 xconnect memif1/0 pg0",
      "set interface ip address memif2/0 10.0.0.254/24",
      "set interface ip address memif2/0 fd00::fe/64",
      `set ip neighbor memif2/0 ${ADDRESSES[4].client} ${macOf(0, 1)}`,
      `set ip neighbor memif2/0 ${ADDRESSES[6].client} ${macOf(0, 1)}`,
    );
    const deadline = Date.now() + 10_000;
    while (!/memif2\/0[\s\S]*connected/.test(await graph.vpp.command("show memif memif2/0"))) {
      if (Date.now() > deadline) throw new Error("the memif does not connect");
      // Each command holds the worker.
      await new Promise((done) => setTimeout(done, 50));
    }
    await graph.vpp.quietly(
      "set interface rx-placement memif2/0 main", "set interface rx-placement memif1/0 worker 0");
    await graph.bind("memif2/0", CLIENT);
    await wireWorld(graph);
    for (const [name, n, endpoint] of [["backend", 1, BACKEND], ["second", 4, CLIENT]] as const) {
      await graph.port(name, n, {
        addresses: [`10.0.${n}.254/24`, `fd00:${n}::fe/64`],
        neighbors: [`10.0.${n}.1`, `fd00:${n}::1`], endpoint,
      });
    }
  });
  afterAll(() => graph?.close());

  describe.each(FAMILIES)("IPv%i", (family) => {
    const { client: from, vip, backend, world, node: own } = ADDRESSES[family];

    test.each(["tcp", "udp"] as const)(
      "vpp-workers-session: a flow there on one thread, back on the other: %s, one session",
      async (protocol) => {
        const there = await client([packet({ from, to: vip, protocol, sourcePort: fresh() })]);
        expect(by(there)).toEqual(["backend"]);
        expect(threads(there)).toEqual(["vpp_main"]);
        expect(seen(there.left[0]!.bytes)).toMatchObject({ to: backend, port: 8080 });
        const back = await send("backend", [packet(answerTo(there.left[0]!.bytes))]);
        expect(by(back)).toEqual(["wire"]);
        expect(threads(back)).toEqual(["vpp_wk_0"]);
        expect(seen(back.left[0]!.bytes))
          .toMatchObject({ from: vip, sourcePort: 80, port: lastPort });
        for (const { bytes } of [...there.left, ...back.left]) {
          expect(wrongChecksum(bytes)).toBeUndefined();
        }
        const again = await client([packet({ from, to: vip, protocol, sourcePort: lastPort,
          flags: "A" })]);
        expect(by(again)).toEqual(["backend"]);
        const sessions = parseSessions(await graph.vpp.command("show margay sessions"))
          .filter((each) => each.sourcePort === lastPort);
        expect(sessions).toHaveLength(1);
        expect(sessions[0]).toMatchObject({ source: from, toDestination: backend });
      });

    test("vpp-workers-main: what comes over memif is judged on the main thread", async () => {
      const sent = await client([packet({ from, to: backend, protocol: "udp", port: 1 })], 0);
      expect(sent.left).toEqual([]);
      expect(counted(sent, "policy-denied")).toBe(1);
      expect(threads(sent)).toEqual(["vpp_main"]);
    });

    test.each([
      ["later ones on the worker, the first on main", [1, 2, 3], [0], vip, "backend"],
      ["the first on the worker, later ones on main", [0, 1], [2, 3], world, "world"],
    ] as const)("vpp-workers-fragments: a datagram's fragments come together: %s",
      async (_, onWorker, onMain, to, out) => {
        let sent: Sent | undefined;
        let whole: Uint8Array;
        // VPP keeps them for 100 ms: a machine that is busy may not send them within that.
        for (let tries = 0; tries < 5 && sent?.left.length !== 4; tries++) {
          whole = udp({ from, to, payload: 200 });
          const parts = fragmentsOf(whole, 64, ++identification);
          const lot = (all: readonly number[]) => all.map((n) => parts[n]!);
          sent = await graph.sendAll([
            { from: "second", packets: lot(onWorker) },
            { from: "wire", packets: lot(onMain), options: { destinationMac: POD_MAC } },
          ], { awaited: 4, traced: "memif-input", ...SETTLE });
        }
        expect(sent!.left.map((each) => each.by)).toEqual(Array(4).fill(out));
        expect(sent!.trace).toMatch(/sv-reass\S*-(handoff|hoff)/);
        const again = reassembled(sent!.left.map((each) => each.bytes));
        expect(seen(again)).toMatchObject({
          from: to === world ? own : from, to: to === vip ? backend : world,
        });
        expect(again.subarray(-200)).toEqual(whole!.subarray(-200));
        expect(wrongChecksum(again)).toBeUndefined();
      });

    test("vpp-workers-many: many flows both ways at once, every answer un-NATed", async () => {
      const ports = Array.from({ length: 120 }, fresh);
      const there = await client(ports.map((sourcePort) => udp({ from, to: vip, sourcePort })));
      expect(there.left).toHaveLength(120);
      const back = await send("backend", there.left.map(({ bytes }) => packet(answerTo(bytes))));
      expect(back.left.map((each) => seen(each.bytes).port).sort()).toEqual(ports.sort());
      expect(new Set(back.left.map(({ by, bytes }) => `${by} ${seen(bytes).from}`)))
        .toEqual(new Set([`wire ${vip}`]));
    });
  });
});
