// Runs a test file: its texts become packets, all of them go through process(), and what came of
// each stands beside what was expected.
//
//   TestFile ─ plan ─► checks (flow, expected) ─ Cluster.run ─► results ─ judge ─► TestOutcome
//
// A plan can run more than once: coverage runs it on clusters that lack a rule.
import { Explainer } from "../cluster/explain.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { NoPath } from "../cluster/path.ts";
import { resolveFlow } from "../cluster/resolve.ts";
import type { EndText } from "../cluster/flow.ts";
import type { Flow, FlowEnd, FlowResult } from "../cluster/types.ts";
import { protocolName } from "../cluster/world.ts";
import type { Ground } from "./ground.ts";
import { placed, planOnly } from "./only.ts";
import { trafficText } from "./cuts.ts";
import type { Exhaustive, Failure, TestOutcome } from "./outcome.ts";
import { paste } from "./paste.ts";
import { FileError, gather, type Place, type Problem } from "./place.ts";
import { sourceLabel } from "./sources.ts";
import { placeOf, type Expectation, type FlowCase, type OnlyCase, type TestCase, type TestFile }
  from "./testfile.ts";
import { deciding, expectationText, gotText, isolatingIn, meets, type Isolating } from
  "./verdict.ts";

/** One packet, and what is to come of it. */
export interface Check {
  flow: Flow;
  /** Absent: whatever comes of it is right. */
  expected?: Expectation;
  /** Where deny is expected: any drop will do, for it does not get there either. */
  anyDrop?: boolean;
  from: string;
  to: string;
  /** ":5432/tcp". */
  traffic: string;
}

export interface PlannedTest {
  name: string;
  place: Place;
  checks: Check[];
  exhaustive?: Exhaustive;
}

/** Looks up what tests without steps name. Throws FileError with all that can't be found. */
export function plan(file: TestFile, ground: Ground, pattern?: RegExp): PlannedTest[] {
  const problems: Problem[] = [];
  const planned: PlannedTest[] = [];
  for (const test of file.tests) {
    if (test.steps || (pattern && !pattern.test(test.name))) continue;
    planned.push(...gather(problems, () => [planTest(test, ground)]));
  }
  // The same text in several tests, or several times in one, is one mistake a place.
  const distinct = new Map(problems.map((each) =>
    [`${each.line}:${each.column} ${each.message}`, each]));
  if (distinct.size > 0) throw new FileError([...distinct.values()]);
  return planned;
}

function planTest(test: TestCase, ground: Ground): PlannedTest {
  const { name, place, nowSeconds, flow, only } = test;
  const problems: Problem[] = [];
  const all = (make: () => Check[]): Check[] => gather(problems, make);
  const checks = test.listed.flatMap((listed) =>
    all(() => checksOf(listed, { verdict: listed.expected }, ground, nowSeconds)));
  if (flow) checks.push(...all(() => checksOf(flow, flow.expected, ground, nowSeconds)));
  const planned: PlannedTest = { name, place, checks };
  if (only) checks.push(...all(() => onlyChecks(only, ground, planned, nowSeconds)));
  if (problems.length > 0) throw new FileError(problems);
  return planned;
}

/** The packets that a flow stands for. Throws FileError. */
export function checksOf(
  { flow, parts }: FlowCase, expected: Expectation, ground: Ground, nowSeconds?: number,
): Check[] {
  return placed(({ offset }) => placeOf(parts, offset), () => resolveFlow(flow, ground.world))
    .map((each): Check => ({
      flow: timed(each, nowSeconds), expected, from: endLabel(flow.from, each.from),
      to: endLabel(flow.to, each.to), traffic: flowTraffic(each),
    }));
}

/** A packet of a connection under way, as a check. */
export function sentCheck(
  { flow }: FlowCase, sent: Flow, expected: Expectation,
): Check {
  const [from, to] = sent.isReply ? [flow.to, flow.from] : [flow.from, flow.to];
  return {
    flow: sent, expected, from: endLabel(from, sent.from), to: endLabel(to, sent.to),
    traffic: flowTraffic(sent),
  };
}

/** "shop/web"; of a name that means addresses both: "partner (203.0.113.1)". */
function endLabel({ text, end }: EndText, resolved: FlowEnd): string {
  const isName = end.kind === "word" || end.kind === "internet";
  if (resolved.kind !== "address" || !isName) return sourceLabel(resolved);
  return `${text} (${resolved.address})`;
}

/** Every packet of an exhaustive test. Throws FileError. */
export function onlyChecks(
  only: OnlyCase, ground: Ground, planned: PlannedTest, nowSeconds?: number,
): Check[] {
  const { probes, sources, classes, blind } = planOnly(only, ground);
  planned.exhaustive = { packets: probes.length, sources, classes, blind };
  return probes.map(({ flow, source, traffic, expected }): Check => {
    const text = trafficText(traffic);
    const check: Check = {
      flow: timed(flow, nowSeconds), from: source.label, to: sourceLabel(flow.to),
      traffic: traffic.port ? `:${text}` : ` ${text}`,
    };
    if (expected === "either") return check;
    return { ...check, expected: { verdict: expected }, anyDrop: expected === "deny" };
  });
}

