// The fast lane: plain TCP and UDP packets of established sessions, of one family, in three loops
// over flat arrays. What it carries is done, slot and all; the rest is listed in packet order,
// untouched, and goes through the pipeline in full. It carries nothing that the pipeline would not
// pass.
//
//   parse: plain header, own source, hash ─► fetch buckets ─ ► tags ─► fetch records ─ ► carry
//
// Left to the pipeline: misses, entries that are not the first with their tag, SYN, FIN and RST,
// closing, restored and picked-up sessions, other protocols, odd headers, endpoints that went or
// are inactive, and what untracked policies are asked of. Behind a SYN, or a header too long to see
// it here, every TCP packet of the frame is left too: the SYN may replace its session, and what
// trails must meet the new one.
//
// Conditions are single branches on purpose: compilers make longer chains of `&&` than they undo.
import { adjust } from "./checksum";
import { backendIn } from "./conntrack";
import { endpointOfInterface, Endpoint, isLive } from "./endpoint";
import {
  copyTurned, differ, endpointOf, headerOf, is4, isZero, portsOf, sameAddress, sourceOf,
} from "./family";
import { Generation } from "./generation";
import { hashTuple, scale } from "./hash";
import * as ipv4 from "./header/ipv4";
import * as ipv6 from "./header/ipv6";
import * as tcp from "./header/tcp";
import * as udp from "./header/udp";
import {
  BUCKET_BYTES, BUCKET_ENTRIES, ENDPOINTS_MAX, EndpointKind, FRAME_SLOTS, FRAME_WINDOWS,
  GenerationFlag, LIFE_MASK, Life, NO_ENDPOINT, Reason, Rewritten, SESSION_RULE, SESSION_SEEN,
  SESSION_STATE, SessionFlag, SLOT_BACKEND, SLOT_FLAGS, SLOT_INTERFACE, SLOT_PACKET_LENGTH,
  SLOT_PEER, SLOT_RULE, SLOT_VERDICT, SLOT_WINDOW_LENGTH, SlotFlag, Verdict, WINDOW_BYTES,
} from "./layout";
import { prefetch } from "./lookup";
import { BUCKETS4, ENDS, ENTRIES, HASHES, LINES, PEERS, REST } from "./packet";
import { changesOf, deltasIn, peerOf, rewriteSum } from "./rewrite";
import { root, tableOf } from "./root";
import { keyIn, protocolIn, recordAt, tagOf, waysWith } from "./session";

/**
 * Packets whose lines are asked for at once. More than some twenty misses at a time wait for each
 * other: at a million sessions in random order 16 to 28 measured alike, 64 half as dear again.
 */
export const BURST: u32 = 24;
/** No endpoint's identity, for no index is 0xffff: a packet that is not for the fast lane. */
const NOBODY: u32 = 0xffff;
if (ENDPOINTS_MAX > 0xffff) ERROR("NOBODY may be an endpoint's identity");
const CLOSING: u32 = SessionFlag.FinForward | SessionFlag.FinReturn | SessionFlag.Reset |
  SessionFlag.Restored | SessionFlag.PickedUp;

/** Carries what it can of a frame; returns how many packets are left, listed at REST. */
export function fastLane<F>(g: Generation, frame: usize, count: u32, tick: u32): u32 {
  parsePlain<F>(g, frame, count);
  const t = tableOf<F>();
  prefetch(t.buckets, frame + BUCKETS4, -1, 4, min(count, BURST));
  let rest: u32 = 0;
  for (let from: u32 = 0; from < count + BURST; from += BURST) {
    if (from < count) {
      const to = min(from + BURST, count);
      const next = min(to + BURST, count);
      if (next > to) prefetch(t.buckets, frame + BUCKETS4 + (usize(to) << 2), -1, 4, next - to);
      matchPlain<F>(frame, from, to);
      const lines = frame + LINES + (usize(from) << 2);
      prefetch(t.records, lines, -1, 4, to - from);
      if (!is4<F>()) prefetch(t.records + 64, lines, -1, 4, to - from);
    }
    if (from) rest = carryPlain<F>(g, frame, from - BURST, min(from, count), tick, rest);
  }
  return rest;
}

/** Is the L3 header plain and right? `head` are its first 8 bytes. */
// @ts-ignore: decorator
@inline
function isPlain<F>(packet: usize, head: u64, unchecked: bool): bool {
  if (is4<F>()) {
    // version 4, five words; no fragment
    if ((head & 0xff3f0000000000ff) != 0x45) return false;
    if (!unchecked) return true;
    return ipv4.headerSum(packet) == 0xffff && load<u8>(packet, ipv4.TIME_TO_LIVE) != 0;
  }
  if ((head & 0xf0) != 0x60) return false;
  if (unchecked && head >> 56 == 0) return false;
  return !ipv6.isMapped(packet + ipv6.SOURCE) && !ipv6.isMapped(packet + ipv6.DESTINATION);
}
// @ts-ignore: decorator
@inline
function lengthOf<F>(packet: usize): u32 {
  const at = packet + (is4<F>() ? ipv4.TOTAL_LENGTH : ipv6.PAYLOAD_LENGTH);
  const length = (u32(load<u8>(at)) << 8) | u32(load<u8>(at, 1));
  return is4<F>() ? length : length + ipv6.HEADER_BYTES;
}
// @ts-ignore: decorator
@inline
function protocolOf<F>(packet: usize): u32 {
  return u32(load<u8>(packet, is4<F>() ? ipv4.PROTOCOL : ipv6.NEXT_HEADER));
}

