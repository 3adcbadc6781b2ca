// The rewrite of a packet by its session: addresses and ports of the other side of the record, and
// two checksum additions. Forward packets take the `to` tuple; return packets take the opener's
// tuple turned round.
//
// The IPv4 header's checksum changes by the addresses alone, TCP's and UDP's by addresses and
// ports; with a partial checksum the field holds the pseudo-header's sum alone, not complemented,
// so the addresses are added to it. A UDP checksum of 0 (none) stays 0, a computed 0 is sent as
// 0xffff.
import { adjust, deltaOf, fold } from "./checksum";
import { copyAddress, destinationOf, is4, sourceOf } from "./family";
import * as icmp from "./header/icmp";
import * as ipv4 from "./header/ipv4";
import * as tcp from "./header/tcp";
import * as udp from "./header/udp";
import {
  SESSION4_DELTA_ADDRESSES, SESSION4_DELTA_ALL, SESSION4_PORTS, SESSION4_TO_PORTS,
  SESSION6_DELTA_ADDRESSES, SESSION6_DELTA_ALL, SESSION6_PORTS, SESSION6_TO_PORTS,
  SESSION4_PROTOCOL, SESSION6_PROTOCOL, SlotFlag,
} from "./layout";
import { Packet } from "./packet";
import {
  destinationIn, portsIn, sourceIn, toDestinationIn, toPortsIn, toSourceIn,
} from "./session";
import { Slot } from "./slot";

/** Byte behind the protocol in a record: 1 where the rewrite changes anything. */
const NAT: usize = 1;

// @ts-ignore: decorator
@inline
export function isRewritten<F>(r: usize): bool {
  return load<u8>(r + NAT, is4<F>() ? SESSION4_PROTOCOL : SESSION6_PROTOCOL) != 0;
}

/** Computes a new record's checksum deltas from its two tuples. */
export function setDeltas<F>(r: usize): void {
  const bytes: u32 = is4<F>() ? 4 : 16;
  const addresses = fold(
    deltaOf(sourceIn<F>(r), toSourceIn<F>(r), bytes) +
      deltaOf(destinationIn<F>(r), toDestinationIn<F>(r), bytes),
  );
  const from = r + (is4<F>() ? SESSION4_PORTS : SESSION6_PORTS);
  const to = r + (is4<F>() ? SESSION4_TO_PORTS : SESSION6_TO_PORTS);
  const all = fold(addresses + deltaOf(from, to, 4));
  store<u16>(r, u16(addresses), is4<F>() ? SESSION4_DELTA_ADDRESSES : SESSION6_DELTA_ADDRESSES);
  store<u16>(r, u16(all), is4<F>() ? SESSION4_DELTA_ALL : SESSION6_DELTA_ALL);
}
export function setRewritten<F>(r: usize, rewritten: bool): void {
  store<u8>(r + NAT, u8(rewritten), is4<F>() ? SESSION4_PROTOCOL : SESSION6_PROTOCOL);
}

/** Rewrites a packet in its window. Its session's record says to what. */
// @ts-ignore: decorator
@inline
export function rewrite<F>(p: Packet): void {
  const r = usize(p.session);
  const packet = usize(p.window);
  const turned = p.direction != 0;
  let addresses = u32(
    load<u16>(r, is4<F>() ? SESSION4_DELTA_ADDRESSES : SESSION6_DELTA_ADDRESSES),
  );
  let all = u32(load<u16>(r, is4<F>() ? SESSION4_DELTA_ALL : SESSION6_DELTA_ALL));
  addresses = turned ? addresses ^ 0xffff : addresses;
  all = turned ? all ^ 0xffff : all;
  copyAddress<F>(sourceOf<F>(packet), turned ? destinationIn<F>(r) : toSourceIn<F>(r));
  copyAddress<F>(destinationOf<F>(packet), turned ? sourceIn<F>(r) : toDestinationIn<F>(r));
  if (is4<F>()) {
    const field = packet + ipv4.CHECKSUM;
    store<u16>(field, u16(adjust(load<u16>(field), addresses)));
  }
  rewriteL4<F>(p, packet + usize(p.l4), addresses, all, turned, r);
  p.rewritten = 1;
}

// @ts-ignore: decorator
@inline
function rewriteL4<F>(
  p: Packet, l4: usize, addresses: u32, all: u32, turned: bool, r: usize,
): void {
  const protocol = u32(p.protocol);
  const isTcp = protocol == tcp.PROTOCOL;
  const isUdp = protocol == udp.PROTOCOL;
  if (isTcp || isUdp) {
    store<u32>(l4, turned ? rotl<u32>(portsIn<F>(r), 16) : toPortsIn<F>(r));
  } else if (is4<F>() || protocol != icmp.PROTOCOL6) {
    return; // ICMP's own checksum covers no address
  } else {
    all = addresses;
  }
  const field = l4 + (isTcp ? tcp.CHECKSUM : isUdp ? udp.CHECKSUM : icmp.CHECKSUM);
  const old = u32(load<u16>(field));
  if (changetype<Slot>(usize(p.slot)).flags & <u8>SlotFlag.PartialChecksum) {
    store<u16>(field, u16(fold(old + addresses)));
    return;
  }
  if (is4<F>() && isUdp && old == 0) return;
  const sum = adjust(old, all);
  store<u16>(field, u16(isUdp && sum == 0 ? 0xffff : sum));
}
