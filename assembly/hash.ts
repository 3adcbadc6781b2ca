// Hashes: two multiplications a key (IPv4), keyed by seeds from the root record so that a flood of
// colliding flows cannot be made without them. Not cryptographic: an attacker who can time single
// look-ups may still learn collisions; a bucket is then full, which is a counted verdict.
//
// A session key's 64 bits serve three ends: bits 32-63 choose the first bucket, bits 0-31 the
// second, bits 32-39 are the tag. Rounds after wyhash's and Murmur's finalizers (xor, odd multiply,
// fold).
import { is4 } from "./family";

const K0: u64 = 0x9fb21c651e98df25;
const K1: u64 = 0xd6e8feb86659fd93;

// @ts-ignore: decorator
@inline
export function mix(x: u64, multiplier: u64): u64 {
  x *= multiplier;
  return x ^ (x >> 32);
}

/** Hash of (source, destination, ports in wire order, protocol); `pair` points at the addresses. */
// @ts-ignore: decorator
@inline
export function hashTuple<F>(
  pair: usize, ports: u32, protocol: u32, seed0: u64, seed1: u64,
): u64 {
  const rest = (u64(protocol) << 32) | u64(ports);
  let h = mix(load<u64>(pair) ^ seed0, K0);
  if (!is4<F>()) {
    h = mix(load<u64>(pair, 8) ^ h, K1);
    h = mix(load<u64>(pair, 16) ^ h ^ seed1, K0);
    h = mix(load<u64>(pair, 24) ^ h, K1);
  }
  h = mix(h ^ rest ^ seed1, K1);
  return mix(h, K0);
}

/** Hash of a 16-byte address and a word: address table, service table, Maglev permutations. */
// @ts-ignore: decorator
@inline
export function hashAddress(first: u64, last: u64, word: u64, seed: u64): u64 {
  let h = mix(last ^ seed, K0);
  h = mix(first ^ h, K1);
  h = mix(word ^ h, K0);
  return mix(h, K1);
}

/** A number in [0, count) from 32 random bits, without division (Lemire 2019). */
// @ts-ignore: decorator
@inline
export function scale(bits: u32, count: u32): u32 {
  return u32((u64(bits) * u64(count)) >> 32);
}
