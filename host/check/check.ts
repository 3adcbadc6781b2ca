// What is wrong with manifests, and what is doubtful. Errors are what an API server refuses or what
// can't be meant; warnings are what runs, but hardly as its author thinks.
//
//   paths ─ readSnapshot ─► errors of YAML and schemas ─ Calculator ─► of selectors, tiers …
//                                                            └► reach, pick, prefix, dns: warnings
import { Calculator } from "../calc/calculate.ts";
import type { ModuleSource } from "../calc/module.ts";
import { valueAt } from "../input/manifest.ts";
import type { Documents } from "../input/manifest.ts";
import { objectName } from "../input/schema-issue.ts";
import { readSnapshot } from "../input/snapshot.ts";
import type { ReadSnapshot, SnapshotOptions } from "../input/snapshot.ts";
import type { Finding, Manifest, Snapshot } from "../model/snapshot.ts";
import { forgottenDns } from "./dns.ts";
import { picksNothing } from "./pick.ts";
import { hostBits } from "./prefix.ts";
import { neverReached, pathOf } from "./reach.ts";

export interface CheckResult {
  /** In order of files and lines. */
  findings: Finding[];
  files: number;
  objects: number;
  documents: Documents;
}

export async function check(
  paths: readonly string[], options: SnapshotOptions = {},
): Promise<CheckResult> {
  const read = readSnapshot(paths, { command: "check", ...options });
  const { documents } = read;
  return {
    findings: inOrder([...read.findings, ...await checkSnapshot(read)], read),
    files: documents.files, objects: documents.objects, documents,
  };
}

/** Findings beside those of reading. */
export async function checkSnapshot(read: ReadSnapshot): Promise<Finding[]> {
  const { snapshot, objects } = read;
  const findings: Finding[] = [];
  const module = await modulesOf(snapshot);
  const calculator = new Calculator(snapshot, { findings, module });
  for (const { name } of snapshot.nodes) calculator.state(name);
  const someone = snapshot.pods.length + snapshot.hostEndpoints.length > 0;
  for (const [policy, converted] of calculator.converted) {
    findings.push(...neverReached(policy.manifest, converted));
    // Without pods there is nobody that a selector could pick.
    if (someone) findings.push(...picksNothing(policy, converted, snapshot, calculator));
  }
  for (const object of objects) findings.push(...hostBits(object));
  findings.push(...await forgottenDns(snapshot, calculator, module));
  const byName = new Map(objects.map((of) => [`${of.file} ${objectName(of)}`, of]));
  return findings.map((each) => atSelector(each, byName.get(`${each.file} ${each.object}`)));
}

/** The compiler and the engine are loaded where there are modules alone. */
async function modulesOf({ policies }: Snapshot): Promise<ModuleSource | undefined> {
  if (!policies.some(({ kind }) => kind === "ModulePolicy")) return undefined;
  const { moduleSource } = await import("../module/source.ts");
  return moduleSource(policies);
}

/** A selector's fault stands in its text, not in its name. */
function atSelector(finding: Finding, of: Manifest | undefined): Finding {
  if (of === undefined || !/^\w*[sS]elector: /.test(finding.message)) return finding;
  return { ...finding, ...valueAt(of, pathOf(finding.field)) };
}

/** Once each, in the order of files as they were read, then of lines. */
function inOrder(findings: readonly Finding[], { documents }: ReadSnapshot): Finding[] {
  const order = new Map(documents.found.files.map((file, i) => [file, i]));
  const rank = ({ file }: Finding): number => order.get(file) ?? -1;
  const once = new Map(findings.map((each) => [
    [each.file, each.line, each.column, each.field, each.message].join("\n"), each,
  ]));
  return [...once.values()].sort((a, b) => {
    return rank(a) - rank(b) || a.line - b.line || a.column - b.column;
  });
}
