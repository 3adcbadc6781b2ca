// Partial checksums: a capture on the host that sends holds packets whose checksum its network card
// would have completed. They are told to the program as such, and completed in what is written.
//
//   TCP, UDP   the field holds the pseudo-header's sum alone; the card adds header and payload
//   SCTP       the field holds 0; the card puts the CRC32c there
//
// A packet counts as partial where its field holds that and the whole checksum does not come out
// right. Limits: whole packets alone; fragments and packets that the capture cut short are left as
// they are. Source: Linux Documentation/networking/checksum-offloads.rst; RFC 9293, 768, 9260.
import { crc32c } from "../cluster/packet.ts";

const TCP = 6, UDP = 17, SCTP = 132;
const IPV6_BYTES = 40;
/** Where the checksum stands in the upper header. */
const FIELD: Readonly<Record<number, number>> = { [TCP]: 16, [UDP]: 6, [SCTP]: 8 };
const HEADER_BYTES: Readonly<Record<number, number>> = { [TCP]: 20, [UDP]: 8, [SCTP]: 12 };
const FRAGMENT = 44, AUTHENTICATION = 51;
/** Hop-by-hop options, routing, destination options. */
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60, AUTHENTICATION]);

/** The upper header, and where the packet ends; bytes behind it are the link's padding. */
interface Upper {
  protocol: number;
  offset: number;
  end: number;
}

/** Of a packet from its IP header on. */
export function hasPartialChecksum(bytes: Uint8Array): boolean {
  const upper = upperOf(bytes);
  if (!upper) return false;
  const { protocol, offset, end } = upper;
  const at = offset + FIELD[protocol]!;
  if (protocol === SCTP) {
    const isZero = bytes.subarray(at, at + 4).every((byte) => byte === 0);
    return isZero && crc32c(bytes.subarray(0, end), offset) !== 0;
  }
  const pseudo = pseudoSum(bytes, upper);
  if (((bytes[at]! << 8) | bytes[at + 1]!) !== fold(pseudo)) return false;
  return fold(pseudo + sum(bytes, offset, end)) !== 0xffff;
}

/** A copy with the checksum that the card would have sent. */
export function completed(bytes: Uint8Array): Uint8Array {
  const upper = upperOf(bytes);
  if (!upper) return bytes;
  const { protocol, offset, end } = upper;
  const whole = Uint8Array.from(bytes);
  const at = offset + FIELD[protocol]!;
  if (protocol === SCTP) {
    whole.fill(0, at, at + 4);
    const crc = crc32c(whole.subarray(0, end), offset);
    for (let i = 0; i < 4; i++) whole[at + i] = crc >>> (8 * i);
    return whole;
  }
  // As a card does: what the field holds, and the bytes behind the pseudo-header.
  const value = ~fold(sum(whole, offset, end)) & 0xffff;
  const sent = value === 0 && protocol === UDP ? 0xffff : value;
  whole[at] = sent >> 8;
  whole[at + 1] = sent & 0xff;
  return whole;
}

/** Undefined where there is no whole TCP, UDP or SCTP packet. */
function upperOf(bytes: Uint8Array): Upper | undefined {
  const upper = bytes[0]! >> 4 === 4 ? upper4(bytes) : upper6(bytes);
  if (!upper || upper.end > bytes.length) return undefined;
  const least = HEADER_BYTES[upper.protocol];
  return least !== undefined && upper.offset + least <= upper.end ? upper : undefined;
}

function upper4(bytes: Uint8Array): Upper | undefined {
  if (bytes.length < 20 || (get16(bytes, 6) & 0x3fff) !== 0) return undefined;
  return { protocol: bytes[9]!, offset: (bytes[0]! & 15) * 4, end: get16(bytes, 2) };
}

function upper6(bytes: Uint8Array): Upper | undefined {
  if (bytes.length < IPV6_BYTES || bytes[0]! >> 4 !== 6) return undefined;
  const end = IPV6_BYTES + get16(bytes, 4);
  let protocol = bytes[6]!, offset = IPV6_BYTES;
  while (EXTENSIONS.has(protocol) && offset + 8 <= bytes.length) {
    const words = bytes[offset + 1]!;
    [protocol, offset] = [bytes[offset]!,
      offset + (protocol === AUTHENTICATION ? (words + 2) * 4 : (words + 1) * 8)];
  }
  return protocol === FRAGMENT ? undefined : { protocol, offset, end };
}

function get16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** Addresses, protocol and length. */
function pseudoSum(bytes: Uint8Array, { protocol, offset, end }: Upper): number {
  const is4 = bytes[0]! >> 4 === 4;
  return sum(bytes, is4 ? 12 : 8, is4 ? 20 : IPV6_BYTES) + protocol + end - offset;
}

/** One's-complement sum of 16-bit words; a last odd byte is a word's upper half. */
function sum(bytes: Uint8Array, from: number, to: number): number {
  let total = 0;
  for (let i = from; i + 1 < to; i += 2) total += (bytes[i]! << 8) | bytes[i + 1]!;
  return (to - from) % 2 === 0 ? total : total + (bytes[to - 1]! << 8);
}

function fold(total: number): number {
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return total;
}
