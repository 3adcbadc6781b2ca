// What a frame does to a session table, step by step: the look-up without locks, and the insert.
//
//   tags ─► entry ─► compare ─► hold it                    (each bucket of the key)
//     └─ nowhere ─► take a record ─► identity ─► locks ─► look again ─► Live ─► forward entry ─►
//                   journal ─► return entry ─► journal ─► unlock
//                                      └─ there by now, collides, full ─► unlock ─► give it back
import { Caller, Machine, PC } from "./session-machine.ts";
import {
  CANDIDATES, FLOWS, KEYS, Life, OPENS, Phase, W, tagOf,
} from "./session-state.ts";

// ---- frame and lock-free look-up ----------------------------------------------------------------
export function lookUp(m: Machine, pc: number, choice: number): void {
  const { s, shape } = m;
  switch (pc) {
    case PC.Idle: // the first step inside is the odd epoch
      m.set(W.EPOCH, m.get(W.EPOCH) + 1);
      m.set(W.OPS, m.get(W.OPS) - 1);
      if (choice >= KEYS) {
        m.set(W.OTHER, choice - KEYS + 1);
        return m.go(PC.AgeRead);
      }
      m.set(W.KEY, choice);
      return m.go(PC.LookTags);
    case PC.Next:
      m.forget();
      if (choice === 0) return m.leave();
      m.set(W.OPS, m.get(W.OPS) - 1);
      m.set(W.KEY, choice - 1);
      return m.go(PC.LookTags);
    case PC.LookTags: {
      const bucket = CANDIDATES[m.get(W.KEY)]![m.get(W.LOOK)]!;
      let ways = 0;
      for (let way = 0; way < shape.ways; way++) {
        if (s[shape.tag(bucket, way)] === tagOf(m.get(W.KEY))) ways |= 1 << way;
      }
      m.set(W.WAYS, ways);
      return nextWay(m);
    }
    case PC.LookEntry: {
      const bucket = CANDIDATES[m.get(W.KEY)]![m.get(W.LOOK)]!;
      const way = 31 - Math.clz32(m.get(W.WAYS) & -m.get(W.WAYS));
      m.set(W.WAYS, m.get(W.WAYS) & (m.get(W.WAYS) - 1));
      m.set(W.OTHER, s[shape.entry(bucket, way)]!);
      return m.get(W.OTHER) === 0 ? nextWay(m) : m.go(PC.LookCompare);
    }
    case PC.LookCompare: {
      const entry = m.get(W.OTHER);
      const id = entry & 1 ? s[shape.back(entry >> 1)]! : s[shape.forward(entry >> 1)]!;
      return id === m.get(W.KEY) + 1 ? m.go(PC.LookLife) : nextWay(m);
    }
    default: { // LookLife
      const record = m.get(W.OTHER) >> 1;
      const live = s[shape.life(record)] === Life.Live;
      if (!live && !m.is("look-up-takes-ending")) return nextWay(m);
      if (live && choice === 1) return endStale(m, record);
      m.set(W.OTHER, 0);
      m.hold(record);
      if (!live && shape.successor(s, record, m.get(W.KEY)) !== 0) m.set(W.MISLED, 1);
      return m.go(PC.Next);
    }
  }
}
/** An endpoint of the session is gone: the packet ends it, and is the first of a new one. */
function endStale(m: Machine, record: number): void {
  m.set(W.OPS, m.get(W.OPS) - 1);
  m.set(W.OTHER, record);
  m.set(W.CALLER, Caller.Insert);
  m.go(PC.Claim);
}
function nextWay(m: Machine): void {
  if (m.get(W.WAYS) !== 0) return m.go(PC.LookEntry);
  if (m.get(W.LOOK) === 0) {
    m.set(W.LOOK, 1);
    return m.go(PC.LookTags);
  }
  open(m);
}
/** The slow path of a packet without a session. */
export function open(m: Machine): void {
  m.set(W.LOOK, 0);
  m.set(W.WAYS, 0);
  m.set(W.OTHER, 0);
  const flow = OPENS[m.get(W.KEY)];
  if (flow === undefined) return m.go(PC.Next); // no session: dropped
  m.set(W.FLOW, flow);
  m.set(W.CALLER, Caller.Insert);
  m.go(PC.PopHead);
}

