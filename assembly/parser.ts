// The parser: an L3 header in a window to a Packet, or the reason for a drop. All checks stand
// here; behind it, accessors are total.
//
//   IPv4, options passed over        ┐             TCP, UDP, SCTP: ports
//   IPv6, extension headers, up to 8 ┴─► protocol ─ ICMP: type, code, an echo's identifier
//                                                  others: by their number alone
//
// Fragments: the first bears the upper header and is judged as the packet is; one that does not
// bear all of it, or one that starts inside it, is a TinyFragment (RFC 3128, RFC 7112). Later ones
// bear no ports: they parse to addresses, protocol and identification, and follow their first
// (fragment.ts). ICMP errors: where the packet is that they quote (quoted.ts). Source routes lead
// behind policy's back and are dropped: IPv4's options (as Linux does by default) and routing
// headers of type 0 (RFC 5095). The packet's Detail is zeros before.
//
// Inputs are the slot's lengths, which the adapter vouches for: windowLength <= 128 and
// windowLength <= packetLength. Lengths inside the packet are the sender's and trusted for nothing.
import * as icmp from "./header/icmp";
import * as ipv4 from "./header/ipv4";
import * as ipv6 from "./header/ipv6";
import * as sctp from "./header/sctp";
import * as tcp from "./header/tcp";
import * as udp from "./header/udp";
import { load16be } from "./bytes";
import { detailOf, Part } from "./detail";
import { Reason, SlotFlag, WINDOW_BYTES } from "./layout";
import { Packet } from "./packet";
import { findQuoted } from "./quoted";
import { Slot } from "./slot";

/** In a Packet's flags, of ICMPv6: a first fragment. */
export const FRAGMENTED: u8 = 0x80;

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
  if (header > window) return Reason.HeadersTooLong;
  if (!(slot.flags & <u8>SlotFlag.Checked)) {
    const sum = header == ipv4.HEADER_BYTES
      ? ipv4.headerSum(packet)
      : ipv4.longHeaderSum(packet);
    if (sum != 0xffff) return Reason.BadChecksum;
    if (load<u8>(packet, ipv4.TIME_TO_LIVE) == 0) return Reason.TimeExpired;
  }
  if (header != ipv4.HEADER_BYTES && ipv4.hasSourceRoute(packet, header)) {
    return Reason.RoutingHeader;
  }
  p.family = 4;
  p.length = total;
  const protocol = u32(load<u8>(packet, ipv4.PROTOCOL));
  const fragment = ipv4.fragment(packet);
  if (fragment) {
    detailOf(p).fragment = load16be(packet, ipv4.IDENTIFICATION) | (protocol << 16);
    if (fragment & ipv4.OFFSET) {
      return parseLater(p, fragment & ipv4.OFFSET, header, protocol);
    }
    detailOf(p).part = <u8>Part.First;
    if (total - header < upperBytes(packet + header, window - header, protocol)) {
      return Reason.TinyFragment;
    }
  }
  return parseL4(p, packet, header, total, window, protocol, icmp.PROTOCOL4, fragment != 0);
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
  if (!ipv6.isExtension(next)) {
    return parseL4(p, packet, ipv6.HEADER_BYTES, total, window, next, icmp.PROTOCOL6, false);
  }
  return parseChain(p, packet, total, window, next);
}

/** Passes over extension headers, in any order; hop-by-hop first alone, one fragment header. */
function parseChain(p: Packet, packet: usize, total: u32, window: u32, first: u32): Reason {
  let next = first;
  let at = ipv6.HEADER_BYTES;
  let fragmented = false;
  for (let i: u32 = 0; ipv6.isExtension(next); i++) {
    if (i == ipv6.CHAIN_MAX) return Reason.ExtensionHeader;
    if (next == ipv6.HOP_BY_HOP && i != 0) return Reason.ExtensionHeader;
    if (at + 8 > total) return fragmented ? Reason.TinyFragment : Reason.Truncated;
    if (at + 8 > window) return Reason.HeadersTooLong;
    const header = packet + at;
    if (next == ipv6.ROUTING && load<u8>(header, ipv6.ROUTING_TYPE) == 0) {
      return Reason.RoutingHeader;
    }
    if (next == ipv6.FRAGMENT) {
      if (fragmented) return Reason.ExtensionHeader;
      const field = load16be(header, ipv6.FRAGMENT_FIELD);
      detailOf(p).fragment = load<u32>(header, ipv6.FRAGMENT_IDENTIFICATION);
      if (field & ~7) {
        const upper = u32(load<u8>(header));
        return parseLater(p, field >> 3, at + ipv6.FRAGMENT_BYTES, upper);
      }
      fragmented = (field & 1) != 0;
      if (fragmented) detailOf(p).part = <u8>Part.First;
    }
    at += ipv6.extensionBytes(header, next);
    next = u32(load<u8>(header));
    if (at > total) return fragmented ? Reason.TinyFragment : Reason.Truncated;
    if (at > window) return Reason.HeadersTooLong;
  }
  if (fragmented && total - at < upperBytes(packet + at, window - at, next)) {
    return Reason.TinyFragment;
  }
  const reason = parseL4(p, packet, at, total, window, next, icmp.PROTOCOL6, fragmented);
  if (fragmented && next == icmp.PROTOCOL6) p.flags = FRAGMENTED;
  return reason;
}

