// `margay run` with memif: pods behind a second VPP, on either side of the socket, with Ethernet
// and without; in a VPP of one thread, and in one whose packets a worker thread takes. What is
// said of the node is seen from the peer: what came back to it, what did not.
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from "vitest";
import { Reason } from "../assembly/layout.ts";
import { parseCounters, parseSessions } from "../host/vpp/text.ts";
import { packet, type Spec } from "./packets.ts";
import { answerTo, seen, wrongChecksum } from "./translated.ts";
import { ADDRESSES, AgentNode, FAMILIES, memifInterfaces, Peer, PODS, type Pod, until } from
  "./vpp-agent.ts";
import { skipped, type Left, type Sent } from "./vpp-graph.ts";

const FLOWS = 24;
const SETTLE = { settleMs: 40 };
let node: AgentNode, peer: Peer;
let port = 20_000;

const by = (sent: Sent): string[] => sent.left.map((each) => each.by);
const tcp = (more: Omit<Spec, "protocol">): Uint8Array =>
  packet({ protocol: "tcp", sourcePort: ++port, flags: "S", ...more });
async function send(from: Pod, packets: Uint8Array[], awaited = packets.length): Promise<Sent> {
  onTestFailed(async () => console.log([...node.lines,
    await node.vpp.command("show interface"), await node.vpp.command("show errors"),
    await peer.graph.vpp.command("show errors")].join("\n")));
  return await peer.graph.send(from, packets, { awaited, ...SETTLE });
}
/** What left for each of several pods, and the answer of each. */
async function answer(left: readonly Left[]): Promise<Left[]> {
  const answers: Left[] = [];
  for (const pod of PODS) {
    const packets = left.filter((each) => each.by === pod)
      .map(({ bytes }) => packet(answerTo(bytes)));
    if (packets.length > 0) answers.push(...(await send(pod, packets)).left);
  }
  return answers;
}
const counters = async () => parseCounters(await node.vpp.command("show margay counters"));
async function counted(reason: Reason, of: () => Promise<void>): Promise<bigint> {
  const before = (await counters()).get(reason) ?? 0n;
  await of();
  return ((await counters()).get(reason) ?? 0n) - before;
}
/** What VPP has by the agent's hand, as its CLI shows it, without ages and counters. */
async function objects(): Promise<string> {
  const { vpp } = node;
  const shown: string[] = [];
  for (const line of ["show interface address", "show margay interfaces", "show ip fib summary",
    "show ip6 fib summary"]) shown.push(await vpp.command(line));
  const neighbours = (await vpp.command("show ip neighbors")).split("\n")
    .map((line) => line.trim().split(/\s+/).slice(1).join(" ")).sort();
  return [...shown, ...neighbours].join("\n");
}

const requests = (family: 4 | 6, count = FLOWS): Uint8Array[] => Array.from({ length: count }, () =>
  tcp({ from: ADDRESSES[family].client, to: ADDRESSES[family].vip, port: 80 }));

