// The rewrite of a packet by its session: the addresses and ports of the record's other key, turned
// round, and two checksum additions. Forward and return are one path: return adds the complement.
//
// The IPv4 header's checksum changes by the addresses alone, TCP's and UDP's by addresses and
// ports; with a partial checksum the field holds the pseudo-header's sum alone, not complemented,
// so the addresses are added to it. A UDP checksum of 0 (none) stays 0, a computed 0 is sent as
// 0xffff. An ICMP echo's port is its identifier. SCTP's CRC covers its ports and no address; over
// what has yet to be cut or summed (partial) it is left to who does that.
//
// Fragments: a first one's checksum is the whole packet's, so it changes alike; SCTP's can't be
// changed there, for how much comes behind is not known: such a packet is not to come here.
import { adjust, deltaOf, fold } from "./checksum";
import { crcChange } from "./crc32c";
import { copyTurned, is4, portsOf, sourceOf } from "./family";
import * as icmp from "./header/icmp";
import * as ipv4 from "./header/ipv4";
import * as sctp from "./header/sctp";
import * as tcp from "./header/tcp";
import * as udp from "./header/udp";
import {
  KEY4_PORTS, KEY6_PORTS, Rewritten, SESSION4_DELTA_ADDRESSES, SESSION4_DELTA_ALL, SESSION4_PEER,
  SESSION4_REWRITTEN, SESSION6_DELTA_ADDRESSES, SESSION6_DELTA_ALL, SESSION6_PEER,
  SESSION6_REWRITTEN,
  SLOT_FLAGS, SlotFlag,
} from "./layout";
import { Packet } from "./packet";
import { keyIn } from "./session";

if (SESSION4_DELTA_ALL != SESSION4_DELTA_ADDRESSES + 2) ERROR("the two deltas are not one word");
if (SESSION6_DELTA_ALL != SESSION6_DELTA_ADDRESSES + 2) ERROR("the two deltas are not one word");

/** Does a session change its packets' headers? */
// @ts-ignore: decorator
@inline
export function isRewritten<F>(r: usize): bool {
  return (changesOf<F>(r) & <u32>Rewritten.Header) != 0;
}
/** What a session does to its packets: bits of Rewritten. */
// @ts-ignore: decorator
@inline
export function changesOf<F>(r: usize): u32 {
  return u32(load<u8>(r, is4<F>() ? SESSION4_REWRITTEN : SESSION6_REWRITTEN));
}
export function setChanges<F>(r: usize, changes: u32): void {
  store<u8>(r, u8(changes), is4<F>() ? SESSION4_REWRITTEN : SESSION6_REWRITTEN);
}
/** The number of the node that a session's forward packets go on to, 0 = none. */
// @ts-ignore: decorator
@inline
export function peerOf<F>(r: usize): u32 {
  return u32(load<u16>(r, is4<F>() ? SESSION4_PEER : SESSION6_PEER));
}
export function setPeer<F>(r: usize, peer: u32): void {
  store<u16>(r, u16(peer), is4<F>() ? SESSION4_PEER : SESSION6_PEER);
}

/**
 * Computes a new record's checksum deltas: what a forward packet bears (key 0) against what it
 * leaves with, which is key 1 turned round; the order of words does not matter to a sum.
 */
export function setDeltas<F>(r: usize): void {
  const from = keyIn<F>(r, 0), to = keyIn<F>(r, 1);
  const addresses = deltaOf(from, to, is4<F>() ? 8 : 32);
  const ports = is4<F>() ? KEY4_PORTS : KEY6_PORTS;
  const all = fold(addresses + deltaOf(from + ports, to + ports, 4));
  store<u16>(r, u16(addresses), is4<F>() ? SESSION4_DELTA_ADDRESSES : SESSION6_DELTA_ADDRESSES);
  store<u16>(r, u16(all), is4<F>() ? SESSION4_DELTA_ALL : SESSION6_DELTA_ALL);
}

/** Both deltas of a direction: by addresses in the low half, by all in the high one. */
// @ts-ignore: decorator
@inline
export function deltasIn<F>(r: usize, direction: u32): u32 {
  return load<u32>(r, is4<F>() ? SESSION4_DELTA_ADDRESSES : SESSION6_DELTA_ADDRESSES) ^
    (0 - direction);
}

/** Rewrites a packet in its window. Its session's record says to what. */
// @ts-ignore: decorator
@inline
export function rewrite<F>(p: Packet, r: usize): void {
  const packet = usize(p.window);
  const direction = u32(p.direction);
  const other = keyIn<F>(r, direction ^ 1);
  const deltas = deltasIn<F>(r, direction);
  const addresses = deltas & 0xffff;
  copyTurned<F>(sourceOf<F>(packet), other);
  if (is4<F>()) {
    const field = packet + ipv4.CHECKSUM;
    store<u16>(field, u16(adjust(load<u16>(field), addresses)));
  }
  p.rewritten = <u8>Rewritten.Header;
  const l4 = packet + usize(p.l4);
  const protocol = u32(p.protocol);
  const isTcp = protocol == tcp.PROTOCOL;
  if (isTcp || protocol == udp.PROTOCOL) {
    store<u32>(l4, rotl<u32>(portsOf<F>(other), 16));
    rewriteSum(p.slot, l4 + (isTcp ? tcp.CHECKSUM : udp.CHECKSUM), addresses, deltas >> 16, !isTcp);
  } else if (protocol == (is4<F>() ? icmp.PROTOCOL4 : icmp.PROTOCOL6)) {
    // Of the keys' ports an echo bears one half alone, so the deltas say nothing of it.
    const identifier = icmp.identifierOf(portsOf<F>(other));
    const all = fold((u32(load<u16>(l4, icmp.IDENTIFIER)) ^ 0xffff) + identifier +
      (is4<F>() ? 0 : addresses)); // ICMP's own checksum covers no address, ICMPv6's does
    store<u16>(l4, u16(identifier), icmp.IDENTIFIER);
    rewriteSum(p.slot, l4 + icmp.CHECKSUM, is4<F>() ? 0 : addresses, all, false);
  } else if (protocol == sctp.PROTOCOL) {
    const ports = rotl<u32>(portsOf<F>(other), 16);
    const changed = load<u32>(l4) ^ ports;
    store<u32>(l4, ports);
    if (!(load<u8>(p.slot, SLOT_FLAGS) & <u8>SlotFlag.PartialChecksum)) {
      const after = p.length - u32(p.l4) - 4;
      store<u32>(l4, load<u32>(l4, sctp.CHECKSUM) ^ crcChange(changed, after), sctp.CHECKSUM);
    }
  }
}

/** The L4 checksum of a rewritten packet: by addresses alone, and by all that changed. */
// @ts-ignore: decorator
@inline
function rewriteSum(
  slot: usize, field: usize, addresses: u32, all: u32, isUdp: bool,
): void {
  const old = u32(load<u16>(field));
  if (load<u8>(slot, SLOT_FLAGS) & <u8>SlotFlag.PartialChecksum) {
    store<u16>(field, u16(fold(old + addresses)));
    return;
  }
  if (isUdp && old == 0) return;
  const sum = adjust(old, all);
  store<u16>(field, u16(isUdp && sum == 0 ? 0xffff : sum));
}
