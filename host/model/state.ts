// What one node has to enforce, as Felix's calculation graph says it: sets, policies, profiles,
// endpoints. host/input/felix.ts mirrors it from Felix's stream, host/calc works it out from
// manifests; host/compile/node.ts makes a program (program.ts) of it.
//
//   endpoint ─ tiers, in order ─ names of policies ─ rules ─ ids of sets
//            └ profiles, in order
//
// References may dangle only where Felix's may: an endpoint may name a profile that is not there.
// Source: projectcalico felix/proto/felixbackend.proto, felix/docs/config-params.md.
import type { AddressSet, EndpointToHost, Service } from "./program.ts";
import type { Origin, Rule } from "./rule.ts";

export interface StateSet extends AddressSet {
  members: Set<string>;
}

/** "Kind namespace/name": what reports call a policy, and the key of it. */
export type PolicyKey = string;

export interface PolicyState {
  /** NetworkPolicy, GlobalNetworkPolicy, StagedNetworkPolicy …: the author's kind. */
  kind: string;
  /** "" for a cluster's. */
  namespace: string;
  name: string;
  tier: string;
  /** Rules for traffic to the endpoint, and from it. */
  inbound: Rule[];
  outbound: Rule[];
  untracked?: boolean;
  preDnat?: boolean;
  /** Staged: counted, never enforced. */
  staged?: boolean;
  /** A user's module in place of rules. */
  module?: { wasm: Uint8Array; sets: string[] };
  origin?: Origin;
}

export interface ProfileState {
  name: string;
  inbound: Rule[];
  outbound: Rule[];
}

/** A tier as one endpoint has it: which of its policies select the endpoint. */
export interface TierState {
  name: string;
  defaultAction: "deny" | "pass";
  ingress: PolicyKey[];
  egress: PolicyKey[];
}

export interface WorkloadState {
  /** "orchestrator/workload/endpoint", where workload is "namespace/pod". */
  id: string;
  /** "namespace/pod". */
  workload: string;
  /** Name of its interface on the host. */
  interface: string;
  active: boolean;
  /** Addresses and prefixes, both families. */
  addresses: string[];
  tiers: TierState[];
  profiles: string[];
  allowedSources: string[];
}

export interface HostEndpointState {
  id: string;
  /** Name of an interface, "*" for all, "" = by expected addresses. */
  interface: string;
  expectedAddresses: string[];
  tiers: TierState[];
  untrackedTiers: TierState[];
  preDnatTiers: TierState[];
  forwardTiers: TierState[];
  profiles: string[];
}

/** A port that host endpoints never lose. */
export interface Failsafe {
  protocol: "tcp" | "udp" | "sctp";
  port: number;
  /** Any where absent. */
  prefix?: string;
}

/** Felix' parameters that bear on verdicts; parseConfig() in host/compile/config.ts fills them. */
export interface NodeConfig {
  failsafeInbound: Failsafe[];
  failsafeOutbound: Failsafe[];
  endpointToHost: EndpointToHost;
  vxlanPort: number;
  vxlanEnabled: boolean;
  ipipEnabled: boolean;
  allowVxlanFromWorkloads: boolean;
  allowIpipFromWorkloads: boolean;
  /** May workloads' annotations allow other sources (WorkloadSourceSpoofing=Any)? */
  anySourceSpoofing: boolean;
}

export interface NodeState {
  sets: Map<string, StateSet>;
  policies: Map<PolicyKey, PolicyState>;
  profiles: Map<string, ProfileState>;
  workloads: Map<string, WorkloadState>;
  hostEndpoints: Map<string, HostEndpointState>;
  /** Every node's name and addresses. */
  hosts: Map<string, string[]>;
  /** Felix' parameters as they came, by name ("VXLANPort"). */
  config: Map<string, string>;
  /** Frontends as this node serves them; Felix's stream tells none. */
  services: Service[];
  /** IP pools: natOutgoing and who is inside. */
  pools: PoolState[];
  /** Prefixes that Services' addresses are taken from, where they are known. */
  serviceNetworks: string[];
}

/** An IP pool (projectcalico.org/v3 IPPool; felix IPAMPool). */
export interface PoolState {
  cidr: string;
  /** natOutgoing: what leaves from it to no pool bears the node's address. */
  masquerade: boolean;
}

/** The node's own interfaces, which neither Felix nor manifests know: the host tells. */
export interface NodeDevices {
  /** Uplinks by name, with the node's addresses on them. */
  uplinks: {
    name: string;
    addresses: string[];
    routes: string[];
    /** It bears what other nodes pass on for their Services' clients (DSR), and nothing else. */
    peer?: boolean;
  }[];
}

export function policyKey(kind: string, namespace: string, name: string): PolicyKey {
  return `${kind} ${namespace === "" ? name : `${namespace}/${name}`}`;
}

export function emptyState(): NodeState {
  return {
    sets: new Map(), policies: new Map(), profiles: new Map(), workloads: new Map(),
    hostEndpoints: new Map(), hosts: new Map(), config: new Map(), services: [],
    pools: [], serviceNetworks: [],
  };
}
