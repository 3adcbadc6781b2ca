// A byte block that grows: what a classifier is written into. Vectors and lists of rules are held
// once each, however often they are named.
//
//   vector  a bit a rule, 16 x ceil(rules / 128) bytes
//   delta   rules to set in a vector: their numbers, u16 each, or a vector (DELTA_DENSE)
import { DELTA_DENSE } from "../../assembly/layout.ts";

export interface Delta {
  offset: number;
  /** Rules, or with DELTA_DENSE a vector. */
  count: number;
}

export class Block {
  private bytes = new Uint8Array(4096);
  private view = new DataView(this.bytes.buffer);
  private length = 0;
  private readonly vectors = new Map<string, number>();
  private readonly deltas = new Map<string, Delta>();
  readonly vectorBytes: number;

  constructor(readonly rules: number, private readonly most: number) {
    this.vectorBytes = Math.ceil(rules / 128) * 16;
  }

  /** Offset of zeros. Throws BlockFull beyond the budget. */
  allocate(bytes: number, align = 4): number {
    const at = Math.ceil(this.length / align) * align;
    this.length = at + bytes;
    if (this.length > this.most) throw new BlockFull(this.length);
    if (this.length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.length, this.bytes.length * 2));
      grown.set(this.bytes);
      this.bytes = grown;
      this.view = new DataView(grown.buffer);
    }
    return at;
  }
  put32(at: number, value: number): void {
    this.view.setUint32(at, value, true);
  }
  put16(at: number, value: number): void {
    this.view.setUint16(at, value, true);
  }
  putDelta(at: number, { offset, count }: Delta): void {
    this.put32(at, offset);
    this.put32(at + 4, count);
  }

  /** Offset of the vector with these rules' bits set. */
  vector(rules: readonly number[]): number {
    const bits = new Uint8Array(this.vectorBytes);
    for (const rule of rules) bits[rule >> 3]! |= 1 << (rule & 7);
    const key = Buffer.from(bits.buffer).toString("latin1");
    const known = this.vectors.get(key);
    if (known !== undefined) return known;
    const at = this.allocate(this.vectorBytes, 16);
    this.bytes.set(bits, at);
    this.vectors.set(key, at);
    return at;
  }

  /** Sparse while that is shorter than a vector. Rules ascending. */
  delta(rules: readonly number[]): Delta {
    if (rules.length === 0) return { offset: 0, count: 0 };
    if (rules.length > this.rules / 16) {
      return { offset: this.vector(rules), count: (DELTA_DENSE | rules.length) >>> 0 };
    }
    const key = rules.join(",");
    const known = this.deltas.get(key);
    if (known) return known;
    const offset = this.allocate(rules.length * 2, 2);
    rules.forEach((rule, i) => this.put16(offset + i * 2, rule));
    const delta = { offset, count: rules.length };
    this.deltas.set(key, delta);
    return delta;
  }

  finish(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }
}

/** The rules' vectors do not fit the budget: fewer rules to a block will. */
export class BlockFull extends Error {
  constructor(bytes: number) {
    super(`a classifier of more than ${bytes} bytes`);
    this.name = "BlockFull";
  }
}
