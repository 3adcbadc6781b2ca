// The bytes of a flow's packet, from its L3 header on, with right checksums: the one that opens it,
// or one of a flow under way:
//
//   TCP SYN, or other flags │ UDP, UDP-Lite without payload │ SCTP INIT, or DATA
//   ICMP, ICMPv6 of any type │ any other protocol
//
// ICMP errors quote a packet of the other direction, as they would; neighbour discovery has its
// hop limit of 255. Limits: no IPv4 options, no fragments; of an IPv6 extension header's number
// that header stands there, with nothing behind it.
// Source: RFC 791, 768, 3828, 9293, 9260, 792, 4443, 4861, 8200; CRC32c: RFC 9260 appendix A.
import { addressBytes, isMapped } from "../model/address.ts";

export interface PacketFields {
  /** Texts of one family. */
  source: string;
  destination: string;
  protocol: number;
  sourcePort?: number;
  port?: number;
  icmp?: { type: number; code: number };
  /** Of TCP; SYN when absent. With others, SCTP sends DATA in place of an INIT. */
  flags?: number;
}

/** Flags of TCP. */
export const SYN = 0x02, ACK = 0x10;
const TCP = 6, UDP = 17, ICMP = 1, ICMP6 = 58, SCTP = 132, UDP_LITE = 136;
const IPV4_BYTES = 20, IPV6_BYTES = 40, TCP_BYTES = 20, UDP_BYTES = 8, INIT_BYTES = 32;
const NO_NEXT_HEADER = 59;
/** IPv6 numbers that are headers of their own: hop-by-hop, routing, destination, mobility. */
const EXTENSIONS = new Set([0, 43, 60, 135, 139, 140]);
const ERRORS: Record<number, Set<number>> = {
  [ICMP]: new Set([3, 4, 5, 11, 12]), [ICMP6]: new Set([1, 2, 3, 4]),
};
/** Bytes behind the checksum where they are not the usual 4: timestamps, masks; discovery. */
const QUERY_BYTES: Record<number, number> = { 13: 16, 14: 16, 17: 8, 18: 8 };
const DISCOVERY_BYTES: Record<number, number> = { 133: 4, 134: 12, 135: 20, 136: 20, 137: 36 };
const ECHO = new Set([0, 8, 128, 129]);
const CACHED_MAX = 200_000;

const parsed = new Map<string, Uint8Array>();
function bytesOf(address: string): Uint8Array {
  let bytes = parsed.get(address);
  if (!bytes) {
    if (parsed.size >= CACHED_MAX) parsed.clear();
    const all = addressBytes(address);
    bytes = isMapped(all) ? all.slice(12) : all;
    parsed.set(address, bytes);
  }
  return bytes;
}

export function buildPacket(fields: PacketFields): Uint8Array {
  const source = bytesOf(fields.source), destination = bytesOf(fields.destination);
  if (source.length !== destination.length) {
    throw new RangeError(`${fields.source} and ${fields.destination}: two families`);
  }
  const is4 = source.length === 4;
  const { protocol } = fields;
  const header = is4 ? IPV4_BYTES : IPV6_BYTES;
  const body = bodyBytes(fields, is4);
  const bytes = new Uint8Array(header + body);
  if (is4) writeIpv4(bytes, source, destination, protocol);
  else writeIpv6(bytes, source, destination, protocol, fields.icmp?.type ?? 0);
  writeBody(bytes, header, fields, is4);
  return bytes;
}

function bodyBytes({ protocol, icmp }: PacketFields, is4: boolean): number {
  switch (protocol) {
    case TCP: return TCP_BYTES;
    case SCTP: return INIT_BYTES;
    case ICMP:
    case ICMP6: {
      const type = icmp?.type ?? 0;
      if (ERRORS[protocol]!.has(type)) return 8 + (is4 ? IPV4_BYTES : IPV6_BYTES) + UDP_BYTES;
      return 4 + ((protocol === ICMP6 ? DISCOVERY_BYTES : QUERY_BYTES)[type] ?? 4);
    }
    default: return UDP_BYTES;
  }
}

function writeIpv4(
  bytes: Uint8Array, source: Uint8Array, destination: Uint8Array, protocol: number,
): void {
  bytes[0] = 0x45;
  put16(bytes, 2, bytes.length);
  put16(bytes, 6, 0x4000); // don't fragment
  bytes[8] = 64;
  bytes[9] = protocol;
  bytes.set(source, 12);
  bytes.set(destination, 16);
  put16(bytes, 10, ~fold(sum(bytes, 0, IPV4_BYTES)));
}

