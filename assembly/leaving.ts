// What leaves the node unjudged: an adapter shows it with SlotHook.Leaving, as the host's own. Most
// of it is (its sockets, its ICMP errors); but a forwarder also makes new packets out of those that
// were judged when they came in, in the form that they leave in:
//
//   client ─ key 0 ─► VIP     judged, translated: client ─► backend     fragments of that, and a
//   client ◄─ key 1 ─ backend                                           multicast packet's copies
//
// Such a packet turned round is the other direction's key. It goes on as it is, by the session: its
// first fragment is noted, later ones follow it. An ICMP error about a packet that was not
// translated yet quotes a key as it stands.
//
// Only fragments and multicast: a whole unicast packet is the host's own, whatever its tuple.
import { backendIn, endsLive } from "./conntrack";
import { Detail, Part } from "./detail";
import { copyTurned, destinationOf, is4, sameAddress, sourceOf } from "./family";
import { Generation } from "./generation";
import { hashTuple } from "./hash";
import * as icmp from "./header/icmp";
import { Reason, SESSION_RULE, SESSION_STATE, SessionFlag, SlotHook } from "./layout";
import { Packet } from "./packet";
import { root, tableOf } from "./root";
import { find, recordAt } from "./session";
import { Slot } from "./slot";

// @ts-ignore: decorator
@inline
export function isLeaving(p: Packet): bool {
  return changetype<Slot>(usize(p.slot)).hook != <u8>SlotHook.Entering;
}
/** Was it made of another packet, so that it opens nothing? */
// @ts-ignore: decorator
@inline
export function isCopied(p: Packet): bool {
  return changetype<Slot>(usize(p.slot)).hook == <u8>SlotHook.Copied;
}
// @ts-ignore: decorator
@inline
function isMulticast<F>(address: usize): bool {
  const first = load<u8>(address);
  return is4<F>() ? (first & 0xf0) == 0xe0 : first == 0xff;
}

/** Carries a packet of a session in the form that it leaves in; false where it is none. */
export function carryLeaving<F>(g: Generation, p: Packet, d: Detail): bool {
  const packet = usize(p.window);
  if (d.part == <u8>Part.Whole && !isMulticast<F>(destinationOf<F>(packet))) return false;
  const pair = sourceOf<F>(packet);
  copyTurned<F>(pair, pair);
  const entry = findPair<F>(pair, rotl<u32>(p.ports, 16), p.protocol);
  copyTurned<F>(pair, pair);
  if (!entry || !isJudged<F>(g, entry)) return false;
  const r = note<F>(p, entry);
  p.direction ^= 1;
  p.rule = load<u32>(r, SESSION_RULE);
  p.reason = <u8>Reason.Established;
  d.asItIs = 1;
  return true;
}

/**
 * Carries the host's ICMP error about a packet as its sender sent it: untranslated, as the error
 * is. False where it quotes no session so, or goes to somebody else.
 */
export function carryUntranslated<F>(g: Generation, p: Packet, d: Detail): bool {
  const protocol = d.quotedProtocol;
  if (protocol == <u8>(is4<F>() ? icmp.PROTOCOL4 : icmp.PROTOCOL6)) return false;
  const pair = sourceOf<F>(usize(p.window) + usize(d.quoted));
  const entry = findPair<F>(pair, rotl<u32>(d.quotedPorts, 16), protocol);
  if (!entry || !isJudged<F>(g, entry)) return false;
  if (!sameAddress<F>(destinationOf<F>(usize(p.window)), pair)) return false;
  const r = note<F>(p, entry ^ 1);
  p.rule = load<u32>(r, SESSION_RULE);
  p.reason = <u8>Reason.Related;
  return true;
}

// @ts-ignore: decorator
@inline
function findPair<F>(pair: usize, ports: u32, protocol: u32): u32 {
  const s = root();
  const hash = hashTuple<F>(pair, ports, protocol, s.seed0, s.seed1);
  return find<F>(tableOf<F>(), hash, pair, ports, protocol);
}
/** Were a session's packets judged under this program, and are its ends there? */
function isJudged<F>(g: Generation, entry: u32): bool {
  const r = recordAt<F>(tableOf<F>(), entry >> 1);
  if (!endsLive<F>(g, r)) return false;
  return !(atomic.load<u32>(r, SESSION_STATE) & <u32>SessionFlag.Restored);
}
/** The session of an index entry, into the packet's report. */
function note<F>(p: Packet, entry: u32): usize {
  const r = recordAt<F>(tableOf<F>(), entry >> 1);
  p.session = u32(r);
  p.direction = u8(entry & 1);
  p.backend = backendIn<F>(r);
  return r;
}
