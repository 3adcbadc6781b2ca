// Staging of groups: a Group record to a block with its backends in canonical order and its Maglev
// table. Control side; workers only read what is made here (group.ts).
import { allocate, release } from "./arena";
import { compareBackends, Backend, backendAt, Group, GROUP_HEADER, groupById } from "./group";
import {
  BACKENDS_MAX, BACKEND_ADDRESS, BACKEND_BYTES, BACKEND_ID, BACKEND_OFFSET, BACKEND_PEER,
  BACKEND_PORT, BACKEND_SKIP, BACKEND_WEIGHT, GROUP_BACKEND, GROUP_COUNT, GROUP_FLAGS, GROUP_ID,
  GROUP_REMOVE_BYTES, GROUP_SLOTS, GroupFlag, SERVICES, SERVICES_BACKENDS_MAX, SERVICES_GROUPS,
  SERVICES_GROUPS_MAX, StageError,
} from "./layout";
import {
  isPrime, MAKER_BYTES, populate, populateClassic, slotsFor, slotWidth, takenBytes,
} from "./maglev";
import { references, retireBlock } from "./retired";
import { outOfRange, refuse, root } from "./root";

const SLOTS_MAX: u32 = 655_373;
/** Turns are dealt by weight: a table takes weight-max rounds for its lightest backend's. */
const WEIGHT_MAX: u16 = 1000;

export function isMapped4(first: u64, last: u64): bool {
  return first == 0 && u32(last) == 0xffff0000;
}
function placeOfGroup(id: u32): usize {
  return usize(load<u32>(SERVICES, SERVICES_GROUPS)) + (usize(id) << 2);
}

export function stageGroup(body: usize, length: u32): StageError {
  if (length < u32(GROUP_BACKEND)) return refuse(StageError.BadRecordLength, length);
  const count = load<u32>(body, GROUP_COUNT);
  if (count > BACKENDS_MAX) return outOfRange(GROUP_COUNT);
  if (length != u32(GROUP_BACKEND) + count * BACKEND_BYTES) {
    return refuse(StageError.BadRecordLength, length);
  }
  const id = load<u32>(body, GROUP_ID);
  if (id == 0 || id > load<u32>(SERVICES, SERVICES_GROUPS_MAX)) return outOfRange(GROUP_ID);
  const flags = load<u32>(body, GROUP_FLAGS);
  if (flags > <u32>GroupFlag.Classic) return outOfRange(GROUP_FLAGS);
  let slots = load<u32>(body, GROUP_SLOTS);
  if (!slots) slots = slotsFor(count);
  const few = slots < count && !(flags & GroupFlag.Classic); // Calico's may leave some without
  if (slots > SLOTS_MAX || few || !isPrime(slots)) return outOfRange(GROUP_SLOTS);
  const checked = checkBackends(body + GROUP_BACKEND, count, flags, slots);
  if (checked != StageError.None) return checked;
  const known = groupById(id);
  if (known) { // the same once more: a push that was cut short is made again
    return isSame(changetype<Group>(usize(known)), body, count, flags, slots)
      ? StageError.None
      : refuse(StageError.GroupInUse, id);
  }
  const width = slotWidth(count);
  const backends = GROUP_HEADER + count * u32(offsetof<Backend>());
  const block = allocate(backends + (count ? slots * width : 0));
  if (!block) return refuse(StageError.ArenaFull, count);
  const g = changetype<Group>(usize(block));
  g.backends = count;
  g.slots = slots;
  g.table = block + backends;
  g.width = width;
  g.flags = flags;
  const error = fill(g, body + GROUP_BACKEND);
  if (error != StageError.None) {
    release(block);
    return error;
  }
  atomic.xchg<u32>(placeOfGroup(id), block);
  return StageError.None;
}

function checkBackends(from: usize, count: u32, flags: u32, slots: u32): StageError {
  const most = load<u32>(SERVICES, SERVICES_BACKENDS_MAX);
  const family4 = count != 0 &&
    isMapped4(load<u64>(from, BACKEND_ADDRESS), load<u64>(from, BACKEND_ADDRESS + 8));
  for (let i: u32 = 0; i < count; i++) {
    const raw = from + usize(i) * BACKEND_BYTES;
    if (load<u16>(raw, BACKEND_WEIGHT) > WEIGHT_MAX) return outOfRange(BACKEND_WEIGHT);
    if (load<u32>(raw, BACKEND_ID) >= most) return outOfRange(BACKEND_ID);
    if (load<u16>(raw, BACKEND_PORT) == 0) return outOfRange(BACKEND_PORT);
    const first = load<u64>(raw, BACKEND_ADDRESS), last = load<u64>(raw, BACKEND_ADDRESS + 8);
    if (isMapped4(first, last) != family4) return refuse(StageError.WrongFamily, i);
    if (!(flags & GroupFlag.Classic)) continue;
    if (load<u32>(raw, BACKEND_OFFSET) >= slots) return outOfRange(BACKEND_OFFSET);
    const skip = load<u32>(raw, BACKEND_SKIP);
    if (skip == 0 || skip >= slots) return outOfRange(BACKEND_SKIP);
  }
  return StageError.None;
}

