// Chains, and what goes with any policy slot: a chain takes its steps in order, a pass skips to a
// later one; hits are counted by rule, once; what a generation names is not given anew.
import binaryen from "binaryen";
import { expect, test } from "vitest";
import { Hook, Reason, Stage } from "../../assembly/layout.ts";
import { ABI_SECTION, ABI_USER } from "../../host/compile/policy.ts";
import {
  chainRecord, classifierRecords, countersRecord, slotSetsRecord, type ChainStep,
} from "../../host/compile/slotrecord.ts";
import type { PolicyModule } from "../../host/dataplane/dataplane.ts";
import { concat } from "../../host/dataplane/record.ts";
import { packet, type Spec } from "../packets.ts";
import { blockOf, clock, FAR, Pod, refusal, RULES } from "../pod.ts";

/** A user's module that always answers the same; "trap" traps. */
function answering(slot: number, answer: number | "trap"): PolicyModule {
  const body = answer === "trap" ? "(unreachable)" : `(i32.const ${answer})`;
  const module = binaryen.parseText(`(module (func $evaluate (export "evaluate")
    (param i32 i32 i64 i64 i64 i64 i32 i32 i32 i32) (result i32) ${body}))`);
  try {
    module.addCustomSection(ABI_SECTION, new TextEncoder().encode(ABI_USER));
    return { slot, kind: "user", wasm: module.emitBinary() };
  } finally {
    module.dispose();
  }
}
const NONE = 1, ALLOW = 2, DENY = 3, PASS = 4, TRAP = 5, CHAIN = 9;
const MODULES = [
  answering(NONE, 0), answering(ALLOW, 1), answering(DENY, 2), answering(PASS, 3),
  answering(TRAP, "trap"),
];
const steps = (...list: [number, number][]): ChainStep[] =>
  list.map(([slot, onPass]) => ({ slot, onPass }));

test.each<[string, ChainStep[], Reason, number]>([
  ["the first that says something", steps([NONE, 1], [ALLOW, 2], [DENY, 3]), Reason.Allowed, ALLOW],
  ["a deny in front", steps([NONE, 1], [DENY, 2], [ALLOW, 3]), Reason.PolicyDenied, DENY],
  ["a pass skips", steps([PASS, 2], [DENY, 2], [ALLOW, 3]), Reason.Allowed, ALLOW],
  ["a pass goes on", steps([PASS, 1], [DENY, 2], [ALLOW, 3]), Reason.PolicyDenied, DENY],
  ["a pass to the end is no match", steps([PASS, 2], [ALLOW, 2]), Reason.PolicyDenied, PASS],
  ["no match to the end", steps([NONE, 1], [NONE, 2]), Reason.PolicyDenied, NONE],
  ["no steps", [], Reason.PolicyDenied, CHAIN],
  ["a step that traps denies", steps([TRAP, 1], [ALLOW, 2]), Reason.PolicyTrapped, TRAP],
  ["behind an answer nobody is asked", steps([ALLOW, 1], [TRAP, 2]), Reason.Allowed, ALLOW],
])("chain-steps: %s", (_, chain, reason, decided) => {
  const pod = new Pod();
  pod.push(CHAIN, [chainRecord(CHAIN, chain)], MODULES);
  const result = pod.send();
  expect(result).toMatchObject({ reason, policySlot: decided });
  expect(result.stages).toEqual([{ stage: Stage.Egress, policySlot: decided, rule: 0 }]);
});

test("chain-steps: where no match goes on, the end of a chain goes on", () => {
  for (const chain of [steps([NONE, 1]), steps([PASS, 1])]) {
    const pod = new Pod();
    pod.push(CHAIN, [chainRecord(CHAIN, chain)], MODULES, Hook.PreDnat);
    expect(pod.send()).toMatchObject({ reason: Reason.Allowed, policySlot: 0 });
  }
});

