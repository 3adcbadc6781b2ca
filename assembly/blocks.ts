// Staging of what policy slots hold beside modules: classifiers, chains, counters, the set numbers
// of users' modules. Control side; a slot is only given anew when no generation that can still be
// found names it (slotInUse), so that no worker reads what is freed here.
//
//   Classifier ─► a block ─ ClassifierPart, in order ─► checked, admitted
//   Chain ─► admitted          Counters, SlotSets: for a slot that is admitted
import { allocate, release } from "./arena";
import { checkClassifier } from "./classifiercheck";
import { ENDPOINT_HOOKS_AT, endpointAt } from "./endpoint";
import { Generation } from "./generation";
import {
  CHAIN_COUNT, CHAIN_FIRST, CHAIN_SLOT, CHAIN_STEP, CHAIN_STEPS, CHAIN_STEPS_MAX,
  CLASSIFIER_HEADER_BYTES, CLASSIFIER_RECORD_BYTES, CLASSIFIER_SLOT, CLASSIFIER_TOTAL,
  COUNTERS_BYTES, COUNTERS_RULES, COUNTERS_SLOT, GENERATIONS, GENERATION_BYTES, GENERATION_RING,
  HOOKS, PART_CODE, PART_OFFSET, PART_SLOT, POLICY_SLOTS_MAX, ROOT, ROOT_PART_BYTES,
  ROOT_PART_NEXT, ROOT_PART_SLOT, SLOT_BLOCKS, SLOT_COUNTERS, SLOT_SETS, SLOT_SETS_COUNT,
  SLOT_SETS_FIRST, SLOT_SETS_SLOT, SlotState, StageError,
} from "./layout";
import { blockOf, setSlotState, slotState } from "./policy";
import { refuse } from "./root";

const CLASSIFIER_BYTES_MAX: u32 = 1 << 25;
const RULES_MAX: u32 = 65_535;

/** Does a generation that can still be found, or is being staged, name this slot? */
export function slotInUse(slot: u32): bool {
  if (named(slot)) return true;
  for (let c: u32 = 1; c < POLICY_SLOTS_MAX; c++) {
    if (slotState(c) != SlotState.Chain) continue;
    const chain = blockOf(c);
    const steps = load<u32>(chain, CHAIN_STEPS);
    for (let i: u32 = 0; i < steps; i++) {
      const step = u32(load<u16>(chain + CHAIN_STEP + (usize(i) << 2)));
      if (step == slot && named(c)) return true;
    }
  }
  return false;
}
function named(slot: u32): bool {
  for (let n: u32 = 0; n < GENERATIONS; n++) {
    const g = changetype<Generation>(GENERATION_RING + usize(n) * GENERATION_BYTES);
    for (let i: u32 = 0; i < g.endpointCount; i++) {
      const hooks = changetype<usize>(endpointAt(g, i)) + ENDPOINT_HOOKS_AT;
      for (let h: u32 = 0; h < HOOKS; h++) {
        if (u32(load<u16>(hooks + (usize(h) << 1))) == slot) return true;
      }
    }
  }
  return false;
}

// @ts-ignore: decorator
@inline
function wordOf(table: usize, slot: u32): usize {
  return table + (usize(slot) << 2);
}
function releaseWord(at: usize): void {
  release(load<u32>(at));
  store<u32>(at, 0);
}
/** A slot that may be given anew, or why not. What it held goes. */
export function vacateSlot(slot: u32, field: u32): StageError {
  if (slot == 0 || slot >= POLICY_SLOTS_MAX) return refuse(StageError.FieldOutOfRange, field);
  if (slotInUse(slot)) return refuse(StageError.SlotInUse, slot);
  if (load<u32>(ROOT, ROOT_PART_SLOT) == slot) store<u32>(ROOT, 0, ROOT_PART_SLOT);
  setSlotState(slot, SlotState.Empty);
  releaseWord(wordOf(SLOT_BLOCKS, slot));
  releaseWord(wordOf(SLOT_COUNTERS, slot));
  releaseWord(wordOf(SLOT_SETS, slot));
  return StageError.None;
}

