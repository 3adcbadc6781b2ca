// Members: (address, tag) to the class of sets that hold it. A table a family, of fixed size, open
// addressing, linear probing, at most half full. A tag is a prefix length or an address' port:
//
//   IPv4  0         4     8       12    16        IPv6  0          16    20      24        32
//         ┌─────────┬─────┬───────┬─────┐               ┌──────────┬─────┬───────┬─────────┐
//         │ address │ tag │ class │  0  │               │ address  │ tag │ class │    0    │
//         └─────────┴─────┴───────┴─────┘               └──────────┴─────┴───────┴─────────┘
//
// One writer, the control side, changes entries in place under running workers. class: 0 = empty,
// GONE = being taken away, else the class' address. A new key is written before its class is
// (xchg). What is taken away leaves no mark: entries behind it in the run move up, each copied,
// `moves` counted on, the old one cleared, `moves` counted on. A reader takes `moves` first and
// starts over where it is another in the end: so it misses no entry that moves, and never joins the
// halves of two keys. What a class was is freed only when every worker has been outside
// (classes.ts).
//
// A prefix' class holds the sets of all prefixes around it too: the host sees to that, so that the
// longest prefix answers alone.
import { load64be } from "./bytes";
import { is4, V4, V6 } from "./family";
import { hashAddress } from "./hash";
import {
  MEMBERS_COUNTS, MEMBERS_LENGTHS, MEMBERS_LIVE, MEMBERS_MASK, MEMBERS_MAX, MEMBERS_PORTS,
  MEMBERS_MOVES, MEMBERS_TABLE, MEMBER_PORT, SETS, SETS_EMPTY, SETS_MEMBERS4, SETS_MEMBERS6,
} from "./layout";
import { root } from "./root";

/** An entry whose member is being taken away; none is left behind. */
export const GONE: u32 = 1;

@unmanaged
export class Members {
  table: u32;
  mask: u32;
  live: u32;
  max: u32;
  moves: u32; // atomic: how often an entry was taken away or moved
  ports: u32;
  lengths0: u64; // bit = a prefix length that occurs
  lengths1: u64;
  lengths2: u64;
}
if (offsetof<Members>("table") != MEMBERS_TABLE) ERROR("Members.table");
if (offsetof<Members>("mask") != MEMBERS_MASK) ERROR("Members.mask");
if (offsetof<Members>("live") != MEMBERS_LIVE) ERROR("Members.live");
if (offsetof<Members>("max") != MEMBERS_MAX) ERROR("Members.max");
if (offsetof<Members>("moves") != MEMBERS_MOVES) ERROR("Members.moves");
if (offsetof<Members>("ports") != MEMBERS_PORTS) ERROR("Members.ports");
if (offsetof<Members>("lengths0") != MEMBERS_LENGTHS) ERROR("Members.lengths");
if (SETS_MEMBERS4 + MEMBERS_COUNTS + 129 * 4 > SETS_MEMBERS6) ERROR("Members run into each other");

// @ts-ignore: decorator
@inline
export function membersOf<F>(): Members {
  return changetype<Members>(SETS + (is4<F>() ? SETS_MEMBERS4 : SETS_MEMBERS6));
}
// @ts-ignore: decorator
@inline
export function entryBytes<F>(): u32 {
  return is4<F>() ? 16 : 32;
}
// @ts-ignore: decorator
@inline
function tagAt<F>(entry: usize): u32 {
  return load<u32>(entry, is4<F>() ? 4 : 16);
}
// @ts-ignore: decorator
@inline
export function classAt<F>(entry: usize): u32 {
  return atomic.load<u32>(entry, is4<F>() ? 8 : 20);
}
// @ts-ignore: decorator
@inline
export function setClassAt<F>(entry: usize, to: u32): void {
  atomic.xchg<u32>(entry, to, is4<F>() ? 8 : 20);
}
/** `first`, `last`: the address in wire order; IPv4 stands in the low half of `last` alone. */
// @ts-ignore: decorator
@inline
function bears<F>(entry: usize, first: u64, last: u64, tag: u32): bool {
  if (tagAt<F>(entry) != tag) return false;
  if (is4<F>()) return load<u32>(entry) == u32(last);
  return load<u64>(entry) == first && load<u64>(entry, 8) == last;
}
// @ts-ignore: decorator
@inline
export function placeOf<F>(m: Members, first: u64, last: u64, tag: u32): u32 {
  return u32(hashAddress(first, last, tag, root().seed0) >> 32) & m.mask;
}
// @ts-ignore: decorator
@inline
export function entryAt<F>(m: Members, place: u32): usize {
  return usize(m.table) + usize(place) * entryBytes<F>();
}

// @ts-ignore: decorator
@inline
function movesOf(m: Members): u32 {
  return atomic.load<u32>(changetype<usize>(m), MEMBERS_MOVES);
}
export function noteMove(m: Members): void {
  atomic.add<u32>(changetype<usize>(m), 1, MEMBERS_MOVES);
}

/** The class of (address, tag), 0 = no member. Readers' side: the entries may be changing. */
function classOf<F>(m: Members, first: u64, last: u64, tag: u32): u32 {
  const home = placeOf<F>(m, first, last, tag);
  while (true) {
    const moves = movesOf(m);
    let found: u32, place = home;
    while (true) {
      const entry = entryAt<F>(m, place);
      found = classAt<F>(entry);
      if (found == 0 || (found != GONE && bears<F>(entry, first, last, tag))) break;
      place = (place + 1) & m.mask;
    }
    if (movesOf(m) == moves) return found;
  }
}

