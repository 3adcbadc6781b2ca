#!/usr/bin/env node
// Prints docs/policytest.schema.json, which editors read, from host/testing/schema.ts.
import { mkdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const FILE = "docs/policytest.schema.json";

mkdirSync("build", { recursive: true });
await build({
  entryPoints: ["host/testing/schema.ts"], outfile: "build/schema.mjs", bundle: true,
  format: "esm", platform: "node", packages: "external", logLevel: "warning",
});
const { printSchema } = await import("../build/schema.mjs");
writeFileSync(FILE, printSchema());
console.log(`${FILE}: printed`);
