// What the side-by-side rows send: one packet a stream, which the node bench-flows (flows.c) makes
// into those of many flows by writing the flow's number into its fields.
//
//   UDP    client 11.0.0.0 + n, port 1234 ─► VIP 172.16.0.1 + n mod services, port 80
//          fd0b:: + n                     ─► fdac:: + n mod services
//   ICMP   client ─► VIP, "port unreachable", about VIP:80 ─► client:1234: the reply of that flow
//
// A Service has two backends: 192.168.0.0 + 2 s and the next, or fdc0::; port 8080. Without NAT
// packets go to the first backend's address and port themselves.
//
// Limits: 64 bytes (IPv6 with its longer header 64 too, an ICMP error 56); 16 million flows.

export type Family = 4 | 6;
export const VIP_PORT = 80;
export const BACKEND_PORT = 8080;
export const PACKET_BYTES = 64;
export const CLIENT_PORT = 1234;
export const FLOWS_MAX = 1 << 24;
const UDP = 17, ICMP = 1;

/** A field that the flow's number is written into: base + n, or base + n mod `modulo`. */
export interface Field { offset: number; base: number; modulo?: number; checksums: number[] }
export interface Traffic { family: Family; bytes: Uint8Array; fields: Field[] }

const BASES: Record<Family, Record<"client" | "vip" | "backend", [string, number]>> = {
  4: {
    client: ["", 0x0b000000], vip: ["", 0xac100001], backend: ["", 0xc0a80000],
  },
  6: {
    client: ["fd0b::", 0], vip: ["fdac::", 0], backend: ["fdc0::", 0],
  },
};
type Who = "client" | "vip" | "backend";

export function addressOf(family: Family, who: Who, n: number): string {
  const [network, base] = BASES[family][who];
  const number = base + n;
  const words = [number >>> 16, number & 0xffff].map((word) => word.toString(16)).join(":");
  if (family === 6) return `${network}${words}`;
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");
}

function bytesOf(family: Family, who: Who, n: number): Uint8Array {
  const [network, base] = BASES[family][who];
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  const view = new DataView(bytes.buffer);
  if (family === 6) view.setUint16(0, parseInt(network, 16));
  view.setUint32(bytes.length - 4, base + n);
  return bytes;
}

/** The ones' complement sum over big-endian 16-bit words, folded. */
export function onesSum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

const headerBytes = (family: Family): number => (family === 4 ? 20 : 40);
export const sourceAt = (family: Family): number => (family === 4 ? 12 : 8);
export const destinationAt = (family: Family): number => (family === 4 ? 16 : 24);
const addressBytes = (family: Family): number => (family === 4 ? 4 : 16);

/** An IP header for `length` bytes in all, its own checksum made. */
function header(
  family: Family, protocol: number, length: number, source: Uint8Array, destination: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(headerBytes(family));
  const view = new DataView(bytes.buffer);
  if (family === 4) {
    view.setUint16(0, 0x4500);
    view.setUint16(2, length);
    view.setUint8(8, 64);
    view.setUint8(9, protocol);
  } else {
    view.setUint32(0, 0x60000000);
    view.setUint16(4, length - bytes.length);
    view.setUint8(6, protocol);
    view.setUint8(7, 64);
  }
  bytes.set(source, sourceAt(family));
  bytes.set(destination, destinationAt(family));
  if (family === 4) view.setUint16(10, ~onesSum(bytes) & 0xffff);
  return bytes;
}

/** The sum over the pseudo-header of what an IP packet carries. */
function pseudoSum(family: Family, packet: Uint8Array): number {
  const from = sourceAt(family);
  const protocol = packet[family === 4 ? 9 : 6]!;
  const length = packet.length - headerBytes(family);
  return onesSum(packet.subarray(from, from + 2 * addressBytes(family)), protocol + length);
}

export interface Towards { family: Family; who: "vip" | "backend"; services: number }

/** Flows of UDP to the VIPs of Services, or to a backend itself. */
export function udpFlows({ family, who, services }: Towards): Traffic {
  const l4 = headerBytes(family);
  const bytes = new Uint8Array(PACKET_BYTES);
  const to = bytesOf(family, who, 0);
  bytes.set(header(family, UDP, PACKET_BYTES, bytesOf(family, "client", 0), to));
  const view = new DataView(bytes.buffer);
  view.setUint16(l4, CLIENT_PORT);
  view.setUint16(l4 + 2, who === "vip" ? VIP_PORT : BACKEND_PORT);
  view.setUint16(l4 + 4, PACKET_BYTES - l4);
  view.setUint16(l4 + 6, ~onesSum(bytes.subarray(l4), pseudoSum(family, bytes)) & 0xffff);
  const checksums = family === 4 ? [10, l4 + 6] : [l4 + 6];
  const low = addressBytes(family) - 4;
  const field = (at: number, base: number, modulo?: number): Field =>
    ({ offset: at + low, base, checksums, ...(modulo ? { modulo } : {}) });
  return {
    family, bytes,
    fields: [
      field(sourceAt(family), BASES[family].client[1]),
      ...(services > 1
        ? [field(destinationAt(family), BASES[family][who][1], services)] : []),
    ],
  };
}

/** Errors that the clients of udpFlows send about the replies of their one Service. */
export function icmpErrors(): Traffic {
  const client = bytesOf(4, "client", 0), vip = bytesOf(4, "vip", 0);
  const bytes = new Uint8Array(56);
  bytes.set(header(4, ICMP, bytes.length, client, vip));
  bytes.set(header(4, UDP, PACKET_BYTES, vip, client), 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(20, 0x0303);
  view.setUint16(48, VIP_PORT);
  view.setUint16(50, CLIENT_PORT);
  view.setUint16(52, PACKET_BYTES - 20);
  // The quoted UDP checksum is that of flow 0's: nobody can check it, for its payload is missing.
  // So the ICMP checksum is the same whoever the client is.
  view.setUint16(54, 0x1d0f);
  view.setUint16(22, ~onesSum(bytes.subarray(20)) & 0xffff);
  const base = BASES[4].client[1];
  return {
    family: 4, bytes,
    fields: [
      { offset: 12, base, checksums: [10] }, { offset: 44, base, checksums: [38] },
    ],
  };
}

/** Are an IP packet's checksums right: the header's, UDP's or ICMP's? */
export function checksumsHold(packet: Uint8Array): boolean {
  const family: Family = packet[0]! >> 4 === 6 ? 6 : 4;
  const body = packet.subarray(headerBytes(family));
  if (family === 4 && onesSum(packet.subarray(0, 20)) !== 0xffff) return false;
  if (family === 4 && packet[9] === ICMP) return onesSum(body) === 0xffff;
  return onesSum(body, pseudoSum(family, packet)) === 0xffff;
}

/** The packet of flow n, as bench-flows makes it: for tests, and to tell what came out. */
export function packetOf(traffic: Traffic, n: number): Uint8Array {
  const packet = Uint8Array.from(traffic.bytes);
  const view = new DataView(packet.buffer);
  for (const { offset, base, modulo, checksums } of traffic.fields) {
    const was = view.getUint32(offset);
    const to = (base + (modulo ? n % modulo : n)) >>> 0;
    view.setUint32(offset, to);
    for (const at of checksums) {
      let sum = (~view.getUint16(at) & 0xffff) + (~was >>> 16) + (~was & 0xffff)
        + (to >>> 16) + (to & 0xffff);
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
      view.setUint16(at, ~sum & 0xffff);
    }
  }
  return packet;
}
