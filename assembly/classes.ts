// Membership classes: combinations of sets, each held once. Members point at them; policies read
// bits of them. A class never changes; one that no member names can be taken away, and its memory
// is used again when every worker has been outside since.
//
//   0                  SETS_BYTES      +4
//   ┌──────────────────┬───────┬───────────────────────┐
//   │ bitmap over sets │ count │ count x u16, ascending│        class 0: no set, always there
//   └──────────────────┴───────┴───────────────────────┘
//
//   removed ─► open list ─► closed list with the workers' epochs ─► all passed: released
//
// Source of the scheme: one look-up for all of an address' memberships (Lucent bit vectors' classes
// turned round).
import { allocate, release } from "./arena";
import {
  CLASS_COUNT, CLASS_ID, CLASS_REMOVE_BYTES, CLASS_SETS, SETS, SETS_BYTES, SETS_CLASSES,
  SETS_CLASSES_MAX, SETS_MAX, SETS_RETIRED_CLOSED, SETS_RETIRED_OPEN, SETS_SNAPSHOT, StageError,
  WORKER_EPOCH,
} from "./layout";
import { refuse, root } from "./root";
import { workerAt } from "./worker";

/** Before the payload, in the arena's header: a retired class' link, and how many name it. */
const LINK: usize = 60;
const REFERENCES: usize = 56;

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
export function refer(c: u32, by: i32): void {
  const at = usize(c) - REFERENCES;
  store<u32>(at, load<u32>(at) + by);
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
  store<u32>(usize(c) - REFERENCES, 0);
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
  if (load<u32>(usize(c) - REFERENCES)) return refuse(StageError.ClassInUse, id);
  store<u32>(placeOfClass(id), 0);
  store<u32>(usize(c) - LINK, load<u32>(SETS, SETS_RETIRED_OPEN));
  store<u32>(SETS, c, SETS_RETIRED_OPEN);
  return StageError.None;
}

/** Moves retired classes on by a step, if the workers allow it: at every stage(). */
export function reclaimClasses(): void {
  const workers = root().workers;
  let closed = load<u32>(SETS, SETS_RETIRED_CLOSED);
  if (closed) {
    for (let i: u32 = 0; i < workers; i++) {
      const then = load<u32>(SETS + (usize(i) << 2), SETS_SNAPSHOT);
      const now = atomic.load<u32>(changetype<usize>(workerAt(i)), WORKER_EPOCH);
      if ((then & 1) && now == then) return;
    }
    while (closed) {
      const next = load<u32>(usize(closed) - LINK);
      release(closed);
      closed = next;
    }
    store<u32>(SETS, 0, SETS_RETIRED_CLOSED);
  }
  const open = load<u32>(SETS, SETS_RETIRED_OPEN);
  if (!open) return;
  store<u32>(SETS, open, SETS_RETIRED_CLOSED);
  store<u32>(SETS, 0, SETS_RETIRED_OPEN);
  for (let i: u32 = 0; i < workers; i++) {
    const epoch = atomic.load<u32>(changetype<usize>(workerAt(i)), WORKER_EPOCH);
    store<u32>(SETS + (usize(i) << 2), epoch, SETS_SNAPSHOT);
  }
}
