// A bed: what one VPP of the bench is set up for, the same for Margay and the peer.
//
//   Bed { family, services, policy, sessions } ─► Program, Budgets ─► configure records, push
//                                             └─► the peer's own commands (peers.ts)
//
// The policy is the backends' own: asked where a flow's first packet leaves to a backend, in both.
// Its last rule lets all clients of the rows in, those before it match nobody that comes; what no
// rule allows is denied by both.

import { memoryPagesFor } from "../../host/compile/pages.ts";
import { budgetsFor } from "../../host/compile/budgets.ts";
import type { Budgets, Endpoint, Program, ProgramRule } from "../../host/model/program.ts";
import { addressOf, BACKEND_PORT, type Family, VIP_PORT } from "./packets.ts";
import type { PeerName } from "./peers.ts";

/** A rule that allows a prefix of sources; without one, the members of the bed's set. */
export interface BedRule { source?: string }
export interface BedPolicy { rules: BedRule[]; members: string[] }

export interface Bed {
  family: Family;
  peer: PeerName;
  /** Services to translate; 0 = packets go to a backend as they are. */
  services: number;
  policy?: BedPolicy;
  /** Sessions to have room for. */
  sessions: number;
  /** Sessions end after so long; in hours when absent. */
  idleSeconds?: number;
  /** Records for each session that shall fit; ROOM when absent. */
  room?: number;
}

const HOUR_MS = 3_600_000;
export const SERVER = "server";
/** Room for each session: below, some find both of their buckets full. */
const ROOM = 1.5;

/** Clients from this one on, no rule of the beds allows. */
export const CLIENTS_ALLOWED = 1 << 23;

/** n rules: n - 1 prefixes that no client is in, then the clients' own. */
export function worstRules(n: number, family: Family = 4): BedPolicy {
  const nobody = (i: number): string => family === 4
    ? `100.${64 + (i >> 8)}.${i & 255}.0/24` : `fd64:${i.toString(16)}::/32`;
  const rules: BedRule[] = Array.from({ length: n - 1 }, (_, i) => ({ source: nobody(i) }));
  return { rules: [...rules, { source: family === 4 ? "11.0.0.0/9" : "fd0b::/105" }], members: [] };
}

/** One rule that asks for a set of so many exact addresses: the first clients. */
export function setOf(n: number): BedPolicy {
  return { rules: [{}], members: Array.from({ length: n }, (_, i) => addressOf(4, "client", i)) };
}

function ruleOf({ source }: BedRule, i: number): ProgramRule {
  const from = source ? { source: [source] } : { sourceSets: ["members"] };
  return { name: `r${i}`, action: "allow", protocol: "udp", ...from };
}

/** The bed's program for Margay. Endpoint 0 is the uplink that packets come in by. */
export function programOf(bed: Bed): Program {
  const uplink: Endpoint = { name: "uplink", kind: "uplink", interfaces: [], addresses: [] };
  const backend = (n: number) => ({
    name: `b${n}`, address: addressOf(bed.family, "backend", n), port: BACKEND_PORT,
  });
  const { policy } = bed;
  // A workload has the policy: its addresses are the backends of the first Service.
  const server: Endpoint = {
    name: SERVER, kind: "workload", interfaces: [],
    addresses: [0, 1].map((n) => addressOf(bed.family, "backend", n)),
    ...(policy ? { ingress: "policy" } : {}),
  };
  return {
    endpoints: [uplink, server],
    services: Array.from({ length: bed.services }, (_, s) => ({
      name: `s${s}`, address: addressOf(bed.family, "vip", s), port: VIP_PORT,
      protocol: "udp" as const, backends: [backend(2 * s), backend(2 * s + 1)],
    })),
    policies: policy ? [{ name: "policy", rules: policy.rules.map(ruleOf) }] : [],
    sets: policy?.members.length
      ? [{ id: "members", type: "ip", version: 1, members: policy.members }] : [],
  };
}

export function budgetsOf(bed: Bed, program: Program, workers: number): Budgets {
  const sessions = Math.ceil(bed.sessions * (bed.room ?? ROOM)) + 1000;
  return budgetsFor([program], {
    workers, sessions4Max: bed.family === 4 ? sessions : 1000,
    sessions6Max: bed.family === 6 ? sessions : 1000,
    timeoutsMs: [bed.idleSeconds ? bed.idleSeconds * 1000 : HOUR_MS, 0, 0, 0, 0, 0],
  });
}

export const pagesOf = (program: Program, budgets: Budgets): number =>
  Math.max(1024, memoryPagesFor([program], budgets));
