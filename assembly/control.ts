// The control door: stage() and publish(), the only writers of tables. A host puts a stream of
// records (layout.ts) into the staging buffer; a stream is carried out record by record, and the
// first that is refused abandons the generation being staged. What is published is never changed.
//
//   Configure   once                      Bind     an interface's endpoint, at once
//   Module, Classifier, Chain             admitted for a slot, at once (blocks.ts)
//   Class, Members                        who is in which sets, at once (membership.ts)
//   Begin                                 opens a generation: the published one + 1
//   Endpoints, Endpoint*, Address*, Route*  fresh tables for it
//   Group, Frontend, their removals, BackendStates   Services, at once (groups.ts, frontends.ts)
//   publish     it can be found by process()
import { admit } from "./admission";
import { allocate, release } from "./arena";
import {
  stageChain, stageClassifier, stageCounters, stagePart, stageSlotSets, vacateSlot,
} from "./blocks";
import { removeClass, stageClass } from "./classes";
import { configure } from "./configure";
import { addAddress, AddressEntry, Endpoint, endpointAt, ENDPOINT_HOOKS_AT } from "./endpoint";
import { removeFrontend, stageBackendStates, stageFrontend } from "./frontends";
import { Generation, inUse, ringAt } from "./generation";
import { removeGroup, stageGroup } from "./groups";
import {
  ADDRESS_ADDRESS, ADDRESS_BYTES, ADDRESS_ENDPOINT, BEGIN_BYTES, BEGIN_GENERATION, BIND_BYTES,
  BIND_ENDPOINT, BIND_INTERFACE, ENDPOINTS_ADDRESSES, ENDPOINTS_BYTES, ENDPOINTS_CAPACITY,
  ENDPOINTS_FLAGS, ENDPOINTS_IPIP_HOSTS, ENDPOINTS_NAT_EXCLUDED, ENDPOINTS_NAT_SOURCES,
  ENDPOINTS_PODS, ENDPOINTS_ROUTES, ENDPOINTS_SERVICE_NETWORKS, ENDPOINTS_SNAT4, ENDPOINTS_SNAT6,
  ENDPOINTS_SNAT_FIRST, ENDPOINTS_SNAT_LAST, ENDPOINTS_VXLAN_HOSTS, ENDPOINTS_VXLAN_PORT,
  EndpointFlag, ENDPOINT_ADDRESS4, ENDPOINT_ADDRESS6, ENDPOINT_ALLOWED_SOURCES,
  ENDPOINT_BYTES, ENDPOINT_FLAGS, ENDPOINT_HOOKS, ENDPOINT_INCARNATION, ENDPOINT_INDEX,
  ENDPOINT_KIND, EndpointKind, GENERATIONS, GENERATION_BYTES, GENERATION_NUMBER, GENERATION_RING,
  GenerationFlag, HOOKS, INTERFACES, INTERFACES_MAX, MODULE_CODE, MODULE_KIND, MODULE_SLOT,
  NO_ENDPOINT, POLICY_SLOTS_MAX, RECORD_HEADER_BYTES, RecordKind, ROUTES_MAX, SETS, SETS_MAX,
  SlotState, StageError, STAGING, STAGING_BYTES,
} from "./layout";
import { mapped4 } from "./bytes";
import { stageMembers } from "./membership";
import { setSlotState, slotState } from "./policy";
import { reclaimBlocks } from "./retired";
import { configured, noteRecord, refuse, root } from "./root";
import { addRoute, Route } from "./route";

const OWNS_ENDPOINTS: u32 = 1;
const FLAGS_MAX: u32 = (GenerationFlag.RejectDenied << 1) - 1;
/** The ports that SNAT hands out where the host says nothing. */
const SNAT_FIRST: u16 = 32_768;
const SNAT_LAST: u16 = 65_535;

