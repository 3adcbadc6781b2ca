// A session's identity: both tuples and what goes with them, written once, before the record is
// published.
//
//   key 0   as the opener's packets come in            client ─► address asked
//   key 1   as the reply's packets come in            backend ─► client, or SNAT's address
import { Detail, Translation } from "./detail";
import {
  copyAddress, copyPair, copyTurned, is4, setEndpoint, setPorts, sourceOf,
} from "./family";
import { addressOf, Backend } from "./group";
import {
  Rewritten, SESSION4_BACKEND, SESSION4_GENERATION, SESSION4_PROTOCOL,
  SESSION6_BACKEND, SESSION6_GENERATION, SESSION6_PROTOCOL, SESSION_RULE,
  SESSION_SEEN,
} from "./layout";
import { Packet } from "./packet";
import { setChanges, setPeer } from "./rewrite";
import { keyIn } from "./session";

/** Writes all but the deltas (rewrite.ts), which follow when the reply's ports are settled. */
export function writeIdentity<F>(
  p: Packet, d: Detail, r: usize, tick: u32, generation: u32,
): void {
  const packet = usize(p.window);
  const forward = keyIn<F>(r, 0), reply = keyIn<F>(r, 1);
  copyPair<F>(forward, sourceOf<F>(packet));
  copyTurned<F>(reply, sourceOf<F>(packet));
  let replyPorts = rotl<u32>(p.ports, 16);
  let id: u32 = 0, changes: u32 = 0;
  if (p.backend) {
    const backend = changetype<Backend>(usize(p.backend));
    id = backend.id + 1;
    if (d.peer) {
      changes = Rewritten.ToPeer; // it goes on as it is: no reply comes back here
    } else {
      copyAddress<F>(reply, addressOf<F>(backend)); // the reply's source
      replyPorts = (replyPorts & 0xffff0000) | u32(backend.port);
      changes = Rewritten.Header;
    }
  }
  if (d.translation == <u8>Translation.Masquerade) {
    copyAddress<F>(reply + sizeof<F>(), changetype<usize>(d));
    changes = Rewritten.Header;
  }
  setPorts<F>(forward, p.ports);
  setPorts<F>(reply, replyPorts);
  setEndpoint<F>(forward, p.endpoint);
  setEndpoint<F>(reply, p.destinationEndpoint);
  store<u32>(r, tick, SESSION_SEEN);
  store<u32>(r, p.rule, SESSION_RULE);
  store<u32>(r, p.protocol, is4<F>() ? SESSION4_PROTOCOL : SESSION6_PROTOCOL); // and 3 zeros
  setChanges<F>(r, changes);
  setPeer<F>(r, d.peer);
  store<u32>(r, generation, is4<F>() ? SESSION4_GENERATION : SESSION6_GENERATION);
  store<u32>(r, id, is4<F>() ? SESSION4_BACKEND : SESSION6_BACKEND);
}
