// One direction of one endpoint, asked as calico.md says it in a dozen lines: tiers in order, their
// policies in order, their rules in order; then profiles; then deny. Every question gives an answer
// that names who decided.
import type { NodeState, TierState } from "../../host/model/state.ts";
import type { Rule } from "../../host/model/rule.ts";
import { mismatches, type Question } from "./rule.ts";

export type Direction = "ingress" | "egress";

export interface Answer {
  /** none: nothing there had anything to say. */
  action: "allow" | "deny" | "none";
  /**
   * Who: a policy's key, "Profile NAME", "tier NAME" for its default action, "profiles" where none
   * of them matched, "failsafe", or "" where there was nothing to ask.
   */
  by: string;
  /** Index of the rule in that policy or profile; -1 for what is no rule. */
  rule: number;
}
const nobody = (action: Answer["action"]): Answer => ({ action, by: "", rule: -1 });

/** Is told of each rule that is reached, and of the fields that kept it from matching. */
export type Watch = (rule: Rule, misses: (keyof Rule)[]) => void;

/** The first rule that decides; log does not. */
function firstMatch(rules: Rule[], q: Question, state: NodeState, watch?: Watch): number {
  return rules.findIndex((rule) => {
    if (rule.action === "log") return false;
    const misses = mismatches(rule, q, state.sets);
    watch?.(rule, misses);
    return misses.length === 0;
  });
}

export interface Options {
  watch?: Watch | undefined;
  /** Staged policies in their places. */
  staged?: boolean;
  /** What stands behind the last tier: profiles (normal), or an action. */
  end: { profiles: string[] } | "allow" | "none";
}

export function askTiers(
  state: NodeState, tiers: TierState[], direction: Direction, q: Question, options: Options,
): Answer {
  for (const tier of tiers) {
    const policies = tier[direction].map((key) => {
      const policy = state.policies.get(key);
      if (!policy) throw new Error(`tier ${tier.name} names ${key}, which is not there`);
      return { key, policy };
    }).filter(({ policy }) => options.staged || !isStaged(policy));
    if (policies.length === 0) continue;
    let answer: Answer | "pass" | undefined;
    for (const { key, policy } of policies) {
      const rules = direction === "ingress" ? policy.inbound : policy.outbound;
      const at = firstMatch(rules, q, state, options.watch);
      if (at < 0) continue;
      const action = rules[at]!.action as "allow" | "deny" | "pass";
      answer = action === "pass" ? "pass" : { action, by: key, rule: at };
      break;
    }
    if (answer === "pass") continue;
    if (answer) return answer;
    if (tier.defaultAction === "deny") return { action: "deny", by: `tier ${tier.name}`, rule: -1 };
  }
  if (options.end === "allow" || options.end === "none") return nobody(options.end);
  return askProfiles(state, options.end.profiles, direction, q, options);
}

function isStaged(policy: { kind: string; staged?: boolean }): boolean {
  return policy.staged === true || policy.kind.startsWith("Staged");
}

function askProfiles(
  state: NodeState, names: string[], direction: Direction, q: Question, options: Options,
): Answer {
  for (const name of names) {
    const profile = state.profiles.get(name);
    // Felix makes a missing profile one that drops everything.
    if (!profile) return { action: "deny", by: `Profile ${name}`, rule: -1 };
    const rules = direction === "ingress" ? profile.inbound : profile.outbound;
    const at = firstMatch(rules, q, state, options.watch);
    if (at < 0) continue;
    const action = rules[at]!.action === "allow" ? "allow" : "deny"; // a profile's pass is deny
    return { action, by: `Profile ${name}`, rule: at };
  }
  return { action: "deny", by: "profiles", rule: -1 };
}

/** Has any tier a policy of this direction? Staged ones count where they stand. */
export function hasPolicies(
  state: NodeState, tiers: TierState[], direction: Direction, staged = false,
): boolean {
  return tiers.some((tier) =>
    tier[direction].some((key) => staged || !isStaged(state.policies.get(key)!)));
}
