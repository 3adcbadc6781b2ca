// Damage: bits and bytes, lengths, cuts and growth, splices of two inputs. The mutators know
// nothing of what they damage but where packets have their lengths.
import type { Random } from "../policy/random.ts";

/** Where the header fields lie that parsers trust first, as offsets from the packet's start. */
const LENGTHS4 = [0, 2, 3, 6, 7, 9, 32, 24, 25];
const LENGTHS6 = [4, 5, 6, 40, 41, 42, 43, 44, 45, 52, 48, 49, 56];
const VALUES = [0, 1, 2, 4, 5, 6, 7, 8, 0x0f, 0x10, 0x1f, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xfe, 0xff];
/** Numbers of protocols and extension headers. */
const PROTOCOLS = [0, 1, 4, 6, 17, 41, 43, 44, 50, 51, 58, 59, 60, 132, 135, 136, 255];

/** One to four damages to a copy of `bytes`; `other` is what splices take from. */
export function damaged(random: Random, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  let out: Uint8Array = bytes.slice();
  for (let i = random.between(1, 4); i > 0; i--) out = damage(random, out, other);
  return out;
}

function damage(random: Random, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const kind = random.weighted({
    bit: 6, byte: 6, field: 5, protocol: 3, cut: 3, grow: 1, splice: 3,
  });
  if (kind === "grow") return Uint8Array.from([...bytes, ...new Uint8Array(random.below(90))]);
  if (bytes.length === 0) return bytes;
  const at = random.below(Math.min(bytes.length, 140));
  switch (kind) {
    case "bit":
      bytes[at]! ^= 1 << random.below(8);
      return bytes;
    case "byte":
      bytes[at] = random.chance(0.5) ? random.pick(VALUES) : random.below(256);
      return bytes;
    case "field": {
      const field = random.pick(bytes[0]! >> 4 === 6 ? LENGTHS6 : LENGTHS4);
      if (field < bytes.length) bytes[field] = random.pick(VALUES);
      return bytes;
    }
    case "protocol": {
      const field = random.pick(bytes[0]! >> 4 === 6 ? [6, 40, 48] : [9]);
      if (field < bytes.length) bytes[field] = random.pick(PROTOCOLS);
      return bytes;
    }
    case "cut": return bytes.slice(0, random.below(bytes.length + 1));
    default: { // splice: a head of one, a tail of the other
      const from = random.below(Math.min(other.length, 140) + 1);
      return Uint8Array.from([...bytes.subarray(0, at), ...other.subarray(from)]);
    }
  }
}

/** Makes an IPv4 header's lengths and checksum right again where they can be, in place. */
export function mended(bytes: Uint8Array): Uint8Array {
  if (bytes.length < 40) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes[0]! >> 4 === 6) {
    view.setUint16(4, bytes.length - 40);
    return bytes;
  }
  if (bytes[0]! >> 4 !== 4) return bytes;
  view.setUint16(2, bytes.length);
  return summed(bytes);
}
/** Makes the IPv4 header checksum right again, in place. */
export function summed(bytes: Uint8Array): Uint8Array {
  const header = (bytes[0]! & 15) * 4;
  if (bytes[0]! >> 4 !== 4 || header < 20 || bytes.length < header) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint16(10, 0);
  let sum = 0;
  for (let at = 0; at < header; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(10, ~sum & 0xffff);
  return bytes;
}