test.each<[string, string, (pod: Pod) => Uint8Array]>([
  ["a step that is not admitted", "slot-not-admitted", () => chainRecord(8, steps([77, 1]))],
  ["slot 0 as a step", "slot-not-admitted", () => chainRecord(8, steps([0, 1]))],
  ["a step beyond the slots", "slot-not-admitted", () => chainRecord(8, steps([4096, 1]))],
  ["a chain of a chain", "slot-not-admitted", () => chainRecord(8, steps([CHAIN, 1]))],
  ["a chain of itself", "slot-not-admitted", () => chainRecord(ALLOW, steps([ALLOW, 1]))],
  ["a pass to itself", "bad-chain", () => chainRecord(8, steps([NONE, 1], [ALLOW, 1]))],
  ["a pass back", "bad-chain", () => chainRecord(8, steps([NONE, 1], [ALLOW, 0]))],
  ["a pass beyond the end", "bad-chain", () => chainRecord(8, steps([NONE, 2]))],
  ["too many steps", "field-out-of-range", () =>
    chainRecord(8, Array.from({ length: 1025 }, (_, i) => ({ slot: NONE, onPass: i + 1 })))],
  ["slot 0", "field-out-of-range", () => chainRecord(0, steps([NONE, 1]))],
  ["counters of an empty slot", "slot-not-admitted", () => countersRecord(77, 3)],
  ["too many counters", "field-out-of-range", () => countersRecord(ALLOW + 4, 65_536)],
])("stage-refusals: slots: %s", (_, reason, recordOf) => {
  const pod = new Pod();
  const more = answering(ALLOW + 4, 1);
  pod.push(CHAIN, [chainRecord(CHAIN, steps([NONE, 1]))], [...MODULES, more]);
  expect(refusal(() => pod.dataplane.stage(recordOf(pod)))).toBe(reason);
});

test("slot-in-use: what a generation names, itself or by a chain, is not given anew", async () => {
  const block = await blockOf(RULES);
  const pod = new Pod();
  pod.push(CHAIN, [chainRecord(CHAIN, steps([NONE, 1], [ALLOW, 2]))], MODULES);
  const anew = (slot: number): [string, () => void][] => [
    ["module", () => pod.push(slot, [], [answering(slot, 2)])],
    ["classifier", () => pod.dataplane.stage(concat(classifierRecords(slot, block)))],
    ["chain", () => pod.dataplane.stage(chainRecord(slot, steps([DENY, 1])))],
    ["counters", () => pod.dataplane.stage(countersRecord(slot, 1))],
    ["sets", () => pod.dataplane.stage(slotSetsRecord(slot, [1]))],
  ];
  for (const slot of [CHAIN, NONE, ALLOW]) {
    for (const [what, stage] of anew(slot)) {
      expect([what, refusal(stage)]).toEqual([what, "slot-in-use"]);
    }
  }
  expect(pod.send()).toMatchObject({ reason: Reason.Allowed, policySlot: ALLOW });
  // Three generations on, its own is still in the ring; the fourth takes its place.
  for (let i = 0; i < 3; i++) pod.push(DENY);
  expect(refusal(() => pod.dataplane.stage(countersRecord(CHAIN, 1)))).toBe("slot-in-use");
  pod.push(DENY);
  for (const [what, stage] of anew(CHAIN).slice(1)) {
    expect([what, refusal(stage)]).toEqual([what, "accepted"]);
  }
});

// ---- Counters -----------------------------------------------------------------------------------

test("rule-hits: the deciding rule is counted once, though its frame is run twice", async () => {
  const block = await blockOf(RULES);
  const pod = new Pod();
  const counted = [
    ...classifierRecords(7, block), countersRecord(7, RULES.length), chainRecord(CHAIN,
      steps([7, 1], [TRAP, 2])),
  ];
  pod.push(CHAIN, counted, MODULES);
  const frame = ([
    { port: 22, sourcePort: 1 }, { port: 8080, sourcePort: 2 }, // a
    { protocol: "icmp", sourcePort: 3 }, // f
    { protocol: "udp", sourcePort: 53 }, // g, a pass: the next step traps
    { port: 22, sourcePort: 1 }, // a, once more
  ] as Partial<Spec>[]).map((more) =>
    ({ interface: 1, bytes: packet({ from: "10.0.0.1", to: FAR, ...more }) }));
  const results = pod.dataplane.process(0, frame, clock);
  expect(pod.dataplane.traps().map((each) => each.policySlot)).toEqual([TRAP]);
  const hits = pod.dataplane.ruleHits!(7).map(Number);
  const expected = RULES.map(() => 0).concat(0);
  for (const { stages } of results) {
    for (const each of stages ?? []) if (each.policySlot === 7) expected[each.rule]! += 1;
  }
  expect(hits).toEqual(expected);
  expect(hits[0]).toBe(3);
});
