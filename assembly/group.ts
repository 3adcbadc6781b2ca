// Groups of backends: the backends of a Service port that a client may get, and the Maglev table
// over them. A group never changes; a changed set is another group (groups.ts).
//
//   ┌ Group, 32 bytes ┐┌ Backend x n, 32 bytes each ┐┌ slots, u8 or u16 x M ┐
//
// Backends stand in canonical order, by address, then port, so that every node builds the same
// table from the same set and a backend is found again by bisection.
import { hashAddress, hashTuple, scale } from "./hash";
import { first8, is4, last8, sourceOf } from "./family";
import { hashword } from "./hashword";
import { GroupFlag, SERVICES, SERVICES_GROUPS, SERVICES_GROUPS_MAX } from "./layout";
import { choose } from "./maglev";
import { Packet } from "./packet";
import { root } from "./root";

@unmanaged
export class Backend {
  first: u64; // address, wire order, IPv4 as ::ffff:a.b.c.d
  last: u64;
  port: u16; // wire order
  weight: u16;
  id: u32;
  peer: u16; // number of the node that it is on, 0 = here, or routed to
  pad0: u16;
  pad1: u32;
}
if (offsetof<Backend>() != 32) ERROR("Backend is not 32 bytes");
if (offsetof<Backend>("port") != 16) ERROR("Backend.port is not at 16");

@unmanaged
export class Group {
  backends: u32; // count
  slots: u32; // M
  table: u32; // address of the Maglev slots
  width: u32; // bytes of a slot
  flags: u32; // enum GroupFlag
  family: u32; // 4 or 6
  local: u32; // how many backends are here, or routed to
  pad: u32;
}
export const GROUP_HEADER: u32 = 32;
if (offsetof<Group>() != GROUP_HEADER) ERROR("Group is not 32 bytes");

/** Address of a group by its id, 0 for id 0 and what there is none of. Control side. */
export function groupById(id: u32): u32 {
  if (id > load<u32>(SERVICES, SERVICES_GROUPS_MAX)) return 0;
  return load<u32>(usize(load<u32>(SERVICES, SERVICES_GROUPS)) + (usize(id) << 2));
}
// @ts-ignore: decorator
@inline
export function backendAt(g: Group, place: u32): Backend {
  const first = changetype<usize>(g) + GROUP_HEADER;
  return changetype<Backend>(first + usize(place) * offsetof<Backend>());
}
/** Address of a backend as family F has it in packets. */
// @ts-ignore: decorator
@inline
export function addressOf<F>(b: Backend): usize {
  return changetype<usize>(b) + (is4<F>() ? 12 : 0);
}

/** By what a flow gets its slot. */
export const enum By { Tuple, Client, Hashword }

/** The slot of a flow: a pure function of its tuple or its client, and the cluster's seed. */
export function slotOf<F>(g: Group, p: Packet, by: By): u32 {
  const seed = root().maglevSeed;
  if (by == By.Hashword) return hashword<F>(p) % g.slots;
  const pair = sourceOf<F>(usize(p.window));
  const hash = by == By.Client
    ? hashAddress(first8<F>(pair), last8<F>(pair), 0, seed)
    : hashTuple<F>(pair, p.ports, p.protocol, seed, ~seed);
  return scale(u32(hash >> 32), g.slots);
}
/** The backend of a slot. */
// @ts-ignore: decorator
@inline
export function backendOfSlot(g: Group, slot: u32): Backend {
  return backendAt(g, choose(g.table, g.width, slot));
}

/**
 * The backend of a slot or, where that is on another node, of the next slot whose backend is not;
 * null where none is. At most one turn over the table.
 */
export function localBackend(g: Group, slot: u32): Backend | null {
  if (!g.local) return null;
  for (let i: u32 = 0; i < g.slots; i++) {
    const b = backendOfSlot(g, slot);
    if (!b.peer) return b;
    slot = slot + 1 == g.slots ? 0 : slot + 1;
  }
  return null;
}

/** -1, 0, 1: the order of (address, port), as big-endian numbers. */
export function compareBackends(a: Backend, b: Backend): i32 {
  const firstA = bswap<u64>(a.first), firstB = bswap<u64>(b.first);
  if (firstA != firstB) return firstA < firstB ? -1 : 1;
  const lastA = bswap<u64>(a.last), lastB = bswap<u64>(b.last);
  if (lastA != lastB) return lastA < lastB ? -1 : 1;
  const portA = bswap<u16>(a.port), portB = bswap<u16>(b.port);
  return portA == portB ? 0 : portA < portB ? -1 : 1;
}

/** The group's backend of the same address and port, or null. */
export function findBackend(g: Group, wanted: Backend): Backend | null {
  if (g.flags & GroupFlag.Classic) { // in the order of their texts
    for (let i: u32 = 0; i < g.backends; i++) {
      if (compareBackends(backendAt(g, i), wanted) == 0) return backendAt(g, i);
    }
    return null;
  }
  let low: u32 = 0, high = g.backends;
  while (low < high) {
    const middle = (low + high) >> 1;
    const order = compareBackends(backendAt(g, middle), wanted);
    if (order == 0) return backendAt(g, middle);
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return null;
}

/** The group's backend of an id, or null; `hint` is the place where it may be. */
export function backendById(g: Group, id: u32, hint: u32 = 0): Backend | null {
  if (hint < g.backends && backendAt(g, hint).id == id) return backendAt(g, hint);
  for (let i: u32 = 0; i < g.backends; i++) {
    if (backendAt(g, i).id == id) return backendAt(g, i);
  }
  return null;
}
