#!/usr/bin/env node
// `npm run stress [-- seconds]`: the session table under threads for minutes, Node's and native
// ones, and the deeper bounds of the exhaustive model.
import { spawnSync } from "node:child_process";

const seconds = process.argv[2] ?? "120";
if (!/^[1-9]\d*$/.test(seconds)) {
  console.error(`stress: "${seconds}": expected seconds, a whole number`);
  process.exit(2);
}
const { status } = spawnSync(
  "npx",
  ["--no-install", "vitest", "run", "test/stress", "test/native-survival.test.ts", "test/model"],
  {
    stdio: "inherit",
    env: {
      STRESS_SEED: "random", ...process.env,
      STRESS_SECONDS: seconds, MARGAY_STRESS_SECONDS: seconds, MODEL_DEEP: "1",
    },
  },
);
process.exit(status ?? 1);
