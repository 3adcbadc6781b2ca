// The pipeline's first steps: a packet of the rest is parsed, its endpoint found, its source
// checked, its key hashed; it is listed by family. Untracked policies are asked before anything
// else.
import { holds } from "./classes";
import { Detail, detailOf, Part } from "./detail";
import { Endpoint, endpointAt, endpointOfInterface, ownerOf, ownsFirst } from "./endpoint";
import { destinationOf, is4, sourceOf, V4, V6 } from "./family";
import { Generation } from "./generation";
import { hashTuple, scale } from "./hash";
import * as icmp from "./header/icmp";
import * as ipv6 from "./header/ipv6";
import { judgeUntracked } from "./judge";
import { EndpointKind, FRAME_SLOTS, FRAME_WINDOWS, NO_ENDPOINT, Reason, Stage } from "./layout";
import { BUCKETS4, BUCKETS6, LIST4, LIST6, Packet, packetAt, PACKETS, REST } from "./packet";
import { classOfAddress } from "./members";
import { FRAGMENTED, parse } from "./parser";
import { clearStages, countStages, stagesOf } from "./policy";
import { hashQuoted } from "./related";
import { root, tableOf } from "./root";
import { Slot } from "./slot";
import { Worker } from "./worker";

/** The working record of the k-th packet of the rest. */
// @ts-ignore: decorator
@inline
export function working(frame: usize, k: u32): Packet {
  return changetype<Packet>(frame + PACKETS + (usize(k) << 6));
}

// @ts-ignore: decorator
@inline
function clear(p: Packet): void {
  store<u64>(changetype<usize>(p), 0, offsetof<Packet>("entry")); // and session
  store<u64>(changetype<usize>(p), 0, offsetof<Packet>("rule")); // and backend
  // decision, direction, reason, rewritten, length
  store<u64>(changetype<usize>(p), 0, offsetof<Packet>("decision"));
  // translation, part, quoted, answer, peer
  const d = changetype<usize>(detailOf(p));
  store<u64>(d, 0, offsetof<Detail>("translation"));
  store<u16>(d, 0, offsetof<Detail>("readmission")); // and asItIs
}

/**
 * Parses packets of the rest, finds their endpoints, checks their sources, hashes their keys and
 * lists them by family. `listed` holds how many of each family are listed already; the new count
 * goes behind it.
 */
export function parseAll(g: Generation, frame: usize, from: u32, to: u32, listed: usize): void {
  const endpoints = usize(g.endpoints), endpointCount = g.endpointCount;
  let n4 = load<u32>(listed), n6 = load<u32>(listed, 4);
  for (let k = from; k < to; k++) {
    const p = working(frame, k);
    const window = usize(load<u32>(frame + REST + (usize(k) << 2)));
    const slot = changetype<Slot>(frame + FRAME_SLOTS + ((window - frame - FRAME_WINDOWS) >> 2));
    clear(p);
    p.slot = u32(changetype<usize>(slot));
    p.window = u32(window);
    clearStages(p);
    const at = endpointOfInterface(endpoints, endpointCount, slot.interface);
    if (!at) {
      p.reason = <u8>Reason.UnknownEndpoint;
      continue;
    }
    const reason = parse(p, slot, window);
    p.reason = u8(reason);
    if (reason != Reason.None) continue;
    const e = changetype<Endpoint>(at);
    p.sender = u32(at);
    p.endpoint = e.kind == <u8>EndpointKind.Uplink ? NO_ENDPOINT : e.identity;
    p.reason = u8(p.family == 4 ? mayEnter<V4>(g, e, p) : mayEnter<V6>(g, e, p));
    if (p.reason) continue;
    if (p.family == 4) list<V4>(p, frame, n4++);
    else list<V6>(p, frame, n6++);
  }
  store<u32>(listed, n4, 8);
  store<u32>(listed, n6, 12);
}

/**
 * The checks in front of everything: an inactive endpoint's packets go no further; neighbour and
 * listener discovery that is not to be forwarded passes unasked; an uplink's and the host's packets
 * bear any address, a workload's one of its own or of its allowed prefixes.
 */
