// Budgets that hold some programs, with room to grow: for those who make a dataplane for programs
// that they know beforehand.
import { BACKEND_IDS_MAX } from "../../assembly/layout.ts";
import type { Backend, Budgets, Program } from "../model/program.ts";

/** Room for as much again, and for a little where there is nothing. */
const room = (count: number, least: number): number => Math.max(least, count * 2);

/** The groups in use, those before, those that a change brings, and those whose numbers rest. */
const GENERATIONS_OF_GROUPS = 4;
/** What a core takes where it is told none. */
export const BACKENDS_MAX = 65_536;

/** `own`: workers, sessions, seeds; and what is known better. */
export function budgetsFor(programs: readonly Program[], own: Partial<Budgets> = {}): Budgets {
  const most = (of: (program: Program) => number): number => Math.max(0, ...programs.map(of));
  const sizes = programs.map(sizeOf);
  const largest = (of: keyof Size): number => Math.max(0, ...sizes.map((size) => size[of]));
  const members4 = largest("members4"), members6 = largest("members6");
  return {
    workers: 1, sessions4Max: 16_384, sessions6Max: 16_384,
    endpointsMax: room(most(({ endpoints }) => endpoints.length), 64),
    servicesMax: room(most(({ services }) => services.length), 64),
    groupsMax: Math.max(64, GENERATIONS_OF_GROUPS * largest("groups")),
    backendsMax: Math.min(BACKEND_IDS_MAX,
      Math.max(1024, GENERATIONS_OF_GROUPS * largest("backends"))),
    setsMax: Math.min(65_534, room(largest("sets"), 256)),
    classesMax: room(members4 + members6, 1024),
    members4Max: room(members4, 1024), members6Max: room(members6, 1024),
    ...own,
  };
}

/** Groups of backends that a dataplane is configured with. */
export function groupsMaxOf({ groupsMax, servicesMax = 1024 }: Partial<Budgets>): number {
  return groupsMax ?? Math.max(64, GENERATIONS_OF_GROUPS * servicesMax);
}

/** Does a program fit what a dataplane was configured with? */
export function fitsBudgets(program: Program, budgets: Budgets): boolean {
  const { sets, members4, members6, groups, backends } = sizeOf(program);
  return program.endpoints.length <= budgets.endpointsMax
    && program.services.length <= budgets.servicesMax && sets <= budgets.setsMax!
    && members4 <= budgets.members4Max! && members6 <= budgets.members6Max!
    && groups * 2 <= groupsMaxOf(budgets) && backends <= (budgets.backendsMax || BACKENDS_MAX);
}

interface Size {
  sets: number; members4: number; members6: number; groups: number; backends: number;
}

/**
 * Sets and members of a program, those that stand for prefix lists of rules among them; groups and
 * backends, each list of them counted once.
 */
function sizeOf(program: Program): Size {
  const backendLists = new Set<Backend[]>();
  for (const { backends, localBackends = [] } of program.services) {
    for (const list of [backends, localBackends]) if (list.length) backendLists.add(list);
  }
  const size = { sets: 0, members4: 0, members6: 0, groups: backendLists.size, backends: 0 };
  for (const list of backendLists) size.backends += list.length;
  const add = (members: Iterable<string>): void => {
    const counts = countsOf(members);
    size.sets++;
    size.members4 += counts[4];
    size.members6 += counts[6];
  };
  for (const { members } of program.sets ?? []) add(members);
  const lists = new Map<string, string[]>();
  for (const policy of program.policies) {
    if (!("rules" in policy)) continue;
    for (const { source, notSource, destination, notDestination } of policy.rules) {
      for (const list of [source, notSource, destination, notDestination]) {
        if (list?.length) lists.set(list.join(), list);
      }
    }
  }
  for (const list of lists.values()) add(list);
  return size;
}

type Counts = Record<4 | 6, number> & { size: number | undefined };
const counted = new WeakMap<object, Counts>();

/** Members by family; nodes share the lists, and the next state has most of them again. */
function countsOf(list: Iterable<string>): Counts {
  const size = (list as { size?: number }).size;
  const known = counted.get(list);
  if (known && known.size === size) return known;
  const counts = { 4: 0, 6: 0, size };
  for (const member of list) counts[member.includes(".") ? 4 : 6]++;
  counted.set(list, counts);
  return counts;
}
