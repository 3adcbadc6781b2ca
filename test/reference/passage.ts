// A packet on its way through the slow twin, and what becomes of it.
import type { Backend } from "../../host/model/program.ts";
import type { Headers } from "./header.ts";
import type { Served } from "./nat.ts";
import type { Place } from "./node.ts";
import type { Asked, Judge } from "./policy.ts";
import type { Question } from "./rule.ts";
import type { Key, Session } from "./sessions.ts";
import { numberOf } from "./site.ts";
import { opensFlow } from "./tcp.ts";

export interface Arrival {
  /** Name of the interface. */
  interface: string;
  bytes: Uint8Array;
  /** Its transport checksum is the pseudo-header's sum alone. */
  partial?: boolean;
}
/** What the program made of it, where that is its to choose. */
export interface Told {
  reason: string;
  bytes: Uint8Array | undefined;
}
export interface Outcome {
  verdict: "pass" | "drop" | "reply";
  reason: string;
  bytes?: Uint8Array | undefined;
  direction: 0 | 1;
  backend?: Backend | undefined;
  peer: number;
  /** Where a session carries it to, as keys know it. */
  far?: string | undefined;
  asked: Asked[];
  /** What it has shown, for histograms. */
  features: string[];
}

/** A packet on its way through. */
export interface Packet {
  arrival: Arrival;
  headers: Headers;
  q: Question;
  from: Place;
  /** Who sent it, as keys know it. */
  end: string;
  key: Key | undefined;
  judge: Judge;
  flow: Flow;
  tick: number;
  nowMs: number;
  told: Told | undefined;
}
/** What Services made of it; `known`: it is judged for a session that has its backend. */
export interface Flow {
  served: Served;
  reject: boolean;
  midFlow: boolean;
  key?: Key | undefined;
  known?: Session;
}

/** What a rewritten packet shows. */
export function featuresOfRewrite(
  { bytes, partial }: Arrival, { protocol, at, family }: Headers, direction: 0 | 1,
): string[] {
  const name = { 6: "tcp", 17: "udp", 132: "sctp", 1: "icmp", 58: "icmp" }[protocol] ?? "other";
  const none = protocol === 17 && bytes[at + 6] === 0 && bytes[at + 7] === 0;
  const kind = partial ? "partial" : none ? "udp without checksum" : name;
  const way = direction === 0 ? "forward" : "return";
  return [`rewritten ${kind}`, `rewritten IPv${family}`, `rewritten ${way}`];
}

/** What a flow shows that was opened; `source`: the one that it got. */
export function featuresOfFlow(
  { service, backend, by }: Served, source: bigint | undefined, { headers, q }: Packet,
): string[] {
  const features: string[] = [];
  const add = (name: string | false): unknown => name && features.push(name);
  if (headers.flags !== undefined) add(!opensFlow(headers) && "mid-flow");
  if (service) {
    add(`service ${service.kind ?? "cluster-ip"}`);
    add(service.localBackends !== undefined && "service Local");
    add(service.maglev === "calico" && "service calico");
    add(service.affinitySeconds !== undefined && "service affinity");
  }
  if (by && by !== "table") add(`backend ${by}`);
  if (source !== undefined) {
    const hairpin = backend && numberOf(backend.address) === q.source;
    add(hairpin ? "hairpin" : service ? "masqueraded to a service" : "natOutgoing");
  }
  return features;
}

/** A packet's length, as its header says. */
export function totalOf(bytes: Uint8Array): number {
  const word = (at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
  return bytes[0]! >> 4 === 4 ? word(2) : 40 + word(4);
}
