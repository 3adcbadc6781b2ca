#!/usr/bin/env node
// `npm run vpp:record`: bundles and runs the recorder of test/host/vpp/exchange.txt.
import { spawnSync } from "node:child_process";
import { build } from "esbuild";

await build({
  entryPoints: ["test/host/vpp/record.ts"],
  outfile: "build/vpp-record.mjs",
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  logLevel: "warning",
});
const { status } = spawnSync(process.execPath, ["build/vpp-record.mjs"], { stdio: "inherit" });
process.exit(status ?? 1);
