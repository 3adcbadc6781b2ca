// A packet with other addresses and ports, slowly: the new ones are put in, and every checksum is
// computed anew over all the bytes it covers. A checksum that was wrong before is as wrong after:
// what it lacked is added to what it should be, so that fragments, whose checksum covers what is
// not there, and damaged packets come out as they would on any path.
// Source: RFC 791, 9293, 768, 792, 4443, 9260 (CRC32c), 1624.
import { crc32c, sum16 } from "../packets.ts";
import type { Headers } from "./header.ts";

/** What a packet is to bear. */
export interface Ends {
  source: Uint8Array;
  destination: Uint8Array;
  /** An echo's identifier is its sourcePort. Absent where the protocol has none. */
  sourcePort?: number | undefined;
  port?: number | undefined;
}

/** Where a transport's checksum lies; undefined where it has none that covers anything here. */
export function checksumAt(protocol: number, family: 4 | 6): number | undefined {
  if (protocol === 6) return 16;
  if (protocol === 17) return 6;
  return protocol === (family === 4 ? 1 : 58) ? 2 : undefined;
}

/** The pseudo-header that TCP, UDP and ICMPv6 sum; nothing for ICMP. */
function pseudo(ends: Ends, protocol: number, length: number): Uint8Array {
  if (protocol === 1) return new Uint8Array(0);
  const tail = new Uint8Array(8);
  new DataView(tail.buffer).setUint32(0, length);
  tail[7] = protocol;
  return Uint8Array.from([...ends.source, ...ends.destination, ...tail]);
}
const put16 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
};
const get16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
/** One's complement of a sum of 16-bit words. */
const complement = (sum: number): number => ~sum & 0xffff;
const plus = (a: number, b: number): number => {
  const sum = a + b;
  return (sum & 0xffff) + (sum >>> 16);
};

/**
 * The checksum in `to` at `at`, by what it was in `from`. `before` and `after` are what is summed
 * beside the bytes.
 */
function resum(
  from: Uint8Array, to: Uint8Array, at: number, before: Uint8Array, after: Uint8Array,
): void {
  const lacking = complement(sum16(before, from));
  put16(to, at, 0);
  put16(to, at, complement(plus(sum16(after, to), lacking)));
}

/**
 * The packet with other ends. `partial`: its transport checksum is the pseudo-header's sum alone,
 * for the device to complete. A later fragment has no transport's header.
 */
export function withEnds(
  bytes: Uint8Array, headers: Headers, ends: Ends, partial = false,
): Uint8Array {
  const out = bytes.slice(0, headers.total);
  const { family } = headers;
  const [source, destination] = family === 4 ? [12, 16] : [8, 24];
  out.set(ends.source, source);
  out.set(ends.destination, destination);
  if (family === 4) {
    const none = new Uint8Array(0), header = (bytes[0]! & 15) * 4;
    resum(bytes.slice(0, header), out.subarray(0, header), 10, none, none);
  }
  if (!headers.laterFragment) {
    const upper = out.subarray(headers.at);
    const old = { source: headers.source, destination: headers.destination };
    transport(bytes.slice(headers.at, headers.total), upper, family, headers.protocol, {
      old, ends, partial, length: upper.length,
    });
  }
  return out;
}

interface Change {
  old: Ends;
  ends: Ends;
  partial: boolean;
  /** What the pseudo-header says. */
  length: number;
}
/** A transport's header, `to` being a copy of `from`: ports and checksum. */
export function transport(
  from: Uint8Array, to: Uint8Array, family: 4 | 6, protocol: number, change: Change,
): void {
  const { old, ends, partial, length } = change;
  const isIcmp = protocol === (family === 4 ? 1 : 58);
  if (isIcmp && ends.sourcePort !== undefined) put16(to, 4, ends.sourcePort);
  if ([6, 17, 132].includes(protocol)) {
    put16(to, 0, ends.sourcePort!);
    put16(to, 2, ends.port!);
  }
  if (protocol === 132) {
    if (!partial && to.length >= 12) recrc(from, to);
    return;
  }
  const at = checksumAt(protocol, family);
  if (at === undefined || to.length < at + 2) return;
  const before = pseudo(old, protocol, length), after = pseudo(ends, protocol, length);
  if (partial) {
    const lacking = plus(complement(sum16(before)), get16(from, at));
    put16(to, at, plus(sum16(after), lacking === 0xffff ? 0 : lacking));
    return;
  }
  if (protocol === 17 && get16(from, at) === 0) return;
  resum(from, to, at, before, after);
  if (protocol === 17 && get16(to, at) === 0) put16(to, at, 0xffff);
}

/** SCTP's checksum, over the whole packet with its own field zero (RFC 9260, 6.8). */
function recrc(from: Uint8Array, to: Uint8Array): void {
  const crcOf = (bytes: Uint8Array): number =>
    crc32c(Uint8Array.from(bytes, (byte, i) => (i >= 8 && i < 12 ? 0 : byte)));
  const view = (bytes: Uint8Array): DataView =>
    new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const lacking = view(from).getUint32(8, true) ^ crcOf(from);
  view(to).setUint32(8, (crcOf(to) ^ lacking) >>> 0, true);
}
