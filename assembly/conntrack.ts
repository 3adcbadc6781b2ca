// Connection tracking: what a packet does to its session, and the slow path of packets without one.
//
//   decide()   for misses and for SYNs (judge.ts). Changes no state.
//   touch()    for hits: seen, TCP bits, the rewrite.
//   settle()   for the rest, in packet order: the key is looked up once more, for an earlier packet
//              of this frame or another worker may have opened the session by now; only then does
//              the decision count. So the result does not depend on where frames are cut.
import {
  copyAddress, copyPair, copyTurned, endpointOf, is4, setEndpoint, setPorts, sourceOf,
} from "./family";
import { isLive } from "./endpoint";
import { Generation } from "./generation";
import * as tcp from "./header/tcp";
import { makesSession } from "./judge";
import {
  Reason, SESSION4_BACKEND, SESSION4_GENERATION, SESSION4_PROTOCOL, SESSION6_BACKEND,
  SESSION6_GENERATION, SESSION6_PROTOCOL, SESSION_RULE, SESSION_SEEN, SESSION_STATE,
} from "./layout";
import { Packet } from "./packet";
import { opens } from "./parser";
import { countStages } from "./policy";
import { giveBack, retire, take } from "./reclaim";
import { isRewritten, rewrite, setDeltas, setRewritten } from "./rewrite";
import { tableOf } from "./root";
import { Backend } from "./service";
import { claimLive, findPacket, insert, Insertion, keyIn, recordAt, unindex } from "./session";
import { addBits, bitsOf, initialState, isClosed } from "./tcpstate";
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
  p.rule = load<u32>(r, SESSION_RULE);
  p.reason = <u8>Reason.Established;
  carry<F>(p, r);
}

/** Carries a packet by its session: the backend for the report, the rewrite. */
// @ts-ignore: decorator
@inline
function carry<F>(p: Packet, r: usize): void {
  p.backend = backendIn<F>(r);
  if (isRewritten<F>(r)) rewrite<F>(p, r);
}

/** Settles a packet that the fast path left, by its session as it is now or by its decision. */
export function settle<F>(
  w: Worker, g: Generation, p: Packet, tick: u32, generation: u32,
): void {
  const t = tableOf<F>();
  const entry = findPacket<F>(t, p);
  if (entry && settleFound<F>(w, g, p, entry, tick)) return;
  if (p.decision != <u8>Reason.Allowed) {
    // Undecided: it had a session at look-up, which has ended since.
    p.reason = p.decision ? p.decision : <u8>Reason.NoSession;
    if (p.decision) countStages(p);
    return;
  }
  if (!makesSession(p)) {
    p.reason = <u8>Reason.Allowed;
    p.backend = 0;
    countStages(p);
    return;
  }
  const record = take<F>(w);
  if (!record) {
    p.reason = <u8>Reason.SessionTableFull;
    return;
  }
  w.table = is4<F>() ? 4 : 6;
  w.record = record;
  const r = recordAt<F>(t, record);
  writeIdentity<F>(p, r, tick, generation);
  const result = insert<F>(w, p, initialState(p.protocol, p.flags));
  w.record = 0;
  if (result == Insertion.Done) {
    p.session = u32(r);
    p.direction = 0;
    p.reason = <u8>Reason.Allowed;
    countStages(p);
    carry<F>(p, r);
    return;
  }
  const isOwnReply = result == Insertion.OwnReply && !isRewritten<F>(r);
  giveBack<F>(record);
  if (isOwnReply) {
    // From an address and port to the same: no two directions to tell apart, so each is judged.
    p.reason = <u8>Reason.Allowed;
    p.backend = 0;
    countStages(p);
    return;
  }
  if (result == Insertion.Found) {
    if (settleFound<F>(w, g, p, p.entry, tick)) return;
    p.reason = <u8>Reason.TupleCollision; // two workers open the same stale tuple at once
    return;
  }
  const collision = result == Insertion.Collision || result == Insertion.OwnReply;
  p.reason = <u8>(collision ? Reason.TupleCollision : Reason.SessionTableFull);
}

/** Settles by a session found; false when it is over and the packet is the first of a new flow. */
function settleFound<F>(
  w: Worker, g: Generation, p: Packet, entry: u32, tick: u32,
): bool {
  const r = recordAt<F>(tableOf<F>(), entry >> 1);
  p.direction = u8(entry & 1);
  if (!endsLive<F>(g, r)) {
    endSession<F>(w, entry >> 1);
    return false;
  }
  if (!fromItsEnd<F>(p, r)) {
    p.reason = <u8>Reason.EndpointMismatch;
    p.rule = 0;
    return true;
  }
  const state = atomic.load<u32>(r, SESSION_STATE);
  if (p.protocol == <u8>tcp.PROTOCOL && opens(p) && isClosed(state)) {
    if (p.decision != <u8>Reason.Allowed) {
      p.reason = p.decision;
      countStages(p);
      return true;
    }
    endSession<F>(w, entry >> 1);
    return false;
  }
  p.session = u32(r);
  touch<F>(p, r, tick);
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

function writeIdentity<F>(p: Packet, r: usize, tick: u32, generation: u32): void {
  const packet = usize(p.window);
  const forward = keyIn<F>(r, 0), reply = keyIn<F>(r, 1);
  copyPair<F>(forward, sourceOf<F>(packet));
  copyTurned<F>(reply, sourceOf<F>(packet));
  let replyPorts = rotl<u32>(p.ports, 16);
  let id: u32 = 0;
  if (p.backend) {
    const backend = changetype<Backend>(usize(p.backend));
    copyAddress<F>(reply, usize(p.backend) + (is4<F>() ? 12 : 0)); // the reply's source
    replyPorts = (replyPorts & 0xffff0000) | u32(backend.port);
    id = backend.id + 1;
  }
  setPorts<F>(forward, p.ports);
  setPorts<F>(reply, replyPorts);
  setEndpoint<F>(forward, p.endpoint);
  setEndpoint<F>(reply, p.destinationEndpoint);
  store<u32>(r, tick, SESSION_SEEN);
  store<u32>(r, p.rule, SESSION_RULE);
  store<u32>(r, p.protocol, is4<F>() ? SESSION4_PROTOCOL : SESSION6_PROTOCOL); // and 3 zeros
  store<u32>(r, generation, is4<F>() ? SESSION4_GENERATION : SESSION6_GENERATION);
  store<u32>(r, id, is4<F>() ? SESSION4_BACKEND : SESSION6_BACKEND);
  setRewritten<F>(r, p.backend != 0);
  setDeltas<F>(r);
}
