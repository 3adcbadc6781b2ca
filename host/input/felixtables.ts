// One stream's sets, policies, profiles and endpoints, by Felix's ids, kept in the form of the
// node's state (model/state.ts).
//
//   message ─► checked, converted ─► table entry (a new object; none is changed once given out)
//
// A policy is called as its author knows it: KubernetesNetworkPolicy is a NetworkPolicy. Calico has
// a NetworkPolicy too, and both may have one name: then Calico's is told apart as kubectl does it,
// "NetworkPolicy.projectcalico.org shop/db", here and in the tiers of endpoints.
// Source: projectcalico felix/proto/felixbackend.proto, libcalico-go/lib/backend/model/policy.go.
import { IPSetUpdate_IPSetType } from "./felixbackend_pb.ts";
import type {
  ActivePolicyUpdate, ActiveProfileUpdate, HostEndpoint, HostEndpointUpdate, IPSetDeltaUpdate,
  IPSetUpdate, PolicyID, TierInfo, ToDataplane, WorkloadEndpoint, WorkloadEndpointID,
  WorkloadEndpointUpdate,
} from "./felixbackend_pb.ts";
import { FelixError, at } from "./felixframe.ts";
import { FelixNetwork } from "./felixnetwork.ts";
import { checkIpPort, checkPrefix, prefixes, rules } from "./felixrule.ts";
import { emptyState, policyKey } from "../model/state.ts";
import type {
  HostEndpointState, NodeState, PolicyKey, PolicyState, ProfileState, StateSet, TierState,
  WorkloadState,
} from "../model/state.ts";

/** What the author's object is called where Felix gives it another name. */
const AUTHORS_KIND: Record<string, string> = {
  KubernetesNetworkPolicy: "NetworkPolicy",
  KubernetesClusterNetworkPolicy: "ClusterNetworkPolicy",
};
const SET_TYPES: Record<number, StateSet["type"]> = {
  [IPSetUpdate_IPSetType.IP]: "ip",
  [IPSetUpdate_IPSetType.IP_AND_PORT]: "ip-port",
  [IPSetUpdate_IPSetType.NET]: "net",
};

/** An endpoint as it came, and as it is in the state while no two policies share a name. */
interface Entry<Felix, State> {
  felix: Felix;
  state: State;
}

type Namer = (id: PolicyID) => PolicyKey;

export class FelixTables {
  readonly network = new FelixNetwork();
  /** By the object they are about. */
  readonly warnings = new Map<string, string[]>();
  private readonly sets = new Map<string, StateSet>();
  /** Sets whose members a state has been given. */
  private readonly given = new WeakSet<StateSet>();
  private readonly policies = new Map<string, { id: PolicyID; state: PolicyState }>();
  private readonly profiles = new Map<string, ProfileState>();
  private readonly workloads = new Map<string, Entry<WorkloadEndpoint, WorkloadState>>();
  private readonly hostEndpoints = new Map<string, Entry<HostEndpoint, HostEndpointState>>();
  private config = new Map<string, string>();
  private messages = 0;

  /** Has no message come? */
  get untouched(): boolean {
    return this.messages === 0;
  }

  /** Workloads as Felix told them, by "orchestrator/workload/endpoint": MAC, floating addresses. */
  get workloadEndpoints(): Map<string, WorkloadEndpoint> {
    return new Map([...this.workloads].map(([id, { felix }]) => [id, felix]));
  }

  apply(payload: ToDataplane["payload"]): void {
    const { case: kind, value } = payload;
    switch (kind) {
      case "configUpdate": this.config = new Map(Object.entries(value.config)); break;
      case "ipsetUpdate": this.setUpdate(value); break;
      case "ipsetDeltaUpdate": this.setDelta(value); break;
      case "ipsetRemove": this.sets.delete(value.id); break;
      case "activePolicyUpdate": this.policyUpdate(value); break;
      case "activePolicyRemove": this.policyRemove(required(value.id, "id")); break;
      case "activeProfileUpdate": this.profileUpdate(value); break;
      case "activeProfileRemove": this.profileRemove(required(value.id, "id").name); break;
      case "workloadEndpointUpdate": this.workloadUpdate(value); break;
      case "workloadEndpointRemove": this.workloads.delete(workloadId(value.id)); break;
      case "hostEndpointUpdate": this.hostEndpointUpdate(value); break;
      case "hostEndpointRemove": this.hostEndpoints.delete(required(value.id, "id").endpointId);
        break;
      default: this.network.apply(payload);
    }
    this.messages++;
  }

