// What one node's packet program is told, in plain objects: endpoints, services, policies, sets,
// routes. host/compile makes it from a node's state (state.ts) and turns it into records and
// modules; a program file (host/input/program.ts) holds one as JSON.
import type { Rule } from "./rule.ts";

export type { Protocol, Rule } from "./rule.ts";

/** A rule in its place: where a pass goes on, what it is called. */
export interface ProgramRule extends Rule {
  /** As the author knows it; printed with verdicts. */
  name: string;
  /** Of a pass: the index of the rule to go on at (forward only); absent = it leaves the policy. */
  next?: number;
  /** The author's tier; absent for a profile's rule. */
  tier?: string;
  /** "NetworkPolicy shop/db", "Profile kns.shop"; absent for the end of a tier or of profiles. */
  policy?: string;
}

/**
 * An ordered list of rules: the first that matches decides; none that does is "no match". One
 * policy of a program may hold whole tiers of an author's (host/compile/chain.ts).
 */
export interface Policy {
  name: string;
  rules: ProgramRule[];
}

/** A module that a user wrote against the public ABI, in place of rules. */
export interface UserPolicy {
  name: string;
  wasm: Uint8Array;
  /** Ids of the sets that its member() asks for, by number. */
  sets?: string[];
  /** What reports call its verdicts, and where its author names it. */
  rule?: ProgramRule;
}

/** Policies asked one after the other: what a pass leads to, and what stands at the end. */
export interface Chain {
  name: string;
  /** Names of policies that are no chains; `onPass`: index of the step to go on at. */
  steps: { policy: string; onPass: number }[];
}

/**
 * workload: a pod. uplink: an interface of the host to the world, with or without a host endpoint's
 * policies. host: the node itself, its processes and its own addresses.
 */
export type EndpointKind = "workload" | "uplink" | "host";

/** Names of policies (or chains), by where they are asked; absent = none applies there. */
export interface Hooks {
  /** Of a workload, or a host endpoint's own for host processes: from the endpoint. */
  egress?: string;
  /** To the endpoint. */
  ingress?: string;
  /** The same with staged policies in their places: counted, never enforced. */
  stagedEgress?: string;
  stagedIngress?: string;
  /** applyOnForward: for what is forwarded out of, and in from, this interface. */
  forwardEgress?: string;
  forwardIngress?: string;
  /** doNotTrack. */
  untrackedEgress?: string;
  untrackedIngress?: string;
  preDnat?: string;
}

export interface Endpoint extends Hooks {
  name: string;
  kind: EndpointKind;
  /** Interface numbers bound to it. */
  interfaces: number[];
  /** Addresses it may send from and is reached at. */
  addresses: string[];
  /** false: everything from and to it is dropped. Active when absent. */
  active?: boolean;
  /** Name of a set that it may also send from (allowed spoofed source prefixes). */
  allowedSources?: string;
  /** Of an uplink: what SNAT puts in as source there, at most one of each family. */
  snatAddresses?: string[];
  /** Of an uplink: it bears what other nodes pass on (DSR), and nothing goes on from there. */
  peer?: boolean;
  /** Changes when the endpoint behind an index is another one; its sessions end then. */
  incarnation?: number;
}

export interface Backend {
  name: string;
  address: string;
  port: number;
  /** 1 when absent. */
  weight?: number;
  /** Another node's name where the backend is on it: DSR passes packets on to it (peers). */
  node?: string;
}

/**
 * How clients come to a Service. cluster-ip: from inside. The others: from outside too, and then
 * their source is masqueraded unless the traffic policy is Local. host-port: never masqueraded.
 */
export type FrontendKind =
  | "cluster-ip" | "node-port" | "load-balancer" | "external-ip" | "host-port";

/** What a packet meets where a Service has no backend for it. */
export type WhenEmpty = "reject" | "drop";

