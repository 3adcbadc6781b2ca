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
// says how many packets are left of a frame that is run a second time, w.settled how many of those
// are settled: where order.ts cuts a frame, what is before the cut is settled first.
import { fetchDecisions } from "./ahead";
import { settle, tickOf, touch } from "./conntrack";
import { detailOf } from "./detail";
import { askUntracked, countUntracked, parseAll, working } from "./entry";
import { V4, V6 } from "./family";
import { BURST, fastLane } from "./fastlane";
import { Frontend } from "./frontend";
import { findGeneration, Generation } from "./generation";
import * as tcp from "./header/tcp";
import { decide } from "./judge";
import {
  FRAMES, FRAME_BYTES, FRAME_PACKETS_MAX, FRAME_SLOTS, FRAME_WINDOWS, GenerationFlag, LIFE_MASK,
  Life, Reason, Rewritten, SESSION_STATE, SessionFlag, SLOT_BACKEND, SLOT_BYTES,
  SLOT_PACKET_LENGTH, SLOT_PEER, SLOT_RULE, SLOT_VERDICT, Verdict, WORKER_COUNTERS,
} from "./layout";
import { fetchBuckets, fetchRecords, findSessions, isPassedOn, mayReopen } from "./lookup";
import {
  BUCKETS4, BUCKETS6, CUT, LIST4, LIST6, LISTED, Packet, packetAt, PACKETS, REOPENED, SLOW,
} from "./packet";
import { clearMarks, hasMarks, markedWith, markOfClient, markOfSession, setMark } from "./order";
import { opens } from "./parser";
import { clearStages } from "./policy";
import { isRelated } from "./related";
import { fetchReplies } from "./replies";
import { answer } from "./reply";
import { decideRestored } from "./restored";
import { configured, root } from "./root";
import { Slot } from "./slot";
import { isClosed } from "./tcpstate";
import { passes } from "./verdict";
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
    const again = w.again != 0 && w.resume != 0 && w.resumeCount == count;
    w.again = 0;
    const rest = again ? w.resume - 1 : runFastLane(g, frame, count, tickOf(nowMs));
    if (!again) w.settled = 0;
    if (rest) {
      w.resume = rest + 1;
      w.resumeCount = count;
      while (w.settled < rest) {
        const from = w.settled;
        const to = judgeRest(w, g, frame, from, rest, nowMs, nowSeconds, generation);
        const answers = finish(w, frame, from, to);
        if (answers) answerAll(w, frame, answers, nowMs);
        w.settled = to;
      }
    }
    countPackets(w, <u32>Reason.Established, count - rest);
  }
  w.resume = 0;
  w.settled = 0;
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
 * one before that its records. From packet `begin` on; returns the first that is not settled yet.
 */
// @ts-ignore: decorator
@inline
function judgeRest(
  w: Worker, g: Generation, frame: usize, begin: u32, count: u32, nowMs: u32, nowSeconds: u32,
  generation: u32,
): u32 {
  store<u64>(frame + LISTED, 0);
  store<u32>(frame + REOPENED, 0);
  store<u32>(frame + CUT, u32(changetype<usize>(working(frame, count))));
  clearMarks(frame);
  const tick = tickOf(nowMs);
  const chunks = (count - begin + BURST - 1) / BURST;
  for (let c: u32 = 0; c < chunks + 2; c++) {
    // Behind a cut nothing more is asked.
    const decided = c < 3 ? 0 : min(begin + (c - 2) * BURST, count);
    if (c >= 3 && load<u32>(frame + CUT) < u32(changetype<usize>(working(frame, decided)))) break;
    const listed = frame + LISTED + (usize(c) << 3);
    if (c < chunks) {
      const from = begin + c * BURST, to = min(from + BURST, count);
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
      findAndDecide<V4>(w, g, frame, frame + LIST4, listed - 16, tick, nowSeconds);
      findAndDecide<V6>(w, g, frame, frame + LIST6, listed - 12, tick, nowSeconds);
    }
  }
  // From here on nothing traps: what untracked policies settled is counted once.
  const cut = (load<u32>(frame + CUT) - u32(frame + PACKETS)) >> 6;
  if (g.flags & GenerationFlag.Untracked) countUntracked(frame, begin, cut);
  for (let c: u32 = 0; c < chunks && begin + c * BURST < cut; c++) {
    const listed = frame + LISTED + (usize(c) << 3);
    touchAndSettle<V4>(w, g, frame, frame + LIST4, listed, tick, generation);
    touchAndSettle<V6>(w, g, frame, frame + LIST6, listed + 4, tick, generation);
  }
  return cut;
}

