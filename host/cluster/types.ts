// What a cluster's run is asked and what it answers: a flow is one packet that opens something, a
// result says what became of it, at which end, and which rule of which author decided.
//
//   "shop/api -> shop/db:5432" ─ flow.ts ─► Flow ─ cluster.ts ─► FlowResult ─ explain.ts ─► lines
//
// Every verdict here was read from the slots of process(); nothing in TypeScript decides one.
import type { ProgramRule } from "../model/program.ts";
import type { NodeObject, PodObject } from "../model/snapshot.ts";

/** A ready endpoint of a Service. */
export interface ServiceBackend {
  /** "namespace/pod", or its address where it is no pod. */
  name: string;
  address: string;
  port: number;
}

/**
 * One end of a flow, with one address. A pod of the host's network is a pod here and enters at its
 * node. A Service is a destination alone: its VIP, and the backend that the packet must reach.
 */
export type FlowEnd =
  | { kind: "pod"; pod: PodObject; address: string }
  | { kind: "node"; node: NodeObject; address: string }
  /** `name`: what stands for the address in texts ("internet"). */
  | { kind: "address"; address: string; name?: string }
  | ServiceEnd;

/** A Service at one of its addresses. */
export interface ServiceEnd {
  kind: "service";
  /** "namespace/name". */
  service: string;
  address: string;
  /** What stands for an address that is no ClusterIP: "node:node-1", "203.0.113.80". */
  via?: string;
  backend?: ServiceBackend;
  /** Name of the node where a packet from outside comes in. */
  entry?: string;
}

/** One packet to judge. */
export interface Flow {
  from: FlowEnd;
  to: FlowEnd;
  /** IP protocol number. */
  protocol: number;
  /** A fresh one where absent. */
  sourcePort?: number;
  /** Destination port; TCP, UDP and SCTP have one. */
  port?: number;
  /** Of ICMP and ICMPv6; an echo request where absent. */
  icmp?: { type: number; code: number };
  /** Unix time in seconds; the cluster's clock where absent. */
  nowSeconds?: number;
  /** It answers another: its destination is what the packet bears, not what `to` says. */
  isReply?: boolean;
  /** Judge one end alone: the other end's policies are taken away. Both where absent. */
  side?: Side;
}

export type Side = "egress" | "ingress";

export type Stage =
  | "untracked" | "pre-dnat" | "egress" | "forward-in" | "forward-out" | "ingress" | "host";

/** What one policy hook on the packet's way said. */
export interface StageVerdict {
  stage: Stage;
  node: string;
  /** "namespace/pod" of a workload, the id of a host endpoint, the name of a host. */
  endpoint: string;
  verdict: "allow" | "deny" | "none";
  tier?: string;
  /** "NetworkPolicy shop/db", "Profile kns.shop"; absent where no policy decided. */
  policy?: string;
  /** The author's path, "ingress[0]"; of a tier's or profile's end what it is. */
  path?: string;
  rule?: ProgramRule;
  /** Index in the unit that the endpoint's policies became. */
  ruleIndex: number;
  /** Slot of that unit; 0 = no policy there. */
  slot: number;
}

/** allow passed, deny a policy (or a tier's or profile's end), reject answered, drop all else. */
export type FlowVerdict = "allow" | "deny" | "reject" | "drop";

export interface FlowResult {
  flow: Flow;
  verdict: FlowVerdict;
  /** Reason of the last process(), in kebab case: "allowed", "policy-denied", "spoofed-source". */
  reason: string;
  /** Stage that denied; absent where none did. */
  at?: Stage;
  /** The source workload's (or the sending host's) judgement, and the destination's. */
  egress?: StageVerdict;
  ingress?: StageVerdict;
  /** All of them, in the packet's order, over both nodes. */
  stages: StageVerdict[];
  /** "ip:port" where NAT changed it; without ":port" of protocols that have none. */
  destination?: string;
  source?: string;
  /** Nodes where it went by a session that was there: no policy was asked. */
  followed?: string[];
  /** What the sender was answered with where the verdict is reject: "TCP reset". */
  answer?: string;
  /** The backend's name, of a flow to a Service. */
  backend?: string;
  /** Names of the nodes whose programs judged it, in order. */
  nodes: string[];
  /** What the reader must know of how it was judged. */
  note?: string;
}
