// Manifests → what one node has to enforce, as Felix would be told.
//
//   snapshot ─┬─ policies of every kind ─ PolicySpec ─ tiers in order ─┐
//             ├─ pods, host endpoints, sets of networks ─ LabelIndex ──┼─ a node: who is selected,
//             ├─ namespaces, accounts, profiles ─ labels and rules ────┤  by what, and which rules
//             └─ Services, slices ─ endpoints ─────────────────────────┘  and sets that takes
//
// Only policies that select something on the node are in its state, and only sets that their rules
// name; sets hold members of the whole cluster. States of several nodes share objects: read only.
// What is wrong in a manifest is a finding; the calculation goes on without it.
// Source: projectcalico felix/calc (the calculation graph), as calico.md section 2 tells it.
import type { Rule } from "../model/rule.ts";
import type { Finding, Manifest, Snapshot } from "../model/snapshot.ts";
import type {
  HostEndpointState, NodeState, PolicyKey, PolicyState, PoolState, ProfileState, WorkloadState,
} from "../model/state.ts";
import { emptyState } from "../model/state.ts";
import { calicoPolicy } from "./calico.ts";
import { clusterPolicy } from "./cluster.ts";
import { configOf } from "./config.ts";
import { profileLabels, things, type HostThing, type PodThing, type Thing } from "./endpoint.ts";
import { flagAt, objectAt, textAt } from "./field.ts";
import { LabelIndex, type LabelClass } from "./index.ts";
import { kubernetesPolicy } from "./kubernetes.ts";
import { SetMembers } from "./members.ts";
import { modulePolicy, type ModuleSource } from "./module.ts";
import { networkText } from "./net.ts";
import type { PolicySpec } from "./policy.ts";
import { profileStates } from "./profile.ts";
import { Report, originOf } from "./report.ts";
import { ruleOf, selectorSet, type RuleSpec, type SetDefinition } from "./rule.ts";
import { Selector } from "./selector/selector.ts";
import { ProgramServices, serviceEndpoints } from "./service.ts";
import {
  endpointTiers, policyKeys, sortPolicies, tiersOf, type EndpointTiers, type TierPolicies,
} from "./tier.ts";

export interface CalculateOptions {
  /** What was found wrong is added here. */
  findings?: Finding[];
  /** Reads the modules of ModulePolicies. */
  module?: ModuleSource;
}

/** A policy ready for any node: its rules as rules, and what sets they name. */
export interface Converted {
  key: PolicyKey;
  state: PolicyState;
  sets: Map<string, SetDefinition>;
  /** Classes of endpoints that it selects. */
  selects: LabelClass<Thing>[];
}

const CLUSTER_KINDS = new Set([
  "ClusterNetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy",
]);

/** The state of one node. For several nodes of a snapshot a Calculator does common work once. */
export function calculate(
  snapshot: Snapshot, node: string, options: CalculateOptions = {},
): NodeState {
  return new Calculator(snapshot, options).state(node);
}

export class Calculator {
  private readonly snapshot: Snapshot;
  private readonly report = new Report();
  private readonly index = new LabelIndex<Thing>();
  readonly members: SetMembers;
  private readonly tiers: TierPolicies[];
  /** Every policy of a tier that is there. */
  readonly converted = new Map<PolicySpec, Converted>();
  private readonly profiles: Map<string, { state: ProfileState; sets: Map<string, SetDefinition> }>;
  private readonly services: ProgramServices;
  private readonly pools: PoolState[];
  private readonly findings: Finding[] | undefined;
  private told = 0;

