// The session table: records, and an index that finds a record by either of its two tuples.
//
//   key ──hash──► two candidate buckets, a cache line each: 12 tags, a lock, 12 entries
//   entry = record << 1 | direction      direction 0: the opener's tuple, 1: the reply's
//
// Life-cycle of a record:     take()        insert()          end()          reclaim()
//                        Free ──────► in hand ──────► Live ──────► Ending, Limbo ──────► Free
//
// Synchronisation. Readers take no lock: an entry is published by an atomic exchange after the
// record it names is whole; a record's identity never changes while any worker that could have seen
// it is inside a frame (reclaim.ts). Writers lock all candidate buckets of both keys, in ascending
// order, and look both keys up again under the locks. Nothing under a lock calls out or can trap;
// should it all the same, the worker's journal tells recover() what to undo. A tag is a hint and
// may be stale; an entry decides.
//
// Limits: 12 entries a bucket, two buckets a key; full is the verdict session-table-full.
import { differ, is4, portsOf, sourceOf } from "./family";
import { hashTuple, scale } from "./hash";
import {
  BUCKET_BYTES, BUCKET_ENTRIES, BUCKET_LOCK, BUCKET_TAGS, BUCKET_WAYS, LIFE_MASK, Life, Phase,
  SESSION4_BYTES, SESSION4_KEY_STRIDE, SESSION4_PROTOCOL, SESSION6_BYTES, SESSION6_KEY_STRIDE,
  SESSION6_PROTOCOL, SESSION_KEYS, SESSION_STATE, TABLE_LIVE, WORKER_LOCKED,
} from "./layout";
import { Packet } from "./packet";
import { root, SessionTable, tableOf } from "./root";
import { numberOf, Worker } from "./worker";

/** Free ways from which on a bucket takes an entry without a look at the other. */
const SPARE_WAYS: u32 = 4;
const WAYS: u32 = (1 << BUCKET_WAYS) - 1;
if (SESSION4_BYTES != 64 || SESSION6_BYTES != 128) ERROR("recordAt's shift is stale");

// @ts-ignore: decorator
@inline
export function recordAt<F>(t: SessionTable, record: u32): usize {
  return usize(t.records) + (usize(record) << (is4<F>() ? 6 : 7));
}
/** The key of a direction: 0 the opener's, 1 the reply's. */
// @ts-ignore: decorator
@inline
export function keyIn<F>(r: usize, direction: u32): usize {
  const stride = is4<F>() ? SESSION4_KEY_STRIDE : SESSION6_KEY_STRIDE;
  return r + SESSION_KEYS + usize(direction) * stride;
}
// @ts-ignore: decorator
@inline
export function protocolIn<F>(r: usize): u32 {
  return u32(load<u8>(r, is4<F>() ? SESSION4_PROTOCOL : SESSION6_PROTOCOL));
}
// @ts-ignore: decorator
@inline
export function lifeOf(r: usize): u32 {
  return atomic.load<u32>(r, SESSION_STATE) & LIFE_MASK;
}

// @ts-ignore: decorator
@inline
export function tagOf(hash: u64): u32 {
  const tag = u32(hash >> 32) & 0xff;
  return tag ? tag : 0xff;
}
// @ts-ignore: decorator
@inline
export function firstBucket(t: SessionTable, hash: u64): usize {
  return usize(t.buckets) + usize(scale(u32(hash >> 32), t.bucketCount)) * BUCKET_BYTES;
}
// @ts-ignore: decorator
@inline
export function secondBucket(t: SessionTable, hash: u64): usize {
  return usize(t.buckets) + usize(scale(u32(hash), t.bucketCount)) * BUCKET_BYTES;
}
/** A bit for each way of a bucket that bears a tag; tag 0 = the free ways. */
// @ts-ignore: decorator
@inline
export function waysWith(bucket: usize, tag: u32): u32 {
  const equal = i8x16.eq(v128.load(bucket, BUCKET_TAGS), i8x16.splat(i8(tag)));
  return u32(i8x16.bitmask(equal)) & WAYS;
}
// @ts-ignore: decorator
@inline
export function entryOf(bucket: usize, way: u32): u32 {
  return atomic.load<u32>(bucket + (usize(way) << 2), BUCKET_ENTRIES);
}

/** Is a record's key this tuple? `pair` points at source and destination. */
// @ts-ignore: decorator
@inline
export function isKey<F>(r: usize, key: usize, pair: usize, ports: u32, protocol: u32): bool {
  return portsOf<F>(key) == ports && protocolIn<F>(r) == protocol && !differ<F>(key, pair);
}

