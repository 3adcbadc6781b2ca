// IPv6 header (RFC 8200): offsets and the few fields that the program reads.
import { load16be } from "../bytes";

export const HEADER_BYTES: u32 = 40;
export const PAYLOAD_LENGTH: usize = 4;
export const NEXT_HEADER: usize = 6;
export const HOP_LIMIT: usize = 7;
export const SOURCE: usize = 8;
export const DESTINATION: usize = 24;

export const HOP_BY_HOP: u32 = 0;
export const ROUTING: u32 = 43;
export const FRAGMENT: u32 = 44;
export const AUTHENTICATION: u32 = 51;
export const DESTINATION_OPTIONS: u32 = 60;
export const MOBILITY: u32 = 135;
/** How many extension headers a packet may have. */
export const CHAIN_MAX: u32 = 8;
export const ROUTING_TYPE: usize = 2;
export const FRAGMENT_FIELD: usize = 2;
export const FRAGMENT_IDENTIFICATION: usize = 4;
/** A fragment header's length. */
export const FRAGMENT_BYTES: u32 = 8;

// @ts-ignore: decorator
@inline
export function totalLength(packet: usize): u32 {
  return load16be(packet, PAYLOAD_LENGTH) + HEADER_BYTES;
}
/** Is this next-header number an extension header? */
// @ts-ignore: decorator
@inline
export function isExtension(next: u32): bool {
  return next == HOP_BY_HOP || next == ROUTING || next == FRAGMENT || next == AUTHENTICATION ||
    next == DESTINATION_OPTIONS || next == MOBILITY;
}

/** Bytes of an extension header: counted in 8 beyond the first 8, AH in 4 beyond 8. */
export function extensionBytes(header: usize, kind: u32): u32 {
  if (kind == FRAGMENT) return 8;
  const length = u32(load<u8>(header, 1));
  return kind == AUTHENTICATION ? (length + 2) << 2 : (length + 1) << 3;
}

/** fe80::/10 or multicast. */
// @ts-ignore: decorator
@inline
export function isLinkScope(address: usize): bool {
  const first = u32(load<u8>(address)), second = u32(load<u8>(address, 1));
  return first == 0xff || (first == 0xfe && (second & 0xc0) == 0x80);
}

/** ::ffff:a.b.c.d never comes over a wire: the tables and policies know IPv4 by it. */
// @ts-ignore: decorator
@inline
export function isMapped(address: usize): bool {
  return load<u64>(address) == 0 && load<u32>(address, 8) == 0xffff0000;
}
