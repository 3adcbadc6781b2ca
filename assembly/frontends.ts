// Staging of frontends, and the tables that Services use: part of Configure, records Frontend,
// FrontendRemove and BackendStates. Control side, one writer; each record is carried out whole or
// refused whole, at once (frontend.ts says how readers stay right). Limits: Configure's budgets.
import { AFFINITY_BYTES, AFFINITY_WAYS } from "./affinity";
import { allocate, release } from "./arena";
import { hasPorts } from "./facts";
import { FRAGMENT_ENTRY_BYTES, FRAGMENT_WAYS } from "./fragment";
import {
  findFrontend, FLAGS, Frontend, linkFrontend, unlinkFrontend,
} from "./frontend";
import { Group, groupById } from "./group";
import { isMapped4 } from "./groups";
import {
  BACKEND_IDS_MAX, BackendState, CONFIGURE_AFFINITY_MAX, CONFIGURE_BACKENDS_MAX,
  CONFIGURE_FRAGMENTS_MAX, CONFIGURE_GROUPS_MAX, CONFIGURE_SERVICES_MAX, FRONTEND_ADDRESS,
  FRONTEND_AFFINITY, FRONTEND_BYTES, FRONTEND_EXTERNAL, FRONTEND_FLAGS, FRONTEND_INTERNAL,
  FRONTEND_PORT, FRONTEND_PREVIOUS_EXTERNAL, FRONTEND_PREVIOUS_INTERNAL, FRONTEND_PROTOCOL,
  FRONTEND_RANGES, FRONTEND_REMOVE_BYTES, FRONTEND_SERVICE, SERVICES, SERVICES_AFFINITY,
  SERVICES_AFFINITY_MASK, SERVICES_BACKENDS_MAX, SERVICES_BACKEND_STATES, SERVICES_FRAGMENTS,
  SERVICES_FRAGMENTS_MASK, SERVICES_GROUPS, SERVICES_GROUPS_MAX, SERVICES_HEADS,
  SERVICES_HEAD_MASK, SERVICES_LIVE, SETS, SETS_MAX, STATES_COUNT, STATES_FIRST, StageError,
} from "./layout";
import { refer, retireBlock } from "./retired";
import { orElse, outOfRange, refuse, root } from "./root";

const GROUPS_BUDGET_MAX: u32 = 1 << 21;
const AFFINITY_BUDGET_MAX: u32 = 1 << 22;
const FRAGMENTS_BUDGET_MAX: u32 = 1 << 20;
/** 24 days: times are compared as signed 32-bit milliseconds. */
const AFFINITY_SECONDS_MAX: u32 = 2_000_000;

/** Lays out the tables. Everything it allocates stays for life. */
export function configureServices(body: usize): StageError {
  const frontends = load<u32>(body, CONFIGURE_SERVICES_MAX);
  const groups = orElse(load<u32>(body, CONFIGURE_GROUPS_MAX), max(frontends, 64));
  const backends = orElse(load<u32>(body, CONFIGURE_BACKENDS_MAX), 65_536);
  const clients = orElse(load<u32>(body, CONFIGURE_AFFINITY_MAX), 4_096);
  const fragments = orElse(load<u32>(body, CONFIGURE_FRAGMENTS_MAX), 1_024);
  if (groups > GROUPS_BUDGET_MAX) return outOfRange(CONFIGURE_GROUPS_MAX);
  if (backends > BACKEND_IDS_MAX) return outOfRange(CONFIGURE_BACKENDS_MAX);
  if (clients > AFFINITY_BUDGET_MAX) return outOfRange(CONFIGURE_AFFINITY_MAX);
  if (fragments > FRAGMENTS_BUDGET_MAX) return outOfRange(CONFIGURE_FRAGMENTS_MAX);
  const heads = powerOfTwo(frontends * 2);
  const clientBuckets = powerOfTwo((clients + AFFINITY_WAYS - 1) / AFFINITY_WAYS);
  const fragmentBuckets = powerOfTwo((fragments + FRAGMENT_WAYS - 1) / FRAGMENT_WAYS);
  const a = allocate(heads << 2);
  const b = allocate((groups + 1) << 2);
  const c = allocate(backends);
  const d = allocate(clientBuckets * AFFINITY_WAYS * u32(AFFINITY_BYTES));
  const e = allocate(fragmentBuckets * FRAGMENT_WAYS * u32(FRAGMENT_ENTRY_BYTES));
  if (!a || !b || !c || !d || !e) {
    release(a);
    release(b);
    release(c);
    release(d);
    release(e);
    return refuse(StageError.MemoryTooSmall, 0);
  }
  store<u32>(SERVICES, a, SERVICES_HEADS);
  store<u32>(SERVICES, heads - 1, SERVICES_HEAD_MASK);
  store<u32>(SERVICES, 0, SERVICES_LIVE);
  store<u32>(SERVICES, b, SERVICES_GROUPS);
  store<u32>(SERVICES, groups, SERVICES_GROUPS_MAX);
  store<u32>(SERVICES, c, SERVICES_BACKEND_STATES);
  store<u32>(SERVICES, backends, SERVICES_BACKENDS_MAX);
  store<u32>(SERVICES, d, SERVICES_AFFINITY);
  store<u32>(SERVICES, clientBuckets - 1, SERVICES_AFFINITY_MASK);
  store<u32>(SERVICES, e, SERVICES_FRAGMENTS);
  store<u32>(SERVICES, fragmentBuckets - 1, SERVICES_FRAGMENTS_MASK);
  return StageError.None;
}
function powerOfTwo(least: u32): u32 {
  let n: u32 = 8;
  while (n < least) n <<= 1;
  return n;
}

