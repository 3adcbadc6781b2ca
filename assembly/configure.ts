// Configure: the first record of all, once. It sets the budgets and lays out what never moves: the
// two session tables at the arena's start; the rest of the memory is what generations may use.
import { is4, V4, V6 } from "./family";
import {
  BUCKET_BYTES, BUCKET_WAYS, CONFIGURE_BYTES, CONFIGURE_ENDPOINTS_MAX, CONFIGURE_MAGLEV_SEED,
  CONFIGURE_MEMORY_BYTES, CONFIGURE_SEED0, CONFIGURE_SEED1, CONFIGURE_SERVICES_MAX,
  CONFIGURE_SESSIONS4_MAX, CONFIGURE_SESSIONS6_MAX, CONFIGURE_TIMEOUTS, CONFIGURE_WORKERS,
  ARENA, ENDPOINTS_MAX, LAYOUT_VERSION, MAGIC, ROOT, ROOT_ARENA_FREE, ROOT_BYTES, ROOT_TIMEOUTS,
  SESSION4_BYTES, SESSION6_BYTES, StageError, TIMEOUTS, Timeout, WORKERS_MAX,
} from "./layout";
import { configureServices } from "./frontends";
import { configureSets } from "./membership";
import { configured, outOfRange, refuse, root, tableOf } from "./root";

/** Entries a bucket is planned to hold, in hundredths: 12 ways at load 0.64. */
const PLANNED_PERCENT: u64 = 64;
const SESSIONS_MAX: u32 = 1 << 26;
const SERVICES_MAX: u32 = 1 << 20;
// pi's digits: the defaults are known to all; a host should set seeds of its own.
const SEED0: u64 = 0x243f6a8885a308d3;
const SEED1: u64 = 0x13198a2e03707344;
const MAGLEV_SEED: u64 = 0xa4093822299f31d0;

/** Default idle times in ms: Calico eBPF's, but SYN-sent's name is opening. */
function defaultTimeout(which: u32): u32 {
  if (which == Timeout.Udp) return 60_000;
  if (which == Timeout.Icmp) return 5_000;
  if (which == Timeout.TcpOpening) return 20_000;
  if (which == Timeout.TcpEstablished) return 3_600_000;
  if (which == Timeout.TcpClosing) return 40_000;
  return 600_000;
}

function bucketsFor(sessions: u32): u32 {
  return u32((u64(sessions) * 2 * 100) / (u64(BUCKET_WAYS) * PLANNED_PERCENT)) + 1;
}
function recordBytes<F>(): u32 {
  return u32(is4<F>() ? SESSION4_BYTES : SESSION6_BYTES);
}
function tableBytes<F>(sessions: u32): u64 {
  return u64(bucketsFor(sessions)) * u64(BUCKET_BYTES) + (u64(sessions) + 1) * recordBytes<F>();
}

export function configure(body: usize, length: u32): StageError {
  if (configured()) return refuse(StageError.AlreadyConfigured, 0);
  if (length != CONFIGURE_BYTES) return refuse(StageError.BadRecordLength, length);
  const workers = load<u32>(body, CONFIGURE_WORKERS);
  if (workers == 0 || workers > WORKERS_MAX) return outOfRange(CONFIGURE_WORKERS);
  const sessions4 = load<u32>(body, CONFIGURE_SESSIONS4_MAX);
  if (sessions4 > SESSIONS_MAX) return outOfRange(CONFIGURE_SESSIONS4_MAX);
  const sessions6 = load<u32>(body, CONFIGURE_SESSIONS6_MAX);
  if (sessions6 > SESSIONS_MAX) return outOfRange(CONFIGURE_SESSIONS6_MAX);
  const endpoints = load<u32>(body, CONFIGURE_ENDPOINTS_MAX);
  if (endpoints == 0 || endpoints > ENDPOINTS_MAX) return outOfRange(CONFIGURE_ENDPOINTS_MAX);
  const services = load<u32>(body, CONFIGURE_SERVICES_MAX);
  if (services > SERVICES_MAX) return outOfRange(CONFIGURE_SERVICES_MAX);

  const given = load<u32>(body, CONFIGURE_MEMORY_BYTES);
  const pages = u64(memory.size());
  const present = pages << 16;
  // The last line of a 4 GiB memory stays unused, so that an end address fits 32 bits.
  const end = min(given ? u64(given) : present, min(present, 0xffffffc0));
  const start = u64(ARENA);
  const bytes4 = tableBytes<V4>(sessions4), bytes6 = tableBytes<V6>(sessions6);
  if (start + bytes4 + bytes6 > end) {
    return refuse(StageError.MemoryTooSmall, u32((start + bytes4 + bytes6) >> 16) + 1);
  }
  const r = root();
  r.workers = workers;
  r.memoryBytes = u32(end);
  r.endpointsMax = endpoints;
  r.servicesMax = services;
  r.seed0 = orDefault(load<u64>(body, CONFIGURE_SEED0), SEED0);
  r.seed1 = orDefault(load<u64>(body, CONFIGURE_SEED1), SEED1);
  r.maglevSeed = orDefault(load<u64>(body, CONFIGURE_MAGLEV_SEED), MAGLEV_SEED);
  for (let i: u32 = 0; i < TIMEOUTS; i++) {
    const ms = load<u32>(body + (usize(i) << 2), CONFIGURE_TIMEOUTS);
    store<u32>(ROOT + (usize(i) << 2), ms ? ms : defaultTimeout(i), ROOT_TIMEOUTS);
  }
  layOut<V4>(u32(start), sessions4);
  layOut<V6>(u32(start + bytes4), sessions6);
  const arena = (u32(start + bytes4 + bytes6) + 63) & ~63;
  r.arenaNext = arena;
  r.arenaEnd = u32(end) & ~63;
  let error = configureSets(body);
  if (error == StageError.None) error = configureServices(body);
  if (error != StageError.None) {
    // The next Configure may lay session tables over it: they begin as zeros.
    memory.fill(arena, 0, r.arenaNext - arena);
    memory.fill(ROOT + ROOT_ARENA_FREE, 0, ROOT_BYTES - ROOT_ARENA_FREE);
    return error;
  }
  r.layoutVersion = LAYOUT_VERSION;
  atomic.xchg<u32>(ROOT, MAGIC);
  return StageError.None;
}

function layOut<F>(start: u32, sessions: u32): void {
  const t = tableOf<F>();
  t.bucketCount = bucketsFor(sessions);
  t.buckets = start;
  t.records = start + t.bucketCount * u32(BUCKET_BYTES);
  t.recordsMax = sessions;
  t.unusedNext = 1;
}
function orDefault(value: u64, standard: u64): u64 {
  return value ? value : standard;
}
