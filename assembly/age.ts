// Ageing: a clock hand over each family's records. Called from a polling node, traffic or not, by
// any worker; the hand is shared, each call takes the next stretch of it. The worker is inside
// (epoch odd) while it looks, so that no record it has judged idle is reused before it claims it.
//
// Limits: a session ends at most one sweep of the records later than its idle time.
import { endSession } from "./conntrack";
import { V4, V6 } from "./family";
import { LIFE_MASK, Life, SESSION_SEEN, SESSION_STATE, TABLE_HAND } from "./layout";
import { reclaim } from "./reclaim";
import { configured, root, SessionTable, tableOf } from "./root";
import { protocolIn, recordAt } from "./session";
import { idleMs } from "./tcpstate";
import { enter, leave, Worker, workerAt } from "./worker";

/** Visits at most `budget` records and ends the idle ones; returns how many. */
export function age(worker: u32, nowMs: u32, budget: u32): u32 {
  if (!configured() || worker >= root().workers) return 0;
  const w = workerAt(worker);
  w.frameCount = 0;
  w.generation = 0; // it judges by none
  enter(w);
  const used4 = tableOf<V4>().unusedNext - 1;
  const used6 = tableOf<V6>().unusedNext - 1;
  let ended: u32 = 0;
  if (used4 + used6) {
    // Rounded up: a family with few records must get its turn too.
    const all = u64(used4 + used6);
    const share4 = u32((u64(budget) * u64(used4) + all - 1) / all);
    const share6 = u32((u64(budget) * u64(used6) + all - 1) / all);
    ended += sweep<V4>(w, nowMs, min(share4, used4), used4);
    ended += sweep<V6>(w, nowMs, min(share6, used6), used6);
  }
  reclaim(w);
  leave(w);
  return ended;
}

/** Moves the hand on by `budget` records of `used`; returns the record before its stretch. */
function advance(t: SessionTable, budget: u32, used: u32): u32 {
  const at = changetype<usize>(t);
  let old = atomic.load<u32>(at, TABLE_HAND);
  while (true) {
    const wanted = u32((u64(old) + u64(budget)) % u64(used));
    const seen = atomic.cmpxchg<u32>(at, old, wanted, TABLE_HAND);
    if (seen == old) return old;
    old = seen;
  }
}

function sweep<F>(w: Worker, nowMs: u32, budget: u32, used: u32): u32 {
  if (!budget) return 0;
  const t = tableOf<F>();
  let at = advance(t, budget, used);
  let ended: u32 = 0;
  for (let i: u32 = 0; i < budget; i++) {
    at = at >= used ? 1 : at + 1;
    const r = recordAt<F>(t, at);
    const state = atomic.load<u32>(r, SESSION_STATE);
    if ((state & LIFE_MASK) != Life.Live) continue;
    const idle = i32(nowMs - load<u32>(r, SESSION_SEEN));
    if (idle <= 0 || u32(idle) <= idleMs(protocolIn<F>(r), state)) continue;
    ended += u32(endSession<F>(w, at));
  }
  return ended;
}