/** Opens a classifier: one at a time; another one's unfinished parts are dropped. */
export function stageClassifier(body: usize, length: u32): StageError {
  if (length != CLASSIFIER_RECORD_BYTES) return refuse(StageError.BadRecordLength, length);
  const slot = load<u32>(body, CLASSIFIER_SLOT);
  const bytes = load<u32>(body, CLASSIFIER_TOTAL);
  if (bytes < CLASSIFIER_HEADER_BYTES || bytes > CLASSIFIER_BYTES_MAX || (bytes & 15)) {
    return refuse(StageError.FieldOutOfRange, u32(CLASSIFIER_TOTAL));
  }
  const error = vacateSlot(slot, u32(CLASSIFIER_SLOT));
  if (error != StageError.None) return error;
  const unfinished = load<u32>(ROOT, ROOT_PART_SLOT);
  if (unfinished) releaseWord(wordOf(SLOT_BLOCKS, unfinished));
  store<u32>(ROOT, 0, ROOT_PART_SLOT);
  const block = allocate(bytes);
  if (!block) return refuse(StageError.ArenaFull, bytes);
  store<u32>(wordOf(SLOT_BLOCKS, slot), block);
  store<u32>(ROOT, slot, ROOT_PART_SLOT);
  store<u32>(ROOT, 0, ROOT_PART_NEXT);
  store<u32>(ROOT, bytes, ROOT_PART_BYTES);
  return StageError.None;
}
export function stagePart(body: usize, length: u32): StageError {
  if (length <= u32(PART_CODE)) return refuse(StageError.BadRecordLength, length);
  const slot = load<u32>(body, PART_SLOT);
  if (slot == 0 || slot != load<u32>(ROOT, ROOT_PART_SLOT)) {
    return refuse(StageError.FieldOutOfRange, u32(PART_SLOT));
  }
  const offset = load<u32>(body, PART_OFFSET);
  const total = load<u32>(ROOT, ROOT_PART_BYTES);
  const bytes = length - u32(PART_CODE);
  if (offset != load<u32>(ROOT, ROOT_PART_NEXT) || bytes > total - offset) {
    return refuse(StageError.FieldOutOfRange, u32(PART_OFFSET));
  }
  const block = blockOf(slot);
  memory.copy(block + offset, body + PART_CODE, bytes);
  store<u32>(ROOT, offset + bytes, ROOT_PART_NEXT);
  if (offset + bytes < total) return StageError.None;
  store<u32>(ROOT, 0, ROOT_PART_SLOT);
  const wrong = checkClassifier(block, total);
  if (wrong) {
    releaseWord(wordOf(SLOT_BLOCKS, slot));
    return refuse(StageError.BadClassifier, wrong);
  }
  setSlotState(slot, SlotState.Classifier);
  return StageError.None;
}

export function stageChain(body: usize, length: u32): StageError {
  if (length < u32(CHAIN_FIRST)) return refuse(StageError.BadRecordLength, length);
  const slot = load<u32>(body, CHAIN_SLOT);
  const count = load<u32>(body, CHAIN_COUNT);
  if (count > CHAIN_STEPS_MAX) return refuse(StageError.FieldOutOfRange, u32(CHAIN_COUNT));
  if (length != u32(CHAIN_FIRST) + count * 4) return refuse(StageError.BadRecordLength, length);
  for (let i: u32 = 0; i < count; i++) {
    const step = body + CHAIN_FIRST + (usize(i) << 2);
    const asked = u32(load<u16>(step));
    if (asked == slot || !isPolicy(asked)) return refuse(StageError.SlotNotAdmitted, asked);
    const onPass = u32(load<u16>(step, 2));
    if (onPass <= i || onPass > count) return refuse(StageError.BadChain, i);
  }
  const error = vacateSlot(slot, u32(CHAIN_SLOT));
  if (error != StageError.None) return error;
  const block = usize(allocate(u32(CHAIN_STEP) + count * 4));
  if (!block) return refuse(StageError.ArenaFull, count);
  store<u32>(block, count, CHAIN_STEPS);
  memory.copy(usize(block) + CHAIN_STEP, body + CHAIN_FIRST, usize(count) << 2);
  store<u32>(wordOf(SLOT_BLOCKS, slot), u32(block));
  setSlotState(slot, SlotState.Chain);
  return StageError.None;
}
/** Admitted, and no chain. */
function isPolicy(slot: u32): bool {
  if (slot == 0 || slot >= POLICY_SLOTS_MAX) return false;
  const state = slotState(slot);
  return state != SlotState.Empty && state != SlotState.Chain;
}
function isAdmittedSlot(slot: u32): bool {
  return slot != 0 && slot < POLICY_SLOTS_MAX && slotState(slot) != SlotState.Empty;
}

/** Hits by rule, from zero: `rules` + 1 counters, the last for what lies beyond. */
export function stageCounters(body: usize, length: u32): StageError {
  if (length != COUNTERS_BYTES) return refuse(StageError.BadRecordLength, length);
  const slot = load<u32>(body, COUNTERS_SLOT);
  const rules = load<u32>(body, COUNTERS_RULES);
  if (!isAdmittedSlot(slot)) return refuse(StageError.SlotNotAdmitted, slot);
  if (rules > RULES_MAX) return refuse(StageError.FieldOutOfRange, u32(COUNTERS_RULES));
  if (slotInUse(slot)) return refuse(StageError.SlotInUse, slot);
  const block = allocate(8 + (rules + 1) * 8);
  if (!block) return refuse(StageError.ArenaFull, rules);
  releaseWord(wordOf(SLOT_COUNTERS, slot));
  store<u32>(block, rules);
  store<u32>(wordOf(SLOT_COUNTERS, slot), block);
  return StageError.None;
}

/** What the set numbers of a user's module are in the tables. */
export function stageSlotSets(body: usize, length: u32): StageError {
  if (length < u32(SLOT_SETS_FIRST)) return refuse(StageError.BadRecordLength, length);
  const slot = load<u32>(body, SLOT_SETS_SLOT);
  const count = load<u32>(body, SLOT_SETS_COUNT);
  if (count > RULES_MAX || length != u32(SLOT_SETS_FIRST) + count * 2) {
    return refuse(StageError.BadRecordLength, length);
  }
  if (!isAdmittedSlot(slot)) return refuse(StageError.SlotNotAdmitted, slot);
  if (slotInUse(slot)) return refuse(StageError.SlotInUse, slot);
  const block = allocate(4 + count * 2);
  if (!block) return refuse(StageError.ArenaFull, count);
  store<u32>(block, count);
  memory.copy(block + 4, body + SLOT_SETS_FIRST, usize(count) << 1);
  releaseWord(wordOf(SLOT_SETS, slot));
  store<u32>(wordOf(SLOT_SETS, slot), block);
  return StageError.None;
}
