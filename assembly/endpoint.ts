// Endpoints (pods, uplinks) by index, and the addresses that they own. One table answers two
// questions: may this endpoint send from this address, and which endpoint is that address?
//
//   endpoints: array of 64-byte records; the index is the position
//   addresses: open addressing, linear probing, at most half full; 32-byte entries
//
// Both belong to a generation and never change once it is published. An endpoint's identity is
// index | incarnation << 16: sessions name both, so that a removed or replaced endpoint's sessions
// end.
import { Generation } from "./generation";
import { hashAddress } from "./hash";
import { first8, last8, sameAddress, is4 } from "./family";
import { EndpointKind, HOOKS, INTERFACES, INTERFACES_MAX, NO_ENDPOINT } from "./layout";
import { root } from "./root";

export const ENDPOINT_HOOKS_AT: usize = 8;
const ENDPOINT_ADDRESS6_AT: usize = 32;

@unmanaged
export class Endpoint {
  identity: u32;
  kind: u8; // enum EndpointKind
  inactive: u8;
  allowedSources: u16; // set number + 1: what else it may send from
  egress: u16; // policy slots by enum Hook; 0 = no policy applies there
  ingress: u16;
  stagedEgress: u16;
  stagedIngress: u16;
  forwardEgress: u16;
  forwardIngress: u16;
  untrackedEgress: u16;
  untrackedIngress: u16;
  preDnat: u16;
  peer: u16; // 1: an uplink that bears what other nodes pass on (DSR)
  address4: u32; // wire order, 0 = none; of an uplink: SNAT's source
  address6a: u64;
  address6b: u64;
  more: u32; // how many further addresses the address table holds for it
  pad1: u32;
  pad2: u64;
}
if (offsetof<Endpoint>() != 64) ERROR("Endpoint is not a cache line");
if (offsetof<Endpoint>("address6a") != ENDPOINT_ADDRESS6_AT) ERROR("Endpoint.address6a");
if (offsetof<Endpoint>("egress") != ENDPOINT_HOOKS_AT) ERROR("Endpoint.egress");
if (offsetof<Endpoint>("preDnat") != ENDPOINT_HOOKS_AT + (HOOKS - 1) * 2) ERROR("preDnat");

@unmanaged
export class AddressEntry {
  first: u64;
  last: u64;
  endpoint: u32; // index + 1, 0 = empty
  pad0: u32;
  pad1: u64;
}
if (offsetof<AddressEntry>() != 32) ERROR("AddressEntry is not 32 bytes");

// @ts-ignore: decorator
@inline
export function endpointAt(g: Generation, index: u32): Endpoint {
  return changetype<Endpoint>(usize(g.endpoints) + (usize(index) << 6));
}

/** Address of the endpoint bound to an interface, or 0. */
// @ts-ignore: decorator
@inline
export function endpointOfInterface(endpoints: usize, count: u32, index: u32): usize {
  if (index >= INTERFACES_MAX) return 0;
  const bound = load<u32>(INTERFACES + (usize(index) << 2));
  if (bound == 0 || bound > count) return 0;
  const e = endpoints + (usize(bound - 1) << 6);
  return changetype<Endpoint>(e).kind == <u8>EndpointKind.Unused ? 0 : e;
}

/**
 * Is the endpoint of this identity still there, the same incarnation? Unused places bear
 * NO_ENDPOINT, which no session names; NO_ENDPOINT itself, what lies beyond the node, is always
 * there.
 */
// @ts-ignore: decorator
@inline
export function isLive(endpoints: usize, count: u32, identity: u32): bool {
  const index = identity & 0xffff;
  return identity == NO_ENDPOINT ||
    (index < count && load<u32>(endpoints + (usize(index) << 6)) == identity);
}

/** Is this address the endpoint's own first of its family? The fast half of the source check. */
// @ts-ignore: decorator
@inline
export function ownsFirst<F>(e: Endpoint, address: usize): bool {
  // An endpoint without an address of the family has zeros there: nobody's source.
  if (is4<F>()) return e.address4 != 0 && e.address4 == load<u32>(address);
  const own = changetype<usize>(e) + ENDPOINT_ADDRESS6_AT;
  return (e.address6a | e.address6b) != 0 && sameAddress<F>(address, own);
}

/** Index + 1 of the endpoint that owns an address, 0 = none here. */
export function endpointOfAddress(g: Generation, first: u64, last: u64): u32 {
  if (g.addresses == 0) return 0;
  let at = u32(hashAddress(first, last, 0, root().seed0) >> 32) & g.addressMask;
  while (true) {
    const entry = changetype<AddressEntry>(usize(g.addresses) + (usize(at) << 5));
    if (entry.endpoint == 0) return 0;
    if (entry.first == first && entry.last == last) return entry.endpoint;
    at = (at + 1) & g.addressMask;
  }
}

/** Puts an address into a table being staged; false when another endpoint owns it already. */
export function addAddress(g: Generation, first: u64, last: u64, index: u32): bool {
  let at = u32(hashAddress(first, last, 0, root().seed0) >> 32) & g.addressMask;
  while (true) {
    const entry = changetype<AddressEntry>(usize(g.addresses) + (usize(at) << 5));
    if (entry.endpoint == 0) {
      entry.first = first;
      entry.last = last;
      entry.endpoint = index + 1;
      return true;
    }
    if (entry.first == first && entry.last == last) return entry.endpoint == index + 1;
    at = (at + 1) & g.addressMask;
  }
}

/** The endpoint that owns an address of family F; its index + 1, 0 = none. */
// @ts-ignore: decorator
@inline
export function ownerOf<F>(g: Generation, address: usize): u32 {
  return endpointOfAddress(g, first8<F>(address), last8<F>(address));
}

/** Where the look-up of an address begins. */
// @ts-ignore: decorator
@inline
export function placeOfAddress<F>(g: Generation, address: usize): usize {
  const hash = hashAddress(first8<F>(address), last8<F>(address), 0, root().seed0);
  return usize(g.addresses) + (usize(u32(hash >> 32) & g.addressMask) << 5);
}
