// Addresses between text and VPP's bytes.
//
//   "10.0.0.1"           4 bytes         "02:fe:00:00:00:01"   6 bytes
//   "fd00::1"           16 bytes         "10.0.0.0/24"         address and length
//
// IPv6 text is written as RFC 5952 says; what is read may be any form of RFC 4291 without a zone.
// Limits: a prefix keeps the bits below its length, as VPP does.

import { isIPv4, isIPv6 } from "node:net";
import { VppValueError } from "./errors.ts";

const MAC = /^[0-9a-f]{1,2}([:-][0-9a-f]{1,2}){5}$/i;
const MAC_DOTTED = /^[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}$/i;

export function parseIp4(text: string): Uint8Array {
  if (!isIPv4(text)) throw new VppValueError(`${JSON.stringify(text)} is no IPv4 address`);
  return Uint8Array.from(text.split("."), Number);
}

export function parseIp6(text: string): Uint8Array {
  if (!isIPv6(text) || text.includes("%")) {
    throw new VppValueError(`${JSON.stringify(text)} is no IPv6 address`);
  }
  // A dotted tail is two groups more.
  const groupsOnly = text.replace(/\d+\.\d+\.\d+\.\d+$/, (tail) => {
    const [a, b, c, d] = parseIp4(tail) as unknown as [number, number, number, number];
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [left, right] = groupsOnly.split("::") as [string, string | undefined];
  const groups = (part: string | undefined) =>
    (part ? part.split(":").map((group) => Number.parseInt(group, 16)) : []);
  const head = groups(left);
  const tail = groups(right);
  const zeros = right === undefined ? [] : new Array<number>(8 - head.length - tail.length).fill(0);
  const all = [...head, ...zeros, ...tail];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 255]));
}

export function parseMac(text: string): Uint8Array {
  if (MAC.test(text)) {
    return Uint8Array.from(text.split(/[:-]/), (part) => Number.parseInt(part, 16));
  }
  if (MAC_DOTTED.test(text)) return new Uint8Array(Buffer.from(text.replaceAll(".", ""), "hex"));
  throw new VppValueError(`${JSON.stringify(text)} is no MAC address`);
}

/** "10.0.0.1/24" into its two parts; a prefix names its length. */
export function splitPrefix(text: string, bits: number): [address: string, length: number] {
  const slash = text.indexOf("/");
  const length = slash < 0 ? "" : text.slice(slash + 1);
  if (!/^\d{1,3}$/.test(length) || Number(length) > bits) {
    throw new VppValueError(`${JSON.stringify(text)} is no prefix: address/0..${bits}`);
  }
  return [text.slice(0, slash), Number(length)];
}

export const formatIp4 = (bytes: Uint8Array): string => bytes.join(".");

export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

export function formatIp6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!);
  const [start, length] = longestZeros(groups);
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  // The mapped and compatible forms keep their dotted tail.
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (mapped) return `::ffff:${formatIp4(bytes.subarray(12))}`;
  if (length < 2) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

/** The first of the longest runs of zero groups. */
function longestZeros(groups: number[]): [start: number, length: number] {
  let best: [number, number] = [0, 0];
  for (let i = 0; i < groups.length; i++) {
    let end = i;
    while (end < groups.length && groups[end] === 0) end++;
    if (end - i > best[1]) best = [i, end - i];
    i = Math.max(i, end);
  }
  return best;
}
