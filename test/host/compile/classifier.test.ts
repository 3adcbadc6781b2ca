// Classifier blocks, read by a slow interpreter of the format, against rules read one by one; and
// the cutting of policies that one block can't say.
import { describe, expect, test } from "vitest";
import { CLASSIFIER_RULES_MAX } from "../../../assembly/layout.ts";
import { BlockFull } from "../../../host/compile/block.ts";
import {
  buildClassifier, CLASSIFIER_BYTES_MAX, fitsClassifier,
} from "../../../host/compile/classifier.ts";
import { cut, rulesOf } from "../../../host/compile/cut.ts";
import { matchOf, netsId } from "../../../host/compile/match.ts";
import type { ProgramRule } from "../../../host/model/program.ts";
import { interpret } from "./interpret.ts";
import { Numbered } from "./numbered.ts";
import { decide, Pool, random, type Decision } from "./random.ts";

const ROUNDS = 40, PACKETS = 50;

describe("classifiers", () => {
  test("policy-block: random rules of every field decide as rules read one by one", () => {
    const seed = 4_000;
    const seen = new Map<string, number>();
    let verified = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const pool = new Pool(random(seed + round));
      const policy = pool.policy(1 + pool.below(300));
      // What only straight-line code can say has a test below.
      policy.rules = policy.rules.map((rule) =>
        fitsClassifier(matchOf(rule, 0, netsId)) ? rule : { name: rule.name, action: "log" });
      const sets = new Numbered();
      const block = buildClassifier(policy, sets);
      for (let i = 0; i < PACKETS; i++) {
        const q = pool.question();
        const expected = decide(policy.rules, q, pool);
        const rule = policy.rules[expected.rule];
        const what = `seed ${seed + round}, packet ${i}: expected ${JSON.stringify(rule ?? "")}`;
        expect(interpret(block, q, sets.classes(q, pool)), what).toEqual(expected);
        seen.set(expected.action, (seen.get(expected.action) ?? 0) + 1);
        if (rule?.source && rule.sourceSets) verified++;
      }
    }
    for (const action of ["allow", "deny", "pass"]) {
      expect(seen.get(action) ?? 0, action).toBeGreaterThan(25);
    }
    expect(verified, "packets decided by a list and a set").toBeGreaterThan(2);
  });

  test("rules that vectors can't say are known, and no others", () => {
    const fits = (rule: Partial<ProgramRule>): boolean =>
      fitsClassifier(matchOf({ action: "allow", ...rule }, 0, netsId));
    expect(fits({ destinationNamedPorts: ["p"], notDestinationPorts: [80] })).toBe(false);
    expect(fits({ sourceNamedPorts: ["p"], notSourcePorts: [80] })).toBe(false);
    expect(fits({ protocol: "tcp", sourceNamedPorts: ["p"], destinationNamedPorts: ["p"] }))
      .toBe(false);
    expect(fits({ icmp: { type: 0 } })).toBe(false);
    expect(fits({ notIcmp: { type: 0 } })).toBe(false);
    expect(fits({ protocol: "icmp", notIcmp: { type: 0 } })).toBe(false);
    expect(fits({ protocol: "icmp", ipVersion: 4, notIcmp: { type: 0 } })).toBe(true);
    expect(fits({ protocol: "icmp", icmp: { type: 0 } })).toBe(true);
    expect(fits({ icmp: { type: 8 } })).toBe(true);
    expect(fits({ destinationNamedPorts: ["p"], destinationPorts: [80] })).toBe(true);
  });

  test("10,000 rules fit half the budget; 16,385 are refused", () => {
    const rules = Array.from({ length: 10_000 }, (_, i): ProgramRule => ({
      name: `r${i}`, action: "allow", protocol: "tcp", destinationPorts: [1 + (i % 60_000)],
      source: [`10.${i >> 8}.${i & 255}.0/24`],
    }));
    expect(buildClassifier({ name: "p", rules }, new Numbered()).length)
      .toBeLessThan(CLASSIFIER_BYTES_MAX / 2);
    const more = Array.from({ length: CLASSIFIER_RULES_MAX + 1 }, () => rules[0]!);
    expect(() => buildClassifier({ name: "p", rules: more }, new Numbered()))
      .toThrow("policy p: 16385 rules; at most 16384");
  });

  test("a block beyond its budget says so", () => {
    // Ranges that all reach to the end: each adds to all before it.
    const rules = Array.from({ length: 12_000 }, (_, i): ProgramRule => ({
      name: `r${i}`, action: "allow", protocol: "tcp", destinationPorts: [`${i + 1}-65535`],
    }));
    expect(() => buildClassifier({ name: "p", rules }, new Numbered())).toThrow(BlockFull);
  });
});

