// Fragments: the first of a packet's is judged and rewritten as the packet itself would be, and
// noted here; the others, which bear no ports, follow it. A table of entries by (source,
// destination, protocol, identification, sender), in buckets of four, written by all workers.
//
//   first passes ─► noteFragment: entry of that key, else an empty one, else the longest idle
//   a later one ─► followFragment: the entry's addresses and rule, or Reason.LaterFragment
//
// The entry's state is even while it stands, odd while one worker writes it: taken by cmpxchg,
// released by xchg; nothing in between can trap. A reader looks at it before and behind; an entry
// that is being written, or was meanwhile, is nobody's. Recent packets drive out older ones, so a
// flood costs others' later fragments, never a judgement.
//
// Limits: later fragments come behind their first, within IDLE_MS of the last of them, and bear no
// more than a datagram can hold. IPv6's keys have no protocol (RFC 8200, 4.5).
import { adjust } from "./checksum";
import { backendIn } from "./conntrack";
import { Detail, detailOf } from "./detail";
import { isLive } from "./endpoint";
import { copyPair, copyTurned, differ, endpointOf, is4, sourceOf } from "./family";
import { Generation } from "./generation";
import { hashTuple } from "./hash";
import * as ipv4 from "./header/ipv4";
import {
  NO_ENDPOINT, Reason, Rewritten, SERVICES, SERVICES_FRAGMENTS, SERVICES_FRAGMENTS_MASK,
} from "./layout";
import { senderOf } from "./judge";
import { Packet } from "./packet";
import { changesOf, deltasIn, peerOf } from "./rewrite";
import { root } from "./root";
import { keyIn } from "./session";
import { AHEAD_MS } from "./worker";

export const FRAGMENT_WAYS: u32 = 4;
export const FRAGMENT_ENTRY_BYTES: usize = 128;
/** Linux's time for the reassembly of IPv4; hosts wait 15 to 120 s (RFC 791, RFC 1122), 60 for IPv6
 * (RFC 8200). */
const IDLE_MS: u32 = 30_000;
/** What follows a first fragment, headers of the fragments aside: no datagram is longer. */
const FOLLOWING_BYTES_MAX: u32 = 65_536;
/** The least that a later fragment counts: its payload's unit. */
const UNIT_BYTES: u32 = 8;

//   0       4      8          12         16            48               80
//   ┌───────┬──────┬──────────┬──────────┬─────────────┬────────────────┬───────────────────────┐
//   │ state │ seen │ fragment │ endpoint │ source,     │ what they      │ rule, backend, bytes, │
//   │       │      │          │          │ destination │ become         │ delta, family …       │
//   └───────┴──────┴──────────┴──────────┴─────────────┴────────────────┴───────────────────────┘
@unmanaged
class FragmentEntry {
  state: u32; // atomic: odd while being written
  seen: u32; // tick of the last fragment
  fragment: u32; // Detail.fragment
  endpoint: u32; // the sender's identity
  first0: u64; // source and destination as they come; IPv4 in the first 8 bytes
  first1: u64;
  first2: u64;
  first3: u64;
  then0: u64; // and as they go on
  then1: u64;
  then2: u64;
  then3: u64;
  rule: u32;
  backend: u32;
  bytes: u32; // atomic: payload that has followed
  delta: u16; // of the addresses
  family: u8; // 4 or 6, 0 = empty
  rewritten: u8; // bits of Rewritten
  peer: u16;
  direction: u8;
  pad0: u8;
  far: u32; // identity of the endpoint that they go to, NO_ENDPOINT: beyond
  pad2: u64;
  pad3: u64;
  pad4: u64;
}
const PAIR: usize = 16, THEN: usize = 48, BYTES: usize = 88;
if (offsetof<FragmentEntry>() != FRAGMENT_ENTRY_BYTES) ERROR("FragmentEntry is not two lines long");
if (offsetof<FragmentEntry>("first0") != PAIR) ERROR("FragmentEntry.first0");
if (offsetof<FragmentEntry>("then0") != THEN) ERROR("FragmentEntry.then0");
if (offsetof<FragmentEntry>("bytes") != BYTES) ERROR("FragmentEntry.bytes");

/** The first entry of a key's bucket; 0 where there is no table. */
function bucketOf<F>(pair: usize, fragment: u32, endpoint: u32): usize {
  const table = load<u32>(SERVICES, SERVICES_FRAGMENTS);
  if (!table) return 0;
  const r = root();
  const hash = hashTuple<F>(pair, fragment, endpoint, r.seed0, r.seed1);
  const bucket = u32(hash >> 32) & load<u32>(SERVICES, SERVICES_FRAGMENTS_MASK);
  return usize(table) + usize(bucket * FRAGMENT_WAYS) * FRAGMENT_ENTRY_BYTES;
}
// @ts-ignore: decorator
@inline
function entryAt(bucket: usize, way: u32): FragmentEntry {
  return changetype<FragmentEntry>(bucket + usize(way) * FRAGMENT_ENTRY_BYTES);
}
// @ts-ignore: decorator
@inline
function stateOf(e: FragmentEntry): u32 {
  return atomic.load<u32>(changetype<usize>(e));
}
function isFor<F>(e: FragmentEntry, pair: usize, fragment: u32, endpoint: u32): bool {
  return e.family == <u8>(is4<F>() ? 4 : 6) && e.fragment == fragment && e.endpoint == endpoint &&
    !differ<F>(changetype<usize>(e) + PAIR, pair);
}

/**
 * Notes a first fragment that passes, p settled: by session `r`, or by itself where `r` is 0. The
 * window may be rewritten already where `r` is not 0.
 */
