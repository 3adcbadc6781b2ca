#!/usr/bin/env node
// `npm run capture`: bundles and runs the maker of examples/capture/shop.pcapng, as root on Linux.
import { spawnSync } from "node:child_process";
import { build } from "esbuild";

await build({
  entryPoints: ["examples/capture/make.ts"],
  outdir: "build/capture",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  packages: "external",
  logLevel: "warning",
});
const { status } = spawnSync(process.execPath, ["build/capture/make.js"], { stdio: "inherit" });
process.exit(status ?? 1);
