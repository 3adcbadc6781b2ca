// Facts of the packet being judged: the membership classes of both its ends, found once and read by
// every policy that it meets. They stand in the worker's record; their address is the `packet` that
// policies are called with. Generated modules read bits at the classes; users' modules ask
// member().
import { classOfAddress, classOfPort } from "./members";
import { holds } from "./classes";
import { sourceOf } from "./family";
import * as sctp from "./header/sctp";
import * as tcp from "./header/tcp";
import * as udp from "./header/udp";
import {
  SETS, SETS_EMPTY, Side, SLOT_SETS, WORKERS, WORKER_BYTES, WORKER_FACTS,
} from "./layout";
import { Packet } from "./packet";
import { root } from "./root";
import { Worker, workerAt } from "./worker";

// @ts-ignore: decorator
@inline
export function factsOf(w: Worker): usize {
  return changetype<usize>(w) + WORKER_FACTS;
}
/** The class of one side of the packet in hand. */
// @ts-ignore: decorator
@inline
export function classOfSide(facts: usize, side: u32): u32 {
  return load<u32>(facts + (usize(side) << 2));
}
// @ts-ignore: decorator
@inline
export function hasPorts(protocol: u32): bool {
  return protocol == tcp.PROTOCOL || protocol == udp.PROTOCOL || protocol == sctp.PROTOCOL;
}

/** Finds the classes of a packet that goes `to` an address, at `toPort` (host order). */
export function findFacts<F>(w: Worker, p: Packet, to: usize, toPort: u32): void {
  const facts = factsOf(w);
  const source = sourceOf<F>(usize(p.window));
  const empty = load<u32>(SETS, SETS_EMPTY);
  const ports = hasPorts(p.protocol);
  const sourcePort = u32(bswap<u16>(u16(p.ports)));
  store<u32>(facts, classOfAddress<F>(source), Side.Source * 4);
  store<u32>(facts, classOfAddress<F>(to), Side.Destination * 4);
  store<u32>(
    facts, ports ? classOfPort<F>(source, p.protocol, sourcePort) : empty, Side.SourcePort * 4,
  );
  store<u32>(
    facts, ports ? classOfPort<F>(to, p.protocol, toPort) : empty, Side.DestinationPort * 4,
  );
}

/**
 * What a user's module asks: is a side (enum Side) of the packet in its set number `set`? The
 * handle must be the one that the module was called with; sets are numbered by its own list. 0 for
 * what is no worker's handle (another worker's is not told from one's own), set or side.
 */
export function member(packet: i32, set: i32, side: i32): i32 {
  const offset = usize(u32(packet)) - WORKERS - WORKER_FACTS;
  if (offset % WORKER_BYTES != 0 || offset / WORKER_BYTES >= root().workers) return 0;
  const slot = workerAt(u32(offset / WORKER_BYTES)).policySlot;
  if (!slot || u32(side) > <u32>Side.DestinationPort) return 0;
  const list = load<u32>(SLOT_SETS + (usize(slot) << 2));
  if (!list || u32(set) >= load<u32>(list)) return 0;
  const number = u32(load<u16>(usize(list) + 4 + (usize(u32(set)) << 1)));
  return i32(holds(classOfSide(u32(packet), u32(side)), number));
}
