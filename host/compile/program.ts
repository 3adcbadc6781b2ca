// A program, in plain objects, to a push: modules for what changed, and the records of a
// generation. Policies are known by their content: equal ones share a slot, and an unchanged one is
// not sent again; nor are members of sets.
//
//   Program ─ policies ─► plan.ts ─► modules, classifier blocks ─┐
//           ├ chains ─► steps over their slots                   ├─► Push { modules, records }
//           ├ sets ─► sets.ts ─► classes, members                │
//           ├ endpoints, routes, settings ─► records.ts ─────────┤
//           └ services ─► services.ts ─► groups, frontends ──────┘
//
// Members and services act at once when they are staged, not by generation: they also go without a
// push (applyDelta, applyServices).
//
// A policy object is taken as it stands when it is first seen: a changed one is another object.
// Limits: 4,095 different policies at a time, counting those of the four generations before.
import { createHash } from "node:crypto";
import { CHAIN_STEPS_MAX } from "../../assembly/layout.ts";
import type { PolicyModule, Push } from "../dataplane/dataplane.ts";
import { concat } from "../dataplane/record.ts";
import type {
  Backend, Budgets, Chain, Policy, Program, ProgramRule, Service, UserPolicy,
} from "../model/program.ts";
import { contentOf, Plan, type Emitter, type Kind, type Part } from "./plan.ts";
import { openEmitter } from "./emitter.ts";
import { beginRecord, bindRecord, endpointRecords } from "./records.ts";
import { Services } from "./services.ts";
import { Sets } from "./sets.ts";
import {
  chainRecord, classifierRecords, countersRecord, slotSetsRecord, type ChainStep,
} from "./slotrecord.ts";
import { Slots } from "./slots.ts";

/** A step with where its pass goes on: an index, or out of the policy. */
interface Step {
  slot: number;
  onPass: number | undefined;
}

/** What a push brings for slots. */
interface Brought {
  modules: PolicyModule[];
  records: Uint8Array[];
}

export class Compiler {
  private readonly slots = new Slots();
  private readonly sets: Sets;
  private readonly services: Services;
  private plans = new Map<string, Plan>();
  private readonly hashes = new WeakMap<Uint8Array, string>();
  private emitter: Emitter | undefined;
  private compiled = 0;

  /**
   * The budgets that the dataplane was configured with; the defaults where absent. `form` makes
   * all policies code, or blocks: to compare the two. `clock`: milliseconds; changes of Services
   * that are close together count as one (services.ts).
   */
  constructor(
    budgets: Partial<Budgets> = {}, private readonly form?: Kind, clock?: () => number,
  ) {
    this.sets = new Sets(budgets);
    this.services = new Services(budgets, clock);
  }

  /**
   * Compiles a program for a generation. Asked for the same generation again, it takes the push
   * before as refused or never made, and brings what that brought again.
   */
  async compile(program: Program, generation: number): Promise<Push> {
    if (program.policies.some((policy) => "rules" in policy)) this.emitter ??= await openEmitter();
    this.slots.begin(generation);
    const again = generation <= this.compiled;
    this.sets.begin(program.sets ?? [], generation, again);
    this.services.begin(again);
    this.compiled = generation;
    const brought: Brought = { modules: [], records: [] };
    const slots = this.policies(program, generation, brought);
    const set = (id: string): number => this.sets.addresses(id);
    const { routes, settings } = program;
    const endpoints = endpointRecords(program.endpoints, slots, { routes, settings, set });
    this.services.update(program.services, program.peers ?? [], set);
    const records = concat([
      beginRecord(generation), ...this.sets.finish(), ...brought.records, ...endpoints,
      this.services.records(),
    ]);
    return { generation, modules: brought.modules, records };
  }

  /**
   * Members of a set that came and went since the program: records to stage at once, not waiting
   * for a push. The set's own members object is taken to have changed likewise. Only while the
   * push before is in force: a refused one is to be compiled again first.
   */
  applyDelta(set: string, added: Iterable<string>, removed: Iterable<string>): Uint8Array {
    return concat(this.sets.applyDelta(set, added, removed));
  }

  /**
   * Services that changed since the program, by name, each with all of its frontends as they now
   * are ([]: it is gone): records to stage at once, not waiting for a push. `again`: what was
   * brought last, by this or by a push, was refused, and is brought again as well.
   */
  applyServices(changed: ReadonlyMap<string, readonly Service[]>, again = false): Uint8Array {
    this.services.begin(again);
    this.services.alter(changed, (id) => this.sets.addressesInForce(id));
    return this.services.records();
  }

  /** Id of a backend that a Service has now; undefined where none has it. */
  backendId(backend: Backend): number | undefined {
    return this.services.backendId(backend);
  }
  /** A backend by the id that a result bears; for a while after it is gone, too. */
  backendAt(id: number): Backend | undefined {
    return this.services.backendAt(id);
  }

  /** A rule by what a verdict bears; undefined where none matched. */
  ruleAt(slot: number, rule: number): ProgramRule | undefined {
    return this.slots.at(slot)?.rules?.[rule];
  }

  /**
   * Name of a rule by what a verdict bears; undefined where no policy decided. An author's rule
   * (one with an origin) bears its whole name itself, another stands behind its policy's.
   */
  ruleName(slot: number, rule: number): string | undefined {
    const held = this.slots.at(slot);
    if (!held) return undefined;
    const found = held.rules?.[rule];
    if (found === undefined) return held.name;
    return found.origin ? found.name : `${held.name}/${found.name}`;
  }