  constructor(snapshot: Snapshot, options: CalculateOptions = {}) {
    this.snapshot = snapshot;
    this.findings = options.findings;
    const labels = profileLabels(snapshot);
    const prefix = this.config("").get("InterfacePrefix")?.split(",")[0] || "cali";
    for (const thing of things(snapshot, labels, prefix, this.report)) {
      this.index.add(thing.labels, thing);
    }
    const endpoints = serviceEndpoints(snapshot, this.report);
    this.services = new ProgramServices(snapshot, endpoints, this.report);
    this.pools = snapshot.ipPools.flatMap((manifest) => poolOf(manifest, this.report));
    this.members = new SetMembers(this.index, endpoints, snapshot);
    const policies = readPolicies(snapshot.policies, this.report, options.module);
    this.tiers = sortPolicies(tiersOf(snapshot.tiers), policies, this.report);
    const keys = policyKeys(this.tiers.flatMap((tier) => tier.policies));
    for (const [policy, key] of keys) {
      try {
        this.converted.set(policy, this.convert(policy, key));
      } catch (error) {
        this.report.error(policy.manifest, ["spec"], (error as Error).message);
      }
    }
    this.profiles = profileStates(snapshot, labels, this.report);
    this.tell();
  }

  /** A name that no node bears has an empty state: hosts, config and services alone. */
  state(node: string): NodeState {
    const state = emptyState();
    const classes = this.index.classes
      .map((each) => [each, each.things.filter((thing) => isOn(thing, node))] as const)
      .filter(([, local]) => local.length > 0);
    const tiers = this.localTiers(new Set(classes.map(([each]) => each)), state);
    for (const [each, local] of classes) {
      const has = tiers.get(each)!;
      for (const thing of local) {
        if (thing.kind === "pod") addWorkload(thing, has, state);
        else if (thing.kind === "host") addHostEndpoint(thing, has, state);
      }
    }
    this.addProfiles(classes.flatMap(([, local]) => local), state);
    for (const { name, addresses } of this.snapshot.nodes) state.hosts.set(name, addresses);
    state.config = this.config(node);
    const { services, sets } = this.services.of(node, state.config);
    state.services = services;
    for (const set of sets) state.sets.set(set.id, set);
    state.pools = this.pools;
    state.serviceNetworks = this.services.networks;
    this.tell();
    return state;
  }

  /** What each class of the node's endpoints has; puts the policies and sets into the state. */
  private localTiers(
    local: ReadonlySet<LabelClass<Thing>>, state: NodeState,
  ): Map<LabelClass<Thing>, EndpointTiers> {
    const selected = new Map([...local].map((each) => [each, [] as TierPolicies[]]));
    const keys = new Map<PolicySpec, PolicyKey>();
    for (const { policies, ...tier } of this.tiers) {
      for (const policy of policies) {
        const known = this.converted.get(policy);
        if (!known) continue;
        const { key, selects, state: converted, sets } = known;
        const here = selects.filter((each) => local.has(each));
        if (here.length === 0 && !policy.everywhere) continue;
        keys.set(policy, key);
        state.policies.set(key, converted);
        this.addSets(sets, state);
        for (const each of here) {
          const tiers = selected.get(each)!;
          if (tiers.at(-1)?.name !== tier.name) tiers.push({ ...tier, policies: [] });
          tiers.at(-1)!.policies.push(policy);
        }
      }
    }
    return new Map([...selected].map(([each, tiers]) => [each, endpointTiers(tiers, keys)]));
  }

  private addProfiles(local: Thing[], state: NodeState): void {
    const names = new Set(local.flatMap((thing) => {
      return thing.kind === "networks" ? [] : thing.profiles;
    }));
    for (const name of names) {
      const found = this.profiles.get(name);
      if (found) this.addSets(found.sets, state);
      state.profiles.set(name, found?.state ?? missingProfile(name));
    }
  }

  private addSets(sets: ReadonlyMap<string, SetDefinition>, state: NodeState): void {
    for (const [id, definition] of sets) {
      if (!state.sets.has(id)) state.sets.set(id, this.members.set(definition));
    }
  }

  private convert(policy: PolicySpec, key: PolicyKey): Converted {
    const sets = new Map<string, SetDefinition>();
    const rules = (specs: RuleSpec[]): Rule[] => specs.map((spec) => {
      return ruleOf(spec, policy.namespace, sets);
    });
    const { kind, namespace, name, tier, untracked, preDnat, staged, module, manifest } = policy;
    const state: PolicyState = {
      kind, namespace, name, tier,
      inbound: rules(policy.inbound), outbound: rules(policy.outbound),
      origin: originOf(manifest, []),
    };
    if (untracked) state.untracked = true;
    if (preDnat) state.preDnat = true;
    if (staged) state.staged = true;
    if (module) {
      const ids = module.sets.map((text) => {
        const definition = selectorSet(Selector.parse(text));
        sets.set(definition.id, definition);
        return definition.id;
      });
      state.module = { wasm: module.wasm, sets: ids };
    }
    const selects = this.index.select(Selector.parse(policy.selector));
    return { key, state, sets, selects };
  }