/** Adds to, or takes from, the references of the groups that a frontend names. */
function referGroups(f: Frontend, by: i32): void {
  referGroup(f.internal, by);
  referGroup(f.external, by);
  referGroup(f.previousInternal, by);
  referGroup(f.previousExternal, by);
}
function referGroup(group: u32, by: i32): void {
  if (group) refer(group, by);
}
/** Is there no group of this id, or one of another family? A group without backends is of both. */
function isForeign(id: u32, family: u32): bool {
  if (!id) return false;
  const block = groupById(id);
  if (!block) return true;
  const g = changetype<Group>(usize(block));
  return g.backends != 0 && g.family != family;
}

export function stageFrontend(body: usize, length: u32): StageError {
  if (length != FRONTEND_BYTES) return refuse(StageError.BadRecordLength, length);
  const flags = load<u32>(body, FRONTEND_FLAGS);
  if (flags & ~FLAGS) return outOfRange(FRONTEND_FLAGS);
  const port = load<u16>(body, FRONTEND_PORT);
  const protocol = load<u8>(body, FRONTEND_PROTOCOL);
  if ((port == 0) != (protocol == 0)) return outOfRange(FRONTEND_PORT);
  if (protocol && !hasPorts(protocol)) return outOfRange(FRONTEND_PROTOCOL);
  const seconds = load<u32>(body, FRONTEND_AFFINITY);
  if (seconds > AFFINITY_SECONDS_MAX) return outOfRange(FRONTEND_AFFINITY);
  const ranges = load<u16>(body, FRONTEND_RANGES);
  if (u32(ranges) > load<u32>(SETS, SETS_MAX)) return outOfRange(FRONTEND_RANGES);
  const first = load<u64>(body, FRONTEND_ADDRESS), last = load<u64>(body, FRONTEND_ADDRESS + 8);
  const family: u32 = isMapped4(first, last) ? 4 : 6;
  for (let field = FRONTEND_INTERNAL; field <= FRONTEND_PREVIOUS_EXTERNAL; field += 4) {
    const id = load<u32>(body + field);
    if (isForeign(id, family)) {
      return refuse(groupById(id) ? StageError.WrongFamily : StageError.UnknownGroup, id);
    }
  }
  const block = allocate(u32(offsetof<Frontend>()));
  if (!block) return refuse(StageError.ArenaFull, 1);
  const f = changetype<Frontend>(usize(block));
  f.first = first;
  f.last = last;
  f.port = bswap<u16>(port);
  f.protocol = protocol;
  f.flags = flags;
  f.internal = groupById(load<u32>(body, FRONTEND_INTERNAL));
  f.external = groupById(load<u32>(body, FRONTEND_EXTERNAL));
  f.previousInternal = groupById(load<u32>(body, FRONTEND_PREVIOUS_INTERNAL));
  f.previousExternal = groupById(load<u32>(body, FRONTEND_PREVIOUS_EXTERNAL));
  f.affinityMs = seconds * 1000;
  f.service = load<u32>(body, FRONTEND_SERVICE);
  f.ranges = ranges;
  const live = load<u32>(SERVICES, SERVICES_LIVE);
  if (live >= root().servicesMax && !isThere(f)) {
    release(block);
    return refuse(StageError.TableFull, live);
  }
  referGroups(f, 1);
  const old = linkFrontend(f);
  if (old) retireFrontend(old);
  else store<u32>(SERVICES, live + 1, SERVICES_LIVE);
  return StageError.None;
}
function isThere(f: Frontend): bool {
  return findFrontend(f.first, f.last, f.port, f.protocol) !== null;
}
function retireFrontend(block: u32): void {
  referGroups(changetype<Frontend>(usize(block)), -1);
  retireBlock(block);
}

/** Takes a frontend away; one that is not there is gone already. */
export function removeFrontend(body: usize, length: u32): StageError {
  if (length != FRONTEND_REMOVE_BYTES) return refuse(StageError.BadRecordLength, length);
  const port = bswap<u16>(load<u16>(body, FRONTEND_PORT));
  const old = unlinkFrontend(
    load<u64>(body, FRONTEND_ADDRESS), load<u64>(body, FRONTEND_ADDRESS + 8), port,
    load<u8>(body, FRONTEND_PROTOCOL),
  );
  if (!old) return StageError.None;
  retireFrontend(old);
  store<u32>(SERVICES, load<u32>(SERVICES, SERVICES_LIVE) - 1, SERVICES_LIVE);
  return StageError.None;
}

export function stageBackendStates(body: usize, length: u32): StageError {
  if (length < u32(STATES_FIRST)) return refuse(StageError.BadRecordLength, length);
  const count = load<u32>(body, STATES_COUNT);
  if (count > BACKEND_IDS_MAX || length != u32(STATES_FIRST) + count * 8) {
    return refuse(StageError.BadRecordLength, length);
  }
  const most = load<u32>(SERVICES, SERVICES_BACKENDS_MAX);
  for (let i: u32 = 0; i < count; i++) {
    const at = body + STATES_FIRST + (usize(i) << 3);
    if (load<u32>(at) >= most) return refuse(StageError.FieldOutOfRange, i);
    if (load<u32>(at, 4) > <u32>BackendState.Gone) return refuse(StageError.FieldOutOfRange, i);
  }
  const states = usize(load<u32>(SERVICES, SERVICES_BACKEND_STATES));
  for (let i: u32 = 0; i < count; i++) {
    const at = body + STATES_FIRST + (usize(i) << 3);
    store<u8>(states + load<u32>(at), u8(load<u32>(at, 4)));
  }
  return StageError.None;
}
