// ICMP errors go by the session that they quote: an error comes back for a packet that went out, so
// the quoted packet turned round is a key of the session, and the error is of that key's direction.
//
//   client ─ key 0 ─► VIP … backend        an error about client → backend (behind DNAT) bears
//   client ◄─ key 1 ─ backend              key 1's direction; the client must read client → VIP
//
// Rewritten are the destination, as every packet's of the direction; the source where it is the
// direction's own end (a router keeps its name); in what is quoted both addresses, the ports or the
// echo's identifier, and the checksums that are there, so that a wrong one stays wrong. The ICMP
// checksum then changes by the sum of what was there and is there now.
//
// An error never prolongs a session (RFC 5508, 3.2 and 4.2), and passes by it alone: what quotes no
// session, or comes from a workload that is not the direction's end, or goes to another than who
// sent the quoted packet, is a packet like any other, for policy to judge.
// Source: RFC 5508; Linux's nf_conntrack_proto_icmp.c and nf_nat_proto.c for what is accepted.
import { adjust, deltaOf, fold, sumOf } from "./checksum";
import { backendIn, endsLive } from "./conntrack";
import { crcChange } from "./crc32c";
import { Detail, detailOf } from "./detail";
import { Endpoint } from "./endpoint";
import {
  copyAddress, copyPair, copyTurned, destinationOf, endpointOf, is4, portsOf, sameAddress, sourceOf,
} from "./family";
import { Generation } from "./generation";
import { hashTuple } from "./hash";
import * as icmp from "./header/icmp";
import * as ipv4 from "./header/ipv4";
import * as ipv6 from "./header/ipv6";
import * as sctp from "./header/sctp";
import * as tcp from "./header/tcp";
import * as udp from "./header/udp";
import {
  EndpointKind, Reason, Rewritten, SESSION_RULE,
  SESSION_STATE, SessionFlag, SlotFlag,
} from "./layout";
import { carryUntranslated, isLeaving } from "./leaving";
import { Packet } from "./packet";
import { changesOf, deltasIn, peerOf } from "./rewrite";
import { root, tableOf } from "./root";
import { find, keyIn, recordAt } from "./session";
import { Slot } from "./slot";

/** Carries an ICMP error by the session that it quotes; false where there is none, nothing done. */
export function carryRelated<F>(g: Generation, p: Packet): bool {
  const d = detailOf(p);
  if (!d.quoted) return false;
  const entry = findQuotedSession<F>(p, d);
  if (!entry) return isLeaving(p) && carryUntranslated<F>(g, p, d);
  const r = recordAt<F>(tableOf<F>(), entry >> 1);
  const direction = entry & 1;
  if (!belongs<F>(g, p, r, direction)) return false;
  p.reason = <u8>Reason.Related;
  p.session = u32(r);
  p.direction = u8(direction);
  p.rule = load<u32>(r, SESSION_RULE);
  p.backend = backendIn<F>(r);
  const rewritten = changesOf<F>(r);
  if (rewritten & <u32>Rewritten.ToPeer && direction == 0) {
    p.rewritten = <u8>Rewritten.ToPeer;
    d.peer = u16(peerOf<F>(r));
  } else if (rewritten & <u32>Rewritten.Header) {
    p.rewritten = <u8>Rewritten.Header;
    rewriteError<F>(p, d, r);
  }
  return true;
}

/** Would the session that an ICMP error quotes, as it is now, carry it? */
export function isRelated<F>(g: Generation, p: Packet): bool {
  const d = detailOf(p);
  if (!d.quoted) return false;
  const entry = findQuotedSession<F>(p, d);
  return entry != 0 && belongs<F>(g, p, recordAt<F>(tableOf<F>(), entry >> 1), entry & 1);
}

/**
 * The hash of the quoted packet's key turned round: an error is looked up by it, for its own key
 * is nobody's.
 */
export function hashQuoted<F>(p: Packet, d: Detail): u64 {
  const pair = sourceOf<F>(usize(p.window) + usize(d.quoted));
  const s = root();
  copyTurned<F>(pair, pair);
  const hash = hashTuple<F>(pair, d.quotedPorts, d.quotedProtocol, s.seed0, s.seed1);
  copyTurned<F>(pair, pair);
  return hash;
}

/** The index entry of the quoted packet turned round. Its addresses are turned for the look-up. */
function findQuotedSession<F>(p: Packet, d: Detail): u32 {
  const pair = sourceOf<F>(usize(p.window) + usize(d.quoted));
  copyTurned<F>(pair, pair);
  const entry = find<F>(tableOf<F>(), p.hash, pair, d.quotedPorts, d.quotedProtocol);
  copyTurned<F>(pair, pair);
  return entry;
}

/** May this packet speak about the session? */
function belongs<F>(g: Generation, p: Packet, r: usize, direction: u32): bool {
  if (!endsLive<F>(g, r)) return false;
  // Not judged yet under this program: a session's own packets come first.
  if (atomic.load<u32>(r, SESSION_STATE) & <u32>SessionFlag.Restored) return false;
  const onward = changesOf<F>(r) & <u32>Rewritten.ToPeer && direction == 0;
  if (onward && changetype<Endpoint>(usize(p.sender)).peer) return false; // passed on but once
  const key = keyIn<F>(r, direction);
  const isHost = changetype<Endpoint>(usize(p.sender)).kind == <u8>EndpointKind.Host;
  if (!isHost && endpointOf<F>(key) != p.endpoint) return false; // an uplink speaks for beyond
  return sameAddress<F>(destinationOf<F>(usize(p.window)), key + sizeof<F>());
}