  private config(nodeName: string): Map<string, string> {
    const node = this.snapshot.nodes.find(({ name }) => name === nodeName);
    return configOf(this.snapshot, node, nodeName, this.report);
  }

  /** Passes on what was found since the last time. */
  private tell(): void {
    this.findings?.push(...this.report.findings.slice(this.told));
    this.told = this.report.findings.length;
  }
}

/** How Calico's API shows Kubernetes' NetworkPolicies among its own. */
const SHOWN_KUBERNETES = "knp.default.";

/**
 * Of two with one kind and name the later stands, as `kubectl apply` would leave it. What Calico's
 * API shows of a Kubernetes policy that is there itself is left out.
 */
function readPolicies(
  manifests: readonly Manifest[], report: Report, module: ModuleSource | undefined,
): PolicySpec[] {
  const policies = new Map<string, PolicySpec>();
  for (const manifest of manifests) {
    const policy = readPolicy(manifest, report, module);
    if (policy) policies.set(`${policy.felixKind} ${policy.namespace}/${policy.name}`, policy);
  }
  return [...policies.values()].filter(({ kind, namespace, name }) => {
    const shown = kind === "NetworkPolicy" && name.startsWith(SHOWN_KUBERNETES);
    const own = name.slice(SHOWN_KUBERNETES.length);
    return !(shown && policies.has(`KubernetesNetworkPolicy ${namespace}/${own}`));
  });
}

function readPolicy(
  manifest: Manifest, report: Report, module: ModuleSource | undefined,
): PolicySpec | undefined {
  const { kind, apiVersion } = manifest;
  if (kind === "ModulePolicy") return modulePolicy(manifest, report, module);
  if (CLUSTER_KINDS.has(kind)) return clusterPolicy(manifest, report);
  const kubernetes = kind === "NetworkPolicy" && apiVersion.startsWith("networking.k8s.io/");
  return kubernetes || kind === "StagedKubernetesNetworkPolicy"
    ? kubernetesPolicy(manifest, report)
    : calicoPolicy(manifest, report);
}

function poolOf(manifest: Manifest, report: Report): PoolState[] {
  const spec = objectAt(manifest.value, "spec");
  try {
    const cidr = networkText(textAt(spec, "cidr"));
    return [{ cidr, masquerade: flagAt(spec, "natOutgoing") }];
  } catch (error) {
    report.error(manifest, ["spec", "cidr"], (error as Error).message);
    return [];
  }
}

function isOn(thing: Thing, node: string): boolean {
  return thing.kind !== "networks" && thing.node === node;
}

function addWorkload(thing: PodThing, tiers: EndpointTiers, state: NodeState): void {
  const { pod, addresses, profiles, allowedSources } = thing;
  const workload = `${pod.namespace}/${pod.name}`;
  const id = `k8s/${workload}/eth0`;
  const endpoint: WorkloadState = {
    id, workload, interface: thing.interface, active: true, addresses,
    tiers: tiers.normal, profiles, allowedSources,
  };
  state.workloads.set(id, endpoint);
}

function addHostEndpoint(thing: HostThing, tiers: EndpointTiers, state: NodeState): void {
  const endpoint: HostEndpointState = {
    id: thing.name, interface: thing.interface, expectedAddresses: thing.addresses,
    tiers: tiers.normal, untrackedTiers: tiers.untracked, preDnatTiers: tiers.preDnat,
    forwardTiers: tiers.forward, profiles: thing.profiles,
  };
  state.hostEndpoints.set(thing.name, endpoint);
}

/** Felix tells of a profile that is not there as one that denies all. */
function missingProfile(name: string): ProfileState {
  const deny: Rule = { action: "deny", origin: { path: "no such profile" } };
  return { name, inbound: [deny], outbound: [deny] };
}