describe("cutting", () => {
  /** Runs segments as a chain of slots does: no match, the next; a pass, its target. */
  function run(
    rules: ProgramRule[], kinds: string[], most: number, hit: (rule: number) => boolean,
  ): Decision {
    const segments = cut(rules, (i) => kinds[i]!, () => most);
    segments.forEach((segment, i) => {
      expect(segment.from).toBe(i === 0 ? 0 : segments[i - 1]!.to);
      expect(segment.to - segment.from).toBeLessThanOrEqual(most);
      expect(new Set(kinds.slice(segment.from, segment.to)).size).toBe(1);
    });
    for (let step = 0; step < segments.length;) {
      const segment = segments[step]!;
      const own = rulesOf(rules, segment);
      const end = first(own, (i) => hit(segment.from + i));
      const rule = segment.from + end.rule;
      if (end.action === "none") {
        step++;
      } else if (end.action !== "pass") {
        return { action: end.action, rule };
      } else if (segment.target === undefined) {
        return { action: "pass", rule };
      } else {
        step = segments.findIndex(({ from }) => from === segment.target);
        expect(step, "a pass goes on where a segment begins").toBeGreaterThan(0);
      }
    }
    return { action: "none", rule: rules.length };
  }
  function first(rules: ProgramRule[], hit: (rule: number) => boolean): Decision {
    for (let i = 0; i < rules.length; i++) {
      const { action, next } = rules[i]!;
      if (action === "log" || !hit(i)) continue;
      if (action !== "pass" || next === undefined) return { action, rule: i };
      i = next - 1;
    }
    return { action: "none", rule: rules.length };
  }

  test("policy-cut: segments decide as the whole, wherever they are cut", () => {
    const below = random(7);
    for (let round = 0; round < 800; round++) {
      const count = 1 + below(24);
      const wild = below(3) === 0;
      const rules = Array.from({ length: count }, (_, i): ProgramRule => {
        const action = (["allow", "deny", "pass", "pass", "log"] as const)[below(5)]!;
        const rule: ProgramRule = { name: `r${i}`, action };
        const next = wild ? i + 1 + below(count) : (Math.floor(i / 5) + 1) * 5;
        if (action === "pass" && next < count && below(4) > 0) rule.next = next;
        return rule;
      });
      const kinds = rules.map(() => (below(6) === 0 ? "code" : "block"));
      const most = 1 + below(12);
      for (let packet = 0; packet < 8; packet++) {
        const hits = rules.map(() => below(3) === 0);
        const whole = first(rules, (i) => hits[i]!);
        const parts = run(rules, kinds, most, (i) => hits[i]!);
        expect(parts, JSON.stringify({ rules, kinds, most, hits })).toEqual(whole);
      }
    }
  });

  test("tiers stay whole while they may", () => {
    const rules = Array.from({ length: 12 }, (_, i): ProgramRule =>
      i % 4 === 3 && i < 8 ? { name: "end", action: "pass", next: i + 1 }
        : { name: `r${i}`, action: "allow" });
    expect(cut(rules, () => "block", () => 12)).toHaveLength(1);
    expect(cut(rules, () => "block", () => 8).map(({ from, to, target }) => [from, to, target]))
      .toEqual([[0, 8, 8], [8, 12, undefined]]);
  });
});
