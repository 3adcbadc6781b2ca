// IPv4 header (RFC 791): offsets and the few fields that the program reads.
import { load16be } from "../bytes";

export const HEADER_BYTES: u32 = 20;
export const TOTAL_LENGTH: usize = 2;
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
/** True for every fragment, the first included: more-fragments or an offset. */
// @ts-ignore: decorator
@inline
export function isFragment(packet: usize): bool {
  return (load16be(packet, FRAGMENT) & 0x3fff) != 0;
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
