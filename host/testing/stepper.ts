// Runs a test with steps, on a cluster of its own: nobody else's flows are there, and what it does
// to the manifests and the clock nobody else sees.
//
//   the file's ground ─ fork ─► cluster ─ step, step, step ─► failures of the first step that fails
//
// Names are looked up when their step comes, for the step before may have made them.
import { Explainer } from "../cluster/explain.ts";
import { Living } from "../cluster/living.ts";
import { NoPath } from "../cluster/path.ts";
import { resolveFlow } from "../cluster/resolve.ts";
import type { FlowResult } from "../cluster/types.ts";
import { Changes, foldersOf } from "./change.ts";
import type { Ground } from "./ground.ts";
import { placed } from "./only.ts";
import type { Failure, TestOutcome } from "./outcome.ts";
import { pasteTest } from "./paste.ts";
import { FileError } from "./place.ts";
import { isolatingOf, judge, sentCheck, type Check } from "./runner.ts";
import { SAME, type Step } from "./step.ts";
import { placeOf, type Expectation, type TestCase, type TestFile } from "./testfile.ts";

/** A packet of a step, what was expected of it and what became of it. */
export interface Stepped {
  check: Check;
  result: FlowResult;
}

export interface SteppedTest {
  outcome: TestOutcome;
  /** Every packet that a step sent. */
  packets: Stepped[];
}

/** Throws FileError, ManifestError. */
export async function runSteps(
  test: TestCase, base: Ground, file: TestFile,
): Promise<SteppedTest> {
  const ground = await base.fork();
  try {
    return await new Stepper(test, ground, file).run();
  } finally {
    ground.close();
  }
}

class Stepper {
  private readonly living: Living;
  private readonly changes: Changes;
  private readonly packets: Stepped[] = [];
  /** By sender and Service: where its newest flow went. */
  private readonly backends = new Map<string, string>();

  constructor(
    private readonly test: TestCase, private readonly ground: Ground,
    private readonly file: TestFile,
  ) {
    this.living = new Living(ground.cluster, test.nowSeconds ?? ground.nowSeconds);
    this.changes = new Changes(ground, foldersOf(file));
  }

  async run(): Promise<SteppedTest> {
    const { name, place, steps = [] } = this.test;
    let failures: Failure[] = [];
    for (const [i, step] of steps.entries()) {
      failures = await this.step(step, `step ${i + 1} of ${steps.length}`);
      // What follows a step that failed would fail for want of it.
      if (failures.length > 0) break;
    }
    const flows = this.packets.length;
    return {
      packets: this.packets,
      outcome: { name, place, passed: failures.length === 0, flows, failures },
    };
  }

  private async step(step: Step, head: string): Promise<Failure[]> {
    switch (step.kind) {
      case "apply":
        await this.changes.apply(step.what);
        return [];
      case "delete":
        await this.changes.delete(step.what);
        return [];
      case "wait":
        this.living.wait(step.milliseconds);
        return [];
      default: {
        const { kind, flow: { flow }, place } = step;
        return this.packet(step, `${head}, line ${place.line}: ${kind} ${flow.text}`);
      }
    }
  }

  private packet(step: Step & { kind: "open" | "send" | "reply" }, head: string): Failure[] {
    const { flow, place } = step;
    const sent = placed(({ offset }) => placeOf(flow.parts, offset), () => {
      try {
        return this.living[step.kind](resolveFlow(flow.flow, this.ground.world));
      } catch (error) {
        if (!(error instanceof NoPath)) throw error;
        throw new FileError([{ ...place, message: error.message }]);
      }
    });
    const stepped = sent.map(({ result }): Stepped => (
      { result, check: sentCheck(flow, result.flow, this.expected(step, result)) }));
    this.packets.push(...stepped);
    const cluster = this.ground.cluster;
    const planned = { name: "", place, checks: stepped.map(({ check }) => check) };
    const explainer = new Explainer(cluster);
    return judge(planned, stepped.map(({ result }) => result), isolatingOf(cluster))
      .map((finding) => ({
        ...finding, step: head, explanation: explainer.lines(finding.example, ""),
        paste: pasteTest(this.file, this.test.name),
      }));
  }

  /** What is expected of one packet: "same" is the backend of the flow before. */
  private expected(
    { expected, place }: Step & { kind: "open" | "send" | "reply" }, { flow, backend }: FlowResult,
  ): Expectation {
    const service = flow.isReply ? undefined : flow.to.kind === "service" ? flow.to.service
      : undefined;
    const key = `${flow.from.address} ${service ?? ""}`;
    const before = this.backends.get(key);
    if (service !== undefined && backend !== undefined) this.backends.set(key, backend);
    if (expected.backend !== SAME) return expected;
    if (before !== undefined) return { ...expected, backend: before };
    const message = "backend: same, but no flow to that Service went before";
    throw new FileError([{ ...place, message }]);
  }
}
