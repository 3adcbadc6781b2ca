// Rejects: what is not let through and is to be told so is answered, in the packet's own window.
//
//   TCP                 a reset, as a port where nobody listens would send it (RFC 9293, 3.10.7.1)
//   others              ICMP port unreachable: type 3 code 3, ICMPv6's type 1 code 4
//
// The answer comes from the address and port that were asked, has no options, and quotes the first
// 64 bytes of the packet, of longer headers all and 8 bytes behind them (RFC 1122, 3.2.2; RFC 4443,
// 2.4). Its checksums are whole, whatever the packet's were.
//
// No answer, only a drop: to resets, to ICMP but echo requests, to fragments other than a first one
// and to first ones of TCP (how long the segment is, nobody knows yet), to or from what is no
// single host's address, and beyond ANSWERS_PER_MS.
// Source: RFC 9293 3.5.2, RFC 1122 3.2.2, RFC 1812 4.3.2, RFC 4443 2.4 (e), (f); kube-proxy's and
// Calico's REJECT.
import { fold, sumOf } from "./checksum";
import { detailOf, Part } from "./detail";
import { copyTurned, destinationOf, headerOf, is4, sourceOf, V4, V6 } from "./family";
import * as icmp from "./header/icmp";
import * as ipv4 from "./header/ipv4";
import * as ipv6 from "./header/ipv6";
import * as tcp from "./header/tcp";
import { WINDOW_BYTES } from "./layout";
import { Packet } from "./packet";
import { opens } from "./parser";
import { Slot } from "./slot";
import { Worker } from "./worker";

/** Answers a worker sends in a millisecond in the long run, as Linux's icmp_msgs_per_sec of 1,000;
 * and at once after a rest. */
const ANSWERS_PER_MS: u32 = 1;
const ANSWERS_AT_ONCE: u32 = 128;
const TIME_TO_LIVE: u32 = 64;
/** What every adapter has in the window: an answer is the same whatever more is in it. */
const QUOTED_BYTES: u32 = 64;
/** How much of the upper header a quotation has to bear, where the packet has it. */
const UPPER_BYTES: u32 = 8;

/**
 * Builds the answer to a dropped packet in its window, which still holds what came. Returns its
 * length from the L3 header on, 0 = it is not answered (and the window is as it was).
 */
export function answer(w: Worker, p: Packet, nowMs: u32): u32 {
  return p.family == 4 ? answerIn<V4>(w, p, nowMs) : answerIn<V6>(w, p, nowMs);
}

function answerIn<F>(w: Worker, p: Packet, nowMs: u32): u32 {
  const packet = usize(p.window);
  const isTcp = p.protocol == <u8>tcp.PROTOCOL;
  const part = detailOf(p).part;
  if (part == <u8>Part.Later || (isTcp && part != <u8>Part.Whole)) return 0;
  if (isTcp && p.flags & <u8>tcp.RST) return 0;
  if (p.icmp >= 0 && !opens(p)) return 0;
  if (!isHost<F>(sourceOf<F>(packet)) || !isHost<F>(destinationOf<F>(packet))) return 0;
  const quoted = isTcp ? 0 : quotedBytes<F>(p);
  if (!isTcp && !quoted) return 0;
  if (!spend(w, nowMs)) return 0;
  return isTcp ? writeReset<F>(p, packet) : writeUnreachable<F>(packet, quoted);
}

/** May the worker send one more? Then it has. */
function spend(w: Worker, nowMs: u32): bool {
  const regained = min(nowMs - w.answerMs, ANSWERS_AT_ONCE) * ANSWERS_PER_MS;
  const spent = w.answersSpent - min(w.answersSpent, regained);
  w.answerMs = nowMs;
  w.answersSpent = spent;
  if (spent >= ANSWERS_AT_ONCE) return false;
  w.answersSpent = spent + 1;
  return true;
}

/**
 * Is it one host's address? Not those of no host, of the host itself, of many, of class E (RFC
 * 1812, 4.2.2.11). Broadcasts of a network are not known here.
 */
function isHost<F>(address: usize): bool {
  const first = u32(load<u8>(address));
  if (is4<F>()) return first != 0 && first != 127 && first < 224;
  if (first == 0xff) return false;
  return (load<u64>(address) | (load<u64>(address, 8) & ~(<u64>1 << 56))) != 0; // :: and ::1
}

/** How much of the packet an ICMP error quotes, 0 where that would not tell the flow. */
function quotedBytes<F>(p: Packet): u32 {
  const wanted = min(p.length, max(QUOTED_BYTES, u32(p.l4) + UPPER_BYTES));
  const there = min(wanted, u32(changetype<Slot>(usize(p.slot)).windowLength));
  const bytes = min(there, u32(WINDOW_BYTES) - headerOf<F>() - icmp.HEADER_BYTES);
  return bytes >= min(p.length, u32(p.l4) + UPPER_BYTES) ? bytes : 0;
}