/** Carries out the records in the first `length` bytes of the staging buffer. */
export function stage(length: u32): StageError {
  if (length > STAGING_BYTES) return abandonFor(StageError.TruncatedRecord, length);
  if (configured()) reclaimBlocks();
  let at: u32 = 0;
  let ordinal: u32 = 0;
  while (at < length) {
    noteRecord(ordinal);
    if (length - at < RECORD_HEADER_BYTES) return abandonFor(StageError.TruncatedRecord, at);
    const kind = u32(load<u16>(STAGING + at));
    const bytes = load<u32>(STAGING + at, 4);
    if (bytes > length - at - RECORD_HEADER_BYTES) {
      return abandonFor(StageError.TruncatedRecord, at);
    }
    const error = carryOut(kind, STAGING + at + RECORD_HEADER_BYTES, bytes);
    if (error != StageError.None) {
      abandon();
      return error;
    }
    at += RECORD_HEADER_BYTES + ((bytes + 7) & ~7);
    ordinal++;
  }
  return StageError.None;
}

function carryOut(kind: u32, body: usize, length: u32): StageError {
  if (kind == RecordKind.Configure) return configure(body, length);
  if (!configured()) return refuse(StageError.NotConfigured, kind);
  if (kind == RecordKind.Bind) return bind(body, length);
  if (kind == RecordKind.Module) return stageModule(body, length);
  if (kind == RecordKind.Begin) return begin(body, length);
  if (kind == RecordKind.Class) return stageClass(body, length);
  if (kind == RecordKind.ClassRemove) return removeClass(body, length);
  if (kind == RecordKind.Group) return stageGroup(body, length);
  if (kind == RecordKind.GroupRemove) return removeGroup(body, length);
  if (kind == RecordKind.Frontend) return stageFrontend(body, length);
  if (kind == RecordKind.FrontendRemove) return removeFrontend(body, length);
  if (kind == RecordKind.BackendStates) return stageBackendStates(body, length);
  if (kind == RecordKind.Members) return stageMembers(body, length);
  if (kind == RecordKind.Classifier) return stageClassifier(body, length);
  if (kind == RecordKind.ClassifierPart) return stagePart(body, length);
  if (kind == RecordKind.Chain) return stageChain(body, length);
  if (kind == RecordKind.Counters) return stageCounters(body, length);
  if (kind == RecordKind.SlotSets) return stageSlotSets(body, length);
  if (kind == RecordKind.Abandon) {
    abandon();
    return StageError.None;
  }
  if (kind < <u32>RecordKind.Configure || kind > <u32>RecordKind.BackendStates) {
    return refuse(StageError.UnknownRecord, kind);
  }
  if (!root().staging) return refuse(StageError.NothingStaged, kind);
  const g = staged();
  if (kind == RecordKind.Endpoints) return freshEndpoints(g, body, length);
  if (!(g.owned & OWNS_ENDPOINTS)) return refuse(StageError.TableNotStarted, kind);
  if (kind == RecordKind.Route) return addRoute(g, body, length);
  return kind == RecordKind.Endpoint
    ? addEndpoint(g, body, length)
    : addFurtherAddress(g, body, length);
}

/** The root of the generation being staged; its number stays 0 until it is published. */
function staged(): Generation {
  return ringAt(root().staging);
}

function bind(body: usize, length: u32): StageError {
  if (length != BIND_BYTES) return refuse(StageError.BadRecordLength, length);
  const index = load<u32>(body, BIND_INTERFACE);
  if (index >= INTERFACES_MAX) return refuse(StageError.FieldOutOfRange, u32(BIND_INTERFACE));
  const endpoint = load<u32>(body, BIND_ENDPOINT);
  if (endpoint != NO_ENDPOINT && endpoint >= root().endpointsMax) {
    return refuse(StageError.FieldOutOfRange, u32(BIND_ENDPOINT));
  }
  const value = endpoint == NO_ENDPOINT ? 0 : endpoint + 1;
  atomic.xchg<u32>(INTERFACES + (usize(index) << 2), value);
  return StageError.None;
}