export function noteFragment<F>(p: Packet, r: usize, tick: u32): void {
  const d = detailOf(p);
  const direction = u32(p.direction);
  const pair = r ? keyIn<F>(r, direction) : sourceOf<F>(usize(p.window));
  const bucket = bucketOf<F>(pair, d.fragment, p.endpoint);
  if (!bucket) return;
  const e = entryAt(bucket, wayFor<F>(bucket, d, pair, p.endpoint, tick));
  const state = stateOf(e);
  const at = changetype<usize>(e);
  if (state & 1 || atomic.cmpxchg<u32>(at, state, state + 1) != state) return; // another's, now
  e.seen = tick;
  e.fragment = d.fragment;
  e.endpoint = p.endpoint;
  copyPair<F>(at + PAIR, pair);
  const rewritten = r ? changesOf<F>(r) & bitsOf(direction) : 0;
  if (rewritten & <u32>Rewritten.Header) copyTurned<F>(at + THEN, keyIn<F>(r, direction ^ 1));
  e.delta = u16(r ? deltasIn<F>(r, direction) : 0);
  e.rule = p.rule;
  e.backend = r ? backendIn<F>(r) : 0;
  e.family = is4<F>() ? 4 : 6;
  e.rewritten = u8(rewritten);
  e.peer = r ? u16(peerOf<F>(r)) : 0;
  e.direction = u8(direction);
  e.far = r ? endpointOf<F>(keyIn<F>(r, direction ^ 1)) : NO_ENDPOINT;
  e.bytes = 0;
  atomic.xchg<u32>(at, state + 2);
}
/** What a session may do to packets of a direction: only the opener's are passed on to a peer. */
// @ts-ignore: decorator
@inline
function bitsOf(direction: u32): u32 {
  return <u32>Rewritten.Header | (direction ? 0 : <u32>Rewritten.ToPeer);
}

/** Since its last fragment; another worker's clock may be ahead. */
// @ts-ignore: decorator
@inline
function idleMs(e: FragmentEntry, tick: u32): u32 {
  const ahead = tick - e.seen + AHEAD_MS;
  return ahead > AHEAD_MS ? ahead - AHEAD_MS : 0;
}

/** The way that a key has, or else takes: an empty one, or the longest idle. */
function wayFor<F>(bucket: usize, d: Detail, pair: usize, endpoint: u32, tick: u32): u32 {
  let chosen: u32 = 0, longest: u32 = 0;
  for (let i: u32 = 0; i < FRAGMENT_WAYS; i++) {
    const way = (i + d.fragment) & (FRAGMENT_WAYS - 1); // of equals, not always the same
    const e = entryAt(bucket, way);
    if (stateOf(e) & 1) continue;
    if (isFor<F>(e, pair, d.fragment, endpoint)) return way;
    const idle = e.family ? idleMs(e, tick) + 1 : 0xffffffff;
    if (idle > longest) {
      longest = idle;
      chosen = way;
    }
  }
  return chosen;
}

/**
 * Carries a later fragment as its first was: rewritten, p.rewritten, p.direction, p.rule and
 * p.backend set. Fragment; or LaterFragment where the first is not known (any more) or more has
 * followed it than belongs to one datagram.
 */
export function followFragment<F>(g: Generation, p: Packet, tick: u32): Reason {
  const d = detailOf(p);
  const pair = sourceOf<F>(usize(p.window));
  const bucket = bucketOf<F>(pair, d.fragment, p.endpoint);
  if (!bucket) return Reason.LaterFragment;
  for (let way: u32 = 0; way < FRAGMENT_WAYS; way++) {
    const e = entryAt(bucket, way);
    const state = stateOf(e);
    if (state & 1 || !isFor<F>(e, pair, d.fragment, p.endpoint)) continue;
    if (idleMs(e, tick) > IDLE_MS) continue;
    if (!isLive(usize(g.endpoints), g.endpointCount, e.far)) continue;
    if (e.rewritten & <u8>Rewritten.ToPeer && senderOf(p).peer) continue; // passed on but once
    if (follow<F>(p, d, e, state, tick)) return Reason.Fragment;
  }
  return Reason.LaterFragment;
}

function follow<F>(p: Packet, d: Detail, e: FragmentEntry, state: u32, tick: u32): bool {
  const at = changetype<usize>(e);
  const source = load<F>(at, THEN), destination = load<F>(at, THEN + sizeof<F>());
  const rewritten = e.rewritten, delta = u32(e.delta);
  const rule = e.rule, backend = e.backend, peer = e.peer, direction = e.direction;
  const payload = p.length - u32(p.l4);
  const bytes = max((payload + UNIT_BYTES - 1) & ~(UNIT_BYTES - 1), UNIT_BYTES);
  // An exchange orders what was read before it; if another took the entry meanwhile, it shows now.
  const before = atomic.add<u32>(at, bytes, BYTES);
  if (stateOf(e) != state) {
    atomic.sub<u32>(at, bytes, BYTES); // another's by now
    return false;
  }
  if (before + bytes > FOLLOWING_BYTES_MAX) {
    atomic.sub<u32>(at, bytes, BYTES); // or they would wrap in the end
    return false;
  }
  if (e.seen != tick) e.seen = tick;
  const packet = usize(p.window);
  if (rewritten & <u8>Rewritten.Header) {
    store<F>(sourceOf<F>(packet), source);
    store<F>(sourceOf<F>(packet) + sizeof<F>(), destination);
    if (is4<F>()) {
      const sum = load<u16>(packet, ipv4.CHECKSUM);
      store<u16>(packet, u16(adjust(sum, delta)), ipv4.CHECKSUM);
    }
  }
  p.rewritten = rewritten;
  d.peer = peer;
  p.rule = rule;
  p.backend = backend;
  p.direction = direction;
  return true;
}
