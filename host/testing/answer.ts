// What margay/testing hands out: a cluster of manifests, and what became of flows in it. The types
// that users see are public.ts'; matchers.ts asks for more.
import { dirname } from "node:path";
import { Explainer, flowText } from "../cluster/explain.ts";
import { FlowError } from "../cluster/flow.ts";
import { Living, type Sent } from "../cluster/living.ts";
import { resolveFlow } from "../cluster/resolve.ts";
import type { FlowResult } from "../cluster/types.ts";
import { AppliedFiles } from "./applied.ts";
import { Changes } from "./change.ts";
import { Ground } from "./ground.ts";
import { FileError, type Written } from "./place.ts";
import type {
  ClusterOptions, FlowAnswer, FlowOptions, OpenFlow, PacketAnswer, PolicyCluster, Source, Target,
} from "./public.ts";
import { checksOf, resultsOf, sentCheck, type Check } from "./runner.ts";
import { waitMessage, waitOf } from "./step.ts";
import { flowCase, NOWHERE, parseTestFile, type Expectation, type TestEndpoint } from
  "./testfile.ts";

/** A flow's packets and what became of them. */
export class Answer implements FlowAnswer {
  constructor(
    readonly text: string, readonly ground: Ground, readonly checks: readonly Check[],
    readonly results: readonly FlowResult[],
  ) {}

  get packets(): PacketAnswer[] {
    return this.results.map(({
      flow, verdict, reason, at, stages, nodes, ...rest
    }): PacketAnswer => ({
      flow: flowText(flow), verdict, reason, ...(at === undefined ? {} : { at }), nodes,
      ...(rest.backend === undefined ? {} : { backend: rest.backend }),
      ...(rest.destination === undefined ? {} : { destination: rest.destination }),
      ...(rest.source === undefined ? {} : { source: rest.source }),
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

/** Connections of a fork, by the text that opened them. */
class Opened extends Answer implements OpenFlow {
  constructor(
    text: string, ground: Ground, checks: readonly Check[], results: readonly FlowResult[],
    private readonly more: (kind: "sendOn" | "replyOn") => Answer,
  ) {
    super(text, ground, checks, results);
  }

  send(): FlowAnswer {
    return this.more("sendOn");
  }
  reply(): FlowAnswer {
    return this.more("replyOn");
  }
}

export class ManifestCluster implements PolicyCluster {
  private constructor(
    readonly ground: Ground, private readonly manifests: readonly string[],
    readonly words: ReadonlySet<string>,
    private readonly testPath: () => string | undefined,
    /** Of a fork: where connections are; flow() asks beside them. */
    private readonly living?: Living,
  ) {}

  static async open(
    manifests: readonly string[], { endpoints = {}, time }: ClusterOptions,
    testPath: () => string | undefined = () => undefined,
  ): Promise<ManifestCluster> {
    const without = new AppliedFiles().without(manifests);
    const ground = await unplaced(() => Ground.open(manifests, endpointsOf(endpoints),
      time === undefined ? { without } : { without, nowSeconds: secondsOf(time) }));
    return new ManifestCluster(ground, manifests, new Set(Object.keys(endpoints)), testPath);
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
    const ground = await this.ground.fork();
    const living = new Living(await ground.cluster.fork(), ground.nowSeconds);
    return new ManifestCluster(ground, this.manifests, this.words, this.testPath, living);
  }

  open(text: string): OpenFlow {
    const living = this.own("open()");
    const asked = unplacedNow(() => flowCase(text, this.words));
    const answer = (sent: readonly Sent[]): ConstructorParameters<typeof Answer> => [
      text, this.ground, sent.map(({ result }) => sentCheck(asked, result.flow, ALLOWED)),
      sent.map(({ result }) => result),
    ];
    const opened = unplacedNow(() => living.open(resolveFlow(asked.flow, this.ground.world)));
    return new Opened(...answer(opened), (kind) => unplacedNow(() =>
      new Answer(...answer(opened.map(({ connection }) => living[kind](connection))))));
  }

  wait(time: number | string): void {
    const living = this.own("wait()");
    const milliseconds = typeof time === "number" ? time : waitOf(time);
    if (milliseconds === undefined) throw new Error(waitMessage(String(time)));
    living.wait(milliseconds);
  }

  apply(...manifests: string[]): Promise<void> {
    return this.change((changes) => changes.apply(written(manifests)));
  }

  delete(...objects: string[]): Promise<void> {
    return this.change((changes) => changes.delete(written(objects)));
  }

  close(): void {
    this.living?.cluster.close();
    this.ground.close();
  }

  private own(what: string): Living {
    if (this.living) return this.living;
    throw new Error(`${what}: sessions are a fork's own: const s = await cluster.fork()`);
  }

  /** Files from where the tests run, else from the test's own folder, else from the manifests'. */
  private change(make: (changes: Changes) => Promise<void>): Promise<void> {
    const test = this.testPath();
    const folders = [".", ...(test === undefined ? [] : [dirname(test)]), ...this.manifests];
    return unplaced(async () => {
      await make(new Changes(this.ground, folders));
      await this.living?.cluster.apply(this.ground.cluster.snapshot);
    });
  }
}

const ALLOWED: Expectation = { verdict: "allow" };

function written(texts: readonly string[]): Written[] {
  return texts.map((text) => ({ text, place: NOWHERE }));
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