/** `listed` points at how many packets of the family stood before this chunk, then behind it. */
// @ts-ignore: decorator
@inline
function findAndDecide<F>(
  w: Worker, g: Generation, frame: usize, list: usize, listed: usize, tick: u32, nowSeconds: u32,
): void {
  const from = load<u32>(listed);
  const n = load<u32>(listed, 8) - from;
  const part = list + (usize(from) << 2);
  const undecided = findSessions<F>(g, frame, part, n);
  if (undecided | load<u32>(frame + REOPENED)) decideAll<F>(w, g, frame, part, n, tick, nowSeconds);
}

// @ts-ignore: decorator
@inline
function touchAndSettle<F>(
  w: Worker, g: Generation, frame: usize, list: usize, listed: usize, tick: u32,
  generation: u32,
): void {
  const from = load<u32>(listed);
  let n = load<u32>(listed, 8) - from;
  const cut = load<u32>(frame + CUT);
  while (n && load<u32>(list + (usize(from + n - 1) << 2)) >= cut) n--;
  if (n == 0) return;
  const slow = touchAll<F>(frame, list + (usize(from) << 2), n, tick);
  if (slow > 1) fetchReplies<F>(frame, slow);
  if (slow) settleAll<F>(w, g, frame, slow, tick, generation);
}

function dropAll(w: Worker, frame: usize, count: u32, reason: Reason): void {
  for (let i: u32 = 0; i < count; i++) {
    const slot = changetype<Slot>(frame + FRAME_SLOTS + usize(i) * SLOT_BYTES);
    drop(slot, reason);
  }
  countPackets(w, <u32>reason, count);
}

/**
 * Decides what has no session, and hits that mayReopen() names. Behind a SYN that hit a session,
 * all TCP hits of the frame are decided: the session may be closed and replaced before their turn
 * comes.
 */
function decideAll<F>(
  w: Worker, g: Generation, frame: usize, list: usize, n: u32, tick: u32, nowSeconds: u32,
): void {
  let undecided: u32 = 0;
  let reopened = load<u32>(frame + REOPENED);
  for (let k: u32 = 0; k < n; k++) {
    const p = packetAt(list, k);
    if (p.decision) continue; // a first fragment that untracked policy let through
    const r = usize(p.session);
    const isTcp = u32(p.protocol == <u8>tcp.PROTOCOL);
    const reopens = r != 0 && mayReopen(p, load<u32>(r, SESSION_STATE));
    const anew = reopens || (isTcp & reopened & 1) != 0 || isPassedOn<F>(p, r);
    if (r && !anew && !isRestored(r)) {
      if (hasMarks(frame) && cutsAt(w, frame, p, markOfSession(r), 0)) break;
      continue;
    }
    if (r && isPassedOn<F>(p, r)) {
      setMark(frame, markOfSession(r), SESSION_MARK);
      reopened |= PASSED_ON; // later chunks are looked through too
    }
    reopened |= u32(r != 0) & isTcp & u32(opens(p));
    // An error of a session that nothing before it in this frame may end needs no policy.
    if (!r && !reopened && isRelated<F>(g, p)) continue;
    store<u32>(frame + SLOW + (usize(undecided) << 2), u32(changetype<usize>(p)));
    undecided++;
  }
  store<u32>(frame + REOPENED, reopened);
  fetchDecisions<F>(g, frame, undecided);
  for (let k: u32 = 0; k < undecided; k++) {
    const p = packetAt(frame + SLOW, k);
    const r = usize(p.session);
    if (u32(changetype<usize>(p)) >= load<u32>(frame + CUT)) return;
    if (r && isRestored(r)) {
      if (cutsAt(w, frame, p, markOfSession(r), SESSION_MARK)) return;
      // When its turn comes, the session may be closed, and a SYN open another.
      const both = p.protocol == <u8>tcp.PROTOCOL || isPassedOn<F>(p, r);
      if (both) {
        decide<F>(w, g, p, tick, nowSeconds);
        clearStages(p);
      }
      decideRestored<F>(w, g, p, r, nowSeconds);
      if (!both) continue;
    } else {
      decide<F>(w, g, p, tick, nowSeconds);
    }
    const f = detailOf(p).frontend;
    if (!f || !changetype<Frontend>(usize(f)).affinityMs) continue;
    const notes = p.decision == <u8>Reason.Allowed ? p.backend : 0;
    const mark = markOfClient<F>(p, changetype<Frontend>(usize(f)).service);
    if (markedWith(frame, mark) == p.backend) continue; // what was noted is what was chosen
    if (cutsAt(w, frame, p, mark, notes)) return;
  }
}
/** Of a session's mark. */
const SESSION_MARK: u32 = 1;
/** In the word at REOPENED: a packet has met a session that would pass it on a second time. */
const PASSED_ON: u32 = 2;
/**
 * Does a packet's decision rest on what an earlier one of the segment is yet to do? Cuts there; not
 * at its first, whose mark may be its own other one, or the other family's. Else sets the mark to a
 * value, if that is not 0.
 */
