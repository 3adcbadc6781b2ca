// The judgement of a packet that has no session: which policies it meets, in which order. Nothing
// but scratch is written here: a policy may trap, and then the frame is run again.
//
//            preDNAT ─► Service, backend ─► whose address is it? ─┬─ a workload ─┐   ─► SNAT
//                                                                 ├─ the host    ├─► egress
//                                                                 └─ a route ────┘     │
//            staged, counted alone ◄─ ingress ◄─ to the host: its action ◄─ forward ◄──┘
//
//   from \ to   workload                   host                          beyond
//   workload    egress, forward, ingress   egress, endpoint-to-host      egress, forward
//   uplink      forward, ingress           the uplink's ingress          forward
//   host        nothing                    nothing                       the uplink's egress
//
// Forward policies are those of host endpoints (applyOnForward); none there: allowed. A workload
// without policy slots is open; host/compile gives every workload its profiles' end.
// Source: Calico, felix/rules/{endpoints,static,dispatch}.go; calico.md 2.4.
import { holds } from "./classes";
import { Answer, detailOf, Part } from "./detail";
import { Endpoint, endpointAt, ownerOf } from "./endpoint";
import { classOfSide, factsOf, findFacts } from "./facts";
import { destinationOf } from "./family";
import { Generation } from "./generation";
import { addressOf, Backend } from "./group";
import * as ipv4 from "./header/ipv4";
import * as tcp from "./header/tcp";
import * as udp from "./header/udp";
import { isCopied } from "./leaving";
import {
  Action, EndpointKind, GenerationFlag, NO_ENDPOINT, Reason, Side, Stage,
} from "./layout";
import { translate } from "./nat";
import { Packet } from "./packet";
import { opens } from "./parser";
import { consult, judge, TRAPPED } from "./policy";
import { routeOf } from "./route";
import { serve } from "./service";
import { Worker } from "./worker";

/** Is this packet a leftover of TCP that may open nothing? */
// @ts-ignore: decorator
@inline
function opensNothing(p: Packet): bool {
  if (p.protocol != <u8>tcp.PROTOCOL) return false;
  const flags = p.flags & <u8>(tcp.SYN | tcp.ACK | tcp.RST);
  return (flags & <u8>tcp.RST) != 0 || flags == <u8>(tcp.SYN | tcp.ACK);
}

// @ts-ignore: decorator
@inline
export function senderOf(p: Packet): Endpoint {
  return changetype<Endpoint>(usize(p.sender));
}
// @ts-ignore: decorator
@inline
export function destinationPort(p: Packet): u32 {
  return u32(bswap<u16>(u16(p.ports >> 16)));
}
/** The endpoint that an address is, or the uplink that it is reached by: its record, 0 = none. */
export function wayTo<F>(g: Generation, address: usize): usize {
  const owner = ownerOf<F>(g, address);
  const place = owner ? owner : routeOf<F>(g, address);
  return place ? changetype<usize>(endpointAt(g, place - 1)) : 0;
}
// @ts-ignore: decorator
@inline
export function isInactive(at: usize): bool {
  return at != 0 && changetype<Endpoint>(at).inactive != 0;
}
// @ts-ignore: decorator
@inline
function isKind(at: usize, kind: EndpointKind): bool {
  return at != 0 && changetype<Endpoint>(at).kind == <u8>kind;
}

/**
 * What would become of the packet as the first of a flow: p.decision, p.rule, p.backend, and in its
 * Detail what NAT makes of it.
 */
export function decide<F>(
  w: Worker, g: Generation, p: Packet, tick: u32, nowSeconds: u32,
): void {
  const d = detailOf(p);
  p.rule = 0;
  p.backend = 0;
  p.destinationEndpoint = NO_ENDPOINT;
  d.frontend = 0;
  p.decision = <u8>Reason.LaterFragment;
  if (d.part == <u8>Part.Later) return;
  p.decision = <u8>Reason.NoSession;
  if (opensNothing(p) || isCopied(p)) return;
  const reason = judgeFlow<F>(w, g, p, tick, nowSeconds);
  p.decision = u8(reason);
  if (reason == Reason.PolicyDenied && answersDenied(g)) d.answer = <u8>Answer.Reject;
}
/** Is what policy denies answered? */
// @ts-ignore: decorator
@inline
export function answersDenied(g: Generation): bool {
  return (g.flags & GenerationFlag.RejectDenied) != 0;
}

