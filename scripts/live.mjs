#!/usr/bin/env node
// `npm run live`: bundles and runs the live sample (examples/vpp-live), as root on Linux with VPP.
import { spawnSync } from "node:child_process";
import { build } from "esbuild";

await build({
  entryPoints: ["examples/vpp-live/run.ts"],
  outdir: "build/live",
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  packages: "external",
  logLevel: "warning",
});
const { status } = spawnSync(process.execPath, ["build/live/run.js"], { stdio: "inherit" });
process.exit(status ?? 1);
