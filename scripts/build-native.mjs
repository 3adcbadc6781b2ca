// Builds the native engine: Wasmtime's C API, the dataplane in C, the Node addon.
//
//   native/Cargo.toml ──cargo──► build/native/wasmtime/{include,lib/libwasmtime.a}   once, minutes
//   native/*.c        ──cc─────► build/native/libmargay.a                            for any host
//   native/*.cc       ──c++────► build/native/margay.node                            for Node
//
//   node scripts/build-native.mjs                 says what it needs, shows progress, incremental
//   node scripts/build-native.mjs --if-possible   exit 0 with one line where a tool is missing
//
// WASMTIME_C_API names an unpacked release of Wasmtime's C API (include/ and lib/libwasmtime.a) to
// take instead of building one: then neither cargo nor cmake is needed. CC, CXX: the compilers.

import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const native = join(root, "native");
const out = join(root, "build/native");
const release = process.env.WASMTIME_C_API;
const ifPossible = process.argv.includes("--if-possible");
const started = Date.now();

const say = (line) => console.log(`native: ${line}`);
const shown = (path) => relative(root, path);
function stop(line) {
  console.error(`native: ${line}`);
  process.exit(1);
}

// ---- Tools ------------------------------------------------------------------------------------

function versionOf(command) {
  const result = spawnSync(command, ["--version"], { encoding: "utf8" });
  return result.status === 0 ? result.stdout.split("\n")[0].trim() : undefined;
}

/** The first of the commands that runs. */
function find(...commands) {
  for (const command of commands.filter(Boolean)) {
    const version = versionOf(command);
    if (version) return { command, version };
  }
  return undefined;
}

function tools() {
  const wanted = {
    cargo: release ? undefined : [process.env.CARGO, "cargo"],
    cmake: release ? undefined : ["cmake"], // wasmtime-c-api-impl installs its headers with it
    cc: [process.env.CC, "cc", "gcc", "clang"],
    "c++": [process.env.CXX, "c++", "g++", "clang++"],
    ar: [process.env.AR, "ar"],
  };
  const found = {}, missing = [];
  for (const [name, commands] of Object.entries(wanted)) {
    if (!commands) continue;
    found[name] = find(...commands);
    if (!found[name]) missing.push(name);
  }
  if (process.platform !== "linux") missing.push("Linux");
  if (missing.length && ifPossible) {
    say(`skipped (no ${missing.join(", no ")})`);
    process.exit(0);
  }
  for (const [name, tool] of Object.entries(found)) {
    if (tool) say(`${name}: ${tool.version}`);
  }
  if (missing.length) {
    stop(`needs ${missing.join(", ")}: Rust and cargo from https://rustup.rs, the others from the `
      + "system's packages (Debian: g++ cmake); or set WASMTIME_C_API to an unpacked release of "
      + "Wasmtime's C API, then cargo and cmake aren't needed");
  }
  return found;
}

// ---- Wasmtime ---------------------------------------------------------------------------------

/** Builds the C API; cargo itself shows progress. Answers where headers and library are. */
function buildWasmtime(cargo) {
  say("Wasmtime's C API by cargo (the first build takes minutes)");
  const result = spawnSync(cargo.command, [
    "build", "--release", "--locked", "--manifest-path", join(native, "Cargo.toml"),
    "--target-dir", join(out, "cargo"), "--message-format", "json-render-diagnostics",
  ], { encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "inherit"] });
  if (result.status !== 0) stop("cargo build failed (native/Cargo.toml)");
  let include, library;
  for (const line of result.stdout.split("\n").filter((text) => text.startsWith("{"))) {
    const message = JSON.parse(line);
    const made = message.reason === "build-script-executed" ? message.out_dir : undefined;
    if (made && /wasmtime-c-api-impl/.test(message.package_id)) include = join(made, "include");
    if (message.reason === "compiler-artifact" && message.target.name === "margay_wasmtime") {
      library = message.filenames.find((name) => name.endsWith(".a"));
    }
  }
  if (!include || !library) stop("cargo's output names no headers or no library");
  return { include, library };
}

