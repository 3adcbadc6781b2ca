// Policy slots by content: equal policies share one, an unchanged one keeps its own, and one that
// no generation names any more is used again when the core can't hold it either.
//
//   take(key, generation) ─► named by later generations: last moves on ─► last + GENERATIONS
//   passed: free again. A generation that did not come about: what was taken for it is spare.
//
// Limits: 4,095 slots, counting those of the four generations before.
import { GENERATIONS, POLICY_SLOTS_MAX } from "../../assembly/layout.ts";
import type { ProgramRule } from "../model/program.ts";

export interface Held {
  slot: number;
  /** Of the policy. */
  name: string;
  /** Absent for a user's module, a chain. */
  rules?: ProgramRule[];
  /** Generations that name it: the first, whose push brings it, and the last. */
  first: number;
  last: number;
}

export class Slots {
  private readonly held = new Map<string, Held>();
  private readonly spare: number[] = [];
  private next = 1;
  private readonly bySlot: (Held | undefined)[] = [];

  /** What is held for a key; it is named by this generation now. */
  find(key: string, generation: number): Held | undefined {
    const held = this.held.get(key);
    if (held) held.last = generation;
    return held;
  }

  take(key: string, generation: number, name: string, rules?: ProgramRule[]): Held {
    const slot = this.free();
    const held: Held = { slot, name, first: generation, last: generation };
    if (rules) held.rules = rules;
    this.held.set(key, held);
    this.bySlot[slot] = held;
    return held;
  }

  /**
   * Before a generation is compiled: drops what was first taken for it, if it did not come about,
   * and what no generation that the core holds can name.
   */
  begin(generation: number): void {
    for (const [key, held] of this.held) {
      if (held.first < generation && held.last + GENERATIONS >= generation) continue;
      this.held.delete(key);
      this.bySlot[held.slot] = undefined;
      this.spare.push(held.slot);
    }
  }

  at(slot: number): Held | undefined {
    return this.bySlot[slot];
  }

  private free(): number {
    const spare = this.spare.pop();
    if (spare !== undefined) return spare;
    if (this.next < POLICY_SLOTS_MAX) return this.next++;
    throw new Error(`more than ${POLICY_SLOTS_MAX - 1} different policies at once`);
  }
}
