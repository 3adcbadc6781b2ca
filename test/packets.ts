// Packets for tests: built field by field, checksums right unless a test breaks them, payload
// filled with 0xa5 so that unwritten bytes show. Options, extension headers and fragments where a
// spec asks for them (checksumsRight() reads packets without).
import { addressBytes, familyOf } from "../host/model/address.ts";

export interface Spec {
  from: string;
  to: string;
  protocol?: "tcp" | "udp" | "icmp" | "sctp" | number;
  sourcePort?: number;
  port?: number;
  /** TCP flags as letters: S A F R P. */
  flags?: string;
  payload?: number;
  /** The payload itself, in place of 0xa5. */
  content?: Uint8Array;
  ttl?: number;
  /** ICMP type; echo request when absent. */
  icmpType?: number;
  icmpCode?: number;
  /** IPv4: bytes of options, a multiple of 4 of them. */
  options?: Uint8Array;
  /** IPv6: extension headers, each without its first byte (the next header). */
  extensions?: { number: number; body: Uint8Array }[];
  /** Which part of a datagram it is; offset in units of 8 bytes. IPv6 gets a fragment header. */
  fragment?: { offset: number; more: boolean; identification?: number };
  /** UDP: send no checksum. */
  noChecksum?: boolean;
}
const FLAGS: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, A: 16 };
const NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;

/** One's complement sum of 16-bit big-endian words, folded. */
export function sum16(...parts: Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += (part[i]! << 8) | (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** The packet from its L3 header on. */
export function packet(spec: Spec): Uint8Array {
  const family = familyOf(spec.from);
  const protocol = spec.protocol ?? "tcp";
  const number = protocol === "icmp"
    ? (family === 4 ? 1 : 58)
    : typeof protocol === "number" ? protocol : NUMBERS[protocol];
  const l4 = segment(spec, family, number);
  const source = addressBytes(spec.from);
  const destination = addressBytes(spec.to);
  const pseudo = new Uint8Array(40);
  pseudo.set(source, 0);
  pseudo.set(destination, 16);
  new DataView(pseudo.buffer).setUint32(32, l4.length);
  pseudo[39] = number;
  if (family === 4) pseudo.fill(0, 0, 12).fill(0, 16, 28);
  const field = number === 6 ? 16 : number === 17 ? 6 : 2;
  if ((number === 6 || number === 17 || number === 1 || number === 58) && !spec.noChecksum) {
    const covered = number === 1 ? sum16(l4) : sum16(pseudo, l4);
    const value = ~covered & 0xffff;
    new DataView(l4.buffer).setUint16(field, number === 17 && value === 0 ? 0xffff : value);
  }
  return family === 4
    ? header4(spec, source, destination, number, l4)
    : header6(spec, source, destination, number, l4);
}

function segment(spec: Spec, family: 4 | 6, number: number): Uint8Array {
  const payload = spec.content ?? new Uint8Array(spec.payload ?? 8).fill(0xa5);
  const bytes = number === 6 ? 20 : number === 132 ? 12 : 8;
  const l4 = new Uint8Array(bytes + payload.length);
  const view = new DataView(l4.buffer);
  l4.set(payload, bytes);
  if (number === 6 || number === 17 || number === 132) {
    view.setUint16(0, spec.sourcePort ?? 40000);
    view.setUint16(2, spec.port ?? 80);
  }
  if (number === 6) {
    view.setUint32(4, 0x01020304);
    l4[12] = 5 << 4;
    l4[13] = [...(spec.flags ?? "S")].reduce((bits, letter) => bits | FLAGS[letter]!, 0);
    view.setUint16(14, 0xfaf0);
  } else if (number === 17) {
    view.setUint16(4, l4.length);
  } else if (number === 132) {
    view.setUint32(4, 0x05060708);
    view.setUint32(8, crc32c(l4), true);
  } else {
    l4[0] = spec.icmpType ?? (family === 4 ? 8 : 128);
    l4[1] = spec.icmpCode ?? 0;
    view.setUint16(4, spec.sourcePort ?? 7);
    view.setUint16(6, 1);
  }
  return l4;
}

function header4(
  spec: Spec, source: Uint8Array, destination: Uint8Array, number: number, l4: Uint8Array,
): Uint8Array {
  const options = spec.options ?? new Uint8Array(0);
  const header = 20 + options.length;
  const out = new Uint8Array(header + l4.length);
  const view = new DataView(out.buffer);
  out[0] = 0x40 | (header / 4);
  view.setUint16(2, out.length);
  view.setUint16(4, spec.fragment?.identification ?? 0x1234);
  const { offset, more } = spec.fragment ?? { offset: 0, more: false };
  view.setUint16(6, spec.fragment ? offset | (more ? 0x2000 : 0) : 0x4000);
  out[8] = spec.ttl ?? 64;
  out[9] = number;
  out.set(source.subarray(12), 12);
  out.set(destination.subarray(12), 16);
  out.set(options, 20);
  view.setUint16(10, ~sum16(out.subarray(0, header)) & 0xffff);
  out.set(l4, header);
  return out;
}

function header6(
  spec: Spec, source: Uint8Array, destination: Uint8Array, number: number, l4: Uint8Array,
): Uint8Array {
  const chain = [...spec.extensions ?? []];
  if (spec.fragment) {
    const body = new Uint8Array(7);
    const { offset, more, identification = 0 } = spec.fragment;
    new DataView(body.buffer).setUint16(1, (offset << 3) | (more ? 1 : 0));
    new DataView(body.buffer).setUint32(3, identification);
    chain.push({ number: 44, body });
  }
  const numbers = [...chain.map((each) => each.number), number];
  const headers = chain.flatMap((each, i) => [numbers[i + 1]!, ...each.body]);
  const out = new Uint8Array(40 + headers.length + l4.length);
  const view = new DataView(out.buffer);
  out[0] = 0x60;
  view.setUint16(4, out.length - 40);
  out[6] = numbers[0]!;
  out[7] = spec.ttl ?? 64;
  out.set(source, 8);
  out.set(destination, 24);
  out.set(headers, 40);
  out.set(l4, 40 + headers.length);
  return out;
}

/** SCTP's checksum (RFC 9260, appendix A), bit by bit. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

/** Are the IPv4 header's and the L4 checksums right? */
export function checksumsRight(bytes: Uint8Array): boolean {
  const four = bytes[0]! >> 4 === 4;
  const header = four ? 20 : 40;
  if (four && sum16(bytes.subarray(0, 20)) !== 0xffff) return false;
  const number = four ? bytes[9]! : bytes[6]!;
  const l4 = bytes.subarray(header);
  if (number === 17 && four && l4[6] === 0 && l4[7] === 0) return true;
  if (number === 1) return sum16(l4) === 0xffff;
  const pseudo = new Uint8Array(8);
  new DataView(pseudo.buffer).setUint32(0, l4.length);
  pseudo[7] = number;
  const addresses = four ? bytes.subarray(12, 20) : bytes.subarray(8, 40);
  return sum16(addresses, pseudo, l4) === 0xffff;
}
