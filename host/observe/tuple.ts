// The tuple of a packet, for reports: read from its bytes and printed. It decides nothing: what the
// program thinks of a packet stands in the program's results.
//
// Limits: the transport header has to follow the IP header at once (IPv6 extension headers, and
// fragments but the first, show their protocol without ports). An echo's identifier stands for the
// source port.
// Source: RFC 791, RFC 8200, RFC 792, RFC 4443.

import { addressText } from "../model/address.ts";
import { PROTOCOL_NUMBERS } from "../model/program.ts";

export interface Tuple {
  family: 4 | 6;
  protocol: number;
  source: string;
  sourcePort: number;
  destination: string;
  destinationPort: number;
}

const ICMP = 1, TCP = 6, UDP = 17, ICMP6 = 58, SCTP = 132;
/** Of two names of a number the first. */
const PROTOCOL_NAMES = new Map(
  Object.entries(PROTOCOL_NUMBERS).reverse().map(([name, number]) => [number, name]),
);
/** Types whose rest-of-header starts with an identifier: echo and its reply. */
const ECHOES: Readonly<Record<number, readonly number[]>> = { [ICMP]: [8, 0], [ICMP6]: [128, 129] };

/** From the L3 header on; undefined where the bytes don't hold an IP header. */
export function readTuple(bytes: Uint8Array): Tuple | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = (bytes[0] ?? 0) >> 4;
  if (version === 4 && bytes.length >= 20) {
    const fragment = view.getUint16(6) & 0x1fff;
    const transport = fragment === 0 ? (bytes[0]! & 15) * 4 : bytes.length;
    return {
      family: 4, ...ports(view, bytes[9]!, transport),
      source: addressText(bytes.subarray(12, 16)),
      destination: addressText(bytes.subarray(16, 20)),
    };
  }
  if (version === 6 && bytes.length >= 40) {
    return {
      family: 6, ...ports(view, bytes[6]!, 40),
      source: addressText(bytes.subarray(8, 24)),
      destination: addressText(bytes.subarray(24, 40)),
    };
  }
  return undefined;
}

type Ports = Pick<Tuple, "protocol" | "sourcePort" | "destinationPort">;

function ports(view: DataView, protocol: number, at: number): Ports {
  if (at + 8 > view.byteLength) return { protocol, sourcePort: 0, destinationPort: 0 };
  if (protocol === TCP || protocol === UDP || protocol === SCTP) {
    return { protocol, sourcePort: view.getUint16(at), destinationPort: view.getUint16(at + 2) };
  }
  const echo = ECHOES[protocol]?.includes(view.getUint8(at)) ?? false;
  return { protocol, sourcePort: echo ? view.getUint16(at + 4) : 0, destinationPort: 0 };
}

/** The same conversation from its other end; an echo's identifier stays where it is. */
export function reversed(tuple: Tuple): Tuple {
  const { source, sourcePort, destination, destinationPort, protocol } = tuple;
  const echo = ECHOES[protocol] !== undefined;
  return {
    ...tuple, source: destination, destination: source,
    sourcePort: echo ? sourcePort : destinationPort,
    destinationPort: echo ? destinationPort : sourcePort,
  };
}

export function printTuple(tuple: Tuple): string {
  const { protocol, source, sourcePort, destination, destinationPort } = tuple;
  const name = printProtocol(protocol);
  const to = ECHOES[protocol] === undefined ? printEnd(destination, destinationPort) : destination;
  return `${name} ${printEnd(source, sourcePort)} > ${to}`;
}

export function printProtocol(protocol: number): string {
  return PROTOCOL_NAMES.get(protocol) ?? `protocol ${protocol}`;
}

export function printEnd(address: string, port: number): string {
  if (port === 0) return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
