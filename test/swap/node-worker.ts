// A worker thread of the swap test: joins the shared memory and runs frames without pause. Pushes
// reach it at frame boundaries, by its port: modules to put into its table, then the generation.
//
// Every frame holds packets of flows that were open before (they must pass, with the same bytes)
// and packets of new flows, whose verdict must be that of the generation in force.
import { performance } from "node:perf_hooks";
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { Reason, Verdict } from "../../assembly/layout.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import type { Packet } from "../../host/dataplane/dataplane.ts";

export interface SwapJob {
  core: Uint8Array;
  memory: WebAssembly.Memory;
  worker: number;
  workers: number;
  modules: { slot: number; wasm: Uint8Array }[];
  generation: number;
  /** Packets of open flows and the bytes that each must leave with. */
  open: { packet: Packet; expected: Uint8Array }[];
  /** One packet of a new flow; its source port is counted up. */
  fresh: Packet;
  freshEach: number;
}
export interface SwapMessage {
  modules: { slot: number; wasm: Uint8Array }[];
  generation: number;
  stop?: boolean;
}
export interface SwapReport {
  frames: number;
  packets: number;
  missing: number;
  lost: number;
  wrongBytes: number;
  wrongVerdicts: number;
  allowed: number;
  denied: number;
  worstMs: number;
}

/** New flows are denied under even generations. */
export const allowsIn = (generation: number): boolean => generation % 2 === 1;

function main(job: SwapJob): void {
  const engine = new NodeDataplane(job.core, { workers: job.workers, attach: job.memory });
  for (const { slot, wasm } of job.modules) engine.install(slot, wasm);
  engine.changeOver(job.generation);
  const report: SwapReport = {
    frames: 0, packets: 0, missing: 0, lost: 0, wrongBytes: 0, wrongVerdicts: 0, allowed: 0,
    denied: 0, worstMs: 0,
  };
  let port = 1024;
  let last = performance.now();
  for (let stop = false; !stop;) {
    const message = receiveMessageOnPort(parentPort!)?.message as SwapMessage | undefined;
    if (message) {
      stop = message.stop === true;
      for (const { slot, wasm } of message.modules) engine.install(slot, wasm);
      if (!stop) engine.changeOver(message.generation);
      parentPort!.postMessage({ changedOver: message.generation });
    }
    port = frame(job, engine, report, port);
    // Between the ends of two frames: what a packet may wait, the change-over included.
    const now = performance.now();
    report.worstMs = Math.max(report.worstMs, now - last);
    last = now;
  }
  parentPort!.postMessage({ report });
}

function frame(job: SwapJob, engine: NodeDataplane, report: SwapReport, from: number): number {
  const fresh = Array.from({ length: job.freshEach }, (_, i) => {
    const bytes = job.fresh.bytes.slice();
    const port = 1024 + ((from - 1024 + i) % 60_000);
    bytes[20] = port >> 8;
    bytes[21] = port & 0xff;
    return { ...job.fresh, bytes };
  });
  const nowMs = (1_000_000 + report.frames) >>> 0;
  const packets = [...job.open.map((each) => each.packet), ...fresh];
  const results = engine.process(job.worker, packets, { nowMs, nowSeconds: 1_700_000_000 });
  engine.age(job.worker, nowMs, 512);
  report.frames++;
  report.packets += packets.length;
  results.forEach((result, i) => {
    const open = job.open[i];
    if (result.verdict === Verdict.None) report.missing++;
    if (open) {
      if (result.reason !== Reason.Established) report.lost++;
      else if (Buffer.compare(result.bytes!, open.expected) !== 0) report.wrongBytes++;
      return;
    }
    const allowed = result.reason === Reason.Allowed || result.reason === Reason.Established;
    report[allowed ? "allowed" : "denied"]++;
    const asked = allowsIn(engine.generation) ? Reason.Allowed : Reason.PolicyDenied;
    // A source port that came round again may still have its session.
    if (result.reason !== asked && result.reason !== Reason.Established) report.wrongVerdicts++;
  });
  return from + job.freshEach;
}

if (parentPort) main(workerData as SwapJob);