function wasmtime(cargo) {
  const found = release
    ? { include: join(release, "include"), library: join(release, "lib/libwasmtime.a") }
    : buildWasmtime(cargo);
  for (const path of [join(found.include, "wasmtime.h"), found.library]) {
    if (!existsSync(path)) stop(`${release ? "WASMTIME_C_API: " : ""}${path}: not there`);
  }
  const at = join(out, "wasmtime");
  if (release && resolve(release) === at) return found; // what an earlier build linked
  mkdirSync(join(at, "lib"), { recursive: true });
  link(found.include, join(at, "include"));
  link(found.library, join(at, "lib/libwasmtime.a"));
  return { include: join(at, "include"), library: join(at, "lib/libwasmtime.a") };
}

function link(target, path) {
  rmSync(path, { force: true, recursive: true });
  symlinkSync(target, path);
}

// ---- C and C++ --------------------------------------------------------------------------------

const modified = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);
const sources = (extension) =>
  readdirSync(native).filter((name) => name.endsWith(extension)).sort().map((n) => join(native, n));

/** Runs a tool that writes `target`; a target half written is never seen under its name. */
function make(target, tool, argumentsFor) {
  const temporary = `${target}.${process.pid}`;
  say(shown(target));
  try {
    execFileSync(tool.command, argumentsFor(temporary), { stdio: "inherit" });
  } catch {
    rmSync(temporary, { force: true });
    stop(`${shown(target)}: ${tool.command} failed`);
  }
  renameSync(temporary, target);
}

function nodeIncludes() {
  const require = createRequire(import.meta.url);
  try {
    const headers = dirname(require.resolve("node-api-headers/package.json"));
    const wrapper = dirname(require.resolve("node-addon-api/package.json"));
    return [join(headers, "include"), wrapper];
  } catch {
    return stop("node-api-headers and node-addon-api are not installed: npm ci");
  }
}

function build() {
  const found = tools();
  mkdirSync(join(out, "objects"), { recursive: true });
  const runtime = wasmtime(found.cargo);
  const system = [runtime.include, ...nodeIncludes()].map((path) => `-isystem${path}`);
  const warnings = ["-Wall", "-Wextra", "-O2", "-g1", "-fPIC", "-fvisibility=hidden", "-pthread"];
  const flags = {
    ".c": ["-std=c11", ...warnings],
    ".cc": ["-std=c++17", "-DNAPI_CPP_EXCEPTIONS", "-DNAPI_VERSION=8", ...warnings],
  };
  // What is not a file's age but decides what comes out: another value rebuilds everything.
  const settings = JSON.stringify([found.cc, found["c++"], flags, release ?? ""]);
  const settingsPath = join(out, "settings.json");
  const changed = !existsSync(settingsPath) || readFileSync(settingsPath, "utf8") !== settings;
  const newest = (paths) => Math.max(...paths.map(modified));
  const headers = newest([...sources(".h"), join(runtime.include, "wasmtime.h")]);

  const objects = { ".c": [], ".cc": [] };
  for (const [extension, tool] of [[".c", found.cc], [".cc", found["c++"]]]) {
    for (const source of sources(extension)) {
      const object = join(out, "objects", `${basename(source)}.o`);
      objects[extension].push(object);
      if (!changed && modified(object) > Math.max(headers, modified(source))) continue;
      make(object, tool, (to) =>
        [...flags[extension], `-I${native}`, ...system, "-c", source, "-o", to]);
    }
  }
  const library = join(out, "libmargay.a");
  if (changed || modified(library) < newest(objects[".c"])) {
    make(library, found.ar, (to) => ["rcs", to, ...objects[".c"]]);
  }
  const addon = join(out, "margay.node");
  const inputs = [...objects[".cc"], library, runtime.library];
  if (changed || modified(addon) < newest(inputs)) {
    // Wasmtime's symbols stay inside: another copy in the process does no harm.
    make(addon, found["c++"], (to) => ["-shared", "-pthread", "-o", to, ...inputs, "-ldl", "-lm",
      "-Wl,--exclude-libs,ALL", "-Wl,--gc-sections", "-Wl,--strip-debug"]);
  }
  writeFileSync(settingsPath, settings);
  const size = (statSync(addon).size / 2 ** 20).toFixed(1);
  say(`${shown(addon)} is ready (${size} MiB, ${((Date.now() - started) / 1000).toFixed(1)} s)`);
}

build();
