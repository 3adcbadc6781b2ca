// restore(): sessions of a checkpoint back into the table. The host puts whole records, as they
// were saved, into the worker's header windows; what they name must mean what it meant (the host
// has renamed endpoints, backends and peers, and moved `seen` to its clock).
//
// They come back Live | Restored: the fast lane leaves them alone, and each is judged once more at
// its next packet (restored.ts). On the worker's own thread, between frames.
import { V4, V6, is4, portsOf, sameAddress, sourceOf } from "./family";
import { hashTuple } from "./hash";
import {
  FRAMES, FRAME_BYTES, FRAME_SCRATCH, FRAME_WINDOWS, LIFE_MASK, Life, Rewritten,
  SESSION4_BYTES,  SESSION6_BYTES, SESSION_NEXT, SESSION_STATE, SessionFlag,
} from "./layout";
import { Packet, STANDIN } from "./packet";
import { giveBack, take } from "./reclaim";
import { peerOf, setChanges, setDeltas, setPeer } from "./rewrite";
import { configured, root, tableOf } from "./root";
import { insert, Insertion, keyIn, protocolIn, recordAt } from "./session";
import { enter, leave, Worker, workerAt } from "./worker";

/**
 * Takes `count` records of a family (4 or 6) from the worker's windows; returns how many found
 * room. One whose tuple is known already is left out. -1 for a worker, family or count out of
 * range.
 */
export function restore(worker: u32, family: u32, count: u32): i32 {
  if (!configured() || worker >= root().workers || (family != 4 && family != 6)) return -1;
  const bytes = u32(family == 4 ? SESSION4_BYTES : SESSION6_BYTES);
  if (count > u32(FRAME_SCRATCH - FRAME_WINDOWS) / bytes) return -1;
  const w = workerAt(worker);
  const frame = FRAMES + usize(worker) * FRAME_BYTES;
  w.frameCount = 0;
  enter(w);
  const taken = family == 4 ? restoreAll<V4>(w, frame, count) : restoreAll<V6>(w, frame, count);
  leave(w);
  return i32(taken);
}

function restoreAll<F>(w: Worker, frame: usize, count: u32): u32 {
  const bytes = is4<F>() ? SESSION4_BYTES : SESSION6_BYTES;
  let taken: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    taken += u32(restoreOne<F>(w, frame, frame + FRAME_WINDOWS + usize(i) * bytes));
  }
  return taken;
}

/** What a record does to its packets follows from its keys, whatever it says of itself. */
function settleChanges<F>(r: usize): void {
  const forward = keyIn<F>(r, 0), reply = keyIn<F>(r, 1);
  const mirrored = sameAddress<F>(forward, reply + sizeof<F>()) &&
    sameAddress<F>(forward + sizeof<F>(), reply) &&
    portsOf<F>(forward) == rotl<u32>(portsOf<F>(reply), 16);
  const peer = mirrored ? peerOf<F>(r) : 0;
  setPeer<F>(r, peer);
  setChanges<F>(r, mirrored ? (peer ? Rewritten.ToPeer : 0) : Rewritten.Header);
}

function restoreOne<F>(w: Worker, frame: usize, saved: usize): bool {
  const state = load<u32>(saved, SESSION_STATE);
  if ((state & LIFE_MASK) != Life.Live) return false;
  const record = take<F>(w);
  if (!record) return false;
  w.table = is4<F>() ? 4 : 6;
  w.record = record;
  const r = recordAt<F>(tableOf<F>(), record);
  const bytes = is4<F>() ? SESSION4_BYTES : SESSION6_BYTES;
  // All but the state, which insert() sets when the record can be found.
  memory.copy(r + SESSION_STATE + 4, saved + 4, bytes - 4);
  store<u32>(r, 0, SESSION_NEXT);
  settleChanges<F>(r);
  setDeltas<F>(r);
  const p = changetype<Packet>(frame + STANDIN);
  const window = frame + STANDIN + offsetof<Packet>();
  const key = keyIn<F>(r, 0);
  memory.copy(sourceOf<F>(window), key, sizeof<F>() << 1);
  p.window = u32(window);
  p.ports = portsOf<F>(key);
  p.protocol = u8(protocolIn<F>(r));
  p.hash = hashTuple<F>(key, p.ports, p.protocol, root().seed0, root().seed1);
  const flags = (state & ~LIFE_MASK) | <u32>SessionFlag.Restored;
  const result = insert<F>(w, p, flags);
  w.record = 0;
  if (result == Insertion.Done) return true;
  giveBack<F>(record);
  return false;
}
