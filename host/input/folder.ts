// Which files a command line of paths means: folders are searched (YAML and JSON, in the order of
// their names, as `kubectl apply -R -f` reads them), files are taken as they are, "-" is stdin.
//
// Left out: *.test.yaml (tests of policies), node_modules, .git. A folder or file that symbolic
// links reach again is read once.
import { readdirSync, realpathSync, statSync } from "node:fs";
import { join, normalize } from "node:path";

export const STDIN = "-";

export interface FoundFiles {
  /** As people are told: the given path and what follows below it; "-" is stdin. */
  files: string[];
  /** Given paths that are not there. */
  missing: string[];
  /** Helm's *.tpl: what can't be read before it is rendered. */
  templates: number;
  /** Folders with a kustomization: its patches are no objects of their own. */
  kustomizations: string[];
}

const MANIFEST = /\.(ya?ml|json)$/i;
/** Tests of policies, by name. */
export const TEST = /\.test\.(ya?ml|json)$/i;
const KUSTOMIZATION = /^kustomization(\.ya?ml)?$/i;
const SKIPPED = new Set(["node_modules", ".git"]);

export function findFiles(
  paths: readonly string[], without: readonly string[] = [],
): FoundFiles {
  const found: FoundFiles = { files: [], missing: [], templates: 0, kustomizations: [] };
  const seen = new Set<string>(without.map(realName));
  for (const path of paths) {
    if (path === STDIN) {
      if (!seen.has(STDIN)) found.files.push(STDIN);
      seen.add(STDIN);
      continue;
    }
    const shown = normalize(path).replace(/(?<=.)\/$/, "");
    const status = statSync(shown, { throwIfNoEntry: false });
    if (status === undefined) found.missing.push(path);
    else if (status.isDirectory()) searchFolder(shown, seen, found);
    else takeFile(shown, seen, found);
  }
  return found;
}

/** Of a pipe (/dev/fd/63) there is no other name. */
function realName(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/**
 * The files below a folder, in the order of their names, folders that are left out aside. `seen`
 * holds the real names of folders that were searched: a link may come back to one.
 */
export function* filesBelow(
  folder: string, seen: Set<string>,
): Generator<{ path: string; name: string; folder: string }> {
  const real = realName(folder);
  if (seen.has(real)) return;
  seen.add(real);
  for (const name of readdirSync(folder).sort()) {
    const path = folder === "." ? name : join(folder, name);
    // A link may lead nowhere.
    const status = statSync(path, { throwIfNoEntry: false });
    if (status === undefined) continue;
    if (!status.isDirectory()) yield { path, name, folder };
    else if (!SKIPPED.has(name)) yield* filesBelow(path, seen);
  }
}

function searchFolder(start: string, seen: Set<string>, found: FoundFiles): void {
  for (const { path, name, folder } of filesBelow(start, seen)) {
    if (KUSTOMIZATION.test(name)) found.kustomizations.push(folder);
    else if (MANIFEST.test(name)) takeFile(path, seen, found);
    else if (name.endsWith(".tpl")) found.templates++;
  }
}

function takeFile(path: string, seen: Set<string>, found: FoundFiles): void {
  const real = realName(path);
  if (TEST.test(path) || seen.has(real)) return;
  seen.add(real);
  found.files.push(path);
}
