// VPP's statistics segment: counters as VPP's own memory has them.
//
//   /proc/{pid}/fd/* ─► "/memfd:stat segment" ─► header ─► directory ─► entry ─► vectors
//
//   header     u64 version (2), base, epoch, in progress, directory
//   entry      u32 type, u64 value | pointer | {u32, u32}, char name[128]: 144 bytes
//   vector     u32 length 8 bytes before its first element
//
// Pointers are VPP's own: the base is taken off. VPP changes the epoch whenever it moves things;
// what was read while it did, is read again. Counters of one read are not of one moment.
// Limits: the same machine and user (or CAP_SYS_PTRACE), for Node can neither map memory nor take
// descriptors from a socket. Ring buffers are not read. After VPP's end the last values stay
// readable: open anew when the client says "connect".
// Source: vlib/stats/shared.h.

import { closeSync, openSync, readSync, readdirSync, readlinkSync } from "node:fs";
import { VppApiError } from "./errors.ts";

const VERSION = 2n;
const HEADER_BYTES = 40;
const ENTRY_BYTES = 144;
const NAME_BYTES = 128;
const ENTRIES_MAX = 1 << 20;
const VECTOR_BYTES_MAX = 256 << 20;
const ATTEMPTS_MAX = 1000;

const enum Type {
  Scalar = 1, Counters = 2, Pairs = 3, Names = 4, Empty = 5, Symlink = 6, Histogram = 7,
  Gauge = 9,
}

/** What an entry holds; vectors are per thread, main first, then by index (sw_if_index, ...). */
export type Stat =
  | { kind: "gauge"; value: bigint }
  | { kind: "counters"; threads: BigUint64Array[] }
  | { kind: "pairs"; packets: BigUint64Array[]; bytes: BigUint64Array[] }
  | { kind: "names"; names: string[] }
  /** Bin i counts values below 2 ** (leastExponent + i + 1). */
  | { kind: "histogram"; leastExponent: number; threads: BigUint64Array[] };

/** A statistic that is not there, or a segment that cannot be read. */
export class VppStatsError extends VppApiError {}

/** VPP was at work in what was being read. */
class Moved extends Error {}

interface Entry {
  type: number;
  /** A pointer of VPP's; a gauge's number is read anew, for it changes within an epoch. */
  value: bigint;
  /** Where the value stands, as a pointer of VPP's. */
  at: bigint;
}

interface Directory {
  epoch: bigint;
  entries: Entry[];
  byName: Map<string, Entry>;
}

export class StatsSegment {
  private directory: Directory | undefined;
  private base = 0n;

  private constructor(private readonly descriptor: number, readonly pid: number) {}

  /** Of the VPP with this process number: VppClient.pid tells it. */
  static open(pid: number): StatsSegment {
    const segment = new StatsSegment(openSync(segmentPath(pid), "r"), pid);
    const version = segment.bytes(0, HEADER_BYTES).readBigUInt64LE(0);
    if (version === VERSION) return segment;
    segment.close();
    throw new VppStatsError(`the segment of VPP ${pid} has version ${version}, not ${VERSION}`);
  }

  /** The names there are, in VPP's order; those that a pattern matches or that begin so. */
  names(which: RegExp | string = ""): string[] {
    const matches = typeof which === "string"
      ? (name: string) => name.startsWith(which) : (name: string) => which.test(name);
    return this.steadily(({ byName }) => [...byName.keys()].filter(matches));
  }

  /** One statistic; throws where there is none of this name. */
  read(name: string): Stat {
    return this.steadily((directory) => {
      const entry = directory.byName.get(name);
      if (!entry) throw new VppStatsError(`${name}: VPP has no such statistic`);
      const stat = this.value(entry, directory);
      if (!stat) throw new VppStatsError(`${name}: a statistic of type ${entry.type} is not read`);
      return stat;
    });
  }

  /** All that a pattern matches, of one epoch. */
  readAll(which: RegExp | string = ""): Map<string, Stat> {
    const names = this.names(which);
    return this.steadily((directory) => {
      const stats = new Map<string, Stat>();
      for (const name of names) {
        const entry = directory.byName.get(name);
        const stat = entry && this.value(entry, directory);
        if (stat) stats.set(name, stat);
      }
      return stats;
    });
  }

  /** The error counters that are not zero: "/err/node/what" to packets. */
  errors(): Map<string, bigint> {
    const totals = [...this.readAll("/err/")].map(([name, stat]) => [name, total(stat)] as const);
    return new Map(totals.filter(([, packets]) => packets > 0n));
  }

  close(): void {
    closeSync(this.descriptor);
  }

