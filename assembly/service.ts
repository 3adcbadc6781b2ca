// What Services make of a packet that opens a flow: which frontend it came to, whether its client
// may ask, which backend it gets, and whether its source is masqueraded.
//
//   frontend ─► source ranges ─► group: inside, outside ─► affinity, Maglev ─► backend
//            └► none: a Service's address all the same? answered or dropped
//
//   client \ frontend   ClusterIP      external, Cluster       external, Local
//   pod                 inside         inside, masqueraded     inside
//   this node           inside, masq.  inside, masqueraded     inside, masqueraded
//   beyond              inside, masq.  inside, masqueraded     outside's, source kept
//
// Where pods' networks are not known nobody is told apart: ClusterIPs masquerade none, and pods are
// beyond. Source: kube-proxy, pkg/proxy/iptables/proxier.go (syncProxyRules); calico.md section 4.
import { backendKept } from "./affinity";
import { holds } from "./classes";
import { Answer, Detail, Translation } from "./detail";
import { Endpoint } from "./endpoint";
import { destinationOf, first8, last8, sameAddress, sourceOf } from "./family";
import { findFrontend, Frontend } from "./frontend";
import { Generation } from "./generation";
import {
  addressOf, Backend, backendById, backendOfSlot, By, findBackend, Group, localBackend, slotOf,
} from "./group";
import * as tcp from "./header/tcp";
import {
  EndpointKind, FrontendFlag, GenerationFlag, Reason,
} from "./layout";
import { classOfAddress } from "./members";
import { Packet } from "./packet";
import { opens } from "./parser";

/** The frontend that a packet is sent to, or null. */
// @ts-ignore: decorator
@inline
function frontendOf<F>(p: Packet): Frontend | null {
  const to = destinationOf<F>(usize(p.window));
  return findFrontend(first8<F>(to), last8<F>(to), p.ports >> 16, p.protocol);
}

/**
 * Chooses the backend: p.backend (its address in the group), detail.frontend, translation, peer.
 * None: go on; else the reason of the drop, which detail.answer may turn into an answer.
 */
export function serve<F>(g: Generation, p: Packet, d: Detail, tick: u32): Reason {
  const f = frontendOf<F>(p);
  if (f === null) return unserved<F>(g, p, d);
  const sender = changetype<Endpoint>(usize(p.sender));
  const source = sourceOf<F>(usize(p.window));
  const external = (f.flags & FrontendFlag.External) != 0;
  if (f.ranges && !holds(classOfAddress<F>(source), u32(f.ranges) - 1)) {
    const own = (f.flags & FrontendFlag.AddressAsSource) != 0 &&
      sameAddress<F>(source, destinationOf<F>(usize(p.window)));
    if (!own) return Reason.SourceRange;
  }
  const pod = isPod<F>(g, sender, source), node = sender.kind == <u8>EndpointKind.Host;
  const local = (f.flags & FrontendFlag.Local) != 0;
  const outside = external && !pod && !node;
  const outsideGroup = outside && local;
  const block = outsideGroup ? f.external : f.internal;
  const group = changetype<Group>(usize(block));
  if (!block || group.backends == 0) {
    const bit = outsideGroup ? FrontendFlag.RejectExternal : FrontendFlag.RejectInternal;
    if (f.flags & bit) d.answer = <u8>Answer.Reject;
    return Reason.NoBackend;
  }
  const dsr = outside && (f.flags & FrontendFlag.Dsr) != 0;
  const onlyHere = dsr && sender.peer != 0;
  const previous = outsideGroup ? f.previousExternal : f.previousInternal;
  const b = choose<F>(f, group, previous, p, onlyHere, tick);
  if (b === null) return Reason.NoBackend;
  p.backend = u32(changetype<usize>(b));
  d.frontend = u32(changetype<usize>(f));
  if (dsr) {
    d.peer = onlyHere ? 0 : b.peer;
    return Reason.None;
  }
  const hairpin = sameAddress<F>(source, addressOf<F>(b));
  if (hairpin || masquerades(g, f.flags, external, local, pod, node)) {
    d.translation = <u8>Translation.Masquerade;
  }
  return Reason.None;
}

/** Is the client a pod, of this node or another? Never where pods' networks are not known. */
function isPod<F>(g: Generation, sender: Endpoint, source: usize): bool {
  if (!g.pods) return false;
  if (sender.kind == <u8>EndpointKind.Workload) return true;
  return holds(classOfAddress<F>(source), u32(g.pods) - 1);
}

function masquerades(
  g: Generation, flags: u32, external: bool, local: bool, pod: bool, node: bool,
): bool {
  if (flags & FrontendFlag.KeepSource) return false;
  if (external) return local ? node : true;
  if (g.flags & GenerationFlag.MasqueradeAll) return true;
  return g.pods != 0 && !pod;
}

/** A packet that no frontend serves: to a Service's address all the same? */
function unserved<F>(g: Generation, p: Packet, d: Detail): Reason {
  const to = destinationOf<F>(usize(p.window));
  const first = first8<F>(to), last = last8<F>(to);
  if (findFrontend(first, last, 0, 0) !== null) {
    d.answer = <u8>Answer.Reject;
    return Reason.UnknownServicePort;
  }
  if (!g.serviceNetworks) return Reason.None;
  const known = holds(classOfAddress<F>(to), u32(g.serviceNetworks) - 1);
  return known ? Reason.UnknownServiceAddress : Reason.None;
}

/**
 * The backend of a flow. A TCP segment in mid-flow, whose session was another node's or is lost,
 * goes where the table before the last change sent it, while that backend still serves.
 */
function choose<F>(
  f: Frontend, group: Group, previous: u32, p: Packet, onlyHere: bool, tick: u32,
): Backend | null {
  const source = sourceOf<F>(usize(p.window));
  // With affinity by the client alone, whatever the hash: a client's flows of one frame agree too.
  const by = f.affinityMs
    ? By.Client
    : (f.flags & FrontendFlag.Hashword) != 0 ? By.Hashword : By.Tuple;
  const isMidFlow = p.protocol == <u8>tcp.PROTOCOL && !opens(p);
  if (f.affinityMs && !isMidFlow) {
    const kept = backendKept(
      first8<F>(source), last8<F>(source), f.service, tick, f.affinityMs,
    );
    if (kept) {
      const b = backendById(group, u32(kept) - 1, u32(kept >> 32));
      if (b !== null && !(onlyHere && b.peer)) return b;
    }
  }
  if (previous && isMidFlow) {
    const before = changetype<Group>(usize(previous));
    if (before.backends) {
      const slot = slotOf<F>(before, p, by);
      const was = onlyHere ? localBackend(before, slot) : backendOfSlot(before, slot);
      if (was !== null) {
        const b = findBackend(group, was);
        if (b !== null && !(onlyHere && b.peer)) return b;
      }
    }
  }
  const slot = slotOf<F>(group, p, by);
  return onlyHere ? localBackend(group, slot) : backendOfSlot(group, slot);
}
