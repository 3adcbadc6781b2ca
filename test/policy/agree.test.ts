// The program against its slow twin on random nodes and packets: verdict, reason, and at every
// stage that was asked the policy and the rule that decided. POLICY_SEED repeats a run,
// POLICY_PAIRS lengthens it (npm run policy:long: a million).
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { seedOf } from "../seed.ts";
import { Agreement } from "./agree.ts";
import { generate } from "./generate.ts";
import { LEAST, LEAST_ALLOWED } from "./histogram.ts";

const seed = seedOf("POLICY_SEED");
const pairs = Number(process.env["POLICY_PAIRS"] ?? 20_000);
/** Of one state: a new one costs as much as hundreds. */
const PACKETS = pairs > 100_000 ? 100 : 50;

test("policy-twin-apart: the twin imports nothing of host/ but the model", () => {
  // tshark.ts is no twin: it hands captures to a program.
  const files = readdirSync("test/reference")
    .filter((name) => name.endsWith(".ts") && name !== "tshark.ts");
  for (const name of ["policy.ts", "conntrack.ts", "nat.ts", "maglev.ts"]) {
    expect(files).toContain(name);
  }
  for (const name of files) {
    const text = readFileSync(`test/reference/${name}`, "utf8");
    const targets = [...text.matchAll(/from "(\.[^"]+)"/g)].map(([, target]) => target!);
    for (const target of targets) {
      expect(target, name).toMatch(/^(\.\/\w|\.\.\/packets\.ts$|\.\.\/\.\.\/host\/model\/)/);
    }
  }
});

test("policy-twin: the program and the twin agree on every random pair, of every kind enough",
  async () => {
    const agreement = new Agreement();
    for (let i = 0; i < pairs / PACKETS; i++) {
      const report = await agreement.run(generate(seed + i, PACKETS));
      if (report) expect.fail(`POLICY_SEED=${seed} POLICY_PAIRS=${pairs}, ${report}`);
    }
    const { histogram } = agreement;
    console.log([`POLICY_SEED=${seed}`, ...histogram.lines()].join("\n"));
    const rule = `under ${100 * LEAST} %, or under ${100 * LEAST_ALLOWED} % that pass, or never`;
    expect(histogram.packets).toBe(pairs);
    expect(histogram.missing(), rule).toEqual([]);
  }, 3_600_000);
