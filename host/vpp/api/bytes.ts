// A message's bytes, written and read in order.
//
//   Writer: grows; integers big-endian          Reader: never past the message's end
//
// A float is written as the machine of VPP has it (little-endian on those that VPP runs on), unless
// `bigFloats` is set: VPP's own conversions of floats do nothing, whatever the message.
// Source: byte_order.h and get_f64_endian_value of VPP.

import { VppDecodeError } from "./errors.ts";

const FIRST_BYTES = 256;

export class Writer {
  private bytes = Buffer.alloc(FIRST_BYTES);
  private end = 0;

  constructor(readonly bigFloats = false) {}

  /** Room for `size` more bytes, which are zero: answers where they begin. */
  reserve(size: number): number {
    const at = this.end;
    this.end += size;
    if (this.end > this.bytes.length) {
      const grown = Buffer.alloc(Math.max(this.end, 2 * this.bytes.length));
      this.bytes.copy(grown);
      this.bytes = grown;
    }
    return at;
  }

  get buffer(): Buffer {
    return this.bytes;
  }

  put(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.bytes.set(bytes, at);
  }

  get length(): number {
    return this.end;
  }

  finish(): Buffer {
    return this.bytes.subarray(0, this.end);
  }
}

export class Reader {
  constructor(readonly buffer: Buffer, public at = 0, readonly bigFloats = false) {}

  /** Passes over `size` bytes and answers where they began. */
  take(size: number): number {
    const at = this.at;
    if (at + size > this.buffer.length) {
      const left = this.buffer.length - at;
      throw new VppDecodeError(`the message ends: ${size} bytes wanted, ${left} left`);
    }
    this.at = at + size;
    return at;
  }

  /** A copy of the next `size` bytes. */
  bytes(size: number): Uint8Array {
    const at = this.take(size);
    return Uint8Array.from(this.buffer.subarray(at, at + size));
  }

  get left(): number {
    return this.buffer.length - this.at;
  }
}