function read(b: Backend, raw: usize): void {
  b.first = load<u64>(raw, BACKEND_ADDRESS);
  b.last = load<u64>(raw, BACKEND_ADDRESS + 8);
  b.port = bswap<u16>(load<u16>(raw, BACKEND_PORT));
  const weight = load<u16>(raw, BACKEND_WEIGHT);
  b.weight = weight ? weight : 1;
  b.id = load<u32>(raw, BACKEND_ID);
  b.peer = load<u16>(raw, BACKEND_PEER);
}

/** Does a group hold just what the record says? */
function isSame(g: Group, body: usize, count: u32, flags: u32, slots: u32): bool {
  if (g.backends != count || g.flags != flags || g.slots != slots) return false;
  const scratch = allocate(GROUP_HEADER + count * u32(offsetof<Backend>()));
  if (!scratch) return false;
  const other = changetype<Group>(usize(scratch));
  other.backends = count;
  other.flags = flags;
  take(other, body + GROUP_BACKEND);
  const same = memory.compare(
    changetype<usize>(g) + GROUP_HEADER, usize(scratch) + GROUP_HEADER,
    usize(count) * offsetof<Backend>(),
  ) == 0;
  release(scratch);
  return same && (!(flags & GroupFlag.Classic) || isSameTable(g, body + GROUP_BACKEND));
}
/** A classic table follows from what a group does not keep: it is made again and compared. */
function isSameTable(g: Group, from: usize): bool {
  const scratch = allocate(g.backends * 16), taken = allocate(g.slots);
  const table = allocate(g.slots * g.width);
  let same = scratch != 0 && taken != 0 && table != 0;
  if (same && g.backends) {
    populateClassic(table, g.width, g.slots, from, g.backends, scratch, taken);
    same = memory.compare(table, g.table, usize(g.slots * g.width)) == 0;
  }
  release(scratch);
  release(taken);
  release(table);
  return same;
}

/** The record's backends, in canonical order but for a classic table. */
function take(g: Group, from: usize): void {
  for (let i: u32 = 0; i < g.backends; i++) {
    read(backendAt(g, i), from + usize(i) * BACKEND_BYTES);
  }
  if (!(g.flags & GroupFlag.Classic)) sort(g);
}

function fill(g: Group, from: usize): StageError {
  const count = g.backends;
  if (!count) return StageError.None;
  take(g, from);
  for (let i: u32 = 0; i < count; i++) g.local += u32(backendAt(g, i).peer == 0);
  g.family = isMapped4(backendAt(g, 0).first, backendAt(g, 0).last) ? 4 : 6;
  const scratch = allocate(count * MAKER_BYTES);
  const taken = allocate(takenBytes(g.slots));
  if (scratch && taken) {
    if (g.flags & GroupFlag.Classic) {
      populateClassic(g.table, g.width, g.slots, from, count, scratch, taken);
    } else {
      const first = changetype<usize>(backendAt(g, 0));
      populate(g.table, g.width, g.slots, first, count, scratch, taken, root().maglevSeed);
    }
  }
  release(scratch);
  release(taken);
  return scratch && taken ? StageError.None : refuse(StageError.ArenaFull, count);
}

/** Address, port; then, for twins, weight and id. */
function isBefore(a: Backend, b: Backend): bool {
  const order = compareBackends(a, b);
  if (order != 0) return order < 0;
  return a.weight != b.weight ? a.weight < b.weight : a.id < b.id;
}

function swap(a: usize, b: usize): void {
  const low = v128.load(a), high = v128.load(a, 16);
  v128.store(a, v128.load(b));
  v128.store(a, v128.load(b, 16), 16);
  v128.store(b, low);
  v128.store(b, high, 16);
}

/** Shell sort into canonical order (gaps 3h + 1): in place, no recursion. */
function sort(g: Group): void {
  const count = g.backends;
  let gap: u32 = 1;
  while (gap < count / 3) gap = gap * 3 + 1;
  for (; gap > 0; gap /= 3) {
    for (let i = gap; i < count; i++) {
      for (let j = i; j >= gap && isBefore(backendAt(g, j), backendAt(g, j - gap)); j -= gap) {
        swap(changetype<usize>(backendAt(g, j)), changetype<usize>(backendAt(g, j - gap)));
      }
    }
  }
}

/** Takes a group away that no frontend names; one that is not there is gone already. */
export function removeGroup(body: usize, length: u32): StageError {
  if (length != GROUP_REMOVE_BYTES) return refuse(StageError.BadRecordLength, length);
  const id = load<u32>(body, GROUP_ID);
  if (id == 0 || id > load<u32>(SERVICES, SERVICES_GROUPS_MAX)) return outOfRange(GROUP_ID);
  const block = groupById(id);
  if (!block) return StageError.None;
  if (references(block)) return refuse(StageError.GroupInUse, id);
  atomic.xchg<u32>(placeOfGroup(id), 0);
  retireBlock(block);
  return StageError.None;
}
