// Connection tracking: what a packet does to its session, and the slow path of packets without one.
//
//   decide()   for misses and for SYNs (judge.ts). Changes no state.
//   touch()    for hits: seen, TCP bits, the rewrite.
//   settle()   for the rest, in packet order: the key is looked up once more, for an earlier packet
//              of this frame or another worker may have opened the session by now; only then does
//              the decision count. So the result does not depend on where frames are cut.
import { keepBackend } from "./affinity";
import { Detail, detailOf, Part, Translation } from "./detail";
import { isLive } from "./endpoint";
import { endpointOf, first8, is4, last8, portsOf, setPorts } from "./family";
import { followFragment, noteFragment } from "./fragment";
import { Frontend } from "./frontend";
import { Generation } from "./generation";
import { Backend, GROUP_HEADER } from "./group";
import * as sctp from "./header/sctp";
import * as tcp from "./header/tcp";
import { writeIdentity } from "./identity";
import { answersDenied, makesSession } from "./judge";
import { carryLeaving, isLeaving } from "./leaving";
import { isPassedOn } from "./lookup";
import {
  Reason, Rewritten, SESSION4_BACKEND, SESSION4_GENERATION, SESSION6_BACKEND,
  SESSION6_GENERATION, SESSION_RULE, SESSION_SEEN, SESSION_STATE, SessionFlag,
} from "./layout";
import { NO_PORT, portFor } from "./nat";
import { Packet } from "./packet";
import { opens } from "./parser";
import { countStages } from "./policy";
import { giveBack, retire, take } from "./reclaim";
import { carryRelated } from "./related";
import { changesOf, isRewritten, peerOf, rewrite, setDeltas } from "./rewrite";
import { tableOf } from "./root";
import {
  claimLive, find, findPacket, hashKey, insert, Insertion, keyIn, recordAt, unindex,
} from "./session";
import { addBits, bitsOf, initialState, isClosed, removeBits } from "./tcpstate";
import { passes } from "./verdict";
import { Worker } from "./worker";

/** How fine `seen` is: it is stored only when this many ms have gone by. */
const TICK_MASK: u32 = ~255;

// @ts-ignore: decorator
@inline
export function tickOf(nowMs: u32): u32 {
  return nowMs & TICK_MASK;
}
// @ts-ignore: decorator
@inline
export function backendIn<F>(r: usize): u32 {
  return load<u32>(r, is4<F>() ? SESSION4_BACKEND : SESSION6_BACKEND);
}

/** Are both ends of a session still the endpoints that it was opened between? */
// @ts-ignore: decorator
@inline
export function endsLive<F>(g: Generation, r: usize): bool {
  const endpoints = usize(g.endpoints), count = g.endpointCount;
  return isLive(endpoints, count, endpointOf<F>(keyIn<F>(r, 0))) &&
    isLive(endpoints, count, endpointOf<F>(keyIn<F>(r, 1)));
}
/** Was a session opened under a later generation than this one? Its ends may be new ones. */
// @ts-ignore: decorator
@inline
export function isYounger<F>(g: Generation, r: usize): bool {
  const generation = load<u32>(r, is4<F>() ? SESSION4_GENERATION : SESSION6_GENERATION);
  return i32(generation - g.number) > 0;
}
/** Does the packet come from the end that its direction says? */
// @ts-ignore: decorator
@inline
export function fromItsEnd<F>(p: Packet, r: usize): bool {
  return endpointOf<F>(keyIn<F>(r, p.direction)) == p.endpoint;
}

/** A hit: the session has been seen now, what TCP says is noted, the packet is rewritten. */
// @ts-ignore: decorator
@inline
export function touch<F>(p: Packet, r: usize, tick: u32): void {
  if (load<u32>(r, SESSION_SEEN) != tick) store<u32>(r, tick, SESSION_SEEN);
  if (p.flags & <u8>(tcp.SYN | tcp.FIN | tcp.RST)) addBits(r, bitsOf(p.flags, p.direction));
  if (isAnswered<F>(p, r)) noteAnswer(r);
  p.rule = load<u32>(r, SESSION_RULE);
  p.reason = <u8>Reason.Established;
  carry<F>(p, r);
}

/**
 * Does a segment show that a session's other side has answered, though no SYN of it was seen? Of a
 * session that was picked up in mid-flow one from there does; where only the opener's pass here
 * (DSR), its second segment, for that follows the answer. The fast lane leaves both.
 */
// @ts-ignore: decorator
@inline
function isAnswered<F>(p: Packet, r: usize): bool {
  if (p.protocol != <u8>tcp.PROTOCOL) return false;
  const state = load<u32>(r, SESSION_STATE);
  if (p.direction) return (state & SessionFlag.PickedUp) != 0;
  if (!(changesOf<F>(r) & Rewritten.ToPeer) || p.flags & <u8>tcp.SYN) return false;
  return (state & (SessionFlag.SynReturn | SessionFlag.PickedUp)) != SessionFlag.SynReturn;
}
function noteAnswer(r: usize): void {
  addBits(r, SessionFlag.SynReturn);
  removeBits(r, SessionFlag.PickedUp);
}

