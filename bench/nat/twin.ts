// The C twin inside this process: bench/twin*.c as a small addon, built here where a compiler and
// Node's headers are. It works on memories that it allocates itself, on huge pages.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { TWIN_FLAGS } from "../native.ts";

interface TwinAddon {
  /** A zeroed memory of so many bytes, on huge pages where the kernel gives them. */
  open(bytes: number): ArrayBuffer;
  copy(to: ArrayBuffer, from: ArrayBuffer, bytes: number): void;
  /** Runs worker 0's frame; how many packets it left alone. */
  process(memory: ArrayBuffer, count: number, nowMs: number, generation: number): number;
  /** Nanoseconds to fill a classic Maglev table. */
  classic(slots: number, backends: number): number;
}

const SOURCES = ["twin.c", "twin-opening.c", "classic.c", "twin-addon.c"];
const OUT = "build/bench";
let addon: TwinAddon | undefined;

/** Why there is no twin; undefined where there is one. */
export function twinMissing(): string | undefined {
  if (spawnSync("cc", ["--version"]).status !== 0) return "there is no C compiler (cc)";
  return headers() ? undefined : "node-api-headers is not installed";
}
function headers(): string | undefined {
  try {
    const found = createRequire(resolve("package.json")).resolve("node-api-headers/package.json");
    return join(dirname(found), "include");
  } catch {
    return undefined;
  }
}

function load(): TwinAddon {
  if (addon) return addon;
  mkdirSync(OUT, { recursive: true });
  const target = resolve(OUT, "twin.node");
  const inputs = [
    ...SOURCES.map((name) => join("bench", name)), "bench/twin.h", "bench/twin-lane.h",
    "native/layout.h",
  ];
  const changed = Math.max(...inputs.map((path) => statSync(path).mtimeMs));
  if (!existsSync(target) || statSync(target).mtimeMs < changed) {
    const temporary = `${target}.${process.pid}`;
    execFileSync("cc", [
      "-std=c11", "-Wall", "-Wextra", ...TWIN_FLAGS, "-shared", "-fPIC", `-I${headers()}`,
      "-Inative", "-Ibench", ...SOURCES.map((name) => join("bench", name)), "-o", temporary,
    ], { stdio: "inherit" });
    renameSync(temporary, target);
  }
  addon = createRequire(import.meta.url)(target) as TwinAddon;
  return addon;
}

/** A copy of an engine's memory for the twin. */
export function openTwin(of: ArrayBuffer): ArrayBuffer {
  const memory = load().open(of.byteLength);
  load().copy(memory, of, of.byteLength);
  return memory;
}
export function copyMemory(to: ArrayBuffer, from: ArrayBuffer, bytes: number): void {
  load().copy(to, from, bytes);
}
export function runTwin(
  memory: ArrayBuffer, count: number, nowMs: number, generation: number,
): number {
  return load().process(memory, count, nowMs, generation);
}
export function classicNanoseconds(slots: number, backends: number): number {
  return load().classic(slots, backends);
}
