// Sets by number: which sets a program's policies name, what numbers they have in the core, and
// which members changed since the program before.
//
//   begin(sets) ─► addresses(id), ports(id), nets(prefixes): named, numbered ─► finish() ─► records
//
// A set whose members object (or version) is the one of before is not looked at. A set that nobody
// names keeps its members one generation more, for the packets under way; its number is used again
// only when no generation can know it.
//
// Limits: the budget of sets; numbers below 65,535.
import { GENERATIONS } from "../../assembly/layout.ts";
import type { AddressSet, Budgets } from "../model/program.ts";
import { netsId } from "./match.ts";
import { Members, type Place } from "./members.ts";
import type { SetNumbers } from "./policy.ts";

interface Known {
  id: string;
  number: number;
  type: AddressSet["type"];
  /** Generation that named it last. */
  last: number;
  /** Of what was looked at last. */
  source?: Iterable<string> | undefined;
  version?: number | undefined;
  size: number;
  /** Where its members lie; some may have left since. */
  places: Place[];
}

export class Sets implements SetNumbers {
  private readonly members: Members;
  private readonly known = new Map<string, Known>();
  private readonly named = new Map<string, AddressSet>();
  private given = new Map<string, AddressSet>();
  private readonly resting: { number: number; until: number }[] = [];
  private nextNumber = 0;
  private mark = 0;
  private generation = 0;

  constructor(private readonly budgets: Partial<Budgets> = {}) {
    this.members = new Members(budgets);
  }

  /** `again`: the push before did not come about. */
  begin(sets: readonly AddressSet[], generation: number, again: boolean): void {
    if (again) this.members.repeat();
    else this.members.confirm();
    this.generation = generation;
    this.named.clear();
    this.given = new Map();
    for (const set of sets) {
      if (this.given.has(set.id)) throw new Error(`two sets have the id "${set.id}"`);
      this.given.set(set.id, set);
    }
  }

  addresses(id: string): number {
    const set = this.setOf(id);
    if (set.type === "ip-port") throw new Error(`set "${id}" holds ports, not addresses`);
    return this.number(set);
  }
  ports(id: string): number {
    const set = this.setOf(id);
    if (set.type !== "ip-port") throw new Error(`set "${id}" holds addresses, not ports`);
    return this.number(set);
  }
  any(id: string): number {
    return this.number(this.setOf(id));
  }
  nets(prefixes: string[]): string {
    const id = netsId(prefixes);
    if (!this.given.has(id)) this.given.set(id, { id, type: "net", members: prefixes, version: 0 });
    return id;
  }

  /** Number of a set of addresses that the program in force names. Throws where it names none. */
  addressesInForce(id: string): number {
    const known = this.known.get(id);
    if (!known || known.last !== this.generation || known.type === "ip-port") {
      throw new Error(`no set of addresses that the last program names has the id "${id}"`);
    }
    return known.number;
  }

  private setOf(id: string): AddressSet {
    const set = this.given.get(id);
    if (!set) throw new Error(`no set has the id "${id}"`);
    return set;
  }

  private number(set: AddressSet): number {
    this.named.set(set.id, set);
    let known = this.known.get(set.id);
    if (known && (known.type === "ip-port") !== (set.type === "ip-port")) {
      this.drop(known);
      known = undefined;
    }
    if (!known) {
      const number = this.freeNumber();
      known = { id: set.id, number, type: set.type, last: 0, size: 0, places: [] };
      this.known.set(set.id, known);
    }
    known.last = this.generation;
    return known.number;
  }
  private freeNumber(): number {
    const [first] = this.resting; // the one that has rested longest
    if (first && first.until < this.generation) return this.resting.shift()!.number;
    const most = this.budgets.setsMax ?? 1024;
    if (this.nextNumber >= most) {
      throw new Error(`more than ${most} sets that policies name; the budget setsMax is ${most}`);
    }
    return this.nextNumber++;
  }

  /** Members that changed, as records. */
  finish(): Uint8Array[] {
    for (const set of this.named.values()) this.update(this.known.get(set.id)!, set);
    for (const known of this.known.values()) {
      if (known.last < this.generation - 1) this.drop(known);
    }
    this.members.settle();
    return this.members.records();
  }

  /**
   * Members of one set that came and went, between programs: what to stage at once. The set's
   * members object is taken to have changed likewise. Nothing for a set that no policy names.
   * Only while the push before is in force: a refused one is to be compiled again first.
   */
  applyDelta(id: string, added: Iterable<string>, removed: Iterable<string>): Uint8Array[] {
    const known = this.known.get(id);
    if (!known) return [];
    this.members.confirm();
    try {
      for (const text of removed) {
        if (this.members.take(known.number, text, known.type) !== undefined) known.size--;
      }
      for (const text of added) {
        known.places.push(this.members.put(known.number, text, known.type));
        known.size++;
      }
    } catch (cause) {
      known.source = undefined;
      throw new Error(`set "${id}": ${(cause as Error).message}`);
    }
    if (known.places.length > 2 * known.size + 1024) this.compact(known);
    this.members.settle();
    return this.members.records();
  }

  /** Forgets the places of members that left, and doubles. */
  private compact(known: Known): void {
    const mark = ++this.mark;
    known.places = known.places.filter((place) =>
      this.members.isUnmarked(known.number, place, mark) && this.members.mark(place, mark));
  }

  private update(known: Known, set: AddressSet): void {
    const isSame = set.version === undefined
      ? known.source === set.members && sizeOf(set.members) === known.size
      : known.version === set.version;
    if (isSame) return;
    const mark = ++this.mark;
    const places: Place[] = [];
    const before = known.places;
    known.source = undefined;
    known.version = undefined;
    let size = 0;
    try {
      for (const text of set.members) {
        const place = this.members.put(known.number, text, set.type);
        if (this.members.mark(place, mark)) places.push(place);
        size++;
      }
    } catch (cause) {
      known.places = [...before, ...places];
      throw new Error(`set "${set.id}": ${(cause as Error).message}`);
    }
    for (const place of before) {
      if (this.members.isUnmarked(known.number, place, mark)) {
        this.members.takeAt(known.number, place);
      }
    }
    known.places = places;
    known.source = set.members;
    known.version = set.version;
    known.size = size;
  }

  private drop(known: Known): void {
    for (const place of known.places) this.members.takeAt(known.number, place);
    this.known.delete(known.id);
    this.resting.push({ number: known.number, until: this.generation + GENERATIONS });
  }
}

function sizeOf(members: Iterable<string>): number {
  const { size, length } = members as { size?: number; length?: number };
  return size ?? length ?? -1;
}
