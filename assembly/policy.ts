// Policies: functions in the table, called by slot. The module is foreign code that the door let in
// (admission.ts): it ends, but it may trap; so the slot called is on record, nothing of the frame
// has changed any state yet, and recover() turns a slot that trapped into deny.
import { Action, POLICY_SLOTS, POLICY_SLOTS_MAX, Reason, SlotState } from "./layout";
import { hiOf, loOf, sourceOf } from "./family";
import { Packet } from "./packet";
import { Worker } from "./worker";

// @ts-ignore: decorator
@inline
export function slotState(slot: u32): u32 {
  return atomic.load<u32>(POLICY_SLOTS + (usize(slot) << 2));
}
export function setSlotState(slot: u32, state: u32): void {
  atomic.xchg<u32>(POLICY_SLOTS + (usize(slot) << 2), state);
}

/**
 * Asks the policy of a slot about a packet. `to` is the address of the destination after DNAT, and
 * `toPort` its port, host order. Returns Allowed, PolicyDenied or PolicyTrapped; p.rule says which
 * rule.
 */
export function judge<F>(
  w: Worker, p: Packet, index: u32, slot: u32, to: usize, toPort: u32, nowSeconds: u32,
): Reason {
  p.rule = slot << 16;
  const state = slot < POLICY_SLOTS_MAX ? slotState(slot) : <u32>SlotState.Empty;
  if (state == SlotState.Trapped) return Reason.PolicyTrapped;
  if (state == SlotState.Empty) return Reason.PolicyDenied;
  const source = sourceOf<F>(p.window);
  w.policySlot = slot;
  const answer = call_indirect<u32>(
    slot, index, u32(p.protocol), hiOf<F>(source), loOf<F>(source), hiOf<F>(to), loOf<F>(to),
    u32(bswap<u16>(u16(p.ports))), toPort, p.icmp, nowSeconds,
  );
  w.policySlot = 0;
  // A user's module has four answers; anything else is deny, not an action with a rule number.
  if (state == SlotState.User && answer > <u32>Action.Pass) return Reason.PolicyDenied;
  p.rule = (slot << 16) | ((answer >> 8) & 0xffff);
  return (answer & 0xff) == Action.Allow ? Reason.Allowed : Reason.PolicyDenied;
}
