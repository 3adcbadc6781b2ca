// margay/testing: policies under test in vitest. The types of the package's entry point; this file
// is published as it is (dist/testing.d.ts), so it imports nothing of the project.
//
//   import { expect, test } from 'vitest'
//   import { cluster } from 'margay/testing'
//   const shop = await cluster('k8s/')
//   test('only the API reaches the database', () => {
//     expect(shop.flow('shop/api -> shop/db:5432')).toBeAllowed()
//     expect(shop.to('shop/db')).toBeReachableOnlyBy(['shop/api -> 5432/tcp'])
//   })
//   test('a session outlives a lock-down', async () => {
//     const s = await shop.fork(), session = s.open('shop/api:40000 -> shop/db:5432')
//     await s.apply('lockdown.yaml')
//     expect(session.send()).toBeAllowed()
//   })

/** A pod that only the test has: its namespace says so. Its address is handed out. */
export interface PodEndpoint {
  namespace: string;
  labels?: Record<string, string>;
  /** default when absent. */
  serviceAccount?: string;
  ports?: { name?: string; port: number; protocol?: "TCP" | "UDP" | "SCTP" }[];
}

/** Addresses outside of the cluster; one of each class that rules tell apart is tried. */
export interface NetEndpoint {
  /** "203.0.113.0/24". */
  net: string;
}

export interface ClusterOptions {
  /** Ends that only the test has, by the names that flows know them by. */
  endpoints?: Record<string, PodEndpoint | NetEndpoint>;
  /** When flows happen that don't say it; now when absent. */
  time?: Date | string;
}

export type Verdict = "allow" | "deny" | "reject" | "drop";

/** untracked, pre-dnat, egress, forward-in, forward-out, ingress, host. */
export type StageName = "untracked" | "pre-dnat" | "egress" | "forward-in" | "forward-out" |
  "ingress" | "host";

/** What became of one packet. */
export interface PacketAnswer {
  /** "shop/web-0 -> shop/db-0:5432/tcp". */
  flow: string;
  /** allow passed; deny by a policy; reject answered; drop any other drop. */
  verdict: Verdict;
  /** "allowed", "policy-denied", "spoofed-source". */
  reason: string;
  /** Where it was denied. */
  at?: string;
  /** Where a Service led to: "shop/web-0". */
  backend?: string;
  /** "ip:port" of both ends, where NAT changed them. */
  destination?: string;
  source?: string;
  /** The nodes whose programs judged it, in order. */
  nodes: string[];
  /** What each end's policies said. */
  stages: { stage: string; endpoint: string; verdict: string; policy?: string; rule?: string }[];
}

/** What became of a flow: a packet for each pair of pods and addresses that it stands for. */
export interface FlowAnswer {
  /** As it was asked. */
  readonly text: string;
  readonly packets: readonly PacketAnswer[];
  /** Of all packets; "mixed" where they differ. */
  readonly verdict: Verdict | "mixed";
  /** Who decided, as its author wrote it, and why. */
  explain(): string;
}

/** Connections that were opened: what became of the packets that opened them, and more of them. */
export interface OpenFlow extends FlowAnswer {
  /** One more packet of each, from its opener. */
  send(): FlowAnswer;
  /** One packet of each back, from its far end. */
  reply(): FlowAnswer;
}

export interface FlowOptions {
  /** When it happens. */
  time?: Date | string;
}

/** All that goes to one end. */
export interface Target {
  readonly name: string;
  /** shop.to('shop/db:5432').from('shop/web') */
  from(end: string, options?: FlowOptions): FlowAnswer;
}

/** All that comes from one end. */
export interface Source {
  readonly name: string;
  /** shop.from('shop/web').to('shop/db:5432') */
  to(end: string, options?: FlowOptions): FlowAnswer;
}

export interface PolicyCluster {
  /** FROM[:PORT] -> TO[:PORT][/PROTO], as in *.test.yaml. */
  flow(text: string, options?: FlowOptions): FlowAnswer;
  to(end: string): Target;
  from(end: string): Source;
  /**
   * The same cluster once more: what is applied to it, this one does not see, and its sessions are
   * its own.
   */
  fork(): Promise<PolicyCluster>;
  /**
   * Of a fork: opens connections, one for each pair of pods and addresses; of TCP with its
   * handshake. They live on while manifests change. (flow() asks about new flows, beside them.)
   */
  open(text: string): OpenFlow;
  /** Of a fork: moves its clock on; what is idle for too long ends. "90s", or milliseconds. */
  wait(time: number | string): void;
  /**
   * As `kubectl apply -f`: files and folders, from the working directory, the test's or the
   * manifests'; or manifests themselves.
   */
  apply(...manifests: string[]): Promise<void>;
  /** As `kubectl delete`: "NetworkPolicy shop/db", or files that hold the objects. */
  delete(...objects: string[]): Promise<void>;
  close(): void;
}

/** A cluster of the manifests in files and folders. */
export declare function cluster(
  manifests: string | string[], options?: ClusterOptions,
): Promise<PolicyCluster>;

export interface DeniedBy {
  at?: StageName;
  /** "NetworkPolicy shop/db", or with its rule: "NetworkPolicy shop/db ingress[0]". */
  by?: string;
}

interface PolicyMatchers<R = unknown> {
  /** Every packet of the flow passes. */
  toBeAllowed(): R;
  /** Every packet of the flow is denied by a policy. */
  toBeDenied(by?: DeniedBy): R;
  /** Every packet of the flow is answered (TCP reset, ICMP unreachable), for this reason. */
  toBeRejected(reason?: string): R;
  /** Every packet of the flow is dropped, and by no policy, for this reason. */
  toBeDropped(reason?: string): R;
  /** Exhaustive: every pod, node, address class and class of traffic is tried. */
  toBeReachableOnlyBy(entries: string[]): R;
}

declare module "vitest" {
  interface Matchers<T = any> extends PolicyMatchers<T> {}
}
