// The lines that settle will want: for packets that are about to open a session, the buckets that
// their reply's tuple belongs to. They are asked for all at once, before the first is settled; so a
// burst of new flows waits for memory once, not at every insert. Nothing here decides anything: a
// masqueraded packet's port may turn out to be another one.
import { Detail, detailOf, Translation } from "./detail";
import { copyAddress, destinationOf, sourceOf } from "./family";
import { addressOf, Backend } from "./group";
import { hashTuple, scale } from "./hash";
import { Reason } from "./layout";
import { prefetch } from "./lookup";
import { LINES, Packet, packetAt, SLOW, STANDIN, UNFOUND } from "./packet";
import { root, tableOf } from "./root";

/** The hash of the tuple that a packet's reply will bear, with the packet's own port. */
function hashReply<F>(frame: usize, p: Packet, d: Detail): u64 {
  const pair = frame + STANDIN;
  const packet = usize(p.window);
  const backend = changetype<Backend>(usize(p.backend));
  const served = p.backend != 0 && d.peer == 0;
  copyAddress<F>(pair, served ? addressOf<F>(backend) : destinationOf<F>(packet));
  const masked = d.translation != <u8>Translation.None;
  copyAddress<F>(pair + sizeof<F>(), masked ? changetype<usize>(d) : sourceOf<F>(packet));
  const turned = rotl<u32>(p.ports, 16);
  const ports = served ? (turned & 0xffff0000) | u32(backend.port) : turned;
  return hashTuple<F>(pair, ports, p.protocol, root().seed0, root().seed1);
}

/** Fetches both buckets of the replies of `slow` listed packets. */
export function fetchReplies<F>(frame: usize, slow: u32): void {
  const t = tableOf<F>();
  let n: usize = 0;
  for (let k: u32 = 0; k < slow; k++) {
    const p = packetAt(frame + SLOW, k);
    if (p.decision != <u8>Reason.Allowed) continue;
    const hash = hashReply<F>(frame, p, detailOf(p));
    store<u32>(frame + (n << 2), scale(u32(hash >> 32), t.bucketCount), LINES);
    store<u32>(frame + (n << 2), scale(u32(hash), t.bucketCount), UNFOUND);
    n++;
  }
  if (!n) return;
  prefetch(t.buckets, frame + LINES, -1, 4, u32(n));
  prefetch(t.buckets, frame + UNFOUND, -1, 4, u32(n));
}