/** Carries a packet by its session: the backend for the report, the rewrite. */
// @ts-ignore: decorator
@inline
function carry<F>(p: Packet, r: usize): void {
  p.backend = backendIn<F>(r);
  const changes = changesOf<F>(r);
  if (changes & Rewritten.Header) rewrite<F>(p, r);
  if (changes & Rewritten.ToPeer && p.direction == 0) {
    p.rewritten = <u8>Rewritten.ToPeer;
    detailOf(p).peer = u16(peerOf<F>(r));
  }
}

/** Settles a packet that the fast path left, by its session as it is now or by its decision. */
export function settle<F>(
  w: Worker, g: Generation, p: Packet, tick: u32, generation: u32,
): void {
  const d = detailOf(p);
  if (d.part == <u8>Part.Later) {
    p.reason = u8(followFragment<F>(g, p, tick));
    return;
  }
  if (p.decision == <u8>Reason.Untracked) {
    p.reason = <u8>Reason.Untracked;
    p.direction = 0; // whatever session its key may be of
    countStages(p);
  } else if (!d.quoted || !carryRelated<F>(g, p)) {
    settleFlow<F>(w, g, p, d, tick, generation);
  }
  if (d.part != <u8>Part.First || !passes(p.reason)) return;
  noteFragment<F>(p, d.asItIs ? 0 : usize(p.session), tick);
}

function settleFlow<F>(
  w: Worker, g: Generation, p: Packet, d: Detail, tick: u32, generation: u32,
): void {
  const entry = findPacket<F>(tableOf<F>(), p);
  if (isLeaving(p) && !isOwn<F>(p, entry) && carryLeaving<F>(g, p, d)) return;
  if (entry && settleFound<F>(w, g, p, entry, tick, generation)) return;
  if (p.decision != <u8>Reason.Allowed) {
    // Undecided: it had a session at look-up, or quoted one, which has ended since.
    p.reason = p.decision ? p.decision : <u8>Reason.NoSession;
    if (p.decision) countStages(p);
    return;
  }
  if (!makesSession(p)) {
    // What should be translated can't leave as it is, and without a session nothing comes back.
    if (isTranslated(p, d)) p.reason = <u8>Reason.NoSession;
    else passAlone(p);
    return;
  }
  if (d.part && p.protocol == <u8>sctp.PROTOCOL && isTranslated(p, d)) {
    p.reason = <u8>Reason.SctpFragment; // its checksum is over what is not here
    return;
  }
  open<F>(w, g, p, d, tick, generation);
}

/** Is an index entry's session the packet's sender's own? */
function isOwn<F>(p: Packet, entry: u32): bool {
  if (!entry) return false;
  return endpointOf<F>(keyIn<F>(recordAt<F>(tableOf<F>(), entry >> 1), entry & 1)) == p.endpoint;
}

/** Does NAT change the packet's header? */
// @ts-ignore: decorator
@inline
function isTranslated(p: Packet, d: Detail): bool {
  return (p.backend != 0 && d.peer == 0) || d.translation != <u8>Translation.None;
}

/** A packet that policy lets through, but that has no session. */
function passAlone(p: Packet): void {
  p.reason = <u8>Reason.Allowed;
  p.backend = 0;
  countStages(p);
}

/** Opens a session for a packet that was let through. */
function open<F>(
  w: Worker, g: Generation, p: Packet, d: Detail, tick: u32, generation: u32,
): void {
  const record = take<F>(w);
  if (!record) {
    p.reason = <u8>Reason.SessionTableFull;
    return;
  }
  w.table = is4<F>() ? 4 : 6;
  w.record = record;
  const r = recordAt<F>(tableOf<F>(), record);
  writeIdentity<F>(p, d, r, tick, generation);
  const result = insertFree<F>(w, g, p, d, r);
  w.record = 0;
  if (result == Insertion.Done) {
    p.session = u32(r);
    p.direction = 0;
    p.reason = <u8>(d.peer ? Reason.Forwarded : Reason.Allowed);
    countStages(p);
    keepClient<F>(p, d, tick);
    carry<F>(p, r);
    return;
  }
  const isOwnReply = result == Insertion.OwnReply && !changesOf<F>(r);
  giveBack<F>(record);
  if (isOwnReply) {
    // From an address and port to the same: no two directions to tell apart, so each is judged.
    passAlone(p);
    return;
  }
  if (result == Insertion.Found) {
    if (settleFound<F>(w, g, p, p.entry, tick, generation)) return;
    p.reason = <u8>Reason.TupleCollision; // two workers open the same stale tuple at once
    return;
  }
  if (result == Insertion.Full) p.reason = <u8>Reason.SessionTableFull;
  else p.reason = <u8>(isTranslated(p, d) ? Reason.NatPortsExhausted : Reason.TupleCollision);
}