/**
 * A fragment that does not start the packet; an offset of 1 would overlay an upper header. Its
 * ports are no key's: it is not to be looked up as a session's packet.
 */
function parseLater(p: Packet, offset: u32, header: u32, protocol: u32): Reason {
  if (offset == 1) return Reason.TinyFragment;
  detailOf(p).part = <u8>Part.Later;
  p.protocol = u8(protocol);
  p.l4 = u8(header);
  p.flags = 0;
  p.icmp = -1;
  p.ports = 0;
  return Reason.None;
}
/** How much of the upper header a first fragment has to bear; `bytes` of it may be looked at. */
function upperBytes(l4: usize, bytes: u32, protocol: u32): u32 {
  if (protocol == tcp.PROTOCOL) {
    const whole = bytes > u32(tcp.DATA_OFFSET);
    return whole ? max(tcp.headerBytes(l4), tcp.HEADER_BYTES) : tcp.HEADER_BYTES;
  }
  if (protocol == sctp.PROTOCOL) return sctp.HEADER_BYTES;
  const eight = protocol == udp.PROTOCOL || protocol == icmp.PROTOCOL4 ||
    protocol == icmp.PROTOCOL6;
  return eight ? 8 : 0;
}

// @ts-ignore: decorator
@inline
function parseL4(
  p: Packet, packet: usize, header: u32, total: u32, window: u32, protocol: u32, icmpProtocol: u32,
  isFragment: bool,
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
    // A first fragment bears the length of the whole datagram.
    if (length < udp.HEADER_BYTES) return Reason.BadTotalLength;
    if (isFragment ? length <= l4Bytes : length > l4Bytes) return Reason.BadTotalLength;
    p.ports = load<u32>(l4);
    return Reason.None;
  }
  if (protocol == icmpProtocol) return parseIcmp(p, l4, l4Bytes, l4Window, isFragment);
  if (protocol == sctp.PROTOCOL) {
    if (l4Bytes < sctp.HEADER_BYTES) return Reason.Truncated;
    if (l4Window < sctp.HEADER_BYTES) return Reason.HeadersTooLong;
    p.ports = load<u32>(l4);
    return Reason.None;
  }
  p.ports = 0;
  return Reason.None;
}

// @ts-ignore: decorator
@inline
function parseIcmp(
  p: Packet, l4: usize, l4Bytes: u32, l4Window: u32, isFragment: bool,
): Reason {
  if (l4Bytes < icmp.HEADER_BYTES) return Reason.Truncated;
  if (l4Window < icmp.HEADER_BYTES) return Reason.HeadersTooLong;
  const type = u32(load<u8>(l4));
  const code = u32(load<u8>(l4, 1));
  p.icmp = i32((type << 8) | code);
  if (!icmp.isEcho(p.family, type) || code != 0) {
    // Makes no session and must find none: an echo's ports have a half of zeros, these have not.
    p.ports = (0x8000 | type) << 16 | (0x8000 | code);
    if (!isFragment && icmp.isError(p.family, type)) findQuoted(p, min(l4Bytes, l4Window));
    return Reason.None;
  }
  const ports = icmp.portsOfEcho(u32(load<u16>(l4, icmp.IDENTIFIER)));
  const isRequest = type == icmp.ECHO_REQUEST4 || type == icmp.ECHO_REQUEST6;
  p.ports = isRequest ? ports : rotl<u32>(ports, 16); // turned round, a request is its reply
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
    const request = p.family == 4 ? icmp.ECHO_REQUEST4 : icmp.ECHO_REQUEST6;
    return u32(p.icmp) == request << 8;
  }
  return true;
}
