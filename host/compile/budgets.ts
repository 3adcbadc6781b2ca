// Budgets that hold some programs, with room to grow: for those who make a dataplane for programs
// that they know beforehand.
import type { Budgets, Policy, Program } from "../model/program.ts";

/** Room for as much again, and for a little where there is nothing. */
const room = (count: number, least: number): number => Math.max(least, count * 2);

/** `own`: workers, sessions, seeds; and what is known better. */
export function budgetsFor(programs: readonly Program[], own: Partial<Budgets> = {}): Budgets {
  const most = (of: (program: Program) => number): number => Math.max(0, ...programs.map(of));
  const members4 = most((program) => sizeOf(program).members4);
  const members6 = most((program) => sizeOf(program).members6);
  return {
    workers: 1, sessions4Max: 16_384, sessions6Max: 16_384,
    endpointsMax: room(most(({ endpoints }) => endpoints.length), 64),
    servicesMax: room(most(({ services }) => services.length), 64),
    setsMax: Math.min(65_534, room(most((program) => sizeOf(program).sets), 256)),
    classesMax: room(members4 + members6, 1024),
    members4Max: room(members4, 1024), members6Max: room(members6, 1024),
    ...own,
  };
}

/** Sets and members of a program, those that stand for prefix lists of rules among them. */
function sizeOf(program: Program): { sets: number; members4: number; members6: number } {
  const size = { sets: 0, members4: 0, members6: 0 };
  const add = (members: Iterable<string>): void => {
    size.sets++;
    for (const text of members) {
      if (text.includes(".")) size.members4++;
      else size.members6++;
    }
  };
  for (const { members } of program.sets ?? []) add(members);
  const lists = new Map<string, string[]>();
  const policies = program.policies.filter((each): each is Policy => "rules" in each);
  for (const { source, notSource, destination, notDestination } of policies.flatMap((each) =>
    each.rules)) {
    for (const list of [source, notSource, destination, notDestination]) {
      if (list?.length) lists.set(list.join(), list);
    }
  }
  for (const list of lists.values()) add(list);
  return size;
}