  state(): NodeState {
    const name = this.namer();
    const state = emptyState();
    for (const [id, set] of this.sets) {
      state.sets.set(id, set);
      this.given.add(set);
    }
    for (const { id, state: policy } of this.policies.values()) {
      state.policies.set(name(id), policy);
    }
    for (const [id, profile] of this.profiles) state.profiles.set(id, profile);
    const plain = name === authorsKey;
    for (const [id, { felix, state: own }] of this.workloads) {
      state.workloads.set(id, plain ? own : workload(id, felix, name));
    }
    for (const [id, { felix, state: own }] of this.hostEndpoints) {
      state.hostEndpoints.set(id, plain ? own : hostEndpoint(id, felix, name));
    }
    for (const [hostname, { ipv4Addr, ipv6Addr }] of this.network.hosts()) {
      const addresses = [ipv4Addr, ipv6Addr].filter((text) => text !== "");
      state.hosts.set(hostname, addresses.map((text) => text.split("/")[0]!));
    }
    for (const [key, value] of this.config) state.config.set(key, value);
    state.pools = this.network.poolStates();
    state.serviceNetworks = this.network.serviceNetworks();
    return state;
  }

  private setUpdate({ id, type, members }: IPSetUpdate): void {
    const form = SET_TYPES[type];
    if (form === undefined) throw new FelixError(`${id}: type`, `unknown type ${type}`);
    checkMembers(form, members, `${id}: members`);
    this.sets.set(id, { id, type: form, members: new Set(members) });
  }

  private setDelta({ id, addedMembers, removedMembers }: IPSetDeltaUpdate): void {
    const set = this.sets.get(id);
    if (set === undefined) throw new FelixError(id, "there is no such set to change");
    checkMembers(set.type, addedMembers, `${id}: added_members`);
    let changed = set;
    if (this.given.has(set)) {
      changed = { ...set, members: new Set(set.members) };
      this.sets.set(id, changed);
    }
    for (const member of removedMembers) changed.members.delete(member);
    for (const member of addedMembers) changed.members.add(member);
  }

  private policyUpdate({ id: given, policy: felix }: ActivePolicyUpdate): void {
    const id = required(given, "id");
    const key = authorsKey(id), warnings: string[] = [];
    const policy = required(felix, `${key}: policy`);
    const warn = (text: string): number => warnings.push(`${key} ${text}`);
    const state: PolicyState = {
      kind: AUTHORS_KIND[id.kind] ?? id.kind,
      namespace: id.namespace,
      name: id.name,
      tier: policy.tier,
      inbound: at(key, () => rules(policy.inboundRules, "ingress", warn)),
      outbound: at(key, () => rules(policy.outboundRules, "egress", warn)),
      ...policy.untracked && { untracked: true },
      ...policy.preDnat && { preDnat: true },
      ...id.kind.startsWith("Staged") && { staged: true },
    };
    this.policies.set(felixKey(id), { id, state });
    this.warn(felixKey(id), warnings);
  }

  private policyRemove(id: PolicyID): void {
    this.policies.delete(felixKey(id));
    this.warnings.delete(felixKey(id));
  }

  private profileUpdate({ id, profile: felix }: ActiveProfileUpdate): void {
    const { name } = required(id, "id");
    const profile = required(felix, `${name}: profile`), warnings: string[] = [];
    const warn = (text: string): number => warnings.push(`Profile ${name} ${text}`);
    this.profiles.set(name, {
      name,
      inbound: at(name, () => rules(profile.inboundRules, "ingress", warn)),
      outbound: at(name, () => rules(profile.outboundRules, "egress", warn)),
    });
    this.warn(`Profile ${name}`, warnings);
  }

  private profileRemove(name: string): void {
    this.profiles.delete(name);
    this.warnings.delete(`Profile ${name}`);
  }

  private warn(about: string, warnings: string[]): void {
    if (warnings.length > 0) this.warnings.set(about, warnings);
    else this.warnings.delete(about);
  }

  private workloadUpdate({ id: given, endpoint }: WorkloadEndpointUpdate): void {
    const id = workloadId(given), felix = required(endpoint, `${id}: endpoint`);
    this.workloads.set(id, { felix, state: at(id, () => workload(id, felix, authorsKey)) });
  }

