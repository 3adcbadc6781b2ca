// Client affinity (sessionAffinity ClientIP): which backend of a Service port a client got last. A
// new client's backend is a hash of its address alone (group.ts), so a client has one backend even
// without this table; it keeps that backend when the set changes.
//
//   0       4         8         12     16                 32      36    64
//   ┌───────┬─────────┬─────────┬──────┬──────────────────┬───────┬─────┐
//   │ state │ service │ backend │ seen │ client, 16 bytes │ place │  0  │
//   └───────┴─────────┴─────────┴──────┴──────────────────┴───────┴─────┘
//
// Buckets of four. Entries are written by every worker: the state word is taken by cmpxchg (even to
// odd) and given back by an exchange (the next even number); a reader that finds it odd, or another
// one behind than in front, takes the entry for absent, a writer that finds it taken lets it be.
// Nothing traps while it is odd. Limits: Configure's budget; the stalest of a full bucket goes.
import { hashAddress } from "./hash";
import { SERVICES, SERVICES_AFFINITY, SERVICES_AFFINITY_MASK } from "./layout";
import { root } from "./root";
import { AHEAD_MS } from "./worker";

@unmanaged
class Affinity {
  state: u32; // atomic; odd while it is written
  service: u32;
  backend: u32; // id + 1, 0 = the entry was never used
  seen: u32; // nowMs, rounded down
  first: u64; // client, wire order
  last: u64;
  place: u32; // of the backend in its group when it was noted: where to look first
  pad0: u32;
  pad1: u64;
  pad2: u64;
  pad3: u64;
}
export const AFFINITY_BYTES: usize = 64;
if (offsetof<Affinity>() != AFFINITY_BYTES) ERROR("Affinity is not a cache line");
export const AFFINITY_WAYS: u32 = 4;

function bucketOf(first: u64, last: u64, service: u32): usize {
  const hash = hashAddress(first, last, service, root().seed1);
  const place = u32(hash >> 32) & load<u32>(SERVICES, SERVICES_AFFINITY_MASK);
  const table = usize(load<u32>(SERVICES, SERVICES_AFFINITY));
  return table + usize(place) * AFFINITY_WAYS * AFFINITY_BYTES;
}
// @ts-ignore: decorator
@inline
function isOf(a: Affinity, first: u64, last: u64, service: u32): bool {
  return a.backend != 0 && a.service == service && a.first == first && a.last == last;
}

/** Id + 1 of the backend that a client keeps, its place above; 0 = none, or its time is up. */
export function backendKept(
  first: u64, last: u64, service: u32, nowMs: u32, idleMs: u32,
): u64 {
  const bucket = bucketOf(first, last, service);
  for (let i: u32 = 0; i < AFFINITY_WAYS; i++) {
    const at = bucket + usize(i) * AFFINITY_BYTES;
    const a = changetype<Affinity>(at);
    const before = atomic.load<u32>(at);
    if (before & 1 || !isOf(a, first, last, service)) continue;
    const backend = a.backend, place = a.place, idle = nowMs - a.seen + AHEAD_MS;
    // An exchange orders what was read before it.
    if (atomic.add<u32>(at, 0) != before) continue;
    return idle > idleMs + AHEAD_MS ? 0 : (u64(place) << 32) | u64(backend);
  }
  return 0;
}

/** Notes that a client has opened a flow to a backend: id + 1 and place. */
export function keepBackend(
  first: u64, last: u64, service: u32, backend: u32, place: u32, nowMs: u32,
): void {
  const bucket = bucketOf(first, last, service);
  let at: usize = 0, stalest: u32 = 0;
  for (let i: u32 = 0; i < AFFINITY_WAYS; i++) {
    const way = bucket + usize(i) * AFFINITY_BYTES;
    const a = changetype<Affinity>(way);
    if (isOf(a, first, last, service)) {
      at = way;
      break;
    }
    const idle = a.backend ? nowMs - a.seen + AHEAD_MS : u32.MAX_VALUE;
    if (at == 0 || idle > stalest) {
      at = way;
      stalest = idle;
    }
  }
  const state = atomic.load<u32>(at);
  if (state & 1 || atomic.cmpxchg<u32>(at, state, state + 1) != state) return;
  const a = changetype<Affinity>(at);
  a.service = service;
  a.backend = backend;
  a.place = place;
  a.seen = nowMs;
  a.first = first;
  a.last = last;
  atomic.xchg<u32>(at, state + 2);
}
