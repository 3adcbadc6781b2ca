// process(): what happens to a frame, top to bottom. One function a step, each a loop over the
// frame; the order is strict. Until `touch`, nothing but scratch is written: a policy that traps in
// `decide` leaves a frame that can be run again.
//
//   enter ─► parse, source check, hash ─► look-up ─► decide misses and SYNs
//         ─► touch and rewrite hits ─► settle the rest, in packet order ─► finish: slots, counters
//
// The steps that every packet passes are functions of their own, not inlined into one: a function
// with few live values keeps the memory's base and its own in registers.
import { decide, settle, tickOf, touch } from "./conntrack";
import { Endpoint, endpointOfInterface, ownerOf } from "./endpoint";
import { is4, sourceOf, V4, V6 } from "./family";
import { parseFast } from "./fastparse";
import { findGeneration, Generation } from "./generation";
import { hashTuple, scale } from "./hash";
import * as tcp from "./header/tcp";
import {
  EndpointKind, FRAMES, FRAME_BYTES, FRAME_PACKETS_MAX, FRAME_SLOTS, FRAME_WINDOWS, NO_ENDPOINT,
  Reason, SESSION_STATE, SLOT_BACKEND, SLOT_BYTES, SLOT_PACKET_LENGTH, SLOT_RULE, SLOT_VERDICT,
  Verdict, WINDOW_BYTES, WORKER_COUNTERS,
} from "./layout";
import { lookUp, mayReopen } from "./lookup";
import {
  BUCKETS4, BUCKETS6, LIST4, LIST6, LISTED, Packet, packetAt, PACKETS, REOPENED, SLOW,
  UNFOUND,
} from "./packet";
import { opens, parse } from "./parser";
import { configured, root, tableOf } from "./root";
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

/**
 * Packets that go through the steps together: what they touch (working records, windows, slots,
 * buckets, sessions: 5 lines each) then stays in the first-level cache from step to step, and there
 * are still enough of them for their misses to overlap.
 */
const CHUNK: u32 = 64;

/** All chunks through the steps that change nothing, then all through those that do. */
// @ts-ignore: decorator
@inline
function judgeFrame(
  w: Worker, g: Generation, frame: usize, count: u32, nowMs: u32, nowSeconds: u32,
  generation: u32,
): void {
  store<u64>(frame + LISTED, 0);
  store<u32>(frame + REOPENED, 0);
  for (let from: u32 = 0; from < count; from += CHUNK) {
    const to = min(from + CHUNK, count);
    const listed = frame + LISTED + (usize(from / CHUNK) << 3);
    const unchecked = parseAll(g, frame, from, to, listed);
    if (unchecked) parseRest(g, frame, from, to, unchecked, listed);
    lookUpAndDecide<V4>(w, g, frame, frame + LIST4, frame + BUCKETS4, listed, nowSeconds);
    lookUpAndDecide<V6>(w, g, frame, frame + LIST6, frame + BUCKETS6, listed + 4, nowSeconds);
  }
  const tick = tickOf(nowMs);
  for (let from: u32 = 0; from < count; from += CHUNK) {
    const listed = frame + LISTED + (usize(from / CHUNK) << 3);
    touchAndSettle<V4>(w, g, frame, frame + LIST4, listed, tick, generation);
    touchAndSettle<V6>(w, g, frame, frame + LIST6, listed + 4, tick, generation);
  }
}

/** `listed` points at how many packets of the family stood before this chunk, then behind it. */
// @ts-ignore: decorator
@inline
function lookUpAndDecide<F>(
  w: Worker, g: Generation, frame: usize, list: usize, buckets: usize, listed: usize,
  nowSeconds: u32,
): void {
  const from = load<u32>(listed);
  const n = load<u32>(listed, 8) - from;
  const part = list + (usize(from) << 2);
  const undecided = lookUp<F>(g, frame, part, buckets + (usize(from) << 2), n);
  if (undecided | load<u32>(frame + REOPENED)) decideAll<F>(w, g, frame, part, n, nowSeconds);
}

