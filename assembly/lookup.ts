// The look-up stage: a frame's packets of one family against the session table, each step for all
// packets before the next, with a prefetch between, so that their cache misses overlap.
//
//   hash ─► prefetch buckets ─► tags, first candidate ─► prefetch records ─► compare
//                                                              │ not it: both buckets, in full
//
// Leaves p.session and p.direction; 0 where there is no usable session.
import { endsLive } from "./conntrack";
import { destinationOf, is4, sourceOf } from "./family";
import { Generation } from "./generation";
import { hashTuple, scale } from "./hash";
import { BUCKETS, LINES, Packet, packetAt, UNFOUND } from "./packet";
import { root, SessionTable, tableOf } from "./root";
import { entryOf, findPacket, firstBucket, matches, recordAt, tagOf, waysWith } from "./session";

@external("host", "prefetch")
declare function prefetch(
  base: usize, indexArray: usize, mask: u32, stride: u32, count: u32,
): void;

/** Looks up the n packets of a list. */
// @ts-ignore: decorator
@inline
export function lookUp<F>(g: Generation, frame: usize, list: usize, n: u32): void {
  if (n == 0) return;
  const t = tableOf<F>();
  hashAll<F>(t, frame, list, n);
  prefetch(t.buckets, frame + BUCKETS, -1, 4, n);
  matchTags<F>(t, frame, list, n);
  prefetch(t.records, frame + LINES, -1, 4, n);
  if (!is4<F>()) prefetch(t.records + 64, frame + LINES, -1, 4, n);
  const unfound = compare<F>(t, g, frame, list, n);
  for (let k: u32 = 0; k < unfound; k++) findSlowly<F>(t, g, packetAt(frame + UNFOUND, k));
}

// @ts-ignore: decorator
@inline
function hashAll<F>(t: SessionTable, frame: usize, list: usize, n: u32): void {
  const seed0 = root().seed0, seed1 = root().seed1;
  const buckets = t.bucketCount;
  for (let k: u32 = 0; k < n; k++) {
    const p = packetAt(list, k);
    const packet = usize(p.window);
    const hash = hashTuple<F>(
      sourceOf<F>(packet), destinationOf<F>(packet), p.ports, p.protocol, seed0, seed1,
    );
    p.hash = hash;
    store<u32>(frame + BUCKETS + (usize(k) << 2), scale(u32(hash >> 32), buckets));
  }
}

// @ts-ignore: decorator
@inline
function matchTags<F>(t: SessionTable, frame: usize, list: usize, n: u32): void {
  for (let k: u32 = 0; k < n; k++) {
    const p = packetAt(list, k);
    const bucket = firstBucket(t, p.hash);
    const ways = waysWith(bucket, tagOf(p.hash));
    // Without a match, ctz gives 32: masked to way 0, whose entry is then not believed.
    const entry = entryOf(bucket, ctz(ways) & 15);
    p.entry = ways ? entry : 0;
    const line = is4<F>() ? entry >> 1 : entry & ~1;
    store<u32>(frame + LINES + (usize(k) << 2), ways ? line : 0);
  }
}

// @ts-ignore: decorator
@inline
function compare<F>(
  t: SessionTable, g: Generation, frame: usize, list: usize, n: u32,
): u32 {
  let unfound: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const p = packetAt(list, k);
    const entry = p.entry;
    const packet = usize(p.window);
    const from = sourceOf<F>(packet), to = destinationOf<F>(packet);
    const r = recordAt<F>(t, entry >> 1);
    if (entry && matches<F>(r, entry & 1, from, to, p.ports, p.protocol) && endsLive<F>(g, r)) {
      p.session = u32(r);
      p.direction = u8(entry & 1);
    } else {
      p.session = 0;
      store<u32>(frame + UNFOUND + (usize(unfound) << 2), u32(changetype<usize>(p)));
      unfound++;
    }
  }
  return unfound;
}

/** The rest of the first bucket, and the second. */
function findSlowly<F>(t: SessionTable, g: Generation, p: Packet): void {
  const entry = findPacket<F>(t, p);
  if (!entry) return;
  const r = recordAt<F>(t, entry >> 1);
  if (!endsLive<F>(g, r)) return;
  p.session = u32(r);
  p.direction = u8(entry & 1);
}
