// A packet's headers, read slowly: bytes from the L3 header on to what policies are asked about, or
// the name of the reason why not. Written from RFC 791, 8200, 9293, 768, 792, 4443, 9260, with none
// of the core's code. Checks stand in the order in which the program makes them, so that a packet
// with one fault has one name.
import { sum16 } from "../packets.ts";

/** How many IPv6 extension headers the program walks before it gives up. */
const EXTENSIONS_MAX = 8;
/** Bytes of a packet that the program sees. */
const WINDOW = 128;

export interface Headers {
  family: 4 | 6;
  source: Uint8Array;
  destination: Uint8Array;
  protocol: number;
  hopLimit: number;
  /** Of TCP, UDP and SCTP. */
  sourcePort?: number;
  port?: number;
  /** Of the family's own ICMP. */
  icmp?: { type: number; code: number };
  /** Of an echo request or reply. */
  echo?: { identifier: number; isRequest: boolean };
  /** TCP's flag byte. */
  flags?: number;
  /** More of the datagram follows in other packets. */
  firstFragment: boolean;
  /** A part of a datagram without its start: neither ports nor type are known of it. */
  laterFragment: boolean;
  /** What the parts of one datagram share, of a part of one. */
  identification?: number;
  /** Where the transport's header begins, and where the packet ends. */
  at: number;
  total: number;
}
/** A name of Reason. */
export type Fault = { fault: string };

export function headersOf(bytes: Uint8Array, checked = false): Headers | Fault {
  if (bytes.length === 0) return { fault: "Truncated" };
  const version = bytes[0]! >> 4;
  if (version === 4) return headers4(bytes, checked);
  if (version === 6) return headers6(bytes, checked);
  return { fault: "BadVersion" };
}
export const isFault = (each: Headers | Fault): each is Fault => "fault" in each;

const word = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
const long = (bytes: Uint8Array, at: number): number =>
  word(bytes, at) * 65_536 + word(bytes, at + 2);

function headers4(bytes: Uint8Array, checked: boolean): Headers | Fault {
  if (bytes.length < 20) return { fault: "Truncated" };
  const header = (bytes[0]! & 15) * 4;
  if (header < 20) return { fault: "BadHeaderLength" };
  const total = word(bytes, 2);
  if (total < header || total > bytes.length) return { fault: "BadTotalLength" };
  if (!checked && sum16(bytes.subarray(0, header)) !== 0xffff) return { fault: "BadChecksum" };
  if (!checked && bytes[8] === 0) return { fault: "TimeExpired" };
  if (sourceRoute(bytes.subarray(20, header))) return { fault: "RoutingHeader" };
  const offset = word(bytes, 6) & 0x1fff, more = (word(bytes, 6) & 0x2000) !== 0;
  if (offset === 1) return TINY;
  const headers: Headers = {
    family: 4, source: bytes.slice(12, 16), destination: bytes.slice(16, 20),
    protocol: bytes[9]!, hopLimit: bytes[8]!, firstFragment: offset === 0 && more,
    laterFragment: offset > 0, at: header, total,
    ...(offset > 0 || more ? { identification: word(bytes, 4) } : {}),
  };
  return offset > 0 ? headers : upper(headers, bytes);
}

/** RFC 791: loose (131) and strict (137) source routes; Linux forwards neither by default. */
function sourceRoute(options: Uint8Array): boolean {
  if (options.length === 0 || options[0] === 0) return false;
  if (options[0] === 131 || options[0] === 137) return true;
  const length = options[0] === 1 ? 1 : options[1] ?? 0;
  if (options[0] !== 1 && length < 2) return false;
  return sourceRoute(options.subarray(length));
}

/** A part that starts 8 bytes into the datagram would overlay a transport header. */
const TINY: Fault = { fault: "TinyFragment" };

const HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, AUTHENTICATION = 51, OPTIONS = 60;
const MOBILITY = 135;

