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
import { adjust, fold } from "./checksum";
import { backendIn } from "./conntrack";
import { endpointOfInterface, Endpoint } from "./endpoint";
import {
  copyTurned, differ, endpointOf, headerOf, is4, portsOf, sourceOf, unlike,
} from "./family";
import { Generation } from "./generation";
import { hashTuple, scale } from "./hash";
import * as ipv4 from "./header/ipv4";
import * as ipv6 from "./header/ipv6";
import * as tcp from "./header/tcp";
import * as udp from "./header/udp";
import {
  BUCKET_BYTES, BUCKET_ENTRIES, ENDPOINTS_MAX, EndpointKind, FRAME_SLOTS, FRAME_WINDOWS,
  GenerationFlag, LIFE_MASK, Life, NO_ENDPOINT, Reason, Rewritten, SESSION4_PROTOCOL,
  SESSION6_PROTOCOL, SESSION_RULE, SESSION_SEEN, SESSION_STATE, SessionFlag, SLOT_BACKEND,
  SLOT_BYTES, SLOT_FLAGS, SLOT_INTERFACE, SLOT_NEW_LENGTH, SLOT_PACKET_LENGTH, SLOT_PEER,
  SLOT_RULE, SLOT_SESSION, SLOT_VERDICT, SLOT_WINDOW_LENGTH, SlotFlag, Verdict, WINDOW_BYTES,
} from "./layout";
import { prefetch } from "./lookup";
import { BUCKETS4, ENDS, ENTRIES, HASHES, LINES, PEERS, REST } from "./packet";
import { deltasIn } from "./rewrite";
import { root, tableOf } from "./root";
import { keyIn, recordAt, tagOf, waysWith } from "./session";

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

// @ts-ignore: decorator
@inline
function protocolOf<F>(packet: usize): u32 {
  return u32(load<u8>(packet, is4<F>() ? ipv4.PROTOCOL : ipv6.NEXT_HEADER));
}
/** The packet's length by its own header. */
// @ts-ignore: decorator
@inline
function lengthOf<F>(packet: usize): u32 {
  const at = is4<F>() ? ipv4.TOTAL_LENGTH : ipv6.PAYLOAD_LENGTH;
  const length = (u32(load<u8>(packet, at)) << 8) | u32(load<u8>(packet, at + 1));
  return is4<F>() ? length : length + ipv6.HEADER_BYTES;
}
/** Is the L3 header plain? */
// @ts-ignore: decorator
@inline
function isPlain<F>(packet: usize, head: u64): bool {
  // version 4, five words; no fragment
  if (is4<F>()) return (head & 0xff3f0000000000ff) == 0x45;
  if ((head & 0xf0) != 0x60) return false;
  return !ipv6.isMapped(packet + ipv6.SOURCE) && !ipv6.isMapped(packet + ipv6.DESTINATION);
}
/** Checksum and TTL, where no one has looked at them yet. */
// @ts-ignore: decorator
@inline
function isRight<F>(packet: usize, head: u64): bool {
  if (!is4<F>()) return head >> 56 != 0;
  return ipv4.headerSum(packet) == 0xffff && load<u8>(packet, ipv4.TIME_TO_LIVE) != 0;
}

/** Hash, bucket number and sender's identity of every packet; NOBODY for what is not plain. */
function parsePlain<F>(g: Generation, frame: usize, count: u32): void {
  store<u32>(frame + PEERS, 0);
  let afterSyn: u32 = 0;
  let window = frame + FRAME_WINDOWS, slot = frame + FRAME_SLOTS;
  const end = frame + (usize(count) << 2);
  for (let at = frame; at < end;) {
    // A run of packets from one interface.
    const index = load<u32>(slot, SLOT_INTERFACE);
    const e = endpointOfInterface(usize(g.endpoints), g.endpointCount, index);
    const identity = e ? identityFor<F>(g, frame, changetype<Endpoint>(e)) : NOBODY;
    const checked: u64 = e && changetype<Endpoint>(e).kind == <u8>EndpointKind.Workload ? -1 : 0;
    const own = e + (is4<F>() ? offsetof<Endpoint>("address4") : offsetof<Endpoint>("address6a"));
    while (true) {
      const protocol = protocolOf<F>(window);
      // Before anything else is asked of it: the pipeline may take it, whatever the lane finds.
      if (protocol != udp.PROTOCOL) afterSyn |= mayOpen<F>(window, protocol);
      store<u32>(at, senderOf<F>(window, slot, protocol, afterSyn, identity, own, checked), ENDS);
      const r = root();
      const ports = load<u32>(window + headerOf<F>());
      const hash = hashTuple<F>(sourceOf<F>(window), ports, protocol, r.seed0, r.seed1);
      store<u32>(at, u32(hash >> 32), HASHES);
      store<u32>(at, scale(u32(hash >> 32), tableOf<F>().bucketCount), BUCKETS4);
      at += 4;
      slot += SLOT_BYTES;
      window += WINDOW_BYTES;
      if (at >= end) return;
      if (load<u32>(slot, SLOT_INTERFACE) != index) break;
    }
  }
}

