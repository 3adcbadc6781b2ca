// The stress: worker threads over one shared memory, small tables, a clock that runs fast,
// endpoints that are replaced under traffic; then an audit of what is left.
//
//   this thread: configure, flows' right answers ─► threads run ─┬─► a new generation now and then
//                                                                └─► pause, audit, go on (often:
//                sessions live a few milliseconds here)
//                ─► stop ─► audit ─► every live session is found ─► all aged out, none lost
import { Worker } from "node:worker_threads";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { buildSync } from "esbuild";
import { Reason } from "../../assembly/layout.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { reasonText } from "../../host/model/names.ts";
import { audit } from "./audit.ts";
import { Control, type Job, type Report } from "./control.ts";
import { makeFlows, push, start, type Flow } from "./flows.ts";

export interface RaceOptions {
  /** What the threads run. */
  core: Uint8Array;
  /** What says the right answers; the threads' when absent. */
  oracle?: Uint8Array;
  seconds: number;
  threads: number;
  seed: number;
  flows?: number;
  sessionsMax?: number;
  /** Milliseconds between generations; Infinity = none. */
  pushEveryMs?: number;
}
export interface Outcome {
  reports: Report[];
  violations: string[];
  generations: number;
  audits: number;
  live: number;
  free: number;
  limbo: number;
}

const IDLE_MS = [400, 400, 300, 600, 260, 400]; // in the order of enum Timeout
const PUSHED_MAX = 60_000; // incarnations are 16 bits

export async function race(options: RaceOptions): Promise<Outcome> {
  const { threads, sessionsMax = 100 } = options;
  const flows = makeFlows(options.oracle ?? options.core, options.flows ?? 480);
  const engine = new NodeDataplane(options.core, { workers: threads });
  start(engine, {
    workers: threads, sessions4Max: sessionsMax, sessions6Max: sessionsMax, endpointsMax: 16,
    servicesMax: 16, timeoutsMs: IDLE_MS,
  });
  const control = new SharedArrayBuffer(4 * (Control.Seen + threads));
  const words = new Int32Array(control);
  words[Control.Generation] = engine.generation;
  words[Control.NowMs] = 0xfffff000 | 0; // wraps soon
  const bundle = bundleWorker();
  const running = Array.from({ length: threads }, (_, worker) => run(bundle, {
    core: options.core, memory: engine.shared, control, worker, flows,
    seed: options.seed + worker * 0x9e3779b9,
  }));
  const { audits, problems } = await traffic(engine, words, threads, options);
  const reports = await Promise.all(running);
  const rest = atRest(engine, flows, words[Control.NowMs]! >>> 0);
  const seen = reports.flatMap((report) => report.violations);
  const violations = [...seen, ...problems, ...rest.violations];
  return { ...rest, reports, violations, audits, generations: engine.generation };
}

/** Lets the threads run; replaces the endpoints now and then, audits in between. */
async function traffic(
  engine: NodeDataplane, words: Int32Array, threads: number, options: RaceOptions,
): Promise<{ audits: number; problems: string[] }> {
  const until = performance.now() + options.seconds * 1000;
  const seen = (w: number): number => Atomics.load(words, Control.Seen + w);
  const workers = Array.from({ length: threads }, (_, w) => w);
  const problems: string[] = [];
  let audits = 0;
  let pushed = 0;
  while (performance.now() < until && problems.length === 0) {
    if (workers.some((w) => seen(w) === Control.Gone)) break;
    await setTimeout(8);
    Atomics.store(words, Control.Pause, 1);
    while (workers.some((w) => seen(w) < Control.Waiting)) await setTimeout(0);
    problems.push(...audit(engine.memory).problems.map((problem) => `audit ${audits}: ${problem}`));
    audits += 1;
    Atomics.store(words, Control.Pause, 0);
    Atomics.notify(words, Control.Pause);
    const due = performance.now() - pushed > (options.pushEveryMs ?? 30);
    if (!due || workers.some((w) => seen(w) < engine.generation)) continue;
    if (engine.generation >= PUSHED_MAX) continue;
    push(engine, engine.generation + 1, engine.generation);
    Atomics.store(words, Control.Generation, engine.generation);
    pushed = performance.now();
  }
  Atomics.store(words, Control.Stop, 1);
  return { audits, problems };
}

function atRest(
  engine: NodeDataplane, flows: Flow[], nowMs: number,
): { violations: string[]; live: number; free: number; limbo: number } {
  const report = audit(engine.memory);
  const violations = report.problems.map((problem) => `at rest: ${problem}`);
  if (violations.length === 0) violations.push(...lost(engine, flows, nowMs));
  const { live, free, limbo } = report;
  // All age out: each hand-over of the limbo lists takes a call of its own.
  for (let turn = 0; turn < 4; turn++) {
    for (let w = 0; w < engine.workers; w++) engine.age(w, (nowMs + 1e6) >>> 0, 1 << 20);
  }
  const empty = audit(engine.memory);
  violations.push(...empty.problems.map((problem) => `aged out: ${problem}`));
  if (empty.live || empty.limbo || empty.free < live + free + limbo) {
    violations.push(`aged out: ${empty.live} live, ${empty.limbo} in limbo, ${empty.free} free of `
      + `${live} live, ${limbo} in limbo, ${free} free`);
  }
  return { violations, live, free, limbo };
}

/** Live sessions of a Service whose reply is not carried by them. */
function lost(engine: NodeDataplane, flows: Flow[], nowMs: number): string[] {
  const violations: string[] = [];
  const incarnation = engine.generation - 1;
  for (const session of engine.sessions()) {
    if (session.backend === 0 || session.destinationEndpoint >>> 16 !== incarnation) continue;
    const flow = flows[session.sourcePort - 1024]!;
    const reply = flow.replies[flow.replies.length > 1 ? 1 : 0]!;
    const bytes = toPort(reply.bytes, session.toSourcePort);
    const [result] = engine.process(0, [{ ...reply, bytes }], { nowMs, nowSeconds: 0 });
    const right = result!.reason === Reason.Established && result!.bytes !== undefined &&
      Buffer.compare(result!.bytes, reply.leaves[0]!) === 0;
    if (right) continue;
    violations.push(`lost: ${JSON.stringify(session)}: ${reasonText(result!.reason)}`);
  }
  return violations;
}

/** The same packet to another port, its checksum changed by that (RFC 1624, equation 3). */
function toPort(packet: Uint8Array, port: number): Uint8Array {
  const bytes = packet.slice();
  const view = new DataView(bytes.buffer);
  const l4 = bytes[0]! >> 4 === 4 ? 20 : 40;
  const at = l4 + (bytes[l4 === 20 ? 9 : 6] === 6 ? 16 : 6);
  const all = (view.getUint16(at) ^ 0xffff) + (view.getUint16(l4 + 2) ^ 0xffff) + port;
  const folded = (all & 0xffff) + (all >>> 16);
  view.setUint16(at, ((folded & 0xffff) + (folded >>> 16)) ^ 0xffff);
  view.setUint16(l4 + 2, port);
  return bytes;
}

function bundleWorker(): string {
  const { outputFiles } = buildSync({
    entryPoints: [join(import.meta.dirname, "worker.ts")], bundle: true, write: false,
    platform: "node", format: "cjs", target: "node20",
  });
  return outputFiles[0]!.text;
}

function run(bundle: string, job: Job): Promise<Report> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(bundle, { eval: true, workerData: job });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}