// @ts-ignore: decorator
@inline
function touchAndSettle<F>(
  w: Worker, g: Generation, frame: usize, list: usize, listed: usize, tick: u32,
  generation: u32,
): void {
  const from = load<u32>(listed);
  const n = load<u32>(listed, 8) - from;
  if (n == 0) return;
  const slow = touchAll<F>(frame, list + (usize(from) << 2), n, tick);
  if (slow) settleAll<F>(w, g, frame, slow, tick, generation);
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
  store<u64>(changetype<usize>(p), 0, offsetof<Packet>("entry")); // and session
  store<u64>(changetype<usize>(p), 0, offsetof<Packet>("rule")); // and backend
  // decision, direction, reason, rewritten, length
  store<u64>(changetype<usize>(p), 0, offsetof<Packet>("decision"));
}

/**
 * Parses every packet, finds its endpoint, checks its source, hashes its key and lists it by
 * family. Returns how many are left for parseRest: not plain enough for the fast parser, or not
 * from their endpoint's first address. `listed` holds how many packets of each family are listed
 * already; the new count goes behind it.
 */
function parseAll(g: Generation, frame: usize, from: u32, to: u32, listed: usize): u32 {
  const r = root();
  const seed0 = r.seed0, seed1 = r.seed1;
  const buckets4 = tableOf<V4>().bucketCount, buckets6 = tableOf<V6>().bucketCount;
  const endpoints = usize(g.endpoints), endpointCount = g.endpointCount;
  let n4 = load<u32>(listed), n6 = load<u32>(listed, 4), left: u32 = 0;
  // The endpoint of the interface seen last: most neighbours come from the same one.
  let known: u32 = 0, at: usize = 0, uplink = false, identity: u32 = 0;
  for (let i = from; i < to; i++) {
    const p = working(frame, i);
    const slot = changetype<Slot>(frame + FRAME_SLOTS + usize(i) * SLOT_BYTES);
    const window = frame + FRAME_WINDOWS + usize(i) * WINDOW_BYTES;
    clear(p);
    p.slot = u32(changetype<usize>(slot));
    p.window = u32(window);
    const index = slot.interface;
    if (index != known || !at) {
      known = index;
      at = endpointOfInterface(endpoints, endpointCount, index);
      if (!at) {
        p.reason = <u8>Reason.UnknownEndpoint;
        continue;
      }
      uplink = changetype<Endpoint>(at).kind == <u8>EndpointKind.Uplink;
      identity = uplink ? NO_ENDPOINT : changetype<Endpoint>(at).identity;
    }
    const e = changetype<Endpoint>(at);
    p.sender = u32(at);
    const head = load<u64>(window);
    let taken: u32;
    if (u32(head & 0xff) == 0x45) {
      taken = parseFast<V4>(p, slot, window, head, e, uplink, identity, seed0, seed1);
      if (taken) list<V4>(p, frame, n4++, buckets4);
    } else {
      taken = parseFast<V6>(p, slot, window, head, e, uplink, identity, seed0, seed1);
      if (taken) list<V6>(p, frame, n6++, buckets6);
    }
    if (taken == 1) continue;
    if (!taken) p.family = 0;
    store<u32>(frame + UNFOUND + (usize(left) << 2), u32(changetype<usize>(p)));
    left++;
  }
  store<u32>(listed, n4, 8);
  store<u32>(listed, n6, 12);
  return left;
}

/** Puts a packet with its hash into its family's list at place n. */
// @ts-ignore: decorator
@inline
function list<F>(p: Packet, frame: usize, n: u32, buckets: u32): void {
  const at = frame + (usize(n) << 2);
  store<u32>(at, u32(changetype<usize>(p)), is4<F>() ? LIST4 : LIST6);
  const bucket = scale(u32(p.hash >> 32), buckets);
  store<u32>(at, bucket, is4<F>() ? BUCKETS4 : BUCKETS6);
}

