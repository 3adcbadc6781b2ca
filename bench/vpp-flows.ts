// The flows of the side-by-side benchmark: a range of client addresses, one UDP port, one VIP. As a
// packet-generator stream they come in order of their addresses, which is the order their sessions
// were made in, and so the kindest to any cache; as a capture they come shuffled.
//
//   client 10.0.0.2 + n, port 1234 ─► VIP 10.96.0.1:80 ─► 192.168.1.5:8080 or 192.168.1.6:8080
//
// Limits: 5 million flows (10.0.0.2 up to the VIP).

import { closeSync, openSync, writeSync } from "node:fs";
import { LINKTYPE_RAW } from "../host/input/pcap.ts";

export const VIP = "10.96.0.1";
export const VIP_PORT = 80;
export const BACKENDS = ["192.168.1.5", "192.168.1.6"];
export const BACKEND_PORT = 8080;
export const FLOWS_MAX = 5_000_000;
export const PACKET_BYTES = 64;

const FIRST_CLIENT = 0x0a000002;
const CLIENT_PORT = 1234;
const IP_BYTES = 20;
const PROTOCOL_UDP = 17;
const PCAP_HEADER_BYTES = 24;
const PCAP_RECORD_BYTES = 16;
const CHUNK_PACKETS = 65_536;

const ipText = (number: number): string =>
  [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");

/** The data of a packet-generator stream: every flow in turn. */
export function inOrder(flows: number): string {
  const clients = `${ipText(FIRST_CLIENT)} - ${ipText(FIRST_CLIENT + flows - 1)}`;
  return `data { UDP: ${clients} -> ${VIP} UDP: ${CLIENT_PORT} -> ${VIP_PORT} incrementing 8 }`;
}

/** The ones' complement sum over big-endian 16-bit words, folded. */
export function onesSum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** Are the checksums of an IPv4 packet and of the UDP datagram in it right? */
export function checksumsHold(packet: Uint8Array): boolean {
  const udp = packet.subarray(IP_BYTES);
  const pseudo = onesSum(packet.subarray(12, 20), PROTOCOL_UDP + udp.length);
  return onesSum(packet.subarray(0, IP_BYTES)) === 0xffff && onesSum(udp, pseudo) === 0xffff;
}

function packetOf(flow: number): Uint8Array {
  const packet = new Uint8Array(PACKET_BYTES);
  const view = new DataView(packet.buffer);
  view.setUint16(0, 0x4500);
  view.setUint16(2, PACKET_BYTES);
  view.setUint8(8, 64);
  view.setUint8(9, PROTOCOL_UDP);
  view.setUint32(12, FIRST_CLIENT + flow);
  packet.set(VIP.split(".").map(Number), 16);
  view.setUint16(10, ~onesSum(packet.subarray(0, IP_BYTES)) & 0xffff);
  view.setUint16(20, CLIENT_PORT);
  view.setUint16(22, VIP_PORT);
  view.setUint16(24, PACKET_BYTES - IP_BYTES);
  const udp = packet.subarray(IP_BYTES);
  view.setUint16(26, ~onesSum(udp, onesSum(packet.subarray(12, 20), 17 + udp.length)) & 0xffff);
  return packet;
}

/** The numbers 0..n-1 in an order that only the seed decides (Fisher-Yates over xorshift32). */
function shuffled(n: number, seed: number): Uint32Array {
  const numbers = Uint32Array.from({ length: n }, (_, i) => i);
  let state = seed;
  for (let i = n - 1; i > 0; i--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const j = (state >>> 0) % (i + 1);
    [numbers[i], numbers[j]] = [numbers[j]!, numbers[i]!];
  }
  return numbers;
}

/** Writes a capture (pcap, bare IP packets) with one packet of every flow, shuffled by the seed. */
export function writeShuffled(path: string, flows: number, seed: number): void {
  const file = openSync(path, "w");
  const header = new DataView(new ArrayBuffer(PCAP_HEADER_BYTES));
  header.setUint32(0, 0xa1b2c3d4, true);
  header.setUint16(4, 2, true);
  header.setUint16(6, 4, true);
  header.setUint32(16, PACKET_BYTES, true);
  header.setUint32(20, LINKTYPE_RAW, true);
  writeSync(file, header);
  const order = shuffled(flows, seed);
  const stride = PCAP_RECORD_BYTES + PACKET_BYTES;
  for (let from = 0; from < flows; from += CHUNK_PACKETS) {
    const part = order.subarray(from, from + CHUNK_PACKETS);
    const chunk = new Uint8Array(part.length * stride);
    const view = new DataView(chunk.buffer);
    part.forEach((flow, i) => {
      view.setUint32(i * stride + 8, PACKET_BYTES, true);
      view.setUint32(i * stride + 12, PACKET_BYTES, true);
      chunk.set(packetOf(flow), i * stride + PCAP_RECORD_BYTES);
    });
    writeSync(file, chunk);
  }
  closeSync(file);
}
