// The Internet checksum, incrementally. Sums are kept in the byte order in which 16-bit words load
// on this machine: one's complement addition does not care (RFC 1071, 2B).
//
//   HC' = ~(~HC + ~m + m')          RFC 1624, equation 3
//
// A session's record holds D = sum of (~m + m') over what its rewrite changes, forward; the return
// direction adds ~D. So a rewrite costs two additions whatever it changes.

/** Folds a sum of 16-bit words to 16 bits, carries added back in. */
// @ts-ignore: decorator
@inline
export function fold(sum: u32): u32 {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

/** D for a change of `bytes` (even) bytes from what is at `from` to what is at `to`. */
export function deltaOf(from: usize, to: usize, bytes: u32): u32 {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < bytes; i += 2) {
    sum += (~u32(load<u16>(from + i)) & 0xffff) + load<u16>(to + i);
  }
  return fold(sum);
}

/** The sum of `bytes` bytes, not complemented; an odd last byte has a zero behind it. */
export function sumOf(at: usize, bytes: u32): u32 {
  let sum: u64 = 0;
  let i: u32 = 0;
  for (; i + 8 <= bytes; i += 8) {
    const eight = load<u64>(at + i);
    sum += (eight & 0xffffffff) + (eight >> 32); // words of 32 bits fold to the same 16
  }
  for (; i + 2 <= bytes; i += 2) sum += u64(load<u16>(at + i));
  if (i < bytes) sum += u64(load<u8>(at + i));
  return fold(u32(sum & 0xffff) + u32((sum >> 16) & 0xffff) + u32(sum >> 32));
}

/** The checksum after a change by D; both are 16 bits, so one carry is all there can be. */
// @ts-ignore: decorator
@inline
export function adjust(checksum: u32, delta: u32): u32 {
  const left = i32(checksum - delta);
  return u32(left + (left >> 31)) & 0xffff; // ~(~checksum + delta), the carry round the end
}
