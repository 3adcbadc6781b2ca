// What `margay test` does: finds the files, runs them, prints what came of it. The exit status is
// the result: see command.ts.
import { existsSync, readFileSync } from "node:fs";
import pc from "picocolors";
import { CommandError } from "../command-error.ts";
import { coreFile, coreHash } from "../dataplane/core.ts";
import type { TestOptions } from "./command.ts";
import { coverageLines, percent, type Coverage } from "./coverage.ts";
import { findTests } from "./find.ts";
import { totals, type FileOutcome, type RunOutcome } from "./outcome.ts";
import { fileLines, plural, summaryLine } from "./report/lines.ts";
import { Suite, type SuiteOptions } from "./suite.ts";

const PASSED = 0, FAILED = 1, UNUSABLE = 2, NO_ENGINE = 3;
const STDIN = "-";

export type Say = (text: string) => void;

/** Throws CommandError for what the caller can put right. */
export async function runTest(
  given: readonly string[], options: TestOptions, say: Say,
): Promise<number> {
  if (!existsSync(coreFile())) {
    const advice = "it comes with the package; in the repository: npm run build";
    console.error(`${pc.red("margay:")} ${coreFile()}: no packet program there (${advice})`);
    return NO_ENGINE;
  }
  if (options.threshold !== undefined && !options.coverage) {
    throw new CommandError("--threshold is of --coverage: say both");
  }
  const fromStdin = given.includes(STDIN);
  const named = given.filter((path) => path !== STDIN);
  const paths = named.length === 0 ? ["."] : named;
  if (options.init) {
    const { init } = await import("./init.ts");
    return init(fromStdin ? [...named, STDIN] : paths, say);
  }
  const stdin = fromStdin ? readFileSync(0, "utf8") : undefined;
  if (!options.watch) return runOnce(paths, options, stdin, say);
  if (fromStdin) throw new CommandError("--watch: stdin does not change; name the manifests");
  const { watchTests } = await import("./watch.ts");
  return watchTests(paths, () => runOnce(paths, options, undefined, say), say);
}

export async function runOnce(
  paths: readonly string[], options: TestOptions, stdin: string | undefined, say: Say,
): Promise<number> {
  const started = performance.now();
  const files = findTests(paths);
  if (files.length === 0) {
    return nothing(`0 *.test.yaml under ${paths.join(", ")} ` +
      "(margay test --init writes one from what is allowed today)");
  }
  const { testName, coverage } = options;
  const isPlain = options.reporter === "default" || options.reporter === "github";
  const suiteOptions: SuiteOptions = {};
  if (testName) suiteOptions.pattern = testName;
  if (stdin !== undefined) suiteOptions.stdin = stdin;
  if (coverage) suiteOptions.coverage = true;
  const suite = new Suite(suiteOptions);
  const width = Math.max(...files.map((file) => file.length));
  const outcomes: FileOutcome[] = [];
  try {
    for (const file of files) {
      const outcome = await suite.run(file);
      // Of files that have nothing to the pattern there is nothing to say.
      if (testName && outcome.tests.length + outcome.problems.length === 0) continue;
      outcomes.push(outcome);
      if (isPlain) fileLines(outcome, width).forEach(say);
    }
    const milliseconds = Math.round(performance.now() - started + startMilliseconds());
    const run: RunOutcome = { files: outcomes, milliseconds, core: coreHash() };
    const covered = coverage ? suite.coverage() : undefined;
    const { tests, problems } = totals(outcomes);
    await print(run, options, covered, say);
    if (tests === 0 && problems === 0) {
      const where = plural(files.length, "file");
      return nothing(`no test's name matches ${String(testName)} in ${where}`);
    }
    return statusOf(run, options, covered);
  } finally {
    await suite.close();
  }
}

/** Node's own start, and what was loaded: the first run's, as the user waited for it. */
function startMilliseconds(): number {
  const before = started;
  started = 0;
  return before;
}
let started = performance.now();

async function print(
  run: RunOutcome, { reporter }: TestOptions, coverage: Coverage | undefined, say: Say,
): Promise<void> {
  if (reporter === "json" || reporter === "junit") {
    const { json, junit } = await import("./report/machine.ts");
    say(reporter === "json" ? json(run, coverage) : junit(run));
    return;
  }
  if (coverage) coverageLines(coverage).forEach(say);
  if (totals(run.files).tests + totals(run.files).problems > 0) say(summaryLine(run));
  if (reporter === "github") {
    const { github } = await import("./report/machine.ts");
    github(run).forEach(say);
  }
}

function statusOf(
  { files }: RunOutcome, { threshold }: TestOptions, coverage: Coverage | undefined,
): number {
  const { failed, problems } = totals(files);
  if (problems > 0) return UNUSABLE;
  if (failed > 0) return FAILED;
  if (coverage && threshold !== undefined && percent(coverage) < threshold) {
    console.error(`${pc.red("margay:")} coverage is ${percent(coverage).toFixed(1)} %, ` +
      `the threshold ${threshold} %`);
    return FAILED;
  }
  return PASSED;
}

function nothing(why: string): number {
  console.error(`${pc.red("margay:")} nothing was tested: ${why}`);
  return UNUSABLE;
}
