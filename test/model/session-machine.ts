// A worker of the session model: its registers, the record it stands in, the locks it takes.
//
//   Machine.aim(state, worker) ──► get/set registers, go(step), hold(record), lock and unlock
//
// A step is one access to memory that the other worker can see; Pc names them all. The programs
// that the machine runs are session-insert.ts (look-up, insert) and session-end.ts (age, end,
// reclaim, recover). Mutants are the same programs with one rule broken.
import {
  BUCKETS, CANDIDATES, FLOWS, HELD_MAX, Shape, W,
} from "./session-state.ts";

export type Mutant =
  | "reuse-without-quiescence" // reclaim does not wait for the other workers
  | "odd-counts-as-quiescent" // reclaim waits for the even ones instead of the odd ones
  | "no-second-look-up" // insert trusts its first look-up
  | "locks-not-ascending" // locks are taken in the order of the keys
  | "no-locks" // insert and end take no lock
  | "published-before-identity" // the forward entry goes out before the identity is written
  | "identity-half-written" // ... before its return half is
  | "end-without-claim" // whoever sees a live record ends it
  | "end-clears-one-entry" // the return entry stays
  | "straight-to-free" // end skips limbo
  | "look-up-takes-ending" // the look-up does not ask whether the session still lives
  | "recover-keeps-locks"
  | "recover-leaves-tags" // a tag without its entry takes up a way for ever
  | "recover-forgets-record"
  | "recover-without-claim" // a session that another worker is ending is ended twice
  | "recover-frees-at-once"; // a record that was published goes to the free stack

export interface Bounds {
  records: number;
  ways: number;
  /** Operations (packets and ages) of each worker. */
  operations: readonly [number, number];
  /** A session of flow A is there at the start. */
  seeded?: boolean;
  /** How many traps each worker may run into while its journal is open. */
  traps?: number;
  mutant?: Mutant;
}

export const Pc = [
  // a frame: session.ts find()
  "Idle", "Next", "LookTags", "LookEntry", "LookCompare", "LookLife",
  // reclaim.ts take(), conntrack.ts writeIdentity(), session.ts insert()
  "PopHead", "PopNext", "PopSwap", "TakeUnused", "IdentityForward", "IdentityReturn", "Lock",
  "JournalInserting", "LookAgain", "SetLive", "TagForward", "EntryForward", "JournalPublished",
  "TagReturn", "EntryReturn", "JournalIdle", "Unlock",
  // reclaim.ts push()
  "PushHead", "PushNext", "PushSwap",
  // conntrack.ts endSession(), session.ts unindex(), reclaim.ts retire()
  "AgeRead", "Claim", "EndLock", "JournalEnding", "ClearForward", "ClearReturn", "JournalEnded",
  "EndUnlock", "SetLimbo", "PushOpen",
  // reclaim.ts reclaim()
  "Turn", "Check", "Reclaim", "Close", "Snapshot",
  // control.ts recover()
  "RecoverClear", "RecoverUnlock", "RecoverRecord",
  "Leave",
] as const;
export type PcName = (typeof Pc)[number];
export const PC = Object.fromEntries(Pc.map((name, i) => [name, i])) as Record<PcName, number>;
/** Who called end, reclaim or push: where to go on when it is done. */
export const Caller = { Age: 0, Insert: 1, Recover: 2 } as const;

export class Machine {
  readonly shape: Shape;
  s: Uint8Array = new Uint8Array(0);
  w = 0;
  private at = 0;

  constructor(readonly bounds: Bounds) {
    this.shape = new Shape(bounds.records, bounds.ways);
  }
  /** Points the machine at a worker in a state. */
  aim(s: Uint8Array, w: number): void {
    this.s = s;
    this.w = w;
    this.at = this.shape.worker(w);
  }

  // ---- registers and memory ---------------------------------------------------------------------
  get(field: number): number {
    return this.s[this.at + field]!;
  }
  set(field: number, value: number): void {
    this.s[this.at + field] = value;
  }
  go(pc: number): void {
    this.s[this.at + W.PC] = pc;
  }
  is(mutant: Mutant): boolean {
    return this.bounds.mutant === mutant;
  }
  heldCount(): number {
    let count = 0;
    for (let h = 0; h < HELD_MAX; h++) if (this.get(W.HELD + 3 * h) !== 0) count += 1;
    return count;
  }
  hold(record: number): void {
    let h = W.HELD;
    while (this.get(h) !== 0) h += 3;
    this.set(h, record);
    this.set(h + 1, this.s[this.shape.forward(record)]!);
    this.set(h + 2, this.s[this.shape.back(record)]!);
  }
  /** Forgets what no longer matters, so that states which differ in it alone are one. */
  forget(): void {
    for (const f of [W.KEY, W.FLOW, W.LOOK, W.WAYS, W.OTHER, W.OWN, W.HEAD_TAG, W.HEAD, W.NEXT,
      W.LOCK, W.WAY_F, W.WAY_R, W.CALLER, W.RETRIED, W.CHAIN]) this.set(f, 0);
  }
  leave(): void {
    this.set(W.EPOCH, this.get(W.EPOCH) + 1);
    this.forget();
    this.forgetHeld();
    this.go(PC.Idle);
  }
  forgetHeld(): void {
    for (let h = 0; h < 3 * HELD_MAX; h++) this.set(W.HELD + h, 0);
  }

  place(field: number): [number, number] {
    const place = this.get(field) - 1;
    return [Math.trunc(place / this.shape.ways), place % this.shape.ways];
  }

  // ---- locks ------------------------------------------------------------------------------------
  order(): number[] {
    const [forward, back] = FLOWS[this.get(W.FLOW)]!;
    const all = [...new Set([...CANDIDATES[forward]!, ...CANDIDATES[back]!])];
    return this.is("locks-not-ascending") ? all : all.sort((a, b) => a - b);
  }
  bucket(): number {
    return this.order()[this.get(W.LOCK)]!;
  }
  beginLocks(): void {
    this.set(W.LOCK, 0);
    this.go(this.is("no-locks") ? PC.JournalInserting : PC.Lock);
  }
  lockOne(again: number, done: number): void {
    const bucket = this.bucket();
    this.s[this.shape.lock(bucket)] = this.w + 1;
    this.set(W.LOCKED, this.get(W.LOCKED) | (1 << bucket));
    this.set(W.LOCK, this.get(W.LOCK) + 1);
    this.go(this.get(W.LOCK) < this.order().length ? again : done);
  }
  /** False when none was held. */
  unlockOne(): boolean {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      if (!(this.get(W.LOCKED) & (1 << bucket))) continue;
      this.s[this.shape.lock(bucket)] = 0;
      this.set(W.LOCKED, this.get(W.LOCKED) & ~(1 << bucket));
      return true;
    }
    return false;
  }
}
