// process(): what happens to a frame, top to bottom. One function a step, each a loop over packets;
// the order is strict.
//
//   enter ─► fast lane: plain packets of established sessions are carried, the rest is listed
//     rest ─► parse, source check, hash ─► untracked policy ─► look-up ─► decide misses and SYNs
//          ─► touch and rewrite hits ─► settle what is left, in packet order ─► finish: slots
//   counters ─► leave
//
// Until `touch`, the rest is not written to but for scratch: a policy that traps in `decide` leaves
// a frame that can be run again. What the fast lane carried is done, and not done again: w.resume
// says how many packets are left of a frame that is run a second time.
import { holds } from "./classes";
import { settle, tickOf, touch } from "./conntrack";
import { Endpoint, endpointAt, endpointOfInterface, ownerOf, ownsFirst } from "./endpoint";
import { destinationOf, is4, sourceOf, V4, V6 } from "./family";
import { BURST, fastLane } from "./fastlane";
import { findGeneration, Generation } from "./generation";
import { hashTuple, scale } from "./hash";
import * as icmp from "./header/icmp";
import * as ipv6 from "./header/ipv6";
import * as tcp from "./header/tcp";
import { decide, judgeUntracked } from "./judge";
import {
  EndpointKind, FRAMES, FRAME_BYTES, FRAME_PACKETS_MAX, FRAME_SLOTS, FRAME_WINDOWS, GenerationFlag,
  NO_ENDPOINT, Reason, SESSION_STATE, SLOT_BACKEND, SLOT_BYTES, SLOT_PACKET_LENGTH, SLOT_RULE,
  SLOT_VERDICT, Stage, Verdict, WORKER_COUNTERS,
} from "./layout";
import { fetchBuckets, fetchRecords, findSessions, mayReopen } from "./lookup";
import {
  BUCKETS4, BUCKETS6, LIST4, LIST6, LISTED, Packet, packetAt, PACKETS, REOPENED, REST, SLOW,
  TOUCHED,
} from "./packet";
import { classOfAddress, membersOf, touchMember } from "./members";
import { FRAGMENTED, opens, parse } from "./parser";
import { clearStages, countStages, stagesOf } from "./policy";
import { configured, root, tableOf } from "./root";
import { Slot } from "./slot";
import { isClosed } from "./tcpstate";
import { count as countPackets, enter, leave, Worker, workerAt } from "./worker";

/**
 * Judges and rewrites the `count` packets of the worker's frame under a generation. After recover()
 * has named a policy's slot, the next call must be for the same frame, its slots and windows
 * untouched. Time is an argument: milliseconds (wrapping) and Unix seconds. Returns 0, or -1 for a
 * worker or a count out of range, and then nothing was touched.
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
    dropAll(w, frame, count, Reason.NoGeneration);
  } else {
    const again = w.resume != 0 && w.resumeCount == count;
    const rest = again ? w.resume - 1 : runFastLane(g, frame, count, tickOf(nowMs));
    if (rest) {
      w.resume = rest + 1;
      w.resumeCount = count;
      judgeRest(w, g, frame, rest, nowMs, nowSeconds, generation);
      finish(w, frame, rest);
    }
    countPackets(w, <u32>Reason.Established, count - rest);
  }
  w.resume = 0;
  leave(w);
  return 0;
}

/** A frame mostly has one family: its first packet's takes the lane. */
function runFastLane(g: Generation, frame: usize, count: u32, tick: u32): u32 {
  if (count == 0) return 0;
  return load<u8>(frame + FRAME_WINDOWS) >> 4 == 6
    ? fastLane<V6>(g, frame, count, tick)
    : fastLane<V4>(g, frame, count, tick);
}

/**
 * The rest through the steps that change nothing, then through those that do. Look-ups are
 * staggered in chunks: while one is parsed, the one before has its buckets on their way, and the
 * one before that its records.
 */
