// Pages of linear memory that a dataplane needs for some programs: what its tables take by their
// budgets (assembly/configure.ts, membership.ts, frontends.ts lay them out), and what the programs
// bring. An estimate with some room: a core that is refused as memory-too-small, or a push as
// arena-full, needs more.
import {
  ARENA, BUCKET_BYTES, BUCKET_WAYS, GENERATIONS, SESSION4_BYTES, SESSION6_BYTES,
} from "../../assembly/layout.ts";
import type { Backend, Budgets, Program } from "../model/program.ts";
import { BACKENDS_MAX, groupsMaxOf } from "./budgets.ts";

const PAGE_BYTES = 65_536;
const PAGES_LEAST = 128;
const PAGES_MOST = 65_536;
/** Percent of a bucket's ways that are planned to be taken. */
const PLANNED_PERCENT = 64;
const MEMBER_BYTES = { 4: 16, 6: 32 };
const AFFINITY_BYTES = 64, FRAGMENT_BYTES = 128, WAYS = 4;
const FRONTEND_BYTES = 64, GROUP_BYTES = 32;
/** An endpoint's record and its places among the addresses. */
const ENDPOINT_BYTES = 256;
/** Of a rule in bit vectors and chains, roughly. */
const RULE_BYTES = 512;
/** Groups now, those before, those that a change brings, those that workers may still read. */
const GROUP_TURNS = 5;

/** A block of the arena: a header, and sizes of four classes to a doubling. */
function block(bytes: number): number {
  const wanted = Math.max(bytes + 64, 128);
  const step = 2 ** (Math.floor(Math.log2(wanted)) - 2);
  return Math.ceil(wanted / step) * step;
}
function powerOfTwo(least: number): number {
  return 2 ** Math.max(3, Math.ceil(Math.log2(Math.max(least, 1))));
}

export function memoryPagesFor(programs: readonly Program[], budgets: Budgets): number {
  const brought = Math.max(0, ...programs.map(broughtBy));
  const bytes = Number(ARENA) + sessions(budgets) + sets(budgets) + services(budgets) +
    GENERATIONS * block(budgets.endpointsMax * ENDPOINT_BYTES) + brought;
  const pages = Math.ceil((bytes * 1.1) / PAGE_BYTES) + 16;
  return Math.min(PAGES_MOST, Math.max(PAGES_LEAST, pages));
}

function sessions({ sessions4Max, sessions6Max }: Budgets): number {
  const table = (most: number, record: number): number => {
    const buckets = Math.floor((most * 200) / (Number(BUCKET_WAYS) * PLANNED_PERCENT)) + 1;
    return buckets * Number(BUCKET_BYTES) + (most + 1) * record;
  };
  return table(sessions4Max, Number(SESSION4_BYTES)) + table(sessions6Max, Number(SESSION6_BYTES));
}

function sets(budgets: Budgets): number {
  const { setsMax = 1024, classesMax = 4096, members4Max = 65_536, members6Max = 16_384 } = budgets;
  const members = (most: number, bytes: number): number => block(powerOfTwo(most * 2) * bytes);
  return members(members4Max, MEMBER_BYTES[4]) + members(members6Max, MEMBER_BYTES[6]) +
    block(classesMax * 4 + 4) + classesMax * block(Math.ceil(setsMax / 128) * 16 + 32);
}

function services(budgets: Budgets): number {
  const { servicesMax, backendsMax, affinityMax, fragmentsMax } = budgets;
  const buckets = (entries: number): number => powerOfTwo(Math.ceil(entries / WAYS)) * WAYS;
  return block(powerOfTwo(servicesMax * 2) * 4) + block(groupsMaxOf(budgets) * 4 + 4) +
    block(backendsMax || BACKENDS_MAX) + block(buckets(affinityMax || 16_384) * AFFINITY_BYTES) +
    block(buckets(fragmentsMax || 1024) * FRAGMENT_BYTES) + servicesMax * block(FRONTEND_BYTES);
}

function broughtBy({ services: all, policies }: Program): number {
  const lists = new Map<Backend[], number>();
  for (const { backends, localBackends = [], maglevSlots } of all) {
    for (const list of [backends, localBackends]) {
      if (list.length) lists.set(list, maglevSlots ?? slotsFor(list.length));
    }
  }
  let bytes = 0;
  for (const [list, slots] of lists) {
    const width = list.length <= 255 ? 1 : 2;
    bytes += GROUP_TURNS * block(GROUP_BYTES * (list.length + 1) + slots * width);
  }
  for (const policy of policies) if ("rules" in policy) bytes += policy.rules.length * RULE_BYTES;
  return bytes;
}

/** Slots by size class (assembly/maglev.ts). */
function slotsFor(backends: number): number {
  return backends <= 20 ? 1999 : backends <= 160 ? 16_381 : 65_537;
}