/**
 * Inserts the record in hand, a translated one under the first source port that nobody uses: its
 * own, unless another flow of its client to the same backend has it, or another client's behind the
 * same address. A port in use is mostly seen without a lock.
 */
function insertFree<F>(
  w: Worker, g: Generation, p: Packet, d: Detail, r: usize,
): Insertion {
  const state = initialState(p.protocol, p.flags);
  if (!isTranslated(p, d)) {
    setDeltas<F>(r);
    return insert<F>(w, p, state);
  }
  const reply = keyIn<F>(r, 1);
  const own = portsOf<F>(reply);
  let tried: u32 = 0, result = Insertion.Collision;
  while (result == Insertion.Collision || result == Insertion.OwnReply) {
    const masked = d.translation != <u8>Translation.None;
    const ports = portFor(g, p, own, tried++, masked);
    if (ports == NO_PORT) return Insertion.Collision;
    setPorts<F>(reply, ports);
    if (tried > 1 && find<F>(tableOf<F>(), hashKey<F>(r, 1), reply, ports, p.protocol)) continue;
    setDeltas<F>(r);
    result = insert<F>(w, p, state);
  }
  return result;
}

/** Client affinity: the backend that this client got is the one it keeps. */
function keepClient<F>(p: Packet, d: Detail, tick: u32): void {
  if (!d.frontend) return;
  const f = changetype<Frontend>(usize(d.frontend));
  if (!f.affinityMs) return;
  const source = keyIn<F>(usize(p.session), 0);
  const backend = changetype<Backend>(usize(p.backend));
  // The group is the frontend's for clients inside or outside: a place of the other one misses.
  const group = f.internal ? f.internal : f.external;
  const place = u32(changetype<usize>(backend) - usize(group) - GROUP_HEADER) >> 5;
  keepBackend(first8<F>(source), last8<F>(source), f.service, backend.id + 1, place, tick);
}

/** Settles by a session found; false when it is over and the packet is the first of a new flow. */
function settleFound<F>(
  w: Worker, g: Generation, p: Packet, entry: u32, tick: u32, generation: u32,
): bool {
  const r = recordAt<F>(tableOf<F>(), entry >> 1);
  p.direction = u8(entry & 1);
  if (!endsLive<F>(g, r)) {
    if (!isYounger<F>(g, r)) return ended<F>(w, p, entry >> 1);
    p.reason = <u8>Reason.EndpointMismatch; // another worker's, under a generation that is to come
    p.rule = 0;
    return true;
  }
  if (!fromItsEnd<F>(p, r)) {
    p.reason = <u8>Reason.EndpointMismatch;
    p.rule = 0;
    return true;
  }
  const state = atomic.load<u32>(r, SESSION_STATE);
  const reopens = p.protocol == <u8>tcp.PROTOCOL && opens(p) && isClosed(state);
  if (reopens || isPassedOn<F>(p, r)) {
    if (p.decision != <u8>Reason.Allowed) {
      p.reason = p.decision ? p.decision : <u8>Reason.NoSession;
      countStages(p);
      return true;
    }
    return ended<F>(w, p, entry >> 1);
  }
  if (state & SessionFlag.Restored && !readmit<F>(w, g, p, r, entry >> 1, generation)) return true;
  p.session = u32(r);
  if (detailOf(p).part && p.protocol == <u8>sctp.PROTOCOL && isRewritten<F>(r)) {
    p.reason = <u8>Reason.SctpFragment;
    return true;
  }
  touch<F>(p, r, tick);
  return true;
}

/** Ends a session that the packet does not belong to: it is a new flow's. */
function ended<F>(w: Worker, p: Packet, record: u32): bool {
  endSession<F>(w, record);
  p.direction = 0;
  return false;
}

/** A session of a checkpoint at its first packet: it lives on, or ends, by what policy says now. */
function readmit<F>(
  w: Worker, g: Generation, p: Packet, r: usize, record: u32, generation: u32,
): bool {
  const d = detailOf(p);
  countStages(p);
  p.rule = d.readmissionRule;
  if (!d.readmission) { // it came between this packet's look-up and its turn: the next one asks
    p.reason = <u8>Reason.NoSession;
    return false;
  }
  if (d.readmission != <u8>Reason.Allowed) {
    p.reason = d.readmission;
    p.decision = p.reason;
    d.answer = u8(p.reason == <u8>Reason.PolicyDenied && answersDenied(g));
    endSession<F>(w, record);
    return false;
  }
  store<u32>(r, p.rule, SESSION_RULE);
  store<u32>(r, generation, is4<F>() ? SESSION4_GENERATION : SESSION6_GENERATION);
  removeBits(r, SessionFlag.Restored);
  return true;
}

/** Ends a live session; false when another worker is at it. */
export function endSession<F>(w: Worker, record: u32): bool {
  if (!claimLive(recordAt<F>(tableOf<F>(), record))) return false;
  w.table = is4<F>() ? 4 : 6;
  w.record = record;
  unindex<F>(w);
  w.record = 0;
  retire<F>(w, record);
  return true;
}