function headers6(bytes: Uint8Array, checked: boolean): Headers | Fault {
  if (bytes.length < 40) return { fault: "Truncated" };
  const total = 40 + word(bytes, 4);
  if (total > bytes.length) return { fault: "BadTotalLength" };
  if (!checked && bytes[7] === 0) return { fault: "TimeExpired" };
  const source = bytes.slice(8, 24), destination = bytes.slice(24, 40);
  if (isMapped(source) || isMapped(destination)) return { fault: "MappedAddress" };
  const headers: Headers = {
    family: 6, source, destination, protocol: bytes[6]!, hopLimit: bytes[7]!, firstFragment: false,
    laterFragment: false, at: 40, total,
  };
  let at = 40;
  for (let walked = 0; ; walked++) {
    const next = headers.protocol;
    if (![HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, OPTIONS, MOBILITY].includes(next)) break;
    const short = headers.firstFragment ? "TinyFragment" : "Truncated";
    if (walked === EXTENSIONS_MAX) return { fault: "ExtensionHeader" };
    // Hop-by-hop options stand first or not at all (RFC 8200, 4.1).
    if (next === HOP_BY_HOP && walked > 0) return { fault: "ExtensionHeader" };
    if (at + 8 > total) return { fault: short };
    if (at + 8 > WINDOW) return { fault: "HeadersTooLong" };
    let length = (bytes[at + 1]! + 1) * 8;
    if (next === AUTHENTICATION) length = (bytes[at + 1]! + 2) * 4;
    // RFC 5095: source routes of type 0 lead behind policy's back.
    if (next === ROUTING && bytes[at + 2] === 0) return { fault: "RoutingHeader" };
    if (next === FRAGMENT) {
      length = 8;
      if (headers.firstFragment) return { fault: "ExtensionHeader" };
      const offset = word(bytes, at + 2) >> 3;
      if (offset === 1) return TINY;
      headers.firstFragment = offset === 0 && (bytes[at + 3]! & 1) === 1;
      if (offset > 0 || headers.firstFragment) headers.identification = long(bytes, at + 4);
      if (offset > 0) {
        return { ...headers, protocol: bytes[at]!, laterFragment: true, at: at + 8 };
      }
    }
    headers.protocol = bytes[at]!;
    at += length;
    if (at > total) return { fault: headers.firstFragment ? "TinyFragment" : "Truncated" };
    if (at > WINDOW) return { fault: "HeadersTooLong" };
  }
  return upper({ ...headers, at }, bytes);
}

function isMapped(address: Uint8Array): boolean {
  return address.subarray(0, 10).every((byte) => byte === 0) && word(address, 10) === 0xffff;
}

const L4_BYTES: Record<number, number> = { 6: 20, 17: 8, 132: 12 };

/** The transport's header. */
function upper(headers: Headers, bytes: Uint8Array): Headers | Fault {
  const { protocol, family, firstFragment, at, total } = headers;
  const isIcmp = protocol === (family === 4 ? 1 : 58);
  const least = isIcmp ? 8 : L4_BYTES[protocol];
  const l4Bytes = total - at;
  // RFC 1858, RFC 7112: a first fragment bears all headers, or none can be trusted.
  const says = protocol === 6 && l4Bytes > 12 && at + 12 < WINDOW;
  const tcpBytes = says ? (bytes[at + 12]! >> 4) * 4 : 0;
  const eight = protocol === 1 || protocol === 58 ? 8 : 0;
  if (firstFragment && l4Bytes < Math.max(least ?? eight, tcpBytes)) {
    return { fault: "TinyFragment" };
  }
  if (least === undefined) return headers;
  if (l4Bytes < least) return { fault: "Truncated" };
  if (at + least > WINDOW) return { fault: "HeadersTooLong" };
  const l4 = bytes.subarray(at, total);
  if (isIcmp) {
    const icmp = { type: l4[0]!, code: l4[1]! };
    const isRequest = icmp.type === (family === 4 ? 8 : 128);
    const isEcho = icmp.code === 0 && (isRequest || icmp.type === (family === 4 ? 0 : 129));
    const echo = isEcho ? { echo: { identifier: word(l4, 4), isRequest } } : {};
    return { ...headers, icmp, ...echo };
  }
  const ports = { sourcePort: word(l4, 0), port: word(l4, 2) };
  if (protocol === 6) {
    const header = (l4[12]! >> 4) * 4;
    if (header < 20) return { fault: "BadHeaderLength" };
    if (header > l4.length) return { fault: "BadHeaderLength" };
    const flags = l4[13]! & 0b10111; // ACK RST SYN FIN
    const strange = flags === 0 || [0b11, 0b110, 0b101].some((both) => (flags & both) === both);
    return strange ? { fault: "BadTcpFlags" } : { ...headers, ...ports, flags: l4[13]! };
  }
  if (protocol === 17) {
    const length = word(l4, 4);
    // A first fragment bears the length of the whole datagram, which is more than it has.
    const wrong = firstFragment ? length <= l4.length : length > l4.length;
    if (length < 8 || wrong) return { fault: "BadTotalLength" };
  }
  return { ...headers, ...ports };
}
