// `--init`: writes a test that says what the policies allow today, for its reader to strike out
// what nobody meant. Every line of it was tried: what is written passes.
//
//   each workload ─ all that there is (only.ts) ─► run ─ what passed ─► entries of `only`
//                                                   └ not to be said so ─► allow and deny, by port
import { existsSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { CommandError } from "../command-error.ts";
import { resolveFlow } from "../cluster/resolve.ts";
import { parseFlow } from "../cluster/flow.ts";
import type { PodObject } from "../model/snapshot.ts";
import { entriesOf } from "./entries.ts";
import { Ground, ManifestError } from "./ground.ts";
import { planOnly } from "./only.ts";
import { FileError } from "./place.ts";
import { plural } from "./report/lines.ts";
import type { Say } from "./run.ts";
import { isolatingOf, judge, plan, runPlanned } from "./runner.ts";
import { sourceLabel } from "./sources.ts";
import { parseTestFile } from "./testfile.ts";

const FILE = "policy.test.yaml";
const SCHEMA = "docs/policytest.schema.json";

/** The exit status. Throws CommandError. */
export async function init(paths: readonly string[], say: Say): Promise<number> {
  const [folder, more] = paths as [string, string?];
  if (more !== undefined || folder === "-") {
    throw new CommandError("--init: name one folder of manifests; the test is written there");
  }
  const file = join(folder, FILE);
  if (existsSync(file)) {
    throw new CommandError(`${file} is there already; --init overwrites nothing`);
  }
  const ground = await open(folder);
  try {
    const tests = targetsOf(ground).map((target) => onlyTest(target, ground) ??
      listTests(target, ground));
    const header = [
      `# yaml-language-server: $schema=${relative(folder, join(packageFolder(), SCHEMA))}`,
      "# Written by `margay test --init`: what the policies allowed then. Strike out what nobody",
      "# meant, then mend the policies until it passes.",
      "kind: PolicyTest", "tests:", "",
    ];
    const text = header.join("\n") + tests.join("");
    const flows = check(text, file, ground);
    writeFileSync(file, text);
    const count = text.match(/^- name: /gm)?.length ?? 0;
    say(`${file}: ${plural(count, "test")}, ${plural(flows, "flow")}, what is allowed today`);
    return 0;
  } finally {
    ground.close();
  }
}

async function open(folder: string): Promise<Ground> {
  try {
    return await Ground.open([folder], []);
  } catch (error) {
    if (error instanceof ManifestError) throw new CommandError(error.message);
    throw error;
  }
}

/** Workloads and bare pods, by the name that stands for all their pods. */
function targetsOf({ world }: Ground): string[] {
  const pods = world.snapshot.pods.filter(({ hostNetwork }) => !hostNetwork);
  if (pods.length === 0) throw new CommandError("--init: no pods in these manifests");
  return [...new Set(pods.map(labelOf))].sort();
}

const labelOf = (pod: PodObject): string =>
  sourceLabel({ kind: "pod", pod, address: pod.addresses[0] ?? "" });

/** The whole truth of a workload, or undefined where entries can't say it. */
function onlyTest(target: string, ground: Ground): string | undefined {
  const flow = parseFlow(`internet -> ${target}`);
  const place = { file: FILE, line: 1, column: 1 };
  const to = { flow, parts: [{ from: 0, place }] };
  const { probes } = planOnly({ to, entries: [] }, ground);
  const results = ground.cluster.run(probes.map((probe) => probe.flow));
  const passed = new Set(probes.filter((_, i) => results[i]!.verdict === "allow"));
  const entries = entriesOf(probes, passed);
  if (entries === undefined) return undefined;
  const text = onlyText(target, entries);
  return passes(`kind: PolicyTest\ntests:\n${text}`, ground) ? text : undefined;
}

function onlyText(target: string, entries: readonly string[]): string {
  const head = `- name: who may reach ${target}\n  to: ${target}\n`;
  if (entries.length === 0) return `${head}  only: []  # nobody\n`;
  return `${head}  only:\n${entries.map((entry) => `  - ${scalar(entry)}\n`).join("")}`;
}

/** What passes and what does not at each declared port, workload by workload. */
function listTests(target: string, ground: Ground): string {
  const pods = ground.world.snapshot.pods.filter((pod) => labelOf(pod) === target);
  const ports = new Set(pods.flatMap((pod) => pod.ports.map(({ port, protocol }) =>
    `${port}/${protocol.toLowerCase()}`)));
  const others = [...targetsOf(ground).filter((name) => name !== target), "internet"];
  return [...ports].map((port) => {
    const lists = { allow: [] as string[], deny: [] as string[] };
    for (const other of others) {
      const flows = resolveFlow(parseFlow(`${other} -> ${target}:${port}`), ground.world);
      const verdicts = new Set(ground.cluster.run(flows).map(({ verdict }) => verdict));
      if (verdicts.size > 1) continue;
      if (verdicts.has("allow")) lists.allow.push(other);
      if (verdicts.has("deny")) lists.deny.push(other);
    }
    const list = (name: "allow" | "deny"): string => lists[name].length === 0 ? ""
      : `  ${name}: [${lists[name].join(", ")}]\n`;
    const body = list("allow") + list("deny");
    if (body === "") return "";
    return `- name: who may reach ${target} at ${port}\n  to: ${target}:${port}\n${body}`;
  }).join("");
}

/** Would a test of this text pass? */
function passes(text: string, ground: Ground): boolean {
  const file = parseTestFile(text, FILE);
  const isolating = isolatingOf(ground.cluster);
  return runPlanned(plan(file, ground), ground.cluster)
    .every(({ planned, results }) => judge(planned, results, isolating).length === 0);
}

/** How many flows the whole file runs; it passes, or nothing is written. */
function check(text: string, file: string, ground: Ground): number {
  try {
    if (!passes(text, ground)) throw new Error(`${file} would not pass as it was to be written`);
    return plan(parseTestFile(text, file), ground)
      .reduce((sum, { checks }) => sum + checks.length, 0);
  } catch (error) {
    if (error instanceof FileError) throw new CommandError(error.message);
    throw error;
  }
}

/** As YAML takes it. */
function scalar(text: string): string {
  return /^[\w][\w ./>:*-]*$/.test(text) ? text : JSON.stringify(text);
}

/** Where the package lies: the sources and the bundle are at different depths in it. */
function packageFolder(): string {
  let at = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(at, "package.json")) && dirname(at) !== at) at = dirname(at);
  return relative(process.cwd(), at) || ".";
}
