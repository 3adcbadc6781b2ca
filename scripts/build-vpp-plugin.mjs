// Builds the VPP plugin out of tree: npm run build:vpp [-- --if-possible]
//
//   VPP (VPP_PREFIX, else /usr, /usr/local) + build/native -> build/vpp/lib/vpp_plugins
//
// Needs an installed VPP with its headers, cmake, a C compiler and the native engine that
// `npm run build:native` makes. With --if-possible, what is missing is said in one line and the
// exit status is 0; without, it is 1. A build against another VPP starts from an empty directory.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const out = join(root, "build", "vpp");
const ifPossible = process.argv.includes("--if-possible");

function missing(what) {
  console.error(`build:vpp: ${ifPossible ? "skipped: " : ""}${what}`);
  process.exit(ifPossible ? 0 : 1);
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: "inherit" });
  if (error) missing(`cannot run ${command}: ${error.message}`);
  if (status !== 0) {
    console.error(`build:vpp: ${command} ${args[0]} failed with status ${status}`);
    process.exit(1);
  }
}

function has(command) {
  return !spawnSync(command, ["--version"], { stdio: "ignore" }).error;
}

/** The exports of host/vpp/install.ts: where VPP is stands there alone. */
async function install() {
  const { outputFiles } = await build({
    entryPoints: [join(root, "host/vpp/install.ts")], write: false, format: "esm",
    bundle: true, platform: "node", logLevel: "error",
  });
  const text = Buffer.from(outputFiles[0].contents).toString("base64");
  return import(`data:text/javascript;base64,${text}`);
}

const { findVpp, VPP_PREFIXES } = await install();
const prefix = findVpp();
if (!prefix) {
  const places = process.env.VPP_PREFIX ?? VPP_PREFIXES.join(", ");
  missing(`no VPP with headers found in ${places}; VPP_PREFIX names where one is installed`);
}
if (!has("cmake")) missing("cmake is not installed");
if (!has("cc")) missing("no C compiler (cc)");
if (!existsSync(join(root, "build", "native", "libmargay.a"))) {
  missing("the native engine is not built: npm run build:native");
}

// Another VPP, another ABI: nothing of the last build may be reused.
const stamp = join(out, "vpp-prefix");
if (existsSync(stamp) && readFileSync(stamp, "utf8") !== prefix) rmSync(out, { recursive: true });
mkdirSync(out, { recursive: true });
writeFileSync(stamp, prefix);

console.log(`build:vpp: against the VPP in ${prefix}`);
run("cmake", [
  "-S", join(root, "vpp-plugin"), "-B", out, "-Wno-dev",
  `-DCMAKE_PREFIX_PATH=${prefix}`,
  ...(has("ninja") && !existsSync(join(out, "Makefile")) ? ["-G", "Ninja"] : []),
]);
run("cmake", ["--build", out, "--parallel"]);
console.log("build:vpp: build/vpp/lib/vpp_plugins/margay_plugin.so");