/** What parseAll left: parsed in full, checked by the address table; then the lists anew. */
function parseRest(
  g: Generation, frame: usize, from: u32, to: u32, unchecked: u32, listed: usize,
): void {
  for (let k: u32 = 0; k < unchecked; k++) {
    const p = packetAt(frame + UNFOUND, k);
    const e = changetype<Endpoint>(usize(p.sender));
    const uplink = e.kind == <u8>EndpointKind.Uplink;
    if (p.family == 0) {
      const reason = parse(p, changetype<Slot>(usize(p.slot)), p.window);
      p.reason = u8(reason);
      if (reason != Reason.None) continue;
      p.endpoint = uplink ? NO_ENDPOINT : e.identity;
      const seed0 = root().seed0, seed1 = root().seed1;
      p.hash = p.family == 4
        ? hashTuple<V4>(sourceOf<V4>(p.window), p.ports, p.protocol, seed0, seed1)
        : hashTuple<V6>(sourceOf<V6>(p.window), p.ports, p.protocol, seed0, seed1);
    }
    if (uplink) continue;
    const owner = p.family == 4
      ? ownerOf<V4>(g, sourceOf<V4>(p.window))
      : ownerOf<V6>(g, sourceOf<V6>(p.window));
    if (owner == 0 || owner - 1 != (e.identity & 0xffff)) p.reason = <u8>Reason.SpoofedSource;
  }
  const buckets4 = tableOf<V4>().bucketCount, buckets6 = tableOf<V6>().bucketCount;
  let n4 = load<u32>(listed), n6 = load<u32>(listed, 4);
  for (let i = from; i < to; i++) {
    const p = working(frame, i);
    if (p.reason) continue;
    if (p.family == 4) list<V4>(p, frame, n4++, buckets4);
    else list<V6>(p, frame, n6++, buckets6);
  }
  store<u32>(listed, n4, 8);
  store<u32>(listed, n6, 12);
}

/**
 * Decides what has no session, and hits that mayReopen() names. Behind a SYN that hit a session,
 * all TCP hits of the frame are decided: the session may be closed and replaced before their turn
 * comes.
 */
function decideAll<F>(
  w: Worker, g: Generation, frame: usize, list: usize, n: u32, nowSeconds: u32,
): void {
  let undecided: u32 = 0;
  let reopened = load<u32>(frame + REOPENED);
  for (let k: u32 = 0; k < n; k++) {
    const p = packetAt(list, k);
    const r = usize(p.session);
    const isTcp = u32(p.protocol == <u8>tcp.PROTOCOL);
    if (r && !(isTcp & reopened) && !mayReopen(p, load<u32>(r, SESSION_STATE))) continue;
    reopened |= u32(r != 0) & isTcp & u32(opens(p));
    store<u32>(frame + SLOW + (usize(undecided) << 2), u32(changetype<usize>(p)));
    undecided++;
  }
  store<u32>(frame + REOPENED, reopened);
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
function touchAll<F>(frame: usize, list: usize, n: u32, tick: u32): u32 {
  let slow: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = packetAt(list, k);
    const r = usize(p.session);
    const isTcp = p.protocol == <u8>tcp.PROTOCOL;
    if (!r || (isTcp && isClosed(load<u32>(r, SESSION_STATE)))) {
      store<u32>(frame + SLOW + (usize(slow) << 2), u32(changetype<usize>(p)));
      slow++;
    } else {
      touch<F>(p, r, tick);
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

/** Writes the slots and counts. */
function finish(w: Worker, frame: usize, count: u32): void {
  const counters = changetype<usize>(w) + WORKER_COUNTERS;
  for (let i: u32 = 0; i < count; i++) {
    const p = working(frame, i);
    const slot = usize(p.slot);
    const reason = u32(p.reason);
    const pass = reason == <u32>Reason.Established || reason == <u32>Reason.Allowed;
    const verdict = <u32>(pass ? Verdict.Pass : Verdict.Drop);
    const flags = verdict | (reason << 8) | (u32(p.rewritten) << 16) | (u32(p.direction) << 24);
    store<u32>(slot, flags, SLOT_VERDICT);
    store<u64>(slot, u64(p.rule) | (u64(p.session) << 32), SLOT_RULE);
    const length = pass ? p.length : load<u32>(slot, SLOT_PACKET_LENGTH);
    store<u64>(slot, u64(pass ? p.backend : 0) | (u64(length) << 32), SLOT_BACKEND);
    const at = counters + (usize(reason) << 3);
    store<u64>(at, load<u64>(at) + 1);
  }
}
