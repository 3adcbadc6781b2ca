// The world of the session model as a byte string, and what must hold of it.
//
//   ┌ bucket 0 ─────────────┬ bucket 1 ┬ record 1 ──────────────────────┬ record 2 … ┬ free stack ┐
//   │ lock, tags[], entries[]│   …      │ life, forward, return, next    │     …     │ table …    │
//   ├ worker 0: the journal, limbo lists and epoch of the core, then its registers ─┬ worker 1 ───┤
//   └ ghosts: how many sessions of each flow should be alive ─────────────────────────────────────┘
//
// Keys and flows are chosen to collide: every key has its candidates in the same two buckets, two
// flows share a return key (a tuple collision), and two are each other's reverse (both ends open at
// once). Limits: 2 workers, 2 buckets; records and ways by the bounds.

export const WORKERS = 2;
export const BUCKETS = 2;
export const Life = { Free: 0, Live: 1, Ending: 2, Limbo: 3 } as const;
export const Phase = { Idle: 0, Inserting: 1, Published: 2, Ending: 3 } as const;

/** Candidate buckets of a key; a key is a tuple. Both may be one bucket. */
export const CANDIDATES = [[0, 1], [1, 0], [1, 1], [1, 1], [0, 0]] as const;
export const KEYS = CANDIDATES.length;
export const tagOf = (key: number): number => 1 + (key & 1);
/** Forward and return key: A, B, C (returns to the same tuple as A), D (the reverse of A). */
export const FLOWS = [[0, 1], [2, 3], [4, 1], [1, 0]] as const;
/** The flow that a packet of this key opens; undefined: it opens none (a reply of B). */
export const OPENS: readonly (number | undefined)[] = [0, 3, 1, undefined, 2];
export const flowOf = (forward: number, back: number): number =>
  FLOWS.findIndex(([f, r]) => f === forward && r === back);

/** Registers and journal of a worker: offsets inside its part of the state. */
export const W = {
  // in the core's memory
  EPOCH: 0, PHASE: 1, RECORD: 2, LOCKED: 3, OPEN: 4, CLOSED: 5, HOLDS_SNAPSHOT: 6, SNAPSHOT: 7,
  // registers
  PC: 9, OPS: 10, KEY: 11, FLOW: 12, LOOK: 13, WAYS: 14, OTHER: 15, OWN: 16, HEAD_TAG: 17, HEAD: 18,
  NEXT: 19, LOCK: 20, WAY_F: 21, WAY_R: 22, CALLER: 23, RETRIED: 24, CHAIN: 25, TRAPS: 26,
  MISLED: 27,
  // records that the frame in hand uses: record, forward, return, twice
  HELD: 28,
} as const;
export const HELD_MAX = 3;
const WORKER_BYTES = W.HELD + 3 * HELD_MAX;

/** Offsets for given bounds, and the checks that read a state through them. */
export class Shape {
  readonly bucketBytes: number;
  readonly recordsAt: number;
  readonly freeAt: number;
  readonly workersAt: number;
  readonly ghostsAt: number;
  readonly bytes: number;
  constructor(readonly records: number, readonly ways: number) {
    this.bucketBytes = 1 + 2 * ways;
    this.recordsAt = BUCKETS * this.bucketBytes;
    this.freeAt = this.recordsAt + records * 4;
    this.workersAt = this.freeAt + 3;
    this.ghostsAt = this.workersAt + WORKERS * WORKER_BYTES;
    this.bytes = this.ghostsAt + FLOWS.length;
  }
  lock(bucket: number): number {
    return bucket * this.bucketBytes;
  }
  tag(bucket: number, way: number): number {
    return bucket * this.bucketBytes + 1 + way;
  }
  entry(bucket: number, way: number): number {
    return bucket * this.bucketBytes + 1 + this.ways + way;
  }
  life(record: number): number {
    return this.recordsAt + (record - 1) * 4;
  }
  forward(record: number): number {
    return this.life(record) + 1;
  }
  back(record: number): number {
    return this.life(record) + 2;
  }
  next(record: number): number {
    return this.life(record) + 3;
  }
  /** Free stack: tag, head; then the first record never handed out. */
  get freeTag(): number {
    return this.freeAt;
  }
  get freeHead(): number {
    return this.freeAt + 1;
  }
  get unusedNext(): number {
    return this.freeAt + 2;
  }
  worker(w: number): number {
    return this.workersAt + w * WORKER_BYTES;
  }
  ghost(flow: number): number {
    return this.ghostsAt + flow;
  }

  /** What must hold in every state. */
  always(s: Uint8Array): string | undefined {
    for (let w = 0; w < WORKERS; w++) {
      if (s[this.worker(w) + W.MISLED]) {
        return `misled: worker ${w} uses an ended session, though a new one stands for its key`;
      }
      for (let h = 0; h < HELD_MAX; h++) {
        const at = this.worker(w) + W.HELD + 3 * h;
        const record = s[at]!;
        if (record === 0) continue;
        if (s[this.forward(record)] !== s[at + 1] || s[this.back(record)] !== s[at + 2]) {
          return `torn: worker ${w} uses record ${record}, whose identity changed in its frame`;
        }
      }
    }
    return this.doubled(s);
  }

