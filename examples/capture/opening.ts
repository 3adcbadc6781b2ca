// The packet that opens a connection, from its tuple: what the program is asked about before the
// real one is sent. Its tuple and flags are the real one's; options, numbers and payload don't
// matter to the choice.
//
// Source: RFC 791, RFC 8200, RFC 9293, RFC 768; checksums RFC 1071.

import { isIPv6 } from "node:net";
import type { Opening } from "./network.ts";

const TCP = 6, UDP = 17;
const TCP_BYTES = 20, UDP_BYTES = 8;
const HOP_LIMIT = 64;
const FLAG_SYN = 2;
const HEADER_WORDS = 5;

export function openingPacket(opening: Opening): Uint8Array {
  const protocol = opening.protocol === "tcp" ? TCP : UDP;
  const source = addressBytes(opening.source);
  const destination = addressBytes(opening.destination);
  const transport = transportHeader(opening, protocol);
  const rest = Buffer.from([0, protocol, 0, transport.length]);
  const pseudo = Buffer.concat([source, destination, rest]);
  const at = protocol === TCP ? 16 : 6;
  transport.writeUInt16BE(checksum(Buffer.concat([pseudo, transport])) || 0xffff, at);
  const header = isIPv6(opening.source) ? Buffer.alloc(8) : Buffer.alloc(12);
  if (isIPv6(opening.source)) {
    header[0] = 0x60;
    header.writeUInt16BE(transport.length, 4);
    header[6] = protocol;
    header[7] = HOP_LIMIT;
  } else {
    header[0] = 0x40 | HEADER_WORDS;
    header.writeUInt16BE(20 + transport.length, 2);
    header[8] = HOP_LIMIT;
    header[9] = protocol;
    header.writeUInt16BE(checksum(Buffer.concat([header, source, destination])), 10);
  }
  return Uint8Array.from(Buffer.concat([header, source, destination, transport]));
}

function transportHeader(opening: Opening, protocol: number): Buffer {
  const header = Buffer.alloc(protocol === TCP ? TCP_BYTES : UDP_BYTES);
  header.writeUInt16BE(opening.sourcePort, 0);
  header.writeUInt16BE(opening.destinationPort, 2);
  if (protocol === TCP) {
    header[12] = HEADER_WORDS << 4;
    header[13] = FLAG_SYN;
    header.writeUInt16BE(0xffff, 14);
  } else {
    header.writeUInt16BE(UDP_BYTES, 4);
  }
  return header;
}

/** In wire order; of IPv6 no form with an embedded IPv4 address. */
function addressBytes(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split(".").map(Number));
  const [head, tail] = address.split("::").map((part) => part === "" ? [] : part.split(":"));
  const zeros = tail === undefined ? 0 : 8 - head!.length - tail.length;
  const words = [...head!, ...Array<string>(zeros).fill("0"), ...(tail ?? [])];
  return Buffer.from(words.map((word) => word.padStart(4, "0")).join(""), "hex");
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
