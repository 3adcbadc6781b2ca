// Rules that no packet reaches, for rules before them in the same policy and direction match all
// that they match. A rule of the author's may have become several (a peer, a protocol each): it is
// unreachable when each of them is.
import type { Converted } from "../calc/calculate.ts";
import { fieldFinding } from "../input/schema-issue.ts";
import type { Rule } from "../model/rule.ts";
import type { Finding, Manifest } from "../model/snapshot.ts";
import { covers, type Within } from "./cover.ts";
import { setWithin } from "./imply.ts";

export function neverReached(manifest: Manifest, { state, sets }: Converted): Finding[] {
  const inside: Within = (narrow, wide) => setWithin(sets.get(narrow)!, sets.get(wide)!);
  return (["inbound", "outbound"] as const).flatMap((direction) => {
    return unreachable(state[direction], inside).map(([path, by]) => {
      const message = by.length === 1 ? `never reached: ${by[0]} matches all that it matches`
        : `never reached: ${by.slice(0, -1).join(", ")} and ${by.at(-1)} match all that it matches`;
      return fieldFinding(manifest, ["spec", ...pathOf(path)], message, { severity: "warning" });
    });
  });
}

/** Paths of rules that can't be reached, each with the paths of those that stand before it. */
export function unreachable(rules: readonly Rule[], inside?: Within): [string, string[]][] {
  const groups = new Map<string, Rule[]>();
  for (const rule of rules) {
    const path = rule.origin?.path ?? "";
    const group = groups.get(path);
    if (group === undefined) groups.set(path, [rule]);
    else group.push(rule);
  }
  const before: Rule[] = [];
  const found: [string, string[]][] = [];
  for (const [path, group] of groups) {
    // A log rule is passed by, and stands in nobody's way.
    const by = group.map((rule) => before.find((each) => covers(each, rule, inside))?.origin?.path);
    if (by.every((each) => each !== undefined)) found.push([path, [...new Set(by as string[])]]);
    before.push(...group.filter(({ action }) => action !== "log"));
  }
  return found;
}

/** "egress[2]" → ["egress", 2]. */
export function pathOf(text: string): (string | number)[] {
  return [...text.matchAll(/([^.[\]]+)|\[(\d+)\]/g)].map(([, name, index]) => {
    return index === undefined ? name! : Number(index);
  });
}