/** The entry of a tuple in one bucket whose record is Live, or 0. */
function findIn<F>(
  t: SessionTable, bucket: usize, tag: u32, pair: usize, ports: u32, protocol: u32,
): u32 {
  let ways = waysWith(bucket, tag);
  while (ways) {
    const entry = entryOf(bucket, ctz(ways));
    ways &= ways - 1;
    if (!entry) continue;
    const r = recordAt<F>(t, entry >> 1);
    const key = keyIn<F>(r, entry & 1);
    if (isKey<F>(r, key, pair, ports, protocol) && lifeOf(r) == Life.Live) return entry;
  }
  return 0;
}

/** The entry of a tuple, or 0: both candidate buckets. */
export function find<F>(
  t: SessionTable, hash: u64, pair: usize, ports: u32, protocol: u32,
): u32 {
  const tag = tagOf(hash);
  const entry = findIn<F>(t, firstBucket(t, hash), tag, pair, ports, protocol);
  if (entry) return entry;
  return findIn<F>(t, secondBucket(t, hash), tag, pair, ports, protocol);
}
// @ts-ignore: decorator
@inline
export function findPacket<F>(t: SessionTable, p: Packet): u32 {
  return find<F>(t, p.hash, sourceOf<F>(p.window), p.ports, p.protocol);
}

// @ts-ignore: decorator
@inline
export function hashKey<F>(r: usize, direction: u32): u64 {
  const key = keyIn<F>(r, direction);
  return hashTuple<F>(key, portsOf<F>(key), protocolIn<F>(r), root().seed0, root().seed1);
}

/** Takes one lock; notes it first, so that a trap behind finds it. */
// @ts-ignore: decorator
@inline
function lock(w: Worker, bucket: usize, owner: u32): void {
  const held = w.locks;
  store<u32>(changetype<usize>(w) + (usize(held) << 2), u32(bucket), WORKER_LOCKED);
  w.locks = held + 1;
  while (atomic.cmpxchg<u32>(bucket, 0, owner, BUCKET_LOCK) != 0) {}
}
/** Locks up to four buckets, each once, in ascending order. */
function lockAll(w: Worker, a: usize, b: usize, c: usize, d: usize): void {
  let low1 = min(a, b), high1 = max(a, b), low2 = min(c, d), high2 = max(c, d);
  const first = min(low1, low2), middle1 = max(low1, low2);
  const middle2 = min(high1, high2), last = max(high1, high2);
  const second = min(middle1, middle2), third = max(middle1, middle2);
  const owner = numberOf(w) + 1;
  w.locks = 0;
  lock(w, first, owner);
  if (second != first) lock(w, second, owner);
  if (third != second) lock(w, third, owner);
  if (last != third) lock(w, last, owner);
}
/** Frees every lock on the worker's journal that is still its own. */
export function unlockAll(w: Worker): void {
  const owner = numberOf(w) + 1;
  const held = w.locks;
  for (let i: u32 = 0; i < held; i++) {
    const bucket = load<u32>(changetype<usize>(w) + (usize(i) << 2), WORKER_LOCKED);
    if (atomic.load<u32>(bucket, BUCKET_LOCK) == owner) atomic.xchg<u32>(bucket, 0, BUCKET_LOCK);
  }
  w.locks = 0;
}

// @ts-ignore: decorator
@inline
function publish(bucket: usize, way: u32, tag: u32, entry: u32): void {
  store<u8>(bucket + way, u8(tag));
  atomic.xchg<u32>(bucket + (usize(way) << 2), entry, BUCKET_ENTRIES);
}
/** Clears every entry of a record in a bucket. Under its lock. */
function clearIn(bucket: usize, record: u32): void {
  for (let way: u32 = 0; way < BUCKET_WAYS; way++) {
    const entry = entryOf(bucket, way);
    if (entry >> 1 == record) atomic.xchg<u32>(bucket + (usize(way) << 2), 0, BUCKET_ENTRIES);
    else if (entry) continue;
    store<u8>(bucket + way, 0); // also where a trap came between the tag and its entry
  }
}
/** Clears a record's entries in the buckets whose locks the worker holds. */
export function clearLocked(w: Worker, record: u32): void {
  const held = w.locks;
  for (let i: u32 = 0; i < held; i++) {
    clearIn(load<u32>(changetype<usize>(w) + (usize(i) << 2), WORKER_LOCKED), record);
  }
}

export const enum Insertion { Done, Found, Collision, Full, OwnReply }

/**
 * Puts the record in the worker's hand (w.record), its identity written, into the index under both
 * its tuples. Found: another worker was first, and p.entry names that session's entry; Collision:
 * the reply's tuple belongs to another session; OwnReply: it is the packet's own; Full: no way is
 * free. But for Done, nothing was published.
 */
