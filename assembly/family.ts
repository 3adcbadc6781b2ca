// The two families as type parameters: V4 and V6 are the types of their addresses, so that
// load<F>(pointer) loads an address, sizeof<F>() folds at compile time, and one generic source
// gives two monomorphic functions. Nothing else in the program asks for the family.
import * as ipv4 from "./header/ipv4";
import * as ipv6 from "./header/ipv6";
import { load64be, mapped4 } from "./bytes";
import {
  KEY4_DESTINATION, KEY4_ENDPOINT, KEY4_PORTS, KEY4_SOURCE, KEY6_DESTINATION, KEY6_ENDPOINT,
  KEY6_PORTS, KEY6_SOURCE,
} from "./layout";

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
/** 0 where two addresses are equal. */
// @ts-ignore: decorator
@inline
export function unlike<F>(a: usize, b: usize): u64 {
  if (is4<F>()) return u64(load<u32>(a) ^ load<u32>(b));
  return (load<u64>(a) ^ load<u64>(b)) | (load<u64>(a, 8) ^ load<u64>(b, 8));
}
// @ts-ignore: decorator
@inline
export function sameAddress<F>(a: usize, b: usize): bool {
  return !unlike<F>(a, b);
}
/** 0.0.0.0, or ::. */
// @ts-ignore: decorator
@inline
export function isZero<F>(address: usize): bool {
  if (is4<F>()) return load<u32>(address) == 0;
  return !(load<u64>(address) | load<u64>(address, 8));
}
/** Bytes of a header without options or extension headers. */
// @ts-ignore: decorator
@inline
export function headerOf<F>(): u32 {
  return is4<F>() ? ipv4.HEADER_BYTES : ipv6.HEADER_BYTES;
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

// A session's key and a packet's header hold source and destination alike, one behind the other.
if (KEY4_SOURCE != 0 || KEY4_DESTINATION != 4) ERROR("a key's addresses lie unlike a header's");
if (KEY6_SOURCE != 0 || KEY6_DESTINATION != 16) ERROR("a key's addresses lie unlike a header's");
if (KEY4_ENDPOINT != KEY4_PORTS + 4 || KEY6_ENDPOINT != KEY6_PORTS + 4) {
  ERROR("a key's endpoint is not behind its ports");
}

/** 0 where source and destination at two places are equal. */
// @ts-ignore: decorator
@inline
export function differ<F>(a: usize, b: usize): u64 {
  if (is4<F>()) return load<u64>(a) ^ load<u64>(b);
  return (load<u64>(a) ^ load<u64>(b)) | (load<u64>(a, 8) ^ load<u64>(b, 8)) |
    (load<u64>(a, 16) ^ load<u64>(b, 16)) | (load<u64>(a, 24) ^ load<u64>(b, 24));
}
/** Copies source and destination. */
// @ts-ignore: decorator
@inline
export function copyPair<F>(to: usize, from: usize): void {
  if (is4<F>()) {
    store<u64>(to, load<u64>(from));
  } else {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
  }
}
/** Copies source and destination, each to the other's place. */
// @ts-ignore: decorator
@inline
export function copyTurned<F>(to: usize, from: usize): void {
  if (is4<F>()) {
    store<u64>(to, rotl<u64>(load<u64>(from), 32));
  } else {
    const source = v128.load(from), destination = v128.load(from, 16);
    v128.store(to, destination);
    v128.store(to, source, 16);
  }
}
// @ts-ignore: decorator
@inline
export function portsOf<F>(key: usize): u32 {
  return load<u32>(key, is4<F>() ? KEY4_PORTS : KEY6_PORTS);
}
// @ts-ignore: decorator
@inline
export function setPorts<F>(key: usize, ports: u32): void {
  store<u32>(key, ports, is4<F>() ? KEY4_PORTS : KEY6_PORTS);
}
// @ts-ignore: decorator
@inline
export function endpointOf<F>(key: usize): u32 {
  return load<u32>(key, is4<F>() ? KEY4_ENDPOINT : KEY6_ENDPOINT);
}
// @ts-ignore: decorator
@inline
export function setEndpoint<F>(key: usize, endpoint: u32): void {
  store<u32>(key, endpoint, is4<F>() ? KEY4_ENDPOINT : KEY6_ENDPOINT);
}
/** Ports and endpoint together. */
// @ts-ignore: decorator
@inline
export function portsAndEndpoint<F>(key: usize): u64 {
  return load<u64>(key, is4<F>() ? KEY4_PORTS : KEY6_PORTS);
}
