// The node's program from its manifests: read, checked, calculated, as the other commands do, with
// the uplinks of the agent's configuration.
//
//   folders and files ─► Snapshot ─ calculate(node) ─► NodeState ─ nodeProgram ─► Program
//
// What is wrong in a manifest refuses the whole change: the program before runs on, and the finding
// names file, line and field. Changes are noticed by watching the folders (watchManifests).
import { existsSync, readdirSync, statSync, watch, type FSWatcher } from "node:fs";
import { dirname, join } from "node:path";
import { calculate } from "../calc/calculate.ts";
import { CommandError } from "../command-error.ts";
import { nodeProgram, type NodeMemory } from "../compile/node.ts";
import { noManifests } from "../input/manifest.ts";
import { readSnapshot } from "../input/snapshot.ts";
import type { Program } from "../model/program.ts";
import type { Finding } from "../model/snapshot.ts";
import { moduleSource } from "../module/source.ts";
import type { Config } from "./config.ts";
import { devicesOf } from "./desired.ts";

const QUIET_MS = 100;

/** The program, and what is doubtful in its manifests. */
export interface Loaded {
  program: Program;
  /** What is doubtful, in sentences. */
  remarks: string[];
}

/** Throws a CommandError with all that is wrong in the manifests. */
export async function loadProgram(config: Config, memory: NodeMemory): Promise<Loaded> {
  const { snapshot, findings, documents } = readSnapshot(config.manifests);
  const remarks: string[] = [];
  const sift = (found: readonly Finding[]): void => {
    const errors = found.filter(({ severity }) => severity === "error");
    if (errors.length > 0) throw new CommandError(errors.map(findingText).join("\n"));
    remarks.push(...found.map(findingText));
  };
  sift(findings);
  if (documents.manifests.length === 0) {
    throw new CommandError(noManifests(config.manifests, documents, "run"));
  }
  if (!snapshot.nodes.some(({ name }) => name === config.node)) {
    const names = snapshot.nodes.map(({ name }) => name).join(", ") || "none";
    throw new CommandError(`node ${config.node}: not among the manifests' nodes (${names})`);
  }
  const module = await moduleSource(snapshot.policies);
  const faults: Finding[] = [];
  const state = calculate(snapshot, config.node, { module, findings: faults });
  sift(faults);
  const program = nodeProgram(state, devicesOf(config), memory);
  return { program, remarks: [...remarks, ...memory.problems] };
}

function findingText({ file, line, column, object, field, message }: Finding): string {
  return `${file}:${line}:${column} ${[object, field].filter((one) => one !== "").join(" ")}: ` +
    message;
}

/** Calls `changed` after manifests changed and were quiet; ends with the returned function. */
export function watchManifests(paths: readonly string[], changed: () => void): () => void {
  const watchers = new Map<string, FSWatcher>();
  let timer: NodeJS.Timeout | undefined;
  const notice = (): void => {
    clearTimeout(timer);
    // Editors write a file in several steps, and folders may be new.
    timer = setTimeout(() => {
      follow();
      changed();
    }, QUIET_MS);
  };
  const follow = (): void => {
    const folders = new Set(paths.flatMap(foldersBelow));
    for (const [folder, watcher] of watchers) {
      if (folders.has(folder)) continue;
      watcher.close();
      watchers.delete(folder);
    }
    for (const folder of folders) {
      if (watchers.has(folder)) continue;
      const watcher = watch(folder, notice);
      watcher.on("error", () => watchers.delete(folder));
      watchers.set(folder, watcher);
    }
  };
  follow();
  return () => {
    clearTimeout(timer);
    for (const watcher of watchers.values()) watcher.close();
  };
}

function foldersBelow(path: string): string[] {
  if (!existsSync(path)) return [dirname(path)].filter((folder) => existsSync(folder));
  if (!statSync(path).isDirectory()) return [dirname(path)];
  return [path, ...readdirSync(path, { withFileTypes: true }).filter((each) => each.isDirectory())
    .flatMap(({ name }) => foldersBelow(join(path, name)))];
}
