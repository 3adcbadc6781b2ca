// How a session ends, step by step: claim, clear, limbo, reclaim; and what recover() does.
//
//   Live ──claim──► Ending ──locks, clear both entries, unlock──► Limbo ─► open list of this worker
//   open list ─► closed list + every worker's epoch ─► each was even or has moved ─► free stack
//   trap ─► recover: an insert is undone, an end is finished, locks are freed
import { giveBack, open } from "./session-insert.ts";
import { Caller, Machine, PC } from "./session-machine.ts";
import { CANDIDATES, FLOWS, Life, Phase, W, WORKERS, flowOf } from "./session-state.ts";

/** Age visits a record, which counts as idle always: a fresh one is a shorter script. */
export function end(m: Machine, pc: number): void {
  const { s, shape } = m;
  const record = m.get(W.OTHER);
  switch (pc) {
    case PC.AgeRead:
      return m.go(s[shape.life(record)] === Life.Live ? PC.Claim : PC.Turn);
    case PC.Claim:
      if (s[shape.life(record)] !== Life.Live && !m.is("end-without-claim")) return ended(m);
      return claim(m, record);
    case PC.EndLock:
      return m.lockOne(PC.EndLock, PC.JournalEnding);
    case PC.JournalEnding:
      m.set(W.PHASE, Phase.Ending);
      return m.go(PC.ClearForward);
    case PC.ClearForward:
      clear(m, record, 0);
      return m.go(PC.ClearReturn);
    case PC.ClearReturn:
      if (!m.is("end-clears-one-entry")) clear(m, record, 1);
      return m.go(PC.JournalEnded);
    case PC.JournalEnded:
      m.set(W.PHASE, Phase.Idle);
      return m.go(PC.EndUnlock);
    case PC.EndUnlock:
      if (m.unlockOne()) return;
      m.set(W.RECORD, 0);
      if (!m.is("straight-to-free")) return m.go(PC.SetLimbo);
      m.set(W.OWN, record);
      return giveBack(m);
    case PC.SetLimbo:
      s[shape.life(record)] = Life.Limbo;
      return m.go(PC.PushOpen);
    default: // PushOpen: the list is this worker's own
      s[shape.next(record)] = m.get(W.OPEN);
      m.set(W.OPEN, record);
      return ended(m);
  }
}
function ended(m: Machine): void {
  m.set(W.OTHER, 0);
  m.set(W.LOCK, 0);
  if (m.get(W.CALLER) === Caller.Insert) return open(m);
  m.go(m.get(W.CALLER) === Caller.Recover ? PC.Leave : PC.Turn);
}

function aimAtFlowOf(m: Machine, record: number): void {
  const flow = flowOf(m.s[m.shape.forward(record)]! - 1, m.s[m.shape.back(record)]! - 1);
  m.set(W.FLOW, Math.max(flow, 0)); // -1: a mutant has broken the identity
}
function claim(m: Machine, record: number): void {
  m.s[m.shape.life(record)] = Life.Ending;
  aimAtFlowOf(m, record);
  m.s[m.shape.ghost(m.get(W.FLOW))]! -= 1;
  m.set(W.RECORD, record);
  m.set(W.LOCK, 0);
  m.go(m.is("no-locks") ? PC.JournalEnding : PC.EndLock);
}
function clear(m: Machine, record: number, direction: number): void {
  const { s, shape } = m;
  for (const bucket of CANDIDATES[FLOWS[m.get(W.FLOW)]![direction]!]!) {
    for (let way = 0; way < shape.ways; way++) {
      if (s[shape.entry(bucket, way)] !== (record << 1 | direction)) continue;
      s[shape.entry(bucket, way)] = 0;
      s[shape.tag(bucket, way)] = 0;
    }
  }
}

/** The trap may have come between a tag and its entry: such a way would be lost. */
function clearTags(m: Machine): void {
  const { s, shape } = m;
  for (const bucket of m.order()) {
    for (let way = 0; way < shape.ways; way++) {
      if (s[shape.entry(bucket, way)] === 0) s[shape.tag(bucket, way)] = 0;
    }
  }
}