  // ---- Policies to slots ------------------------------------------------------------------------

  private policies(program: Program, generation: number, brought: Brought): Map<string, number> {
    const steps = new Map<string, Step[]>();
    const chains: Chain[] = [];
    const plans = new Map<string, Plan>();
    const names = new Set<string>();
    for (const policy of program.policies) {
      if (names.has(policy.name)) throw new Error(`two policies are named "${policy.name}"`);
      names.add(policy.name);
      if ("steps" in policy) chains.push(policy);
      else if ("wasm" in policy) steps.set(policy.name, this.user(policy, generation, brought));
      else steps.set(policy.name, this.planned(policy, plans, generation, brought));
    }
    this.plans = plans;
    const slots = new Map<string, number>();
    for (const [name, own] of steps) slots.set(name, this.slotOf(name, own, generation, brought));
    for (const chain of chains) {
      slots.set(chain.name, this.slotOf(chain.name, flat(chain, steps), generation, brought));
    }
    return slots;
  }

  private planned(
    policy: Policy, plans: Map<string, Plan>, generation: number, brought: Brought,
  ): Step[] {
    const content = contentOf(policy);
    let plan = this.plans.get(content);
    if (!plan) {
      plan = new Plan(policy, this.emitter!, this.sets, this.form);
    } else {
      plan.relabel(policy);
      plan.refresh(this.emitter!, this.sets);
    }
    plans.set(content, plan);
    return plan.parts.map((part): Step => ({
      slot: this.slotOfPart(part, generation, brought), onPass: part.target,
    }));
  }

  private slotOfPart({ kind, policy, made }: Part, generation: number, brought: Brought): number {
    const { key, bytes } = made!;
    const held = this.slots.find(key, generation);
    if (held) {
      held.rules = policy.rules;
      return held.slot;
    }
    const { slot } = this.slots.take(key, generation, policy.name, policy.rules);
    if (kind === "code") brought.modules.push({ slot, kind: "generated", wasm: bytes });
    else brought.records.push(...classifierRecords(slot, bytes));
    brought.records.push(countersRecord(slot, policy.rules.length));
    return slot;
  }

  private user(policy: UserPolicy, generation: number, brought: Brought): Step[] {
    const numbers = (policy.sets ?? []).map((id) => {
      try {
        return this.sets.any(id);
      } catch (cause) {
        throw new Error(`policy ${policy.name}: ${(cause as Error).message}`);
      }
    });
    const key = JSON.stringify(["user", policy.name, this.hashOf(policy.wasm), numbers]);
    const rules = policy.rule && [policy.rule];
    const held = this.slots.find(key, generation);
    if (held) {
      if (rules) held.rules = rules;
      return [{ slot: held.slot, onPass: undefined }];
    }
    const { slot } = this.slots.take(key, generation, policy.name, rules);
    brought.modules.push({ slot, kind: "user", wasm: policy.wasm });
    brought.records.push(countersRecord(slot, 0));
    if (numbers.length) brought.records.push(slotSetsRecord(slot, numbers));
    return [{ slot, onPass: undefined }];
  }
  private hashOf(wasm: Uint8Array): string {
    let hash = this.hashes.get(wasm);
    if (!hash) {
      hash = createHash("sha256").update(wasm).digest("base64");
      this.hashes.set(wasm, hash);
    }
    return hash;
  }

  /** A step alone is its slot; several are a chain. */
  private slotOf(name: string, steps: Step[], generation: number, brought: Brought): number {
    if (steps.length === 1) return steps[0]!.slot;
    const chain = steps.map(({ slot, onPass }): ChainStep =>
      ({ slot, onPass: onPass ?? steps.length }));
    if (chain.length > CHAIN_STEPS_MAX) {
      const most = `a chain has at most ${CHAIN_STEPS_MAX}`;
      throw new Error(`policy ${name}: ${chain.length} parts; ${most}`);
    }
    const key = JSON.stringify(["chain", chain]);
    const held = this.slots.find(key, generation);
    if (held) return held.slot;
    const { slot } = this.slots.take(key, generation, name);
    brought.records.push(chainRecord(slot, chain));
    return slot;
  }
}

/** A chain's steps with those of its policies' in their places. */
function flat(chain: Chain, steps: ReadonlyMap<string, Step[]>): Step[] {
  const own = chain.steps.map(({ policy }) => {
    const found = steps.get(policy);
    if (!found) throw new Error(`chain ${chain.name}: no policy is named "${policy}"`);
    return found;
  });
  const begins = [0];
  own.forEach((each, i) => begins.push(begins[i]! + each.length));
  return own.flatMap((each, i) => {
    const { onPass } = chain.steps[i]!;
    if (!(onPass > i && onPass <= chain.steps.length)) {
      throw new Error(`chain ${chain.name}: step ${i}: onPass ${onPass} is no later step`);
    }
    return each.map((step): Step => ({
      slot: step.slot,
      onPass: step.onPass === undefined ? begins[onPass] : begins[i]! + step.onPass,
    }));
  });
}

/** Bind records for every endpoint's interfaces. */
export function bindRecords(program: Program): Uint8Array {
  return concat(program.endpoints.flatMap((endpoint, index) =>
    endpoint.interfaces.map((each) => bindRecord(each, index))
  ));
}
