#!/usr/bin/env node
// `npm start`: the capture of the shop through its program, on every engine that is here. Builds
// nothing: what isn't built is named.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

const COMMAND = "dist/margay.js";
const missing = [COMMAND, "build/margay.wasm"].filter((file) => !existsSync(file));
if (missing.length > 0) {
  console.error(`margay: ${missing.join(" and ")} not built: npm run build`);
  process.exit(2);
}
const { status } = spawnSync(process.execPath, [
  COMMAND, "replay", "examples/capture/shop.pcapng", "--program", "examples/shop.json",
  "--out", "build/shop.out.pcapng", ...process.argv.slice(2),
], { stdio: "inherit" });
process.exit(status ?? 1);
