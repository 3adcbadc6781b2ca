// process(): what happens to a frame, top to bottom. One function a step, each a loop over the
// frame; the order is strict. Until `touch`, nothing but scratch is written: a policy that traps in
// `decide` leaves a frame that can be run again.
//
//   enter ─► parse ─► source check ─► lists by family ─► look-up ─► decide misses and SYNs
//         ─► touch hits ─► settle the rest, in packet order ─► rewrite ─► finish: slots, counters
import { backendIn, decide, fromItsEnd, settle, tickOf, touch } from "./conntrack";
import { Endpoint, endpointOfInterface, ownerOf, ownsFirst } from "./endpoint";
import { is4, sourceOf, V4, V6 } from "./family";
import { findGeneration, Generation } from "./generation";
import * as tcp from "./header/tcp";
import {
  EndpointKind, FRAMES, FRAME_BYTES, FRAME_PACKETS_MAX, FRAME_SLOTS, FRAME_WINDOWS, NO_ENDPOINT,
  Reason, SESSION_STATE, SLOT_BYTES, Verdict, WINDOW_BYTES, WORKER_COUNTERS,
} from "./layout";
import { lookUp } from "./lookup";
import { LIST4, LIST6, Packet, packetAt, PACKETS, SLOW, UNFOUND } from "./packet";
import { opens, parse } from "./parser";
import { configured, root } from "./root";
import { isRewritten, rewrite } from "./rewrite";
import { Slot } from "./slot";
import { isClosed } from "./tcpstate";
import { enter, leave, Worker, workerAt } from "./worker";

/**
 * Judges and rewrites the `count` packets of the worker's frame under a generation. Time is an
 * argument: milliseconds (wrapping) and Unix seconds. Returns 0, or -1 for a worker or a count out
 * of range, and then nothing was touched.
 */
export function process(
  worker: u32, count: u32, nowMs: u32, nowSeconds: u32, generation: u32,
): i32 {
  if (!configured() || worker >= root().workers || count > FRAME_PACKETS_MAX) return -1;
  const w = workerAt(worker);
  const frame = FRAMES + usize(worker) * FRAME_BYTES;
  w.generation = generation;
  w.frameCount = count;
  enter(w);
  const g = findGeneration(generation);
  if (g === null) {
    dropAll(frame, count, Reason.NoGeneration);
  } else {
    judgeFrame(w, g, frame, count, nowMs, nowSeconds, generation);
  }
  finish(w, frame, count);
  leave(w);
  return 0;
}

// @ts-ignore: decorator
@inline
function judgeFrame(
  w: Worker, g: Generation, frame: usize, count: u32, nowMs: u32, nowSeconds: u32,
  generation: u32,
): void {
  const unchecked = parseAll(g, frame, count);
  for (let k: u32 = 0; k < unchecked; k++) checkSource(g, packetAt(frame + UNFOUND, k));
  const n4 = listFamily(frame, count, 4, frame + LIST4);
  const n6 = listFamily(frame, count, 6, frame + LIST6);
  lookUp<V4>(g, frame, frame + LIST4, n4);
  lookUp<V6>(g, frame, frame + LIST6, n6);
  decideAll<V4>(w, g, frame, frame + LIST4, n4, nowSeconds);
  decideAll<V6>(w, g, frame, frame + LIST6, n6, nowSeconds);
  const tick = tickOf(nowMs);
  const slow4 = touchAll<V4>(frame, frame + LIST4, n4, tick);
  settleAll<V4>(w, g, frame, slow4, tick, generation);
  const slow6 = touchAll<V6>(frame, frame + LIST6, n6, tick);
  settleAll<V6>(w, g, frame, slow6, tick, generation);
  rewriteAll<V4>(frame + LIST4, n4);
  rewriteAll<V6>(frame + LIST6, n6);
}

// @ts-ignore: decorator
@inline
function working(frame: usize, i: u32): Packet {
  return changetype<Packet>(frame + PACKETS + (usize(i) << 6));
}

function dropAll(frame: usize, count: u32, reason: Reason): void {
  for (let i: u32 = 0; i < count; i++) {
    const p = working(frame, i);
    p.slot = u32(frame + FRAME_SLOTS + usize(i) * SLOT_BYTES);
    clear(p);
    p.reason = u8(reason);
  }
}

// @ts-ignore: decorator
@inline
function clear(p: Packet): void {
  p.session = 0;
  p.rule = 0;
  p.backend = 0;
  // decision, direction, reason, rewritten, length
  store<u64>(changetype<usize>(p), 0, offsetof<Packet>("decision"));
}

