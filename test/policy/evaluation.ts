// One direction of one endpoint (calico.md 2.2): tiers in order, policies in order, rules in order,
// profiles, deny; what is staged is left out.
import { ALLOW, DENY, PASS, sent, type Cell } from "./cells.ts";
import type { Row } from "./table24.ts";
import type { TierState } from "../../host/model/state.ts";
import type { Rule } from "../../host/model/rule.ts";

/** A tier of pod b's, with policies of these rules; `staged` says which are. */
function tier(
  cell: Cell, name: string, policies: Rule[][], defaultAction: TierState["defaultAction"],
  staged: number[] = [],
): Cell {
  const keys = policies.map((rules, i) =>
    cell.policy(rules, { tier: name, staged: staged.includes(i) }));
  cell.pod("b").tiers.push({ name, defaultAction, ingress: keys, egress: [] });
  return cell;
}
const profiles = (cell: Cell, ...names: string[]): Cell => {
  cell.pod("b").profiles = names;
  return cell;
};
const http: Rule = { action: "allow", protocol: "tcp", destinationPorts: [80] };
const https: Rule = { action: "allow", protocol: "tcp", destinationPorts: [443] };
const log: Rule = { action: "log" };

type Line = [title: string, reason: string, by: string, make: (cell: Cell) => unknown];
const LINES: Line[] = [
  ["no tiers and no profiles deny", "PolicyDenied", "profiles", (cell) => profiles(cell)],
  ["no tiers: the profile allows", "Allowed", "Profile kns.shop", () => {}],
  ["a tier without a match denies by default", "PolicyDenied", "tier default", (cell) =>
    tier(cell, "default", [[https]], "deny")],
  ["a tier without a match passes where that is its default", "Allowed", "Profile kns.shop",
    (cell) => tier(cell, "default", [[https]], "pass")],
  ["a tier without policies is skipped, default action included", "Allowed", "Profile kns.shop",
    (cell) => tier(cell, "default", [], "deny")],
  ["a tier whose policies are all of the other direction is skipped", "Allowed",
    "Profile kns.shop", (cell) => cell.onPod("b", "egress", DENY)],
  ["a policy without rules makes its tier's default action count", "PolicyDenied", "tier default",
    (cell) => tier(cell, "default", [[]], "deny")],
  ["the first policy that matches decides", "PolicyDenied", "NetworkPolicy shop/policy-1",
    (cell) => tier(cell, "default", [DENY, ALLOW], "pass")],
  ["a policy that does not match leaves it to the next", "Allowed", "NetworkPolicy shop/policy-2",
    (cell) => tier(cell, "default", [[https], [http]], "deny")],
  ["the first rule that matches decides", "Allowed", "NetworkPolicy shop/policy-1", (cell) =>
    tier(cell, "default", [[http, ...DENY]], "deny")],
  ["pass skips the tier's other policies, to the next tier", "Allowed",
    "NetworkPolicy shop/policy-3", (cell) => {
      tier(cell, "first", [PASS, DENY], "deny");
      tier(cell, "second", [ALLOW], "deny");
    }],
  ["pass out of the last tier leads to the profiles", "Allowed", "Profile kns.shop", (cell) =>
    tier(cell, "default", [[{ action: "pass" }, ...DENY]], "deny")],
  ["pass skips the tier's default action", "Allowed", "Profile kns.shop", (cell) =>
    tier(cell, "default", [PASS], "deny")],
  ["an earlier tier's deny beats a later tier's allow", "PolicyDenied",
    "NetworkPolicy shop/policy-1", (cell) => {
      tier(cell, "first", [DENY], "pass");
      tier(cell, "second", [ALLOW], "pass");
    }],
  ["log does not decide", "Allowed", "NetworkPolicy shop/policy-1", (cell) =>
    tier(cell, "default", [[log, log, http, ...DENY]], "deny")],
  ["log alone leaves it to the tier's end", "PolicyDenied", "tier default", (cell) =>
    tier(cell, "default", [[log]], "deny")],
  ["a staged deny is not enforced", "Allowed", "NetworkPolicy shop/policy-2", (cell) =>
    tier(cell, "default", [DENY, ALLOW], "deny", [0])],
  ["a staged allow is not enforced", "PolicyDenied", "tier default", (cell) =>
    tier(cell, "default", [ALLOW, [https]], "deny", [0])],
  ["a tier of staged policies alone is skipped", "Allowed", "Profile kns.shop", (cell) =>
    tier(cell, "default", [DENY], "deny", [0])],
  ["profiles are asked in order", "PolicyDenied", "Profile first", (cell) =>
    profiles(cell.profile("first", DENY), "first", "kns.shop")],
  ["a profile without a match leaves it to the next", "Allowed", "Profile kns.shop", (cell) =>
    profiles(cell.profile("first", [https]), "first", "kns.shop")],
  ["a profile's pass is deny", "PolicyDenied", "Profile first", (cell) =>
    profiles(cell.profile("first", PASS), "first", "kns.shop")],
  ["a profile that is missing drops", "PolicyDenied", "Profile gone", (cell) =>
    profiles(cell, "gone", "kns.shop")],
  ["a missing profile behind one that allows does not matter", "Allowed", "Profile kns.shop",
    (cell) => profiles(cell, "kns.shop", "gone")],
  ["no profile matched: deny", "PolicyDenied", "profiles", (cell) =>
    profiles(cell.profile("first", [https]), "first")],
];

export const EVALUATION: Row[] = LINES.map(([title, reason, by, make]) => ({
  title, reason, by, at: "Ingress",
  make: (cell) => {
    make(cell);
    return sent(cell, "a", "b");
  },
}));
