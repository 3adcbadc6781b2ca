// Codecs of what has no parts: integers, booleans, floats, strings, bytes, enumerations.
//
//   u8 … u32, i8 … i32   number             bool     boolean, one byte
//   u64, i64             bigint             f64      number
//   enum                 "NAME", or a number that has no name
//   enumflag             ["NAME", …], and one number for bits that have no name
//   string               text, UTF-8; fixed: NUL-padded; variable: u32 length and bytes
//
// A codec's `size` is the least number of bytes of a value. What is left out (undefined) is zero.

import type { Reader, Writer } from "./bytes.ts";
import { VppDecodeError, VppSchemaError, VppValueError } from "./errors.ts";

export interface Codec {
  readonly size: number;
  write(to: Writer, value: unknown): void;
  read(from: Reader): unknown;
}

interface Integer {
  size: number;
  least: bigint;
  most: bigint;
}

const integer = (bits: number, signed: boolean): Integer => ({
  size: bits / 8,
  least: signed ? -(2n ** BigInt(bits - 1)) : 0n,
  most: 2n ** BigInt(signed ? bits - 1 : bits) - 1n,
});

const INTEGERS: Record<string, Integer> = {
  u8: integer(8, false), u16: integer(16, false), u32: integer(32, false),
  u64: integer(64, false),
  i8: integer(8, true), i16: integer(16, true), i32: integer(32, true), i64: integer(64, true),
};