/** Turns the limbo lists; LOCK counts the workers here. */
export function reclaim(m: Machine, pc: number): void {
  const { s, shape } = m;
  const other = m.get(W.LOCK);
  switch (pc) {
    case PC.Turn:
      m.set(W.LOCK, 0);
      if (!m.get(W.HOLDS_SNAPSHOT)) return m.go(PC.Close);
      return m.go(m.is("reuse-without-quiescence") ? PC.Reclaim : PC.Check);
    case PC.Check: {
      const then = m.get(W.SNAPSHOT + other);
      const outside = m.is("odd-counts-as-quiescent") ? then & 1 : !(then & 1);
      if (!outside && s[shape.worker(other) + W.EPOCH] === then) return turned(m);
      m.set(W.LOCK, other + 1);
      return other + 1 < WORKERS ? undefined : m.go(PC.Reclaim);
    }
    case PC.Reclaim: { // the whole closed list goes to the free stack
      m.set(W.HOLDS_SNAPSHOT, 0);
      m.set(W.OWN, m.get(W.CLOSED));
      m.set(W.CLOSED, 0);
      for (let r = m.get(W.OWN); r !== 0; r = s[shape.next(r)]!) {
        s[shape.life(r)] = Life.Free;
        m.set(W.CHAIN, r);
      }
      return m.go(PC.PushHead);
    }
    case PC.Close:
      m.set(W.LOCK, 0);
      if (m.get(W.OPEN) === 0) return turned(m);
      m.set(W.CLOSED, m.get(W.OPEN));
      m.set(W.OPEN, 0);
      return m.go(PC.Snapshot);
    default: // Snapshot
      m.set(W.SNAPSHOT + other, s[shape.worker(other) + W.EPOCH]!);
      m.set(W.LOCK, other + 1);
      if (other + 1 < WORKERS) return;
      m.set(W.HOLDS_SNAPSHOT, 1);
      return turned(m);
  }
}
function turned(m: Machine): void {
  m.set(W.LOCK, 0);
  m.go(m.get(W.CALLER) === Caller.Insert ? PC.PopHead : PC.Leave);
}

/** The frame is given up; what the journal says decides what has to be repaired. */
export function trap(m: Machine): void {
  m.set(W.TRAPS, m.get(W.TRAPS) - 1);
  m.forget();
  m.forgetHeld();
  m.set(W.CALLER, Caller.Recover);
  m.go(PC.RecoverClear);
}

export function recover(m: Machine, pc: number): void {
  const { s, shape } = m;
  const record = m.get(W.RECORD);
  switch (pc) {
    case PC.RecoverClear: // all its buckets are locked, whatever the phase
      aimAtFlowOf(m, record);
      clear(m, record, 0);
      clear(m, record, 1);
      if (!m.is("recover-leaves-tags")) clearTags(m);
      return m.go(PC.RecoverUnlock);
    case PC.RecoverUnlock:
      if (!m.is("recover-keeps-locks") && m.unlockOne()) return;
      return m.go(PC.RecoverRecord);
    default: { // RecoverRecord: one cmpxchg of its state decides whose it is
      const phase = m.get(W.PHASE);
      m.set(W.PHASE, Phase.Idle);
      m.set(W.RECORD, 0);
      if (m.is("recover-forgets-record")) return m.go(PC.Leave);
      if (phase === Phase.Ending) return retire(m, record);
      const life = s[shape.life(record)];
      if (m.is("recover-without-claim")) {
        if (life === Life.Live) s[shape.ghost(m.get(W.FLOW))]! -= 1;
        return retire(m, record);
      }
      if (life === Life.Ending) return m.go(PC.Leave); // another worker claimed it: theirs
      if (life === Life.Limbo) return m.go(PC.Leave); // ... and is done with it
      m.set(W.OWN, record);
      if (life === Life.Free) return giveBack(m);
      s[shape.ghost(m.get(W.FLOW))]! -= 1;
      if (m.is("recover-frees-at-once")) return giveBack(m);
      m.set(W.OWN, 0);
      return retire(m, record);
    }
  }
}
function retire(m: Machine, record: number): void {
  m.s[m.shape.life(record)] = Life.Limbo;
  m.set(W.OTHER, record);
  m.go(PC.PushOpen);
}