function stageModule(body: usize, length: u32): StageError {
  if (length < u32(MODULE_CODE)) return refuse(StageError.BadRecordLength, length);
  const slot = load<u32>(body, MODULE_SLOT);
  const kind = load<u32>(body, MODULE_KIND);
  if (kind != SlotState.Generated && kind != SlotState.User) {
    return refuse(StageError.FieldOutOfRange, u32(MODULE_KIND));
  }
  const vacant = vacateSlot(slot, u32(MODULE_SLOT));
  if (vacant != StageError.None) return vacant;
  const error = admit(u32(body + MODULE_CODE), length - u32(MODULE_CODE), kind);
  if (error == StageError.None) setSlotState(slot, kind);
  return error;
}

function begin(body: usize, length: u32): StageError {
  if (length != BEGIN_BYTES) return refuse(StageError.BadRecordLength, length);
  const r = root();
  if (r.staging) return refuse(StageError.StagingInProgress, r.staging);
  const number = load<u32>(body, BEGIN_GENERATION);
  if (number == 0 || (r.published && number != r.published + 1)) {
    return refuse(StageError.BadGeneration, r.published + 1);
  }
  const g = ringAt(number);
  if (g.number || g.endpoints) {
    const error = vacate(g);
    if (error != StageError.None) return error;
  }
  if (r.published) {
    memory.copy(changetype<usize>(g), changetype<usize>(ringAt(r.published)), GENERATION_BYTES);
    g.number = 0;
    g.owned = 0;
  }
  r.staging = number;
  return StageError.None;
}

/** Takes the oldest generation out of the ring and frees what it alone uses. */
function vacate(g: Generation): StageError {
  const number = g.number;
  if (number && inUse(number)) return refuse(StageError.GenerationBusy, number);
  atomic.xchg<u32>(changetype<usize>(g), 0, GENERATION_NUMBER);
  if (number && inUse(number)) {
    atomic.xchg<u32>(changetype<usize>(g), number, GENERATION_NUMBER);
    return refuse(StageError.GenerationBusy, number);
  }
  freeTables(g);
  return StageError.None;
}

/** Frees the tables that no other root names, and empties the root. */
function freeTables(g: Generation): void {
  let shared = false;
  for (let n: u32 = 0; n < GENERATIONS; n++) {
    const other = changetype<Generation>(GENERATION_RING + usize(n) * GENERATION_BYTES);
    if (changetype<usize>(other) == changetype<usize>(g)) continue;
    if (other.endpoints == g.endpoints) shared = true;
  }
  if (!shared) {
    release(g.endpoints);
    release(g.addresses);
    release(g.routes);
  }
  memory.fill(changetype<usize>(g), 0, GENERATION_BYTES);
}

function abandon(): void {
  const r = root();
  if (!configured() || !r.staging) return;
  freeTables(staged());
  r.staging = 0;
}
function abandonFor(error: StageError, detail: u32): StageError {
  abandon();
  return refuse(error, detail);
}

function orElse(value: u16, standard: u16): u16 {
  return value ? value : standard;
}

/** The power of two that keeps `count` entries at most half of the table. */
export function halfFull(count: u32): u32 {
  let capacity: u32 = 8;
  while (capacity < count * 2) capacity <<= 1;
  return capacity;
}

