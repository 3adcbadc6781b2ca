// IPv4 header (RFC 791): offsets and the few fields that the program reads.
import { load16be } from "../bytes";

export const HEADER_BYTES: u32 = 20;
/** Protocol number of IPv4 inside IPv4 (RFC 2003). */
export const IN_IPV4: u32 = 4;
/** The bits of the fragment field that are the offset, in units of 8 bytes. */
export const OFFSET: u32 = 0x1fff;
export const TOTAL_LENGTH: usize = 2;
export const IDENTIFICATION: usize = 4;
export const FRAGMENT: usize = 6;
export const TIME_TO_LIVE: usize = 8;
export const PROTOCOL: usize = 9;
export const CHECKSUM: usize = 10;
export const SOURCE: usize = 12;
export const DESTINATION: usize = 16;

// @ts-ignore: decorator
@inline
export function headerBytes(packet: usize): u32 {
  return (u32(load<u8>(packet)) & 15) << 2;
}
// @ts-ignore: decorator
@inline
export function totalLength(packet: usize): u32 {
  return load16be(packet, TOTAL_LENGTH);
}
/** More-fragments and offset; 0 = the packet is whole. */
// @ts-ignore: decorator
@inline
export function fragment(packet: usize): u32 {
  return load16be(packet, FRAGMENT) & 0x3fff;
}
/** The sum over a 20-byte header, checksum included, as five 32-bit words: 0xffff where right. */
// @ts-ignore: decorator
@inline
export function headerSum(packet: usize): u32 {
  let sum: u64 = load<u32>(packet);
  sum += load<u32>(packet, 4);
  sum += load<u32>(packet, 8);
  sum += load<u32>(packet, 12);
  sum += load<u32>(packet, 16);
  let folded = u32(sum & 0xffff) + u32((sum >> 16) & 0xffff) + u32(sum >> 32);
  folded = (folded & 0xffff) + (folded >> 16);
  return (folded & 0xffff) + (folded >> 16);
}
/** The same over a header with options. */
export function longHeaderSum(packet: usize): u32 {
  let sum = headerSum(packet);
  for (let at: u32 = HEADER_BYTES; at < headerBytes(packet); at += 2) {
    sum += u32(load<u16>(packet + at));
  }
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

const OPTIONS_END: u32 = 0, NO_OPERATION: u32 = 1;
const LOOSE_ROUTE: u32 = 131, STRICT_ROUTE: u32 = 137;

/** Do the options name a source route (RFC 791)? What is malformed ends the look. */
export function hasSourceRoute(packet: usize, header: u32): bool {
  let at: u32 = HEADER_BYTES;
  while (at < header) {
    const type = u32(load<u8>(packet + at));
    if (type == OPTIONS_END) return false;
    if (type == LOOSE_ROUTE || type == STRICT_ROUTE) return true;
    if (type == NO_OPERATION) {
      at++;
      continue;
    }
    const length = at + 1 < header ? u32(load<u8>(packet + at, 1)) : 0;
    if (length < 2) return false;
    at += length;
  }
  return false;
}
