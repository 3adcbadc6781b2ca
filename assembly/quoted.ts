// The packet that an ICMP error quotes: where it stands in the window, and the ports of the
// session's key that it names. What was sent is quoted; the error goes the other way, so the ports
// are turned round, and so are the addresses where the session is looked up (related.ts).
//
//   outer IP │ ICMP, 8 bytes │ quoted IP header │ 8 bytes of its upper header or more │
//                            ▲ quoted           ▲ quotedL4
//
// Nothing is noted of a quotation that is cut before those 8 bytes (RFC 792's least), that quotes a
// later fragment, which bears no ports, or an ICMP message other than an echo. Lengths in a quoted
// header are trusted for nothing; its checksum is not looked at (RFC 1812 lets routers change it).
import { load16be } from "./bytes";
import { Detail, detailOf } from "./detail";
import { hasPorts } from "./facts";
import * as icmp from "./header/icmp";
import * as ipv4 from "./header/ipv4";
import * as ipv6 from "./header/ipv6";
import { Packet } from "./packet";

/** How much of the quoted upper header has to be there. */
const UPPER_BYTES: u32 = 8;

/** Looks into the error in hand; `bytes` of its ICMP message are there, header and all. */
export function findQuoted(p: Packet, bytes: u32): void {
  const at = u32(p.l4) + icmp.HEADER_BYTES;
  const end = u32(p.l4) + bytes;
  if (p.family == 4) findQuoted4(p, at, end);
  else findQuoted6(p, at, end);
}

function findQuoted4(p: Packet, at: u32, end: u32): void {
  if (at + ipv4.HEADER_BYTES > end) return;
  const quoted = usize(p.window) + at;
  if (load<u8>(quoted) >> 4 != 4) return;
  const header = ipv4.headerBytes(quoted);
  if (header < ipv4.HEADER_BYTES || at + header + UPPER_BYTES > end) return;
  if (ipv4.fragment(quoted) & ipv4.OFFSET) return;
  note(p, at, at + header, u32(load<u8>(quoted, ipv4.PROTOCOL)), icmp.PROTOCOL4);
}

function findQuoted6(p: Packet, at: u32, end: u32): void {
  if (at + ipv6.HEADER_BYTES > end) return;
  const quoted = usize(p.window) + at;
  if (load<u8>(quoted) >> 4 != 6) return;
  let next = u32(load<u8>(quoted, ipv6.NEXT_HEADER));
  let upper = at + ipv6.HEADER_BYTES;
  for (let i: u32 = 0; upper + UPPER_BYTES <= end; i++) {
    if (!ipv6.isExtension(next)) {
      note(p, at, upper, next, icmp.PROTOCOL6);
      return;
    }
    if (i == ipv6.CHAIN_MAX) return;
    const header = usize(p.window) + upper;
    if (next == ipv6.FRAGMENT && load16be(header, ipv6.FRAGMENT_FIELD) & ~7) return;
    upper += ipv6.extensionBytes(header, next);
    next = u32(load<u8>(header));
  }
}

function note(p: Packet, at: u32, upper: u32, protocol: u32, icmpProtocol: u32): void {
  const d: Detail = detailOf(p);
  const header = usize(p.window) + upper;
  if (protocol == icmpProtocol) {
    const type = u32(load<u8>(header));
    if (!icmp.isEcho(p.family, type) || load<u8>(header, 1) != 0) return;
    const ports = icmp.portsOfEcho(u32(load<u16>(header, icmp.IDENTIFIER)));
    const isRequest = type == icmp.ECHO_REQUEST4 || type == icmp.ECHO_REQUEST6;
    d.quotedPorts = isRequest ? rotl<u32>(ports, 16) : ports;
  } else {
    d.quotedPorts = hasPorts(protocol) ? rotl<u32>(load<u32>(header), 16) : 0;
  }
  d.quoted = u8(at);
  d.quotedL4 = u8(upper);
  d.quotedProtocol = u8(protocol);
}