/** The entry of (address, tag) on the writer's side; 0 where there is none. */
export function findEntry<F>(m: Members, first: u64, last: u64, tag: u32): usize {
  let place = placeOf<F>(m, first, last, tag);
  while (true) {
    const entry = entryAt<F>(m, place);
    const found = classAt<F>(entry);
    if (found == 0) return 0;
    if (found != GONE && bears<F>(entry, first, last, tag)) return entry;
    place = (place + 1) & m.mask;
  }
}

/** Where a new entry may go: the first empty one. */
export function vacantEntry<F>(m: Members, first: u64, last: u64, tag: u32): usize {
  let place = placeOf<F>(m, first, last, tag);
  while (classAt<F>(entryAt<F>(m, place))) place = (place + 1) & m.mask;
  return entryAt<F>(m, place);
}
export function writeKey<F>(entry: usize, first: u64, last: u64, tag: u32): void {
  if (is4<F>()) {
    store<u32>(entry, u32(last));
    store<u32>(entry, tag, 4);
  } else {
    store<u64>(entry, first);
    store<u64>(entry, last, 8);
    store<u32>(entry, tag, 16);
  }
}

/** Empties an entry, and moves up those behind it that it stood in the way of. */
export function removeEntry<F>(m: Members, entry: usize): void {
  let hole = u32((entry - usize(m.table)) / entryBytes<F>());
  setClassAt<F>(entry, GONE);
  noteMove(m);
  let place = hole;
  while (true) {
    place = (place + 1) & m.mask;
    const from = entryAt<F>(m, place);
    const held = classAt<F>(from);
    if (held == 0) break;
    // It stays where its home is behind the hole.
    if (((place - homeOf<F>(m, from)) & m.mask) < ((place - hole) & m.mask)) continue;
    const to = entryAt<F>(m, hole);
    copyKey<F>(to, from);
    setClassAt<F>(to, held);
    noteMove(m);
    setClassAt<F>(from, GONE);
    noteMove(m);
    hole = place;
  }
  setClassAt<F>(entryAt<F>(m, hole), 0);
}
function homeOf<F>(m: Members, entry: usize): u32 {
  if (is4<F>()) return placeOf<F>(m, 0, u64(load<u32>(entry)), tagAt<F>(entry));
  return placeOf<F>(m, load<u64>(entry), load<u64>(entry, 8), tagAt<F>(entry));
}
function copyKey<F>(to: usize, from: usize): void {
  if (is4<F>()) writeKey<F>(to, 0, u64(load<u32>(from)), tagAt<F>(from));
  else writeKey<F>(to, load<u64>(from), load<u64>(from, 8), tagAt<F>(from));
}

/** Ones for the first `bits` (0 to 64) of a host-order u64. */
// @ts-ignore: decorator
@inline
export function prefixMask(bits: u32): u64 {
  if (bits == 0) return 0;
  return bits >= 64 ? u64.MAX_VALUE : ~(u64.MAX_VALUE >> u64(bits));
}

/** The class of the longest prefix that holds an address; the empty class where none does. */
export function classOfAddress<F>(address: usize): u32 {
  const m = membersOf<F>();
  const found = is4<F>() ? longest4(m, address) : longest6(m, address);
  return found ? found : load<u32>(SETS, SETS_EMPTY);
}

function longest4(m: Members, address: usize): u32 {
  const host = bswap<u32>(load<u32>(address));
  let lengths = m.lengths0;
  while (lengths) {
    const length = 63 - u32(clz<u64>(lengths));
    lengths &= ~(u64(1) << u64(length));
    const masked = length ? host & (u32.MAX_VALUE << (32 - length)) : 0;
    const found = classOf<V4>(m, 0, bswap<u32>(masked), length);
    if (found) return found;
  }
  return 0;
}

function longest6(m: Members, address: usize): u32 {
  const hi = load64be(address), lo = load64be(address, 8);
  let word: u32 = 2;
  let lengths = m.lengths2;
  while (true) {
    while (lengths) {
      const bit = 63 - u32(clz<u64>(lengths));
      lengths &= ~(u64(1) << u64(bit));
      const length = (word << 6) | bit;
      const first = bswap<u64>(hi & prefixMask(length));
      const last = length > 64 ? bswap<u64>(lo & prefixMask(length - 64)) : 0;
      const found = classOf<V6>(m, first, last, length);
      if (found) return found;
    }
    if (word == 0) return 0;
    word--;
    lengths = word ? m.lengths1 : m.lengths0;
  }
}

/** Loads the entry that an address' own look-up starts at; what it is matters to nobody. */
// @ts-ignore: decorator
@inline
export function touchMember<F>(address: usize): u32 {
  const m = membersOf<F>();
  const first: u64 = is4<F>() ? 0 : load<u64>(address);
  const last: u64 = is4<F>() ? u64(load<u32>(address)) : load<u64>(address, 8);
  const length: u32 = is4<F>() ? 32 : 128;
  return load<u32>(entryAt<F>(m, placeOf<F>(m, first, last, length)));
}

/** The class of (address, protocol, port), the port in host order. */
export function classOfPort<F>(address: usize, protocol: u32, port: u32): u32 {
  const m = membersOf<F>();
  if (m.ports) {
    const first: u64 = is4<F>() ? 0 : load<u64>(address);
    const last: u64 = is4<F>() ? u64(load<u32>(address)) : load<u64>(address, 8);
    const found = classOf<F>(m, first, last, MEMBER_PORT | (protocol << 16) | port);
    if (found) return found;
  }
  return load<u32>(SETS, SETS_EMPTY);
}
