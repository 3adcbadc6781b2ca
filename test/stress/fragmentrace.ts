// The fragments' race: worker threads over one shared memory and a fragment table that is far too
// small, so that entries are taken, read and overwritten by several workers at once.
import { buildSync } from "esbuild";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { fragmentsOf } from "../fragmented.ts";
import { packet } from "../packets.ts";
import { BUDGETS, started } from "../shop.ts";
import { clock, FAMILIES, opening, translated, WAYS } from "../translated.ts";

/** A packet's first fragment and a later one: as they come, and as they leave. */
export interface Fragments {
  interface: number;
  parts: Uint8Array[];
  leaves: Uint8Array[];
}
export interface FragmentJob {
  core: Uint8Array;
  memory: WebAssembly.Memory;
  worker: number;
  seed: number;
  fragments: Fragments[];
  clock: typeof clock;
  /** How long it runs. */
  ms: number;
}
export interface FragmentReport {
  frames: number;
  followed: number;
  unknown: number;
  violations: string[];
}

const IDENTIFICATIONS = 12;

export async function raceFragments(
  core: Uint8Array, threads: number, ms: number, seed: number,
): Promise<FragmentReport[]> {
  const budgets = { ...BUDGETS, workers: threads, fragmentsMax: 1 };
  const engine = new NodeDataplane(core, { workers: threads });
  await started(translated(), budgets, engine);
  const fragments = FAMILIES.flatMap((family) => WAYS.flatMap((way, at) => {
    const { near, spec } = opening(family, way, "udp", { payload: 60, sourcePort: 2000 + at });
    return Array.from({ length: IDENTIFICATIONS }, (_, n): Fragments => {
      const parts = fragmentsOf(packet(spec), 40, n + 1);
      const results = engine.process(0, parts.map((bytes) => ({ interface: near, bytes })), clock);
      return { interface: near, parts, leaves: results.map((each) => each.bytes!) };
    });
  }));
  const bundle = bundleWorker();
  return Promise.all(Array.from({ length: threads }, (_, worker) => run(bundle, {
    core, memory: engine.shared, worker, seed: seed + worker * 0x9e3779b9, fragments, clock, ms,
  })));
}

function bundleWorker(): string {
  const { outputFiles } = buildSync({
    entryPoints: [join(import.meta.dirname, "fragmentworker.ts")], bundle: true, write: false,
    platform: "node", format: "cjs", target: "node20",
  });
  return outputFiles[0]!.text;
}

function run(bundle: string, job: FragmentJob): Promise<FragmentReport> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(bundle, { eval: true, workerData: job });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}
