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
  /** Changes when the endpoint behind an index is another one; its sessions end then. */
  incarnation?: number;
}

export interface Backend {
  name: string;
  address: string;
  port: number;
  /** 1 when absent. */
  weight?: number;
}

/** One VIP, port and protocol. */
export interface Service {
  name: string;
  address: string;
  port: number;
  protocol: "tcp" | "udp" | number;
  backends: Backend[];
  /** Slots of the Maglev table (a prime); by size class when absent. */
  maglevSlots?: number;
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
  seed0?: bigint;
  seed1?: bigint;
  maglevSeed?: bigint;
  /** Milliseconds, in the order of layout.ts' Timeout; the defaults where absent. */
  timeoutsMs?: number[];
}

export { PROTOCOL_NUMBERS, protocolNumber } from "./rule.ts";
