// The parser: an L3 header in a window to a Packet, or the reason for a drop. All checks stand
// here; behind it, accessors are total. What does not fit the program yet (IPv4 options, fragments,
// extension headers, other protocols) is dropped by name, never passed.
//
// Inputs are the slot's lengths, which the adapter vouches for: windowLength <= 128 and
// windowLength <= packetLength. Lengths inside the packet are the sender's and trusted for nothing.
import * as icmp from "./header/icmp";
import * as ipv4 from "./header/ipv4";
import * as ipv6 from "./header/ipv6";
import * as tcp from "./header/tcp";
import * as udp from "./header/udp";
import { load16be } from "./bytes";
import { Reason, SlotFlag, WINDOW_BYTES } from "./layout";
import { Packet } from "./packet";
import { Slot } from "./slot";

/** Parses one packet; on success every field but those of later stages is set. */
// @ts-ignore: decorator
@inline
export function parse(p: Packet, slot: Slot, packet: usize): Reason {
  const window = u32(slot.windowLength);
  if (window == 0 || window > u32(WINDOW_BYTES)) return Reason.Truncated;
  const version = u32(load<u8>(packet)) >> 4;
  if (version == 4) return parse4(p, slot, packet, window);
  if (version == 6) return parse6(p, slot, packet, window);
  return Reason.BadVersion;
}

// @ts-ignore: decorator
@inline
function parse4(p: Packet, slot: Slot, packet: usize, window: u32): Reason {
  if (window < ipv4.HEADER_BYTES) return Reason.Truncated;
  const header = ipv4.headerBytes(packet);
  if (header < ipv4.HEADER_BYTES) return Reason.BadHeaderLength;
  const total = ipv4.totalLength(packet);
  if (total < header || total > slot.packetLength) return Reason.BadTotalLength;
  if (header != ipv4.HEADER_BYTES) return Reason.IpOptions;
  if (!(slot.flags & <u8>SlotFlag.Checked)) {
    if (ipv4.headerSum(packet) != 0xffff) return Reason.BadChecksum;
    if (load<u8>(packet, ipv4.TIME_TO_LIVE) == 0) return Reason.TimeExpired;
  }
  if (ipv4.isFragment(packet)) return Reason.Fragment;
  p.family = 4;
  p.length = total;
  const protocol = u32(load<u8>(packet, ipv4.PROTOCOL));
  return parseL4(p, packet, ipv4.HEADER_BYTES, total, window, protocol, icmp.PROTOCOL4);
}

// @ts-ignore: decorator
@inline
function parse6(p: Packet, slot: Slot, packet: usize, window: u32): Reason {
  if (window < ipv6.HEADER_BYTES) return Reason.Truncated;
  const total = ipv6.totalLength(packet);
  if (total > slot.packetLength) return Reason.BadTotalLength;
  if (!(slot.flags & <u8>SlotFlag.Checked)) {
    if (load<u8>(packet, ipv6.HOP_LIMIT) == 0) return Reason.TimeExpired;
  }
  p.family = 6;
  p.length = total;
  if (ipv6.isMapped(packet + ipv6.SOURCE) || ipv6.isMapped(packet + ipv6.DESTINATION)) {
    return Reason.MappedAddress;
  }
  const next = u32(load<u8>(packet, ipv6.NEXT_HEADER));
  if (next == ipv6.FRAGMENT) return Reason.Fragment;
  if (ipv6.isExtension(next)) return Reason.ExtensionHeader;
  return parseL4(p, packet, ipv6.HEADER_BYTES, total, window, next, icmp.PROTOCOL6);
}

// @ts-ignore: decorator
@inline
function parseL4(
  p: Packet, packet: usize, header: u32, total: u32, window: u32, protocol: u32, icmpProtocol: u32,
): Reason {
  p.protocol = u8(protocol);
  p.l4 = u8(header);
  p.flags = 0;
  p.icmp = -1;
  const l4 = packet + header;
  const l4Bytes = total - header;
  const l4Window = window - header;
  if (protocol == tcp.PROTOCOL) {
    if (l4Bytes < tcp.HEADER_BYTES) return Reason.Truncated;
    if (l4Window < tcp.HEADER_BYTES) return Reason.HeadersTooLong;
    const offset = tcp.headerBytes(l4);
    if (offset < tcp.HEADER_BYTES || offset > l4Bytes) return Reason.BadHeaderLength;
    const flags = u32(load<u8>(l4, tcp.FLAGS));
    if (tcp.badFlags(flags)) return Reason.BadTcpFlags;
    p.flags = u8(flags);
    p.ports = load<u32>(l4);
    return Reason.None;
  }
  if (protocol == udp.PROTOCOL) {
    if (l4Bytes < udp.HEADER_BYTES) return Reason.Truncated;
    if (l4Window < udp.HEADER_BYTES) return Reason.HeadersTooLong;
    const length = load16be(l4, udp.LENGTH);
    if (length < udp.HEADER_BYTES || length > l4Bytes) return Reason.BadTotalLength;
    p.ports = load<u32>(l4);
    return Reason.None;
  }
  if (protocol == icmpProtocol) return parseIcmp(p, l4, l4Bytes, l4Window);
  return Reason.UnsupportedProtocol;
}

// @ts-ignore: decorator
@inline
function parseIcmp(p: Packet, l4: usize, l4Bytes: u32, l4Window: u32): Reason {
  if (l4Bytes < icmp.HEADER_BYTES) return Reason.Truncated;
  if (l4Window < icmp.HEADER_BYTES) return Reason.HeadersTooLong;
  const type = u32(load<u8>(l4));
  const code = u32(load<u8>(l4, 1));
  const echo = p.family == 4
    ? type == icmp.ECHO_REQUEST4 || type == icmp.ECHO_REPLY4
    : type == icmp.ECHO_REQUEST6 || type == icmp.ECHO_REPLY6;
  if (!echo || code != 0) return Reason.UnsupportedIcmp;
  const identifier = u32(load<u16>(l4, icmp.IDENTIFIER));
  p.icmp = i32((type << 8) | code);
  const isRequest = type == icmp.ECHO_REQUEST4 || type == icmp.ECHO_REQUEST6;
  p.ports = isRequest ? identifier : identifier << 16; // turned round, a request is its reply
  return Reason.None;
}

/** Is this the packet that opens a flow: a SYN alone, an echo request, any datagram? */
// @ts-ignore: decorator
@inline
export function opens(p: Packet): bool {
  if (p.protocol == <u8>tcp.PROTOCOL) {
    return (p.flags & <u8>(tcp.SYN | tcp.ACK | tcp.RST)) == <u8>tcp.SYN;
  }
  if (p.icmp >= 0) {
    const type = u32(p.icmp) >> 8;
    return type == icmp.ECHO_REQUEST4 || type == icmp.ECHO_REQUEST6;
  }
  return true;
}