function cutsAt(w: Worker, frame: usize, p: Packet, mark: u32, value: u32): bool {
  const first = changetype<usize>(working(frame, w.settled));
  if (markedWith(frame, mark) != 0 && changetype<usize>(p) != first) {
    const at = u32(changetype<usize>(p));
    if (at < load<u32>(frame + CUT)) store<u32>(frame + CUT, at);
    return true;
  }
  if (value) setMark(frame, mark, value);
  return false;
}
// @ts-ignore: decorator
@inline
function isRestored(r: usize): bool {
  return (load<u32>(r, SESSION_STATE) & SessionFlag.Restored) != 0;
}

/**
 * Is a packet to be settled in its turn: a miss, a fragment, of a closed or restored session, or
 * one that would pass it on a second time?
 */
// @ts-ignore: decorator
@inline
function isSlow<F>(p: Packet, r: usize): bool {
  if (!r || detailOf(p).part) return true;
  const state = load<u32>(r, SESSION_STATE);
  if (state & SessionFlag.Restored || isPassedOn<F>(p, r)) return true;
  if ((state & LIFE_MASK) != Life.Live) return true; // an earlier chunk's packet has ended it
  return p.protocol == <u8>tcp.PROTOCOL && isClosed(state);
}

/**
 * Touches the sessions of hits; lists the rest for settle, in packet order. Behind a TCP packet
 * that is listed though it hit a session, all TCP hits are: each must meet what the one before
 * left.
 */
function touchAll<F>(frame: usize, list: usize, n: u32, tick: u32): u32 {
  let slow: u32 = 0, deferred = false;
  for (let k: u32 = 0; k < n; k++) {
    const p = packetAt(list, k);
    const r = usize(p.session);
    const isTcp = p.protocol == <u8>tcp.PROTOCOL;
    if ((deferred && isTcp) || isSlow<F>(p, r)) {
      deferred = deferred || (r != 0 && isTcp);
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

/** Writes the slots of the rest and counts them; returns how many are listed to be answered. */
function finish(w: Worker, frame: usize, from: u32, to: u32): u32 {
  const counters = changetype<usize>(w) + WORKER_COUNTERS;
  let answers: u32 = 0;
  for (let k = from; k < to; k++) {
    const p = working(frame, k);
    const slot = usize(p.slot);
    const reason = u32(p.reason);
    const pass = passes(reason);
    const verdict = <u32>(pass ? Verdict.Pass : Verdict.Drop);
    const length = pass ? p.length : load<u32>(slot, SLOT_PACKET_LENGTH);
    const d = detailOf(p);
    if (!pass && d.answer && p.reason == p.decision) {
      store<u32>(frame + SLOW + (usize(answers) << 2), u32(changetype<usize>(p)));
      answers++;
    }
    const flags = verdict | (reason << 8) | (u32(p.rewritten) << 16) | (u32(p.direction) << 24);
    store<u32>(slot, flags, SLOT_VERDICT);
    store<u64>(slot, u64(p.rule) | (u64(p.session) << 32), SLOT_RULE);
    store<u64>(slot, u64(pass ? p.backend : 0) | (u64(length) << 32), SLOT_BACKEND);
    if (p.rewritten & <u8>Rewritten.ToPeer) store<u16>(slot, d.peer, SLOT_PEER);
    const at = counters + (usize(reason) << 3);
    store<u64>(at, load<u64>(at) + 1);
  }
  return answers;
}

/** Makes the answers of listed packets, each in its packet's window. */
function answerAll(w: Worker, frame: usize, answers: u32, nowMs: u32): void {
  for (let k: u32 = 0; k < answers; k++) {
    const p = packetAt(frame + SLOW, k);
    const length = answer(w, p, nowMs);
    if (!length) continue;
    const slot = changetype<Slot>(usize(p.slot));
    slot.verdict = <u8>Verdict.Reply;
    slot.rewritten = <u8>Rewritten.Header;
    slot.newLength = length;
  }
}
