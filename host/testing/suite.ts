// Runs test files one after the other. Files that stand on the same manifests and name no ends of
// their own share a cluster.
import { readFileSync } from "node:fs";
import { NoPath } from "../cluster/path.ts";
import { PushRefused } from "../dataplane/dataplane.ts";
import { AppliedFiles } from "./applied.ts";
import { CoverageBook, type Coverage } from "./coverage.ts";
import { Ground, ManifestError } from "./ground.ts";
import type { FileOutcome } from "./outcome.ts";
import { FileError, type Problem } from "./place.ts";
import { outcomes, plan, runPlanned } from "./runner.ts";
import { runSteps, type SteppedTest } from "./stepper.ts";
import { parseTestFile, type TestFile } from "./testfile.ts";

export interface SuiteOptions {
  /** Only tests whose names it matches. */
  pattern?: RegExp;
  coverage?: boolean;
  /** What stdin bore: it stands in for all files' manifests. */
  stdin?: string;
  nowSeconds?: number;
}

export class Suite {
  private readonly grounds = new Map<string, Promise<Ground>>();
  private readonly book = new CoverageBook();
  private readonly applied = new AppliedFiles();

  constructor(private readonly options: SuiteOptions) {}

  /** What came of a file; what is wrong with it or its manifests stands in `problems`. */
  async run(file: string): Promise<FileOutcome> {
    const started = performance.now();
    const outcome: FileOutcome = { file, tests: [], milliseconds: 0, problems: [] };
    try {
      const parsed = parseTestFile(readFileSync(file, "utf8"), file);
      const test = this.options.stdin === undefined ? parsed : { ...parsed, manifests: ["-"] };
      outcome.tests = await this.tests(test);
    } catch (error) {
      outcome.problems = problemsOf(error, file);
    }
    outcome.milliseconds = Math.round(performance.now() - started);
    return outcome;
  }

  private async tests(file: TestFile): Promise<FileOutcome["tests"]> {
    const { pattern } = this.options;
    if (pattern && !file.tests.some(({ name }) => pattern.test(name))) return [];
    const ground = await this.ground(file);
    const tests = runPlanned(plan(file, ground, pattern), ground.cluster);
    const told = outcomes(tests, file, ground.cluster);
    const stepped: SteppedTest[] = [];
    for (const test of file.tests) {
      if (!test.steps || (pattern && !pattern.test(test.name))) continue;
      stepped.push(await runSteps(test, ground, file));
    }
    if (this.options.coverage) {
      const packets = stepped.flatMap((each) => each.packets);
      await this.book.add(tests, ground.cluster, packets.map(({ result }) => result));
    }
    const all = [...told, ...stepped.map(({ outcome }) => outcome)];
    return all.sort((a, b) => a.place.line - b.place.line || a.place.column - b.place.column);
  }

  private ground(file: TestFile): Promise<Ground> {
    const { manifests, endpoints } = file;
    const without = this.applied.without(manifests, file);
    const key = JSON.stringify([manifests, endpoints.map(({ place, ...rest }) => rest), without]);
    let ground = this.grounds.get(key);
    if (!ground) {
      ground = Ground.open(manifests, endpoints, { ...this.options, without });
      this.grounds.set(key, ground);
    }
    return ground;
  }

  coverage(): Coverage {
    return this.book.result();
  }

  async close(): Promise<void> {
    for (const ground of await Promise.allSettled(this.grounds.values())) {
      if (ground.status === "fulfilled") ground.value.close();
    }
  }
}

/** What the user can put right; anything else is a bug, and thrown on. */
function problemsOf(error: unknown, file: string): Problem[] {
  if (error instanceof FileError) return [...error.problems];
  const whole = { file, line: 1, column: 1 };
  if (error instanceof ManifestError) {
    if (error.findings.length === 0) return [{ ...whole, message: error.message }];
    return error.findings.map(({ object, field, message, ...place }) => {
      const where = [object, field].filter((each) => each !== "").join(" ");
      return { ...place, message: where === "" ? message : `${where}: ${message}` };
    });
  }
  if (error instanceof PushRefused || error instanceof NoPath) {
    return [{ ...whole, message: error.message }];
  }
  const { code, message } = error as NodeJS.ErrnoException;
  if (typeof code === "string" && /^E[A-Z]+$/.test(code)) return [{ ...whole, message }];
  throw error;
}
