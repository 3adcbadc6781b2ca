// From a state and a packet that show something to a small state that still shows it: parts are
// taken away one at a time, as long as it shows. And what is left as text.
import type { Rule } from "../../host/model/rule.ts";
import type { NodeDevices, NodeState, TierState } from "../../host/model/state.ts";
import { MATCH_FIELDS } from "../reference/rule.ts";

type Edit = (state: NodeState) => void;
/** Does the state still show it? An error in it is no yes. */
export type Shows = (state: NodeState) => Promise<boolean>;

/** At most `tries` states are asked; the smallest that shows it is returned. */
export async function shrink(state: NodeState, shows: Shows, tries = 1000): Promise<NodeState> {
  let best = structuredClone(state);
  for (let again = true; again;) {
    again = false;
    for (const edit of edits(best)) {
      if (tries-- <= 0) return best;
      const next = structuredClone(best);
      edit(next);
      if (!await shows(next).catch(() => false)) continue;
      best = next;
      again = true;
    }
  }
  return best;
}

/** Parts are named by key and index: an edit may come after others, and find nothing. */
function* edits(state: NodeState): Generator<Edit> {
  yield forgetUnnamed;
  for (const key of state.policies.keys()) {
    yield (next) => {
      for (const find of tierLists(next)) {
        for (const tier of find(next)) {
          tier.ingress = tier.ingress.filter((each) => each !== key);
          tier.egress = tier.egress.filter((each) => each !== key);
        }
      }
      next.policies.delete(key);
    };
  }
  for (const find of ruleLists(state)) {
    const most = find(state).length;
    for (let part = Math.ceil(most / 2); part > 1; part = Math.ceil(part / 2)) {
      for (let from = most - part; from >= 0; from -= part) {
        yield (next) => find(next).splice(from, part);
      }
    }
  }
  for (const name of ["workloads", "hostEndpoints", "hosts", "config"] as const) {
    for (const key of state[name].keys()) yield (next) => next[name].delete(key);
  }
  for (const { name } of state.services) {
    yield (next) => next.services = next.services.filter((each) => each.name !== name);
  }
  for (const find of tierLists(state)) {
    for (let i = find(state).length - 1; i >= 0; i--) {
      yield (next) => find(next).splice(i, 1);
      for (const side of ["ingress", "egress"] as const) {
        for (const key of find(state)[i]![side]) {
          yield (next) => {
            const tier = find(next)[i];
            if (tier) tier[side] = tier[side].filter((each) => each !== key);
          };
        }
      }
    }
  }
  for (const find of nameLists(state)) {
    for (const name of find(state)) {
      yield (next) => {
        const list = find(next);
        if (list.includes(name)) list.splice(list.indexOf(name), 1);
      };
    }
  }
  for (const find of ruleLists(state)) {
    for (let i = find(state).length - 1; i >= 0; i--) {
      yield (next) => find(next).splice(i, 1);
      for (const field of MATCH_FIELDS) {
        const value = find(state)[i]?.[field];
        if (value === undefined) continue;
        yield (next) => delete find(next)[i]?.[field];
        if (!Array.isArray(value) || value.length < 2) continue;
        for (let k = value.length - 1; k >= 0; k--) {
          yield (next) => (find(next)[i]?.[field] as unknown[] | undefined)?.splice(k, 1);
        }
      }
    }
  }
  for (const [id, set] of state.sets) {
    for (const member of set.members) yield (next) => next.sets.get(id)?.members.delete(member);
    yield (next) => next.sets.delete(id);
  }
  for (const key of state.policies.keys()) yield (next) => next.policies.delete(key);
}

/** Takes away policies that no endpoint names, and sets that no rule names. */
function forgetUnnamed(state: NodeState): void {
  const tiers = [...tierLists(state)].flatMap((find) => find(state));
  const named = new Set(tiers.flatMap((tier) => [...tier.ingress, ...tier.egress]));
  for (const key of state.policies.keys()) if (!named.has(key)) state.policies.delete(key);
  const profiles = new Set(
    [...state.workloads.values(), ...state.hostEndpoints.values()].flatMap((each) => each.profiles),
  );
  for (const name of state.profiles.keys()) if (!profiles.has(name)) state.profiles.delete(name);
  const text = JSON.stringify([...ruleLists(state)].map((find) => find(state)));
  for (const id of state.sets.keys()) if (!text.includes(`"${id}"`)) state.sets.delete(id);
}

type Find<T> = (state: NodeState) => T[];
function* tierLists(state: NodeState): Generator<Find<TierState>> {
  for (const id of state.workloads.keys()) yield (next) => next.workloads.get(id)?.tiers ?? [];
  for (const id of state.hostEndpoints.keys()) {
    for (const phase of ["tiers", "untrackedTiers", "preDnatTiers", "forwardTiers"] as const) {
      yield (next) => next.hostEndpoints.get(id)?.[phase] ?? [];
    }
  }
}
function* nameLists(state: NodeState): Generator<Find<string>> {
  for (const id of state.workloads.keys()) {
    yield (next) => next.workloads.get(id)?.profiles ?? [];
    yield (next) => next.workloads.get(id)?.addresses ?? [];
    yield (next) => next.workloads.get(id)?.allowedSources ?? [];
  }
  for (const id of state.hostEndpoints.keys()) {
    yield (next) => next.hostEndpoints.get(id)?.profiles ?? [];
  }
}
function* ruleLists(state: NodeState): Generator<Find<Rule>> {
  for (const side of ["inbound", "outbound"] as const) {
    for (const key of state.policies.keys()) yield (next) => next.policies.get(key)?.[side] ?? [];
    for (const key of state.profiles.keys()) yield (next) => next.profiles.get(key)?.[side] ?? [];
  }
}

/** A state as text: what is empty is left out, sets and maps are what they hold. */
export function stateText(state: NodeState, devices: NodeDevices): string {
  const plain = (_: string, value: unknown): unknown => {
    if (value instanceof Set) return [...value];
    if (value instanceof Map) return Object.fromEntries(value);
    return value;
  };
  const parts = Object.entries({ ...state, devices: devices.uplinks })
    .flatMap(([name, part]) => {
      const entries = part instanceof Map ? [...part] : [...(part as object[]).entries()];
      return entries.map(([key, each]) => `${name} ${key}: ${JSON.stringify(each, plain)}`);
    });
  return parts.join("\n");
}
