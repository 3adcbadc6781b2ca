// ICMP errors, slowly: the packet that one quotes, and the error as it must go on where that packet
// belongs to a session that changes headers. What its sender sent is what its sender must read; all
// checksums are computed anew, those of what is quoted as far as the bytes are there.
// Source: RFC 792, 4443, 5508; RFC 1812 4.3.2.3 (at least eight bytes of the upper header).
import type { Headers } from "./header.ts";
import { crc32c, sum16 } from "../packets.ts";
import { checksumAt, transport, type Ends } from "./rewrite.ts";

/** Bytes of a packet that the program sees. */
const WINDOW = 128;
const EXTENSIONS = [0, 43, 44, 51, 60, 135];

/** The packet that an error is about, as it was sent. */
export interface Quoted {
  source: Uint8Array;
  destination: Uint8Array;
  protocol: number;
  sourcePort: number;
  port: number;
  /** An echo's. */
  identifier?: number;
  isRequest?: boolean;
  /** Offsets in the packet: of its header, its upper header, and what the program sees of it. */
  at: number;
  upper: number;
  end: number;
}

/** Destination unreachable, source quench, time exceeded, parameter problem; too big. */
function isError({ family, icmp, firstFragment }: Headers): boolean {
  if (!icmp || firstFragment) return false;
  return (family === 4 ? [3, 4, 11, 12] : [1, 2, 3, 4]).includes(icmp.type);
}

export function quotedBy(headers: Headers, bytes: Uint8Array): Quoted | undefined {
  if (!isError(headers)) return undefined;
  const at = headers.at + 8, end = Math.min(headers.total, WINDOW);
  const { family } = headers;
  const least = family === 4 ? 20 : 40;
  if (at + least > end || bytes[at]! >> 4 !== family) return undefined;
  const four = family === 4;
  const source = bytes.slice(at + (four ? 12 : 8), at + (four ? 16 : 24));
  const destination = bytes.slice(at + (four ? 16 : 24), at + (four ? 20 : 40));
  const found = four ? upper4(bytes, at) : upper6(bytes, at, end);
  if (!found || found.upper + 8 > end) return undefined;
  const { protocol, upper } = found;
  const quoted = { source, destination, protocol, at, upper, end, sourcePort: 0, port: 0 };
  if (protocol === (four ? 1 : 58)) {
    const requests = four ? 8 : 128, replies = four ? 0 : 129;
    const type = bytes[upper]!;
    if ((type !== requests && type !== replies) || bytes[upper + 1] !== 0) return undefined;
    return { ...quoted, identifier: word(bytes, upper + 4), isRequest: type === requests };
  }
  if (![6, 17, 132].includes(protocol)) return quoted;
  return { ...quoted, sourcePort: word(bytes, upper), port: word(bytes, upper + 2) };
}

function upper4(bytes: Uint8Array, at: number): { protocol: number; upper: number } | undefined {
  const header = (bytes[at]! & 15) * 4;
  const offset = ((bytes[at + 6]! << 8) | bytes[at + 7]!) & 0x1fff;
  if (header < 20 || offset > 0) return undefined;
  return { protocol: bytes[at + 9]!, upper: at + header };
}
function upper6(
  bytes: Uint8Array, at: number, end: number,
): { protocol: number; upper: number } | undefined {
  let protocol = bytes[at + 6]!, upper = at + 40;
  for (let walked = 0; EXTENSIONS.includes(protocol); walked++) {
    if (walked === 8 || upper + 8 > end) return undefined;
    if (protocol === 44 && word(bytes, upper + 2) >> 3 > 0) return undefined; // a later fragment
    const length = protocol === 44 ? 8
      : protocol === 51 ? (bytes[upper + 1]! + 2) * 4 : (bytes[upper + 1]! + 1) * 8;
    protocol = bytes[upper]!;
    upper += length;
  }
  return { protocol, upper };
}

/**
 * The error with other outer addresses, its quoted packet with other ends: those that it was sent
 * with.
 */
export function withQuotedEnds(
  bytes: Uint8Array, headers: Headers, outer: Ends, quoted: Quoted, inner: Ends, partial: boolean,
): Uint8Array {
  const { family } = headers;
  const out = bytes.slice(0, headers.total);
  const put = (at: number, ends: Ends): void => {
    out.set(ends.source, at + (family === 4 ? 12 : 8));
    out.set(ends.destination, at + (family === 4 ? 16 : 24));
    if (family === 4) header4(bytes, out, at);
  };
  put(0, outer);
  put(quoted.at, inner);
  const { upper, end } = quoted;
  const from = bytes.slice(upper, end), to = out.subarray(upper, end);
  quotedTransport(from, to, family, quoted, inner, lengthOf(bytes, quoted));
  const whole = out.subarray(headers.at);
  transport(bytes.slice(headers.at, headers.total), whole, family, headers.protocol, {
    old: { source: headers.source, destination: headers.destination },
    ends: { source: outer.source, destination: outer.destination }, partial, length: whole.length,
  });
  return out;
}

const word = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;

/** The length of the quoted packet's upper part, as its header says; undefined: it does not. */
function lengthOf(bytes: Uint8Array, { at, upper }: Quoted): number | undefined {
  const four = bytes[at]! >> 4 === 4;
  if (four ? (word(bytes, at + 6) & 0x3fff) !== 0 : upper !== at + 40) return undefined;
  return four ? word(bytes, at + 2) - (upper - at) : word(bytes, at + 4);
}

function header4(from: Uint8Array, to: Uint8Array, at: number): void {
  const end = at + (from[at]! & 15) * 4;
  const lacking = ~sum16(from.slice(at, end)) & 0xffff;
  to.fill(0, at + 10, at + 12);
  let sum = sum16(to.slice(at, end)) + lacking;
  sum = (sum & 0xffff) + (sum >>> 16);
  to[at + 10] = (~sum >> 8) & 0xff;
  to[at + 11] = ~sum & 0xff;
}

/** Ports and checksum of what is quoted: the head of a packet, its checksum that of the whole. */
function quotedTransport(
  from: Uint8Array, to: Uint8Array, family: 4 | 6, quoted: Quoted, ends: Ends,
  length: number | undefined,
): void {
  const { protocol, source, destination } = quoted;
  const at = checksumAt(protocol, family);
  if (at !== undefined && to.length >= at + 2) {
    const old = { source, destination };
    transport(from, to, family, protocol, { old, ends, partial: false, length: length ?? 0 });
  } else if (protocol === 6 || protocol === 132) {
    const { sourcePort = 0, port = 0 } = ends;
    to.set([sourcePort >> 8, sourcePort & 255, port >> 8, port & 255], 0);
    if (protocol === 132 && to.length >= 12 && length !== undefined && length > 4) {
      // CRCs are linear: what the ports change it by is the same whatever is behind them.
      const change = new Uint8Array(length), none = new Uint8Array(length);
      change.set(to.subarray(0, 4).map((byte, i) => byte ^ from[i]!));
      const view = new DataView(to.buffer, to.byteOffset, to.byteLength);
      view.setUint32(8, (view.getUint32(8, true) ^ crc32c(change) ^ crc32c(none)) >>> 0, true);
    }
  }
}
