// Frontends: (address, port, protocol) to the groups that serve it. A hash of chains over blocks of
// the arena, changed in place by one writer under running workers.
//
//   head ─► Frontend ─► Frontend ─► 0
//
// put: the new one's link is written before the head or the link before it is (xchg), whether it
// is added or takes another's place; what is taken out keeps its own link until every worker has
// been outside since (retired.ts), so that a reader who stands on it goes on. A frontend's fields
// never change.
import { hashAddress } from "./hash";
import {
  FrontendFlag, SERVICES, SERVICES_HEADS, SERVICES_HEAD_MASK,
} from "./layout";
import { root } from "./root";

@unmanaged
export class Frontend {
  first: u64; // address, wire order, IPv4 as ::ffff:a.b.c.d
  last: u64;
  port: u16; // wire order; 0 with protocol 0: the rest of the address
  protocol: u8;
  pad0: u8;
  flags: u32; // enum FrontendFlag
  internal: u32; // addresses of groups, 0 = none
  external: u32;
  previousInternal: u32;
  previousExternal: u32;
  affinityMs: u32;
  service: u32;
  ranges: u16; // set number + 1, 0 = none
  pad1: u16;
  next: u32; // address of the next one in the chain
  pad2: u64;
}
if (offsetof<Frontend>() != 64) ERROR("Frontend is not a cache line");
const NEXT: usize = offsetof<Frontend>("next");

// @ts-ignore: decorator
@inline
export function hashOfFrontend(first: u64, last: u64, port: u32, protocol: u32): u64 {
  return hashAddress(first, last, (u64(protocol) << 16) | u64(port), root().seed0);
}
/** Where the chain of a hash begins. */
// @ts-ignore: decorator
@inline
export function headOf(hash: u64): usize {
  const place = u32(hash >> 32) & load<u32>(SERVICES, SERVICES_HEAD_MASK);
  return usize(load<u32>(SERVICES, SERVICES_HEADS)) + (usize(place) << 2);
}

/** The frontend of an address, port (wire order) and protocol, or null. */
export function findFrontend(
  first: u64, last: u64, port: u32, protocol: u32,
): Frontend | null {
  let at = atomic.load<u32>(headOf(hashOfFrontend(first, last, port, protocol)));
  while (at) {
    const f = changetype<Frontend>(usize(at));
    const same = f.first == first && f.last == last && u32(f.port) == port;
    if (same && u32(f.protocol) == protocol) return f;
    at = atomic.load<u32>(usize(at), NEXT);
  }
  return null;
}

/**
 * Where the address of a frontend stands: its chain's head, or the link of the one before it. 0:
 * there is none.
 */
function placeOf(first: u64, last: u64, port: u32, protocol: u32): usize {
  let place = headOf(hashOfFrontend(first, last, port, protocol));
  while (load<u32>(place)) {
    const f = changetype<Frontend>(usize(load<u32>(place)));
    const same = f.first == first && f.last == last && u32(f.port) == port;
    if (same && u32(f.protocol) == protocol) return place;
    place = changetype<usize>(f) + NEXT;
  }
  return 0;
}

/** Puts a frontend into its chain; returns the one whose place it takes, 0 = none. */
export function linkFrontend(f: Frontend): u32 {
  const place = placeOf(f.first, f.last, f.port, f.protocol);
  if (place) {
    const old = load<u32>(place);
    f.next = changetype<Frontend>(usize(old)).next;
    atomic.xchg<u32>(place, u32(changetype<usize>(f)));
    return old;
  }
  const head = headOf(hashOfFrontend(f.first, f.last, f.port, f.protocol));
  f.next = load<u32>(head);
  atomic.xchg<u32>(head, u32(changetype<usize>(f)));
  return 0;
}
/** Takes a frontend out of its chain; returns it, 0 = there is none. */
export function unlinkFrontend(first: u64, last: u64, port: u32, protocol: u32): u32 {
  const place = placeOf(first, last, port, protocol);
  if (!place) return 0;
  const old = load<u32>(place);
  atomic.xchg<u32>(place, changetype<Frontend>(usize(old)).next);
  return old;
}

/** Bits that a host may set. */
export const FLAGS: u32 = FrontendFlag.External | FrontendFlag.Local |
  FrontendFlag.RejectInternal | FrontendFlag.RejectExternal | FrontendFlag.Dsr |
  FrontendFlag.Hashword | FrontendFlag.AddressAsSource | FrontendFlag.KeepSource;