// @ts-ignore: decorator
@inline
function judgeRest(
  w: Worker, g: Generation, frame: usize, count: u32, nowMs: u32, nowSeconds: u32,
  generation: u32,
): void {
  store<u64>(frame + LISTED, 0);
  store<u32>(frame + REOPENED, 0);
  const chunks = (count + BURST - 1) / BURST;
  for (let c: u32 = 0; c < chunks + 2; c++) {
    const listed = frame + LISTED + (usize(c) << 3);
    if (c < chunks) {
      const from = c * BURST, to = min(from + BURST, count);
      parseAll(g, frame, from, to, listed);
      if (g.flags & GenerationFlag.Untracked) {
        askUntracked<V4>(w, g, frame, LIST4, BUCKETS4, listed, nowSeconds);
        askUntracked<V6>(w, g, frame, LIST6, BUCKETS6, listed + 4, nowSeconds);
      }
      const n4 = load<u32>(listed), n6 = load<u32>(listed, 4);
      fetchBuckets<V4>(frame + BUCKETS4 + (usize(n4) << 2), load<u32>(listed, 8) - n4);
      fetchBuckets<V6>(frame + BUCKETS6 + (usize(n6) << 2), load<u32>(listed, 12) - n6);
    }
    if (c >= 1 && c <= chunks) {
      const n4 = load<u32>(listed - 8), n6 = load<u32>(listed - 4);
      fetchRecords<V4>(frame, frame + LIST4 + (usize(n4) << 2), load<u32>(listed) - n4);
      fetchRecords<V6>(frame, frame + LIST6 + (usize(n6) << 2), load<u32>(listed, 4) - n6);
    }
    if (c >= 2) {
      findAndDecide<V4>(w, g, frame, frame + LIST4, listed - 16, nowSeconds);
      findAndDecide<V6>(w, g, frame, frame + LIST6, listed - 12, nowSeconds);
    }
  }
  // From here on nothing traps: what untracked policies settled is counted once.
  if (g.flags & GenerationFlag.Untracked) countUntracked(frame, count);
  const tick = tickOf(nowMs);
  for (let c: u32 = 0; c < chunks; c++) {
    const listed = frame + LISTED + (usize(c) << 3);
    touchAndSettle<V4>(w, g, frame, frame + LIST4, listed, tick, generation);
    touchAndSettle<V6>(w, g, frame, frame + LIST6, listed + 4, tick, generation);
  }
}

