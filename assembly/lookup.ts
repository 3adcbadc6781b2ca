// The look-up stage: packets of one family against the session table, in three steps. Between two
// of them lies a chunk of other packets' work (pipeline.ts), while the lines come from memory.
//
//   hashes (parse) ─► fetch buckets ─ ─ ► tags, first candidate ─► fetch records ─ ─ ► compare
//                                                              │ not it: both buckets, in full
//
// Leaves p.session and p.direction, 0 where there is no usable session. A session is usable when
// the packet comes from the end that its direction says and both ends are live; the rest is for
// settle. The steps are functions of their own, not inlined: each then has its bases in registers.
import { endsLive, fromItsEnd } from "./conntrack";
import { Endpoint, isLive } from "./endpoint";
import { differ, endpointOf, is4, portsAndEndpoint, sourceOf } from "./family";
import { Generation } from "./generation";
import { scale } from "./hash";
import * as tcp from "./header/tcp";
import {
  BUCKET_BYTES, BUCKET_ENTRIES, LIFE_MASK, Life, Rewritten, SESSION_STATE, SessionFlag,
} from "./layout";
import { LINES, Packet, packetAt, PACKET_PORTS, UNFOUND } from "./packet";
import { changesOf } from "./rewrite";
import { SessionTable, tableOf } from "./root";
import { findPacket, keyIn, protocolIn, recordAt, tagOf, waysWith } from "./session";
import { isClosed } from "./tcpstate";

@external("host", "prefetch")
export declare function prefetch(
  base: usize, indexArray: usize, mask: u32, stride: u32, count: u32,
): void;

/** First step: the buckets of n packets are on their way. */
// @ts-ignore: decorator
@inline
export function fetchBuckets<F>(buckets: usize, n: u32): void {
  if (n) prefetch(tableOf<F>().buckets, buckets, -1, 4, n);
}

/** Second step: their tags, and their candidates' records are on their way. */
// @ts-ignore: decorator
@inline
export function fetchRecords<F>(frame: usize, list: usize, n: u32): void {
  if (n == 0) return;
  matchTags<F>(frame, list, n);
  const records = tableOf<F>().records;
  prefetch(records, frame + LINES, -1, 4, n);
  if (!is4<F>()) prefetch(records + 64, frame + LINES, -1, 4, n);
}

/** Third step: sessions. Not 0 when any of the packets has to be decided. */
// @ts-ignore: decorator
@inline
export function findSessions<F>(g: Generation, frame: usize, list: usize, n: u32): u32 {
  if (n == 0) return 0;
  const t = tableOf<F>();
  const left = compare<F>(g, frame, list, n);
  const unfound = left >> 1;
  if (unfound > 1) fetchSeconds<F>(frame, unfound);
  for (let k: u32 = 0; k < unfound; k++) findSlowly<F>(t, g, packetAt(frame + UNFOUND, k));
  return left;
}

/** The second buckets of what the first did not answer, before they are looked through. */
function fetchSeconds<F>(frame: usize, n: u32): void {
  const t = tableOf<F>();
  for (let k: u32 = 0; k < n; k++) {
    const hash = packetAt(frame + UNFOUND, k).hash;
    store<u32>(frame + LINES + (usize(k) << 2), scale(u32(hash), t.bucketCount));
  }
  prefetch(t.buckets, frame + LINES, -1, 4, n);
}

/** The first way of the first bucket that bears the tag. Its entry is read plainly: the record that
 * it names depends on it, and is compared in full. */
function matchTags<F>(frame: usize, list: usize, n: u32): void {
  const t = tableOf<F>();
  const buckets = usize(t.buckets);
  const count = t.bucketCount;
  for (let k: u32 = 0; k < n; k++) {
    const p = packetAt(list, k);
    const hash = p.hash;
    const bucket = buckets + usize(scale(u32(hash >> 32), count)) * BUCKET_BYTES;
    const ways = waysWith(bucket, tagOf(hash));
    // Without a match, ctz gives 32: masked to way 0, whose entry is then not believed.
    const found = load<u32>(bucket + (usize(ctz(ways) & 15) << 2), BUCKET_ENTRIES);
    const entry = ways ? found : 0;
    p.entry = entry;
    store<u32>(frame + LINES + (usize(k) << 2), is4<F>() ? entry >> 1 : entry & ~1);
  }
}

/** Returns unfound << 1 | whether a hit has to be decided all the same. */
function compare<F>(g: Generation, frame: usize, list: usize, n: u32): u32 {
  const records = usize(tableOf<F>().records);
  const endpoints = usize(g.endpoints), endpointCount = g.endpointCount;
  let unfound: u32 = 0;
  let judged: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = packetAt(list, k);
    const entry = p.entry;
    const r = records + (usize(entry >> 1) << (is4<F>() ? 6 : 7));
    const direction = entry & 1;
    const key = keyIn<F>(r, direction);
    // Without a candidate this is record 0, which is never used and never lives.
    const state = load<u32>(r, SESSION_STATE);
    const different = differ<F>(key, sourceOf<F>(p.window)) |
      (portsAndEndpoint<F>(key) ^ load<u64>(changetype<usize>(p), PACKET_PORTS)) |
      u64(protocolIn<F>(r) ^ u32(p.protocol)) | u64((state & LIFE_MASK) ^ <u32>Life.Live);
    judged |= u32(mayReopen(p, state)) | (state & SessionFlag.Restored) |
      (changesOf<F>(r) & <u32>Rewritten.ToPeer);
    const far = endpointOf<F>(keyIn<F>(r, direction ^ 1));
    if (!different && isLive(endpoints, endpointCount, far)) {
      p.session = u32(r);
      p.direction = u8(direction);
    } else {
      store<u32>(frame + UNFOUND + (usize(unfound) << 2), u32(changetype<usize>(p)));
      unfound++;
    }
  }
  return (unfound << 1) | u32(judged != 0);
}

/**
 * A hit that is decided like a miss: a SYN, which may open a new connection on a closed session's
 * tuple, and what comes to a closed session, which may be gone when its turn comes.
 */
// @ts-ignore: decorator
@inline
export function mayReopen(p: Packet, state: u32): bool {
  const syn = (p.flags & <u8>(tcp.SYN | tcp.ACK | tcp.RST)) == <u8>tcp.SYN;
  return bool(u32(syn) | (u32(p.protocol == <u8>tcp.PROTOCOL) & u32(isClosed(state))));
}

/**
 * Does a packet that another node has passed on meet a session that would pass it on again? It is
 * decided anew: this node has to serve it.
 */
// @ts-ignore: decorator
@inline
export function isPassedOn<F>(p: Packet, r: usize): bool {
  if (!(changesOf<F>(r) & Rewritten.ToPeer) || p.direction) return false;
  return changetype<Endpoint>(usize(p.sender)).peer != 0;
}

/** The rest of the first bucket, and the second. */
function findSlowly<F>(t: SessionTable, g: Generation, p: Packet): void {
  const entry = findPacket<F>(t, p);
  if (!entry) return;
  const r = recordAt<F>(t, entry >> 1);
  p.direction = u8(entry & 1);
  if (fromItsEnd<F>(p, r) && endsLive<F>(g, r)) p.session = u32(r);
  else p.direction = 0;
}
