// The parser's slow twin: is this a packet that the program may pass at all? Written from the RFCs,
// with none of the core's code; it knows no policy. Answers why not, as text. (header.ts says which
// reason the program must give; this one only says what must never pass, and is read on its own.)
import { sum16 } from "../packets.ts";

/** Undefined for a packet whose headers are all there, in full and in order. */
export function malformed(bytes: Uint8Array, checked = false): string | undefined {
  if (bytes.length === 0) return "empty";
  const version = bytes[0]! >> 4;
  if (version === 4) return malformed4(bytes, checked);
  if (version === 6) return malformed6(bytes, checked);
  return "version";
}
const word = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;

function malformed4(bytes: Uint8Array, checked: boolean): string | undefined {
  if (bytes.length < 20) return "cut in the IPv4 header";
  const header = (bytes[0]! & 15) * 4;
  if (header < 20) return "header length";
  const total = word(bytes, 2);
  if (total < header || total > bytes.length) return "total length";
  if (!checked && sum16(bytes.subarray(0, header)) !== 0xffff) return "header checksum";
  if (!checked && bytes[8] === 0) return "TTL";
  if (word(bytes, 6) & 0x1fff) return "a fragment without the start";
  const more = (word(bytes, 6) & 0x2000) !== 0;
  return malformedL4(bytes.subarray(header, total), bytes[9]!, more, 1);
}

/** Next-header numbers with a length of their own: hop-by-hop, routing, AH, options, mobility. */
const EXTENSIONS = new Set([0, 43, 44, 51, 60, 135]);

function malformed6(bytes: Uint8Array, checked: boolean): string | undefined {
  if (bytes.length < 40) return "cut in the IPv6 header";
  const total = 40 + word(bytes, 4);
  if (total > bytes.length) return "payload length";
  if (!checked && bytes[7] === 0) return "hop limit";
  const mapped = (at: number): boolean =>
    bytes.subarray(at, at + 10).every((byte) => byte === 0) && word(bytes, at + 10) === 0xffff;
  if (mapped(8) || mapped(24)) return "an IPv4-mapped address on the wire";
  let rest = bytes.subarray(40, total);
  let next = bytes[6]!, place = 0, more = false;
  for (; EXTENSIONS.has(next); place++) {
    if (rest.length < 8) return "cut in an extension header";
    if (next === 0 && place > 0) return "hop-by-hop options that do not stand first";
    if (next === 43 && rest[2] === 0) return "a source route";
    if (next === 44) {
      if (more) return "a fragment of a fragment";
      if (word(rest, 2) >> 3) return "a fragment without the start";
      more = (rest[3]! & 1) === 1;
    }
    const length = next === 44 ? 8 : next === 51 ? (rest[1]! + 2) * 4 : (rest[1]! + 1) * 8;
    if (length > rest.length) return "an extension header beyond the packet";
    next = rest[0]!;
    rest = rest.subarray(length);
  }
  if (place > 8) return "more than eight extension headers";
  return malformedL4(rest, next, more, 58);
}

function malformedL4(
  l4: Uint8Array, protocol: number, more: boolean, icmp: number,
): string | undefined {
  if (protocol === 6) {
    if (l4.length < 20) return "cut in the TCP header";
    const header = (l4[12]! >> 4) * 4;
    if (header < 20 || header > l4.length) return "TCP offset";
    const flags = l4[13]! & 0b10111; // ACK RST SYN FIN
    const strange = flags === 0 || [0b11, 0b110, 0b101].some((both) => (flags & both) === both);
    return strange ? "TCP flags" : undefined;
  }
  if (protocol === 17) {
    if (l4.length < 8) return "cut in the UDP header";
    const length = word(l4, 4);
    const fits = more ? length > l4.length : length <= l4.length;
    return length >= 8 && fits ? undefined : "UDP length";
  }
  if (protocol === 132 && l4.length < 12) return "cut in the SCTP header";
  if (protocol === icmp && l4.length < 8) return "cut in the ICMP header";
  return undefined;
}
