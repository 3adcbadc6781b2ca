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

// @ts-ignore: decorator
@inline
export function totalLength(packet: usize): u32 {
  return load16be(packet, PAYLOAD_LENGTH) + HEADER_BYTES;
}
/** Is this next-header number an extension header other than Fragment? */
// @ts-ignore: decorator
@inline
export function isExtension(next: u32): bool {
  return next == HOP_BY_HOP || next == ROUTING || next == AUTHENTICATION ||
    next == DESTINATION_OPTIONS || next == MOBILITY;
}

/** ::ffff:a.b.c.d never comes over a wire: the tables and policies know IPv4 by it. */
// @ts-ignore: decorator
@inline
export function isMapped(address: usize): bool {
  return load<u64>(address) == 0 && load<u32>(address, 8) == 0xffff0000;
}
