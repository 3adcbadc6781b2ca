// `--watch`: runs the tests again when a file of theirs, or of their manifests, changes.
//
//   run ─► watch the folders ─ change ─ 100 ms of quiet ─► run …            ends with Ctrl-C
//
// Folders are those of the paths and of the manifests that the tests name; a test file that cannot
// be read is watched all the same. Changes while tests run start one more run.
import { statSync, watch, type FSWatcher } from "node:fs";
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import pc from "picocolors";
import { findTests } from "./find.ts";
import { parseTestFile } from "./testfile.ts";
import type { Say } from "./run.ts";

const QUIET_MS = 100;

export interface WatchOptions {
  /** Ends it; without one, the process's SIGINT does. */
  signal?: AbortSignal;
}

/** The exit status of the last run. */
export async function watchTests(
  paths: readonly string[], run: () => Promise<number>, say: Say, { signal }: WatchOptions = {},
): Promise<number> {
  let status = await attempt(run);
  const watchers = new Map<string, FSWatcher>();
  let changed = false;
  let wake = (): void => {};
  const ended = new Promise<"ended">((resolve) => {
    const end = (): void => resolve("ended");
    signal?.addEventListener("abort", end, { once: true });
    process.once("SIGINT", end);
  });
  const notice = (): void => {
    changed = true;
    wake();
  };
  try {
    while (!signal?.aborted) {
      follow(foldersOf(paths), watchers, notice);
      say(pc.dim(` watching ${[...watchers.keys()].join(", ")} (Ctrl-C ends)`));
      if (!changed) {
        const next = new Promise<"changed">((resolve) => wake = () => resolve("changed"));
        if (await Promise.race([next, ended]) === "ended") break;
      }
      // Editors write a file in several steps.
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
      changed = false;
      status = await attempt(run);
    }
  } finally {
    for (const watcher of watchers.values()) watcher.close();
  }
  return status;
}

/** A run that can't be made now can be made after the next change. */
async function attempt(run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    console.error(`${pc.red("margay:")} ${(error as Error).message}`);
    return 2;
  }
}

function follow(
  folders: readonly string[], watchers: Map<string, FSWatcher>, notice: () => void,
): void {
  for (const folder of folders) {
    if (watchers.has(folder)) continue;
    try {
      watchers.set(folder, watch(folder, { recursive: true }, notice).on("error", notice));
    } catch {
      // It is not there now; the next run's list may have it.
    }
  }
}

function foldersOf(paths: readonly string[]): string[] {
  const folders = new Set<string>();
  const add = (path: string): void => {
    const status = statSync(path, { throwIfNoEntry: false });
    if (status) folders.add(status.isDirectory() ? path : dirname(path));
  };
  paths.forEach(add);
  for (const file of testsOf(paths)) {
    try {
      parseTestFile(readFileSync(file, "utf8"), file).manifests.forEach(add);
    } catch {
      // Its problems are in the run's report.
    }
  }
  return [...folders];
}

function testsOf(paths: readonly string[]): string[] {
  try {
    return findTests(paths);
  } catch {
    return [];
  }
}
