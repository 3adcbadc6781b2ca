// The modules that ModulePolicies name, for calculate(): read from their manifests' folders, or
// built where a source is named; each is shown to the core's door first, so that a refusal is said
// of the manifest's field and not of a push.
import { readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { modulesOf, type ModuleSource } from "../calc/module.ts";
import { coreFile } from "../dataplane/core.ts";
import type { Manifest } from "../model/snapshot.ts";
import { askDoor, buildModule } from "./build.ts";

/** Gives what was read, or throws what was wrong with it. */
export async function moduleSource(policies: readonly Manifest[]): Promise<ModuleSource> {
  const read = new Map<string, Uint8Array | Error>();
  for (const { path, manifest } of modulesOf(policies)) {
    const file = place(path, manifest);
    if (!read.has(file)) read.set(file, await load(file));
  }
  return (path, manifest) => {
    const found = read.get(place(path, manifest));
    if (found instanceof Uint8Array) return found;
    throw new Error(`${path}: ${found?.message ?? "was not read"}`);
  };
}

/** From the manifest's folder; of a manifest that no file bears, from here. */
function place(path: string, { file }: Manifest): string {
  return relative(".", resolve(dirname(file), path));
}

async function load(file: string): Promise<Uint8Array | Error> {
  let wasm: Uint8Array;
  try {
    wasm = file.endsWith(".ts") ? await buildModule(file) : readFileSync(file);
  } catch (cause) {
    return cause as Error;
  }
  const answer = askDoor(wasm, readFileSync(coreFile()));
  if (answer.admitted) return wasm;
  const { reason, at, advice } = answer;
  const why = advice === "" ? "" : `: ${advice}`;
  return new Error(`refused by the core's door: ${reason} at byte ${at}${why}`);
}
