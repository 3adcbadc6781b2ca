// The stream of stage records: its framing, and the one record that engines make themselves. What
// the other records hold is compiled (host/compile/records.ts). Formats: assembly/layout.ts.
import {
  MODULE_CODE, MODULE_KIND, MODULE_SLOT, RECORD_HEADER_BYTES, RecordKind, SlotState,
  STAGING_BYTES,
} from "../../assembly/layout.ts";

/** One record: header, body, zeros up to 8 bytes. */
export function record(
  kind: RecordKind, bytes: number, fill: (body: DataView) => void,
): Uint8Array {
  const padded = RECORD_HEADER_BYTES + Math.ceil(bytes / 8) * 8;
  const out = new Uint8Array(padded);
  const header = new DataView(out.buffer);
  header.setUint16(0, kind, true);
  header.setUint32(4, bytes, true);
  fill(new DataView(out.buffer, RECORD_HEADER_BYTES, bytes));
  return out;
}

/** Records one behind the other in one buffer, without an object each: for tables that are long. */
export class RecordWriter {
  /** Another one after each begin(). */
  view: DataView;
  private bytes: Uint8Array;
  private at = 0;

  constructor(room = 4096) {
    this.bytes = new Uint8Array(Math.max(room, RECORD_HEADER_BYTES));
    this.view = new DataView(this.bytes.buffer);
  }
  /** A part of the buffer: valid until the next begin(). */
  get written(): Uint8Array {
    return this.bytes.subarray(0, this.at);
  }
  /** Begins a record of zeros; returns where its body lies. */
  begin(kind: RecordKind, bytes: number): number {
    const body = this.at + RECORD_HEADER_BYTES;
    const end = body + Math.ceil(bytes / 8) * 8;
    if (end > this.bytes.length) {
      const wider = new Uint8Array(Math.max(end, this.bytes.length * 2));
      wider.set(this.bytes);
      this.bytes = wider;
      this.view = new DataView(wider.buffer);
    }
    this.view.setUint16(this.at, kind, true);
    this.view.setUint32(this.at + 4, bytes, true);
    this.at = end;
    return body;
  }
}

export function putBytes(body: DataView, at: number, bytes: Uint8Array): void {
  new Uint8Array(body.buffer, body.byteOffset, body.byteLength).set(bytes, at);
}

export function concat(records: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(records.reduce((sum, each) => sum + each.length, 0));
  let at = 0;
  for (const each of records) {
    out.set(each, at);
    at += each.length;
  }
  return out;
}

/** A stream cut between records into streams that the staging buffer holds. */
export function* streams(records: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  let from = 0;
  let at = 0;
  while (at + RECORD_HEADER_BYTES <= records.length) {
    const bytes = RECORD_HEADER_BYTES + Math.ceil(view.getUint32(at + 4, true) / 8) * 8;
    if (at > from && at + bytes - from > STAGING_BYTES) {
      yield records.subarray(from, at);
      from = at;
    }
    at += bytes;
  }
  yield records.subarray(from);
}

/** A policy module for the door: its slot, its kind, its bytes. */
export function moduleRecord(slot: number, kind: SlotState, wasm: Uint8Array): Uint8Array {
  return record(RecordKind.Module, MODULE_CODE + wasm.length, (body) => {
    body.setUint32(MODULE_SLOT, slot, true);
    body.setUint32(MODULE_KIND, kind, true);
    putBytes(body, MODULE_CODE, wasm);
  });
}
