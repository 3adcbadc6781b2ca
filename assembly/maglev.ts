// Maglev consistent hashing (Eisenbud et al., NSDI 2016, section 3.4), weighted as in Katran's V2:
// a backend takes a turn whenever its accumulated weight reaches the largest weight.
//
// The table's size M is prime and depends on a size class, never on the exact count, so that adding
// a backend re-draws nothing (DESIGN 5). The table is a pure function of the backend set: the
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

/**
 * Fills a table. `scratch` holds 12 bytes a backend: next slot, skip, accumulated weight; `taken` M
 * bytes, zeroed. Offset and skip come from the backend's address and port alone.
 */
export function populate(
  slots: usize, width: u32, m: u32, backends: usize, count: u32, scratch: usize, taken: usize,
  seed: u64,
): void {
  let heaviest: u32 = 1;
  for (let i: u32 = 0; i < count; i++) {
    const b = changetype<Backend>(backends + usize(i) * offsetof<Backend>());
    const h = hashAddress(b.first, b.last, u64(b.port), seed);
    const s = scratch + usize(i) * 12;
    store<u32>(s, u32(h >> 32) % m);
    store<u32>(s, (u32(h) % (m - 1)) + 1, 4);
    store<u32>(s, 0, 8);
    if (u32(b.weight) > heaviest) heaviest = b.weight;
  }
  let filled: u32 = 0;
  while (true) {
    for (let i: u32 = 0; i < count; i++) {
      const b = changetype<Backend>(backends + usize(i) * offsetof<Backend>());
      const s = scratch + usize(i) * 12;
      const credit = load<u32>(s, 8) + b.weight;
      if (credit < heaviest) {
        store<u32>(s, credit, 8);
        continue;
      }
      store<u32>(s, credit - heaviest, 8);
      let next = load<u32>(s);
      const skip = load<u32>(s, 4);
      while (load<u8>(taken + next)) {
        next += skip;
        if (next >= m) next -= m;
      }
      store<u8>(taken + next, 1);
      if (width == 1) store<u8>(slots + next, u8(i));
      else store<u16>(slots + (usize(next) << 1), u16(i));
      next += skip;
      store<u32>(s, next >= m ? next - m : next);
      if (++filled == m) return;
    }
  }
}
