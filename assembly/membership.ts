// Staging of members: a Members record to changes of the tables in members.ts. Control side, one
// writer; each record is carried out whole or refused whole. Limits: the budgets of Configure.
import { allocate, release } from "./arena";
import { classById, makeClass } from "./classes";
import { is4, V4, V6 } from "./family";
import {
  CONFIGURE_CLASSES_MAX, CONFIGURE_MEMBERS4_MAX, CONFIGURE_MEMBERS6_MAX, CONFIGURE_SETS_MAX,
  MEMBER4_BYTES, MEMBER6_BYTES, MEMBERS_COUNT, MEMBERS_COUNTS, MEMBERS_FAMILY, MEMBERS_FIRST,
  MEMBERS_LENGTHS, MEMBER_PORT, SETS, SETS_BYTES, SETS_CLASSES, SETS_CLASSES_MAX, SETS_EMPTY,
  SETS_MAX, StageError,
} from "./layout";
import {
  classAt, entryBytes, findEntry, Members, membersOf, prefixMask, removeEntry, setClassAt,
  vacantEntry, writeKey,
} from "./members";
import { refer } from "./retired";
import { orElse, outOfRange, refuse } from "./root";

const SETS_BUDGET_MAX: u32 = 65_536;
const CLASSES_BUDGET_MAX: u32 = 1 << 22;
const MEMBERS_BUDGET_MAX: u32 = 1 << 26;

/** Lays out the tables: part of Configure. Everything it allocates stays for life. */
export function configureSets(body: usize): StageError {
  const sets = orElse(load<u32>(body, CONFIGURE_SETS_MAX), 1024);
  const classes = orElse(load<u32>(body, CONFIGURE_CLASSES_MAX), 4096);
  const members4 = orElse(load<u32>(body, CONFIGURE_MEMBERS4_MAX), 65_536);
  const members6 = orElse(load<u32>(body, CONFIGURE_MEMBERS6_MAX), 16_384);
  if (sets > SETS_BUDGET_MAX) return outOfRange(CONFIGURE_SETS_MAX);
  if (classes > CLASSES_BUDGET_MAX) return outOfRange(CONFIGURE_CLASSES_MAX);
  if (members4 > MEMBERS_BUDGET_MAX) return outOfRange(CONFIGURE_MEMBERS4_MAX);
  if (members6 > MEMBERS_BUDGET_MAX) return outOfRange(CONFIGURE_MEMBERS6_MAX);
  store<u32>(SETS, sets, SETS_MAX);
  store<u32>(SETS, ((sets + 127) >> 7) << 4, SETS_BYTES);
  store<u32>(SETS, classes, SETS_CLASSES_MAX);
  const table = allocate((classes + 1) << 2);
  const empty = makeClass(0, 0);
  const fits4 = layOutMembers<V4>(members4), fits6 = layOutMembers<V6>(members6);
  if (!table || !empty || !fits4 || !fits6) {
    release(table);
    release(empty);
    release(membersOf<V4>().table);
    release(membersOf<V6>().table);
    return refuse(StageError.MemoryTooSmall, 0);
  }
  store<u32>(SETS, table, SETS_CLASSES);
  store<u32>(SETS, empty, SETS_EMPTY);
  return StageError.None;
}
function layOutMembers<F>(most: u32): bool {
  const m = membersOf<F>();
  let places: u32 = 8;
  while (places < most * 2) places <<= 1;
  m.table = u64(places) * entryBytes<F>() < 0x38000000 ? allocate(places * entryBytes<F>()) : 0;
  m.mask = places - 1;
  m.max = most;
  return m.table != 0;
}

export function stageMembers(body: usize, length: u32): StageError {
  if (length < u32(MEMBERS_FIRST)) return refuse(StageError.BadRecordLength, length);
  const family = load<u32>(body, MEMBERS_FAMILY);
  if (family == 4) return change<V4>(body, length);
  if (family == 6) return change<V6>(body, length);
  return refuse(StageError.FieldOutOfRange, u32(MEMBERS_FAMILY));
}

