// Sessions that came back from a checkpoint: judged once more, in their recorded direction, when
// their next packet comes, whichever way that goes.
//
//   checkpoint ─ restore() ─► Live | Restored ─ next packet ─► decideRestored ─┬─ allowed: goes on
//                                                                             └─ else: it ends
//
// What is judged is the opener's packet, made from the record's keys: a header in the frame's
// scratch and a working record beside the packet's own. The backend is the recorded one.
import { backendIn } from "./conntrack";
import { detailOf } from "./detail";
import { Endpoint, endpointAt } from "./endpoint";
import {
  copyPair, destinationOf, endpointOf, first8, is4, last8, portsOf, sourceOf,
} from "./family";
import { findFacts } from "./facts";
import { findFrontend } from "./frontend";
import { Generation } from "./generation";
import { addressOf, Backend, backendById, Group } from "./group";
import * as icmp from "./header/icmp";
import {
  Action, EndpointKind, FRAMES, FRAME_BYTES, FRAME_STAGES, NO_ENDPOINT, Reason, Rewritten,
  SESSION_STATE,
} from "./layout";
import { isInactive, judgePath, judgePreDnat, wayTo } from "./judge";
import { Packet, STANDIN } from "./packet";
import { TRAPPED } from "./policy";
import { changesOf, peerOf } from "./rewrite";
import { keyIn, protocolIn } from "./session";
import { Worker } from "./worker";

/** The sender's endpoint record as the session has it, 0 = it can't be told. */
function openerOf<F>(g: Generation, p: Packet, key: usize): usize {
  if (p.direction == 0) return usize(p.sender);
  const identity = endpointOf<F>(key);
  if (identity != NO_ENDPOINT) return changetype<usize>(endpointAt(g, identity & 0xffff));
  const way = wayTo<F>(g, key);
  const isUplink = way != 0 && changetype<Endpoint>(way).kind == <u8>EndpointKind.Uplink;
  return isUplink ? way : 0;
}

/** What is to become of the restored session `r`, both ends of which live: in p's Detail. */
export function decideRestored<F>(
  w: Worker, g: Generation, p: Packet, r: usize, nowSeconds: u32,
): void {
  const frame = FRAMES + ((usize(p.slot) - FRAMES) & ~(FRAME_BYTES - 1));
  const q = changetype<Packet>(frame + STANDIN);
  const window = frame + STANDIN + offsetof<Packet>();
  const key = keyIn<F>(r, 0), reply = keyIn<F>(r, 1);
  memory.copy(changetype<usize>(q), changetype<usize>(p), offsetof<Packet>());
  q.window = u32(window);
  copyPair<F>(sourceOf<F>(window), key);
  q.ports = portsOf<F>(key);
  q.rule = 0;
  q.flags = 0;
  const echo = is4<F>() ? icmp.ECHO_REQUEST4 : icmp.ECHO_REQUEST6;
  const isIcmp = protocolIn<F>(r) == (is4<F>() ? icmp.PROTOCOL4 : icmp.PROTOCOL6);
  q.icmp = isIcmp ? i32(echo << 8) : -1;
  const sender = openerOf<F>(g, p, key);
  const d = detailOf(p);
  d.readmissionRule = 0;
  d.readmission = 0;
  if (!sender) return; // not to be told by this packet: the opener's next one asks
  q.sender = u32(sender);
  let to = reply, toPort = portsOf<F>(reply);
  if (changesOf<F>(r) & <u32>Rewritten.ToPeer) {
    // Key 1 bears the Service's address, for the packets go on as they are.
    const backend = backendOf<F>(r, key);
    d.readmission = <u8>Reason.NoBackend;
    if (backend === null || u32(backend.peer) != peerOf<F>(r)) return;
    to = addressOf<F>(backend);
    toPort = backend.port;
  }
  d.readmission = u8(judge<F>(w, g, q, to, u32(bswap<u16>(u16(toPort))), nowSeconds));
  d.readmissionRule = q.rule;
}

/** The backend that a session goes on to, by its id, in what its frontend leads to now. */
function backendOf<F>(r: usize, key: usize): Backend | null {
  const to = key + sizeof<F>();
  const f = findFrontend(first8<F>(to), last8<F>(to), portsOf<F>(key) >> 16, protocolIn<F>(r));
  if (f === null) return null;
  const id = backendIn<F>(r) - 1;
  const outside = f.external ? backendById(changetype<Group>(usize(f.external)), id) : null;
  if (outside !== null) return outside;
  return f.internal ? backendById(changetype<Group>(usize(f.internal)), id) : null;
}

/** `toPort` in host order. */
function judge<F>(
  w: Worker, g: Generation, q: Packet, to: usize, toPort: u32, nowSeconds: u32,
): Reason {
  const window = usize(q.window);
  const asked = u32(bswap<u16>(u16(q.ports >> 16)));
  const action = judgePreDnat<F>(w, q, destinationOf<F>(window), asked, nowSeconds);
  if (action == TRAPPED) return Reason.PolicyTrapped;
  if (action == Action.Deny) return Reason.PolicyDenied;
  const out = wayTo<F>(g, to);
  if (isInactive(out)) return Reason.EndpointInactive;
  findFacts<F>(w, q, to, toPort);
  return judgePath<F>(w, g, q, out, action == Action.Allow, to, toPort, nowSeconds);
}