/** What an endpoint's plain packets bear as their sender; NOBODY where the lane takes none. */
function identityFor<F>(g: Generation, frame: usize, e: Endpoint): u32 {
  if (e.peer) store<u32>(frame + PEERS, 1);
  if (e.inactive) return NOBODY;
  if (e.kind == <u8>EndpointKind.Workload) {
    const own = is4<F>() ? u64(e.address4) : e.address6a | e.address6b;
    return own ? e.identity : NOBODY; // its first address alone is looked at here
  }
  // Untracked policies are asked of every packet of those.
  if (g.flags & GenerationFlag.Untracked) return NOBODY;
  return e.kind == <u8>EndpointKind.Uplink ? NO_ENDPOINT : e.identity;
}

/** Not 0 of what is no UDP where it bears a SYN, or a header too long to see it here. */
// @ts-ignore: decorator
@inline
function mayOpen<F>(packet: usize, protocol: u32): u32 {
  if (protocol != tcp.PROTOCOL) return is4<F>() ? 0 : u32(ipv6.isExtension(protocol));
  const syn = u32(load<u8>(packet + headerOf<F>(), tcp.FLAGS)) & tcp.SYN;
  return is4<F>() ? syn | ((u32(load<u8>(packet)) & 15) ^ 5) : syn;
}

/** The sender of a packet that is plain, TCP's flags too; NOBODY of any other. */
// @ts-ignore: decorator
@inline
function senderOf<F>(
  packet: usize, slot: usize, protocol: u32, afterSyn: u32, identity: u32, own: usize,
  checked: u64,
): u32 {
  const header = headerOf<F>();
  const l4 = packet + header;
  const head = load<u64>(packet);
  if (!isPlain<F>(packet, head)) return NOBODY;
  const valid = u32(load<u16>(slot, SLOT_WINDOW_LENGTH));
  if (valid > u32(WINDOW_BYTES)) return NOBODY;
  if (valid < header + udp.HEADER_BYTES) return NOBODY;
  if (!(load<u8>(slot, SLOT_FLAGS) & <u8>SlotFlag.Checked)) {
    if (!isRight<F>(packet, head)) return NOBODY;
  }
  if (unlike<F>(own, sourceOf<F>(packet)) & checked) return NOBODY;
  const length = lengthOf<F>(packet);
  if (length > load<u32>(slot, SLOT_PACKET_LENGTH)) return NOBODY;
  store<u32>(slot, length, SLOT_NEW_LENGTH); // whoever drops it says otherwise
  if (protocol == udp.PROTOCOL) {
    const bytes = (u32(load<u8>(l4, udp.LENGTH)) << 8) | u32(load<u8>(l4, udp.LENGTH + 1));
    if (bytes < udp.HEADER_BYTES) return NOBODY;
    if (header + bytes > length) return NOBODY;
    return identity;
  }
  if (protocol != tcp.PROTOCOL) return NOBODY;
  if (valid < header + tcp.HEADER_BYTES) return NOBODY;
  if (afterSyn) return NOBODY;
  const flags = u32(load<u8>(l4, tcp.FLAGS));
  // an ACK alone, with PSH and URG as they come
  if ((flags & (tcp.FIN | tcp.SYN | tcp.RST | tcp.ACK)) != tcp.ACK) return NOBODY;
  const offset = tcp.headerBytes(l4);
  if (offset < tcp.HEADER_BYTES) return NOBODY;
  if (header + offset > length) return NOBODY;
  return identity;
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
  const endpoints = usize(g.endpoints), endpointCount = g.endpointCount;
  let listed = frame + REST + (usize(rest) << 2);
  let packet = frame + FRAME_WINDOWS + usize(from) * WINDOW_BYTES;
  let slot = frame + FRAME_SLOTS + usize(from) * SLOT_BYTES;
  const end = frame + (usize(to) << 2);
  for (
    let at = frame + (usize(from) << 2); at < end;
    at += 4, slot += SLOT_BYTES, packet += WINDOW_BYTES
  ) {
    const entry = load<u32>(at, ENTRIES);
    const direction = entry & 1;
    const r = recordAt<F>(tableOf<F>(), entry >> 1);
    const key = keyIn<F>(r, direction), other = keyIn<F>(r, 0) + keyIn<F>(r, 1) - key;
    const facts = factsOf<F>(r);
    // Listed first, taken back when carried: one store costs less than a branch that is missed.
    store<u32>(listed, u32(packet));
    listed += 4;
    const different = differ<F>(key, sourceOf<F>(packet)) |
      u64((portsOf<F>(key) ^ load<u32>(packet, is4<F>() ? 20 : 40)) |
        (endpointOf<F>(key) ^ load<u32>(at, ENDS)) | ((facts ^ protocolOf<F>(packet)) & 0xff) |
        ((load<u32>(r, SESSION_STATE) & (LIFE_MASK | CLOSING)) ^ <u32>Life.Live));
    if (different) continue;
    const far = endpointOf<F>(other); // isLive() in branches, which cost less here than its bool
    if (far != NO_ENDPOINT) {
      if ((far & 0xffff) >= endpointCount) continue;
      if (load<u32>(endpoints + (usize(far & 0xffff) << 6)) != far) continue;
    }
    if (facts & (Rewritten.ToPeer << 8)) {
      // Passed on but once; and a packet that was may end the session for those behind it.
      if (isForPipeline(frame, r, facts & 0xff)) continue;
      store<u16>(slot, u16(facts >> 16), SLOT_PEER);
    }
    listed -= 4;
    if (load<u32>(r, SESSION_SEEN) != tick) store<u32>(r, tick, SESSION_SEEN);
    if (facts & (Rewritten.Header << 8)) {
      rewritePlain<F>(packet, slot, r, other, direction, facts & 0xff);
    }
    const verdict = <u32>Verdict.Pass | (<u32>Reason.Established << 8);
    store<u32>(slot, verdict | ((facts & 0xff00) << 8) | (direction << 24), SLOT_VERDICT);
    store<u32>(slot, load<u32>(r, SESSION_RULE), SLOT_RULE);
    store<u32>(slot, u32(r), SLOT_SESSION);
    store<u32>(slot, backendIn<F>(r), SLOT_BACKEND);
  }
  return u32(listed - frame - REST) >> 2;
}

