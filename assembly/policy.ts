// Policies by slot: what a slot holds, and what it says of a packet.
//
//   Generated, User   a function in the table: foreign code that the door let in (admission.ts)
//   Classifier        bit vectors in the arena, scanned by the core (classifier.ts)
//   Chain             other slots, one after the other
//   Trapped, Empty    deny
//
// A module ends, but may trap; so the slot called is on record, nothing of the frame has changed
// any state yet, and recover() turns a slot that trapped into deny.
import { classify } from "./classifier";
import { factsOf } from "./facts";
import {
  Action, CHAIN_STEP, CHAIN_STEPS, FRAMES, FRAME_BYTES, FRAME_SLOTS, FRAME_STAGES, POLICY_SLOTS,
  POLICY_SLOTS_MAX, Reason, SLOT_BLOCKS, SLOT_BYTES, SLOT_COUNTERS, SlotState, Stage, STAGES,
  STAGES_BYTES,
} from "./layout";
import { hiOf, loOf, sourceOf } from "./family";
import { Packet } from "./packet";
import { Worker } from "./worker";

/** What consult() answers when the policy has trapped: no Action. */
export const TRAPPED: u32 = 0xff;
if (usize(STAGES) * 4 > STAGES_BYTES) ERROR("the stages do not fit their record");
if (STAGES_BYTES != SLOT_BYTES * 2) ERROR("stages do not lie as slots do");

// @ts-ignore: decorator
@inline
export function slotState(slot: u32): u32 {
  return atomic.load<u32>(POLICY_SLOTS + (usize(slot) << 2));
}
export function setSlotState(slot: u32, state: u32): void {
  atomic.xchg<u32>(POLICY_SLOTS + (usize(slot) << 2), state);
}
// @ts-ignore: decorator
@inline
export function blockOf(slot: u32): usize {
  return usize(load<u32>(SLOT_BLOCKS + (usize(slot) << 2)));
}

/** Where a packet's stages are noted. */
// @ts-ignore: decorator
@inline
export function stagesOf(p: Packet): usize {
  const offset = usize(p.slot) - FRAMES;
  const frame = FRAMES + (offset & ~(FRAME_BYTES - 1));
  return frame + FRAME_STAGES + (((offset & (FRAME_BYTES - 1)) - FRAME_SLOTS) << 1);
}
// @ts-ignore: decorator
@inline
export function clearStages(p: Packet): void {
  const at = stagesOf(p);
  v128.store(at, i64x2.splat(0));
  v128.store(at, i64x2.splat(0), 16);
  store<u32>(at, 0, 32);
}
if (STAGES != 9) ERROR("clearStages clears nine stages");

/** The answer of a slot that is no chain: Action | rule index << 8, or TRAPPED. */
function answerOf<F>(
  w: Worker, p: Packet, slot: u32, to: usize, toPort: u32, nowSeconds: u32,
): u32 {
  const state = slot < POLICY_SLOTS_MAX ? slotState(slot) : <u32>SlotState.Empty;
  const facts = factsOf(w);
  if (state == SlotState.Classifier) return classify(w, p, blockOf(slot), facts, toPort);
  if (state == SlotState.Trapped) return TRAPPED;
  if (state != SlotState.Generated && state != SlotState.User) return <u32>Action.Deny;
  const source = sourceOf<F>(usize(p.window));
  w.policySlot = slot;
  const answer = call_indirect<u32>(
    slot, i32(facts), u32(p.protocol), hiOf<F>(source), loOf<F>(source), hiOf<F>(to), loOf<F>(to),
    u32(bswap<u16>(u16(p.ports))), toPort, p.icmp, nowSeconds,
  );
  w.policySlot = 0;
  // A user's module has four answers; anything else is deny, not an action with a rule number.
  if (state == SlotState.User && answer > <u32>Action.Pass) return <u32>Action.Deny;
  return (answer & 0xff) > <u32>Action.Pass ? <u32>Action.Deny : answer & 0xffffff;
}

/**
 * Asks a slot about a packet whose facts stand in the worker's record; `to` and `toPort` (host
 * order) are the destination as the policy is to see it. Returns an Action or TRAPPED; p.rule and
 * the packet's stage say which slot and rule.
 */
export function consult<F>(
  w: Worker, p: Packet, stage: Stage, slot: u32, to: usize, toPort: u32, nowSeconds: u32,
): u32 {
  let asked = slot, answer: u32;
  const isChain = slot < POLICY_SLOTS_MAX && slotState(slot) == SlotState.Chain;
  if (!isChain) {
    answer = answerOf<F>(w, p, slot, to, toPort, nowSeconds);
  } else {
    const chain = blockOf(slot);
    const steps = load<u32>(chain, CHAIN_STEPS);
    let step: u32 = 0;
    answer = 0;
    while (step < steps) {
      const at = chain + CHAIN_STEP + (usize(step) << 2);
      asked = u32(load<u16>(at));
      answer = answerOf<F>(w, p, asked, to, toPort, nowSeconds);
      const action = answer & 0xff;
      if (action == Action.NoMatch) step++;
      else if (action == Action.Pass) step = max(step + 1, u32(load<u16>(at, 2)));
      else break;
    }
    if (step >= steps && (answer & 0xff) == Action.Pass) answer &= ~0xff; // no step said anything
  }
  const index = answer == TRAPPED ? 0 : (answer >> 8) & 0xffff;
  p.rule = (asked << 16) | index;
  store<u32>(stagesOf(p) + (usize(stage) << 2), p.rule);
  return answer & 0xff;
}

/** A verdict of a slot where only Allow passes; slot 0 asks nobody. */
export function judge<F>(
  w: Worker, p: Packet, stage: Stage, slot: u32, to: usize, toPort: u32, nowSeconds: u32,
): Reason {
  if (slot == 0) return Reason.Allowed;
  const action = consult<F>(w, p, stage, slot, to, toPort, nowSeconds);
  if (action == TRAPPED) return Reason.PolicyTrapped;
  return action == Action.Allow ? Reason.Allowed : Reason.PolicyDenied;
}

/** Counts the rules that a packet's stages named: once, when its verdict is final. */
export function countStages(p: Packet): void {
  const stages = stagesOf(p);
  for (let i: u32 = 0; i < STAGES; i++) {
    const rule = load<u32>(stages + (usize(i) << 2));
    if (rule) countRule(rule >> 16, rule & 0xffff);
  }
}
function countRule(slot: u32, index: u32): void {
  const block = usize(load<u32>(SLOT_COUNTERS + (usize(slot) << 2)));
  if (!block) return;
  const place = min(index, load<u32>(block));
  atomic.add<u64>(block + 8 + (usize(place) << 3), 1);
}
