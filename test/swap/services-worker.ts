// A worker thread of the services test: new flows to one Service without pause, while its backends
// and its neighbours in the frontends' chains change in place. A backend's port follows from its
// address, so that a packet that got halves of two backends shows.
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { Verdict } from "../../assembly/layout.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import type { Packet } from "../../host/dataplane/dataplane.ts";
import { reasonText } from "../../host/model/names.ts";

export interface ServicesJob {
  core: Uint8Array;
  memory: WebAssembly.Memory;
  worker: number;
  workers: number;
  modules: { slot: number; wasm: Uint8Array }[];
  /** One UDP packet over IPv4; its source port is counted up. */
  fresh: Packet;
  freshEach: number;
}
export interface ServicesReport {
  frames: number;
  packets: number;
  /** Packets by backend "address:port". */
  backends: Record<string, number>;
  /** What was no pass to a backend, by reason. */
  others: Record<string, number>;
}

function main(job: ServicesJob): void {
  const engine = new NodeDataplane(job.core, { workers: job.workers, attach: job.memory });
  for (const { slot, wasm } of job.modules) engine.install(slot, wasm);
  engine.changeOver(1);
  const report: ServicesReport = { frames: 0, packets: 0, backends: {}, others: {} };
  let port = 0;
  while (!receiveMessageOnPort(parentPort!)) {
    const packets = Array.from({ length: job.freshEach }, (): Packet => {
      const bytes = job.fresh.bytes.slice();
      port = (port + 1) % 60_000;
      bytes[20] = (1024 + port) >> 8;
      bytes[21] = (1024 + port) & 0xff;
      return { ...job.fresh, bytes };
    });
    const nowMs = (1_000_000 + report.frames * 50) >>> 0;
    const clock = { nowMs, nowSeconds: 1_700_000_000 };
    for (const { verdict, reason, bytes } of engine.process(job.worker, packets, clock)) {
      if (verdict === Verdict.Pass) count(report.backends, destination(bytes!));
      else count(report.others, reasonText(reason));
    }
    engine.age(job.worker, nowMs, 1024);
    report.frames++;
    report.packets += packets.length;
    if (report.frames % 64 === 0) parentPort!.postMessage({ frames: report.frames });
  }
  parentPort!.postMessage({ report });
}
function count(into: Record<string, number>, what: string): void {
  into[what] = (into[what] ?? 0) + 1;
}
function destination(bytes: Uint8Array): string {
  return `${bytes.subarray(16, 20).join(".")}:${(bytes[22]! << 8) | bytes[23]!}`;
}

if (parentPort) main(workerData as ServicesJob);
