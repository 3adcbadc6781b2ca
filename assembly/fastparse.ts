// The parser's fast path: a TCP segment or UDP datagram behind a plain header, judged by one sum of
// conditions instead of a branch for each; then its source and its key's hash, while the fields are
// at hand. What it does not take is parsed in full (parser.ts) and given its reason; it takes
// nothing that parser.ts would refuse (test/assembly/parser.test.ts holds both against one slow
// twin).
import { Endpoint, ownsFirst } from "./endpoint";
import { is4, sourceOf } from "./family";
import { hashTuple } from "./hash";
import * as ipv4 from "./header/ipv4";
import * as ipv6 from "./header/ipv6";
import * as tcp from "./header/tcp";
import * as udp from "./header/udp";
import { SlotFlag, WINDOW_BYTES } from "./layout";
import { Packet } from "./packet";
import { Slot } from "./slot";

/** A big-endian u16 in the low half of a word loaded little-endian; the rest is ignored. */
// @ts-ignore: decorator
@inline
function turned(word: u32): u32 {
  return ((word << 8) & 0xff00) | ((word >> 8) & 0xff);
}

/** What is wrong with the L3 header, 0 for nothing. `head` are its first 8 bytes. */
// @ts-ignore: decorator
@inline
function faults<F>(slot: Slot, packet: usize, head: u64, total: u32): u32 {
  const unchecked = !(slot.flags & <u8>SlotFlag.Checked);
  if (is4<F>()) {
    let bad = u32(total > slot.packetLength) | (u32(head >> 48) & 0xff3f); // fragment
    if (unchecked) {
      bad |= (ipv4.headerSum(packet) ^ 0xffff) | u32(load<u8>(packet, ipv4.TIME_TO_LIVE) == 0);
    }
    return bad;
  }
  let bad = (u32(head & 0xf0) ^ 0x60) | u32(total > slot.packetLength);
  if (unchecked) bad |= u32(head >> 56 == 0);
  return bad | u32(ipv6.isMapped(packet + ipv6.SOURCE)) |
    u32(ipv6.isMapped(packet + ipv6.DESTINATION));
}

/**
 * Parses a packet of family F from endpoint e, checks its source and hashes its key: 0 = not taken,
 * 1 = done, 2 = done but for a source that is not its endpoint's first address. It may read behind
 * the window's valid bytes (a window is 128 long), but what it takes lies within them.
 */
// @ts-ignore: decorator
@inline
export function parseFast<F>(
  p: Packet, slot: Slot, packet: usize, head: u64, e: Endpoint, uplink: bool, identity: u32,
  seed0: u64, seed1: u64,
): u32 {
  const header: u32 = is4<F>() ? ipv4.HEADER_BYTES : ipv6.HEADER_BYTES;
  const total = is4<F>() ? turned(u32(head >> 16)) : turned(u32(head >> 32)) + header;
  const protocol = is4<F>() ? u32(load<u8>(packet, ipv4.PROTOCOL)) : u32(head >> 48) & 0xff;
  const l4 = packet + header;
  const l4Bytes = i32(total) - i32(header);
  const window = u32(slot.windowLength);
  let bad = faults<F>(slot, packet, head, total) | u32(window > u32(WINDOW_BYTES));
  let flags: u32 = 0;
  if (protocol == udp.PROTOCOL) {
    const bytes = i32(turned(u32(load<u16>(l4, udp.LENGTH))));
    bad |= u32(bytes < i32(udp.HEADER_BYTES)) | u32(bytes > l4Bytes) |
      u32(window < header + udp.HEADER_BYTES);
  } else {
    const offset = i32(tcp.headerBytes(l4));
    flags = u32(load<u8>(l4, tcp.FLAGS));
    bad |= (protocol ^ tcp.PROTOCOL) | u32(window < header + tcp.HEADER_BYTES) |
      u32(offset < i32(tcp.HEADER_BYTES)) | u32(offset > l4Bytes) | u32(tcp.badFlags(flags));
  }
  if (bad) return 0;
  const ports = load<u32>(l4);
  // icmp = -1, then protocol, flags, family, l4
  const fields = protocol | (flags << 8) | ((is4<F>() ? 4 : 6) << 16) | (header << 24);
  store<u64>(changetype<usize>(p), (u64(fields) << 32) | 0xffffffff, offsetof<Packet>("icmp"));
  p.length = total;
  p.ports = ports;
  p.endpoint = identity;
  p.hash = hashTuple<F>(sourceOf<F>(packet), ports, protocol, seed0, seed1);
  return uplink || ownsFirst<F>(e, sourceOf<F>(packet)) ? 1 : 2;
}
