// Another core takes the place of the running one while packets of established sessions pass, in
// both directions, at a rate: every packet arrives, translated as before.
//
//   flows opened ─► streams: there, back ──────────────────────────────────────► all counted
//                     └─ five times: open beside, push, bind, save ─► restore, swap
//                     └─ every 20 ms: counters, status, statistics: nothing goes back
//
// With a worker thread, that one carries the packets and the main thread swaps; without, all is one
// thread's. What is sent is counted by VPP's generator, what arrives is compared byte by byte.
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LAYOUT_VERSION, Reason } from "../assembly/layout.ts";
import { sessionsFrom } from "../host/agent/sessions.ts";
import { Compiler } from "../host/compile/program.ts";
import { configureRecord } from "../host/compile/records.ts";
import { restoreChunks } from "../host/dataplane/savedsessions.ts";
import { parseSessions } from "../host/vpp/text.ts";
import { StatsSegment, type VppClient } from "../host/vpp/api/index.ts";
import { packet } from "./packets.ts";
import { answerTo } from "./translated.ts";
import { BUDGETS, skipped, type Graph, type Left } from "./vpp-graph.ts";
import { clientOf, Messages } from "./vpp-messages.ts";
import { ADDRESSES, FAMILIES, node, nodeProgram } from "./vpp-node.ts";

const SWAPS = 5, FLOWS = 8;
const RATE = 8_000;
/** Of the swaps as a whole, and of what comes behind the streams' end. */
const SWAPS_MS_MAX = 60_000, SETTLE_MS = 5_000;
const core = readFileSync(join(process.cwd(), "build/margay.wasm"));
const threads: Record<string, string> = availableParallelism() > 1
  ? { cpu: "main-core 0 corelist-workers 1" } : {};
const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

interface Lot { from: string; packets: Uint8Array[] }

/** Opens flows to a Service, to another pod, out of the node; all packets of theirs behind it. */
async function openFlows(graph: Graph): Promise<Lot[]> {
  let port = 30_000;
  const opening = FAMILIES.flatMap((family) => {
    const { client: from, vip, other, world } = ADDRESSES[family];
    return [vip, other, world].flatMap((to) => (["tcp", "udp"] as const).flatMap((protocol) =>
      Array.from({ length: FLOWS }, () =>
        ({ from, to, protocol, sourcePort: ++port, port: 80 }))));
  });
  const { left } = await graph.send("client",
    opening.map((each) => packet({ ...each, flags: "S" })), { awaited: opening.length });
  expect(left).toHaveLength(opening.length);
  const back = ["backend", "other", "world"].map((from): Lot => ({
    from, packets: left.filter((each) => each.by === from)
      .map(({ bytes }) => packet(answerTo(bytes, { flags: "SA" }))),
  }));
  for (const { from, packets } of back) {
    expect((await graph.send(from, packets, { awaited: packets.length })).left)
      .toHaveLength(packets.length);
  }
  return [{ from: "client", packets: opening.map((each) => packet({ ...each, flags: "A" })) },
    ...back];
}

const shape = ({ by, bytes }: Left): string => `${by} ${Buffer.from(bytes).toString("hex")}`;

/** What must arrive of them: each once, as the session has it before any swap. */
async function expected(graph: Graph, lots: readonly Lot[]): Promise<Set<string>> {
  const all = new Set<string>();
  for (const { from, packets } of lots) {
    const { left } = await graph.send(from, packets, { awaited: packets.length });
    for (const each of left) all.add(shape(each));
  }
  expect(all.size).toBe(lots.reduce((sum, { packets }) => sum + packets.length, 0));
  return all;
}

/** Numbers by name, at this moment; those that may only grow, and those that must not fall below
 * what they were at first (`floors`). */
class Watch {
  readonly faults: string[] = [];
  reads = 0;
  private readonly last = new Map<string, bigint>();
  private isEnded = false;
  private running: Promise<void> | undefined;

  constructor(private readonly client: VppClient, private readonly stats: StatsSegment,
    private readonly floors: Record<string, bigint>) {}

  start(): void {
    this.running = (async () => {
      for (; !this.isEnded; await pause(20)) await this.look();
    })();
  }
  async end(): Promise<void> {
    this.isEnded = true;
    await this.running;
  }

  private async look(): Promise<void> {
    this.reads++;
    for await (const { name, packets } of this.client.dump("margay_counter_dump")) {
      this.grows(`counter ${name as string}`, packets as bigint);
    }
    const status = await this.client.call("margay_status_get", { beside: false });
    for (const name of ["pushes", "frames", "aged", "generation"]) {
      this.grows(`status ${name}`, BigInt(status[name] as number));
    }
    for (const [name, floor] of Object.entries(this.floors)) {
      const is = BigInt(status[name] as number);
      if (is < floor) this.faults.push(`status ${name}: ${is} of ${floor}`);
    }
    const reasons = this.stats.read("/net/margay/reasons");
    if (reasons.kind !== "counters") throw new Error(reasons.kind);
    reasons.threads.forEach((thread, n) => thread.forEach((packets, reason) =>
      this.grows(`statistics ${Reason[reason]} of thread ${n}`, packets)));
    const pushes = this.stats.read("/net/margay/pushes");
    if (pushes.kind === "gauge") this.grows("statistics pushes", pushes.value);
  }

