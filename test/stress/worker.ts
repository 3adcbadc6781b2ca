// One thread of the stress: joins the shared memory as a worker and sends frames of random packets
// of all flows, while the others do the same; ages now and then; checks every result.
//
// Started by race.ts as a bundle. Control words (Int32, shared): see Control.
import { parentPort, workerData } from "node:worker_threads";
import {
  FRAME_PACKETS_MAX, Reason, SLOT_REASON, SLOT_VERDICT, Verdict,
} from "../../assembly/layout.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { reasonText } from "../../host/model/names.ts";
import { Control, type Job, type Report } from "./control.ts";
import type { Flow, StressPacket } from "./flows.ts";

/** Drops that the traffic itself explains. */
const EXPECTED_DROPS = new Set<number>([
  Reason.SessionTableFull, // the budget is small on purpose
  Reason.TupleCollision, // a late reply has opened a flow of its own, whose tuple is in the way
  Reason.NoSession, // SYN+ACK or RST, and its session has ended
  Reason.EndpointMismatch, // opened by a worker that is a generation ahead, to an endpoint of that
]);
const VIOLATIONS_MAX = 20;
const AGE_BUDGET = 96;
const STEP_MS = 16;
/** Traffic is on so many flows at a time, and moves on by one every so many milliseconds. */
const WINDOW_FLOWS = 48;
const MOVE_MS = 4;
/** The ports that the program hands out where it was told none. */
const SNAT_FIRST = 32_768;

const { core, memory, control, worker, flows, seed } = workerData as Job;
const words = new Int32Array(control);
const engine = new NodeDataplane(core, { attach: memory });
const report: Report = {
  worker, frames: 0, packets: 0, passed: 0, established: 0, dropped: 0, aged: 0, violations: [],
};

let state = seed >>> 0;
/** xorshift32 */
function random(below: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

function pick(flow: Flow): StressPacket {
  const { requests, replies } = flow;
  const at = random(requests.length + replies.length);
  return at < requests.length ? requests[at]! : replies[at - requests.length]!;
}

function judge(packet: StressPacket, i: number): void {
  const slot = engine.memory.slotOf(worker, i);
  const verdict = engine.memory.bytes[slot + SLOT_VERDICT];
  const reason = engine.memory.bytes[slot + SLOT_REASON]!;
  if (verdict !== Verdict.Pass) {
    report.dropped += 1;
    if (verdict === Verdict.Drop && EXPECTED_DROPS.has(reason)) return;
    return violation(`verdict ${verdict}, ${reasonText(reason)}`, packet);
  }
  report.passed += 1;
  if (reason === Reason.Established) report.established += 1;
  const at = engine.memory.windowOf(worker, i);
  const out = engine.memory.bytes.subarray(at, at + packet.bytes.length);
  if (!packet.leaves.some((bytes) => equal(bytes, out) || isRemapped(bytes, out))) {
    violation(`${reasonText(reason)}, but left as ${Buffer.from(out).toString("hex")}`, packet);
  }
}
/**
 * Another source port, for a late reply has opened a flow that stands in the way of the own one:
 * all else is as wanted, and the checksum has changed by the port (RFC 1624, equation 3).
 */
function isRemapped(wanted: Uint8Array, out: Uint8Array): boolean {
  const l4 = wanted[0]! >> 4 === 4 ? 20 : 40;
  const sum = l4 + (wanted[l4 === 20 ? 9 : 6] === 6 ? 16 : 6);
  const word = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
  for (let i = 0; i < wanted.length; i++) {
    const changes = i === l4 || i === l4 + 1 || i === sum || i === sum + 1;
    if (!changes && wanted[i] !== out[i]) return false;
  }
  const before = word(wanted, sum) ^ 0xffff;
  const all = before + (word(wanted, l4) ^ 0xffff) + word(out, l4);
  const folded = (all & 0xffff) + (all >>> 16);
  const expected = ((folded & 0xffff) + (folded >>> 16)) ^ 0xffff;
  return word(out, l4) >= SNAT_FIRST && (word(out, sum) - expected) % 0xffff === 0;
}
function equal(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
function violation(text: string, packet: StressPacket): void {
  if (report.violations.length >= VIOLATIONS_MAX) return;
  const wanted = packet.leaves.map((each) => Buffer.from(each).toString("hex")).join(" or ");
  report.violations.push(`worker ${worker}, frame ${report.frames}: ${text}; wanted ${wanted}`);
}

const packets: StressPacket[] = [];
function frame(): void {
  const nowMs = Atomics.add(words, Control.NowMs, STEP_MS);
  const first = Math.floor((nowMs >>> 0) / MOVE_MS);
  const count = 1 + random(FRAME_PACKETS_MAX);
  const width = random(4) === 0 ? 4 : WINDOW_FLOWS; // few flows: again and again in one frame
  for (let i = 0; i < count; i++) {
    packets[i] = pick(flows[(first + random(width)) % flows.length]!);
    engine.memory.writePacket(worker, i, packets[i]!);
  }
  engine.run(worker, count, { nowMs, nowSeconds: 0 });
  for (let i = 0; i < count; i++) judge(packets[i]!, i);
  report.frames += 1;
  report.packets += count;
  if (random(3) === 0) report.aged += engine.age(worker, nowMs, AGE_BUDGET);
}

try {
  while (!Atomics.load(words, Control.Stop) && report.violations.length < VIOLATIONS_MAX) {
    if (Atomics.load(words, Control.Pause)) {
      Atomics.store(words, Control.Seen + worker, Control.Waiting);
      Atomics.wait(words, Control.Pause, 1);
    }
    const generation = Atomics.load(words, Control.Generation);
    engine.changeOver(generation);
    Atomics.store(words, Control.Seen + worker, generation);
    frame();
  }
} catch (cause) {
  report.violations.push(`worker ${worker}: ${cause instanceof Error ? cause.stack : cause}`);
}
for (const trap of engine.traps()) {
  report.violations.push(`worker ${worker}: trap in slot ${trap.policySlot}: ${trap.message}`);
}
Atomics.store(words, Control.Seen + worker, Control.Gone);
parentPort!.postMessage(report);