function timed(flow: Flow, nowSeconds: number | undefined): Flow {
  return nowSeconds === undefined ? flow : { ...flow, nowSeconds };
}

/** ":5432/tcp", " icmp:8/0", " protocol 47". */
export function flowTraffic({ protocol, port, icmp }: Flow): string {
  const name = protocolName(protocol);
  if (port !== undefined) return `:${port}/${name}`;
  if (icmp) return ` ${name}:${icmp.type}/${icmp.code}`;
  return /^\d+$/.test(name) ? ` protocol ${name}` : ` ${name}`;
}

/** A planned test, and what became of its packets. */
export interface RunTest {
  planned: PlannedTest;
  results: FlowResult[];
}

/** Throws FileError where no node's program could be asked. */
export function runPlanned(tests: readonly PlannedTest[], cluster: Cluster): RunTest[] {
  return tests.map((planned) => ({ planned, results: resultsOf(planned, cluster) }));
}

/** What came of a file's tests, in words. */
export function outcomes(
  tests: readonly RunTest[], file: TestFile, cluster: Cluster,
): TestOutcome[] {
  const isolating = isolatingOf(cluster);
  const explainer = new Explainer(cluster);
  return tests.map(({ planned, results }) => {
    const failures = judge(planned, results, isolating);
    const { name, place, checks, exhaustive } = planned;
    return {
      name, place, passed: failures.length === 0, flows: checks.length,
      failures: failures.map((failure) => {
        const explained = { ...failure, explanation: explainer.lines(failure.example, "") };
        return { ...explained, paste: paste(explained, file, name) };
      }),
      ...(exhaustive ? { exhaustive } : {}),
    };
  });
}

export function isolatingOf(cluster: Cluster): Isolating {
  const states = [...cluster.nodes].map(([name, { state }]) => [name, state] as const);
  return isolatingIn(new Map(states));
}

/** Throws FileError where no node's program could be asked. */
export function resultsOf({ place, checks }: PlannedTest, cluster: Cluster): FlowResult[] {
  try {
    return cluster.run(checks.map(({ flow }) => flow));
  } catch (error) {
    if (!(error instanceof NoPath)) throw error;
    throw new FileError([{ ...place, message: error.message }]);
  }
}

/** Is a check borne out? */
export function holds(check: Check, result: FlowResult, isolating: Isolating): boolean {
  if (check.expected === undefined) return true;
  if (check.anyDrop && result.verdict !== "allow") return true;
  return meets(result, check.expected, isolating);
}

/** A failure before it is put in words. */
export type Finding = Omit<Failure, "explanation" | "paste">;

interface Group extends Finding {
  pods: { from: Set<string>; to: Set<string> };
}

/** What went wrong, flows that went wrong in the same way together. */
export function judge(
  { checks }: PlannedTest, results: readonly FlowResult[], isolating: Isolating,
): Finding[] {
  const groups = new Map<string, Group>();
  checks.forEach((check, i) => {
    const result = results[i]!;
    if (holds(check, result, isolating)) return;
    const expected = expectationText(check.expected!);
    const got = gotText(result, check.expected!, isolating);
    const stage = deciding(result);
    const key = [check.from, check.to, expected, got, stage?.stage, stage?.rule?.name,
      stage?.policy, stage?.path].join("\n");
    const group: Group = groups.get(key) ?? {
      from: check.from, to: check.to, traffic: [], expected, got, example: result, flows: 0,
      pods: { from: new Set(), to: new Set() },
    };
    groups.set(key, group);
    group.flows++;
    if (!group.traffic.includes(check.traffic)) group.traffic.push(check.traffic);
    group.pods.from.add(machine(check.flow.from));
    group.pods.to.add(machine(check.flow.to));
  });
  return [...groups.values()].map((group) => counted(group, checks));
}

/** Says how many pods of a name it is, and that it is all traffic, where it is. */
function counted({ pods, ...finding }: Group, checks: readonly Check[]): Finding {
  const same = checks.filter((check) =>
    check.from === finding.from && check.to === finding.to && check.expected !== undefined);
  const all = (end: "from" | "to"): number =>
    new Set(same.map(({ flow }) => machine(flow[end]))).size;
  const [from, to] = [all("from"), all("to")];
  if (pods.from.size < from) finding.fromPods = { failing: pods.from.size, all: from };
  if (pods.to.size < to) finding.toPods = { failing: pods.to.size, all: to };
  const traffic = new Set(same.map((check) => check.traffic));
  const whole = finding.traffic.length > 1 && finding.traffic.length === traffic.size;
  return whole ? { ...finding, traffic: [" any traffic"] } : finding;
}

/** A pod with two addresses is one. */
function machine(end: Flow["from"]): string {
  if (end.kind === "pod") return `${end.pod.namespace}/${end.pod.name}`;
  if (end.kind === "node") return end.node.name;
  return end.kind === "service" ? end.backend?.name ?? end.address : end.address;
}
