// Maglev consistent hashing (Eisenbud et al., NSDI 2016, section 3.4), weighted as in Katran's V2:
// a backend takes a turn whenever its accumulated weight reaches the largest weight.
//
// The table's size M is prime and depends on a size class, never on the exact count, so that adding
// a backend re-draws nothing. The table is a pure function of the backend set: the
// caller sorts it. Slots are u8 up to 255 backends, else u16.
import { Backend } from "./group";
import { hashAddress } from "./hash";
import { BACKEND_BYTES, BACKEND_OFFSET, BACKEND_SKIP } from "./layout";

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

// What a table's making knows of a backend: its key, its weight added up, the next place of its
// permutation that has not been looked at, and those looked at that nobody had: from `used` to
// `found`, in order.
const MAKER_KEY: usize = 0;
const MAKER_CREDIT: usize = 8;
const MAKER_NEXT: usize = 12;
const MAKER_USED: usize = 16;
const MAKER_FOUND: usize = 20;
const MAKER_PLACES: usize = 32;
/** Places looked at together. */
const TOGETHER: u32 = 16;
/** Bytes of scratch for each backend; one place more, for what is written and not kept. */
export const MAKER_BYTES: u32 = 32 + TOGETHER * 4 + 16;

/** Places j to j + 3 of a backend's permutation of [0, 2^bits): odd factors and shifts, keyed. */
// @ts-ignore: decorator
@inline
function placesOf(h: u64, j: u32, mask: v128, half: i32): v128 {
  const a = u32(h >> 32), b = u32(h);
  let x = i32x4.add(i32x4.splat(j), i32x4(0, 1, 2, 3));
  x = i32x4.add(i32x4.mul(x, i32x4.splat((b << 1) | 1)), i32x4.splat(a));
  x = v128.and(x, mask);
  x = v128.xor(x, i32x4.shr_u(x, half));
  x = v128.and(i32x4.mul(x, i32x4.splat(((a >> 7) << 1) | 1)), mask);
  x = v128.xor(x, i32x4.shr_u(x, half));
  x = i32x4.add(i32x4.mul(x, i32x4.splat(((b >> 9) << 1) | 1)), i32x4.splat(a >> 15));
  x = v128.and(x, mask);
  return v128.xor(x, i32x4.shr_u(x, half));
}

/**
 * Looks at a backend's next places and keeps those that nobody has: without a branch, for which
 * they are is anybody's guess. `taken` has a byte for each number below 2^bits.
 */
function look(s: usize, taken: usize, mask: v128, half: i32): void {
  const h = load<u64>(s, MAKER_KEY), from = load<u32>(s, MAKER_NEXT);
  let found: usize = 0;
  for (let j: u32 = 0; j < TOGETHER; j += 4) {
    const x = placesOf(h, from + j, mask, half);
    const p0 = u32(i32x4.extract_lane(x, 0)), p1 = u32(i32x4.extract_lane(x, 1));
    const p2 = u32(i32x4.extract_lane(x, 2)), p3 = u32(i32x4.extract_lane(x, 3));
    store<u32>(s + (found << 2), p0, MAKER_PLACES);
    found += usize(load<u8>(taken + p0) ^ 1);
    store<u32>(s + (found << 2), p1, MAKER_PLACES);
    found += usize(load<u8>(taken + p1) ^ 1);
    store<u32>(s + (found << 2), p2, MAKER_PLACES);
    found += usize(load<u8>(taken + p2) ^ 1);
    store<u32>(s + (found << 2), p3, MAKER_PLACES);
    found += usize(load<u8>(taken + p3) ^ 1);
  }
  store<u32>(s, from + TOGETHER, MAKER_NEXT);
  store<u32>(s, 0, MAKER_USED);
  store<u32>(s, u32(found), MAKER_FOUND);
}
/** Bytes of `taken`: all places of permutations; those beyond M are taken from the start. */
export function takenBytes(m: u32): u32 {
  return 1 << (32 - clz(m - 1));
}

