// Sessions as bytes: every live record of both tables as it stands in the memory, behind a header.
// The same on every engine, for engines of the same layout version alone.
//
//   0     4               8          12       16       20         32
//   ┌─────┬───────────────┬──────────┬────────┬────────┬──────────┬─────────────────┬────────────┐
//   │MGYS │ layout version│ saved ms │ count 4│ count 6│ zeros    │ 64 bytes each   │ 128 each   │
//   └─────┴───────────────┴──────────┴────────┴────────┴──────────┴─────────────────┴────────────┘
//
// Words are little-endian. `saved ms` is the clock that `seen` is by: restored under another clock,
// a session has been idle for as long as it had been when it was saved. Life-cycle: saved beside
// running workers, each record whole; restored into the worker's windows, some hundred at a time.
import {
  FRAME_SCRATCH, FRAME_WINDOWS, LAYOUT_VERSION, LIFE_MASK, Life, ROOT, ROOT_SESSIONS4,
  ROOT_SESSIONS6, SESSION4_BYTES, SESSION6_BYTES, SESSION_KEYS, SESSION_SEEN, SESSION_STATE,
  TABLE_RECORDS, TABLE_UNUSED_NEXT,
} from "../../assembly/layout.ts";

const MAGIC = 0x5359474d; // "MGYS"
const VERSION_AT = 4, SAVED_AT = 8, COUNT4_AT = 12, COUNT6_AT = 16;
export const SAVED_HEADER_BYTES = 32;
/** Bytes that one restore() of the core takes. */
const WINDOWS_BYTES = Number(FRAME_SCRATCH - FRAME_WINDOWS);

const FAMILIES = [
  { family: 4, table: ROOT_SESSIONS4, bytes: SESSION4_BYTES, countAt: COUNT4_AT },
  { family: 6, table: ROOT_SESSIONS6, bytes: SESSION6_BYTES, countAt: COUNT6_AT },
] as const;

/** A record among saved ones; its bytes are the saved ones' own. */
export interface SavedRecord {
  family: 4 | 6;
  view: DataView;
}

/** `nowMs` absent: the time of the newest packet of a session. */
export function saveSessions(memory: { bytes: Uint8Array; view: DataView }, nowMs?: number):
  Uint8Array {
  const parts: Uint8Array[] = [];
  const counts: number[] = [];
  let newest: number | undefined;
  for (const { table, bytes } of FAMILIES) {
    const records = memory.view.getUint32(ROOT + table + TABLE_RECORDS, true);
    const next = memory.view.getUint32(ROOT + table + TABLE_UNUSED_NEXT, true);
    const before = parts.length;
    for (let n = 1; n < next; n++) {
      const record = liveRecord(memory, records + n * bytes, bytes);
      if (!record) continue;
      parts.push(record);
      const seen = new DataView(record.buffer).getUint32(SESSION_SEEN, true);
      if (newest === undefined || ((seen - newest) | 0) > 0) newest = seen;
    }
    counts.push(parts.length - before);
  }
  return joined(parts, counts, nowMs ?? newest ?? 0);
}

/** The same of records that were asked for elsewhere, pieces of whole records by family. */
export function savedSessions(
  pieces: Record<4 | 6, readonly Uint8Array[]>, savedMs: number,
): Uint8Array {
  const counts = FAMILIES.map(({ family, bytes }) => {
    const length = pieces[family].reduce((sum, piece) => sum + piece.length, 0);
    if (length % bytes !== 0) throw new Error(`sessions: ${length} bytes are no whole records`);
    return length / bytes;
  });
  return joined([...pieces[4], ...pieces[6]], counts, savedMs);
}

function joined(parts: readonly Uint8Array[], counts: number[], savedMs: number): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, SAVED_HEADER_BYTES);
  const out = new Uint8Array(length);
  const header = new DataView(out.buffer);
  header.setUint32(0, MAGIC, true);
  header.setUint32(VERSION_AT, LAYOUT_VERSION, true);
  header.setUint32(SAVED_AT, savedMs >>> 0, true);
  FAMILIES.forEach(({ countAt }, i) => header.setUint32(countAt, counts[i]!, true));
  let at = SAVED_HEADER_BYTES;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** A copy of a record that is live, and was so all the while; a worker may write it meanwhile. */