/** Hash, bucket number and sender's identity of every plain packet; NOBODY for the others. */
function parsePlain<F>(g: Generation, frame: usize, count: u32): void {
  const endpoints = usize(g.endpoints), endpointCount = g.endpointCount;
  const header = headerOf<F>();
  let known: u32 = 0, own: usize = 0, uplink = false, identity: u32 = NOBODY;
  let afterSyn = false;
  store<u32>(frame + PEERS, 0);
  const untracked = (g.flags & GenerationFlag.Untracked) != 0;
  let window = frame + FRAME_WINDOWS, slot = frame + FRAME_SLOTS;
  const end = frame + (usize(count) << 2);
  for (let at = frame; at < end; slot += 32, window += WINDOW_BYTES, at += 4) {
    store<u32>(at, NOBODY, ENDS);
    store<u32>(at, 0, BUCKETS4);
    const packet = window;
    const protocol = protocolOf<F>(packet);
    const l4 = packet + header;
    // Before anything else is asked of it: the pipeline may still take it, whatever the lane finds.
    const syn = load<u8>(l4, tcp.FLAGS) & <u8>tcp.SYN;
    afterSyn = afterSyn || (protocol == tcp.PROTOCOL && syn != 0);
    const index = load<u32>(slot, SLOT_INTERFACE);
    if (index != known || identity == NOBODY) {
      identity = NOBODY;
      const e = endpointOfInterface(endpoints, endpointCount, index);
      if (!e) continue;
      known = index;
      const sender = changetype<Endpoint>(e);
      const isUplink = sender.kind == <u8>EndpointKind.Uplink;
      uplink = sender.kind != <u8>EndpointKind.Workload; // whose source is not checked
      identity = isUplink ? NO_ENDPOINT : sender.identity;
      // Untracked policies are asked of every packet of those.
      if (sender.inactive || (uplink && untracked)) identity = NOBODY;
      if (sender.peer) store<u32>(frame + PEERS, 1);
      own = e + (is4<F>() ? offsetof<Endpoint>("address4") : offsetof<Endpoint>("address6a"));
    }
    const valid = u32(load<u16>(slot, SLOT_WINDOW_LENGTH));
    if (valid > u32(WINDOW_BYTES)) continue;
    if (valid < header + udp.HEADER_BYTES) continue;
    const unchecked = !(load<u8>(slot, SLOT_FLAGS) & <u8>SlotFlag.Checked);
    if (!isPlain<F>(packet, load<u64>(packet), unchecked)) {
      afterSyn = afterSyn || (is4<F>() && (load<u8>(packet) & 15) != 5); // options
      continue;
    }
    if (!uplink && !sameAddress<F>(own, sourceOf<F>(packet))) continue;
    if (!uplink && isZero<F>(own)) continue;
    const length = lengthOf<F>(packet);
    if (length > load<u32>(slot, SLOT_PACKET_LENGTH)) continue;
    if (protocol == udp.PROTOCOL) {
      const bytes = (u32(load<u8>(l4, udp.LENGTH)) << 8) | u32(load<u8>(l4, udp.LENGTH + 1));
      if (bytes < udp.HEADER_BYTES) continue;
      if (header + bytes > length) continue;
    } else {
      if (protocol != tcp.PROTOCOL) {
        if (!is4<F>()) afterSyn = afterSyn || ipv6.isExtension(protocol);
        continue;
      }
      if (valid < header + tcp.HEADER_BYTES) continue;
      if (afterSyn) continue;
      const flags = u32(load<u8>(l4, tcp.FLAGS));
      // an ACK alone, with PSH and URG as they come
      if ((flags & (tcp.FIN | tcp.SYN | tcp.RST | tcp.ACK)) != tcp.ACK) continue;
      const offset = tcp.headerBytes(l4);
      if (offset < tcp.HEADER_BYTES) continue;
      if (header + offset > length) continue;
    }
    store<u32>(at, identity, ENDS);
    const r = root();
    const hash = hashTuple<F>(sourceOf<F>(packet), load<u32>(l4), protocol, r.seed0, r.seed1);
    store<u32>(at, u32(hash >> 32), HASHES);
    store<u32>(at, scale(u32(hash >> 32), tableOf<F>().bucketCount), BUCKETS4);
  }
}