// @ts-ignore: decorator
@inline
function store16be(at: usize, value: u32): void {
  store<u16>(at, bswap<u16>(u16(value)));
}
// @ts-ignore: decorator
@inline
function load32be(at: usize): u32 {
  return bswap<u32>(load<u32>(at));
}

/** A header without options over `bytes` of payload; source and destination stand there already. */
function writeHeader<F>(packet: usize, protocol: u32, bytes: u32): void {
  if (is4<F>()) {
    store<u32>(packet, 0x45); // and type of service 0
    store16be(packet + ipv4.TOTAL_LENGTH, ipv4.HEADER_BYTES + bytes);
    store<u32>(packet, 0x40 << 16, ipv4.IDENTIFICATION); // 0, don't fragment
    store<u32>(packet, TIME_TO_LIVE | (protocol << 8), ipv4.TIME_TO_LIVE); // and checksum 0
    store<u16>(packet, u16(sumOf(packet, ipv4.HEADER_BYTES) ^ 0xffff), ipv4.CHECKSUM);
  } else {
    store<u32>(packet, 0x60);
    store16be(packet + ipv6.PAYLOAD_LENGTH, bytes);
    store<u8>(packet, u8(protocol), ipv6.NEXT_HEADER);
    store<u8>(packet, u8(TIME_TO_LIVE), ipv6.HOP_LIMIT);
  }
}
/** Sum of the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1). */
function pseudoSum<F>(packet: usize, protocol: u32, bytes: u32): u32 {
  const addresses = sumOf(sourceOf<F>(packet), 2 * sizeof<F>());
  return addresses + u32(bswap<u16>(u16(bytes))) + (protocol << 8);
}

function writeReset<F>(p: Packet, packet: usize): u32 {
  const segment = packet + usize(p.l4);
  const flags = u32(p.flags);
  const isAcknowledging = (flags & tcp.ACK) != 0;
  // SYN and FIN take a place in the sequence, as a byte does.
  const length = p.length - u32(p.l4) - tcp.headerBytes(segment) + (flags & tcp.FIN) +
    ((flags & tcp.SYN) >> 1);
  const sequence = isAcknowledging ? load32be(segment + tcp.ACKNOWLEDGEMENT) : 0;
  const acknowledgement = isAcknowledging ? 0 : load32be(segment + tcp.SEQUENCE) + length;
  const ports = load<u32>(segment);
  copyTurned<F>(sourceOf<F>(packet), sourceOf<F>(packet));
  writeHeader<F>(packet, tcp.PROTOCOL, tcp.HEADER_BYTES);
  const at = packet + headerOf<F>();
  store<u32>(at, rotl<u32>(ports, 16));
  store<u32>(at, bswap<u32>(sequence), tcp.SEQUENCE);
  store<u32>(at, bswap<u32>(acknowledgement), tcp.ACKNOWLEDGEMENT);
  store<u64>(at, 0, tcp.DATA_OFFSET); // and window, checksum, urgent pointer
  store<u8>(at, u8(tcp.HEADER_BYTES << 2), tcp.DATA_OFFSET);
  store<u8>(at, u8(isAcknowledging ? tcp.RST : tcp.RST | tcp.ACK), tcp.FLAGS);
  const sum = fold(pseudoSum<F>(packet, tcp.PROTOCOL, tcp.HEADER_BYTES) +
    sumOf(at, tcp.HEADER_BYTES));
  store<u16>(at, u16(sum ^ 0xffff), tcp.CHECKSUM);
  return headerOf<F>() + tcp.HEADER_BYTES;
}

function writeUnreachable<F>(packet: usize, quoted: u32): u32 {
  const at = packet + headerOf<F>();
  const bytes = icmp.HEADER_BYTES + quoted;
  const protocol = is4<F>() ? icmp.PROTOCOL4 : icmp.PROTOCOL6;
  memory.copy(at + icmp.HEADER_BYTES, packet, quoted);
  copyTurned<F>(sourceOf<F>(packet), sourceOf<F>(at + icmp.HEADER_BYTES));
  writeHeader<F>(packet, protocol, bytes);
  const type = is4<F>() ? icmp.UNREACHABLE4 : icmp.UNREACHABLE6;
  const code = is4<F>() ? icmp.PORT_UNREACHABLE4 : icmp.PORT_UNREACHABLE6;
  store<u64>(at, u64(type | (code << 8))); // checksum and the unused word are 0
  const pseudo = is4<F>() ? 0 : pseudoSum<F>(packet, protocol, bytes);
  store<u16>(at, u16(fold(pseudo + sumOf(at, bytes)) ^ 0xffff), icmp.CHECKSUM);
  return headerOf<F>() + bytes;
}
