// What a session has seen of TCP, as bits that only ever get set, so that either worker may add to
// them in any order; and the idle time that follows from them.
//
//   forward SYN ─► opening ─ return SYN ─► established ─ FIN, RST ─► closing ─ all ─► closed
//
// A session picked up in mid-flow is opening until the other side is heard: a flood of segments
// that belong to nothing holds no place for an hour. A closed session still carries what trails
// behind (the last ACK); a SYN on it is a new connection and is judged (conntrack.ts).
import * as tcp from "./header/tcp";
import * as udp from "./header/udp";
import * as icmp from "./header/icmp";
import { LIFE_MASK, Life, SESSION_STATE, SessionFlag, Timeout } from "./layout";
import { timeoutMs } from "./root";

const OPEN: u32 = SessionFlag.SynForward | SessionFlag.SynReturn;
const FINISHED: u32 = SessionFlag.FinForward | SessionFlag.FinReturn;

/** The bits that a segment with these TCP flags adds. */
// @ts-ignore: decorator
@inline
export function bitsOf(flags: u32, direction: u32): u32 {
  let bits: u32 = 0;
  if (flags & tcp.SYN) bits |= direction ? SessionFlag.SynReturn : SessionFlag.SynForward;
  if (flags & tcp.FIN) bits |= direction ? SessionFlag.FinReturn : SessionFlag.FinForward;
  if (flags & tcp.RST) bits |= SessionFlag.Reset;
  return bits;
}
/** The bits of a session that this packet opens. */
// @ts-ignore: decorator
@inline
export function initialState(protocol: u32, flags: u32): u32 {
  if (protocol != tcp.PROTOCOL) return 0;
  const bits = bitsOf(flags, 0);
  return flags & tcp.SYN ? bits : bits | SessionFlag.SynForward | SessionFlag.PickedUp;
}
// @ts-ignore: decorator
@inline
export function isClosed(state: u32): bool {
  return (state & SessionFlag.Reset) != 0 || (state & FINISHED) == FINISHED;
}
/** Adds bits to a live session's state. */
// @ts-ignore: decorator
@inline
export function addBits(r: usize, bits: u32): void {
  let state = atomic.load<u32>(r, SESSION_STATE);
  while ((state & bits) != bits && (state & LIFE_MASK) == Life.Live) {
    state = atomic.cmpxchg<u32>(r, state, state | bits, SESSION_STATE);
  }
}
/** Takes bits from a session's state. */
export function removeBits(r: usize, bits: u32): void {
  let state = atomic.load<u32>(r, SESSION_STATE);
  while (state & bits) {
    const seen = atomic.cmpxchg<u32>(r, state, state & ~bits, SESSION_STATE);
    if (seen == state) return;
    state = seen;
  }
}
/** Idle time after which a session of this state ends, in ms. */
export function idleMs(protocol: u32, state: u32): u32 {
  if (protocol == tcp.PROTOCOL) {
    if (state & (FINISHED | SessionFlag.Reset)) return timeoutMs(Timeout.TcpClosing);
    if ((state & OPEN) != OPEN) return timeoutMs(Timeout.TcpOpening);
    return timeoutMs(Timeout.TcpEstablished);
  }
  if (protocol == udp.PROTOCOL) return timeoutMs(Timeout.Udp);
  const isIcmp = protocol == icmp.PROTOCOL4 || protocol == icmp.PROTOCOL6;
  return timeoutMs(isIcmp ? Timeout.Icmp : Timeout.Other);
}
