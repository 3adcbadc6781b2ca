// Tiers and profiles of one direction as one list: what each outcome is called, where a pass goes
// on, and lists that a user's module cuts.
import { describe, expect, test } from "vitest";
import { failsafeRules, unitOf, type Direction } from "../../../host/compile/chain.ts";
import type { Chain, Policy, ProgramRule, UserPolicy } from "../../../host/model/program.ts";
import type { Rule } from "../../../host/model/rule.ts";

const allow: Rule = { action: "allow", protocol: "tcp" }, deny: Rule = { action: "deny" };
const pass: Rule = { action: "pass", protocol: "udp" }, log: Rule = { action: "log" };
const module = { wasm: new Uint8Array([1, 2, 3]), sets: ["s"] };

function rulesOf(direction: Partial<Direction>): ProgramRule[] {
  const unit = unitOf({
    name: "ingress", rules: "inbound", tiers: [], end: { profiles: [] }, ...direction,
  });
  expect(unit.policies).toHaveLength(1);
  expect(unit.policies[0]!.name).toBe(unit.hook);
  return (unit.policies[0] as Policy).rules;
}
/** "index name action → next", a line a rule. */
const lines = (rules: readonly ProgramRule[]): string[] => rules.map(({ name, action, next }, i) =>
  `${i} ${name}: ${action}${next === undefined ? "" : ` → ${next}`}`);

describe("a direction as one list", () => {
  test("policy-flat: tiers, their ends, profiles and the last deny, each by name", () => {
    const rules = rulesOf({
      tiers: [
        { name: "security", defaultAction: "pass", policies: [
          { name: "GlobalNetworkPolicy a", rules: [allow, pass] },
          { name: "GlobalNetworkPolicy b", rules: [log, deny] },
        ] },
        { name: "empty", defaultAction: "deny", policies: [] },
        { name: "default", defaultAction: "deny", policies: [
          { name: "NetworkPolicy shop/db", rules: [
            {
              ...allow,
              origin: { path: "ingress[0]", peer: "from[1]", file: "db.yaml", line: 14 },
            },
            pass,
          ] },
        ] },
      ],
      end: { profiles: [{ name: "Profile kns.shop", rules: [pass, allow] }] },
    });
    expect(lines(rules)).toEqual([
      "0 GlobalNetworkPolicy a inbound[0]: allow",
      "1 GlobalNetworkPolicy a inbound[1]: pass → 5",
      "2 GlobalNetworkPolicy b inbound[0]: log",
      "3 GlobalNetworkPolicy b inbound[1]: deny",
      "4 tier security end: pass → 5",
      "5 NetworkPolicy shop/db ingress[0].from[1]: allow",
      "6 NetworkPolicy shop/db inbound[1]: pass → 8",
      "7 tier default end: deny",
      "8 Profile kns.shop inbound[0]: deny",
      "9 Profile kns.shop inbound[1]: allow",
      "10 no profile matched: deny",
    ]);
    expect(rules[5]).toMatchObject({
      tier: "default", policy: "NetworkPolicy shop/db",
      origin: { path: "ingress[0]", peer: "from[1]", file: "db.yaml", line: 14 },
    });
    expect(rules[7]).toMatchObject({
      tier: "default", origin: { path: "tier default: default action" },
    });
    expect(rules[7]!.policy).toBeUndefined();
    expect(rules[8]).toMatchObject({ policy: "Profile kns.shop" });
    expect(rules[8]!.tier).toBeUndefined();
  });

  test("nothing at all is denied, by the end of profiles", () => {
    expect(lines(rulesOf({}))).toEqual(["0 no profile matched: deny"]);
  });

  test("forward: what no tier decides is allowed; a tier's own end stands", () => {
    const tiers: Direction["tiers"] = [
      { name: "t", defaultAction: "pass", policies: [{ name: "P", rules: [pass] }] },
      { name: "u", defaultAction: "deny", policies: [{ name: "Q", rules: [pass] }] },
    ];
    expect(lines(rulesOf({ tiers, end: "allow" }))).toEqual([
      "0 P inbound[0]: pass → 2", "1 tier t end: pass → 2", "2 Q inbound[0]: pass → 4",
      "3 tier u end: deny", "4 no forward policy decided: allow",
    ]);
  });

  test("untracked: failsafes and passes go on to the end, which says nothing", () => {
    const head = failsafeRules([{ protocol: "tcp", port: 22, prefix: "10.0.0.0/8" }], "source",
      "destination", "pass");
    const rules = rulesOf({
      head, end: "no-match",
      tiers: [{ name: "t", defaultAction: "deny", policies: [{ name: "P", rules: [pass, deny] }] }],
    });
    expect(lines(rules)).toEqual([
      "0 failsafe: pass → 4", "1 P inbound[0]: pass → 4", "2 P inbound[1]: deny",
      "3 tier t end: pass → 4", "4 no policy decided: log",
    ]);
    expect(rules[0]).toMatchObject({
      protocol: "tcp", source: ["10.0.0.0/8"], destinationPorts: [22],
      origin: { path: "failsafe tcp:10.0.0.0/8:22" },
    });
    expect(failsafeRules([{ protocol: "udp", port: 53 }], "destination", "source", "allow"))
      .toEqual([{
        name: "failsafe", action: "allow", protocol: "udp", sourcePorts: [53],
        origin: { path: "failsafe udp:53" },
      }]);
  });

  test("equal content has one name, other content another", () => {
    const unit = (rules: Rule[]): string => unitOf({
      name: "ingress", rules: "inbound", end: { profiles: [] },
      tiers: [{ name: "t", defaultAction: "deny", policies: [{ name: "P", rules }] }],
    }).hook;
    expect(unit([allow])).toBe(unit([{ ...allow }]));
    expect(unit([allow])).not.toBe(unit([deny]));
  });
});

test("policy-user: a user's module cuts the list: no match goes on behind it, a pass by tier",
  () => {
    const unit = unitOf({
      name: "egress", rules: "outbound",
      tiers: [
        { name: "first", defaultAction: "pass", policies: [{ name: "A", rules: [allow, pass] }] },
        { name: "second", defaultAction: "deny", policies: [
          { name: "B", rules: [pass] }, { name: "ModulePolicy hours", rules: [], module },
          { name: "C", rules: [allow] },
        ] },
        { name: "third", defaultAction: "deny", policies: [{ name: "D", rules: [allow] }] },
      ],
      end: { profiles: [] },
    });
    const chain = unit.policies.find((policy): policy is Chain => "steps" in policy)!;
    expect(chain.name).toBe(unit.hook);
    const steps = chain.steps.map(({ policy, onPass }) => {
      const own = unit.policies.find(({ name }) => name === policy) as Policy | UserPolicy;
      return { onPass, has: "rules" in own ? lines(own.rules) : own.wasm };
    });
    expect(steps).toEqual([
      { onPass: 3, has: [
        "0 A outbound[0]: allow", "1 A outbound[1]: pass → 3", "2 tier first end: pass → 3",
        "3 B outbound[0]: pass",
      ] },
      { onPass: 3, has: module.wasm },
      { onPass: 4, has: ["0 C outbound[0]: allow", "1 tier second end: deny"] },
      { onPass: 4, has: [
        "0 D outbound[0]: allow", "1 tier third end: deny", "2 no profile matched: deny",
      ] },
    ]);
    const user = unit.policies.find((policy): policy is UserPolicy => "wasm" in policy)!;
    expect(user.sets).toEqual(["s"]);
    expect(user.name).toMatch(/^ModulePolicy hours /);
  });
