// Membership classes: combinations of sets, each held once. Members point at them; policies read
// bits of them. A class never changes; one that no member names can be taken away, and its memory
// is used again when every worker has been outside since.
//
//   0                  SETS_BYTES      +4
//   ┌──────────────────┬───────┬───────────────────────┐
//   │ bitmap over sets │ count │ count x u16, ascending│        class 0: no set, always there
//   └──────────────────┴───────┴───────────────────────┘
//
// Source of the scheme: one look-up for all of an address' memberships (Lucent bit vectors' classes
// turned round).
import { allocate } from "./arena";
import {
  CLASS_COUNT, CLASS_ID, CLASS_REMOVE_BYTES, CLASS_SETS, SETS, SETS_BYTES, SETS_CLASSES,
  SETS_CLASSES_MAX, SETS_MAX, StageError,
} from "./layout";
import { references, retireBlock } from "./retired";
import { refuse } from "./root";

// @ts-ignore: decorator
@inline
export function classCount(c: u32): u32 {
  return load<u32>(usize(c) + load<u32>(SETS, SETS_BYTES));
}
// @ts-ignore: decorator
@inline
export function classSets(c: u32): usize {
  return usize(c) + load<u32>(SETS, SETS_BYTES) + 4;
}
/** Is a set in the class? Sets beyond the budget are in none. */
// @ts-ignore: decorator
@inline
export function holds(c: u32, set: u32): bool {
  if (set >= load<u32>(SETS, SETS_MAX)) return false;
  return ((u32(load<u8>(usize(c) + (usize(set) >> 3))) >> (set & 7)) & 1) != 0;
}
// @ts-ignore: decorator
@inline
function placeOfClass(id: u32): usize {
  return usize(load<u32>(SETS, SETS_CLASSES)) + (usize(id) << 2);
}
/** Address of a class by its id, 0 = there is none. */
export function classById(id: u32): u32 {
  return id > load<u32>(SETS, SETS_CLASSES_MAX) ? 0 : load<u32>(placeOfClass(id));
}
export function stageClass(body: usize, length: u32): StageError {
  if (length < u32(CLASS_SETS)) return refuse(StageError.BadRecordLength, length);
  const id = load<u32>(body, CLASS_ID);
  const count = load<u32>(body, CLASS_COUNT);
  if (id == 0 || id > load<u32>(SETS, SETS_CLASSES_MAX)) {
    return refuse(StageError.FieldOutOfRange, u32(CLASS_ID));
  }
  if (count > 65535 || length != u32(CLASS_SETS) + count * 2) {
    return refuse(StageError.BadRecordLength, length);
  }
  const known = classById(id);
  if (known) { // the same once more: a push that was cut short is made again
    const isSame = classCount(known) == count &&
      memory.compare(classSets(known), body + CLASS_SETS, usize(count) << 1) == 0;
    return isSame ? StageError.None : refuse(StageError.ClassInUse, id);
  }
  const sets = load<u32>(SETS, SETS_MAX);
  for (let i: u32 = 0; i < count; i++) {
    const set = u32(load<u16>(body + (usize(i) << 1), CLASS_SETS));
    if (set >= sets) return refuse(StageError.FieldOutOfRange, set);
    const next = i + 1 < count ? u32(load<u16>(body + (usize(i) << 1), CLASS_SETS + 2)) : sets;
    if (next <= set) return refuse(StageError.FieldOutOfRange, set);
  }
  const c = makeClass(body + CLASS_SETS, count);
  if (!c) return refuse(StageError.ArenaFull, id);
  store<u32>(placeOfClass(id), c);
  return StageError.None;
}

/** A class of `count` set numbers, u16 each; 0 when the arena is full. */
export function makeClass(numbers: usize, count: u32): u32 {
  const bytes = load<u32>(SETS, SETS_BYTES);
  const c = allocate(bytes + 4 + count * 2);
  if (!c) return 0;
  for (let i: u32 = 0; i < count; i++) {
    const set = u32(load<u16>(numbers + (usize(i) << 1)));
    const at = usize(c) + (usize(set) >> 3);
    store<u8>(at, load<u8>(at) | (<u8>1 << u8(set & 7)));
  }
  store<u32>(usize(c) + bytes, count);
  memory.copy(usize(c) + bytes + 4, numbers, usize(count) << 1);
  return c;
}

export function removeClass(body: usize, length: u32): StageError {
  if (length != CLASS_REMOVE_BYTES) return refuse(StageError.BadRecordLength, length);
  const id = load<u32>(body, CLASS_ID);
  const c = id ? classById(id) : 0;
  if (!c) return refuse(StageError.UnknownClass, id);
  if (references(c)) return refuse(StageError.ClassInUse, id);
  store<u32>(placeOfClass(id), 0);
  retireBlock(c);
  return StageError.None;
}
