// Maglev consistent hashing (Eisenbud et al., NSDI 2016, section 3.4), weighted as in Katran's V2:
// a backend takes a turn whenever its accumulated weight reaches the largest weight.
//
// The table's size M is prime and depends on a size class, never on the exact count, so that adding
// a backend re-draws nothing. The table is a pure function of the backend set: the
// caller sorts it. Slots are u8 up to 255 backends, else u16.
import { hashAddress } from "./hash";
import { Backend } from "./service";

/** Slots by size class. */
export function slotsFor(backends: u32): u32 {
  if (backends <= 20) return 1999;
  if (backends <= 160) return 16381;
  return 65537;
}
// @ts-ignore: decorator
@inline
export function slotWidth(backends: u32): u32 {
  return backends <= 255 ? 1 : 2;
}
export function isPrime(n: u32): bool {
  if (n < 3 || !(n & 1)) return false;
  for (let d: u32 = 3; d * d <= n; d += 2) if (n % d == 0) return false;
  return true;
}

/** The backend's place in the sorted set, by slot. */
// @ts-ignore: decorator
@inline
export function choose(slots: usize, width: u32, slot: u32): u32 {
  return width == 1 ? u32(load<u8>(slots + slot)) : u32(load<u16>(slots + (usize(slot) << 1)));
}

/** Where place j of a backend's permutation of [0, 2^bits) is: odd factors and shifts, keyed. */
function placeOf(h: u64, j: u32, bits: u32): u32 {
  const a = u32(h >> 32), b = u32(h), mask = (1 << bits) - 1, half = bits >> 1;
  let x = (j * ((b << 1) | 1) + a) & mask;
  x ^= x >> half;
  x = (x * (((a >> 7) << 1) | 1)) & mask;
  x ^= x >> half;
  x = (x * (((b >> 9) << 1) | 1) + (a >> 15)) & mask;
  return x ^ (x >> half);
}

/**
 * Fills a table. `scratch` holds 16 bytes a backend: hash, accumulated weight, turns taken; `taken`
 * M bytes, zeroed. A permutation comes from its backend's address and port alone.
 */
export function populate(
  slots: usize, width: u32, m: u32, backends: usize, count: u32, scratch: usize, taken: usize,
  seed: u64,
): void {
  let heaviest: u32 = 1;
  for (let i: u32 = 0; i < count; i++) {
    const b = changetype<Backend>(backends + usize(i) * offsetof<Backend>());
    const h = hashAddress(b.first, b.last, u64(b.port), seed);
    const s = scratch + usize(i) * 16;
    store<u64>(s, h);
    store<u32>(s, 0, 8);
    store<u32>(s, 0, 12);
    if (u32(b.weight) > heaviest) heaviest = b.weight;
  }
  const bits = 32 - clz(m - 1);
  let filled: u32 = 0;
  while (true) {
    for (let i: u32 = 0; i < count; i++) {
      const b = changetype<Backend>(backends + usize(i) * offsetof<Backend>());
      const s = scratch + usize(i) * 16;
      const credit = load<u32>(s, 8) + b.weight;
      if (credit < heaviest) {
        store<u32>(s, credit, 8);
        continue;
      }
      store<u32>(s, credit - heaviest, 8);
      const h = load<u64>(s);
      let turn = load<u32>(s, 12);
      let next: u32;
      do {
        next = placeOf(h, turn++, bits);
      } while (next >= m || load<u8>(taken + next));
      store<u32>(s, turn, 12);
      store<u8>(taken + next, 1);
      if (width == 1) store<u8>(slots + next, u8(i));
      else store<u16>(slots + (usize(next) << 1), u16(i));
      if (++filled == m) return;
    }
  }
}