/**
 * Fills a table. `scratch` holds MAKER_BYTES a backend, `taken` takenBytes(), zeroed. A permutation
 * comes from its backend's address and port alone.
 */
export function populate(
  slots: usize, width: u32, m: u32, backends: usize, count: u32, scratch: usize, taken: usize,
  seed: u64,
): void {
  let heaviest: u32 = 1;
  for (let i: u32 = 0; i < count; i++) {
    const b = changetype<Backend>(backends + usize(i) * offsetof<Backend>());
    const s = scratch + usize(i) * MAKER_BYTES;
    store<u64>(s, hashAddress(b.first, b.last, u64(b.port), seed), MAKER_KEY);
    store<u64>(s, 0, MAKER_CREDIT); // and next
    store<u64>(s, 0, MAKER_USED); // and found
    if (u32(b.weight) > heaviest) heaviest = b.weight;
  }
  const bits = 32 - clz(m - 1);
  const mask = i32x4.splat((1 << bits) - 1), half = i32(bits >> 1);
  memory.fill(taken + m, 1, (1 << bits) - m);
  let filled: u32 = 0;
  while (true) {
    for (let i: u32 = 0; i < count; i++) {
      const b = changetype<Backend>(backends + usize(i) * offsetof<Backend>());
      const s = scratch + usize(i) * MAKER_BYTES;
      const credit = load<u32>(s, MAKER_CREDIT) + b.weight;
      if (credit < heaviest) {
        store<u32>(s, credit, MAKER_CREDIT);
        continue;
      }
      store<u32>(s, credit - heaviest, MAKER_CREDIT);
      let next: u32;
      do {
        while (load<u32>(s, MAKER_USED) == load<u32>(s, MAKER_FOUND)) look(s, taken, mask, half);
        const used = load<u32>(s, MAKER_USED);
        next = load<u32>(s + (usize(used) << 2), MAKER_PLACES);
        store<u32>(s, used + 1, MAKER_USED);
      } while (load<u8>(taken + next));
      store<u8>(taken + next, 1);
      put(slots, width, next, i);
      if (++filled == m) return;
    }
  }
}

/**
 * Fills a classic table: the permutation of backend i is offset, offset + skip, … modulo M, as its
 * record says; backends take turns in the given order. Weights are not asked. `scratch` holds
 * 16 bytes a backend; `taken` M bytes, zeroed. Source: the paper's algorithm 1; projectcalico
 * libcalico-go/lib/consistenthash.
 */
export function populateClassic(
  slots: usize, width: u32, m: u32, records: usize, count: u32, scratch: usize, taken: usize,
): void {
  for (let i: u32 = 0; i < count; i++) {
    const offset = load<u32>(records + usize(i) * BACKEND_BYTES, BACKEND_OFFSET);
    store<u32>(scratch + (usize(i) << 4), offset);
  }
  let filled: u32 = 0;
  while (true) {
    for (let i: u32 = 0; i < count; i++) {
      const skip = load<u32>(records + usize(i) * BACKEND_BYTES, BACKEND_SKIP);
      let next = load<u32>(scratch + (usize(i) << 4));
      while (load<u8>(taken + next)) next = wrapped(next + skip, m);
      store<u32>(scratch + (usize(i) << 4), wrapped(next + skip, m));
      store<u8>(taken + next, 1);
      put(slots, width, next, i);
      if (++filled == m) return;
    }
  }
}
// @ts-ignore: decorator
@inline
function wrapped(place: u32, m: u32): u32 {
  return place >= m ? place - m : place;
}
// @ts-ignore: decorator
@inline
function put(slots: usize, width: u32, place: u32, backend: u32): void {
  if (width == 1) store<u8>(slots + place, u8(backend));
  else store<u16>(slots + (usize(place) << 1), u16(backend));
}
