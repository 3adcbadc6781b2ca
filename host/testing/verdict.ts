// What was expected of a flow, beside what process() made of it, and both in words. Nothing is
// decided here: verdict, stage and rule are the result's.
import { isIP } from "node:net";
import type { FlowResult, StageVerdict } from "../cluster/types.ts";
import type { NodeState, TierState } from "../model/state.ts";
import type { Expectation } from "./testfile.ts";

/** A source that NAT leaves as it is. */
const KEPT = "kept";

/** Asks what isolates an endpoint: the policies of a tier that select it. */
export type Isolating = (stage: StageVerdict) => string[];

/** Does the result bear the expectation out? */
export function meets(
  result: FlowResult, expected: Expectation, isolating: Isolating,
): boolean {
  const { verdict, at, by } = expected;
  if (result.verdict !== verdict && !(verdict === "deny" && isAnsweredDenial(result))) return false;
  if (!isThere(result, expected)) return false;
  const stage = deciding(result, at);
  if (at !== undefined && (verdict === "deny" ? result.at !== at : stage === undefined)) {
    return false;
  }
  return by === undefined || (stage !== undefined && isBy(stage, by, isolating));
}

/** What policy denies may be answered (IptablesFilterDenyAction=Reject); it is denied still. */
function isAnsweredDenial({ verdict, at }: FlowResult): boolean {
  return verdict === "reject" && at !== undefined;
}

/** Did it go where it was to, and from where? */
function isThere(result: FlowResult, { backend, source, reason }: Expectation): boolean {
  if (reason !== undefined && result.reason !== reason) return false;
  if (backend !== undefined && ![result.backend, result.destination].includes(backend)) {
    return false;
  }
  if (source === undefined) return true;
  const address = result.source?.replace(/^\[?([^\]]*?)\]?(:\d+)?$/, (whole, bare: string) =>
    isIP(whole) ? whole : bare);
  return source === KEPT ? address === undefined : [address, result.source].includes(source);
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
export function expectationText(
  { verdict, reason, at, by, backend, source }: Expectation,
): string {
  const part = (word: string, text: string | undefined): string =>
    text === undefined ? "" : ` ${word} ${text}`;
  return verdict + (reason === undefined ? "" : ` (${reason})`) + part("at", at) +
    part("by", by) + part("backend", backend) + part("source", source);
}

/** " backend shop/web-0 source kept", of what was expected. */
function reachedText(result: FlowResult, { backend, source }: Expectation): string {
  return (backend === undefined ? "" : ` backend ${result.backend ?? "none"}`) +
    (source === undefined ? "" : ` source ${result.source ?? KEPT}`);
}

/** "ALLOW"; where only stage or policy differ from what was expected, those too. */
export function gotText(
  result: FlowResult, expected: Expectation, isolating: Isolating,
): string {
  const reason = result.verdict === "drop" || result.verdict === "reject"
    ? ` (${result.reason})` : "";
  const word = result.verdict.toUpperCase() + reason + reachedText(result, expected);
  if (result.verdict !== expected.verdict) return word;
  if (expected.at === undefined && expected.by === undefined) return word;
  const stage = deciding(result, result.verdict === "deny" ? undefined : expected.at);
  const at = result.at ?? (expected.at === undefined ? undefined : stage?.stage);
  const by = stage?.policy === undefined ? stage && isolating(stage).join(", ")
    : `${stage.policy} ${stage.path ?? ""}`.trim();
  return word + (at === undefined ? "" : ` at ${at}`) +
    (by === undefined || by === "" ? ` by no policy` : ` by ${by}`);
}