function writeIpv6(
  bytes: Uint8Array, source: Uint8Array, destination: Uint8Array, protocol: number, type: number,
): void {
  bytes[0] = 0x60;
  put16(bytes, 4, bytes.length - IPV6_BYTES);
  bytes[6] = protocol;
  bytes[7] = protocol === ICMP6 && type in DISCOVERY_BYTES ? 255 : 64;
  bytes.set(source, 8);
  bytes.set(destination, 24);
}

function writeBody(bytes: Uint8Array, at: number, fields: PacketFields, is4: boolean): void {
  const { protocol } = fields;
  if (protocol === ICMP || protocol === ICMP6) return writeIcmp(bytes, at, fields, is4);
  if (protocol === TCP || protocol === UDP || protocol === SCTP || protocol === UDP_LITE) {
    put16(bytes, at, fields.sourcePort ?? 0);
    put16(bytes, at + 2, fields.port ?? 0);
  }
  switch (protocol) {
    case TCP:
      bytes[at + 7] = 1; // sequence number
      bytes[at + 12] = 0x50;
      bytes[at + 13] = fields.flags ?? SYN;
      put16(bytes, at + 14, 64_240);
      return put16(bytes, at + 16, checksum(bytes, at, protocol));
    case UDP:
    case UDP_LITE:
      put16(bytes, at + 4, UDP_BYTES);
      return put16(bytes, at + 6, checksum(bytes, at, protocol) || 0xffff);
    case SCTP: return writeChunk(bytes, at, fields.flags === undefined);
    default:
      if (!is4 && EXTENSIONS.has(protocol)) {
        bytes[at] = NO_NEXT_HEADER;
        if (protocol === 0 || protocol === 60) bytes.set([1, 4], at + 2); // PadN over the rest
      }
  }
}

/** INIT and DATA of four bytes are of one length. */
function writeChunk(bytes: Uint8Array, at: number, isInit: boolean): void {
  bytes[at + 7] = isInit ? 0 : 1; // verification tag
  bytes[at + 12] = isInit ? 1 : 0;
  bytes[at + 13] = isInit ? 0 : 3; // of DATA: a whole message
  put16(bytes, at + 14, INIT_BYTES - 12);
  bytes[at + 19] = 1; // initiate tag, or number of the DATA
  if (isInit) {
    put16(bytes, at + 22, 0xffff); // advertised window
    put16(bytes, at + 24, 1); // streams
    put16(bytes, at + 26, 1);
    bytes[at + 31] = 1; // first sequence number
  }
  const crc = crc32c(bytes, at);
  for (let i = 0; i < 4; i++) bytes[at + 8 + i] = crc >>> (8 * i);
}

function writeIcmp(bytes: Uint8Array, at: number, fields: PacketFields, is4: boolean): void {
  const { protocol } = fields;
  const { type, code } = fields.icmp ?? { type: protocol === ICMP ? 8 : 128, code: 0 };
  bytes[at] = type;
  bytes[at + 1] = code;
  const isEcho = ECHO.has(type);
  if (isEcho) put16(bytes, at + 4, fields.sourcePort ?? 1);
  if (ERRORS[protocol]!.has(type)) {
    const { source, destination } = fields;
    const quoted = { source: destination, destination: source, protocol: UDP, port: 9 };
    bytes.set(buildPacket({ ...quoted, sourcePort: fields.sourcePort ?? 1 }), at + 8);
  }
  const asks = protocol === ICMP6 && (type === 135 || type === 136);
  if (asks) bytes.set(bytes.subarray(24, 40), at + 8); // the target is the destination
  const value = protocol === ICMP && is4
    ? ~fold(sum(bytes, at, bytes.length))
    : checksum(bytes, at, protocol);
  put16(bytes, at + 2, value);
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

/** One's-complement sum of 16-bit words; the length is even. */
function sum(bytes: Uint8Array, from: number, to: number): number {
  let total = 0;
  for (let i = from; i < to; i += 2) total += (bytes[i]! << 8) | bytes[i + 1]!;
  return total;
}

function fold(total: number): number {
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

/** Of the body at `at`, over the pseudo-header too; its checksum field is still zero. */
function checksum(bytes: Uint8Array, at: number, protocol: number): number {
  const addresses = at === IPV4_BYTES ? 12 : 8;
  const total = sum(bytes, addresses, at) + sum(bytes, at, bytes.length);
  return ~fold(total + protocol + bytes.length - at) & 0xffff;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  let crc = i;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** Of the SCTP packet from `from` on; its own field is still zero. Stored little-endian. */
export function crc32c(bytes: Uint8Array, from: number): number {
  let crc = 0xffffffff;
  for (let i = from; i < bytes.length; i++) {
    crc = CRC_TABLE[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}