function rewriteError<F>(p: Packet, d: Detail, r: usize): void {
  const packet = usize(p.window);
  const slot = changetype<Slot>(usize(p.slot));
  const direction = u32(p.direction);
  const outer = rewriteOuter<F>(packet, keyIn<F>(r, direction), keyIn<F>(r, direction ^ 1));
  const from = packet + usize(d.quoted);
  const bytes = min(p.length, u32(slot.windowLength)) - u32(d.quoted);
  const before = sumOf(from, bytes);
  rewriteQuoted<F>(p, d, r, u32(d.quoted) + bytes);
  const quoted = (before ^ 0xffff) + sumOf(from, bytes);
  const field = packet + usize(p.l4) + icmp.CHECKSUM;
  const old = u32(load<u16>(field));
  const pseudo = is4<F>() ? 0 : outer; // ICMPv6's covers the addresses
  const partial = slot.flags & <u8>SlotFlag.PartialChecksum;
  const sum = partial ? fold(old + pseudo) : adjust(old, fold(quoted + pseudo));
  store<u16>(field, u16(sum));
}

/** The packet's own addresses; returns what they change a sum by. */
function rewriteOuter<F>(packet: usize, key: usize, other: usize): u32 {
  const source = sourceOf<F>(packet), destination = destinationOf<F>(packet);
  let delta = deltaOf(destination, other, sizeof<F>());
  copyAddress<F>(destination, other);
  if (sameAddress<F>(source, key)) {
    delta = fold(delta + deltaOf(source, other + sizeof<F>(), sizeof<F>()));
    copyAddress<F>(source, other + sizeof<F>());
  }
  if (is4<F>()) {
    store<u16>(packet, u16(adjust(load<u16>(packet, ipv4.CHECKSUM), delta)), ipv4.CHECKSUM);
  }
  return delta;
}

/** The quoted packet, as its sender knows it: the other key as it stands. `end` is the window's. */
function rewriteQuoted<F>(p: Packet, d: Detail, r: usize, end: u32): void {
  const packet = usize(p.window);
  const quoted = packet + usize(d.quoted), upper = packet + usize(d.quotedL4);
  const other = keyIn<F>(r, u32(p.direction) ^ 1);
  const ports = portsOf<F>(other);
  const deltas = deltasIn<F>(r, p.direction);
  const addresses = deltas & 0xffff;
  const there = end - u32(d.quotedL4);
  copyPair<F>(sourceOf<F>(quoted), other);
  if (is4<F>()) {
    store<u16>(quoted, u16(adjust(load<u16>(quoted, ipv4.CHECKSUM), addresses)), ipv4.CHECKSUM);
  }
  const protocol = u32(d.quotedProtocol);
  if (protocol == udp.PROTOCOL) {
    store<u32>(upper, ports);
    const sum = load<u16>(upper, udp.CHECKSUM);
    const now = adjust(sum, deltas >> 16);
    if (sum) store<u16>(upper, u16(now ? now : 0xffff), udp.CHECKSUM);
  } else if (protocol == tcp.PROTOCOL) {
    store<u32>(upper, ports);
    if (there >= u32(tcp.CHECKSUM) + 2) {
      const sum = load<u16>(upper, tcp.CHECKSUM);
      store<u16>(upper, u16(adjust(sum, deltas >> 16)), tcp.CHECKSUM);
    }
  } else if (protocol == sctp.PROTOCOL) {
    const changed = load<u32>(upper) ^ ports;
    store<u32>(upper, ports);
    const after = bytesAfterPorts<F>(quoted, upper);
    if (there >= sctp.HEADER_BYTES && after) {
      const crc = load<u32>(upper, sctp.CHECKSUM) ^ crcChange(changed, after);
      store<u32>(upper, crc, sctp.CHECKSUM);
    }
  } else if (protocol == (is4<F>() ? icmp.PROTOCOL4 : icmp.PROTOCOL6)) {
    const identifier = icmp.identifierOf(ports);
    const delta = fold((u32(load<u16>(upper, icmp.IDENTIFIER)) ^ 0xffff) + identifier +
      (is4<F>() ? 0 : addresses));
    store<u16>(upper, u16(identifier), icmp.IDENTIFIER);
    store<u16>(upper, u16(adjust(load<u16>(upper, icmp.CHECKSUM), delta)), icmp.CHECKSUM);
  }
}

/** How much of a quoted packet stood behind its ports; 0 where its header does not say. */
function bytesAfterPorts<F>(quoted: usize, upper: usize): u32 {
  const header = u32(upper - quoted);
  if (is4<F>() ? ipv4.fragment(quoted) != 0 : header != ipv6.HEADER_BYTES) return 0;
  const total = is4<F>() ? ipv4.totalLength(quoted) : ipv6.totalLength(quoted);
  return total > header + 4 ? total - header - 4 : 0;
}
