// recover(): after a trap, on the worker's own thread. The worker's record says where it stood.
//
//   a policy was being called      its slot becomes Trapped (deny); the frame may be run again
//   the core itself                locks freed, what was half done undone or finished, the frame's
//                                  packets set to drop, core-trapped, and counted
//
// A half-inserted record may have been seen by another worker already: it goes through limbo.
import { V4, V6 } from "./family";
import {
  FRAMES, FRAME_BYTES, FRAME_SLOTS, Life, Phase, Reason, SLOT_BYTES, SlotState, Verdict,
} from "./layout";
import { setSlotState } from "./policy";
import { giveBack, retire } from "./reclaim";
import { configured, root, tableOf } from "./root";
import { claimLive, clearLocked, lifeOf, recordAt, unindex, unlockAll } from "./session";
import { Slot } from "./slot";
import { count, leave, Worker, workerAt } from "./worker";

/** Returns the policy slot that trapped, 0 for the core itself, -1 with nothing to recover. */
export function recover(worker: u32): i32 {
  if (!configured() || worker >= root().workers) return -1;
  const w = workerAt(worker);
  if (!(w.epoch & 1)) return -1;
  const slot = w.policySlot;
  w.policySlot = 0;
  if (slot) {
    setSlotState(slot, SlotState.Trapped);
    w.again = 1;
  } else {
    w.resume = 0;
    w.settled = 0;
    if (w.table == 6) undo<V6>(w);
    else undo<V4>(w);
    dropFrame(w, worker);
  }
  leave(w);
  return i32(slot);
}

function undo<F>(w: Worker): void {
  const record = w.record;
  const phase = w.phase;
  if (record) {
    const r = recordAt<F>(tableOf<F>(), record);
    if (phase == Phase.Inserting || phase == Phase.Published) {
      // It may live already, and then another worker may be ending it: it waits for these locks.
      clearLocked(w, record);
      unlockAll(w);
      if (claimLive(r)) retire<F>(w, record);
      else if (lifeOf(r) == Life.Free) giveBack<F>(record);
    } else if (lifeOf(r) == Life.Ending) {
      unlockAll(w);
      unindex<F>(w);
      retire<F>(w, record);
    } else if (lifeOf(r) == Life.Free) {
      giveBack<F>(record);
    }
  }
  unlockAll(w);
  w.record = 0;
  w.phase = Phase.Idle;
}

function dropFrame(w: Worker, worker: u32): void {
  const frame = FRAMES + usize(worker) * FRAME_BYTES;
  for (let i: u32 = 0; i < w.frameCount; i++) {
    const slot = changetype<Slot>(frame + FRAME_SLOTS + usize(i) * SLOT_BYTES);
    slot.verdict = <u8>Verdict.Drop;
    slot.reason = <u8>Reason.CoreTrapped;
    slot.rewritten = 0;
    slot.direction = 0;
    slot.newLength = slot.packetLength;
    slot.session = 0;
    slot.backend = 0;
    slot.rule = 0;
  }
  count(w, Reason.CoreTrapped, w.frameCount);
}
