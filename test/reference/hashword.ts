// Two hashes that Calico's eBPF dataplane uses for Maglev, written from their authors' pages:
// FNV-1, and hashword() of Bob Jenkins' lookup3 (both public domain).
// Source: isthe.com/chongo/tech/comp/fnv, burtleburtle.net/bob/c/lookup3.c.

/** FNV-1, 32 bits, of a byte and a text; its digest's bytes read as a little-endian number. */
export function fnv1(first: number, text: Uint8Array): number {
  let h = 0x811c_9dc5;
  for (const byte of [first, ...text]) h = (Math.imul(h, 0x0100_0193) ^ byte) >>> 0;
  return new DataView(Uint32Array.of(h).buffer).getUint32(0);
}

const turned = (x: number, bits: number): number => (x << bits) | (x >>> (32 - bits));

/** hashword() of 32-bit words. */
export function hashword(words: readonly number[], initial: number): number {
  let a = (0xdead_beef + (words.length << 2) + initial) | 0;
  let b = a, c = a, at = 0;
  for (let left = words.length; ; left -= 3, at += 3) {
    if (left >= 1) a = (a + words[at]!) | 0;
    if (left >= 2) b = (b + words[at + 1]!) | 0;
    if (left >= 3) c = (c + words[at + 2]!) | 0;
    if (left <= 3) break;
    for (const [first, second] of [[4, 6], [16, 19]] as const) {
      a = ((a - c) | 0) ^ turned(c, first);
      c = (c + b) | 0;
      b = ((b - a) | 0) ^ turned(a, second);
      a = (a + c) | 0;
      c = ((c - b) | 0) ^ turned(b, second === 6 ? 8 : 4);
      b = (b + a) | 0;
    }
  }
  if (words.length === 0) return c >>> 0;
  c = ((c ^ b) - turned(b, 14)) | 0;
  a = ((a ^ c) - turned(c, 11)) | 0;
  b = ((b ^ a) - turned(a, 25)) | 0;
  c = ((c ^ b) - turned(b, 16)) | 0;
  a = ((a ^ c) - turned(c, 4)) | 0;
  b = ((b ^ a) - turned(a, 14)) | 0;
  return ((c ^ b) - turned(b, 24)) >>> 0;
}