// @ts-ignore: decorator
@inline
function mayEnter<F>(g: Generation, e: Endpoint, p: Packet): Reason {
  if (e.inactive) return Reason.EndpointInactive;
  const packet = usize(p.window);
  if (!is4<F>() && p.icmp >= 0 && p.flags != FRAGMENTED) { // RFC 6980: never in fragments
    const hopLimit = u32(load<u8>(packet, ipv6.HOP_LIMIT));
    if (icmp.isLinkLocal(u32(p.icmp) >> 8, hopLimit) && staysHere(g, packet)) {
      return Reason.NeighbourDiscovery;
    }
  }
  if (e.kind != <u8>EndpointKind.Workload) return Reason.None;
  const source = sourceOf<F>(packet);
  const own = ownsFirst<F>(e, source) || ownerOf<F>(g, source) == (e.identity & 0xffff) + 1;
  return own || mayPose<F>(e, source) ? Reason.None : Reason.SpoofedSource;
}
/** Is the packet for the link or for the host, so that nobody forwards it? */
function staysHere(g: Generation, packet: usize): bool {
  const to = destinationOf<V6>(packet);
  if (ipv6.isLinkScope(to)) return true;
  const owner = ownerOf<V6>(g, to);
  return owner != 0 && endpointAt(g, owner - 1).kind == <u8>EndpointKind.Host;
}
/** Is an address in the set that a workload may also send from? */
function mayPose<F>(e: Endpoint, source: usize): bool {
  if (!e.allowedSources) return false;
  return holds(classOfAddress<F>(source), u32(e.allowedSources) - 1);
}

/** Asks untracked policies about a chunk's packets; what they settle leaves the lists. */
export function askUntracked<F>(
  w: Worker, g: Generation, frame: usize, lists: usize, buckets: usize, listed: usize,
  nowSeconds: u32,
): void {
  const to = load<u32>(listed, 8);
  let kept = load<u32>(listed);
  for (let k = kept; k < to; k++) {
    const p = packetAt(frame + lists, k);
    const reason = judgeUntracked<F>(w, g, p, nowSeconds);
    const isFirst = detailOf(p).part == <u8>Part.First;
    if (reason == Reason.Untracked && isFirst) {
      p.decision = <u8>Reason.Untracked; // settled in its turn, for later ones follow it
    } else {
      p.reason = u8(reason);
      if (reason != Reason.None) continue;
    }
    const from = frame + (usize(k) << 2), at = frame + (usize(kept) << 2);
    store<u32>(at + lists, load<u32>(from + lists));
    store<u32>(at + buckets, load<u32>(from + buckets));
    kept++;
  }
  store<u32>(listed, kept, 8);
}

/** Hashes a packet's key and puts it into its family's list at place n. */
// @ts-ignore: decorator
@inline
function list<F>(p: Packet, frame: usize, n: u32): void {
  const r = root();
  const d = detailOf(p);
  p.hash = d.quoted
    ? hashQuoted<F>(p, d)
    : hashTuple<F>(sourceOf<F>(p.window), p.ports, p.protocol, r.seed0, r.seed1);
  const at = frame + (usize(n) << 2);
  store<u32>(at, u32(changetype<usize>(p)), is4<F>() ? LIST4 : LIST6);
  const bucket = scale(u32(p.hash >> 32), tableOf<F>().bucketCount);
  store<u32>(at, bucket, is4<F>() ? BUCKETS4 : BUCKETS6);
}

/** Packets that untracked policies settled come to no other place that counts rules. */
export function countUntracked(frame: usize, from: u32, to: u32): void {
  for (let k = from; k < to; k++) {
    const p = working(frame, k);
    const stages = stagesOf(p);
    const into = load<u32>(stages, Stage.Untracked * 4);
    const out = load<u32>(stages, Stage.UntrackedOut * 4);
    if ((into | out) && p.reason && !p.decision) countStages(p);
  }
}