function judgeFlow<F>(
  w: Worker, g: Generation, p: Packet, tick: u32, nowSeconds: u32,
): Reason {
  let to = destinationOf<F>(usize(p.window));
  let toPort = destinationPort(p);
  if (isStoppedTunnel(g, p, toPort)) return Reason.EncapFromWorkload;
  const action = judgePreDnat<F>(w, p, to, toPort, nowSeconds);
  if (action == TRAPPED) return Reason.PolicyTrapped;
  if (action == Action.Deny) return Reason.PolicyDenied;
  const skipsHost = action == Action.Allow;
  const served = serve<F>(g, p, detailOf(p), tick);
  if (served != Reason.None) return served;
  if (p.backend) {
    const backend = changetype<Backend>(usize(p.backend));
    to = addressOf<F>(backend);
    toPort = u32(bswap<u16>(backend.port));
    if (isStoppedTunnel(g, p, toPort)) return Reason.EncapFromWorkload;
  }
  const out = wayTo<F>(g, to);
  if (isInactive(out)) return Reason.EndpointInactive;
  if (out && !isKind(out, EndpointKind.Uplink)) {
    p.destinationEndpoint = changetype<Endpoint>(out).identity;
  }
  findFacts<F>(w, p, to, toPort);
  const reason = judgePath<F>(w, g, p, out, skipsHost, to, toPort, nowSeconds);
  return reason == Reason.Allowed ? translate<F>(w, g, p, out) : reason;
}

/**
 * What preDNAT policy says of a packet: an Action or TRAPPED. Allow: no other policy of the
 * incoming host endpoint is asked.
 */
export function judgePreDnat<F>(
  w: Worker, p: Packet, to: usize, toPort: u32, nowSeconds: u32,
): u32 {
  const slot = senderOf(p).preDnat;
  if (!slot) return Action.NoMatch;
  findFacts<F>(w, p, to, toPort);
  const action = consult<F>(w, p, Stage.PreDnat, slot, to, toPort, nowSeconds);
  if (action == Action.NoMatch || action == Action.Pass) p.rule = 0; // it decided nothing
  return action;
}

/** Both sides' policies, the facts being known. `out`: the record of wayTo(). */
export function judgePath<F>(
  w: Worker, g: Generation, p: Packet, out: usize, skipsHost: bool, to: usize, toPort: u32,
  nowSeconds: u32,
): Reason {
  const sender = senderOf(p);
  const fromHost = sender.kind == <u8>EndpointKind.Host;
  let reason: Reason = Reason.Allowed;
  if (fromHost) {
    if (!isKind(out, EndpointKind.Uplink)) return reason;
    const slot = changetype<Endpoint>(out).egress;
    return judge<F>(w, p, Stage.Egress, slot, to, toPort, nowSeconds);
  }
  const fromWorkload = sender.kind == <u8>EndpointKind.Workload;
  if (fromWorkload) {
    countStaged<F>(w, p, Stage.StagedEgress, sender.stagedEgress, to, toPort, nowSeconds);
    reason = judge<F>(w, p, Stage.Egress, sender.egress, to, toPort, nowSeconds);
    if (reason != Reason.Allowed) return reason;
  }
  if (isKind(out, EndpointKind.Host)) {
    if (fromWorkload) return judgeToHost<F>(w, g, p, out, skipsHost, to, toPort, nowSeconds);
    const encap = encapToHost<F>(w, g, p, toPort);
    if (encap != Reason.None) return encap;
    const slot = skipsHost ? 0 : sender.ingress;
    return judge<F>(w, p, Stage.Ingress, slot, to, toPort, nowSeconds);
  }
  const forwardIn = skipsHost ? 0 : sender.forwardIngress;
  reason = judge<F>(w, p, Stage.ForwardIn, forwardIn, to, toPort, nowSeconds);
  if (reason != Reason.Allowed) return reason;
  if (out) {
    const forwardOut = changetype<Endpoint>(out).forwardEgress;
    reason = judge<F>(w, p, Stage.ForwardOut, forwardOut, to, toPort, nowSeconds);
    if (reason != Reason.Allowed) return reason;
  }
  if (!isKind(out, EndpointKind.Workload)) return reason;
  const workload = changetype<Endpoint>(out);
  countStaged<F>(w, p, Stage.StagedIngress, workload.stagedIngress, to, toPort, nowSeconds);
  return judge<F>(w, p, Stage.Ingress, workload.ingress, to, toPort, nowSeconds);
}

/** Staged policies are asked so that their rules are counted; what they say decides nothing. */
function countStaged<F>(
  w: Worker, p: Packet, stage: Stage, slot: u32, to: usize, toPort: u32, nowSeconds: u32,
): void {
  if (slot == 0) return;
  const rule = p.rule;
  consult<F>(w, p, stage, slot, to, toPort, nowSeconds);
  p.rule = rule;
}

