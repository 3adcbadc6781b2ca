// What one node's packet program is told, in plain objects: endpoints, services, policies. The
// state stage makes it (from a file for now), the compile stage turns it into records and modules.

export type Protocol = "tcp" | "udp" | "icmp" | "icmp6" | number;

/** A rule; fields that are absent match everything, those present must all hold. */
export interface Rule {
  /** As the author knows it; printed with verdicts. */
  name: string;
  action: "allow" | "deny" | "pass";
  protocol?: Protocol;
  /** Prefixes, any of which may hold: "10.0.0.0/8", "fd00::/64". */
  source?: string[];
  destination?: string[];
  /** Ports or ranges, any of which may hold: [80, "8000-8080"]. TCP and UDP alone have ports. */
  sourcePorts?: (number | string)[];
  destinationPorts?: (number | string)[];
}

/** An ordered list of rules: the first that matches decides; none that does is "no match". */
export interface Policy {
  name: string;
  rules: Rule[];
}

/** A module that a user wrote against the public ABI, in place of rules. */
export interface UserPolicy {
  name: string;
  wasm: Uint8Array;
}

export interface Endpoint {
  name: string;
  kind: "workload" | "uplink";
  /** Interface numbers bound to it. */
  interfaces: number[];
  /** Addresses it may send from and is reached at. */
  addresses: string[];
  /** Name of a policy; absent = none applies. */
  egress?: string;
  ingress?: string;
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

export interface Program {
  endpoints: Endpoint[];
  services: Service[];
  policies: (Policy | UserPolicy)[];
}

/** Budgets and seeds, fixed at start. */
export interface Budgets {
  workers: number;
  sessions4Max: number;
  sessions6Max: number;
  endpointsMax: number;
  servicesMax: number;
  seed0?: bigint;
  seed1?: bigint;
  maglevSeed?: bigint;
  /** Milliseconds, in the order of layout.ts' Timeout; the defaults where absent. */
  timeoutsMs?: number[];
}

export const PROTOCOL_NUMBERS: Record<string, number> = { tcp: 6, udp: 17, icmp: 1, icmp6: 58 };

export function protocolNumber(protocol: Protocol): number {
  return typeof protocol === "number" ? protocol : PROTOCOL_NUMBERS[protocol]!;
}
