// Members of sets as numbers: "10.0.0.0/8", "fd00::1", "10.0.0.1,tcp:80" to words that the trie
// compares. Written for a million of them a second; no big numbers, no splitting of text.
//
//   net, ip   words: the address, high word first; length 0 to 32 or 128
//   ip-port   words: the address, then protocol << 24 | port << 8; length 56 or 152
import type { AddressSet } from "../model/program.ts";
import { PROTOCOL_NUMBERS } from "../model/rule.ts";
import { addressBytes } from "../model/address.ts";

export interface Member {
  family: 4 | 6;
  /** Is it an address, protocol and port? */
  port: boolean;
  /** Bits of `words` that count. */
  length: number;
  /** Scratch: valid until the next call. */
  words: Int32Array;
}

const member: Member = { family: 4, port: false, length: 0, words: new Int32Array(5) };
const ZERO = 48, NINE = 57, DOT = 46, COLON = 58;

/** Throws with what is wrong. The answer is reused by the next call. */
export function parseMember(text: string, type: AddressSet["type"]): Member {
  let end = text.length;
  if (type === "ip-port") {
    end = text.indexOf(",");
    if (end < 0) throw new Error(`"${text}": expected address,protocol:port`);
  }
  const slash = type === "ip-port" ? -1 : text.indexOf("/");
  const addressEnd = slash < 0 ? end : slash;
  if (!parse4(text, addressEnd)) parse6(text, addressEnd);
  const most = member.family === 4 ? 32 : 128;
  member.port = type === "ip-port";
  member.length = slash < 0 ? most : lengthAt(text, slash + 1, most);
  if (member.port) parsePort(text, end + 1);
  else if (member.length < most) clearHostBits();
  return member;
}

/** "a.b.c.d" up to `end`; false where it is none. */
function parse4(text: string, end: number): boolean {
  let word = 0, part = -1, parts = 0;
  for (let i = 0; i < end; i++) {
    const c = text.charCodeAt(i);
    if (c >= ZERO && c <= NINE) {
      // No leading zeros: some read them as octal.
      if (part === 0) return false;
      part = part < 0 ? c - ZERO : part * 10 + c - ZERO;
      if (part > 255) return false;
    } else if (c === DOT && part >= 0 && parts < 3) {
      word = (word << 8) | part;
      parts++;
      part = -1;
    } else {
      return false;
    }
  }
  if (parts !== 3 || part < 0) return false;
  member.family = 4;
  member.words[0] = (word << 8) | part;
  return true;
}

/** Groups of hex digits up to `end`; what is odd goes the slow way, which throws. */
function parse6(text: string, end: number): void {
  const words = member.words;
  words[0] = words[1] = words[2] = words[3] = 0;
  member.family = 6;
  let group = -1, digits = 0, count = 0, gap = -1;
  for (let i = 0; i <= end; i++) {
    const c = i < end ? text.charCodeAt(i) : COLON;
    if (c === COLON) {
      if (group >= 0) {
        if (count > 7) return slow6(text, end);
        words[count >> 1]! |= count & 1 ? group : group << 16;
        count++;
        group = -1;
        digits = 0;
      } else if (i < end) {
        // "::" once: a second colon behind the first, or both at the start.
        const isPair = i === 0 ? text.charCodeAt(1) === COLON : text.charCodeAt(i - 1) === COLON;
        if (!isPair || (i > 0 && gap >= 0 && i !== 1)) return slow6(text, end);
        gap = count;
      } else if (gap !== count || text.charCodeAt(end - 2) !== COLON) {
        return slow6(text, end);
      }
      continue;
    }
    const low = c | 32;
    const digit = c >= ZERO && c <= NINE ? c - ZERO : low >= 97 && low <= 102 ? low - 87 : -1;
    if (digit < 0 || ++digits > 4) return slow6(text, end);
    group = group < 0 ? digit : (group << 4) | digit;
  }
  if (gap < 0 ? count !== 8 : count > 7) return slow6(text, end);
  if (gap < 0) return;
  // The groups behind the gap move to the end.
  const group16 = (k: number): number => (words[k >> 1]! >>> (k & 1 ? 0 : 16)) & 0xffff;
  const put16 = (k: number, value: number): void => {
    const shift = k & 1 ? 0 : 16;
    words[k >> 1] = (words[k >> 1]! & ~(0xffff << shift)) | (value << shift);
  };
  for (let k = count - 1, to = 7; k >= gap; k--, to--) {
    const value = group16(k);
    put16(k, 0);
    put16(to, value);
  }
}
function slow6(text: string, end: number): void {
  const bytes = addressBytes(text.slice(0, end));
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 4; i++) member.words[i] = view.getInt32(i * 4, false);
  member.family = 6;
}

function lengthAt(text: string, from: number, most: number): number {
  let length = from < text.length && text.length - from <= 3 ? 0 : NaN;
  for (let i = from; i < text.length; i++) {
    const digit = text.charCodeAt(i) - ZERO;
    length = digit >= 0 && digit <= 9 ? length * 10 + digit : NaN;
  }
  if (!(length <= most)) throw new Error(`"${text}": the prefix length must be 0 to ${most}`);
  return length;
}

function clearHostBits(): void {
  const { words, length, family } = member;
  const count = family === 4 ? 1 : 4;
  for (let i = 0; i < count; i++) {
    const bits = length - i * 32;
    if (bits <= 0) words[i] = 0;
    else if (bits < 32) words[i] = words[i]! & (-1 << (32 - bits));
  }
}

function parsePort(text: string, from: number): void {
  const colon = text.indexOf(":", from);
  const name = text.slice(from, colon).toLowerCase();
  const protocol = PROTOCOL_NUMBERS[name] ?? (/^\d+$/.test(name) ? Number(name) : NaN);
  const digits = text.slice(colon + 1);
  const port = /^\d+$/.test(digits) ? Number(digits) : NaN;
  if (colon < 0 || !(protocol <= 255) || !(port <= 65535)) {
    throw new Error(`"${text}": expected address,protocol:port`);
  }
  const at = member.family === 4 ? 1 : 4;
  member.words[at] = (protocol << 24) | (port << 8);
  member.length = at * 32 + 24;
}
