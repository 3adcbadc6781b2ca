#!/usr/bin/env node
// `npm run policy:long [-- pairs]`, `npm run sessions:long [-- packets]` and
// `npm run fuzz:long [-- packets]`: the random suites at length. The first compares program and
// slow twin on a million pairs of state and packet; the second on sequences of a million packets;
// the third damages ten million packets, and a stream of control records for every hundred of them.
// Each takes a new seed; POLICY_SEED, SEQUENCE_SEED and FUZZ_SEED repeat a run.
import { spawnSync } from "node:child_process";

const KINDS = {
  policy: { suite: "test/policy/agree.test.ts", count: "1000000", of: "POLICY" },
  sessions: { suite: "test/sequence", count: "1000000", of: "SEQUENCE" },
  fuzz: { suite: "test/fuzz", count: "10000000", of: "FUZZ" },
};
const [kind, count = KINDS[kind]?.count] = process.argv.slice(2);
if (!KINDS[kind] || !/^[1-9]\d*$/.test(count)) {
  console.error("long: expected policy, sessions or fuzz, and a count, a whole number");
  process.exit(2);
}
const { suite, of } = KINDS[kind];
const env = { ...process.env };
env[of === "POLICY" ? "POLICY_PAIRS" : `${of}_PACKETS`] = count;
env[`${of}_SEED`] ??= "random";
if (kind === "fuzz") env.FUZZ_STREAMS = String(Math.max(10_000, Math.ceil(count / 100)));
const { status } = spawnSync("npx", ["--no-install", "vitest", "run", suite], {
  stdio: "inherit", env,
});
process.exit(status ?? 1);