// ---- insert -------------------------------------------------------------------------------------
export function insert(m: Machine, pc: number): void {
  const { s, shape } = m;
  const own = m.get(W.OWN);
  const [forward, back] = FLOWS[m.get(W.FLOW)]!;
  switch (pc) {
    case PC.PopHead:
      m.set(W.HEAD_TAG, s[shape.freeTag]!);
      m.set(W.HEAD, s[shape.freeHead]!);
      if (m.get(W.HEAD) !== 0) return m.go(PC.PopNext);
      return m.go(m.get(W.RETRIED) ? PC.Next : PC.TakeUnused); // Next: dropped, the table is full
    case PC.TakeUnused:
      if (s[shape.unusedNext]! > shape.records) {
        m.set(W.RETRIED, 1);
        return m.go(PC.Turn);
      }
      m.set(W.OWN, s[shape.unusedNext]!);
      s[shape.unusedNext]! += 1;
      return taken(m);
    case PC.PopNext:
      m.set(W.NEXT, s[shape.next(m.get(W.HEAD))]!);
      return m.go(PC.PopSwap);
    case PC.PopSwap:
      if (s[shape.freeHead] !== m.get(W.HEAD) || s[shape.freeTag] !== m.get(W.HEAD_TAG)) {
        return m.go(PC.PopHead);
      }
      s[shape.freeHead] = m.get(W.NEXT);
      s[shape.freeTag]! += 1;
      m.set(W.OWN, m.get(W.HEAD));
      return taken(m);
    case PC.IdentityForward:
      s[shape.forward(own)] = forward + 1;
      return m.go(PC.IdentityReturn);
    case PC.IdentityReturn:
      s[shape.back(own)] = back + 1;
      if (m.is("published-before-identity") || m.is("identity-half-written")) {
        return m.go(PC.JournalPublished);
      }
      return m.beginLocks();
    case PC.Lock:
      return m.lockOne(PC.Lock, PC.JournalInserting);
    case PC.JournalInserting:
      m.set(W.PHASE, Phase.Inserting);
      return m.go(PC.LookAgain);
    case PC.LookAgain:
      return lookAgain(m, forward, back);
    case PC.SetLive:
      s[shape.life(own)] = Life.Live;
      s[shape.ghost(m.get(W.FLOW))]! += 1;
      return m.go(PC.TagForward);
    case PC.TagForward:
      s[shape.tag(...m.place(W.WAY_F))] = tagOf(forward);
      return m.go(PC.EntryForward);
    case PC.EntryForward:
      s[shape.entry(...m.place(W.WAY_F))] = own << 1;
      if (m.is("published-before-identity")) return m.go(PC.IdentityForward);
      if (m.is("identity-half-written")) return m.go(PC.IdentityReturn);
      return m.go(PC.JournalPublished);
    case PC.JournalPublished:
      m.set(W.PHASE, Phase.Published);
      return m.go(PC.TagReturn);
    case PC.TagReturn:
      s[shape.tag(...m.place(W.WAY_R))] = tagOf(back);
      return m.go(PC.EntryReturn);
    case PC.EntryReturn:
      s[shape.entry(...m.place(W.WAY_R))] = (own << 1) | 1;
      m.hold(own);
      m.set(W.OWN, 0);
      return m.go(PC.JournalIdle);
    case PC.JournalIdle:
      m.set(W.PHASE, Phase.Idle);
      return m.go(PC.Unlock);
    default: // Unlock
      if (m.unlockOne()) return;
      m.set(W.RECORD, 0);
      return own === 0 ? m.go(PC.Next) : giveBack(m);
  }
}
function taken(m: Machine): void {
  const own = m.get(W.OWN);
  m.set(W.RECORD, own);
  for (const f of [W.HEAD, W.HEAD_TAG, W.NEXT, W.RETRIED]) m.set(f, 0);
  if (m.is("published-before-identity") || m.is("identity-half-written")) {
    m.s[m.shape.forward(own)] = m.is("identity-half-written")
      ? FLOWS[m.get(W.FLOW)]![0] + 1 : 0;
    m.s[m.shape.back(own)] = 0;
    return m.beginLocks();
  }
  m.go(PC.IdentityForward);
}
/** Under the locks: is either key there by now? Else, a free way for each. */
function lookAgain(m: Machine, forward: number, back: number): void {
  const done = m.is("no-second-look-up") ? 0 : find(m, forward);
  if (done !== 0) {
    m.hold(done >> 1);
    return m.go(PC.JournalIdle);
  }
  const collides = !m.is("no-second-look-up") && find(m, back) !== 0;
  m.set(W.WAY_F, freeWay(m, forward, 0));
  m.set(W.WAY_R, freeWay(m, back, m.get(W.WAY_F)));
  if (collides || m.get(W.WAY_F) === 0 || m.get(W.WAY_R) === 0) {
    return m.go(PC.JournalIdle);
  }
  m.go(PC.SetLive);
}
function find(m: Machine, key: number): number {
  const { s, shape } = m;
  for (const bucket of CANDIDATES[key]!) {
    for (let way = 0; way < shape.ways; way++) {
      const entry = s[shape.entry(bucket, way)]!;
      if (entry === 0) continue;
      const id = entry & 1 ? s[shape.back(entry >> 1)]! : s[shape.forward(entry >> 1)]!;
      if (id === key + 1 && s[shape.life(entry >> 1)] === Life.Live) return entry;
    }
  }
  return 0;
}
function freeWay(m: Machine, key: number, taken: number): number {
  const { s, shape } = m;
  for (const bucket of CANDIDATES[key]!) {
    for (let way = 0; way < shape.ways; way++) {
      const place = bucket * shape.ways + way + 1;
      if (place !== taken && s[shape.tag(bucket, way)] === 0) return place;
    }
  }
  return 0;
}