/** Where an entry of the record lies. */
// @ts-ignore: decorator
@inline
function givenAt<F>(body: usize, i: u32): usize {
  return body + MEMBERS_FIRST + usize(i) * (is4<F>() ? MEMBER4_BYTES : MEMBER6_BYTES);
}
// @ts-ignore: decorator
@inline
function firstOf<F>(given: usize): u64 {
  return is4<F>() ? 0 : load<u64>(given);
}
// @ts-ignore: decorator
@inline
function lastOf<F>(given: usize): u64 {
  return is4<F>() ? u64(load<u32>(given)) : load<u64>(given, 8);
}
// @ts-ignore: decorator
@inline
function givenTag<F>(given: usize): u32 {
  return load<u32>(given, is4<F>() ? 4 : 16);
}
// @ts-ignore: decorator
@inline
function givenClass<F>(given: usize): u32 {
  return load<u32>(given, is4<F>() ? 8 : 20);
}

/** All is looked at first: tags, host bits, classes, room. */
function change<F>(body: usize, length: u32): StageError {
  const count = load<u32>(body, MEMBERS_COUNT);
  const bytes: u32 = is4<F>() ? MEMBER4_BYTES : MEMBER6_BYTES;
  if (u64(length) != u64(MEMBERS_FIRST) + u64(count) * bytes) {
    return refuse(StageError.BadRecordLength, length);
  }
  const m = membersOf<F>();
  let fresh: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const given = givenAt<F>(body, i);
    if (!isTag<F>(given)) return refuse(StageError.FieldOutOfRange, i);
    const id = givenClass<F>(given);
    if (id && !classById(id)) return refuse(StageError.UnknownClass, id);
    if (id && !findEntry<F>(m, firstOf<F>(given), lastOf<F>(given), givenTag<F>(given))) fresh++;
  }
  if (fresh > m.max - m.live) return refuse(StageError.TableFull, fresh);
  for (let i: u32 = 0; i < count; i++) {
    const given = givenAt<F>(body, i);
    const id = givenClass<F>(given);
    const first = firstOf<F>(given), last = lastOf<F>(given), tag = givenTag<F>(given);
    if (id) put<F>(m, first, last, tag, classById(id));
    else take<F>(m, first, last, tag);
  }
  return StageError.None;
}

/** A port of a protocol, or a prefix length with no host bits behind it. */
function isTag<F>(given: usize): bool {
  const tag = givenTag<F>(given);
  if (tag & MEMBER_PORT) return (tag & ~(MEMBER_PORT | 0xffffff)) == 0;
  if (is4<F>()) {
    if (tag > 32) return false;
    const beyond = tag ? u32(0xffffffff00000000 >> u64(tag)) : 0;
    return (bswap<u32>(load<u32>(given)) & ~beyond) == 0;
  }
  if (tag > 128) return false;
  const low = tag > 64 ? prefixMask(tag - 64) : 0;
  return (bswap<u64>(load<u64>(given)) & ~prefixMask(tag)) == 0 &&
    (bswap<u64>(load<u64>(given, 8)) & ~low) == 0;
}

function put<F>(m: Members, first: u64, last: u64, tag: u32, to: u32): void {
  const entry = findEntry<F>(m, first, last, tag);
  refer(to, 1);
  if (entry) {
    refer(classAt<F>(entry), -1);
    setClassAt<F>(entry, to);
    return;
  }
  const vacant = vacantEntry<F>(m, first, last, tag);
  m.live++;
  noteTag<F>(m, tag, 1);
  writeKey<F>(vacant, first, last, tag);
  setClassAt<F>(vacant, to);
}

function take<F>(m: Members, first: u64, last: u64, tag: u32): void {
  const entry = findEntry<F>(m, first, last, tag);
  if (!entry) return;
  refer(classAt<F>(entry), -1);
  removeEntry<F>(m, entry);
  m.live--;
  noteTag<F>(m, tag, -1);
}

/** Counts a tag more or less: which prefix lengths readers have to try. */
function noteTag<F>(m: Members, tag: u32, by: i32): void {
  if (tag & MEMBER_PORT) {
    m.ports += by;
    return;
  }
  const counts = changetype<usize>(m) + MEMBERS_COUNTS + (usize(tag) << 2);
  const count = load<u32>(counts) + by;
  store<u32>(counts, count);
  const word = changetype<usize>(m) + MEMBERS_LENGTHS + (usize(tag >> 6) << 3);
  const bit = u64(1) << u64(tag & 63);
  atomic.xchg<u64>(word, count ? load<u64>(word) | bit : load<u64>(word) & ~bit);
}
