// The compiled half of the pipeline bench: builds the driver (pipeline.c), the twin
// (twin*.c) and the core with a private memory, and talks to the driver.
//
//   start(inputs) ─► { "ready": hashes } ─► round(frames) ─► ns a packet of each variant ─► …
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { createInterface } from "node:readline";

/** The twin is compiled for this machine: -march=native, as a peer would be. */
export const TWIN_FLAGS = ["-O3", "-march=native"];
const OUT = "build/bench";
const LIBRARY = "build/native/libmargay.a";
const WASMTIME = "build/native/wasmtime";

/** Why the native half cannot run here; undefined where it can. */
export function missing(): string | undefined {
  if (!existsSync(LIBRARY)) return `${LIBRARY} is not built: npm run build:native`;
  if (spawnSync("cc", ["--version"]).status !== 0) return "there is no C compiler (cc)";
  return undefined;
}

export async function buildDriver(): Promise<string> {
  mkdirSync(OUT, { recursive: true });
  const warnings = ["-std=c11", "-Wall", "-Wextra", "-Inative", "-Ibench"];
  const parts = ["twin", "twin-opening"];
  for (const part of parts) {
    execFileSync("cc", [
      ...warnings, ...TWIN_FLAGS, "-c", `bench/${part}.c`, "-o", `${OUT}/${part}.o`,
    ], { stdio: "inherit" });
  }
  execFileSync("cc", [...warnings, "-O2", "bench/pipeline.c",
    ...parts.map((part) => `${OUT}/${part}.o`), LIBRARY, `${WASMTIME}/lib/libwasmtime.a`,
    "-lpthread", "-ldl", "-lm", "-o", `${OUT}/pipeline`], { stdio: "inherit" });
  await buildPrivateCore(`${OUT}/margay-private.wasm`);
  return `${OUT}/pipeline`;
}

/** The same sources over a memory that is not shared: what sharing costs. */
async function buildPrivateCore(out: string): Promise<void> {
  const config = JSON.parse(readFileSync("asconfig.json", "utf8")) as {
    entries: string[]; options: Record<string, unknown>; targets: unknown;
  };
  // asc takes a configuration's paths from its own folder.
  config.entries = config.entries.map((entry) => relative(OUT, entry));
  config.options["sharedMemory"] = false;
  config.targets = { release: { outFile: relative(OUT, out) } };
  writeFileSync(`${OUT}/asconfig.json`, JSON.stringify(config));
  const { default: asc } = await import("assemblyscript/asc");
  const { error, stderr } = await asc.main([
    "--config", `${OUT}/asconfig.json`, "--target", "release",
  ]);
  if (error) throw new Error(`bench: the core with a private memory: ${stderr.toString()}`);
}

export interface Driver {
  hashes: Record<string, number>;
  /** Runs so many frames on each variant; ns a packet. */
  round(frames: number): Promise<Record<string, number>>;
  stop(): void;
}

export async function startDriver(
  program: string, core: string, setup: string, frames: string, pages: number,
): Promise<Driver> {
  const child = spawn(program, [
    core, `${OUT}/margay-private.wasm`, setup, frames, String(pages),
  ], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<Record<string, unknown>> => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`bench: ${program} stopped; its reason is above`);
    return JSON.parse(value) as Record<string, unknown>;
  };
  const { ready } = await next();
  return {
    hashes: ready as Record<string, number>,
    async round(count) {
      child.stdin.write(`${count}\n`);
      return await next() as Record<string, number>;
    },
    stop: () => child.stdin.end(),
  };
}