function freshEndpoints(g: Generation, body: usize, length: u32): StageError {
  if (length != ENDPOINTS_BYTES) return refuse(StageError.BadRecordLength, length);
  if (g.owned & OWNS_ENDPOINTS) return refuse(StageError.StagingInProgress, 0);
  const capacity = load<u32>(body, ENDPOINTS_CAPACITY);
  if (capacity == 0 || capacity > root().endpointsMax) {
    return refuse(StageError.FieldOutOfRange, u32(ENDPOINTS_CAPACITY));
  }
  const addresses = load<u32>(body, ENDPOINTS_ADDRESSES);
  if (addresses > 1 << 24) return refuse(StageError.FieldOutOfRange, u32(ENDPOINTS_ADDRESSES));
  const routes = load<u32>(body, ENDPOINTS_ROUTES);
  if (routes > ROUTES_MAX) return refuse(StageError.FieldOutOfRange, u32(ENDPOINTS_ROUTES));
  const flags = load<u32>(body, ENDPOINTS_FLAGS);
  if (flags > FLAGS_MAX) return refuse(StageError.FieldOutOfRange, u32(ENDPOINTS_FLAGS));
  const first = u32(orElse(load<u16>(body, ENDPOINTS_SNAT_FIRST), SNAT_FIRST));
  const last = u32(orElse(load<u16>(body, ENDPOINTS_SNAT_LAST), SNAT_LAST));
  if (last < first) return refuse(StageError.FieldOutOfRange, u32(ENDPOINTS_SNAT_LAST));
  for (let field = ENDPOINTS_VXLAN_HOSTS; field <= ENDPOINTS_SERVICE_NETWORKS; field += 2) {
    if (!isSet(load<u16>(body + field))) return refuse(StageError.FieldOutOfRange, u32(field));
  }
  const places = halfFull(addresses), routePlaces = halfFull(routes);
  const block = allocate(capacity << 6);
  const table = allocate(places * u32(offsetof<AddressEntry>()));
  const routeBlock = allocate(routePlaces * u32(offsetof<Route>()));
  if (!block || !table || !routeBlock) {
    release(block);
    release(table);
    release(routeBlock);
    return refuse(StageError.ArenaFull, capacity);
  }
  for (let i: u32 = 0; i < capacity; i++) {
    changetype<Endpoint>(usize(block) + (usize(i) << 6)).identity = NO_ENDPOINT;
  }
  g.endpoints = block;
  g.endpointCount = capacity;
  g.addresses = table;
  g.addressMask = places - 1;
  g.addressCount = addresses;
  g.routes = routeBlock;
  g.routeCount = 0;
  g.routeMask = routePlaces - 1;
  g.routeMax = routes;
  g.routeLengths0 = 0;
  g.routeLengths1 = 0;
  g.routeLengths2 = 0;
  g.flags = flags;
  g.vxlanPort = load<u16>(body, ENDPOINTS_VXLAN_PORT);
  g.vxlanHosts = load<u16>(body, ENDPOINTS_VXLAN_HOSTS);
  g.ipipHosts = load<u16>(body, ENDPOINTS_IPIP_HOSTS);
  g.pods = load<u16>(body, ENDPOINTS_PODS);
  g.natSources = load<u16>(body, ENDPOINTS_NAT_SOURCES);
  g.natExcluded = load<u16>(body, ENDPOINTS_NAT_EXCLUDED);
  g.serviceNetworks = load<u16>(body, ENDPOINTS_SERVICE_NETWORKS);
  g.snatFirst = u16(first);
  g.snatLast = u16(last);
  g.snat4 = load<u32>(body, ENDPOINTS_SNAT4);
  g.snat6a = load<u64>(body, ENDPOINTS_SNAT6);
  g.snat6b = load<u64>(body, ENDPOINTS_SNAT6 + 8);
  g.owned |= OWNS_ENDPOINTS;
  return StageError.None;
}

