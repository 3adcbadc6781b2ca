// The parser's slow twin: is this a packet that the program may pass at all? Written from the RFCs,
// with none of the core's code; it knows no policy. Answers why not, as text.
import { sum16 } from "../packets.ts";

/** Undefined for a packet of TCP, UDP or an ICMP echo without options, fragments and extensions. */
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
  if ((bytes[0]! & 15) !== 5) return "header length, or options";
  const total = word(bytes, 2);
  if (total < 20 || total > bytes.length) return "total length";
  if (!checked && sum16(bytes.subarray(0, 20)) !== 0xffff) return "header checksum";
  if (!checked && bytes[8] === 0) return "TTL";
  if (word(bytes, 6) & 0x3fff) return "fragment";
  return malformedL4(bytes.subarray(20, total), bytes[9]!, 1, [8, 0]);
}

function malformed6(bytes: Uint8Array, checked: boolean): string | undefined {
  if (bytes.length < 40) return "cut in the IPv6 header";
  const total = 40 + word(bytes, 4);
  if (total > bytes.length) return "payload length";
  if (!checked && bytes[7] === 0) return "hop limit";
  const mapped = (at: number): boolean =>
    bytes.subarray(at, at + 10).every((byte) => byte === 0) && word(bytes, at + 10) === 0xffff;
  if (mapped(8) || mapped(24)) return "an IPv4-mapped address on the wire";
  return malformedL4(bytes.subarray(40, total), bytes[6]!, 58, [128, 129]);
}

function malformedL4(
  l4: Uint8Array, protocol: number, icmp: number, echoes: number[],
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
    return length < 8 || length > l4.length ? "UDP length" : undefined;
  }
  if (protocol !== icmp) return "protocol";
  if (l4.length < 8) return "cut in the ICMP header";
  return echoes.includes(l4[0]!) && l4[1] === 0 ? undefined : "ICMP type or code";
}
