// The test files under some paths: every *.test.yaml, by name alone. A file that is named itself is
// taken whatever its name.
import { realpathSync, statSync } from "node:fs";
import { normalize } from "node:path";
import { CommandError } from "../command-error.ts";
import { filesBelow, TEST } from "../input/folder.ts";

/** Sorted, each once. Throws CommandError for a path that is not there. */
export function findTests(paths: readonly string[]): string[] {
  const found = new Map<string, string>();
  for (const path of paths) {
    const shown = normalize(path).replace(/(?<=.)\/$/, "");
    const status = statSync(shown, { throwIfNoEntry: false });
    if (status === undefined) throw new CommandError(`${path}: no such file or folder`);
    if (status.isDirectory()) search(shown, found);
    else found.set(realpathSync(shown), shown);
  }
  return [...found.values()].sort();
}

function search(folder: string, found: Map<string, string>): void {
  for (const { path, name } of filesBelow(folder, new Set())) {
    if (TEST.test(name) && !found.has(realpathSync(path))) found.set(realpathSync(path), path);
  }
}