export function insert<F>(w: Worker, p: Packet, state: u32): Insertion {
  const t = tableOf<F>();
  const record = w.record;
  const r = recordAt<F>(t, record);
  const backward = hashKey<F>(r, 1);
  const a0 = firstBucket(t, p.hash), a1 = secondBucket(t, p.hash);
  const b0 = firstBucket(t, backward), b1 = secondBucket(t, backward);
  lockAll(w, a0, a1, b0, b1);
  store<u32>(changetype<usize>(w), Phase.Inserting, offsetof<Worker>("phase"));
  const result = insertLocked<F>(w, t, p, r, backward, a0, a1, b0, b1, state);
  store<u32>(changetype<usize>(w), Phase.Idle, offsetof<Worker>("phase"));
  unlockAll(w);
  return result;
}

/**
 * Into the first bucket, by its free ways and the second's? While it has room to spare: there a
 * look-up finds the entry at once. Then into the emptier one: at a million sessions and load 0.72
 * none is refused, and 7 to 10 % stand in their second bucket (first fit refuses 1,500 at 0.64).
 */
// @ts-ignore: decorator
@inline
function roomier(first: u32, second: u32): bool {
  return popcnt(first) >= SPARE_WAYS || popcnt(first) >= popcnt(second);
}
function insertLocked<F>(
  w: Worker, t: SessionTable, p: Packet, r: usize, backward: u64, a0: usize, a1: usize, b0: usize,
  b1: usize, state: u32,
): Insertion {
  const record = w.record;
  const known = findPacket<F>(t, p);
  if (known) {
    p.entry = known;
    return Insertion.Found;
  }
  const reply = keyIn<F>(r, 1), ports = portsOf<F>(reply), protocol = protocolIn<F>(r);
  if (find<F>(t, backward, reply, ports, protocol)) return Insertion.Collision;
  if (isKey<F>(r, keyIn<F>(r, 0), reply, ports, protocol)) return Insertion.OwnReply;

  const forwardBucket = roomier(waysWith(a0, 0), waysWith(a1, 0)) ? a0 : a1;
  const forwardWays = waysWith(forwardBucket, 0);
  if (!forwardWays) return Insertion.Full;
  const forwardWay = ctz(forwardWays);
  const taken = ~(1 << forwardWay);
  const ways0 = b0 == forwardBucket ? waysWith(b0, 0) & taken : waysWith(b0, 0);
  const ways1 = b1 == forwardBucket ? waysWith(b1, 0) & taken : waysWith(b1, 0);
  const first = roomier(ways0, ways1);
  const returnBucket = first ? b0 : b1;
  const returnWays = first ? ways0 : ways1;
  if (!returnWays) return Insertion.Full;
  const returnWay = ctz(returnWays);

  atomic.xchg<u32>(r, state | <u32>Life.Live, SESSION_STATE);
  publish(forwardBucket, forwardWay, tagOf(p.hash), record << 1);
  store<u32>(changetype<usize>(w), Phase.Published, offsetof<Worker>("phase"));
  publish(returnBucket, returnWay, tagOf(backward), (record << 1) | 1);
  atomic.add<u32>(changetype<usize>(t), 1, TABLE_LIVE);
  return Insertion.Done;
}

/**
 * Claims a live session for its end; false when another worker has, or when its state moved on.
 * Who claims it must call unindex() and then retire it.
 */
// @ts-ignore: decorator
@inline
function claim(r: usize, state: u32): bool {
  const ending = (state & ~LIFE_MASK) | <u32>Life.Ending;
  return atomic.cmpxchg<u32>(r, state, ending, SESSION_STATE) == state;
}

/** Claims a session if it lives, whatever it has seen meanwhile. */
export function claimLive(r: usize): bool {
  let state = atomic.load<u32>(r, SESSION_STATE);
  while ((state & LIFE_MASK) == Life.Live) {
    if (claim(r, state)) return true;
    state = atomic.load<u32>(r, SESSION_STATE);
  }
  return false;
}

/** Takes a claimed record (w.record) out of the index. */
export function unindex<F>(w: Worker): void {
  const t = tableOf<F>();
  const record = w.record;
  const r = recordAt<F>(t, record);
  const forward = hashKey<F>(r, 0), backward = hashKey<F>(r, 1);
  lockAll(
    w, firstBucket(t, forward), secondBucket(t, forward), firstBucket(t, backward),
    secondBucket(t, backward),
  );
  store<u32>(changetype<usize>(w), Phase.Ending, offsetof<Worker>("phase"));
  clearLocked(w, record);
  atomic.sub<u32>(changetype<usize>(t), 1, TABLE_LIVE);
  store<u32>(changetype<usize>(w), Phase.Idle, offsetof<Worker>("phase"));
  unlockAll(w);
}