/** How a value is shown in an error. */
export function show(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  const text = JSON.stringify(value, (_, each: unknown) =>
    (typeof each === "bigint" ? `${each}n` : each)) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

class IntegerCodec implements Codec {
  readonly size: number;
  private readonly least: number;
  private readonly most: number;

  constructor(private readonly type: string, { size, least, most }: Integer) {
    this.size = size;
    this.least = Number(least);
    this.most = Number(most);
  }

  write(to: Writer, value: unknown): void {
    const number = typeof value === "bigint" ? Number(value) : value ?? 0;
    const fine = typeof number === "number" && Number.isInteger(number)
      && number >= this.least && number <= this.most;
    if (!fine) {
      throw new VppValueError(`${show(value)} is no ${this.type} (${this.least}..${this.most})`);
    }
    const at = to.reserve(this.size);
    if (this.least < 0) to.buffer.writeIntBE(number, at, this.size);
    else to.buffer.writeUIntBE(number, at, this.size);
  }

  read(from: Reader): number {
    const at = from.take(this.size);
    return this.least < 0
      ? from.buffer.readIntBE(at, this.size) : from.buffer.readUIntBE(at, this.size);
  }
}

class LongCodec implements Codec {
  readonly size = 8;

  constructor(private readonly type: string, private readonly range: Integer) {}

  write(to: Writer, value: unknown): void {
    const long = Number.isSafeInteger(value) ? BigInt(value as number) : value ?? 0n;
    if (typeof long !== "bigint" || long < this.range.least || long > this.range.most) {
      throw new VppValueError(
        `${show(value)} is no ${this.type} (a bigint, ${this.range.least}..${this.range.most})`,
      );
    }
    const at = to.reserve(8);
    to.buffer.writeBigUInt64BE(BigInt.asUintN(64, long), at);
  }

  read(from: Reader): bigint {
    const at = from.take(8);
    return this.range.least < 0n
      ? from.buffer.readBigInt64BE(at) : from.buffer.readBigUInt64BE(at);
  }
}

const BOOL: Codec = {
  size: 1,
  write(to, value) {
    if (value !== undefined && typeof value !== "boolean") {
      throw new VppValueError(`${show(value)} is no boolean`);
    }
    const at = to.reserve(1);
    to.buffer[at] = value ? 1 : 0;
  },
  read: (from) => from.buffer[from.take(1)] !== 0,
};

const FLOAT: Codec = {
  size: 8,
  write(to, value) {
    const number = value ?? 0;
    if (typeof number !== "number") throw new VppValueError(`${show(value)} is no number`);
    const at = to.reserve(8);
    if (to.bigFloats) to.buffer.writeDoubleBE(number, at);
    else to.buffer.writeDoubleLE(number, at);
  },
  read(from) {
    const at = from.take(8);
    return from.bigFloats ? from.buffer.readDoubleBE(at) : from.buffer.readDoubleLE(at);
  },
};

/** The codec of a type of the language itself; undefined for other names. */
export function scalarCodec(type: string): Codec | undefined {
  if (type === "bool") return BOOL;
  if (type === "f64") return FLOAT;
  const range = INTEGERS[type];
  if (!range) return undefined;
  return range.size === 8 ? new LongCodec(type, range) : new IntegerCodec(type, range);
}

function text(value: unknown): string {
  if (value !== undefined && typeof value !== "string") {
    throw new VppValueError(`${show(value)} is no string`);
  }
  return value ?? "";
}

/** string x[length]: as the room is, with a NUL at its end at least. */
export function fixedString(length: number): Codec {
  return {
    size: length,
    write(to, value) {
      const bytes = Buffer.from(text(value), "utf8");
      if (bytes.length >= length) {
        throw new VppValueError(`${bytes.length} bytes of text, at most ${length - 1} fit`);
      }
      if (bytes.includes(0)) throw new VppValueError("text with a NUL in it");
      const at = to.reserve(length);
      to.buffer.set(bytes, at);
    },
    read(from) {
      const at = from.take(length);
      const bytes = from.buffer.subarray(at, at + length);
      const end = bytes.indexOf(0);
      return bytes.toString("utf8", 0, end < 0 ? length : end);
    },
  };
}

/** string x[]: its length, then its bytes. A limit counts a NUL that is not sent. */
export function variableString(limit: number | undefined): Codec {
  return {
    size: 4,
    write(to, value) {
      const bytes = Buffer.from(text(value), "utf8");
      if (limit && bytes.length >= limit) {
        throw new VppValueError(`${bytes.length} bytes of text, at most ${limit - 1} are allowed`);
      }
      const at = to.reserve(4 + bytes.length);
      to.buffer.writeUInt32BE(bytes.length, at);
      to.buffer.set(bytes, at + 4);
    },
    read(from) {
      const length = from.buffer.readUInt32BE(from.take(4));
      const at = from.take(length);
      return from.buffer.toString("utf8", at, at + length);
    },
  };
}

/** The bytes of a value: a Uint8Array, or numbers. */
export function asBytes(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  const isByte = (each: unknown) => Number.isInteger(each) && (each as number) >= 0
    && (each as number) < 256;
  if (Array.isArray(value) && value.every(isByte)) return Uint8Array.from(value as number[]);
  throw new VppValueError(`${show(value)} are no bytes`);
}

/** u8 x[length]; fewer bytes are followed by zeros, unless all are demanded. */
export function fixedBytes(length: number, exact: boolean): Codec {
  return {
    size: length,
    write(to, value) {
      const bytes = value === undefined ? new Uint8Array(length) : asBytes(value);
      if (bytes.length > length || (exact && bytes.length < length)) {
        throw new VppValueError(`${bytes.length} bytes where ${length} belong`);
      }
      const at = to.reserve(length);
      to.buffer.set(bytes, at);
    },
    read: (from) => from.bytes(length),
  };
}

export interface EnumCodec extends Codec {
  /** The number of a name or number; throws VppValueError. */
  number(value: unknown): number;
}

export function enumCodec(
  name: string, base: string, members: readonly [string, number][], flags: boolean,
): EnumCodec {
  const codec = scalarCodec(base);
  if (!codec || codec.size > 4) {
    throw new VppSchemaError(`enum ${name}: ${base} is no integer of at most 32 bits`);
  }
  const numbers = new Map(members);
  const names = new Map([...members].reverse().map(([member, number]) => [number, member]));
  const bits = members.filter(([, number]) => number > 0 && (number & (number - 1)) === 0);
  const one = (value: unknown): number => {
    if (typeof value === "number") return value;
    const number = typeof value === "string" ? numbers.get(value) : undefined;
    if (number !== undefined) return number;
    throw new VppValueError(`${show(value)} is no ${name}: ${nearest(value, [...numbers.keys()])}`);
  };
  const number = (value: unknown): number => {
    if (value === undefined) return 0;
    if (!Array.isArray(value)) return one(value);
    if (!flags) throw new VppValueError(`${show(value)}: ${name} is one value, no flags`);
    return value.reduce<number>((sum, each) => (sum | one(each)) >>> 0, 0);
  };
  const split = (value: number): (string | number)[] => {
    const set = bits.filter(([, bit]) => (value & bit) !== 0);
    const rest = set.reduce((left, [, bit]) => (left & ~bit) >>> 0, value);
    const unique = set.filter(([, bit], i) => set.findIndex((each) => each[1] === bit) === i);
    return [...unique.map(([member]) => member), ...(rest === 0 ? [] : [rest])];
  };
  return {
    size: codec.size,
    number,
    write: (to, value) => codec.write(to, number(value)),
    read(from) {
      const value = codec.read(from) as number;
      return flags ? split(value) : names.get(value) ?? value;
    },
  };
}

/** What was perhaps meant: the member with the longest common part, or all of a few. */
function nearest(value: unknown, members: string[]): string {
  if (members.length <= 6 || typeof value !== "string") return `one of ${members.join(", ")}`;
  const wanted = value.toUpperCase();
  const close = members.filter((member) => member.includes(wanted) || wanted.includes(member));
  return `one of ${(close.length > 0 ? close : members).slice(0, 6).join(", ")}, ...`;
}

/** `length` as the count of what follows; refuses what the message cannot hold. */
export function checkCount(from: Reader, count: number, size: number): void {
  if (count * size > from.left) {
    throw new VppDecodeError(`${count} elements of ${size} bytes, ${from.left} bytes left`);
  }
}
