// Bytes as they lie on the wire: loads and stores of big-endian fields, and 128-bit addresses as
// pairs of host-order u64. Ports and addresses stay in wire order everywhere but here, in policies'
// arguments and in stage records.

// @ts-ignore: decorator
@inline
export function load16be(pointer: usize, offset: usize = 0): u32 {
  return u32(bswap<u16>(load<u16>(pointer + offset)));
}

// @ts-ignore: decorator
@inline
export function load64be(pointer: usize, offset: usize = 0): u64 {
  return bswap<u64>(load<u64>(pointer + offset));
}

/** An IPv4 address, wire order, as the upper half of ::ffff:a.b.c.d in wire order. */
// @ts-ignore: decorator
@inline
export function mapped4(address: u32): u64 {
  return (u64(address) << 32) | 0xffff0000;
}
