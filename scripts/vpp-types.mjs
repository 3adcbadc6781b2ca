#!/usr/bin/env node
// `npm run vpp:types -- [-o file.d.ts] [directory...]`: bundles and runs the printer of the
// declarations of an installed VPP's messages (docs/vpp-api.md).
import { spawnSync } from "node:child_process";
import { build } from "esbuild";

await build({
  entryPoints: ["host/vpp/api/typescommand.ts"],
  outfile: "build/vpp-types.mjs",
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  logLevel: "warning",
});
const { status } = spawnSync(
  process.execPath, ["build/vpp-types.mjs", ...process.argv.slice(2)], { stdio: "inherit" },
);
process.exit(status ?? 1);
