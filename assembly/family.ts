// The two families as type parameters: V4 and V6 are the types of their addresses, so that
// load<F>(pointer) loads an address, sizeof<F>() folds at compile time, and one generic source
// gives two monomorphic functions. Nothing else in the program asks for the family.
import * as ipv4 from "./header/ipv4";
import * as ipv6 from "./header/ipv6";
import { load64be, mapped4 } from "./bytes";

export type V4 = u32;
export type V6 = v128;

// @ts-ignore: decorator
@inline
export function is4<F>(): bool {
  return sizeof<F>() == 4;
}
// @ts-ignore: decorator
@inline
export function sourceOf<F>(packet: usize): usize {
  return packet + (is4<F>() ? ipv4.SOURCE : ipv6.SOURCE);
}
// @ts-ignore: decorator
@inline
export function destinationOf<F>(packet: usize): usize {
  return packet + (is4<F>() ? ipv4.DESTINATION : ipv6.DESTINATION);
}
// @ts-ignore: decorator
@inline
export function sameAddress<F>(a: usize, b: usize): bool {
  if (is4<F>()) return load<u32>(a) == load<u32>(b);
  return !((load<u64>(a) ^ load<u64>(b)) | (load<u64>(a, 8) ^ load<u64>(b, 8)));
}
/** Copies an address. */
// @ts-ignore: decorator
@inline
export function copyAddress<F>(to: usize, from: usize): void {
  store<F>(to, load<F>(from));
}

/** First 8 of the 16 bytes of an address, wire order; IPv4 as ::ffff:a.b.c.d. */
// @ts-ignore: decorator
@inline
export function first8<F>(address: usize): u64 {
  return is4<F>() ? 0 : load<u64>(address);
}
/** Last 8 of the 16 bytes of an address, wire order. */
// @ts-ignore: decorator
@inline
export function last8<F>(address: usize): u64 {
  return is4<F>() ? mapped4(load<u32>(address)) : load<u64>(address, 8);
}
/** The same as host-order numbers: what policies are given. */
// @ts-ignore: decorator
@inline
export function hiOf<F>(address: usize): u64 {
  return is4<F>() ? 0 : load64be(address);
}
// @ts-ignore: decorator
@inline
export function loOf<F>(address: usize): u64 {
  return is4<F>() ? (u64(bswap<u32>(load<u32>(address))) | 0xffff00000000) : load64be(address, 8);
}
