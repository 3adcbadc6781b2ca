// What changed from one program to the next, as small as it can be told: nothing, Services and
// members of sets, which act at once and in place, or a new generation.
//
//   same endpoints, policies, routes, settings, peers, sets by id ─► only Services, only members
//   anything else ─► "generation": the compiler still sends only what is new
import { isDeepStrictEqual } from "node:util";
import { contentOf } from "../compile/plan.ts";
import type { AddressSet, Program, Service } from "../model/program.ts";

export interface InPlace {
  /** By name, all frontends of each; [] = gone. */
  services: Map<string, Service[]>;
  sets: { id: string; added: string[]; removed: string[] }[];
}

export type Change = "nothing" | "generation" | InPlace;

export function changeOf(before: Program, after: Program): Change {
  const isSame = isDeepStrictEqual(before.endpoints, after.endpoints) &&
    isDeepStrictEqual(before.routes, after.routes) &&
    isDeepStrictEqual(before.settings, after.settings) &&
    isDeepStrictEqual(before.peers, after.peers) &&
    isDeepStrictEqual(policiesOf(before), policiesOf(after));
  if (!isSame) return "generation";
  const sets = setsChanged(before.sets ?? [], after.sets ?? []);
  if (sets === undefined) return "generation";
  const services = servicesChanged(before.services, after.services);
  return services.size === 0 && sets.length === 0 ? "nothing" : { services, sets };
}

/** Users' modules bear their content's hash in their names. */
function policiesOf({ policies }: Program): unknown[] {
  return policies.map((policy) => "rules" in policy ? [policy.name, contentOf(policy)]
    : "steps" in policy ? policy : [policy.name, policy.sets]);
}

function servicesChanged(
  before: readonly Service[], after: readonly Service[],
): Map<string, Service[]> {
  const old = byName(before), now = byName(after);
  const changed = new Map<string, Service[]>();
  for (const [name, services] of now) {
    if (!isDeepStrictEqual(services, old.get(name))) changed.set(name, services);
  }
  for (const name of old.keys()) if (!now.has(name)) changed.set(name, []);
  return changed;
}
function byName(services: readonly Service[]): Map<string, Service[]> {
  const all = new Map<string, Service[]>();
  for (const service of services) {
    const list = all.get(service.name);
    if (list) list.push(service);
    else all.set(service.name, [service]);
  }
  return all;
}

/** Undefined where a set came, went or is of another type. */
function setsChanged(
  before: readonly AddressSet[], after: readonly AddressSet[],
): InPlace["sets"] | undefined {
  const old = new Map(before.map((set) => [set.id, set]));
  if (old.size !== after.length) return undefined;
  const changed: InPlace["sets"] = [];
  for (const { id, type, members } of after) {
    const other = old.get(id);
    if (!other || other.type !== type) return undefined;
    const had = new Set(other.members), has = new Set(members);
    const added = [...has].filter((member) => !had.has(member));
    const removed = [...had].filter((member) => !has.has(member));
    if (added.length || removed.length) changed.push({ id, added, removed });
  }
  return changed;
}