  private hostEndpointUpdate({ id: given, endpoint }: HostEndpointUpdate): void {
    const id = required(given, "id").endpointId, felix = required(endpoint, `${id}: endpoint`);
    const state = at(id, () => hostEndpoint(id, felix, authorsKey));
    this.hostEndpoints.set(id, { felix, state });
  }

  /** Names of policies; authorsKey itself where no two have the same. */
  private namer(): Namer {
    const seen = new Set<PolicyKey>(), twice = new Set<PolicyKey>();
    for (const { id } of this.policies.values()) {
      const key = authorsKey(id);
      (seen.has(key) ? twice : seen).add(key);
    }
    if (twice.size === 0) return authorsKey;
    return (id) => {
      const key = authorsKey(id);
      const isCalicos = twice.has(key) && !(id.kind in AUTHORS_KIND);
      return isCalicos ? policyKey(`${id.kind}.projectcalico.org`, id.namespace, id.name) : key;
    };
  }
}

function workload(id: string, felix: WorkloadEndpoint, name: Namer): WorkloadState {
  const [, ...rest] = id.split("/");
  return {
    id,
    workload: rest.slice(0, -1).join("/"),
    interface: felix.name,
    active: felix.state === "active",
    addresses: [
      ...addresses(felix.ipv4Nets, "ipv4_nets"), ...addresses(felix.ipv6Nets, "ipv6_nets"),
    ],
    tiers: tiers(felix.tiers, "tiers", name),
    profiles: felix.profileIds,
    allowedSources: prefixes(felix.allowSpoofedSourcePrefixes, "allow_spoofed_source_prefixes")
      ?? [],
  };
}

function hostEndpoint(id: string, felix: HostEndpoint, name: Namer): HostEndpointState {
  return {
    id,
    interface: felix.name,
    expectedAddresses: [
      ...addresses(felix.expectedIpv4Addrs, "expected_ipv4_addrs"),
      ...addresses(felix.expectedIpv6Addrs, "expected_ipv6_addrs"),
    ],
    tiers: tiers(felix.tiers, "tiers", name),
    untrackedTiers: tiers(felix.untrackedTiers, "untracked_tiers", name),
    preDnatTiers: tiers(felix.preDnatTiers, "pre_dnat_tiers", name),
    forwardTiers: tiers(felix.forwardTiers, "forward_tiers", name),
    profiles: felix.profileIds,
  };
}

function tiers(felix: TierInfo[], place: string, name: Namer): TierState[] {
  return felix.map((tier, index) => {
    const action = tier.defaultAction.toLowerCase();
    if (!["", "deny", "pass"].includes(action)) {
      const where = `${place}[${index}].default_action`;
      throw new FelixError(where, `"${tier.defaultAction}" is neither Deny nor Pass`);
    }
    return {
      name: tier.name,
      defaultAction: action === "pass" ? "pass" : "deny",
      ingress: tier.ingressPolicies.map(name),
      egress: tier.egressPolicies.map(name),
    };
  });
}

/** Whole addresses without their length: "10.0.0.1" for "10.0.0.1/32". */
function addresses(nets: string[], place: string): string[] {
  const full = (net: string): string => (net.includes(":") ? "/128" : "/32");
  return (prefixes(nets, place) ?? []).map((net) =>
    net.endsWith(full(net)) ? net.slice(0, -full(net).length) : net);
}

function checkMembers(type: StateSet["type"], members: string[], place: string): void {
  const check = type === "ip-port" ? checkIpPort : checkPrefix;
  members.forEach((member, index) => check(member, `${place}[${index}]`));
}

function workloadId(id: WorkloadEndpointID | undefined): string {
  const { orchestratorId, workloadId, endpointId } = required(id, "id");
  return `${orchestratorId}/${workloadId}/${endpointId}`;
}

function authorsKey({ kind, namespace, name }: PolicyID): PolicyKey {
  if (kind === "") throw new FelixError(`id "${name}"`, "no kind (Felix sends one since v3.32)");
  return policyKey(AUTHORS_KIND[kind] ?? kind, namespace, name);
}

function felixKey({ kind, namespace, name }: PolicyID): string {
  return policyKey(kind, namespace, name);
}

function required<T>(value: T | undefined, place: string): T {
  if (value === undefined) throw new FelixError(place, "missing");
  return value;
}
