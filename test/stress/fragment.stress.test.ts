// The fragment table under fire: threads of the Node engine note and follow at once in a table of
// 32 entries. STRESS_SECONDS sets how long (10 by default: a third of it here), STRESS_SEED the
// seed.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { seedOf } from "../seed.ts";
import { raceFragments } from "./fragmentrace.ts";

const seconds = Number(process.env["STRESS_SECONDS"] ?? 10) / 3;
const seed = seedOf("STRESS_SEED");

test.each([2, 3])("fragment-stress: %i threads, none is carried by another's entry", async (
  threads,
) => {
  const core = new Uint8Array(readFileSync("build/margay.wasm"));
  const reports = await raceFragments(core, threads, seconds * 500, seed);
  const sum = (field: "frames" | "followed" | "unknown"): number =>
    reports.reduce((total, report) => total + report[field], 0);
  console.log(`fragments, seed ${seed}: ${threads} threads: ${sum("frames")} frames, ` +
    `${sum("followed")} followed, ${sum("unknown")} unknown`);
  expect(reports.flatMap((report) => report.violations)).toEqual([]);
  for (const report of reports) {
    expect(report.followed).toBeGreaterThan(1000);
    expect(report.unknown).toBeGreaterThan(1000);
  }
}, seconds * 1000 + 60_000);