describe.skipIf(skipped).each([
  ["run-memif: one thread", {}],
  ["run-workers: a worker thread", { cpu: "main-core 0 corelist-workers 1" }],
] as const)("%s", (title, sections) => {
  const id = title.slice(0, title.indexOf(":"));
  beforeAll(async () => {
    node = new AgentNode(sections);
    node.configure(memifInterfaces());
    peer = await Peer.start(node.folder);
    await node.startVpp();
    node.startAgent();
    await node.said(/interface web-2: up/);
    await peer.connected();
  });
  afterAll(async () => {
    await node?.close();
    await peer?.close();
  });

  test.each(FAMILIES)(`${id}: requests reach a Service's pages, answers come back: IPv%i`,
    async (family) => {
      const { client, vip } = ADDRESSES[family];
      let there: Sent | undefined, back: Left[] = [];
      const first = port;
      expect(await counted(Reason.Allowed, async () => {
        there = await send("client", requests(family));
      })).toBe(BigInt(FLOWS));
      expect(by(there!)).toHaveLength(FLOWS);
      expect(new Set(by(there!))).toEqual(new Set(["web-1", "web-2"]));
      for (const { by: pod, bytes } of there!.left) {
        expect(seen(bytes)).toMatchObject({
          from: client, to: ADDRESSES[family][pod as Pod], port: 8080,
        });
        expect(wrongChecksum(bytes)).toBeUndefined();
      }
      expect(await counted(Reason.Established, async () => {
        back = await answer(there!.left);
      })).toBe(BigInt(FLOWS));
      expect(back.map((each) => each.by)).toEqual(Array(FLOWS).fill("client"));
      for (const { bytes } of back) {
        expect(seen(bytes)).toMatchObject({ from: vip, sourcePort: 80, to: client });
        expect(wrongChecksum(bytes)).toBeUndefined();
      }
      expect(back.map(({ bytes }) => seen(bytes).port).sort())
        .toEqual(Array.from({ length: FLOWS }, (_, i) => first + 1 + i));
    });

  test.each(FAMILIES)(`${id}: what policy denies, and what is spoofed, goes no further: IPv%i`,
    async (family) => {
      const of = ADDRESSES[family];
      const denied: [Pod, Uint8Array][] = [
        ["stranger", tcp({ from: of.stranger, to: of.vip, port: 80 })],
        ["stranger", tcp({ from: of.stranger, to: of["web-2"], port: 8080 })],
        ["client", tcp({ from: of.client, to: of["web-1"], port: 8081 })],
        ["web-1", tcp({ from: of["web-1"], to: of["web-2"], port: 8080 })],
        ["web-2", tcp({ from: of["web-2"], to: of["web-1"], port: 8080 })],
      ];
      expect(await counted(Reason.PolicyDenied, async () => {
        for (const [pod, bytes] of denied) expect((await send(pod, [bytes], 0)).left).toEqual([]);
      })).toBe(BigInt(denied.length));
      const spoofed: [Pod, Uint8Array][] = [
        ["stranger", tcp({ from: of.client, to: of.vip, port: 80 })],
        ["web-2", tcp({ from: of["web-1"], to: of.client, port: 80 })],
      ];
      expect(await counted(Reason.SpoofedSource, async () => {
        for (const [pod, bytes] of spoofed) expect((await send(pod, [bytes], 0)).left).toEqual([]);
      })).toBe(BigInt(spoofed.length));
      // The pages themselves may ask the client.
      const asked = await send("web-2", [tcp({ from: of["web-2"], to: of.client, port: 9 })]);
      expect(by(asked)).toEqual(["client"]);
      expect((await answer(asked.left)).map((each) => each.by)).toEqual(["web-2"]);
    });

  if (id === "run-workers") {
    test.each(FAMILIES)(
      "run-workers: a flow's directions on two threads have one session: IPv%i", async (family) => {
        const shown = await node.vpp.command("show interface rx-placement");
        const memif = /(memif\S+) queue 0/.exec(shown)![1]!;
        expect(shown).toMatch(/Thread 1 \(vpp_wk_0\)/);
        await node.vpp.quietly(`set interface rx-placement ${memif} main`);
        const there = await send("client", requests(family));
        const back = await answer(there.left);
        expect(back).toHaveLength(FLOWS);
        const ports = new Set(back.map(({ bytes }) => seen(bytes).port));
        const sessions = parseSessions(await node.vpp.command("show margay sessions"))
          .filter((each) => each.family === family && ports.has(each.sourcePort));
        expect(sessions).toHaveLength(FLOWS);
        await node.vpp.quietly(`set interface rx-placement ${memif} worker 0`);
      });
  }

  test(`${id}: the agent killed and back finds all as it should be; open flows stay`, async () => {
    const open = await send("client", FAMILIES.flatMap((family) => requests(family, 4)));
    expect(open.left).toHaveLength(8);
    const before = await objects();
    await node.killAgent();
    const from = node.lines.length;
    expect(await answer(open.left)).toHaveLength(8);
    node.edit("policy.yaml", "app: client", "app: nobody");
    node.startAgent();
    await node.said(/program: generation 2: /, from);
    const said = node.lines.slice(from).join("\n");
    expect(said).toContain("state of before fits: generation 1");
    expect(said).not.toMatch(/interface |route /);
    expect(await objects()).toBe(before);
    expect(await answer(open.left)).toHaveLength(8);
    expect((await send("client", requests(4, 2), 0)).left).toEqual([]);
    node.edit("policy.yaml", "app: nobody", "app: client");
    await node.said(/program: generation 3: /, from);
    expect((await send("client", requests(6, 2))).left).toHaveLength(2);
  });

  test(`${id}: the agent's state lost, a core beside takes over with the sessions`, async () => {
    const open = await send("client", FAMILIES.flatMap((family) => requests(family, 4)));
    const before = await objects();
    await node.killAgent();
    const from = node.lines.length;
    node.forget();
    node.startAgent();
    await node.said(/; swapped in$/, from);
    await node.said(/checkpoint: \d+ sessions/, from);
    expect(await objects()).toBe(before);
    expect(await answer(open.left)).toHaveLength(8);
    const again = await send("client", open.left.map(({ bytes }) => {
      const { from: client, sourcePort } = seen(bytes);
      const family = client.includes(":") ? 6 : 4;
      return packet({ from: client, to: ADDRESSES[family].vip, sourcePort, port: 80, flags: "A" });
    }));
    const ends = ({ by: pod, bytes }: Left): string => `${pod} ${seen(bytes).sourcePort}`;
    expect(again.left.map(ends).sort()).toEqual(open.left.map(ends).sort());
  });

  test(`${id}: a memif that is configured no more goes, and comes again`, async () => {
    const { client, stranger, "web-1": page } = ADDRESSES[4];
    const restart = async (pods: readonly Pod[], what: RegExp): Promise<void> => {
      await node.killAgent();
      node.configure(memifInterfaces(pods));
      const from = node.lines.length;
      node.startAgent();
      await node.said(what, from);
    };
    await restart(PODS.filter((pod) => pod !== "stranger" && pod !== "web-1"),
      /state of before fits/);
    await until("two memifs less", async () =>
      (await node.vpp.command("show interface")).match(/^memif/gm)?.length === 2);
    const alone = await send("client", requests(4, 1), 0);
    expect(alone.left.every((each) => each.by === "web-2")).toBe(true);
    expect((await send("web-2", [tcp({ from: ADDRESSES[4]["web-2"], to: client, port: 9 })])).left)
      .toHaveLength(1);
    await restart(PODS, /interface web-1: up/);
    await peer.connected();
    expect((await send("stranger", [tcp({ from: stranger, to: page, port: 8080 })], 0)).left)
      .toEqual([]);
    expect((await send("client", [tcp({ from: client, to: page, port: 8080 })])).left)
      .toHaveLength(1);
    expect((await send("web-1", [tcp({ from: page, to: stranger, port: 9 })])).left)
      .toHaveLength(1);
  });

  test(`${id}: VPP killed: memifs, program and open flows come back by themselves`, async () => {
    const open = await send("client", FAMILIES.flatMap((family) => requests(family, 4)));
    expect(await answer(open.left)).toHaveLength(8);
    await node.saved();
    const from = node.lines.length;
    const before = node.vpp;
    await before.kill9();
    await node.startVpp();
    await before.close();
    await node.said(/interface web-2: up/, from);
    await peer.connected();
    expect(await answer(open.left)).toHaveLength(8);
  });
});
