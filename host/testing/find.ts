// The test files under some paths: every *.test.yaml, by name alone. A file that is named itself is
// taken whatever its name.
import { readdirSync, realpathSync, statSync } from "node:fs";
import { join, normalize } from "node:path";
import { CommandError } from "../command-error.ts";

const TEST = /\.test\.(ya?ml|json)$/i;
const SKIPPED = new Set(["node_modules", ".git"]);

/** Sorted, each once. Throws CommandError for a path that is not there. */
export function findTests(paths: readonly string[]): string[] {
  const found = new Map<string, string>();
  for (const path of paths) {
    const shown = normalize(path).replace(/(?<=.)\/$/, "");
    const status = statSync(shown, { throwIfNoEntry: false });
    if (status === undefined) throw new CommandError(`${path}: no such file or folder`);
    if (status.isDirectory()) search(shown, found, new Set());
    else found.set(realpathSync(shown), shown);
  }
  return [...found.values()].sort();
}

function search(folder: string, found: Map<string, string>, seen: Set<string>): void {
  const real = realpathSync(folder);
  // A symbolic link may come back here.
  if (seen.has(real)) return;
  seen.add(real);
  for (const name of readdirSync(folder).sort()) {
    const path = folder === "." ? name : join(folder, name);
    const status = statSync(path, { throwIfNoEntry: false });
    if (status === undefined) continue;
    if (status.isDirectory()) {
      if (!SKIPPED.has(name)) search(path, found, seen);
    } else if (TEST.test(name) && !found.has(realpathSync(path))) {
      found.set(realpathSync(path), path);
    }
  }
}
