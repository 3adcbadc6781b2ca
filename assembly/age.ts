// Ageing: a clock hand over each family's records. Called from a polling node, traffic or not, by
// any worker; the hand is shared, each call takes the next stretch of it. The worker is inside
// (epoch odd) while it looks, so that no record it has judged idle is reused before it claims it.
//
// What ends here: sessions that have been idle for too long, those of endpoints that the newest
// generation has no more, and UDP's to backends that are gone (a client that goes on asking would
// never meet another one; TCP finds out by itself).
//
// Limits: a session ends at most one sweep of the records later than it could.
import { backendIn, endSession, endsLive, isYounger } from "./conntrack";
import { V4, V6 } from "./family";
import { findGeneration, Generation } from "./generation";
import * as udp from "./header/udp";
import {
  BackendState, FRAMES, FRAME_BYTES, LIFE_MASK, Life, SERVICES, SERVICES_BACKENDS_MAX,
  SERVICES_BACKEND_STATES, SESSION_SEEN, SESSION_STATE, TABLE_HAND,
} from "./layout";
import { SLOW, TOUCHED } from "./packet";
import { reclaim } from "./reclaim";
import { configured, root, SessionTable, tableOf } from "./root";
import { firstBucket, hashKey, protocolIn, recordAt, secondBucket } from "./session";
import { idleMs } from "./tcpstate";
import { enter, leave, numberOf, Worker, workerAt } from "./worker";

/** Visits at most `budget` records and ends the idle ones; returns how many. */
export function age(worker: u32, nowMs: u32, budget: u32): u32 {
  if (!configured() || worker >= root().workers) return 0;
  const w = workerAt(worker);
  w.frameCount = 0;
  const generation = root().published;
  w.generation = generation;
  enter(w);
  const g = findGeneration(generation);
  const used4 = tableOf<V4>().unusedNext - 1;
  const used6 = tableOf<V6>().unusedNext - 1;
  let ended: u32 = 0;
  if (used4 + used6) {
    // Rounded up: a family with few records must get its turn too.
    const all = u64(used4 + used6);
    const share4 = u32((u64(budget) * u64(used4) + all - 1) / all);
    const share6 = u32((u64(budget) * u64(used6) + all - 1) / all);
    ended += sweep<V4>(w, g, nowMs, min(share4, used4), used4);
    ended += sweep<V6>(w, g, nowMs, min(share6, used6), used6);
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

/** Has a session lost what it leads between? */
// @ts-ignore: decorator
@inline
function isBereft<F>(g: Generation | null, r: usize): bool {
  if (g !== null && !endsLive<F>(g, r) && !isYounger<F>(g, r)) return true;
  const backend = backendIn<F>(r);
  if (!backend || protocolIn<F>(r) != udp.PROTOCOL) return false;
  if (backend > load<u32>(SERVICES, SERVICES_BACKENDS_MAX)) return false;
  const states = usize(load<u32>(SERVICES, SERVICES_BACKEND_STATES));
  return load<u8>(states + backend - 1) == <u8>BackendState.Gone;
}

/** Records that are ended together. */
const TOGETHER: u32 = 8;

function sweep<F>(
  w: Worker, g: Generation | null, nowMs: u32, budget: u32, used: u32,
): u32 {
  if (!budget) return 0;
  const t = tableOf<F>();
  const frame = FRAMES + usize(numberOf(w)) * FRAME_BYTES; // its scratch: no frame is in hand
  let at = advance(t, budget, used);
  let ended: u32 = 0, listed: u32 = 0;
  for (let i: u32 = 0; i < budget; i++) {
    at = at >= used ? 1 : at + 1;
    if (isOver<F>(g, recordAt<F>(t, at), nowMs)) {
      store<u32>(frame + SLOW + (usize(listed) << 2), at);
      listed++;
    }
    if (listed < TOGETHER && i + 1 < budget) continue;
    ended += endAll<F>(w, frame, listed);
    listed = 0;
  }
  return ended;
}

// @ts-ignore: decorator
@inline
function isOver<F>(g: Generation | null, r: usize, nowMs: u32): bool {
  const state = atomic.load<u32>(r, SESSION_STATE);
  if ((state & LIFE_MASK) != Life.Live) return false;
  const idle = i32(nowMs - load<u32>(r, SESSION_SEEN));
  return (idle > 0 && u32(idle) > idleMs(protocolIn<F>(r), state)) || isBereft<F>(g, r);
}

/** Ends n listed sessions; their buckets are read first, by loads that wait for no other. */
function endAll<F>(w: Worker, frame: usize, n: u32): u32 {
  const t = tableOf<F>();
  let touched: u32 = 0, ended: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    const r = recordAt<F>(t, load<u32>(frame + SLOW + (usize(k) << 2)));
    const forward = hashKey<F>(r, 0), backward = hashKey<F>(r, 1);
    touched |= load<u32>(firstBucket(t, forward)) | load<u32>(secondBucket(t, forward));
    touched |= load<u32>(firstBucket(t, backward)) | load<u32>(secondBucket(t, backward));
  }
  store<u32>(frame + TOUCHED, touched); // or the loads would be left out
  for (let k: u32 = 0; k < n; k++) {
    ended += u32(endSession<F>(w, load<u32>(frame + SLOW + (usize(k) << 2))));
  }
  return ended;
}
