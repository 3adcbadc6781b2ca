// A bounds-checked reader of WebAssembly's binary format (core specification, section 5): LEB128
// numbers and bytes. It never reads past its end: it notes `bad` and gives 0.

@unmanaged
export class Cursor {
  at: u32;
  end: u32;
  bad: u32;
  pad: u32;

  byte(): u32 {
    if (this.at >= this.end) {
      this.bad = 1;
      return 0;
    }
    const value = u32(load<u8>(this.at));
    this.at += 1;
    return value;
  }
  /** unsigned LEB128, 32 bits */
  number(): u32 {
    let value: u32 = 0;
    for (let shift: u32 = 0; shift < 35; shift += 7) {
      const next = this.byte();
      if (shift == 28 && next > 15) break;
      value |= (next & 0x7f) << shift;
      if (!(next & 0x80)) return value;
    }
    this.bad = 1;
    return 0;
  }
  /** Passes over a signed LEB128 of at most `bytes` bytes. */
  skipSigned(bytes: u32): void {
    for (let i: u32 = 0; i < bytes; i++) if (!(this.byte() & 0x80)) return;
    this.bad = 1;
  }
  skip(bytes: u32): void {
    if (bytes > this.end - this.at) {
      this.bad = 1;
      this.at = this.end;
    } else {
      this.at += bytes;
    }
  }
  /** Length of a name; the cursor then stands behind it, the name before. */
  name(): u32 {
    const length = this.number();
    this.skip(length);
    return this.bad ? 0 : length;
  }
  more(): bool {
    return !this.bad && this.at < this.end;
  }
}
