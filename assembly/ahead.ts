// What a burst of packets without a session will read, asked for a step ahead: each step's loads
// wait for no other, and the next step's lines are on their way meanwhile. Nothing is decided here:
// a line that was asked for in vain costs its look-up alone.
//
//   head of the frontend's chain ─► frontend ─► group ─► Maglev slot ─► backend ─► whose address it
//   is ─► its memberships, and the source's
import { placeOfAddress } from "./endpoint";
import { destinationOf, first8, last8, sourceOf } from "./family";
import { Frontend, hashOfFrontend, headOf } from "./frontend";
import { addressOf, Backend, backendAt, By, Group, slotOf } from "./group";
import { Generation } from "./generation";
import { SERVICES, SERVICES_LIVE } from "./layout";
import { prefetch } from "./lookup";
import { membersOf, touchMember } from "./members";
import { ENTRIES, LINES, packetAt, SLOW, TOUCHED, UNFOUND } from "./packet";

/** Frontends beyond this number, with their groups, are hardly in the caches. */
const FRONTENDS_CACHED: u32 = 16;
/** Members beyond this number likewise. */
const MEMBERS_CACHED: u32 = 8192;

/** The line that packet k will read. */
// @ts-ignore: decorator
@inline
function put(frame: usize, k: u32, at: usize): void {
  store<u32>(frame + LINES + (usize(k) << 2), u32(at) >> 6);
}
// @ts-ignore: decorator
@inline
function ask(frame: usize, n: u32): void {
  prefetch(0, frame + LINES, -1, 4, n);
}
/** What packet k has come to: a head, a frontend, a group, a backend; 0 = nothing. */
// @ts-ignore: decorator
@inline
function keep(frame: usize, k: u32, at: u32): void {
  store<u32>(frame + UNFOUND + (usize(k) << 2), at);
}
// @ts-ignore: decorator
@inline
function kept(frame: usize, k: u32): u32 {
  return load<u32>(frame + UNFOUND + (usize(k) << 2));
}

/** For n packets that are listed to be decided. */
export function fetchDecisions<F>(g: Generation, frame: usize, n: u32): void {
  if (n < 2) return;
  const services = load<u32>(SERVICES, SERVICES_LIVE) > FRONTENDS_CACHED;
  if (services) {
    fetchFrontends<F>(frame, n);
    fetchBackends<F>(frame, n);
    for (let k: u32 = 0; k < n; k++) {
      put(frame, k, placeOfAddress<F>(g, endOf<F>(frame, k, kept(frame, k))));
    }
    ask(frame, n);
  }
  if (membersOf<F>().live > MEMBERS_CACHED) touchMembers<F>(frame, n, services);
}

/** Chains' heads, frontends, groups: the first of a chain, the group for clients inside. */
function fetchFrontends<F>(frame: usize, n: u32): void {
  for (let k: u32 = 0; k < n; k++) {
    const p = packetAt(frame + SLOW, k);
    const to = destinationOf<F>(usize(p.window));
    const head = headOf(hashOfFrontend(first8<F>(to), last8<F>(to), p.ports >> 16, p.protocol));
    keep(frame, k, u32(head));
    put(frame, k, head);
  }
  ask(frame, n);
  for (let k: u32 = 0; k < n; k++) {
    const f = load<u32>(usize(kept(frame, k)));
    keep(frame, k, f);
    put(frame, k, f);
  }
  ask(frame, n);
  for (let k: u32 = 0; k < n; k++) {
    const f = kept(frame, k);
    const group = f ? changetype<Frontend>(usize(f)).internal : 0;
    keep(frame, k, group);
    put(frame, k, group);
  }
  ask(frame, n);
}

/** From groups to slots and backends. */
function fetchBackends<F>(frame: usize, n: u32): void {
  for (let k: u32 = 0; k < n; k++) {
    const group = kept(frame, k);
    if (!group) continue;
    const its = changetype<Group>(usize(group));
    if (its.backends == 0) {
      keep(frame, k, 0); // it has no table
      continue;
    }
    const slot = slotOf<F>(its, packetAt(frame + SLOW, k), By.Tuple);
    const at = its.table + slot * its.width;
    store<u32>(frame + ENTRIES + (usize(k) << 2), at);
    put(frame, k, at);
  }
  ask(frame, n);
  for (let k: u32 = 0; k < n; k++) {
    const group = kept(frame, k);
    if (!group) continue;
    const its = changetype<Group>(usize(group));
    const at = usize(load<u32>(frame + ENTRIES + (usize(k) << 2)));
    const place = its.width == 1 ? u32(load<u8>(at)) : u32(load<u16>(at));
    const backend = changetype<usize>(backendAt(its, place));
    keep(frame, k, u32(backend));
    put(frame, k, backend);
  }
  ask(frame, n);
}

/** The address that packet k goes to: the backend's where it has come to one. */
// @ts-ignore: decorator
@inline
function endOf<F>(frame: usize, k: u32, backend: u32): usize {
  return backend
    ? addressOf<F>(changetype<Backend>(usize(backend)))
    : destinationOf<F>(usize(packetAt(frame + SLOW, k).window));
}

/** Reads the member entries of both ends: loads, for in Node nothing else asks for a line. */
function touchMembers<F>(frame: usize, n: u32, services: bool): void {
  let touched: u32 = 0;
  for (let k: u32 = 0; k < n; k++) {
    touched |= touchMember<F>(sourceOf<F>(usize(packetAt(frame + SLOW, k).window)));
    touched |= touchMember<F>(endOf<F>(frame, k, services ? kept(frame, k) : 0));
  }
  store<u32>(frame + TOUCHED, touched); // or the loads would be left out
}
