#!/usr/bin/env node
// Runs a bench: node bench/run.mjs pipeline [its options]. Benches are TypeScript: bundled first.
import { build } from "esbuild";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [name = "pipeline", ...args] = process.argv.slice(2);
const source = `bench/${name}.ts`;
if (!existsSync(source) || !existsSync("build/margay.wasm")) {
  console.error(`bench: ${existsSync(source) ? "build/margay.wasm" : source} is not there`);
  process.exit(2);
}
const outfile = `build/bench/${name}.mjs`;
await build({
  entryPoints: [source], outfile, bundle: true, format: "esm", platform: "node", target: "node20",
  packages: "external", logLevel: "warning",
});
const { main } = await import(pathToFileURL(join(process.cwd(), outfile)).href);
await main(args);