/** A session's protocol, what it changes and its peer, from the low end. */
// @ts-ignore: decorator
@inline
function factsOf<F>(r: usize): u32 {
  return load<u32>(r, is4<F>() ? SESSION4_PROTOCOL : SESSION6_PROTOCOL);
}

/** Of a session that passes packets on: also TCP's second segment, which is noted as an answer. */
function isForPipeline(frame: usize, r: usize, protocol: u32): bool {
  if (load<u32>(frame + PEERS)) return true;
  return protocol == tcp.PROTOCOL && !(load<u32>(r, SESSION_STATE) & SessionFlag.SynReturn);
}

/** As rewrite.ts, for TCP and UDP behind a plain header; rewriteSum() at fixed places. */
// @ts-ignore: decorator
@inline
function rewritePlain<F>(
  packet: usize, slot: usize, r: usize, other: usize, direction: u32, protocol: u32,
): void {
  const deltas = deltasIn<F>(r, direction);
  const addresses = deltas & 0xffff;
  copyTurned<F>(sourceOf<F>(packet), other);
  if (is4<F>()) {
    store<u16>(packet, u16(adjust(load<u16>(packet, 10), addresses)), ipv4.CHECKSUM);
  }
  const l4 = packet + headerOf<F>();
  store<u32>(l4, rotl<u32>(portsOf<F>(other), 16));
  if (protocol == udp.PROTOCOL) {
    const old = u32(load<u16>(l4, udp.CHECKSUM));
    if (load<u8>(slot, SLOT_FLAGS) & <u8>SlotFlag.PartialChecksum) {
      store<u16>(l4, u16(fold(old + addresses)), udp.CHECKSUM);
    } else if (old != 0) {
      const sum = adjust(old, deltas >> 16);
      store<u16>(l4, u16(sum), udp.CHECKSUM);
      if (sum == 0) store<u16>(l4, 0xffff, udp.CHECKSUM);
    }
    return;
  }
  const old = u32(load<u16>(l4, tcp.CHECKSUM));
  const partial = load<u8>(slot, SLOT_FLAGS) & <u8>SlotFlag.PartialChecksum;
  const sum = partial ? fold(old + addresses) : adjust(old, deltas >> 16);
  store<u16>(l4, u16(sum), tcp.CHECKSUM);
}
