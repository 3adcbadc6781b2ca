// What was expected of a flow, beside what process() made of it, and both in words. Nothing is
// decided here: verdict, stage and rule are the result's.
import type { FlowResult, StageVerdict } from "../cluster/types.ts";
import type { NodeState, TierState } from "../model/state.ts";
import type { Expectation } from "./testfile.ts";

/** Asks what isolates an endpoint: the policies of a tier that select it. */
export type Isolating = (stage: StageVerdict) => string[];

/** Does the result bear the expectation out? */
export function meets(
  result: FlowResult, { verdict, at, by }: Expectation, isolating: Isolating,
): boolean {
  if (result.verdict !== verdict) return false;
  const stage = deciding(result, at);
  if (at !== undefined && (verdict === "deny" ? result.at !== at : stage === undefined)) {
    return false;
  }
  return by === undefined || (stage !== undefined && isBy(stage, by, isolating));
}

/** The stage that denied; of an allowed flow the one asked for, or the last that a rule decided. */
export function deciding(result: FlowResult, at?: string): StageVerdict | undefined {
  const wanted = at ?? result.at;
  const there = result.stages.filter(({ stage }) => wanted === undefined || stage === wanted);
  return there.findLast(({ rule }) => rule !== undefined) ?? there.at(-1);
}

/**
 * A rule is by its policy. A tier's end has none: it is by each policy of that tier which selects
 * the endpoint, for those isolate it.
 */
function isBy(stage: StageVerdict, by: string, isolating: Isolating): boolean {
  const wanted = by.trim().replace(/\s+/g, " ");
  if (stage.policy !== undefined) {
    const rule = `${stage.policy} ${stage.path ?? ""}`.trim();
    const peer = stage.rule?.origin?.peer;
    return [stage.policy, rule, `${rule}.${peer ?? ""}`].includes(wanted);
  }
  return isolating(stage).includes(wanted);
}

/** Which policies isolate a stage's endpoint, as its node's state has it. */
export function isolatingIn(states: ReadonlyMap<string, NodeState>): Isolating {
  return ({ stage, node, endpoint, tier }) => {
    const state = states.get(node);
    if (!state || tier === undefined) return [];
    const direction = stage === "egress" || stage === "forward-out" ? "egress" : "ingress";
    const found = tiersOf(state, endpoint).filter(({ name }) => name === tier)
      .flatMap((each) => each[direction]);
    return [...new Set(found)].filter((key) => state.policies.get(key)?.staged !== true);
  };
}

function tiersOf(state: NodeState, endpoint: string): TierState[] {
  const workload = [...state.workloads.values()].find((each) => each.workload === endpoint);
  if (workload) return workload.tiers;
  return [...state.hostEndpoints.values()].flatMap((each) =>
    [...each.tiers, ...each.forwardTiers, ...each.preDnatTiers, ...each.untrackedTiers]);
}

/** "deny at ingress by NetworkPolicy shop/db". */
export function expectationText({ verdict, at, by }: Expectation): string {
  return [verdict, at === undefined ? "" : ` at ${at}`, by === undefined ? "" : ` by ${by}`]
    .join("");
}

/** "ALLOW"; where only stage or policy differ from what was expected, those too. */
export function gotText(
  result: FlowResult, expected: Expectation, isolating: Isolating,
): string {
  const reason = result.verdict === "drop" || result.verdict === "reject"
    ? ` (${result.reason})` : "";
  const word = result.verdict.toUpperCase() + reason;
  if (result.verdict !== expected.verdict) return word;
  const stage = deciding(result, result.verdict === "deny" ? undefined : expected.at);
  const at = result.at ?? (expected.at === undefined ? undefined : stage?.stage);
  const by = stage?.policy === undefined ? stage && isolating(stage).join(", ")
    : `${stage.policy} ${stage.path ?? ""}`.trim();
  return word + (at === undefined ? "" : ` at ${at}`) +
    (by === undefined || by === "" ? ` by no policy` : ` by ${by}`);
}
