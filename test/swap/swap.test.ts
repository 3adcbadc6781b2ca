// Swapping under traffic: a generation that turns allow into deny for new flows is pushed a
// thousand times to and fro while two threads process. No packet without a verdict, no session
// lost, memory flat; the worst frame delay is printed, not tested.
import { Worker } from "node:worker_threads";
import { build } from "esbuild";
import { afterAll, expect, test } from "vitest";
import { ROOT, ROOT_ARENA_NEXT, Verdict, WINDOW_BYTES, SLOT_BYTES } from "../../assembly/layout.ts";
import { Compiler, bindRecords } from "../../host/compile/program.ts";
import { configureRecord } from "../../host/compile/records.ts";
import { addonPath } from "../../host/dataplane/addon.ts";
import type { Dataplane, Packet, Push } from "../../host/dataplane/dataplane.ts";
import { NativeDataplane } from "../../host/dataplane/native.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import type { Budgets, Rule } from "../../host/model/program.ts";
import { audit } from "../stress/audit.ts";
import { packet } from "../packets.ts";
import { ALLOW, CLIENT, core, shop, VIP4, VIP6 } from "../shop.ts";
import type { SwapJob, SwapReport } from "./node-worker.ts";

const PUSHES = Number(process.env["SWAP_PUSHES"] ?? 1000);
const WORKERS = 2;
const OPEN = 32, FRESH = 32;
const clock = { nowMs: 1_000_000, nowSeconds: 1_700_000_000 };
// New flows last a second of the test's clock, so that the table never fills.
const budgets: Budgets = {
  workers: WORKERS + 1, sessions4Max: 1 << 18, sessions6Max: 1024, endpointsMax: 16,
  servicesMax: 16, timeoutsMs: [1000, 0, 3_600_000, 0, 0, 0],
};
/** A rule more, that nothing meets, makes each generation's module another one. */
const rules = (generation: number): Rule[] => [
  { name: "unlike", action: "deny", protocol: 200, sourcePorts: [generation % 65_536] },
  ...(generation % 2 === 1 ? ALLOW : [{ name: "nobody", action: "deny" } as Rule]),
];

function openFlows(
  dataplane: Dataplane, worker: number,
): { packet: Packet; expected: Uint8Array }[] {
  const syns = Array.from({ length: OPEN }, (_, i): Packet => ({
    interface: CLIENT,
    bytes: packet({
      from: i % 2 ? "fd00::1" : "10.0.0.1", to: i % 2 ? VIP6 : VIP4, port: 80,
      sourcePort: 1000 * worker + 500 + i, flags: "S",
    }),
  }));
  const results = dataplane.process(worker, syns, clock);
  return syns.map((syn, i) => ({ packet: syn, expected: results[i]!.bytes! }));
}
const freshPacket = (worker: number): Packet => ({
  interface: CLIENT,
  bytes: packet({
    from: worker % 2 ? "10.0.0.101" : "10.0.0.1", to: VIP4, protocol: "udp", port: 53,
  }),
});
async function begin(dataplane: Dataplane): Promise<Compiler> {
  const compiler = new Compiler();
  dataplane.stage(configureRecord(budgets));
  dataplane.push(await compiler.compile(shop(rules(1)), 1));
  dataplane.stage(bindRecords(shop()));
  return compiler;
}
const compiled = (compiler: Compiler, generation: number): Promise<Push> =>
  compiler.compile(shop(rules(generation)), generation);

const threads: Worker[] = [];
afterAll(() => Promise.all(threads.map((thread) => thread.terminate())));

test("swap-node: a thousand pushes under two Node threads lose nothing", async () => {
  const control = new NodeDataplane(core, { workers: budgets.workers, memoryPages: 2048 });
  const compiler = await begin(control);
  await build({
    entryPoints: ["test/swap/node-worker.ts"], outfile: "build/test/swap-worker.mjs", bundle: true,
    platform: "node", format: "esm", packages: "external", logLevel: "warning",
  });
  const first = await new Compiler().compile(shop(rules(1)), 1);
  const reports = Array.from({ length: WORKERS }, (_, worker) => {
    const job: SwapJob = {
      core, memory: control.shared, worker, workers: budgets.workers, modules: first.modules,
      generation: 1, open: openFlows(control, worker), fresh: freshPacket(worker), freshEach: FRESH,
    };
    const thread = new Worker("./build/test/swap-worker.mjs", { workerData: job });
    threads.push(thread);
    return new Promise<SwapReport>((done, fail) => {
      thread.on("error", fail);
      thread.on("message", (message: { report?: SwapReport }) => {
        if (message.report) done(message.report);
      });
    });
  });
  let arena = 0;
  for (let generation = 2; generation <= PUSHES + 1; generation++) {
    const push = await compiled(compiler, generation);
    control.push(push);
    await Promise.all(threads.map((thread) => {
      const changed = acknowledgement(thread, generation);
      thread.postMessage({ modules: push.modules, generation });
      return changed;
    }));
    if (generation === 10) arena = control.memory.view.getUint32(ROOT + ROOT_ARENA_NEXT, true);
  }
  for (const thread of threads) thread.postMessage({ modules: [], generation: 0, stop: true });
  for (const report of await Promise.all(reports)) {
    expect(report).toMatchObject({ missing: 0, lost: 0, wrongBytes: 0, wrongVerdicts: 0 });
    expect(report.allowed).toBeGreaterThan(0);
    expect(report.denied).toBeGreaterThan(0);
    console.log(
      `swap, Node: ${PUSHES} pushes, ${report.frames} frames, ${report.packets} packets; worst ` +
        `time between two frames ${report.worstMs.toFixed(2)} ms (2 threads, a pusher, 2 cores)`,
    );
  }
  expect(control.memory.view.getUint32(ROOT + ROOT_ARENA_NEXT, true)).toBe(arena);
  expect(audit(control.memory).problems).toEqual([]);
}, 240_000);

