// Real files in a folder of their own, for tests of what reads them.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll } from "vitest";
import { readSnapshot } from "../../../host/input/snapshot.ts";
import type { ReadSnapshot, SnapshotOptions } from "../../../host/input/snapshot.ts";
import type { Finding } from "../../../host/model/snapshot.ts";

const folders: string[] = [];

afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/** A folder with these files; gone when the test file's tests are done. */
export function folderOf(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), "margay-"));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

export interface Read extends ReadSnapshot {
  folder: string;
  /** "a.yaml:3:5 NetworkPolicy shop/db spec.ingress[0]: message" */
  lines: string[];
}

export function read(files: Record<string, string>, options: SnapshotOptions = {}): Read {
  const folder = folderOf(files);
  const result = readSnapshot([folder], options);
  return { ...result, folder, lines: result.findings.map((each) => line(each, folder)) };
}

export function line(finding: Finding, folder: string): string {
  const { file, line: at, column, object, field, message } = finding;
  const what = [object, field].filter((text) => text !== "").join(" ");
  const text = `${file}:${at}:${column} ${what === "" ? "" : `${what}: `}${message}`;
  return text.replaceAll(`${folder}/`, "");
}

/** One object's findings: a policy of networking.k8s.io/v1 with this spec (YAML, no indent). */
export function policy(spec: string, head = ""): string {
  return object("networking.k8s.io/v1", "NetworkPolicy", "namespace: shop", spec, head);
}

/** An object called x; `metadata` and `spec` are YAML without indent. */
export function object(
  apiVersion: string, kind: string, metadata: string, spec: string, head = "",
): string {
  const indent = (text: string): string => text.trim().split("\n").map((each) => `  ${each}`)
    .join("\n");
  return [
    head, `apiVersion: ${apiVersion}`, `kind: ${kind}`, "metadata:", "  name: x",
    ...metadata === "" ? [] : [indent(metadata)], ...spec === "" ? [] : ["spec:", indent(spec)], "",
  ].filter((text, i) => i > 0 || text !== "").join("\n");
}