  /** Another record than this one that is live and published for a key; 0 = none. */
  successor(s: Uint8Array, record: number, key: number): number {
    for (let b = 0; b < BUCKETS; b++) {
      for (let way = 0; way < this.ways; way++) {
        const entry = s[this.entry(b, way)]!;
        const other = entry >> 1;
        if (other === 0 || other === record || s[this.life(other)] !== Life.Live) continue;
        const id = entry & 1 ? s[this.back(other)]! : s[this.forward(other)]!;
        if (id === key + 1) return other;
      }
    }
    return 0;
  }

  /** Two live records that are both published for one key. */
  private doubled(s: Uint8Array): string | undefined {
    const owner = new Uint8Array(KEYS);
    for (let b = 0; b < BUCKETS; b++) {
      for (let way = 0; way < this.ways; way++) {
        const entry = s[this.entry(b, way)]!;
        const record = entry >> 1;
        if (record === 0 || s[this.life(record)] !== Life.Live) continue;
        const id = entry & 1 ? s[this.back(record)]! : s[this.forward(record)]!;
        if (id === 0) return `an entry names record ${record}, whose identity is not written`;
        if (owner[id - 1] !== 0 && owner[id - 1] !== record) {
          return `doubled: records ${owner[id - 1]} and ${record} live for key ${id - 1}`;
        }
        owner[id - 1] = record;
      }
    }
    return undefined;
  }

  /** What must hold when both workers have come to rest. */
  atRest(s: Uint8Array): string | undefined {
    for (let b = 0; b < BUCKETS; b++) {
      if (s[this.lock(b)] !== 0) return `the lock of bucket ${b} was left held`;
    }
    const where = new Uint8Array(this.records + 1);
    const lists = [this.chain(s, s[this.freeHead]!)];
    for (let w = 0; w < WORKERS; w++) {
      const at = this.worker(w);
      if (s[at + W.EPOCH]! & 1) return `worker ${w} rests with an odd epoch`;
      if (s[at + W.PHASE] !== Phase.Idle) return `worker ${w} rests with its journal open`;
      lists.push(this.chain(s, s[at + W.OPEN]!), this.chain(s, s[at + W.CLOSED]!));
    }
    for (const list of lists) {
      if (list === undefined) return "a list of records runs in a circle (a double free)";
      for (const record of list) {
        if (where[record]! > 0) return `record ${record} is in two lists (a double free)`;
        where[record] = 1;
      }
    }
    for (let record = 1; record < s[this.unusedNext]!; record++) {
      const live = s[this.life(record)] === Life.Live;
      if (live && where[record]! > 0) return `record ${record} is live and in a list`;
      if (!live && where[record] === 0) return `record ${record} is lost: neither live nor listed`;
    }
    return this.index(s) ?? this.ghosts(s);
  }

  private chain(s: Uint8Array, head: number): number[] | undefined {
    const list: number[] = [];
    for (let r = head; r !== 0; r = s[this.next(r)]!) {
      list.push(r);
      if (list.length > this.records) return undefined;
    }
    return list;
  }

  /** Every live record has its two entries where a look-up finds them, and there are no others. */
  private index(s: Uint8Array): string | undefined {
    const found = new Uint8Array(2 * (this.records + 1));
    for (let b = 0; b < BUCKETS; b++) {
      for (let way = 0; way < this.ways; way++) {
        const entry = s[this.entry(b, way)]!;
        if ((entry === 0) !== (s[this.tag(b, way)] === 0)) {
          return `way ${way} of bucket ${b} is lost: its tag and its entry differ`;
        }
        if (entry === 0) continue;
        const record = entry >> 1;
        if (s[this.life(record)] !== Life.Live) return `an entry names dead record ${record}`;
        const key = (entry & 1 ? s[this.back(record)]! : s[this.forward(record)]!) - 1;
        if (!CANDIDATES[key]!.some((c) => c === b)) return `key ${key} is in a foreign bucket`;
        if (s[this.tag(b, way)] !== tagOf(key)) return `lost: key ${key} stands under a wrong tag`;
        found[entry]! += 1;
      }
    }
    for (let record = 1; record < s[this.unusedNext]!; record++) {
      if (s[this.life(record)] !== Life.Live) continue;
      for (const direction of [0, 1]) {
        const count = found[record * 2 + direction];
        if (count !== 1) {
          return `lost: live record ${record} has ${count} entries for direction ${direction}`;
        }
      }
    }
    return undefined;
  }

  private ghosts(s: Uint8Array): string | undefined {
    const alive = FLOWS.map(() => 0);
    for (let record = 1; record < s[this.unusedNext]!; record++) {
      if (s[this.life(record)] !== Life.Live) continue;
      alive[flowOf(s[this.forward(record)]! - 1, s[this.back(record)]! - 1)]! += 1;
    }
    const wrong = alive.findIndex((count, flow) => count !== s[this.ghost(flow)]);
    if (wrong < 0) return undefined;
    return `lost: flow ${wrong} has ${alive[wrong]} live sessions, ${s[this.ghost(wrong)]} are due`;
  }
}
