// Stage records of policy slots that are no modules, and of what goes with any slot: classifier
// blocks in parts, chains, counters by rule, the sets that a user's module names. Formats:
// assembly/formats.ts.
import {
  CHAIN_COUNT, CHAIN_FIRST, CHAIN_SLOT, CLASSIFIER_RECORD_BYTES, CLASSIFIER_SLOT, CLASSIFIER_TOTAL,
  COUNTERS_BYTES, COUNTERS_RULES, COUNTERS_SLOT, PART_CODE, PART_OFFSET, PART_SLOT, RecordKind,
  SLOT_SETS_COUNT, SLOT_SETS_FIRST, SLOT_SETS_SLOT,
} from "../../assembly/layout.ts";
import { putBytes, record } from "../dataplane/record.ts";

/** A part leaves the staging buffer room for other records. */
const PART_BYTES = 256 << 10;

export function classifierRecords(slot: number, block: Uint8Array): Uint8Array[] {
  const records = [record(RecordKind.Classifier, CLASSIFIER_RECORD_BYTES, (body) => {
    body.setUint32(CLASSIFIER_SLOT, slot, true);
    body.setUint32(CLASSIFIER_TOTAL, block.length, true);
  })];
  for (let at = 0; at < block.length; at += PART_BYTES) {
    const part = block.subarray(at, at + PART_BYTES);
    records.push(record(RecordKind.ClassifierPart, PART_CODE + part.length, (body) => {
      body.setUint32(PART_SLOT, slot, true);
      body.setUint32(PART_OFFSET, at, true);
      putBytes(body, PART_CODE, part);
    }));
  }
  return records;
}

export interface ChainStep {
  slot: number;
  /** Index of the step that a pass goes on at; the count of steps = none. */
  onPass: number;
}

export function chainRecord(slot: number, steps: readonly ChainStep[]): Uint8Array {
  return record(RecordKind.Chain, CHAIN_FIRST + steps.length * 4, (body) => {
    body.setUint32(CHAIN_SLOT, slot, true);
    body.setUint32(CHAIN_COUNT, steps.length, true);
    steps.forEach((step, i) => {
      body.setUint16(CHAIN_FIRST + i * 4, step.slot, true);
      body.setUint16(CHAIN_FIRST + i * 4 + 2, step.onPass, true);
    });
  });
}

/** Hits of rules 0 to `rules`; the last counts what is beyond. */
export function countersRecord(slot: number, rules: number): Uint8Array {
  return record(RecordKind.Counters, COUNTERS_BYTES, (body) => {
    body.setUint32(COUNTERS_SLOT, slot, true);
    body.setUint32(COUNTERS_RULES, rules, true);
  });
}

export function slotSetsRecord(slot: number, numbers: readonly number[]): Uint8Array {
  return record(RecordKind.SlotSets, SLOT_SETS_FIRST + numbers.length * 2, (body) => {
    body.setUint32(SLOT_SETS_SLOT, slot, true);
    body.setUint32(SLOT_SETS_COUNT, numbers.length, true);
    numbers.forEach((number, i) => body.setUint16(SLOT_SETS_FIRST + i * 2, number, true));
  });
}
