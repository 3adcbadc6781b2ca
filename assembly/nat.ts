// Source NAT: who is masqueraded, by which address, by which port.
//
//   translate()   judge's last step: the address, in the packet's Detail; nothing is taken yet
//   portFor()     settle's: the ports to try, in order, until the session's reply tuple is free
//
// The session index itself is the port allocator: a port is in use when the tuple that the reply
// would bear is some session's. The packet's own port first, then from a start that its hash gives,
// so that the same packets get the same ports on every engine. Limits: PORTS_TRIED ports are tried;
// a range that is longer is exhausted for a packet whose tries all meet used ones.
// Source: RFC 4787, RFC 5382 (port preservation); Kubernetes' and Calico's masquerade rules:
// service.ts, projectcalico felix/rules/nat.go (natOutgoing).
import { holds } from "./classes";
import { detailOf, Translation } from "./detail";
import { Endpoint } from "./endpoint";
import { classOfSide, factsOf, hasPorts } from "./facts";
import { copyAddress, is4, isZero, sameAddress, sourceOf } from "./family";
import { Generation } from "./generation";
import { scale } from "./hash";
import {
  EndpointKind, GENERATION_SNAT4, GENERATION_SNAT6, GENERATION_SNAT_PORTS, Reason, Side,
} from "./layout";
import { Packet } from "./packet";
import { Worker } from "./worker";

/** At 90 % of a range in use, one packet in 700,000 finds none by chance. */
const PORTS_TRIED: u32 = 128;
/** A packet's own port is kept from here on: below are those that servers listen at. */
const KEPT_FROM: u32 = 1024;
/** What portFor() answers when all have been tried. */
export const NO_PORT: u32 = 0xffffffff;

/**
 * Chooses the source's new address for a packet that policy has let through, if it needs one; `out`
 * is the endpoint or uplink that it goes to, 0 = none. Allowed, or the reason of its drop.
 */
export function translate<F>(w: Worker, g: Generation, p: Packet, out: usize): Reason {
  const d = detailOf(p);
  const isUplink = out != 0 && changetype<Endpoint>(out).kind == <u8>EndpointKind.Uplink;
  if (d.peer) return Reason.Allowed;
  if (!d.translation) {
    // Where nobody knows the way, it may be beyond all the same.
    if ((out && !isUplink) || !g.natSources || !leavesPools(w, g)) return Reason.Allowed;
    if (!out) return Reason.NoNatAddress;
    d.translation = <u8>Translation.Masquerade;
  }
  let address = changetype<usize>(g) + (is4<F>() ? GENERATION_SNAT4 : GENERATION_SNAT6);
  if (isUplink) {
    const own = out +
      (is4<F>() ? offsetof<Endpoint>("address4") : offsetof<Endpoint>("address6a"));
    if (!isZero<F>(own)) address = own;
  }
  if (isZero<F>(address)) return Reason.NoNatAddress;
  if (sameAddress<F>(address, sourceOf<F>(usize(p.window)))) {
    d.translation = <u8>Translation.None; // it bears it already
    return Reason.Allowed;
  }
  copyAddress<F>(changetype<usize>(d), address);
  return Reason.Allowed;
}
/** From a pool that is masqueraded, to what is neither a pool nor another exception? */
function leavesPools(w: Worker, g: Generation): bool {
  const facts = factsOf(w);
  if (!holds(classOfSide(facts, Side.Source), u32(g.natSources) - 1)) return false;
  if (!g.natExcluded) return true;
  return !holds(classOfSide(facts, Side.Destination), u32(g.natExcluded) - 1);
}

/**
 * The ports that the reply of a translated packet bears in the n-th try, in wire order; NO_PORT
 * after the last. `reply` is the tuple with the packet's own port; `masked`: under another address.
 */
export function portFor(
  g: Generation, p: Packet, reply: u32, n: u32, masked: bool,
): u32 {
  const ported = hasPorts(p.protocol);
  if (!ported && p.icmp < 0) return n ? NO_PORT : reply; // no port, no choice
  const own = u32(bswap<u16>(u16(reply >> 16)));
  const kept = !ported || !masked || own >= KEPT_FROM;
  if (kept) {
    if (n == 0) return reply;
    n--;
  }
  const first = u32(load<u16>(changetype<usize>(g), GENERATION_SNAT_PORTS));
  const last = u32(load<u16>(changetype<usize>(g), GENERATION_SNAT_PORTS + 2));
  const count = last - first + 1;
  if (n >= min(count, PORTS_TRIED)) return NO_PORT;
  let place = scale(u32(p.hash), count) + n;
  if (place >= count) place -= count;
  const port = u32(bswap<u16>(u16(first + place))) << 16;
  return ported ? (reply & 0xffff) | port : port; // an echo's other half is 0
}
