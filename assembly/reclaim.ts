// Where session records come from and go to. A freed record must not be handed out while a worker
// that found it in the index may still be using it: without that rule, packets were rewritten to
// other flows' addresses.
//
//   take(): the free stack (Treiber, with a tag against ABA), else the next one never used
//   retire(): the worker's open limbo list
//   reclaim(): open ──close: snapshot all epochs──► closed ──every worker has passed──► free stack
//
// A worker has passed when its epoch in the snapshot was even (it was outside) or has changed
// since. An idle worker's is even: it blocks nobody. Each worker keeps its own limbo lists; the
// free stack is shared, for one worker may open flows while another ages them.
import { is4 } from "./family";
import {
  LIFE_MASK, Life, SESSION_NEXT, SESSION_STATE, TABLE_FREE, TABLE_UNUSED_NEXT, WORKER_EPOCH,
  WORKER_SNAPSHOT,
} from "./layout";
import { root, SessionTable, tableOf } from "./root";
import { recordAt } from "./session";
import { Worker, workerAt } from "./worker";

/** A record for the worker's hand, or 0: the table is full. */
export function take<F>(w: Worker): u32 {
  const t = tableOf<F>();
  let record = pop<F>(t);
  if (!record) record = takeUnused(t);
  if (!record) {
    reclaim(w);
    record = pop<F>(t);
  }
  return record;
}

function pop<F>(t: SessionTable): u32 {
  const at = changetype<usize>(t);
  let old = atomic.load<u64>(at, TABLE_FREE);
  while (u32(old)) {
    const next = load<u32>(recordAt<F>(t, u32(old)), SESSION_NEXT);
    const wanted = (((old >> 32) + 1) << 32) | u64(next);
    const seen = atomic.cmpxchg<u64>(at, old, wanted, TABLE_FREE);
    if (seen == old) return u32(old);
    old = seen;
  }
  return 0;
}

function takeUnused(t: SessionTable): u32 {
  const at = changetype<usize>(t);
  let old = atomic.load<u32>(at, TABLE_UNUSED_NEXT);
  while (old <= t.recordsMax) {
    const seen = atomic.cmpxchg<u32>(at, old, old + 1, TABLE_UNUSED_NEXT);
    if (seen == old) return old;
    old = seen;
  }
  return 0;
}

/** Puts a chain of records, first to last, on the free stack. */
function push<F>(t: SessionTable, first: u32, last: u32): void {
  const at = changetype<usize>(t);
  let old = atomic.load<u64>(at, TABLE_FREE);
  while (true) {
    store<u32>(recordAt<F>(t, last), u32(old), SESSION_NEXT);
    const wanted = (((old >> 32) + 1) << 32) | u64(first);
    const seen = atomic.cmpxchg<u64>(at, old, wanted, TABLE_FREE);
    if (seen == old) return;
    old = seen;
  }
}

/** Gives back a record that was never published. */
export function giveBack<F>(record: u32): void {
  const t = tableOf<F>();
  atomic.xchg<u32>(recordAt<F>(t, record), Life.Free, SESSION_STATE);
  push<F>(t, record, record);
}

/** Puts a record that is out of the index into limbo. */
export function retire<F>(w: Worker, record: u32): void {
  const r = recordAt<F>(tableOf<F>(), record);
  const state = load<u32>(r, SESSION_STATE);
  atomic.xchg<u32>(r, (state & ~LIFE_MASK) | <u32>Life.Limbo, SESSION_STATE);
  store<u32>(r, is4<F>() ? w.open4 : w.open6, SESSION_NEXT);
  if (is4<F>()) w.open4 = record;
  else w.open6 = record;
}

/** Has every worker been outside since the closed lists were closed? */
function passed(w: Worker): bool {
  const workers = root().workers;
  for (let i: u32 = 0; i < workers; i++) {
    const then = load<u32>(changetype<usize>(w) + (usize(i) << 2), WORKER_SNAPSHOT);
    if (!(then & 1)) continue;
    if (atomic.load<u32>(changetype<usize>(workerAt(i)), WORKER_EPOCH) == then) return false;
  }
  return true;
}

function free<F>(first: u32): void {
  if (!first) return;
  const t = tableOf<F>();
  let last = first;
  while (true) {
    const r = recordAt<F>(t, last);
    atomic.xchg<u32>(r, Life.Free, SESSION_STATE);
    const next = load<u32>(r, SESSION_NEXT);
    if (!next) break;
    last = next;
  }
  push<F>(t, first, last);
}

/** Moves the worker's limbo lists on by a step, if the others allow it. */
export function reclaim(w: Worker): void {
  if (w.limboClosed) {
    if (!passed(w)) return;
    const first4 = w.closed4, first6 = w.closed6;
    w.closed4 = 0;
    w.closed6 = 0;
    w.limboClosed = 0;
    free<u32>(first4);
    free<v128>(first6);
  }
  if (!w.open4 && !w.open6) return;
  w.closed4 = w.open4;
  w.closed6 = w.open6;
  w.open4 = 0;
  w.open6 = 0;
  const workers = root().workers;
  for (let i: u32 = 0; i < workers; i++) {
    const epoch = atomic.load<u32>(changetype<usize>(workerAt(i)), WORKER_EPOCH);
    store<u32>(changetype<usize>(w) + (usize(i) << 2), epoch, WORKER_SNAPSHOT);
  }
  w.limboClosed = 1;
}
