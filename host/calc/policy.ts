// A policy of any kind, in one form: where it stands, whom it selects, its rules as RuleSpecs.
//
//   NetworkPolicy (Kubernetes) ─ kubernetes.ts ─┐
//   ClusterNetworkPolicy, AdminNetworkPolicy …  ─ cluster.ts ─┼─ PolicySpec ─ calculate.ts
//   GlobalNetworkPolicy, NetworkPolicy, staged  ─ calico.ts ──┤
//   ModulePolicy ─ module.ts ───────────────────┘
import type { Manifest } from "../model/snapshot.ts";
import type { RuleSpec } from "./rule.ts";

export const DEFAULT_TIER = "default";
export const ADMIN_TIER = "kube-admin";
export const BASELINE_TIER = "kube-baseline";
/** Order of Kubernetes' NetworkPolicies in the default tier. */
export const KUBERNETES_ORDER = 1000;

export interface PolicySpec {
  /** The author's kind, and Felix' name of it, which ties are broken by. */
  kind: string;
  felixKind: string;
  /** "" of a cluster's. */
  namespace: string;
  name: string;
  tier: string;
  /** Infinity where it has none. */
  order: number;
  /** Text of the selector of the endpoints that it is for, namespace and all. */
  selector: string;
  ingress: boolean;
  egress: boolean;
  inbound: RuleSpec[];
  outbound: RuleSpec[];
  untracked: boolean;
  preDnat: boolean;
  applyOnForward: boolean;
  staged: boolean;
  /** Kept on every node, even where it selects nothing (performance hint). */
  everywhere: boolean;
  /** A user's module instead of rules, and selector texts of the sets that it asks for. */
  module?: { wasm: Uint8Array; sets: string[] };
  manifest: Manifest;
}

/** A policy's fields that most kinds leave as they are. */
export function plainPolicy(manifest: Manifest, felixKind: string): PolicySpec {
  return {
    kind: manifest.kind, felixKind, namespace: manifest.namespace, name: manifest.name,
    tier: DEFAULT_TIER, order: Infinity, selector: "", ingress: false, egress: false,
    inbound: [], outbound: [], untracked: false, preDnat: false, applyOnForward: false,
    staged: false, everywhere: false, manifest,
  };
}