function addEndpoint(g: Generation, body: usize, length: u32): StageError {
  if (length != ENDPOINT_BYTES) return refuse(StageError.BadRecordLength, length);
  const index = load<u32>(body, ENDPOINT_INDEX);
  if (index >= g.endpointCount) return refuse(StageError.FieldOutOfRange, u32(ENDPOINT_INDEX));
  const kind = u32(load<u8>(body, ENDPOINT_KIND));
  if (kind == EndpointKind.Unused || kind > <u32>EndpointKind.Host) {
    return refuse(StageError.FieldOutOfRange, u32(ENDPOINT_KIND));
  }
  const flags = load<u8>(body, ENDPOINT_FLAGS);
  if (flags > <u8>(EndpointFlag.Inactive | EndpointFlag.Peer)) {
    return refuse(StageError.FieldOutOfRange, u32(ENDPOINT_FLAGS));
  }
  const inactive = flags & <u8>EndpointFlag.Inactive;
  for (let h: u32 = 0; h < HOOKS; h++) {
    const slot = load<u16>(body + (usize(h) << 1), ENDPOINT_HOOKS);
    if (!isAdmitted(slot)) return refuse(StageError.SlotNotAdmitted, slot);
  }
  if (!isSet(load<u16>(body, ENDPOINT_ALLOWED_SOURCES))) {
    return refuse(StageError.FieldOutOfRange, u32(ENDPOINT_ALLOWED_SOURCES));
  }
  const e = endpointAt(g, index);
  if (e.kind) return refuse(StageError.FieldOutOfRange, u32(ENDPOINT_INDEX));
  // An inactive endpoint's sessions end: no session bears this identity.
  const identity = index | (u32(load<u16>(body, ENDPOINT_INCARNATION)) << 16);
  e.identity = inactive ? NO_ENDPOINT : identity;
  e.inactive = inactive;
  e.peer = u16((flags & <u8>EndpointFlag.Peer) != 0);
  e.allowedSources = load<u16>(body, ENDPOINT_ALLOWED_SOURCES);
  memory.copy(changetype<usize>(e) + ENDPOINT_HOOKS_AT, body + ENDPOINT_HOOKS, usize(HOOKS) << 1);
  if (e.untrackedEgress | e.untrackedIngress) g.flags |= GenerationFlag.Untracked;
  e.address4 = load<u32>(body, ENDPOINT_ADDRESS4);
  e.address6a = load<u64>(body, ENDPOINT_ADDRESS6);
  e.address6b = load<u64>(body, ENDPOINT_ADDRESS6 + 8);
  e.kind = u8(kind);
  if (kind == <u32>EndpointKind.Uplink) return StageError.None;
  if (e.address4) {
    const error = own(g, 0, mapped4(e.address4), index);
    if (error != StageError.None) return error;
  }
  if (!(e.address6a | e.address6b)) return StageError.None;
  return own(g, e.address6a, e.address6b, index);
}

/** Is it the number of a set + 1, or 0 for none? */
function isSet(number: u16): bool {
  return u32(number) <= load<u32>(SETS, SETS_MAX);
}
function isAdmitted(slot: u16): bool {
  if (slot == 0) return true;
  return u32(slot) < POLICY_SLOTS_MAX && slotState(slot) != SlotState.Empty;
}

function addFurtherAddress(g: Generation, body: usize, length: u32): StageError {
  if (length != ADDRESS_BYTES) return refuse(StageError.BadRecordLength, length);
  const index = load<u32>(body, ADDRESS_ENDPOINT);
  if (index >= g.endpointCount || !endpointAt(g, index).kind) {
    return refuse(StageError.FieldOutOfRange, u32(ADDRESS_ENDPOINT));
  }
  const first = load<u64>(body, ADDRESS_ADDRESS), last = load<u64>(body, ADDRESS_ADDRESS + 8);
  endpointAt(g, index).more++;
  return own(g, first, last, index);
}

function own(g: Generation, first: u64, last: u64, index: u32): StageError {
  if (!g.addressCount) return refuse(StageError.TableFull, index);
  g.addressCount--;
  return addAddress(g, first, last, index)
    ? StageError.None
    : refuse(StageError.DuplicateAddress, index);
}

/** Makes the staged generation visible to process(); refused, nothing is staged any more. */
export function publish(generation: u32): StageError {
  if (!configured()) return refuse(StageError.NotConfigured, 0);
  const r = root();
  if (!r.staging || r.staging != generation) {
    return abandonFor(StageError.NothingStaged, r.staging);
  }
  const g = staged();
  if (!g.endpoints) return abandonFor(StageError.TableNotStarted, RecordKind.Endpoints);
  atomic.xchg<u32>(changetype<usize>(g), generation, GENERATION_NUMBER);
  r.staging = 0;
  r.published = generation;
  return StageError.None;
}