function liveRecord(
  memory: { bytes: Uint8Array; view: DataView }, at: number, bytes: number,
): Uint8Array | undefined {
  const isLive = (): boolean =>
    (memory.view.getUint32(at + SESSION_STATE, true) & LIFE_MASK) === Life.Live;
  if (!isLive()) return undefined;
  const copy = memory.bytes.slice(at, at + bytes);
  if (!isLive()) return undefined;
  for (let i = Number(SESSION_KEYS); i < bytes; i++) {
    if (copy[i] !== memory.bytes[at + i]) return undefined;
  }
  return copy;
}

/** All saved records, in their order. Throws where the bytes are no sessions of this version. */
export function savedRecords(saved: Uint8Array): SavedRecord[] {
  const counts = checked(saved);
  const all: SavedRecord[] = [];
  let at = saved.byteOffset + SAVED_HEADER_BYTES;
  FAMILIES.forEach(({ family, bytes }, i) => {
    for (let n = 0; n < counts[i]!; n++, at += bytes) {
      all.push({ family, view: new DataView(saved.buffer, at, bytes) });
    }
  });
  return all;
}

/** Some of them, as bytes again. */
export function withRecords(saved: Uint8Array, kept: readonly SavedRecord[]): Uint8Array {
  const sorted = [...kept].sort((a, b) => a.family - b.family);
  const length = sorted.reduce((sum, { view }) => sum + view.byteLength, SAVED_HEADER_BYTES);
  const out = new Uint8Array(length);
  out.set(saved.subarray(0, SAVED_HEADER_BYTES));
  const header = new DataView(out.buffer);
  for (const { family, countAt } of FAMILIES) {
    header.setUint32(countAt, kept.filter((each) => each.family === family).length, true);
  }
  let at = SAVED_HEADER_BYTES;
  for (const { view } of sorted) {
    out.set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), at);
    at += view.byteLength;
  }
  return out;
}

/** What a dataplane's restore() is asked for, one after the other: records of one family. */
export function* restoreChunks(saved: Uint8Array, nowMs: number):
  Generator<{ family: 4 | 6; records: Uint8Array; count: number }> {
  const counts = checked(saved);
  const header = new DataView(saved.buffer, saved.byteOffset);
  const shift = nowMs - header.getUint32(SAVED_AT, true);
  let at = SAVED_HEADER_BYTES;
  for (const [i, { family, bytes }] of FAMILIES.entries()) {
    const most = Math.floor(WINDOWS_BYTES / bytes);
    for (let left = counts[i]!; left > 0;) {
      const count = Math.min(left, most);
      const records = saved.slice(at, at + count * bytes);
      const view = new DataView(records.buffer, records.byteOffset);
      for (let r = 0; r < count * bytes; r += bytes) {
        const seen = view.getUint32(r + SESSION_SEEN, true);
        view.setUint32(r + SESSION_SEEN, (seen + shift) >>> 0, true);
      }
      yield { family, records, count };
      at += count * bytes;
      left -= count;
    }
  }
}

/** Counts by family. */
function checked(saved: Uint8Array): number[] {
  if (saved.length < SAVED_HEADER_BYTES) throw new Error(`sessions: only ${saved.length} bytes`);
  const header = new DataView(saved.buffer, saved.byteOffset);
  if (header.getUint32(0, true) !== MAGIC) throw new Error("sessions: these are none");
  const version = header.getUint32(VERSION_AT, true);
  if (version !== LAYOUT_VERSION) {
    throw new Error(`sessions of layout version ${version}; this program's is ${LAYOUT_VERSION}`);
  }
  const counts = FAMILIES.map(({ countAt }) => header.getUint32(countAt, true));
  const length = FAMILIES.reduce((sum, { bytes }, i) => sum + bytes * counts[i]!,
    SAVED_HEADER_BYTES);
  if (length !== saved.length) {
    throw new Error(`sessions: ${saved.length} bytes instead of ${length}`);
  }
  return counts;
}
