// Swapping under traffic: a generation that turns allow into deny for new flows is pushed a
// thousand times to and fro while two threads process. No packet without a verdict, no session
// lost, memory flat; the worst frame delay is printed, not tested.
import { Worker } from "node:worker_threads";
import { build } from "esbuild";
import { afterAll, expect, test } from "vitest";
import { ROOT, ROOT_ARENA_NEXT } from "../../assembly/layout.ts";
import { Compiler, bindRecords } from "../../host/compile/program.ts";
import { configureRecord } from "../../host/compile/records.ts";
import type { Dataplane, Packet, Push } from "../../host/dataplane/dataplane.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import type { Budgets, ProgramRule } from "../../host/model/program.ts";
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
const rules = (generation: number): ProgramRule[] => [
  { name: "unlike", action: "deny", protocol: 200, sourcePorts: [generation % 65_536] },
  ...(generation % 2 === 1 ? ALLOW : [{ name: "nobody", action: "deny" } as ProgramRule]),
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
