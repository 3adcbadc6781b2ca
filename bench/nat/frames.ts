// Frames for benches: packets of flows as slots and windows, one frame behind the other, ready to
// be copied into a worker's frame. A flow is a number; who it is, its Stream says.
//
//   frame:  ┌ 256 slots, 32 bytes each ┐┌ 256 windows, 128 bytes each ┐
//
// Packets are 46 bytes long from L3 on (IPv4; a 64-byte Ethernet frame) or 66 (IPv6); checksums are
// right. Every flow comes once, in a random order that is always the same, then again until the
// last frame is full.
import {
  FRAME_PACKETS_MAX, SLOT_BYTES, SLOT_INTERFACE, SLOT_PACKET_LENGTH, SLOT_WINDOW_LENGTH,
  WINDOW_BYTES,
} from "../../assembly/layout.ts";
import { addressBytes } from "../../host/model/address.ts";

export const SLOTS_BYTES = FRAME_PACKETS_MAX * SLOT_BYTES;
export const FRAME_IN = SLOTS_BYTES + FRAME_PACKETS_MAX * WINDOW_BYTES;
const PAYLOAD = 18;
export const TCP = 6, UDP = 17;
export const SYN = 2, ACK = 16;

/** One packet of a flow. */
export interface FlowPacket {
  source: Uint8Array;
  /** 16 bytes; IPv4 as ::ffff:a.b.c.d. Likewise the source. */
  destination: Uint8Array;
  sourcePort: number;
  port: number;
}
export interface Stream {
  family: 4 | 6;
  protocol: typeof TCP | typeof UDP;
  flows: number;
  /** Interface that the packets come in at. */
  from: number;
  /** Fills in the packet of flow n; the object is the stream's to use again. */
  flow(n: number): FlowPacket;
}

/** 16 bytes of an address in text. */
export const place = (text: string): Uint8Array => Uint8Array.from(addressBytes(text));

/**
 * Frames of a stream, at least `framesMin`; TCP packets bear `flags`. Without `shuffle` the flows
 * come by their numbers.
 */
export function framesOf(
  stream: Stream, framesMin: number, flags = ACK, shuffle = true,
): Uint8Array {
  const count = Math.max(framesMin, Math.ceil(stream.flows / FRAME_PACKETS_MAX));
  const out = new Uint8Array(count * FRAME_IN);
  const order = shuffle ? shuffled(stream.flows) : undefined;
  for (let n = 0; n < count * FRAME_PACKETS_MAX; n++) {
    const i = n % FRAME_PACKETS_MAX, frame = (n - i) / FRAME_PACKETS_MAX;
    const flow = n % stream.flows;
    putPacket(out, frame * FRAME_IN, i, stream, order?.[flow] ?? flow, flags);
  }
  return out;
}

/** Writes packet i of the frame that begins at `frame`. */
export function putPacket(
  out: Uint8Array, frame: number, i: number, stream: Stream, flow: number, flags: number,
): void {
  const view = new DataView(out.buffer, out.byteOffset);
  const at = frame + SLOTS_BYTES + i * WINDOW_BYTES;
  const length = writePacket(view, at, stream, stream.flow(flow), flags);
  const slot = frame + i * SLOT_BYTES;
  view.setUint32(slot + SLOT_INTERFACE, stream.from, true);
  view.setUint32(slot + SLOT_PACKET_LENGTH, length, true);
  view.setUint16(slot + SLOT_WINDOW_LENGTH, length, true);
}

/** Writes a packet from its L3 header on; its length. */
export function writePacket(
  view: DataView, at: number, { family, protocol }: Stream, packet: FlowPacket, flags: number,
): number {
  const header = family === 4 ? 20 : 40, own = protocol === TCP ? 20 : 8;
  const carried = own + (protocol === TCP ? Math.max(PAYLOAD - 12, 0) : PAYLOAD);
  const length = header + carried, l4 = at + header;
  const addresses = family === 4 ? at + 12 : at + 8, size = family === 4 ? 4 : 16;
  for (let k = 0; k < size; k++) {
    view.setUint8(addresses + k, packet.source[16 - size + k]!);
    view.setUint8(addresses + size + k, packet.destination[16 - size + k]!);
  }
  if (family === 4) {
    view.setUint16(at, 0x4500);
    view.setUint16(at + 2, length);
    view.setUint32(at + 4, 0x4000);
    view.setUint16(at + 8, 0x4000 | protocol);
    view.setUint16(at + 10, 0);
    view.setUint16(at + 10, ~sum(view, at, at + 20, 0) & 0xffff);
  } else {
    view.setUint32(at, 0x60000000);
    view.setUint16(at + 4, carried);
    view.setUint16(at + 6, (protocol << 8) | 64);
  }
  view.setUint16(l4, packet.sourcePort);
  view.setUint16(l4 + 2, packet.port);
  const field = l4 + (protocol === TCP ? 16 : 6);
  if (protocol === TCP) {
    view.setUint32(l4 + 4, 1);
    view.setUint16(l4 + 12, 0x5000 | flags);
    view.setUint16(l4 + 14, 0xfaf0);
  } else {
    view.setUint16(l4 + 4, carried);
  }
  view.setUint16(field, 0);
  const covered = sum(view, addresses, l4, protocol + carried);
  view.setUint16(field, ~sum(view, l4, at + length, covered) & 0xffff || 0xffff);
  return length;
}

/** One's complement sum of 16-bit words, folded. */
function sum(view: DataView, from: number, to: number, start: number): number {
  let total = start;
  for (let at = from; at < to; at += 2) total += view.getUint16(at);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

/** 0 … n - 1 in an order that is random and always the same. */
export function shuffled(n: number): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  let state = 0x2545f491;
  for (let i = n - 1; i > 0; i--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const other = (state >>> 0) % (i + 1);
    [order[i], order[other]] = [order[other]!, order[i]!];
  }
  return order;
}
