// What TCP's flags say of a session: bits that only ever get set, and what follows from them. Times
// of sessions are kept in steps of 256 ms.
// Source: RFC 9293 3.3.2; assembly/layout.ts, enum SessionFlag (the same bits).
import type { Headers } from "./header.ts";

const FIN = 1, SYN = 2, RST = 4, ACK = 16;
const SYN_FORWARD = 4, SYN_RETURN = 8, FIN_FORWARD = 16, FIN_RETURN = 32, RESET = 64;
/** Of a checkpoint, and not judged since. */
export const RESTORED = 128;
/** In mid-flow, and nothing has come back since. */
const PICKED_UP = 256;

export const tickOf = (nowMs: number): number => (nowMs & ~255) >>> 0;

/** The bits that a segment adds. */
export function bitsOf(flags: number, direction: 0 | 1): number {
  const syn = direction === 0 ? SYN_FORWARD : SYN_RETURN;
  const fin = direction === 0 ? FIN_FORWARD : FIN_RETURN;
  return (flags & SYN ? syn : 0) | (flags & FIN ? fin : 0) | (flags & RST ? RESET : 0);
}
/** The bits of a session that a segment opens; in mid-flow it may be anybody's invention. */
export function firstBits(flags: number): number {
  return bitsOf(flags, 0) | (flags & SYN ? 0 : SYN_FORWARD | PICKED_UP);
}
/**
 * The bits behind a segment that shows an answer which nobody saw: one that comes back to a flow
 * picked up in mid-flow, or the opener's next one where answers take another way (`isOneWay`).
 */
export function answered(
  bits: number, flags: number, direction: 0 | 1, isOneWay: boolean,
): number {
  const isKnown = (bits & SYN_RETURN) !== 0 && (bits & PICKED_UP) === 0;
  const shows = direction === 1
    ? (bits & PICKED_UP) !== 0
    : isOneWay && (flags & SYN) === 0 && !isKnown;
  return shows ? (bits & ~PICKED_UP) | SYN_RETURN : bits;
}
export function isClosed(bits: number): boolean {
  return (bits & RESET) !== 0 || ((bits & FIN_FORWARD) !== 0 && (bits & FIN_RETURN) !== 0);
}
export function isEstablished(bits: number): boolean {
  return (bits & SYN_FORWARD) !== 0 && (bits & SYN_RETURN) !== 0;
}
/** A SYN alone, an echo request, any datagram. */
export function opensFlow({ flags, icmp, family }: Headers): boolean {
  if (flags !== undefined) return (flags & (SYN | ACK | RST)) === SYN;
  return !icmp || (icmp.type === (family === 4 ? 8 : 128) && icmp.code === 0);
}

/** Milliseconds without a packet after which a session ends; `timeouts`: enum Timeout's order. */
export function idleMs(protocol: number, bits: number, timeouts: readonly number[]): number {
  const [udp, icmp, opening, established, closing, other] =
    timeouts as [number, number, number, number, number, number];
  if (protocol === 17) return udp;
  if (protocol === 1 || protocol === 58) return icmp;
  if (protocol !== 6) return other;
  if (bits & (FIN_FORWARD | FIN_RETURN | RESET)) return closing;
  return isEstablished(bits) ? established : opening;
}
