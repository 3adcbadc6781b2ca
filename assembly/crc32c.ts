// CRC32c (RFC 9260, appendix A; Castagnoli's polynomial, reflected), and its change by the change
// of a packet's bytes, without the bytes in between. The CRC is linear over GF(2):
//
//   crc(a ^ b) ^ crc(a) = b(x) * x^32 mod P, b as long as the packet
//
// so four bytes that change by d, n bytes before the end, change it by d * x^(8n + 32) mod P. Bit
// 31 of a word stands for x^0, as the reflected register has it; the first byte of memory is a
// word's lowest, so words load as they lie, and the CRC is stored as it is.

const POLYNOMIAL: u32 = 0x82f63b78;

/** a * b mod P. */
// @ts-ignore: decorator
@inline
function product(a: u32, b: u32): u32 {
  let sum: u32 = 0;
  for (; a; a <<= 1) {
    sum ^= b & (0 - (a >> 31));
    b = (b >> 1) ^ (POLYNOMIAL & (0 - (b & 1)));
  }
  return sum;
}
/** x^(8 * 2^k) mod P for k below 16: each the square of the one before. */
// @ts-ignore: decorator
@inline
function powerOf(k: u32): u32 {
  switch (k) {
    case 0: return 0x00800000;
    case 1: return 0x00008000;
    case 2: return 0x82f63b78;
    case 3: return 0x6ea2d55c;
    case 4: return 0x18b8ea18;
    case 5: return 0x510ac59a;
    case 6: return 0xb82be955;
    case 7: return 0xb8fdb1e7;
    case 8: return 0x88e56f72;
    case 9: return 0x74c360a4;
    case 10: return 0xe4172b16;
    case 11: return 0x0d65762a;
    case 12: return 0x35d73a62;
    case 13: return 0x28461564;
    case 14: return 0xbf455269;
    default: return 0xe2ea32dc;
  }
}

/**
 * What a CRC changes by (xor) when four bytes change by `difference` (xor, as they load), with
 * `after` bytes behind them: 0 to 65,531.
 */
// @ts-ignore: decorator
@inline
export function crcChange(difference: u32, after: u32): u32 {
  let change = difference;
  let bytes = after + 4;
  for (let k: u32 = 0; bytes; k++, bytes >>= 1) {
    if (bytes & 1) change = product(change, powerOf(k));
  }
  return change;
}

/** The CRC of `bytes` bytes, as it stands in memory. */
export function crc32c(at: usize, bytes: u32): u32 {
  let crc: u32 = 0xffffffff;
  for (let i: u32 = 0; i < bytes; i++) {
    crc ^= u32(load<u8>(at + i));
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (POLYNOMIAL & (0 - (crc & 1)));
  }
  return ~crc;
}