/** Parses every packet and finds its endpoint; lists those whose source needs the address table. */
// @ts-ignore: decorator
@inline
function parseAll(g: Generation, frame: usize, count: u32): u32 {
  let unchecked: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const p = working(frame, i);
    const slot = changetype<Slot>(frame + FRAME_SLOTS + usize(i) * SLOT_BYTES);
    const window = frame + FRAME_WINDOWS + usize(i) * WINDOW_BYTES;
    clear(p);
    p.slot = u32(changetype<usize>(slot));
    p.window = u32(window);
    const e = endpointOfInterface(g, slot.interface);
    if (e === null) {
      p.reason = <u8>Reason.UnknownEndpoint;
      continue;
    }
    const reason = parse(p, slot, window);
    p.reason = u8(reason);
    if (reason != Reason.None) continue;
    p.sender = u32(changetype<usize>(e));
    if (e.kind == <u8>EndpointKind.Uplink) {
      p.endpoint = NO_ENDPOINT;
      continue;
    }
    p.endpoint = e.identity;
    const own = p.family == 4
      ? ownsFirst<V4>(e, sourceOf<V4>(window))
      : ownsFirst<V6>(e, sourceOf<V6>(window));
    if (own) continue;
    store<u32>(frame + UNFOUND + (usize(unchecked) << 2), u32(changetype<usize>(p)));
    unchecked++;
  }
  return unchecked;
}

/** The source check by the address table: an endpoint's further addresses. */
function checkSource(g: Generation, p: Packet): void {
  const e = changetype<Endpoint>(usize(p.sender));
  const owner = p.family == 4
    ? ownerOf<V4>(g, sourceOf<V4>(p.window))
    : ownerOf<V6>(g, sourceOf<V6>(p.window));
  if (owner == 0 || owner - 1 != (e.identity & 0xffff)) p.reason = <u8>Reason.SpoofedSource;
}

// @ts-ignore: decorator
@inline
function listFamily(frame: usize, count: u32, family: u32, list: usize): u32 {
  let n: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const p = working(frame, i);
    store<u32>(list + (usize(n) << 2), u32(changetype<usize>(p)));
    n += u32(p.reason == 0 && u32(p.family) == family);
  }
  return n;
}

/** Decides what has no session, and SYNs, which may open a new one on a closed session's tuple. */
// @ts-ignore: decorator
@inline
function decideAll<F>(
  w: Worker, g: Generation, frame: usize, list: usize, n: u32, nowSeconds: u32,
): void {
  let undecided: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = packetAt(list, k);
    if (p.session && (p.protocol != <u8>tcp.PROTOCOL || !opens(p))) continue;
    store<u32>(frame + SLOW + (usize(undecided) << 2), u32(changetype<usize>(p)));
    undecided++;
  }
  for (let k: u32 = 0; k < undecided; k++) {
    decideOne<F>(w, g, packetAt(frame + SLOW, k), frame, nowSeconds);
  }
}
function decideOne<F>(
  w: Worker, g: Generation, p: Packet, frame: usize, nowSeconds: u32,
): void {
  const index = u32(changetype<usize>(p) - frame - PACKETS) >> 6;
  decide<F>(w, g, p, index, nowSeconds);
}

/** Touches the sessions of hits; lists the rest for settle, in packet order. */
// @ts-ignore: decorator
@inline
function touchAll<F>(frame: usize, list: usize, n: u32, tick: u32): u32 {
  let slow: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = packetAt(list, k);
    const r = usize(p.session);
    const isTcp = p.protocol == <u8>tcp.PROTOCOL;
    if (!r || (isTcp && isClosed(load<u32>(r, SESSION_STATE)))) {
      store<u32>(frame + SLOW + (usize(slow) << 2), u32(changetype<usize>(p)));
      slow++;
    } else if (!fromItsEnd<F>(p, r)) {
      p.reason = <u8>Reason.EndpointMismatch;
      p.session = 0;
      p.rule = 0;
    } else {
      touch(p, r, tick);
    }
  }
  return slow;
}

// @ts-ignore: decorator
@inline
function settleAll<F>(
  w: Worker, g: Generation, frame: usize, slow: u32, tick: u32, generation: u32,
): void {
  for (let k: u32 = 0; k < slow; k++) {
    const p = packetAt(frame + SLOW, k);
    p.session = 0;
    settle<F>(w, g, p, tick, generation);
  }
}

// @ts-ignore: decorator
@inline
function rewriteAll<F>(list: usize, n: u32): void {
  for (let k: u32 = 0; k < n; k++) {
    const p = packetAt(list, k);
    const r = usize(p.session);
    if (!r) continue;
    p.backend = backendIn<F>(r);
    if (isRewritten<F>(r)) rewrite<F>(p);
  }
}

/** Writes the slots and counts. */
// @ts-ignore: decorator
@inline
function finish(w: Worker, frame: usize, count: u32): void {
  const counters = changetype<usize>(w) + WORKER_COUNTERS;
  for (let i: u32 = 0; i < count; i++) {
    const p = working(frame, i);
    const slot = changetype<Slot>(usize(p.slot));
    const reason = u32(p.reason);
    const pass = reason == <u32>Reason.Established || reason == <u32>Reason.Allowed;
    slot.verdict = <u8>(pass ? Verdict.Pass : Verdict.Drop);
    slot.reason = u8(reason);
    slot.rewritten = p.rewritten;
    slot.direction = p.direction;
    slot.rule = p.rule;
    slot.session = p.session;
    slot.backend = pass ? p.backend : 0;
    slot.newLength = pass ? p.length : slot.packetLength;
    const at = counters + (usize(reason) << 3);
    store<u64>(at, load<u64>(at) + 1);
  }
}
