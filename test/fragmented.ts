// Packets cut into fragments and put together again, by RFC 791 and RFC 8200, without a line of the
// core's code.
import { sum16 } from "./packets.ts";
import { setWord } from "./translated.ts";

const word = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
const isFour = (bytes: Uint8Array): boolean => bytes[0]! >> 4 === 4;
const headerOf = (bytes: Uint8Array): number => (isFour(bytes) ? (bytes[0]! & 15) * 4 : 40);

/** Makes an IPv4 header's checksum right, in place. */
function seal4(bytes: Uint8Array): Uint8Array {
  setWord(bytes, 10, 0);
  setWord(bytes, 10, ~sum16(bytes.subarray(0, headerOf(bytes))) & 0xffff);
  return bytes;
}

/** Fragments with at most `bytes` of payload each, a multiple of 8, under one identification. */
export function fragmentsOf(
  whole: Uint8Array, bytes: number, identification: number,
): Uint8Array[] {
  const header = headerOf(whole);
  const out: Uint8Array[] = [];
  for (let at = header; at < whole.length; at += bytes) {
    const payload = whole.subarray(at, at + bytes);
    const more = at + bytes < whole.length;
    out.push(fragment(whole, payload, (at - header) / 8, more, identification));
  }
  return out;
}

/** One fragment of a packet, in units of 8 bytes from its start. */
export function fragment(
  whole: Uint8Array, payload: Uint8Array, offset: number, more: boolean, identification: number,
): Uint8Array {
  const header = headerOf(whole);
  if (isFour(whole)) {
    const out = Uint8Array.from([...whole.subarray(0, header), ...payload]);
    setWord(out, 2, out.length);
    setWord(out, 4, identification);
    setWord(out, 6, offset | (more ? 0x2000 : 0));
    return seal4(out);
  }
  const extension = new Uint8Array(8);
  extension[0] = whole[6]!;
  setWord(extension, 2, (offset << 3) | (more ? 1 : 0));
  new DataView(extension.buffer).setUint32(4, identification);
  const out = Uint8Array.from([...whole.subarray(0, 40), ...extension, ...payload]);
  setWord(out, 4, out.length - 40);
  out[6] = 44;
  return out;
}

/** The packet that fragments are of, in any order. */
export function reassembled(parts: Uint8Array[]): Uint8Array {
  const pieces = parts.map((bytes) => {
    const four = isFour(bytes);
    const header = headerOf(bytes) + (four ? 0 : 8);
    const field = word(bytes, four ? 6 : 42);
    return {
      bytes, offset: four ? (field & 0x1fff) * 8 : field & ~7, payload: bytes.subarray(header),
    };
  }).sort((a, b) => a.offset - b.offset);
  const first = pieces[0]!.bytes;
  const out = Uint8Array.from([
    ...first.subarray(0, headerOf(first)), ...pieces.flatMap((each) => [...each.payload]),
  ]);
  if (isFour(first)) {
    setWord(out, 2, out.length);
    setWord(out, 6, 0);
    return seal4(out);
  }
  setWord(out, 4, out.length - 40);
  out[6] = first[40]!;
  return out;
}
