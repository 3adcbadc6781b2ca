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
import { EndpointKind, INTERFACES, INTERFACES_MAX, NO_ENDPOINT } from "./layout";
import { root } from "./root";

@unmanaged
export class Endpoint {
  identity: u32;
  kind: u8; // enum EndpointKind
  pad0: u8;
  egressSlot: u16; // policy slots; 0 = no policy applies
  ingressSlot: u16;
  pad1: u16;
  address4: u32; // wire order, 0 = none
  address6a: u64;
  address6b: u64;
  more: u32; // how many further addresses the address table holds for it
  pad2: u32;
  pad3: u64;
  pad4: u64;
  pad5: u64;
}
if (offsetof<Endpoint>() != 64) ERROR("Endpoint is not a cache line");
if (offsetof<Endpoint>("address6a") != 16) ERROR("Endpoint.address6a is not at 16");

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

/** The endpoint bound to an interface, or null. */
// @ts-ignore: decorator
@inline
export function endpointOfInterface(g: Generation, index: u32): Endpoint | null {
  if (index >= INTERFACES_MAX) return null;
  const bound = load<u32>(INTERFACES + (usize(index) << 2));
  if (bound == 0 || bound > g.endpointCount) return null;
  const e = endpointAt(g, bound - 1);
  return e.kind == <u8>EndpointKind.Unused ? null : e;
}

/** Is the endpoint of this identity still there, the same incarnation? */
// @ts-ignore: decorator
@inline
export function isLive(g: Generation, identity: u32): bool {
  if (identity == NO_ENDPOINT) return true;
  const index = identity & 0xffff;
  return index < g.endpointCount && endpointAt(g, index).identity == identity &&
    endpointAt(g, index).kind != <u8>EndpointKind.Unused;
}

/** Is this address the endpoint's own first of its family? The fast half of the source check. */
// @ts-ignore: decorator
@inline
export function ownsFirst<F>(e: Endpoint, address: usize): bool {
  return sameAddress<F>(address, changetype<usize>(e) + (is4<F>() ? 12 : 16));
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
