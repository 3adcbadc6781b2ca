// Addresses as text and as 16 wire-order bytes (IPv4 as ::ffff:a.b.c.d), and prefixes.
// Text forms: dotted quad; RFC 4291 text, printed by the rules of RFC 5952.
import { isIPv4, isIPv6 } from "node:net";

export type Family = 4 | 6;

/** 16 bytes, wire order. Throws on text that is no address. */
export function addressBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  if (isIPv4(text)) {
    bytes.set([0xff, 0xff, ...text.split(".").map(Number)], 10);
    return bytes;
  }
  if (!isIPv6(text)) throw new Error(`"${text}" is no IP address`);
  let plain = text;
  const quad = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (quad) {
    const [a, b, c, d] = quad[2]!.split(".").map(Number) as [number, number, number, number];
    plain = `${quad[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head, tail] = plain.split("::") as [string, string | undefined];
  const words = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((word) => parseInt(word, 16));
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  const zeros = new Array<number>(8 - before.length - after.length).fill(0);
  [...before, ...zeros, ...after].forEach((word, i) => {
    bytes[i * 2] = word >> 8;
    bytes[i * 2 + 1] = word & 0xff;
  });
  return bytes;
}

export function familyOf(text: string): Family {
  return isIPv4(text) ? 4 : 6;
}

/** Is this the IPv4-mapped form? */
export function isMapped(bytes: Uint8Array): boolean {
  return bytes.subarray(0, 10).every((b) => b === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
}

/** Text of 4 or 16 wire-order bytes. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const words: number[] = [];
  for (let i = 0; i < 16; i += 2) words.push((bytes[i]! << 8) | bytes[i + 1]!);
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && words[i + length] === 0) length++;
    if (length > best.length) best = { at: i, length };
  }
  const hex = (part: number[]): string => part.map((word) => word.toString(16)).join(":");
  if (best.at < 0) return hex(words);
  return `${hex(words.slice(0, best.at))}::${hex(words.slice(best.at + best.length))}`;
}

/** A prefix as two 128-bit numbers; an IPv4 one lies under ::ffff:0:0/96. */
export interface Prefix {
  family: Family;
  /** Network address, host bits zero. */
  network: bigint;
  /** Ones where the network is. */
  mask: bigint;
}

export function addressNumber(bytes: Uint8Array): bigint {
  return bytes.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

/** "10.0.0.0/8", "fd00::/64", or an address alone. Throws with what is wrong. */
export function parsePrefix(text: string): Prefix {
  const [address, length, ...rest] = text.split("/") as [string, string | undefined];
  const bytes = addressBytes(address);
  const family = familyOf(address);
  const most = family === 4 ? 32 : 128;
  const bits = length === undefined ? most : /^\d+$/.test(length) ? Number(length) : -1;
  if (rest.length || bits < 0 || bits > most) {
    throw new Error(`"${text}": the prefix length must be 0 to ${most}`);
  }
  const hostBits = BigInt(most - bits);
  const all = (1n << 128n) - 1n;
  const mask = (all >> hostBits) << hostBits;
  return { family, network: addressNumber(bytes) & mask, mask };
}
