// A worker's record: its epoch (odd inside process and age), the journal that recover() reads after
// a trap, its limbo lists and its counters. Written by its own thread alone; others read the epoch.
import {
  COUNTERS, WORKERS, WORKER_BYTES, WORKER_COUNTERS, WORKER_EPOCH, WORKER_FRAME_COUNT,
  WORKER_GENERATION, WORKER_LIMBO4, WORKER_LIMBO6, WORKER_LIMBO_CLOSED, WORKER_LOCKED, WORKER_LOCKS,
  WORKER_PHASE, WORKER_POLICY_SLOT, WORKER_RECORD, WORKER_SNAPSHOT, WORKER_TABLE,
} from "./layout";

/** How far one worker's clock may be ahead of another's. */
export const AHEAD_MS: u32 = 1024;

@unmanaged
export class Worker {
  epoch: u32;
  generation: u32;
  frameCount: u32;
  policySlot: u32;
  phase: u32;
  table: u32;
  record: u32;
  locks: u32;
  locked0: u32;
  locked1: u32;
  locked2: u32;
  locked3: u32;
  resume: u32; // packets left + 1 of a frame whose fast lane is done; 0 = a frame from its start
  resumeCount: u32; // packets of that frame
  answersSpent: u32; // answers sent that time has not made good yet (reply.ts)
  answerMs: u32; // when the last was asked for
  open4: u32;
  closed4: u32;
  open6: u32;
  closed6: u32;
  limboClosed: u32;
  again: u32; // 1: recover() has asked for the frame to be run again
  settled: u32; // of the packets left of a frame, how many are settled for good
}
if (offsetof<Worker>("epoch") != WORKER_EPOCH) ERROR("Worker.epoch");
if (offsetof<Worker>("generation") != WORKER_GENERATION) ERROR("Worker.generation");
if (offsetof<Worker>("frameCount") != WORKER_FRAME_COUNT) ERROR("Worker.frameCount");
if (offsetof<Worker>("policySlot") != WORKER_POLICY_SLOT) ERROR("Worker.policySlot");
if (offsetof<Worker>("phase") != WORKER_PHASE) ERROR("Worker.phase");
if (offsetof<Worker>("table") != WORKER_TABLE) ERROR("Worker.table");
if (offsetof<Worker>("record") != WORKER_RECORD) ERROR("Worker.record");
if (offsetof<Worker>("locks") != WORKER_LOCKS) ERROR("Worker.locks");
if (offsetof<Worker>("locked0") != WORKER_LOCKED) ERROR("Worker.locked0");
if (offsetof<Worker>("open4") != WORKER_LIMBO4) ERROR("Worker.open4");
if (offsetof<Worker>("open6") != WORKER_LIMBO6) ERROR("Worker.open6");
if (offsetof<Worker>("limboClosed") != WORKER_LIMBO_CLOSED) ERROR("Worker.limboClosed");
if (offsetof<Worker>() > WORKER_SNAPSHOT) ERROR("Worker runs into its snapshot");
if (WORKER_COUNTERS + COUNTERS * 8 > WORKER_BYTES) ERROR("Worker's counters do not fit");

// @ts-ignore: decorator
@inline
export function workerAt(worker: u32): Worker {
  return changetype<Worker>(WORKERS + usize(worker) * WORKER_BYTES);
}
/** The number of a worker record. */
// @ts-ignore: decorator
@inline
export function numberOf(w: Worker): u32 {
  return u32((changetype<usize>(w) - WORKERS) / WORKER_BYTES);
}
/** Marks the worker as inside: what it sees from here on is not reused until it leaves. */
// @ts-ignore: decorator
@inline
export function enter(w: Worker): void {
  // Odd whatever it was: a recovery that failed may have left it odd.
  atomic.xchg<u32>(changetype<usize>(w), (w.epoch + 1) | 1, WORKER_EPOCH);
}
// @ts-ignore: decorator
@inline
export function leave(w: Worker): void {
  atomic.xchg<u32>(changetype<usize>(w), (w.epoch | 1) + 1, WORKER_EPOCH);
}
// @ts-ignore: decorator
@inline
export function count(w: Worker, reason: u32, packets: u64): void {
  const at = changetype<usize>(w) + WORKER_COUNTERS + (usize(reason) << 3);
  store<u64>(at, load<u64>(at) + packets);
}
