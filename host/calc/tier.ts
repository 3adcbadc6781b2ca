// Tiers, and which policies stand where in them.
//
//   tiers by (order, none last; name) ─ policies by (order, none last; "name/namespace/kind")
//
// Three tiers are always there: kube-admin (1,000, pass), default (1,000,000, deny),
// kube-baseline (10,000,000, pass). A policy of a tier that is not there never applies.
// Source: projectcalico felix/calc/policy_sorter.go, event_sequencer.go (tierInfoToProtoTierInfo).
import type { Manifest } from "../model/snapshot.ts";
import { policyKey, type PolicyKey, type TierState } from "../model/state.ts";
import { numberAt, objectAt, textAt } from "./field.ts";
import { ADMIN_TIER, BASELINE_TIER, DEFAULT_TIER, type PolicySpec } from "./policy.ts";
import type { Report } from "./report.ts";

export interface Tier {
  name: string;
  /** Infinity where it has none. */
  order: number;
  defaultAction: TierState["defaultAction"];
}

/** A tier and its policies, in the order they are asked in. */
export interface TierPolicies extends Tier {
  policies: PolicySpec[];
}

const BUILT_IN: readonly Tier[] = [
  { name: ADMIN_TIER, order: 1_000, defaultAction: "pass" },
  { name: DEFAULT_TIER, order: 1_000_000, defaultAction: "deny" },
  { name: BASELINE_TIER, order: 10_000_000, defaultAction: "pass" },
];

/** Those of manifests and those that are always there, in order. */
export function tiersOf(manifests: readonly Manifest[]): Tier[] {
  const tiers = new Map(BUILT_IN.map((tier) => [tier.name, tier]));
  for (const { name, value } of manifests) {
    const spec = objectAt(value, "spec");
    const known = tiers.get(name);
    const action = textAt(spec, "defaultAction").toLowerCase();
    tiers.set(name, {
      name,
      order: numberAt(spec, "order") ?? known?.order ?? Infinity,
      defaultAction: action === "" && known ? known.defaultAction
        : action === "pass" ? "pass" : "deny",
    });
  }
  return [...tiers.values()].sort((a, b) => byOrder(a.order, b.order) || byText(a.name, b.name));
}

/** Policies into their tiers; one whose tier is not there is warned of and left out. */
export function sortPolicies(
  tiers: Tier[], policies: PolicySpec[], report: Report,
): TierPolicies[] {
  const sorted = new Map(tiers.map((tier) => [tier.name, { ...tier, policies: [] }] as
    [string, TierPolicies]));
  for (const policy of policies) {
    const tier = sorted.get(policy.tier);
    if (tier) {
      tier.policies.push(policy);
      continue;
    }
    const names = tiers.map(({ name }) => name).join(", ");
    report.warning(policy.manifest, ["spec", "tier"],
      `tier "${policy.tier}" does not exist; it would never run. Tiers: ${names}`);
  }
  const tie = ({ name, namespace, felixKind }: PolicySpec): string => {
    return `${name}/${namespace}/${felixKind}`;
  };
  for (const tier of sorted.values()) {
    tier.policies.sort((a, b) => byOrder(a.order, b.order) || byText(tie(a), tie(b)));
  }
  return [...sorted.values()];
}

/** Tiers as an endpoint has them, by the phase that a policy is for. */
export interface EndpointTiers {
  normal: TierState[];
  untracked: TierState[];
  preDnat: TierState[];
  forward: TierState[];
}

/**
 * Of the policies that select an endpoint. doNotTrack and preDNAT stand in no other phase, and
 * their tiers pass at the end; applyOnForward stands in the normal phase too.
 */
export function endpointTiers(
  tiers: readonly TierPolicies[], keys: ReadonlyMap<PolicySpec, PolicyKey>,
): EndpointTiers {
  const found: EndpointTiers = { normal: [], untracked: [], preDnat: [], forward: [] };
  for (const { name, defaultAction, policies } of tiers) {
    const add = (
      to: TierState[], action: TierState["defaultAction"], which: PolicySpec[], egress = true,
    ): void => {
      const tier: TierState = { name, defaultAction: action, ingress: [], egress: [] };
      for (const policy of which) {
        const key = keys.get(policy)!;
        if (policy.ingress) tier.ingress.push(key);
        if (policy.egress && egress) tier.egress.push(key);
      }
      if (tier.ingress.length + tier.egress.length > 0) to.push(tier);
    };
    const tracked = policies.filter(({ untracked, preDnat }) => !untracked && !preDnat);
    add(found.normal, defaultAction, tracked);
    add(found.forward, defaultAction, tracked.filter(({ applyOnForward }) => applyOnForward));
    add(found.untracked, "pass", policies.filter(({ untracked }) => untracked));
    add(found.preDnat, "pass",
      policies.filter(({ untracked, preDnat }) => preDnat && !untracked), false);
  }
  return found;
}

/**
 * "NetworkPolicy shop/db". Where Kubernetes' and Calico's NetworkPolicy have one name, Calico's is
 * told apart as kubectl does it: "NetworkPolicy.projectcalico.org shop/db".
 */
export function policyKeys(policies: Iterable<PolicySpec>): Map<PolicySpec, PolicyKey> {
  const keys = new Map<PolicySpec, PolicyKey>();
  const taken = new Map<PolicyKey, string>();
  const kubernetesFirst = [...policies].sort((a, b) => {
    return Number(b.felixKind !== b.kind) - Number(a.felixKind !== a.kind);
  });
  for (const policy of kubernetesFirst) {
    const { kind, felixKind, namespace, name } = policy;
    const plain = policyKey(kind, namespace, name);
    const other = taken.get(plain);
    const clash = other !== undefined && other !== felixKind;
    keys.set(policy, clash ? policyKey(`${kind}.projectcalico.org`, namespace, name) : plain);
    if (!clash) taken.set(plain, felixKind);
  }
  return keys;
}

function byOrder(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

function byText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
