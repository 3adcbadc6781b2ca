// What margay/testing hands out: a cluster of manifests, and what became of flows in it. The types
// that users see are public.ts'; matchers.ts asks for more.
import { existsSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { Explainer, flowText } from "../cluster/explain.ts";
import { FlowError } from "../cluster/flow.ts";
import type { FlowResult } from "../cluster/types.ts";
import { Ground } from "./ground.ts";
import { FileError } from "./place.ts";
import type {
  ClusterOptions, FlowAnswer, FlowOptions, PacketAnswer, PolicyCluster, Source, Target,
} from "./public.ts";
import { checksOf, resultsOf, type Check } from "./runner.ts";
import { flowCase, NOWHERE, parseTestFile, type TestEndpoint } from "./testfile.ts";

/** A flow's packets and what became of them. */
export class Answer implements FlowAnswer {
  constructor(
    readonly text: string, readonly ground: Ground, readonly checks: readonly Check[],
    readonly results: readonly FlowResult[],
  ) {}

  get packets(): PacketAnswer[] {
    return this.results.map(({ flow, verdict, reason, at, stages }): PacketAnswer => ({
      flow: flowText(flow), verdict, reason, ...(at === undefined ? {} : { at }),
      stages: stages.map((stage) => ({
        stage: stage.stage, endpoint: stage.endpoint, verdict: stage.verdict,
        ...(stage.policy === undefined ? {} : { policy: stage.policy }),
        ...(stage.path === undefined ? {} : { rule: stage.path }),
      })),
    }));
  }

  get verdict(): FlowAnswer["verdict"] {
    const [first, ...others] = new Set(this.results.map(({ verdict }) => verdict));
    return others.length > 0 ? "mixed" : first!;
  }

  explain(): string {
    const explainer = new Explainer(this.ground.cluster);
    return this.results.flatMap((result) => [
      `${flowText(result.flow)}  ${result.verdict}`, ...explainer.lines(result, "  "),
    ]).join("\n");
  }
}

/** All that goes to one end. */
export class End implements Target {
  constructor(readonly name: string, readonly owner: ManifestCluster) {}

  from(end: string, options: FlowOptions = {}): FlowAnswer {
    return this.owner.flow(`${end} -> ${this.name}`, options);
  }
}

export class ManifestCluster implements PolicyCluster {
  private constructor(
    readonly ground: Ground, private readonly manifests: readonly string[],
    readonly words: ReadonlySet<string>,
  ) {}

  static async open(
    manifests: readonly string[], { endpoints = {}, time }: ClusterOptions,
  ): Promise<ManifestCluster> {
    const ground = await unplaced(() => Ground.open(manifests, endpointsOf(endpoints),
      time === undefined ? {} : { nowSeconds: secondsOf(time) }));
    return new ManifestCluster(ground, manifests, new Set(Object.keys(endpoints)));
  }

  flow(text: string, { time }: FlowOptions = {}): FlowAnswer {
    return unplacedNow(() => {
      const nowSeconds = time === undefined ? undefined : secondsOf(time);
      const asked = flowCase(text, this.words);
      const checks = checksOf(asked, { verdict: "allow" }, this.ground, nowSeconds);
      const planned = { name: text, place: NOWHERE, checks };
      return new Answer(text, this.ground, checks, resultsOf(planned, this.ground.cluster));
    });
  }

  to(end: string): Target {
    return new End(end, this);
  }

  from(end: string): Source {
    return { name: end, to: (other, options) => this.flow(`${end} -> ${other}`, options) };
  }

  async fork(): Promise<PolicyCluster> {
    return new ManifestCluster(await this.ground.fork(), this.manifests, this.words);
  }

  apply(...paths: string[]): Promise<void> {
    return unplaced(() => this.ground.apply(paths.map((path) => this.find(path))));
  }

  close(): void {
    this.ground.close();
  }

  /** From where the tests run, else from where the manifests lie. */
  private find(path: string): string {
    if (isAbsolute(path) || existsSync(path)) return path;
    return this.manifests.map((folder) => join(folder, path)).find(existsSync) ?? path;
  }
}

function secondsOf(time: Date | string): number {
  const milliseconds = new Date(time).getTime();
  if (!Number.isNaN(milliseconds)) return Math.floor(milliseconds / 1000);
  throw new Error(`time: "${String(time)}" is no date; as in 2026-01-31T08:00:00Z`);
}

/** Checked as those of a test file are: JSON is YAML. */
function endpointsOf(endpoints: NonNullable<ClusterOptions["endpoints"]>): TestEndpoint[] {
  const tests = [{ name: "-", to: "internet", only: [] }];
  return parseTestFile(JSON.stringify({ kind: "PolicyTest", endpoints, tests }), "").endpoints;
}

async function unplaced<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw plain(error);
  }
}

/** There is no file whose places could be named. */
export function unplacedNow<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw plain(error);
  }
}

function plain(error: unknown): unknown {
  if (error instanceof FlowError) return new Error(error.message);
  if (!(error instanceof FileError)) return error;
  return new Error(error.problems.map(({ message }) => message).join("\n"));
}