/** One address, port and protocol of a Service port: a frontend. */
export interface Service {
  /** "shop/db:5432"; frontends of one Service port share it, and the affinity of clients. */
  name: string;
  address: string;
  /** 0, with protocol 0: all that no other frontend of the address serves. */
  port: number;
  protocol: "tcp" | "udp" | "sctp" | number;
  /** "cluster-ip" when absent. */
  kind?: FrontendKind;
  /** For clients inside; for those outside too where there are no localBackends. */
  backends: Backend[];
  /** externalTrafficPolicy Local: what clients outside get, their source kept. May be empty. */
  localBackends?: Backend[];
  /** Get nothing new, but keep what they have begun (terminating ones, UDP above all). */
  draining?: Backend[];
  /** "drop" when absent. */
  whenEmpty?: WhenEmpty;
  /** Likewise where localBackends are empty. */
  whenLocalEmpty?: WhenEmpty;
  /** Slots of the Maglev table (a prime); by size class when absent. */
  maglevSlots?: number;
  /** "calico": the table and the hash of Calico's eBPF dataplane (503 slots when absent above). */
  maglev?: "margay" | "calico";
  /** A client keeps its backend for so long after its last new flow (sessionAffinity ClientIP). */
  affinitySeconds?: number;
  /** Id of the set of sources that may ask (loadBalancerSourceRanges); all when absent. */
  sourceRanges?: string;
  /** The address itself may ask, whatever the ranges say (they hold a node's address). */
  addressAsSource?: boolean;
  /** Packets of clients outside go on to the backend's node as they are; it answers them. */
  dsr?: boolean;
}

/**
 * A set of addresses. "net": prefixes and addresses ("10.0.0.0/8", "fd00::1"); "ip": addresses;
 * "ip-port": "10.0.0.1,tcp:80", protocol tcp, udp, sctp or a number.
 */
export interface AddressSet {
  id: string;
  type: "ip" | "net" | "ip-port";
  members: Iterable<string>;
  /**
   * Another one whenever the members are others. Where it is absent, members that changed must
   * be another object.
   */
  version?: number;
}

/** Where what belongs to no endpoint leaves: the longest prefix names the uplink. */
export interface Route {
  prefix: string;
  /** Name of an uplink. */
  uplink: string;
}

/** What a workload's packet to its own host meets behind its egress policy. */
export type EndpointToHost = "drop" | "return" | "accept";

export interface Settings {
  /** "drop" when absent (Felix: DefaultEndpointToHostAction). */
  endpointToHost?: EndpointToHost;
  /** UDP port of VXLAN; 4789 when absent. */
  vxlanPort?: number;
  /** May workloads send VXLAN, IPIP? Not when absent. */
  allowVxlanFromWorkloads?: boolean;
  allowIpipFromWorkloads?: boolean;
  /** IptablesFilterDenyAction=Reject: what policy denies is answered. */
  rejectDenied?: boolean;
  /** Id of the set of pods' networks: who is a client inside. Absent: nobody can be told. */
  podNetworks?: string;
  /** Clients inside are masqueraded on the way to ClusterIPs, too (kube-proxy's masqueradeAll). */
  masqueradeAll?: boolean;
  /** Ids of sets: pods that are masqueraded when they leave, and the destinations that are not. */
  natSources?: string;
  natExcluded?: string;
  /** Id of the set of Services' addresses: what no frontend serves there is answered or dropped. */
  serviceNetworks?: string;
  /** The node's addresses, at most one of a family: SNAT's source where no uplink has one. */
  snatAddresses?: string[];
  /** First and last of the ports that SNAT hands out; 32,768 to 65,535 when absent. */
  snatPorts?: [number, number];
  /** Is VXLAN, IPIP in use between hosts, and from which set of hosts? Absent: not in use. */
  vxlanHosts?: string;
  ipipHosts?: string;
}

export interface Program {
  endpoints: Endpoint[];
  services: Service[];
  policies: (Policy | UserPolicy | Chain)[];
  sets?: AddressSet[];
  routes?: Route[];
  settings?: Settings;
  /** Names of the other nodes that DSR may pass packets on to; their number is the place + 1. */
  peers?: string[];
}

/** Budgets and seeds, fixed at start. */
export interface Budgets {
  workers: number;
  sessions4Max: number;
  sessions6Max: number;
  endpointsMax: number;
  servicesMax: number;
  /** Sets that can be told apart: bits of a membership class. 1,024 when absent. */
  setsMax?: number;
  /** Different combinations of sets that addresses are in. 4,096 when absent. */
  classesMax?: number;
  /** Prefixes, addresses and address-port pairs in all sets together. 65,536, 16,384. */
  members4Max?: number;
  members6Max?: number;
  /** Groups of backends, ids of backends, clients that affinity remembers, packets in fragments. */
  groupsMax?: number;
  backendsMax?: number;
  affinityMax?: number;
  fragmentsMax?: number;
  seed0?: bigint;
  seed1?: bigint;
  maglevSeed?: bigint;
  /** Milliseconds, in the order of layout.ts' Timeout; the defaults where absent. */
  timeoutsMs?: number[];
}

export { PROTOCOL_NUMBERS, protocolNumber } from "./rule.ts";