/** A workload's packet to its own host, behind its egress policy. */
function judgeToHost<F>(
  w: Worker, g: Generation, p: Packet, host: usize, skipsHost: bool, to: usize, toPort: u32,
  nowSeconds: u32,
): Reason {
  if (g.flags & GenerationFlag.ToHostAccept) return Reason.Allowed;
  if (!(g.flags & GenerationFlag.ToHostReturn)) return Reason.EndpointToHost;
  const slot = skipsHost ? 0 : changetype<Endpoint>(host).ingress;
  return judge<F>(w, p, Stage.Ingress, slot, to, toPort, nowSeconds);
}

/** Tunnelled traffic to the host: from known hosts let in before policy, from others dropped. */
function encapToHost<F>(w: Worker, g: Generation, p: Packet, toPort: u32): Reason {
  let set: u32 = 0;
  if (isVxlan(g, p, toPort)) set = g.vxlanHosts;
  else if (isIpip(p)) set = g.ipipHosts;
  if (!set) return Reason.None;
  const known = holds(classOfSide(factsOf(w), Side.Source), set - 1);
  return known ? Reason.Allowed : Reason.EncapFromUnknownHost;
}
// @ts-ignore: decorator
@inline
function isVxlan(g: Generation, p: Packet, toPort: u32): bool {
  return p.protocol == <u8>udp.PROTOCOL && g.vxlanPort != 0 && toPort == u32(g.vxlanPort);
}
// @ts-ignore: decorator
@inline
function isIpip(p: Packet): bool {
  return p.protocol == <u8>ipv4.IN_IPV4;
}

/**
 * Is it a tunnel that workloads may not open? Asked of what opens a flow, before and behind DNAT: a
 * reply's port may be VXLAN's by chance.
 */
function isStoppedTunnel(g: Generation, p: Packet, toPort: u32): bool {
  if (senderOf(p).kind != <u8>EndpointKind.Workload) return false;
  if (isVxlan(g, p, toPort)) return !(g.flags & GenerationFlag.AllowVxlan);
  return isIpip(p) && !(g.flags & GenerationFlag.AllowIpip);
}

/**
 * Untracked policy (doNotTrack), asked of every packet before its session is looked for. None: go
 * on; Untracked: it passes, with no session; else the reason of its drop. An allow skips all other
 * policy of the incoming host endpoint, a workload's own and the outgoing one's stand.
 */
export function judgeUntracked<F>(
  w: Worker, g: Generation, p: Packet, nowSeconds: u32,
): Reason {
  const sender = senderOf(p);
  if (sender.kind == <u8>EndpointKind.Workload) return Reason.None;
  if (detailOf(p).part == <u8>Part.Later) return Reason.None; // it follows the first
  const fromUplink = sender.kind == <u8>EndpointKind.Uplink;
  if (fromUplink && !sender.untrackedIngress) return Reason.None;
  const to = destinationOf<F>(usize(p.window));
  const toPort = destinationPort(p);
  const out = wayTo<F>(g, to);
  let slot: u32 = sender.untrackedIngress, stage: Stage = Stage.Untracked;
  if (!fromUplink) {
    slot = isKind(out, EndpointKind.Uplink) ? changetype<Endpoint>(out).untrackedEgress : 0;
    stage = Stage.UntrackedOut;
  }
  if (!slot) return Reason.None;
  findFacts<F>(w, p, to, toPort);
  const action = consult<F>(w, p, stage, slot, to, toPort, nowSeconds);
  if (action == TRAPPED) return Reason.PolicyTrapped;
  if (action == Action.Deny) return Reason.PolicyDenied;
  if (action != Action.Allow) {
    p.rule = 0; // it decided nothing
    return Reason.None;
  }
  if (isInactive(out)) return Reason.EndpointInactive;
  if (stage == Stage.UntrackedOut) return Reason.Untracked;
  if (isKind(out, EndpointKind.Host)) {
    const encap = encapToHost<F>(w, g, p, toPort);
    return encap == Reason.EncapFromUnknownHost ? encap : Reason.Untracked;
  }
  const rule = p.rule;
  p.rule = 0;
  const reason = judgePath<F>(w, g, p, out, true, to, toPort, nowSeconds);
  if (reason != Reason.Allowed) return reason;
  p.rule = rule;
  return Reason.Untracked;
}

/** May the packet open a session? ICMP other than an echo request passes by itself, each judged. */
// @ts-ignore: decorator
@inline
export function makesSession(p: Packet): bool {
  return p.icmp < 0 || opens(p);
}