// ---- free stack: push ---------------------------------------------------------------------------
/** OWN was never published. */
export function giveBack(m: Machine): void {
  m.s[m.shape.life(m.get(W.OWN))] = Life.Free;
  m.s[m.shape.next(m.get(W.OWN))] = 0;
  m.go(PC.PushHead);
}
/** Pushes the chain of records that begins with OWN. */
export function push(m: Machine, pc: number): void {
  const { s, shape } = m;
  switch (pc) {
    case PC.PushHead:
      m.set(W.HEAD_TAG, s[shape.freeTag]!);
      m.set(W.HEAD, s[shape.freeHead]!);
      return m.go(PC.PushNext);
    case PC.PushNext: {
      // the chain's last: CHAIN, found when it was freed; a single record is its own last
      s[shape.next(m.get(W.CHAIN) || m.get(W.OWN))] = m.get(W.HEAD);
      return m.go(PC.PushSwap);
    }
    default: // PushSwap
      if (s[shape.freeHead] !== m.get(W.HEAD) || s[shape.freeTag] !== m.get(W.HEAD_TAG)) {
        return m.go(PC.PushHead);
      }
      s[shape.freeHead] = m.get(W.OWN);
      s[shape.freeTag]! += 1;
      return pushed(m);
  }
}
function pushed(m: Machine): void {
  const chain = m.get(W.CHAIN) !== 0;
  for (const f of [W.OWN, W.HEAD, W.HEAD_TAG, W.CHAIN]) m.set(f, 0);
  if (chain) return m.go(PC.Close);
  m.go(m.get(W.CALLER) === Caller.Recover ? PC.Leave : PC.Next);
}
