// The rows of the side-by-side bench: what each is measured on. README.md beside this tells what
// each row is, and what was tried to bring its figure down.
//
//   Case ─ bed (one VPP for all cases of an equal bed) ─► measure.ts ─► Row
//
// Targets: bench/targets.json by name (the design's), or as said there.

import { type Bed, type BedPolicy, setOf, worstRules } from "./bed.ts";
import { FLOWS_MAX, type Family } from "./packets.ts";
import type { PeerName } from "./peers.ts";
import { familyText } from "./rig.ts";

/**
 * established: flows that both know already, again and again. new: packets that each open a flow.
 * icmp: errors about established flows. memory: bytes a connection. reclaim: idle sessions end.
 */
export type Kind = "established" | "new" | "icmp" | "memory" | "reclaim";

export interface Case {
  name: string;
  kind: Kind;
  bed: Bed;
  /** Flows that are there; of `new`, flows that a round opens. */
  flows: number;
  /** In an order that no cache foresees; in the order of their making else. */
  random: boolean;
  /** Is it part of --quick? */
  quick?: boolean;
}

export const MEMORY_FLOWS = 1_000_000;
const count = (n: number): string => n.toLocaleString("en");
/** Rounds of new flows that a bed has room for. */
const ROUNDS_MAX = 12;

function established(
  flows: number, peer: PeerName, more: Partial<Case> & { family?: Family; beside?: string } = {},
): Case {
  const { family = 4, beside = "", ...rest } = more;
  const nat = peer === "cnat" || peer === "nat44-ed";
  const random = rest.random ?? flows > 10_000;
  const order = random && flows === 1_000_000 && peer === "cnat" ? ", random order" : "";
  return {
    name: `established, ${count(flows)} flows${order}${beside}${familyText(family)}`,
    kind: "established", flows, random,
    bed: {
      family, peer, services: nat ? 1 : 0, sessions: Math.max(flows, 20_000),
      ...(peer === "acl" ? { policy: worstRules(100) } : {}),
    },
    ...rest,
  };
}

function opening(name: string, flows: number, bed: Partial<Bed>, quick = false): Case {
  const family = bed.family ?? 4;
  return {
    name: `${name}${familyText(family)}`, kind: "new", flows, random: true, quick,
    bed: {
      family, peer: bed.policy ? "npol" : "cnat", services: 1, sessions: flows * ROUNDS_MAX, ...bed,
    },
  };
}
const ruled = (rules: number, flows: number, family: Family = 4, quick = false): Case =>
  opening(`new flow, ${count(rules)} rules`, flows,
    { family, policy: worstRules(rules, family) }, quick);
const membered = (members: number, flows: number): Case => {
  const policy: BedPolicy = setOf(members);
  return opening(`new flow, a set of ${count(members)} members`, flows, { policy }, true);
};

const servicesOf = (services: number, sessions: number): Bed =>
  ({ family: 4, peer: "cnat", services, sessions });
const byServices = (services: number, quick = false): Case[] => [
  {
    name: `established, 10,000 flows, ${count(services)} Services`, kind: "established",
    flows: 10_000, random: true, quick, bed: servicesOf(services, 1_000_000),
  },
  {
    name: `new flow, no policy, ${count(services)} Services`, kind: "new", flows: 65_536,
    random: true, bed: servicesOf(services, 1_000_000),
  },
];

const MILLION = 1_000_000;
export const CASES: Case[] = [
  established(1000, "cnat"),
  established(10_000, "cnat", { quick: true }),
  {
    name: "ICMP errors about 10,000 flows", kind: "icmp", flows: 10_000, random: true, quick: true,
    bed: established(10_000, "cnat").bed,
  },
  established(MILLION, "cnat", { random: false }),
  established(MILLION, "cnat", { quick: true }),
  established(2 * MILLION, "cnat"),
  established(10 * MILLION, "cnat"),
  opening("new flow, no policy", 65_536, {}, true),
  ruled(100, 32_768, 4, true),
  ruled(1000, 16_384, 4, true),
  ruled(10_000, 2048),
  membered(100_000, 1024),
  ...byServices(1000, true),
  ...byServices(10_000),
  established(1000, "cnat", { family: 6 }),
  established(10_000, "cnat", { family: 6, quick: true }),
  established(MILLION, "cnat", { family: 6 }),
  established(2 * MILLION, "cnat", { family: 6 }),
  established(10 * MILLION, "cnat", { family: 6 }),
  opening("new flow, no policy", 65_536, { family: 6 }),
  ruled(100, 32_768, 6),
  ruled(1000, 16_384, 6),
  ...(["acl", "nat44-ed", "sfdp"] as const).flatMap((peer) => {
    const beside = { acl: ", policy alone", "nat44-ed": ", NAT alone", sfdp: ", sessions alone" };
    return [
      established(10_000, peer, { random: true, quick: true, beside: beside[peer] }),
      established(MILLION, peer, { beside: beside[peer] }),
    ];
  }),
  {
    name: "memory a connection, bytes", kind: "memory", flows: MEMORY_FLOWS, random: true,
    bed: { family: 4, peer: "cnat", services: 1, sessions: MEMORY_FLOWS, room: 1 },
  },
  {
    name: "memory a connection, bytes, IPv6", kind: "memory", flows: MEMORY_FLOWS, random: true,
    bed: { family: 6, peer: "cnat", services: 1, sessions: MEMORY_FLOWS, room: 1 },
  },
  {
    name: "idle sessions reclaimed, µs each", kind: "reclaim", flows: 262_144, random: true,
    bed: { family: 4, peer: "cnat", services: 1, sessions: 262_144, idleSeconds: 3 },
  },
];
if (CASES.some(({ bed }) => bed.sessions > FLOWS_MAX)) throw new Error("a bed has too many flows");

/** Cases that share a bed are measured in one VPP, in their order. */
export const bedKey = ({ bed }: Case): string => JSON.stringify(
  bed.policy ? { ...bed, policy: [bed.policy.rules.length, bed.policy.members.length] } : bed);
