// The session protocol, searched exhaustively; and mutants of it, each of which the search must
// catch: a model that cannot fail proves nothing.
//
// Bounds: so many operations (packets and ages, freely chosen) for each of two workers, over two
// buckets of two ways and one or two records, so that reuse is the normal case. MODEL_DEEP=1 adds
// the bounds that take minutes.
import { describe, expect, it } from "vitest";
import { check } from "./checker.ts";
import type { Bounds, Mutant } from "./session-machine.ts";
import { SessionProtocol } from "./session-protocol.ts";

const usual: Bounds[] = [
  { records: 2, ways: 2, operations: [2, 2] },
  { records: 2, ways: 1, operations: [2, 2], seeded: true },
  { records: 1, ways: 2, operations: [3, 2], seeded: true },
  { records: 2, ways: 2, operations: [3, 1], seeded: true },
];
const trapping: Bounds[] = [
  { records: 1, ways: 2, operations: [2, 2], seeded: true, traps: 1 },
  { records: 2, ways: 2, operations: [3, 1], seeded: true, traps: 1 },
  { records: 2, ways: 2, operations: [1, 2], seeded: true, traps: 1 },
];
const deep: Bounds[] = process.env["MODEL_DEEP"] !== "1" ? [] : [
  { records: 2, ways: 2, operations: [4, 1], seeded: true },
  { records: 2, ways: 2, operations: [3, 2], seeded: true },
  { records: 1, ways: 2, operations: [3, 3], seeded: true },
  { records: 3, ways: 2, operations: [2, 2], traps: 1 },
  { records: 2, ways: 2, operations: [2, 2], seeded: true, traps: 2 },
];
const STATES_MAX = 1 << 27;

const text = (b: Bounds): string =>
  `${b.records} records, ${b.ways} ways, ${b.operations.join(" + ")} operations`
  + (b.seeded ? ", one session at the start" : "") + (b.traps ? `, ${b.traps} trap each` : "");

function search(bounds: Bounds): void {
  const started = performance.now();
  const found = check(new SessionProtocol(bounds), STATES_MAX);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`model: ${text(bounds)}: ${found.states} states, ${found.transitions} steps, `
    + `${found.finals} ends, depth ${found.deepest}, ${seconds} s`);
  expect(found.trace.join("\n")).toBe("");
  expect(found.violation).toBeUndefined();
  expect(found.finals).toBeGreaterThan(100);
}

describe("session-model: no interleaving loses, doubles or tears a session, or deadlocks", () => {
  const all = [...usual, ...deep].map((b) => [text(b), b] as const);
  it.each(all)("%s", (_, b) => search(b), 600_000);
});

describe("session-model-recover: nor does a trap with the journal open", () => {
  const all = trapping.map((b) => [text(b), b] as const);
  it.each(all)("%s", (_, b) => search(b), 600_000);
});

const base: Bounds = { records: 2, ways: 2, operations: [3, 2], seeded: true };
const trap: Bounds = { records: 2, ways: 2, operations: [2, 2], seeded: true, traps: 1 };
const mutants: [Mutant, Bounds, RegExp][] = [
  ["reuse-without-quiescence", base, /^torn/],
  ["odd-counts-as-quiescent", base, /^torn/],
  ["straight-to-free", base, /^torn/],
  ["no-second-look-up", base, /^doubled/],
  ["locks-not-ascending", base, /^deadlock/],
  ["no-locks", base, /dead record|lost|doubled/],
  ["published-before-identity", base, /identity is not written/],
  ["identity-half-written", base, /^torn/],
  ["end-without-claim", base, /double free/],
  ["end-clears-one-entry", base, /dead record/],
  ["look-up-takes-ending", base, /^misled/],
  ["recover-keeps-locks", trap, /left held|deadlock/],
  ["recover-leaves-tags", trap, /is lost: its tag/],
  ["recover-forgets-record", trap, /neither live nor listed/],
  ["recover-without-claim", trap, /double free/],
  ["recover-frees-at-once", trap, /^torn/],
];

describe("session-model-mutants: the search catches each rule when it is broken", () => {
  it.each(mutants)("%s", (mutant, bounds, expected) => {
    const found = check(new SessionProtocol({ ...bounds, mutant }), STATES_MAX);
    expect(found.violation).toMatch(expected);
    expect(found.trace.length).toBeGreaterThan(10);
  }, 120_000);
});
