#!/usr/bin/env node
// `npm test`: native parts where their tools are there, types, all suites, then the demands. Ends
// with one line that counts the tests. `npm test -- PATTERN` runs what matches and leaves the
// demands out.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";

const started = Date.now();
const patterns = process.argv.slice(2);

function run(command, args, env = {}) {
  const { status } = spawnSync(command, args, {
    stdio: "inherit", env: { ...process.env, ...env },
  });
  return status ?? 1;
}
function stop(what, status) {
  console.error(`npm test: ${what} failed`);
  process.exit(status);
}

if (!existsSync("build/margay.wasm") && run("node", ["scripts/build.mjs"])) stop("build", 1);
if (patterns.length === 0) {
  if (run("node", ["scripts/build-native.mjs", "--if-possible"])) stop("build:native", 1);
  if (run("node", ["scripts/build-vpp-plugin.mjs", "--if-possible"])) stop("build:vpp", 1);
  const tsc = run("npx", ["--no-install", "tsc", "-p", "."]);
  if (tsc) stop("tsc", tsc);
}
const results = "build/test-results.json";
const status = run("npx", [
  "--no-install", "vitest", "run", "--reporter=default", "--reporter=json",
  `--outputFile.json=${results}`, ...patterns,
]);
if (!existsSync(results)) stop("vitest", status || 1);
const report = JSON.parse(readFileSync(results, "utf8"));
const tests = report.testResults.flatMap((file) => file.assertionResults);
const count = (name) => tests.filter((test) => test.status === name).length;
const skipped = tests.length - count("passed") - count("failed");
let failed = count("failed") + (status && count("failed") === 0 ? 1 : 0);

if (patterns.length === 0) {
  const { parseDemands, carries } = await demandsModule();
  for (const demand of parseDemands(readFileSync("test/demands.txt", "utf8"))) {
    const carriers = tests.filter((test) => carries(test.fullName, demand.id));
    if (carriers.some((test) => test.status === "passed")) continue;
    if (demand.needs && carriers.length > 0 && carriers.every((t) => t.status !== "failed")) {
      const folder = demand.needs === "conformance";
      const missing = folder ? "conformance folder" : `${demand.needs} engine`;
      console.log(`demand ${demand.id}: skipped, there is no ${missing} here`);
      continue;
    }
    console.error(`demand ${demand.id}: no passing test carries it (${demand.sentence})`);
    failed++;
  }
}
console.log(`npm test: ${((Date.now() - started) / 1000).toFixed(0)} s`);
console.log(`${count("passed")} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed ? 1 : status);

async function demandsModule() {
  const { build } = await import("esbuild");
  await build({
    entryPoints: ["test/demands.ts"], outfile: "build/demands.mjs", format: "esm",
    platform: "node", logLevel: "warning",
  });
  return import("../build/demands.mjs");
}
