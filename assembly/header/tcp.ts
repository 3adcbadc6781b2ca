// TCP header (RFC 9293): offsets, flags.

export const PROTOCOL: u32 = 6;
export const HEADER_BYTES: u32 = 20;
export const SEQUENCE: usize = 4;
export const ACKNOWLEDGEMENT: usize = 8;
export const DATA_OFFSET: usize = 12;
export const FLAGS: usize = 13;
export const CHECKSUM: usize = 16;

export const FIN: u32 = 1;
export const SYN: u32 = 2;
export const RST: u32 = 4;
export const ACK: u32 = 16;

// @ts-ignore: decorator
@inline
export function headerBytes(segment: usize): u32 {
  return (u32(load<u8>(segment, DATA_OFFSET)) >> 4) << 2;
}
/** Combinations that no stack sends: SYN with FIN or RST, FIN with RST, no flag at all. */
// @ts-ignore: decorator
@inline
export function badFlags(flags: u32): bool {
  const f = flags & (FIN | SYN | RST | ACK);
  return f == 0 || (f & (SYN | FIN)) == (SYN | FIN) || (f & (SYN | RST)) == (SYN | RST) ||
    (f & (FIN | RST)) == (FIN | RST);
}
