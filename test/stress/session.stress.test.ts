// The session protocol under fire: threads of the Node engine over one shared memory, small tables,
// replies and requests of one flow on different workers, endpoints replaced under traffic.
//
// STRESS_SECONDS sets how long (10 by default, minutes by hand), STRESS_SEED the seed. Two mutants
// of the compiled core show that the stress can fail.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { seedOf } from "../seed.ts";
import { withoutEpochs, withoutLocks } from "./mutants.ts";
import { race, type Outcome } from "./race.ts";

const seconds = Number(process.env["STRESS_SECONDS"] ?? 10);
const seed = seedOf("STRESS_SEED");
const core = new Uint8Array(readFileSync("build/margay.wasm"));

function print(what: string, outcome: Outcome): void {
  const sum = (field: "frames" | "packets" | "passed" | "established" | "aged"): number =>
    outcome.reports.reduce((total, report) => total + report[field], 0);
  const ended = outcome.violations.length ? outcome.violations[0] : "no violation";
  console.log(`stress, seed ${seed}: ${what}: ${sum("frames")} frames, ${sum("packets")} packets, `
    + `${sum("passed")} passed, ${sum("passed") - sum("established")} sessions opened, `
    + `${sum("aged")} aged, ${outcome.generations} generations, `
    + `${outcome.audits} audits: ${ended}`);
}

describe("session-stress: no lost, doubled or torn session in Node's worker threads", () => {
  it.each([2, 3])("%i threads", async (threads) => {
    const outcome = await race({ core, threads, seed, seconds: seconds / 2 });
    print(`${threads} threads`, outcome);
    expect(outcome.violations).toEqual([]);
    for (const report of outcome.reports) {
      expect(report.established).toBeGreaterThan(1000);
      expect(report.aged).toBeGreaterThan(100);
    }
    expect(outcome.generations).toBeGreaterThan(10);
    expect(outcome.audits).toBeGreaterThan(10);
  }, seconds * 1000 + 30_000);
});

describe("session-stress-mutants: the stress sees a broken protocol", () => {
  it.each([
    ["epochs that never move: records reused under a worker", withoutEpochs, /but left as/],
    ["locks that do not lock", withoutLocks, /entries for|both own|index twice|tag .*entry/],
  ] as const)("%s", async (what, break_, expected) => {
    const outcome = await race({ core: break_(core), oracle: core, threads: 2, seed, seconds: 40 });
    print(what, outcome);
    expect(outcome.violations.join("\n")).toMatch(expected);
  }, 90_000);
});