/** `listed` points at how many packets of the family stood before this chunk, then behind it. */
// @ts-ignore: decorator
@inline
function findAndDecide<F>(
  w: Worker, g: Generation, frame: usize, list: usize, listed: usize, nowSeconds: u32,
): void {
  const from = load<u32>(listed);
  const n = load<u32>(listed, 8) - from;
  const part = list + (usize(from) << 2);
  const undecided = findSessions<F>(g, frame, part, n);
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

/** Packets that untracked policies settled come to no other place that counts rules. */
function countUntracked(frame: usize, count: u32): void {
  for (let k: u32 = 0; k < count; k++) {
    const p = working(frame, k);
    const stages = stagesOf(p);
    const into = load<u32>(stages, Stage.Untracked * 4);
    const out = load<u32>(stages, Stage.UntrackedOut * 4);
    if ((into | out) && p.reason && !p.decision) countStages(p);
  }
}

/** The working record of the k-th packet of the rest. */
// @ts-ignore: decorator
@inline
function working(frame: usize, k: u32): Packet {
  return changetype<Packet>(frame + PACKETS + (usize(k) << 6));
}

function dropAll(w: Worker, frame: usize, count: u32, reason: Reason): void {
  for (let i: u32 = 0; i < count; i++) {
    const slot = changetype<Slot>(frame + FRAME_SLOTS + usize(i) * SLOT_BYTES);
    drop(slot, reason);
  }
  countPackets(w, <u32>reason, count);
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
 * Parses packets of the rest, finds their endpoints, checks their sources, hashes their keys and
 * lists them by family. `listed` holds how many of each family are listed already; the new count
 * goes behind it.
 */
function parseAll(g: Generation, frame: usize, from: u32, to: u32, listed: usize): void {
  const endpoints = usize(g.endpoints), endpointCount = g.endpointCount;
  let n4 = load<u32>(listed), n6 = load<u32>(listed, 4);
  for (let k = from; k < to; k++) {
    const p = working(frame, k);
    const window = usize(load<u32>(frame + REST + (usize(k) << 2)));
    const slot = changetype<Slot>(frame + FRAME_SLOTS + ((window - frame - FRAME_WINDOWS) >> 2));
    clear(p);
    p.slot = u32(changetype<usize>(slot));
    p.window = u32(window);
    clearStages(p);
    const at = endpointOfInterface(endpoints, endpointCount, slot.interface);
    if (!at) {
      p.reason = <u8>Reason.UnknownEndpoint;
      continue;
    }
    const reason = parse(p, slot, window);
    p.reason = u8(reason);
    if (reason != Reason.None) continue;
    const e = changetype<Endpoint>(at);
    p.sender = u32(at);
    p.endpoint = e.kind == <u8>EndpointKind.Uplink ? NO_ENDPOINT : e.identity;
    p.reason = u8(p.family == 4 ? mayEnter<V4>(g, e, p) : mayEnter<V6>(g, e, p));
    if (p.reason) continue;
    if (p.family == 4) list<V4>(p, frame, n4++);
    else list<V6>(p, frame, n6++);
  }
  store<u32>(listed, n4, 8);
  store<u32>(listed, n6, 12);
}

/**
 * The checks in front of everything: an inactive endpoint's packets go no further; neighbour and
 * listener discovery that is not to be forwarded passes unasked; an uplink's and the host's packets
 * bear any address, a workload's one of its own or of its allowed prefixes.
 */
// @ts-ignore: decorator
@inline
function mayEnter<F>(g: Generation, e: Endpoint, p: Packet): Reason {
  if (e.inactive) return Reason.EndpointInactive;
  const packet = usize(p.window);
  if (!is4<F>() && p.icmp >= 0 && p.flags != FRAGMENTED) { // RFC 6980: never in fragments
    const hopLimit = u32(load<u8>(packet, ipv6.HOP_LIMIT));
    if (icmp.isLinkLocal(u32(p.icmp) >> 8, hopLimit) && staysHere(g, packet)) {
      return Reason.NeighbourDiscovery;
    }
  }
  if (e.kind != <u8>EndpointKind.Workload) return Reason.None;
  const source = sourceOf<F>(packet);
  const own = ownsFirst<F>(e, source) || ownerOf<F>(g, source) == (e.identity & 0xffff) + 1;
  return own || mayPose<F>(e, source) ? Reason.None : Reason.SpoofedSource;
}
/** Is the packet for the link or for the host, so that nobody forwards it? */
function staysHere(g: Generation, packet: usize): bool {
  const to = destinationOf<V6>(packet);
  if (ipv6.isLinkScope(to)) return true;
  const owner = ownerOf<V6>(g, to);
  return owner != 0 && endpointAt(g, owner - 1).kind == <u8>EndpointKind.Host;
}
/** Is an address in the set that a workload may also send from? */
function mayPose<F>(e: Endpoint, source: usize): bool {
  if (!e.allowedSources) return false;
  return holds(classOfAddress<F>(source), u32(e.allowedSources) - 1);
}

/** Asks untracked policies about a chunk's packets; what they settle leaves the lists. */
function askUntracked<F>(
  w: Worker, g: Generation, frame: usize, lists: usize, buckets: usize, listed: usize,
  nowSeconds: u32,
): void {
  const to = load<u32>(listed, 8);
  let kept = load<u32>(listed);
  for (let k = kept; k < to; k++) {
    const p = packetAt(frame + lists, k);
    const reason = judgeUntracked<F>(w, g, p, nowSeconds);
    p.reason = u8(reason);
    if (reason != Reason.None) continue;
    const from = frame + (usize(k) << 2), at = frame + (usize(kept) << 2);
    store<u32>(at + lists, load<u32>(from + lists));
    store<u32>(at + buckets, load<u32>(from + buckets));
    kept++;
  }
  store<u32>(listed, kept, 8);
}

/** Hashes a packet's key and puts it into its family's list at place n. */
// @ts-ignore: decorator
@inline
function list<F>(p: Packet, frame: usize, n: u32): void {
  const r = root();
  p.hash = hashTuple<F>(sourceOf<F>(p.window), p.ports, p.protocol, r.seed0, r.seed1);
  const at = frame + (usize(n) << 2);
  store<u32>(at, u32(changetype<usize>(p)), is4<F>() ? LIST4 : LIST6);
  const bucket = scale(u32(p.hash >> 32), tableOf<F>().bucketCount);
  store<u32>(at, bucket, is4<F>() ? BUCKETS4 : BUCKETS6);
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
  if (undecided > 1 && membersOf<F>().live > MEMBERS_CACHED) touchMembers<F>(frame, undecided);
  for (let k: u32 = 0; k < undecided; k++) {
    decide<F>(w, g, packetAt(frame + SLOW, k), nowSeconds);
  }
}

/** Members beyond this number are hardly in the caches: their lines are asked for at once. */
const MEMBERS_CACHED: u32 = 8192;

/** Reads the member entries of n listed packets' ends: loads that wait for no other. */
function touchMembers<F>(frame: usize, n: u32): void {
  let touched: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const pair = sourceOf<F>(usize(packetAt(frame + SLOW, k).window));
    touched |= touchMember<F>(pair) | touchMember<F>(pair + sizeof<F>());
  }
  store<u32>(frame + TOUCHED, touched); // or the loads would be left out
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

// @ts-ignore: decorator
@inline
function drop(slot: Slot, reason: Reason): void {
  const at = changetype<usize>(slot);
  store<u32>(at, <u32>Verdict.Drop | (<u32>reason << 8), SLOT_VERDICT);
  store<u64>(at, 0, SLOT_RULE);
  store<u64>(at, u64(slot.packetLength) << 32, SLOT_BACKEND);
}

// @ts-ignore: decorator
@inline
function passes(reason: u32): bool {
  return reason == <u32>Reason.Established || reason == <u32>Reason.Allowed ||
    reason >= <u32>Reason.Untracked;
}

/** Writes the slots of the rest and counts them. */
function finish(w: Worker, frame: usize, rest: u32): void {
  const counters = changetype<usize>(w) + WORKER_COUNTERS;
  for (let k: u32 = 0; k < rest; k++) {
    const p = working(frame, k);
    const slot = usize(p.slot);
    const reason = u32(p.reason);
    const pass = passes(reason);
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