/** The first way of the first bucket that bears the tag; 0 for what is not plain. */
function matchPlain<F>(frame: usize, from: u32, to: u32): void {
  const buckets = usize(tableOf<F>().buckets);
  const end = frame + (usize(to) << 2);
  for (let at = frame + (usize(from) << 2); at < end; at += 4) {
    const bucket = buckets + usize(load<u32>(at, BUCKETS4)) * BUCKET_BYTES;
    const ways = waysWith(bucket, tagOf(u64(load<u32>(at, HASHES)) << 32));
    const found = load<u32>(bucket + (usize(ctz(ways) & 15) << 2), BUCKET_ENTRIES);
    const entry = ways ? found : 0;
    store<u32>(at, entry, ENTRIES);
    store<u32>(at, is4<F>() ? entry >> 1 : entry & ~1, LINES);
  }
}

/** Carries the packets whose candidate is their session; lists the others behind `rest`. */
function carryPlain<F>(
  g: Generation, frame: usize, from: u32, to: u32, tick: u32, rest: u32,
): u32 {
  const t = tableOf<F>();
  const endpoints = usize(g.endpoints), endpointCount = g.endpointCount;
  const header = headerOf<F>();
  let listed = frame + REST + (usize(rest) << 2);
  let packet = frame + FRAME_WINDOWS + usize(from) * WINDOW_BYTES - WINDOW_BYTES;
  const end = frame + (usize(to) << 2);
  for (let at = frame + (usize(from) << 2); at < end; at += 4) {
    packet += WINDOW_BYTES;
    const entry = load<u32>(at, ENTRIES);
    const direction = entry & 1;
    const r = recordAt<F>(t, entry >> 1);
    const key = keyIn<F>(r, direction), other = keyIn<F>(r, direction ^ 1);
    const protocol = protocolOf<F>(packet);
    // Listed first, taken back when carried: one store costs less than a branch that is missed.
    store<u32>(listed, u32(packet));
    listed += 4;
    const different = differ<F>(key, sourceOf<F>(packet)) |
      u64((portsOf<F>(key) ^ load<u32>(packet, is4<F>() ? 20 : 40)) |
        (endpointOf<F>(key) ^ load<u32>(at, ENDS)) | (protocolIn<F>(r) ^ protocol) |
        ((load<u32>(r, SESSION_STATE) & (LIFE_MASK | CLOSING)) ^ <u32>Life.Live));
    if (different) continue;
    if (!isLive(endpoints, endpointCount, endpointOf<F>(other))) continue;
    const slot = frame + FRAME_SLOTS + ((packet - frame - FRAME_WINDOWS) >> 2);
    const rewritten = changesOf<F>(r);
    // Passed on but once; and a packet that was may end the session for those behind it.
    if (rewritten & Rewritten.ToPeer && isForPipeline(frame, r, protocol)) continue;
    listed -= 4;
    if (load<u32>(r, SESSION_SEEN) != tick) store<u32>(r, tick, SESSION_SEEN);
    if (rewritten & Rewritten.Header) {
      rewritePlain<F>(packet, slot, r, other, direction, protocol, header);
    } else if (rewritten) {
      store<u16>(slot, u16(peerOf<F>(r)), SLOT_PEER);
    }
    const verdict = <u32>Verdict.Pass | (<u32>Reason.Established << 8);
    store<u32>(slot, verdict | (rewritten << 16) | (direction << 24), SLOT_VERDICT);
    store<u64>(slot, u64(load<u32>(r, SESSION_RULE)) | (u64(r) << 32), SLOT_RULE);
    store<u64>(slot, u64(backendIn<F>(r)) | (u64(lengthOf<F>(packet)) << 32), SLOT_BACKEND);
  }
  return u32(listed - frame - REST) >> 2;
}

/** Of a session that passes packets on: also TCP's second segment, which is noted as an answer. */
function isForPipeline(frame: usize, r: usize, protocol: u32): bool {
  if (load<u32>(frame + PEERS)) return true;
  return protocol == tcp.PROTOCOL && !(load<u32>(r, SESSION_STATE) & SessionFlag.SynReturn);
}

/** As rewrite.ts, for TCP and UDP behind a plain header. */
// @ts-ignore: decorator
@inline
function rewritePlain<F>(
  packet: usize, slot: usize, r: usize, other: usize, direction: u32, protocol: u32, header: u32,
): void {
  const deltas = deltasIn<F>(r, direction);
  const addresses = deltas & 0xffff;
  copyTurned<F>(sourceOf<F>(packet), other);
  if (is4<F>()) {
    store<u16>(packet, u16(adjust(load<u16>(packet, 10), addresses)), ipv4.CHECKSUM);
  }
  const l4 = packet + header;
  store<u32>(l4, rotl<u32>(portsOf<F>(other), 16));
  const isUdp = protocol == udp.PROTOCOL;
  const field = l4 + (isUdp ? udp.CHECKSUM : tcp.CHECKSUM);
  rewriteSum(slot, field, addresses, deltas >> 16, isUdp);
}