function acknowledgement(thread: Worker, generation: number): Promise<void> {
  return new Promise((done) => {
    const listen = (message: { changedOver?: number }): void => {
      if (message.changedOver !== generation) return;
      thread.off("message", listen);
      done();
    };
    thread.on("message", listen);
  });
}

test.skipIf(!addonPath())(
  "swap-native: a thousand pushes under two native threads lose nothing", async () => {
    const native = new NativeDataplane(core, { workers: budgets.workers, memoryPages: 2048 });
    const compiler = await begin(native);
    const plans = Array.from({ length: WORKERS }, (_, worker) => {
      const open = openFlows(native, worker);
      const fresh = Array.from({ length: FRESH }, () => freshPacket(worker));
      return {
        worker, nowMs: clock.nowMs, nowSeconds: clock.nowSeconds, realClock: true, ageBudget: 512,
        frames: [
          trafficFrame(native, open.map((each) => each.packet), [1 << Verdict.Pass],
            open.map((each) => each.expected)),
          { ...trafficFrame(native, fresh, [1 << Verdict.Pass | 1 << Verdict.Drop]), fresh: true },
        ],
      };
    });
    native.addon.trafficStart(plans);
    let arena = 0, resident = 0;
    for (let generation = 2; generation <= PUSHES + 1; generation++) {
      native.push(await compiled(compiler, generation));
      if (generation !== Math.min(100, PUSHES)) continue;
      arena = native.memory.view.getUint32(ROOT + ROOT_ARENA_NEXT, true);
      resident = process.memoryUsage.rss();
    }
    const grown = process.memoryUsage.rss() - resident;
    for (const count of native.addon.trafficStop()) {
      expect(count.first).toBeUndefined();
      expect(count).toMatchObject({
        missing: 0, wrongVerdicts: 0, wrongWindows: 0, coreTraps: 0, refused: 0,
      });
      expect(count.dropped).toBeGreaterThan(0);
      expect(count.passed).toBeGreaterThan(count.frames);
      console.log(
        `swap, native: ${PUSHES} pushes, ${count.frames} frames, ${count.packets} packets; worst ` +
          `frame ${(count.worstNanoseconds / 1e6).toFixed(2)} ms (2 threads, a pusher, 2 cores)`,
      );
    }
    expect(native.memory.view.getUint32(ROOT + ROOT_ARENA_NEXT, true)).toBe(arena);
    console.log(`swap, native: resident memory grew ${(grown / 1e6).toFixed(1)} MB`);
    expect(grown).toBeLessThan(150e6);
    expect(audit(native.memory).problems).toEqual([]);
    native.close();
  }, 240_000);

/** A frame for a traffic thread: slots and windows as they go in, and what may come out. */
function trafficFrame(
  native: NativeDataplane, packets: Packet[], masks: number[], expected?: Uint8Array[],
) {
  const worker = WORKERS; // a frame region that no thread uses
  packets.forEach((each, i) => native.memory.writePacket(worker, i, each));
  const copy = (at: number, bytes: number): Uint8Array => native.memory.bytes.slice(at, at + bytes);
  const windows = copy(native.memory.windowOf(worker, 0), packets.length * WINDOW_BYTES);
  const outgoing = expected && windows.slice();
  expected?.forEach((bytes, i) => outgoing!.set(bytes.subarray(0, WINDOW_BYTES), i * WINDOW_BYTES));
  return {
    count: packets.length,
    slots: copy(native.memory.slotOf(worker, 0), packets.length * SLOT_BYTES),
    windows,
    allowed: Uint8Array.from(packets, (_, i) => masks[i % masks.length]!),
    ...(outgoing ? { expected: outgoing } : {}),
  };
}
