// The session protocol of assembly/session.ts as a transition system: two workers, one step for
// each access to memory that the other one can see.
//
//   idle ─► frame: epoch odd ─► look-up ─► hit ──────────────────────────► next packet │ epoch even
//      │                          └─► miss: take record, identity, locks, look again,
//      │                                    publish forward, return, unlock ─┘
//      ├─► age: epoch odd ─► visit one record, end it ─► limbo list ─► turn the lists ─► epoch even
//      └─► rest
//   anywhere with the journal open: trap ─► recover ─► epoch even
//
// A worker chooses freely what to do next, so one search covers every script of that many
// operations. A frame goes on to further packets of its choice while holding what it found: the
// core's stages differ only in that they hold more at once. Entries and tags of a bucket are steps
// of their own; the second look-up under locks is one step (nobody else may write there: if a
// mutant does, other checks see it). Memory is sequentially consistent, as x86 makes it: what is
// published goes out by a locked instruction after plain stores, and epochs move by locked ones.
//
// Limits: two workers. The tag of the free stack is in the model but is not needed by two (a worker
// has one record in hand, and epochs hold back the rest): ABA takes a third. A key's tuple is one
// word; a record's identity is two, so that it can be torn between its directions.
import type { Model } from "./checker.ts";
import { end, reclaim, recover, trap } from "./session-end.ts";
import { insert, lookUp, push } from "./session-insert.ts";
import { Machine, PC, Pc, type Bounds } from "./session-machine.ts";
import {
  CANDIDATES, FLOWS, HELD_MAX, KEYS, Life, Phase, W, WORKERS, tagOf,
} from "./session-state.ts";

export class SessionProtocol implements Model {
  readonly stateBytes: number;
  readonly processes = WORKERS;
  private readonly machine: Machine;

  constructor(bounds: Bounds) {
    this.machine = new Machine(bounds);
    this.stateBytes = this.machine.shape.bytes;
  }

  initial(): Uint8Array {
    const { shape, bounds } = this.machine;
    const s = new Uint8Array(shape.bytes);
    s[shape.unusedNext] = 1;
    for (let w = 0; w < WORKERS; w++) {
      s[shape.worker(w) + W.OPS] = bounds.operations[w]!;
      s[shape.worker(w) + W.TRAPS] = bounds.traps ?? 0;
    }
    if (bounds.seeded) {
      s[shape.unusedNext] = 2;
      s[shape.life(1)] = Life.Live;
      FLOWS[0].forEach((key, direction) => {
        const bucket = CANDIDATES[key]![0];
        s[(direction ? shape.back(1) : shape.forward(1))] = key + 1;
        s[shape.tag(bucket, 0)] = tagOf(key);
        s[shape.entry(bucket, 0)] = 2 | direction;
      });
      s[shape.ghost(0)] = 1;
    }
    return s;
  }

  final(s: Uint8Array): boolean {
    for (let w = 0; w < WORKERS; w++) {
      const at = this.machine.shape.worker(w);
      if (s[at + W.PC] !== PC.Idle || s[at + W.OPS]! > 0) return false;
    }
    return true;
  }

  violation(s: Uint8Array): string | undefined {
    const { shape } = this.machine;
    return shape.always(s) ?? (this.final(s) ? shape.atRest(s) : undefined);
  }

  describe(s: Uint8Array, w: number): string {
    const at = this.machine.shape.worker(w);
    return `${Pc[s[at + W.PC]!]} key ${s[at + W.KEY]} record ${s[at + W.OTHER]}`
      + ` own ${s[at + W.OWN]} epoch ${s[at + W.EPOCH]} phase ${s[at + W.PHASE]}`;
  }

  choices(s: Uint8Array, w: number): number {
    this.machine.aim(s, w);
    return this.ways() + (this.trappable() ? 1 : 0);
  }

  private ways(): number {
    const m = this.machine;
    switch (m.get(W.PC)) {
      case PC.Idle: // any packet, or age at any record
        return m.get(W.OPS) === 0 ? 0 : KEYS + m.bounds.records;
      case PC.Next: // leave, or one more packet in this frame
        return 1 + (m.get(W.OPS) > 0 && m.heldCount() < HELD_MAX ? KEYS : 0);
      case PC.LookLife: // a hit: use it, or find its endpoint gone and end it
        return m.s[m.shape.life(m.get(W.OTHER) >> 1)] === Life.Live && m.get(W.OPS) > 0 ? 2 : 1;
      case PC.Lock:
      case PC.EndLock: // a spin that fails changes nothing: it is no step
        return m.s[m.shape.lock(m.bucket())] === 0 ? 1 : 0;
      default:
        return 1;
    }
  }

  private trappable(): boolean {
    const m = this.machine;
    return m.get(W.TRAPS) > 0 && m.get(W.PHASE) !== Phase.Idle && m.get(W.PC) < PC.RecoverClear;
  }

  step(s: Uint8Array, w: number, choice: number): void {
    const m = this.machine;
    m.aim(s, w);
    if (choice >= this.ways()) return trap(m);
    const pc = m.get(W.PC);
    if (pc <= PC.LookLife) lookUp(m, pc, choice);
    else if (pc <= PC.Unlock) insert(m, pc);
    else if (pc <= PC.PushSwap) push(m, pc);
    else if (pc <= PC.PushOpen) end(m, pc);
    else if (pc <= PC.Snapshot) reclaim(m, pc);
    else if (pc <= PC.RecoverRecord) recover(m, pc);
    else m.leave();
  }
}