  private grows(name: string, value: bigint): void {
    const before = this.last.get(name) ?? 0n;
    if (value < before) this.faults.push(`${name}: ${before}, then ${value}`);
    this.last.set(name, value);
  }
}

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const each of stream) list.push(each);
  return list;
}

/** A core beside, filled as the running one is, with all of its sessions; and then in its place. */
async function swap(client: VppClient, generation: number): Promise<void> {
  const beside = new Messages(client);
  await beside.open(core, { pages: 512, beside: true });
  await beside.stage(configureRecord(BUDGETS));
  await beside.push(await new Compiler(BUDGETS).compile(nodeProgram(), generation));
  for (const { sw_if_index, bound, endpoint } of await all(client.dump("margay_interface_dump"))) {
    if (bound) await client.call("margay_bind", { sw_if_index, endpoint });
  }
  const { now_ms } = await client.call("margay_status_get", { beside: true });
  for (const { family, records, count } of
    restoreChunks(await sessionsFrom(client), now_ms as number)) {
    const { taken } = await client.call("margay_restore", {
      family, layout_version: LAYOUT_VERSION, records,
    });
    expect(taken).toBe(count);
  }
  await client.call("margay_swap");
}

describe.skipIf(skipped).each([
  ["in one thread", {}], ["beside a worker thread", threads],
])("a swap under traffic, %s", (where, sections) => {
  let graph: Graph, client: VppClient, watcher: VppClient, stats: StatsSegment;
  beforeAll(async () => {
    const statseg = "size 32M page-size 4k update-interval 0.1";
    graph = await node({ sections: { statseg, ...sections } });
    [client, watcher] = [await clientOf(graph.vpp), await clientOf(graph.vpp, "watcher")];
    stats = StatsSegment.open(client.pid);
  });
  afterAll(async () => {
    stats?.close();
    client?.close();
    watcher?.close();
    await graph?.close();
  });
  const sessions = async () =>
    parseSessions(await graph.vpp.command("show margay sessions")).map((each) =>
      JSON.stringify([each.source, each.sourcePort, each.destination, each.destinationPort,
        each.toSource, each.toSourcePort, each.toDestination, each.toDestinationPort,
        each.protocol, each.backend])).sort();
  const counters = async () => new Map((await all(client.dump("margay_counter_dump")))
    .map(({ name, packets }) => [name as string, packets as bigint]));

  test("vpp-swap-traffic: no packet is lost, sessions stay, counters only grow", async () => {
    const lots = await openFlows(graph);
    const wanted = await expected(graph, lots);
    const before = { sessions: await sessions(), counters: await counters() };
    expect(before.sessions).toHaveLength(lots[0]!.packets.length);
    const half = BigInt(before.sessions.length / 2);
    const watch = new Watch(watcher, stats, { sessions4: half, sessions6: half });
    graph.left();
    await graph.vpp.command("clear errors");
    for (const [n, { from, packets }] of lots.entries()) {
      await graph.stream(from, packets, { stream: `rate ${RATE}`, limit: 1e9 }, `lot${n}`);
    }
    watch.start();
    const begun = Date.now();
    const took: number[] = [];
    for (let n = 1; n <= SWAPS && Date.now() - begun < SWAPS_MS_MAX; n++) {
      const from = Date.now();
      await swap(client, 10 + n);
      took.push(Date.now() - from);
    }
    expect(took).toHaveLength(SWAPS);
    let sent = 0;
    for (const n of lots.keys()) sent += await graph.endStream(`lot${n}`);
    await watch.end();
    const left = graph.left();
    for (const end = Date.now() + SETTLE_MS; left.length < sent && Date.now() < end;) {
      await pause(20);
      left.push(...graph.left());
    }
    const errors = [...await graph.errors()].filter(([name]) => name.startsWith("margay-"));
    console.log(`vpp-swap-traffic ${where}: ${SWAPS} swaps in ${took.join(", ")} ms, ` +
      `${sent} sent, ${left.length} arrived, ${watch.reads} looks`);
    expect({ errors, lost: sent - left.length }).toEqual({ errors: [], lost: 0 });
    expect(left.filter((each) => !wanted.has(shape(each)))).toEqual([]);
    expect(sent).toBeGreaterThan(RATE);
    expect(watch.reads).toBeGreaterThan(SWAPS);
    expect(watch.faults).toEqual([]);
    expect(await sessions()).toEqual(before.sessions);
    // What was judged in the meantime is what was sent, by whichever core.
    const now = await counters();
    const grown = [...now].map(([name, packets]) =>
      [name, packets - (before.counters.get(name) ?? 0n)] as const).filter(([, by]) => by !== 0n);
    expect(grown.reduce((sum, [, packets]) => sum + packets, 0n)).toBe(BigInt(sent));
    expect(grown.map(([name]) => name).filter((name) => !/^(established|allowed)$/.test(name)))
      .toEqual([]);
  }, 120_000);
});
