// Services: (VIP, port, protocol) to a backend. A generation's table holds an 8-byte entry for each
// (hash, block); a block is the service, its backends in canonical order and its Maglev slots.
//
//   block:  ┌ Service, 64 bytes ┐┌ Backend x n, 32 bytes each ┐┌ slots, u8 or u16 x M ┐
//
// Canonical order is by address, then port, so that every node builds the same table from the same
// set. Look-up: linear probing over entries at most half full; the block is read only on a match.
import { scale, hashAddress, hashTuple } from "./hash";
import { destinationOf, first8, last8, sourceOf } from "./family";
import { choose } from "./maglev";
import { Generation } from "./generation";
import { Packet } from "./packet";
import { root } from "./root";

@unmanaged
export class Backend {
  first: u64; // address, wire order, IPv4 as ::ffff:a.b.c.d
  last: u64;
  port: u16; // wire order
  weight: u16;
  id: u32;
  pad: u64;
}
if (offsetof<Backend>() != 32) ERROR("Backend is not 32 bytes");
if (offsetof<Backend>("port") != 16) ERROR("Backend.port is not at 16");

@unmanaged
export class Service {
  first: u64;
  last: u64;
  port: u16; // wire order
  protocol: u8;
  width: u8; // bytes of a Maglev slot
  backends: u32; // count
  slots: u32; // M
  table: u32; // address of the Maglev slots
}
export const SERVICE_HEADER: u32 = 64;
if (offsetof<Service>() > SERVICE_HEADER) ERROR("Service is too long");

// @ts-ignore: decorator
@inline
export function backendAt(s: Service, place: u32): Backend {
  const first = changetype<usize>(s) + SERVICE_HEADER;
  return changetype<Backend>(first + usize(place) * offsetof<Backend>());
}
// @ts-ignore: decorator
@inline
export function serviceHash(first: u64, last: u64, port: u32, protocol: u32): u64 {
  return hashAddress(first, last, (u64(protocol) << 16) | u64(port), root().seed0);
}

/** The service of a VIP, or null. `port` in wire order. */
export function findService(
  g: Generation, first: u64, last: u64, port: u32, protocol: u32,
): Service | null {
  if (g.services == 0) return null;
  const hash = serviceHash(first, last, port, protocol);
  const tag = u32(hash);
  let at = u32(hash >> 32) & g.serviceMask;
  while (true) {
    const entry = usize(g.services) + (usize(at) << 3);
    const block = load<u32>(entry, 4);
    if (block == 0) return null;
    if (load<u32>(entry) == tag) {
      const s = changetype<Service>(usize(block));
      const same = s.first == first && s.last == last && u32(s.port) == port;
      if (same && u32(s.protocol) == protocol) return s;
    }
    at = (at + 1) & g.serviceMask;
  }
}

/** The service that a packet is sent to, or null. */
// @ts-ignore: decorator
@inline
export function serviceOf<F>(g: Generation, p: Packet): Service | null {
  const to = destinationOf<F>(p.window);
  return findService(g, first8<F>(to), last8<F>(to), p.ports >> 16, p.protocol);
}

/** The backend of a flow: a pure function of its tuple, the cluster's seed and the backend set. */
// @ts-ignore: decorator
@inline
export function backendOf<F>(s: Service, p: Packet): Backend | null {
  if (s.backends == 0) return null;
  const seed = root().maglevSeed;
  const hash = hashTuple<F>(sourceOf<F>(p.window), p.ports, p.protocol, seed, ~seed);
  const slot = scale(u32(hash >> 32), s.slots);
  return backendAt(s, choose(s.table, s.width, slot));
}
