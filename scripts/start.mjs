#!/usr/bin/env node
// `npm start`: the shop of examples/shop: its manifests checked, its policies' tests, and the real
// capture of its traffic through its program, on every engine that is here. Builds nothing: what
// isn't built is named.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

const COMMAND = "dist/margay.js";
const SHOP = "examples/shop";
const STEPS = [
  ["check", SHOP],
  ["test", SHOP],
  ["replay", "examples/capture/shop.pcapng", "--state", SHOP, "--out", "build/shop.out.pcapng",
    ...process.argv.slice(2)],
];

const missing = [COMMAND, "build/margay.wasm"].filter((file) => !existsSync(file));
if (missing.length > 0) {
  console.error(`margay: ${missing.join(" and ")} not built: npm run build`);
  process.exit(2);
}
let worst = 0;
for (const step of STEPS) {
  console.log(`\n$ npx margay ${step.join(" ")}`);
  const { status } = spawnSync(process.execPath, [COMMAND, ...step], { stdio: "inherit" });
  worst = Math.max(worst, status ?? 1);
}
process.exit(worst);
