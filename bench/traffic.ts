// The traffic of the pipeline bench: UDP flows from clients behind an uplink to one VIP with ten
// backends, 64-byte Ethernet frames (46 bytes from L3), every flow once in a random order, then
// again until the last frame is full.
import {
  FRAME_PACKETS_MAX, SLOT_BYTES, SLOT_INTERFACE, SLOT_PACKET_LENGTH, SLOT_WINDOW_LENGTH,
  WINDOW_BYTES,
} from "../assembly/layout.ts";
import {
  beginRecord, bindRecord, configureRecord, endpointRecords, serviceRecords,
} from "../host/compile/records.ts";
import { concat } from "../host/dataplane/record.ts";
import type { Endpoint, Service } from "../host/model/program.ts";

export const GENERATION = 1;
export const FRAME_IN = FRAME_PACKETS_MAX * (SLOT_BYTES + WINDOW_BYTES);
const PACKET_BYTES = 46;
const BACKENDS = 10;

/** Stage records of the whole set-up, Configure first. */
export function setup(flows: number): Uint8Array {
  const pods = Array.from({ length: BACKENDS }, (_, i): Endpoint => ({
    name: `backend-${i}`, kind: "workload", interfaces: [2 + i], addresses: [`10.1.0.${i + 1}`],
  }));
  const uplink: Endpoint = { name: "uplink", kind: "uplink", interfaces: [1], addresses: [] };
  const service: Service = {
    name: "vip", address: "10.96.0.10", port: 80, protocol: "udp",
    backends: pods.map((pod) => ({ name: pod.name, address: pod.addresses[0]!, port: 8080 })),
  };
  const endpoints = [uplink, ...pods];
  return concat([
    configureRecord({
      workers: 1, sessions4Max: Math.ceil(flows * 1.25) + 1024, sessions6Max: 0,
      endpointsMax: 64, servicesMax: 64,
    }),
    ...endpoints.flatMap((each, i) => each.interfaces.map((number) => bindRecord(number, i))),
    beginRecord(GENERATION), ...endpointRecords(endpoints, new Map()), ...serviceRecords([service]),
  ]);
}

/** Pages of memory that the set-up needs. */
export function pagesFor(flows: number): number {
  return 256 + Math.ceil(((Math.ceil(flows * 1.25) + 1024) * (64 + 17)) / 65536);
}

/** Frames as slots and windows, one behind the other; at least `framesMin`. */
export function makeFrames(flows: number, framesMin: number): Uint8Array {
  const count = Math.max(framesMin, Math.ceil(flows / FRAME_PACKETS_MAX));
  const out = new Uint8Array(count * FRAME_IN);
  const view = new DataView(out.buffer);
  const order = shuffled(flows);
  for (let n = 0; n < count * FRAME_PACKETS_MAX; n++) {
    const i = n % FRAME_PACKETS_MAX;
    const frame = ((n - i) / FRAME_PACKETS_MAX) * FRAME_IN;
    const slot = frame + i * SLOT_BYTES;
    view.setUint32(slot + SLOT_INTERFACE, 1, true);
    view.setUint32(slot + SLOT_PACKET_LENGTH, PACKET_BYTES, true);
    view.setUint16(slot + SLOT_WINDOW_LENGTH, PACKET_BYTES, true);
    writePacket(view, frame + FRAME_PACKETS_MAX * SLOT_BYTES + i * WINDOW_BYTES, order[n % flows]!);
  }
  return out;
}

/** A request of a flow: 198.18.0.0/15, one of eight and more ports, to the VIP. */
function writePacket(view: DataView, at: number, flow: number): void {
  const words = [
    0x4500, PACKET_BYTES, 0, 0x4000, 0x4011, 0, 0xc612 + ((flow >>> 16) & 1), flow & 0xffff,
    0x0a60, 0x000a, 1024 + (flow >>> 17), 80, PACKET_BYTES - 20, 0,
  ];
  words.forEach((word, i) => view.setUint16(at + 2 * i, word));
  const sum = (from: number, to: number, start: number): number => {
    let total = start;
    for (let i = from; i < to; i++) total += words[i]!;
    while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
    return ~total & 0xffff;
  };
  view.setUint16(at + 10, sum(0, 10, 0));
  view.setUint16(at + 26, sum(6, 14, 17 + PACKET_BYTES - 20) || 0xffff);
}

/** 0 … n - 1 in an order that is random and always the same. */
function shuffled(n: number): Uint32Array {
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