  /** Reads until VPP has moved nothing meanwhile. */
  private steadily<T>(read: (directory: Directory) => T): T {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const before = this.header();
      if (before.inProgress) continue;
      let result: T;
      try {
        if (this.directory?.epoch !== before.epoch) this.directory = this.readDirectory(before);
        result = read(this.directory);
      } catch (error) {
        const { epoch, inProgress } = this.header();
        if (inProgress || epoch !== before.epoch) continue;
        throw error instanceof Moved ? new VppStatsError(error.message) : error;
      }
      const after = this.header();
      if (!after.inProgress && after.epoch === before.epoch) return result;
    }
    throw new VppStatsError(`VPP ${this.pid} moves its statistics all the time`);
  }

  private header(): { epoch: bigint; inProgress: boolean; directory: bigint } {
    const bytes = this.bytes(0, HEADER_BYTES);
    this.base = bytes.readBigUInt64LE(8);
    return {
      epoch: bytes.readBigUInt64LE(16),
      inProgress: bytes.readBigUInt64LE(24) !== 0n,
      directory: bytes.readBigUInt64LE(32),
    };
  }

  private readDirectory({ epoch, directory }: { epoch: bigint; directory: bigint }): Directory {
    const bytes = this.vector(directory, ENTRY_BYTES, ENTRIES_MAX);
    const entries: Entry[] = [];
    const byName = new Map<string, Entry>();
    for (let at = 0; at < bytes.length; at += ENTRY_BYTES) {
      const entry = {
        type: bytes.readUInt32LE(at), value: bytes.readBigUInt64LE(at + 8),
        at: directory + BigInt(at + 8),
      };
      entries.push(entry);
      if (entry.type !== Type.Empty && entry.type !== 0) {
        byName.set(textOf(bytes.subarray(at + 16, at + 16 + NAME_BYTES)), entry);
      }
    }
    return { epoch, entries, byName };
  }

  private value(entry: Entry, directory: Directory): Stat | undefined {
    switch (entry.type) {
      case Type.Scalar:
      case Type.Gauge:
        return { kind: "gauge", value: this.bytes(this.offset(entry.at), 8).readBigUInt64LE() };
      case Type.Counters:
        return { kind: "counters", threads: this.threads(entry.value, 8).map(longs) };
      case Type.Pairs:
        return pairs(this.threads(entry.value, 16));
      case Type.Names:
        return { kind: "names", names: this.threads(entry.value, 1).map(textOf) };
      case Type.Histogram: {
        const threads = this.threads(entry.value, 8).map(longs);
        // The first element is the exponent, the bins follow.
        const leastExponent = Number(threads.find((bins) => bins.length > 0)?.[0] ?? 0n);
        return { kind: "histogram", leastExponent, threads: threads.map((bins) => bins.slice(1)) };
      }
      case Type.Symlink:
        return this.linked(entry, directory);
      default:
        return undefined;
    }
  }

  /** One index of another entry: /interfaces/eth0/rx is index sw_if_index of /if/rx. */
  private linked(link: Entry, { entries }: Directory): Stat | undefined {
    const target = entries[Number(link.value & 0xffff_ffffn)];
    const index = Number(link.value >> 32n);
    const size = target?.type === Type.Pairs ? 16 : 8;
    if (target?.type !== Type.Pairs && target?.type !== Type.Counters) return undefined;
    const threads = this.threads(target.value, size, index);
    return size === 16 ? pairs(threads) : { kind: "counters", threads: threads.map(longs) };
  }

  /** The vectors that a vector points at: whole, or one element of each. */
  private threads(pointer: bigint, size: number, index?: number): Buffer[] {
    const pointers = this.vector(pointer, 8, ENTRIES_MAX);
    return Array.from({ length: pointers.length / 8 }, (_, i) => {
      const to = pointers.readBigUInt64LE(8 * i);
      if (index === undefined) return this.vector(to, size, VECTOR_BYTES_MAX / size);
      const at = this.offset(to);
      const length = to === 0n ? 0 : this.bytes(at - 8, 4).readUInt32LE(0);
      return index < length ? this.bytes(at + index * size, size) : Buffer.alloc(size);
    });
  }

  private vector(pointer: bigint, size: number, lengthMax: number): Buffer {
    if (pointer === 0n) return Buffer.alloc(0);
    const at = this.offset(pointer);
    const length = this.bytes(at - 8, 4).readUInt32LE(0);
    if (length > lengthMax) throw new Moved(`a vector of ${length} elements`);
    return this.bytes(at, length * size);
  }

  private offset(pointer: bigint): number {
    const at = pointer - this.base;
    if (at < BigInt(HEADER_BYTES) || at > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new Moved(`a pointer out of the segment: ${pointer}`);
    }
    return Number(at);
  }

  private bytes(at: number, length: number): Buffer {
    const buffer = Buffer.alloc(length);
    let got = 0;
    while (got < length) {
      const more = readSync(this.descriptor, buffer, got, length - got, at + got);
      if (more === 0) throw new Moved(`the segment ends before ${at + length}`);
      got += more;
    }
    return buffer;
  }
}

/** The sum over all threads: of one index, or of all. Of pairs: packets. */
export function total(stat: Stat, index?: number): bigint {
  if (stat.kind === "gauge") return stat.value;
  if (stat.kind === "names") return BigInt(stat.names.length);
  const threads = stat.kind === "pairs" ? stat.packets : stat.threads;
  return threads.reduce((sum, thread) => sum + (index === undefined
    ? thread.reduce((all, each) => all + each, 0n) : thread[index] ?? 0n), 0n);
}

function segmentPath(pid: number): string {
  const directory = `/proc/${pid}/fd`;
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? `no process ${pid}` : `${directory}: ${code}`;
    throw new VppStatsError(`the statistics of VPP ${pid}: ${why}`);
  }
  const path = names.map((name) => `${directory}/${name}`).find((each) => {
    try {
      return readlinkSync(each).startsWith("/memfd:stat segment");
    } catch {
      return false;
    }
  });
  if (path === undefined) {
    throw new VppStatsError(`process ${pid} holds no statistics segment: is it VPP?`);
  }
  return path;
}

const longs = (bytes: Buffer): BigUint64Array => new BigUint64Array(Uint8Array.from(bytes).buffer);

function pairs(threads: Buffer[]): Stat {
  const all = threads.map(longs);
  const every = (first: number) => all.map((both) => both.filter((_, i) => i % 2 === first));
  return { kind: "pairs", packets: every(0), bytes: every(1) };
}

function textOf(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString("utf8", 0, end < 0 ? bytes.length : end);
}
