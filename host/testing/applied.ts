// Files that steps of tests apply are not there from the beginning, though they lie among the
// manifests: `apply: lockdown.yaml` beside the policies that it changes. A file whose objects the
// steps before it have changed or deleted is there: it puts them back.
//
// All test files of the manifests' folders count, not only those that run: what a test begins with
// depends on the files alone.
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { readDocuments } from "../input/manifest.ts";
import type { Manifest } from "../model/snapshot.ts";
import { foldersOf, objectName, pathIn } from "./change.ts";
import { findTests } from "./find.ts";
import { isManifest, type Step } from "./step.ts";
import { parseTestFile, type TestFile } from "./testfile.ts";

export class AppliedFiles {
  private readonly byTest = new Map<string, string[]>();

  /** What a test's manifests are read without; sorted. `file`: the test that asks. */
  without(manifests: readonly string[], file?: TestFile): string[] {
    const folders = manifests.filter((path) =>
      statSync(path, { throwIfNoEntry: false })?.isDirectory());
    const tests = folders.flatMap((folder) => testsOf(folder));
    const named = new Set(manifests.map((path) => resolve(path)));
    const all = [...(file ? appliedFiles(file) : []), ...tests.flatMap((test) => this.of(test))]
      .filter((path) => !named.has(resolve(path)));
    return [...new Set(all)].sort();
  }

  private of(test: string): string[] {
    let files = this.byTest.get(test);
    if (!files) this.byTest.set(test, files = read(test));
    return files;
  }
}

/** What steps apply and what was not there before. */
function appliedFiles(file: TestFile): string[] {
  const folders = foldersOf(file);
  const applied = new Set<string>(), restored = new Set<string>();
  for (const { steps = [] } of file.tests) {
    const touched = new Set<string>();
    for (const step of steps) touch(step, folders, touched, applied, restored);
  }
  return [...applied].filter((path) => !restored.has(path));
}

function touch(
  step: Step, folders: readonly string[], touched: Set<string>, applied: Set<string>,
  restored: Set<string>,
): void {
  if (step.kind !== "apply" && step.kind !== "delete") return;
  for (const { text } of step.what) {
    const named = step.kind === "delete" ? objectName(text) : undefined;
    const path = named || isManifest(text) ? undefined : pathIn(text, folders);
    const keys = named ? [keyOf(named[1]!, named[2] ?? "", named[3]!)]
      : documentsOf(text, path).map(({ kind, namespace, name }) => keyOf(kind, namespace, name));
    if (step.kind === "apply" && path !== undefined) {
      (keys.some((key) => touched.has(key)) ? restored : applied).add(path);
    }
    for (const key of keys) touched.add(key);
  }
}

function documentsOf(text: string, path: string | undefined): Manifest[] {
  if (path !== undefined) return readDocuments([path]).manifests;
  return isManifest(text) ? readDocuments(["-"], { stdin: text }).manifests : [];
}

function keyOf(kind: string, namespace: string, name: string): string {
  return `${kind.toLowerCase()} ${namespace === "default" ? "" : namespace}/${name}`;
}

function read(test: string): string[] {
  try {
    const text = readFileSync(test, "utf8");
    // Most files have no steps, and reading them twice would take its time.
    return /\bapply\b/.test(text) ? appliedFiles(parseTestFile(text, test)) : [];
  } catch {
    // Its problems are in its own report, where it runs.
    return [];
  }
}

function testsOf(folder: string): string[] {
  try {
    return findTests([folder]);
  } catch {
    return [];
  }
}
