// A folder with all those above it, made one by one: Node's own recursive mkdirSync asks for ever
// where a parent answers ENOENT, as /proc does.
import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** Throws what mkdirSync throws: EEXIST where a file has the name, EACCES, ENOENT in /proc, … */
export function makeFolder(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  const above = dirname(path);
  if (above !== path) makeFolder(above);
  mkdirSync(path);
}
