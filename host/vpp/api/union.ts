// Codec of a union: as many bytes as its largest arm has.
//
//   written: { arm: value } (one arm), the bytes themselves, or what was read
//   read:    by a discriminator's value { arm: value }; else every arm, each read when looked at
//
// Limits: arms of variable length do not exist in VPP's language.

import { Reader, Writer } from "./bytes.ts";
import { VppPathError, VppSchemaError, VppValueError } from "./errors.ts";
import { show } from "./scalars.ts";
import type { Codec } from "./scalars.ts";

interface Arm {
  name: string;
  /** The name of the discriminator's value. */
  case: string | undefined;
  codec: Codec;
}

/** Where a union that was read keeps its bytes. */
const BYTES = Symbol("bytes");

export const isUnion = (codec: Codec): codec is UnionCodec => codec instanceof UnionCodec;

export class UnionCodec implements Codec {
  readonly size: number;

  constructor(name: string, private readonly arms: readonly Arm[]) {
    if (arms.length === 0) throw new VppSchemaError(`union ${name} has no arm`);
    this.size = Math.max(...arms.map(({ codec }) => codec.size));
  }

  /** The name of the discriminator's value for what is given, where that is one arm. */
  caseOf(value: unknown): string | undefined {
    if (typeof value !== "object" || value === null || BYTES in value) return undefined;
    const [first, ...more] = Object.keys(value);
    if (first === undefined || more.length > 0) return undefined;
    return this.arms.find(({ name }) => name === first)?.case;
  }

  write(to: Writer, value: unknown): void {
    const bytes = this.bytesOf(value, to.bigFloats);
    if (bytes.length > this.size) {
      throw new VppValueError(`${bytes.length} bytes where ${this.size} belong`);
    }
    const at = to.reserve(this.size);
    to.buffer.set(bytes, at);
  }

  private bytesOf(value: unknown, bigFloats: boolean): Uint8Array {
    if (value === undefined) return new Uint8Array(0);
    if (value instanceof Uint8Array) return value;
    if (typeof value === "object" && value !== null && BYTES in value) {
      return value[BYTES] as Uint8Array;
    }
    const names = this.arms.map(({ name }) => name);
    const given = Object.entries(typeof value === "object" && value !== null ? value : {})
      .filter(([, each]) => each !== undefined);
    const [entry, ...more] = given;
    const arm = this.arms.find(({ name }) => name === entry?.[0]);
    if (!entry || !arm || more.length > 0) {
      throw new VppValueError(`${show(value)} where one of ${names.join(", ")} belongs`);
    }
    const to = new Writer(bigFloats);
    try {
      arm.codec.write(to, entry[1]);
    } catch (error) {
      throw error instanceof VppPathError ? error.within(`.${arm.name}`) : error;
    }
    return to.finish();
  }

  /** Every arm, each read when it is looked at. */
  read(from: Reader): object {
    const bytes = from.bytes(this.size);
    const value = { [BYTES]: bytes };
    Object.defineProperty(value, BYTES, { enumerable: false });
    for (const { name, codec } of this.arms) {
      Object.defineProperty(value, name, {
        enumerable: true,
        get: () => codec.read(new Reader(Buffer.from(bytes), 0, from.bigFloats)) as unknown,
      });
    }
    return value;
  }

  /** The arm that the discriminator's value names; all where it names none. */
  readArm(from: Reader, chosen: unknown): object {
    const arm = this.arms.find((each) => each.case !== undefined && each.case === chosen);
    if (!arm) return this.read(from);
    const at = from.take(this.size);
    const bytes = from.buffer.subarray(at, at + this.size);
    return { [arm.name]: arm.codec.read(new Reader(bytes, 0, from.bigFloats)) };
  }
}
