// An audit of the session tables in a memory dump, when all workers have come to rest: every record
// is exactly one of live, free, in limbo; every live one has its two entries and no entry names
// another; no tuple is there twice; no lock, journal or epoch was left open.
import {
  BUCKET_BYTES, BUCKET_ENTRIES, BUCKET_LOCK, BUCKET_WAYS, KEY4_DESTINATION, KEY4_PORTS,
  KEY4_SOURCE, KEY6_DESTINATION, KEY6_PORTS, KEY6_SOURCE, LIFE_MASK, Life, ROOT, ROOT_SESSIONS4,
  ROOT_SESSIONS6, SESSION4_BYTES, SESSION4_KEY_STRIDE, SESSION4_PROTOCOL, SESSION6_BYTES,
  SESSION6_KEY_STRIDE, SESSION6_PROTOCOL, SESSION_KEYS, SESSION_NEXT, SESSION_STATE,
  TABLE_BUCKETS, TABLE_BUCKET_COUNT, TABLE_FREE, TABLE_LIVE, TABLE_RECORDS, TABLE_UNUSED_NEXT,
  WORKERS, WORKER_BYTES, WORKER_EPOCH, WORKER_LIMBO4, WORKER_LIMBO6, WORKER_LOCKS, WORKER_PHASE,
  WORKER_RECORD,
} from "../../assembly/layout.ts";
import type { Memory } from "../../host/dataplane/memory.ts";

const FAMILIES = [
  {
    name: "IPv4", table: ROOT_SESSIONS4, bytes: SESSION4_BYTES, limbo: WORKER_LIMBO4, address: 4,
    protocol: SESSION4_PROTOCOL,
    stride: SESSION4_KEY_STRIDE, key: [KEY4_SOURCE, KEY4_DESTINATION, KEY4_PORTS],
  },
  {
    name: "IPv6", table: ROOT_SESSIONS6, bytes: SESSION6_BYTES, limbo: WORKER_LIMBO6, address: 16,
    protocol: SESSION6_PROTOCOL,
    stride: SESSION6_KEY_STRIDE, key: [KEY6_SOURCE, KEY6_DESTINATION, KEY6_PORTS],
  },
] as const;
type Family = (typeof FAMILIES)[number];

export interface Audit {
  problems: string[];
  live: number;
  free: number;
  limbo: number;
}

export function audit(memory: Memory): Audit {
  const report: Audit = { problems: [], live: 0, free: 0, limbo: 0 };
  for (let w = 0; w < memory.workers; w++) {
    const at = WORKERS + w * WORKER_BYTES;
    const word = (field: number): number => memory.view.getUint32(at + field, true);
    if (word(WORKER_EPOCH) & 1) report.problems.push(`worker ${w}: its epoch is odd`);
    for (const [name, field] of [
      ["phase", WORKER_PHASE], ["record", WORKER_RECORD], ["locks", WORKER_LOCKS],
    ] as const) {
      if (word(field)) report.problems.push(`worker ${w}: ${name} is ${word(field)}`);
    }
  }
  for (const family of FAMILIES) auditFamily(memory, family, report);
  return report;
}

function auditFamily(memory: Memory, f: Family, report: Audit): void {
  const { view } = memory;
  const table = ROOT + f.table;
  const records = view.getUint32(table + TABLE_RECORDS, true);
  const next = view.getUint32(table + TABLE_UNUSED_NEXT, true);
  const at = (record: number): number => records + record * f.bytes;
  const life = (record: number): number => view.getUint32(at(record) + SESSION_STATE, true);
  const problem = (text: string): void => void report.problems.push(`${f.name}: ${text}`);

  const listed = new Map<number, string>();
  const walk = (head: number, list: string): number => {
    let count = 0;
    for (let r = head; r !== 0; r = view.getUint32(at(r) + SESSION_NEXT, true)) {
      if (listed.has(r)) {
        problem(`record ${r} is in ${listed.get(r)} and in ${list}`);
        break;
      }
      listed.set(r, list);
      count += 1;
    }
    return count;
  };
  report.free += walk(view.getUint32(table + TABLE_FREE, true), "the free stack");
  for (let w = 0; w < memory.workers; w++) {
    const worker = WORKERS + w * WORKER_BYTES + f.limbo;
    report.limbo += walk(view.getUint32(worker, true), `worker ${w}'s open limbo list`);
    report.limbo += walk(view.getUint32(worker + 4, true), `worker ${w}'s closed limbo list`);
  }

  let live = 0;
  const owners = new Map<string, number>();
  for (let r = 1; r < next; r++) {
    const isLive = (life(r) & LIFE_MASK) === Life.Live;
    if (isLive === listed.has(r)) {
      problem(`record ${r}, state ${life(r)}, is ${listed.get(r) ?? "in no list"}`);
    }
    if (!isLive) continue;
    live += 1;
    for (const tuple of [tupleText(memory, f, at(r), 0), tupleText(memory, f, at(r), 1)]) {
      if (owners.has(tuple)) problem(`records ${owners.get(tuple)} and ${r} both own ${tuple}`);
      owners.set(tuple, r);
    }
  }
  report.live += live;
  const counted = view.getUint32(table + TABLE_LIVE, true);
  if (counted !== live) problem(`the table counts ${counted} live sessions, there are ${live}`);
  auditIndex(memory, f, (r) => r < next && (life(r) & LIFE_MASK) === Life.Live, live, problem);
}

function auditIndex(
  memory: Memory, f: Family, isLive: (record: number) => boolean, live: number,
  problem: (text: string) => void,
): void {
  const { view, bytes } = memory;
  const table = ROOT + f.table;
  const buckets = view.getUint32(table + TABLE_BUCKETS, true);
  const count = view.getUint32(table + TABLE_BUCKET_COUNT, true);
  const seen = new Set<number>();
  for (let b = 0; b < count; b++) {
    const bucket = buckets + b * BUCKET_BYTES;
    const lock = view.getUint32(bucket + BUCKET_LOCK, true);
    if (lock) problem(`bucket ${b} is locked by worker ${lock - 1}`);
    for (let way = 0; way < BUCKET_WAYS; way++) {
      const entry = view.getUint32(bucket + BUCKET_ENTRIES + way * 4, true);
      if ((entry === 0) !== (bytes[bucket + way] === 0)) {
        problem(`bucket ${b} way ${way}: tag ${bytes[bucket + way]}, entry ${entry}`);
      }
      if (entry === 0) continue;
      if (!isLive(entry >> 1)) problem(`bucket ${b} way ${way} names dead record ${entry >> 1}`);
      if (seen.has(entry)) problem(`entry ${entry} is in the index twice`);
      seen.add(entry);
    }
  }
  if (seen.size !== live * 2) problem(`${seen.size} entries for ${live} live sessions`);
}

/** The tuple that a packet of this direction bears: source, destination, ports, protocol. */
function tupleText(memory: Memory, f: Family, r: number, direction: 0 | 1): string {
  const key = r + SESSION_KEYS + direction * f.stride;
  const hex = (at: number, n: number): string =>
    Buffer.from(memory.bytes.slice(key + at, key + at + n)).toString("hex");
  const [from, to, ports] = f.key;
  const tuple = [hex(from, f.address), hex(to, f.address), hex(ports, 4)];
  return `${tuple.join("-")}-${memory.bytes[r + f.protocol]}`;
}
