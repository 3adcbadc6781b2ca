// What a packet that is turned away is answered, slowly: a TCP reset, or an ICMP error that quotes
// it, field by field, checksums over the whole. Undefined where RFCs forbid an answer.
// Source: RFC 9293 3.5.2 and 3.10.7.1, RFC 792, RFC 1122 3.2.2, RFC 1812 4.2.2.11 and 4.3.2, RFC
// 4443 2.4 and 3.1.
import { sum16 } from "../packets.ts";
import type { Headers } from "./header.ts";

/** Bytes of a packet that the program sees, and in which it answers. */
const WINDOW = 128;
/** Answers that may go out at once, and how many more each millisecond. */
const AT_ONCE = 128;
const PER_MS = 1;
const SYN = 2, FIN = 1, RST = 4, ACK = 16;

/** How many answers may still go out: a bucket that fills with time. */
export class Answers {
  private spent = 0;
  private sinceMs = 0;

  /** May one more go out? Then it has. */
  spend(nowMs: number): boolean {
    this.spent = Math.max(0, this.spent - ((nowMs - this.sinceMs) >>> 0) * PER_MS);
    this.sinceMs = nowMs;
    if (this.spent >= AT_ONCE) return false;
    this.spent++;
    return true;
  }
}

export function answerTo(bytes: Uint8Array, headers: Headers): Uint8Array | undefined {
  const { family, protocol, laterFragment, firstFragment, icmp, flags } = headers;
  if (laterFragment || !isHost(headers.source, family) || !isHost(headers.destination, family)) {
    return undefined;
  }
  if (protocol === 6) {
    if (firstFragment || flags! & RST) return undefined;
    return reset(bytes, headers);
  }
  const request = family === 4 ? 8 : 128;
  if (icmp && (icmp.type !== request || icmp.code !== 0)) return undefined;
  return unreachable(bytes, headers);
}

/** One host's address, and not one of the receiver's own loop. */
function isHost(address: Uint8Array, family: 4 | 6): boolean {
  if (family === 4) return address[0] !== 0 && address[0] !== 127 && address[0]! < 224;
  const low = address.subarray(0, 15).every((byte) => byte === 0) && address[15]! <= 1;
  return address[0] !== 0xff && !low;
}

function reset(bytes: Uint8Array, headers: Headers): Uint8Array {
  const { at, total, flags } = headers;
  const segment = new DataView(bytes.buffer, bytes.byteOffset + at, total - at);
  const takes = (flags! & SYN ? 1 : 0) + (flags! & FIN ? 1 : 0);
  const length = total - at - (segment.getUint8(12) >> 4) * 4 + takes;
  const out = new Uint8Array(20);
  const view = new DataView(out.buffer);
  view.setUint16(0, segment.getUint16(2));
  view.setUint16(2, segment.getUint16(0));
  if (flags! & ACK) view.setUint32(4, segment.getUint32(8));
  else view.setUint32(8, segment.getUint32(4) + length);
  out[12] = 5 << 4;
  out[13] = flags! & ACK ? RST : RST | ACK;
  return withHeader(headers, 6, out, 16);
}

function unreachable(bytes: Uint8Array, headers: Headers): Uint8Array | undefined {
  const { family, total, at } = headers;
  // 64 bytes, or more where its headers are long, as far as there is room.
  const room = Math.min(WINDOW - (family === 4 ? 20 : 40) - 8, Math.max(64, at + 8));
  const quoted = bytes.subarray(0, Math.min(total, room));
  // What tells nobody which flow it was about is not worth sending.
  if (quoted.length < Math.min(total, at + 8)) return undefined;
  const out = new Uint8Array(8 + quoted.length);
  out.set(family === 4 ? [3, 3] : [1, 4]);
  out.set(quoted, 8);
  return withHeader(headers, family === 4 ? 1 : 58, out, 2);
}

/** Back to where it came from, behind a plain header; the checksum of `upper` is at `sumAt`. */
function withHeader(
  { family, source, destination }: Headers, protocol: number, upper: Uint8Array, sumAt: number,
): Uint8Array {
  const header = family === 4 ? 20 : 40;
  const out = new Uint8Array(header + upper.length);
  const view = new DataView(out.buffer);
  if (family === 4) {
    out.set([0x45, 0, out.length >> 8, out.length & 255, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
    out.set(destination, 12);
    out.set(source, 16);
    view.setUint16(10, ~sum16(out.subarray(0, 20)) & 0xffff);
  } else {
    out.set([0x60, 0, 0, 0, upper.length >> 8, upper.length & 255, protocol, 64]);
    out.set(destination, 8);
    out.set(source, 24);
  }
  const pseudo = protocol === 1 ? []
    : [...destination, ...source, 0, 0, upper.length >> 8, upper.length & 255, 0, protocol];
  upper[sumAt] = upper[sumAt + 1] = 0;
  const sum = ~sum16(Uint8Array.from(pseudo), upper) & 0xffff;
  upper[sumAt] = sum >> 8;
  upper[sumAt + 1] = sum & 255;
  out.set(upper, header);
  return out;
}
