#!/usr/bin/env node
// Builds what needs no compiler but npm's: the packet program (build/margay.wasm and its .wat), the
// command (dist/margay.js) and margay/testing (dist/testing.js). Runs at `npm ci` (prepare), says
// what is missing under --omit=dev. With --host the packet program stays as it is.
import { copyFileSync, mkdirSync, readFileSync, rmSync } from "node:fs";
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

/** Packages of many small files, which start faster inside the bundle. */
const BUNDLED = ["yaml", "zod"];
/** yaml is CommonJS, and asks for node:process. */
const BANNER = `#!/usr/bin/env node
import { createRequire as createRequireHere } from "node:module";
const require = createRequireHere(import.meta.url);`;

function externals() {
  const { dependencies, peerDependencies } = JSON.parse(readFileSync("package.json", "utf8"));
  return Object.keys({ ...dependencies, ...peerDependencies, assemblyscript: "", esbuild: "" })
    .filter((name) => !BUNDLED.includes(name)).flatMap((name) => [name, `${name}/*`]);
}

async function buildCommand() {
  const { build } = await import("esbuild");
  rmSync("dist", { recursive: true, force: true });
  await build({
    entryPoints: {
      margay: "host/cli.ts", testing: "host/testing/index.ts",
      emitterthread: "host/compile/emitterthread.ts",
    },
    outdir: "dist",
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    external: externals(),
    logLevel: "warning",
    banner: { js: BANNER },
  });
  copyFileSync("host/testing/public.ts", "dist/testing.d.ts");
}

mkdirSync("build", { recursive: true });
if (!process.argv.includes("--host")) await buildCore("build/margay.wasm");
await buildCommand();
const hash = createHash("sha256").update(readFileSync("build/margay.wasm")).digest("hex");
console.log(`margay: built build/margay.wasm (core ${hash.slice(0, 7)}) and dist/margay.js`);
