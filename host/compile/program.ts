// A program, in plain objects, to a push: modules for what changed, and the records of a
// generation. Policies are known by their content: equal ones share a slot, and an unchanged one is
// not sent again.
//
// Limits: 4,095 different policies at a time, counting those of the four generations before.
import { createHash } from "node:crypto";
import { GENERATIONS, POLICY_SLOTS_MAX } from "../../assembly/layout.ts";
import type { PolicyModule, Push } from "../dataplane/dataplane.ts";
import type { Policy, Program, UserPolicy } from "../model/program.ts";
import { compilePolicy } from "./policy.ts";
import { beginRecord, bindRecord, endpointRecords, serviceRecords } from "./records.ts";
import { concat } from "../dataplane/record.ts";

interface Held {
  slot: number;
  /** Generations that name it: the first, whose push brings the module, and the last. */
  first: number;
  last: number;
}

export class Compiler {
  private readonly held = new Map<string, Held>();
  private readonly spare: number[] = [];
  private nextSlot = 1;
  private names = new Map<number, Policy | UserPolicy>();

  /**
   * Compiles a program for a generation. Asked for the same generation again, it takes the push
   * before as refused or never made, and brings its modules again.
   */
  async compile(program: Program, generation: number): Promise<Push> {
    this.forget(generation);
    const slots = new Map<string, number>();
    const modules: PolicyModule[] = [];
    for (const policy of program.policies) {
      if (slots.has(policy.name)) throw new Error(`two policies are named "${policy.name}"`);
      slots.set(policy.name, await this.slotFor(policy, generation, modules));
    }
    this.names = new Map(
      program.policies.map((policy) => [slots.get(policy.name)!, policy] as const),
    );
    const records = concat([
      beginRecord(generation),
      ...endpointRecords(program.endpoints, slots),
      ...serviceRecords(program.services),
    ]);
    return { generation, modules, records };
  }

  /** Drops what was first compiled for a generation that did not come about. */
  private forget(generation: number): void {
    for (const [key, held] of this.held) {
      if (held.first < generation) continue;
      this.held.delete(key);
      this.spare.push(held.slot);
    }
  }

  /** Name of a rule by what a verdict bears; undefined where no policy decided. */
  ruleName(slot: number, rule: number): string | undefined {
    const policy = this.names.get(slot);
    if (!policy) return undefined;
    const named = "rules" in policy ? policy.rules[rule]?.name : undefined;
    return named === undefined ? policy.name : `${policy.name}/${named}`;
  }

  private async slotFor(
    policy: Policy | UserPolicy, generation: number, modules: PolicyModule[],
  ): Promise<number> {
    const isUser = "wasm" in policy;
    const wasm = isUser ? policy.wasm : await compilePolicy(policy);
    const key = `${isUser}:${createHash("sha256").update(wasm).digest("hex")}`;
    const known = this.held.get(key);
    if (known) {
      known.last = generation;
      return known.slot;
    }
    const slot = this.freeSlot(generation);
    this.held.set(key, { slot, first: generation, last: generation });
    modules.push({ slot, kind: isUser ? "user" : "generated", wasm });
    return slot;
  }

  /** A slot that no generation names which the core may still hold. */
  private freeSlot(generation: number): number {
    const spare = this.spare.pop();
    if (spare !== undefined) return spare;
    if (this.nextSlot < POLICY_SLOTS_MAX) return this.nextSlot++;
    for (const [key, held] of this.held) {
      if (held.last + GENERATIONS >= generation) continue;
      this.held.delete(key);
      return held.slot;
    }
    throw new Error(`more than ${POLICY_SLOTS_MAX - 1} different policies at once`);
  }
}

/** Bind records for every endpoint's interfaces. */
export function bindRecords(program: Program): Uint8Array {
  return concat(program.endpoints.flatMap((endpoint, index) =>
    endpoint.interfaces.map((each) => bindRecord(each, index))
  ));
}
