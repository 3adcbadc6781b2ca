// Tiers, policies and profiles of one direction of an endpoint, flattened to one list of rules in
// which the first match decides, so that every outcome has an index and a name.
//
//   head (failsafes) │ tier a: rules … end rule │ tier b: rules … end rule │ profiles │ no profile
//                      pass ──────────────────────► pass ──────────────────► deny
//
//   tier without policies: skipped, its default action too        profile's pass: deny
//   forward:   behind the last tier, allow       untracked, preDNAT: behind the last tier, no match
//   a user's module among the policies cuts the list (cut.ts) into policies joined by a chain
//
// Source: calico.md 2.2 and 2.4; projectcalico felix/bpf/polprog/pol_prog_builder.go.
import { createHash } from "node:crypto";
import type { Chain, Policy, ProgramRule, UserPolicy } from "../model/program.ts";
import type { Origin, Rule } from "../model/rule.ts";
import { cut, rulesOf } from "./cut.ts";
import { contentOf } from "./plan.ts";

/** Rules as one author's object has them for one direction, or a module in their place. */
export interface Source {
  /** "NetworkPolicy shop/db", "Profile kns.shop". */
  name: string;
  rules: readonly Rule[];
  module?: { wasm: Uint8Array; sets: string[] };
  /** Of a module: where its policy stands. */
  origin?: Origin;
}

export interface TierSource {
  name: string;
  defaultAction: "deny" | "pass";
  policies: readonly Source[];
}

export interface Direction {
  /** "ingress": what unit names begin with. */
  name: string;
  /** "inbound" or "outbound": for rules whose origin is not known. */
  rules: "inbound" | "outbound";
  /** In front of all tiers. */
  head?: readonly ProgramRule[];
  tiers: readonly TierSource[];
  /** What stands behind the last tier: profiles, or what becomes of a packet. */
  end: { profiles: readonly Source[] } | "allow" | "no-match";
}

/** What a hook of an endpoint asks, and what it is made of. */
export interface Unit {
  /** Name of a policy, user policy or chain among `policies`. */
  hook: string;
  policies: (Policy | UserPolicy | Chain)[];
}

/** An entry of the flat list: a rule, or a module that may pass or say nothing. */
type Entry = ProgramRule & { module?: Source["module"] };

/** Marks a pass that goes on behind its tier, until it is known where that is. */
const NEXT_TIER = -1;

export function unitOf(direction: Direction): Unit {
  const entries = flatten(direction);
  const modules = entries.some(({ module }) => module !== undefined);
  if (!modules) {
    const policy = named(direction.name, entries);
    return { hook: policy.name, policies: [policy] };
  }
  return chainOf(direction.name, entries);
}

function flatten(direction: Direction): Entry[] {
  const { head = [], tiers, end } = direction;
  const entries: Entry[] = [...head];
  for (const tier of tiers) {
    if (tier.policies.length === 0) continue;
    const from = entries.length;
    for (const policy of tier.policies) entries.push(...entriesOf(policy, direction, tier.name));
    entries.push(endRule(`tier ${tier.name} end`, end === "no-match" ? "pass" : tier.defaultAction,
      `tier ${tier.name}: default action`, tier.name));
    // Passes of the tier that ends here go on behind it.
    for (let i = from, to = entries.length; i < to; i++) {
      if (entries[i]!.next === NEXT_TIER) entries[i]!.next = to;
    }
  }
  if (end === "allow") {
    entries.push(endRule("no forward policy decided", "allow", "no forward policy decided"));
  } else if (end === "no-match") {
    // Never matches: what a pass goes on to when nothing is behind it.
    entries.push(endRule("no policy decided", "log", "no policy decided"));
  } else {
    for (const profile of end.profiles) {
      for (const entry of entriesOf(profile, direction)) {
        if (entry.action === "pass") entry.action = "deny";
        delete entry.next;
        entries.push(entry);
      }
    }
    entries.push(endRule("no profile matched", "deny", "no profile matched"));
  }
  // Those of the head go behind all tiers.
  return entries.map((entry) =>
    entry.next === NEXT_TIER ? { ...entry, next: entries.length - 1 } : entry);
}

function entriesOf(source: Source, direction: Direction, tier?: string): Entry[] {
  const whose = tier === undefined ? { policy: source.name } : { tier, policy: source.name };
  if (source.module) {
    const rule: ProgramRule = { name: source.name, action: "pass", next: NEXT_TIER };
    if (source.origin) rule.origin = source.origin;
    return [{ ...rule, ...whose, module: source.module }];
  }
  return source.rules.map((rule, i): Entry => {
    const origin = rule.origin ?? { path: `${direction.rules}[${i}]` };
    const place = origin.peer ? `${origin.path}.${origin.peer}` : origin.path;
    const entry: Entry = { ...rule, ...whose, name: `${source.name} ${place}`, origin };
    if (rule.action === "pass") entry.next = NEXT_TIER;
    return entry;
  });
}

function endRule(
  name: string, action: Rule["action"], path: string, tier?: string,
): Entry {
  const origin: Origin = { path };
  const rule: Entry = { name, action, origin };
  if (tier !== undefined) rule.tier = tier;
  if (action === "pass") rule.next = NEXT_TIER;
  return rule;
}

/** The name says the content, so that equal units of many endpoints are one policy. */
function named(name: string, rules: ProgramRule[]): Policy {
  return { name: `${name} ${contentOf({ name: "", rules }).slice(0, 16)}`, rules };
}

function chainOf(name: string, entries: Entry[]): Unit {
  const segments = cut(
    entries, (i) => (entries[i]!.module ? "module" : "rules"),
    (kind) => (kind === "module" ? 1 : entries.length),
  );
  const own = segments.map((segment): Policy | UserPolicy => {
    const first = entries[segment.from]!;
    if (first.module) return userPolicy(first, first.module);
    return named(name, rulesOf(entries, segment));
  });
  const steps = segments.map(({ target }, i) => {
    const onPass = segments.findIndex(({ from }) => from === target);
    return { policy: own[i]!.name, onPass: onPass < 0 ? segments.length : onPass };
  });
  const hash = createHash("sha256").update(JSON.stringify(steps)).digest("base64").slice(0, 16);
  const chain: Chain = { name: `${name} chain ${hash}`, steps };
  return { hook: chain.name, policies: [...own, chain] };
}

function userPolicy(
  { module: _, next: __, ...rule }: Entry, { wasm, sets }: NonNullable<Source["module"]>,
): UserPolicy {
  const hash = createHash("sha256").update(wasm).update(JSON.stringify(sets)).digest("base64");
  return { name: `${rule.policy ?? rule.name} ${hash.slice(0, 16)}`, wasm, sets, rule };
}

/** Rules that let failsafe ports through, for one direction; `action` pass: to what is behind. */
export function failsafeRules(
  ports: readonly { protocol: "tcp" | "udp" | "sctp"; port: number; prefix?: string }[],
  address: "source" | "destination", port: "source" | "destination", action: "allow" | "pass",
): ProgramRule[] {
  return ports.map((each) => {
    const what = `${each.protocol}:${each.prefix ? `${each.prefix}:` : ""}${each.port}`;
    const rule: ProgramRule = {
      name: "failsafe", action, protocol: each.protocol, [`${port}Ports`]: [each.port],
      origin: { path: `failsafe ${what}` },
    };
    if (each.prefix !== undefined) rule[address] = [each.prefix];
    if (action === "pass") rule.next = NEXT_TIER;
    return rule;
  });
}
