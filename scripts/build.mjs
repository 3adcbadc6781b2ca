#!/usr/bin/env node
// Builds what needs no compiler but npm's: the packet program (build/margay.wasm and its .wat) and
// the command (dist/margay.js). Runs at `npm ci` (prepare), says what is missing under --omit=dev.
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { createHash } from "node:crypto";

function missing(names) {
  return names.filter((name) => {
    try {
      import.meta.resolve(name);
      return false;
    } catch {
      return true;
    }
  });
}

const absent = missing(["assemblyscript", "esbuild"]);
if (absent.length > 0) {
  console.error(
    `margay: not built: ${absent.join(" and ")} missing (installed with --omit=dev?).\n` +
      "margay: build/margay.wasm and dist/margay.js are made by: npm ci && npm run build",
  );
  process.exit(process.env.npm_lifecycle_event === "prepare" ? 0 : 1);
}

/** Compiles the core; `more` are asc options that override asconfig.json's. */
export async function buildCore(out, more = []) {
  const { default: asc } = await import("assemblyscript/asc");
  const { error, stderr } = await asc.main([
    "--config", "asconfig.json", "--target", "release", "--outFile", out, ...more,
  ]);
  if (error) {
    console.error(stderr.toString());
    throw error;
  }
}

async function buildCommand() {
  const { build } = await import("esbuild");
  rmSync("dist", { recursive: true, force: true });
  await build({
    entryPoints: { margay: "host/cli.ts" },
    outdir: "dist",
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    logLevel: "warning",
    banner: { js: "#!/usr/bin/env node" },
  });
}

mkdirSync("build", { recursive: true });
await buildCore("build/margay.wasm");
await buildCommand();
const hash = createHash("sha256").update(readFileSync("build/margay.wasm")).digest("hex");
console.log(`margay: built build/margay.wasm (core ${hash.slice(0, 7)}) and dist/margay.js`);
