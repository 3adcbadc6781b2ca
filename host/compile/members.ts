// Memberships of all sets: which classes addresses have, and what to tell the core when members
// change. One trie a family for prefixes, one for address-port pairs; a change touches its own
// prefix and the more specific ones under it.
//
//   put(set, member)   own list of the prefix changes  ─► pending
//   settle()           classes of pending prefixes, and of those under them  ─► moved
//   records()          Members taken away, Class, Members put, ClassRemove (memberrecord.ts)
//
// What a refused push brought is brought again (repeat). Limits: the budgets of
// Configure, looked at before anything is emitted.
import type { AddressSet, Budgets } from "../model/program.ts";
import { Classes, type GoneClass } from "./classes.ts";
import { parseMember } from "./member.ts";
import {
  classRecord, classRemoveRecord, memberRecords, membersOf, removalRecord,
} from "./memberrecord.ts";
import { MARK_SHIFT, MOVED, PENDING, Trie } from "./trie.ts";

/** From this share of a trie on, a walk of all of it is cheaper than one by one. */
const WALK_SHARE = 8;

/** One trie and what waits in it. */
export class Side {
  readonly trie: Trie;
  /** Own sets changed since the last settle(). */
  pending: number[] = [];
  /** To be told to the core. */
  moved: number[] = [];
  /** Prefixes that sets name. */
  entries = 0;

  constructor(readonly family: 4 | 6, readonly ports: boolean) {
    const words = (family === 4 ? 1 : 4) + (ports ? 1 : 0);
    this.trie = new Trie(words, words * 32 - (ports ? 8 : 0));
  }
}

/** Where a member of a set lies: trie number and node, so that a set can be swept. */
export type Place = number;

export class Members {
  readonly classes = new Classes();
  private readonly sides = [
    new Side(4, false), new Side(6, false), new Side(4, true), new Side(6, true),
  ];
  private nextClass = 1;
  private readonly spareClasses: number[] = [];
  /** Records and class numbers since confirm(). */
  private told: { members: Uint8Array[]; classes: number[]; gone: GoneClass[] } =
    { members: [], classes: [], gone: [] };
  /** To be told once more. */
  private again: { taken: Uint8Array[]; classes: number[]; gone: GoneClass[] } =
    { taken: [], classes: [], gone: [] };

  constructor(private readonly budgets: Partial<Budgets> = {}) {}

  private sideOf(family: 4 | 6, port: boolean): number {
    return (port ? 2 : 0) + (family === 6 ? 1 : 0);
  }

  /** Puts a member into a set, by number; whether it was in it already shows in nothing. */
  put(set: number, text: string, type: AddressSet["type"]): Place {
    const { family, port, length, words } = parseMember(text, type);
    const index = this.sideOf(family, port);
    const side = this.sides[index]!;
    const node = side.trie.insert(words, length);
    const { nodes, own } = side.trie;
    const before = nodes[node + own]!;
    if (!this.classes.has(before, set)) {
      this.change(side, node, before, this.classes.with(before, set));
    }
    return node * 4 + index;
  }

  /** Takes a member out of a set, by its text; undefined where it was in none. */
  take(set: number, text: string, type: AddressSet["type"]): Place | undefined {
    const { family, port, length, words } = parseMember(text, type);
    const index = this.sideOf(family, port);
    const node = this.sides[index]!.trie.find(words, length);
    if (!node) return undefined;
    this.takeAt(set, node * 4 + index);
    return node * 4 + index;
  }
  takeAt(set: number, place: Place): void {
    const side = this.sides[place & 3]!;
    const node = (place - (place & 3)) / 4;
    const before = side.trie.nodes[node + side.trie.own]!;
    if (!this.classes.has(before, set)) return;
    this.change(side, node, before, this.classes.without(before, set));
  }

  /** Is the member at this place still in the set, and not marked so? */
  isUnmarked(set: number, place: Place, mark: number): boolean {
    const { nodes, own, state } = this.sides[place & 3]!.trie;
    const node = (place - (place & 3)) / 4;
    return nodes[node + state]! >> MARK_SHIFT !== mark && this.classes.has(nodes[node + own]!, set);
  }
  /** Marks a place; false where it bears the mark already. */
  mark(place: Place, mark: number): boolean {
    const { nodes, state } = this.sides[place & 3]!.trie;
    const at = (place - (place & 3)) / 4 + state;
    if (nodes[at]! >> MARK_SHIFT === mark) return false;
    nodes[at] = (nodes[at]! & (PENDING | MOVED)) | (mark << MARK_SHIFT);
    return true;
  }

  private change(side: Side, node: number, before: number, after: number): void {
    const { nodes, own, state } = side.trie;
    if (before === 0) side.entries++;
    if (after === 0) side.entries--;
    this.classes.use(before, -1);
    this.classes.use(after, 1);
    nodes[node + own] = after;
    if (nodes[node + state]! & PENDING) return;
    nodes[node + state]! |= PENDING;
    side.pending.push(node);
  }

  // ---- Classes ----------------------------------------------------------------------------------

  /**
   * Works out the classes of all that changed. Throws where a budget does not suffice; what is
   * pending stays so, until a later program fits.
   */
  settle(): void {
    for (const side of this.sides) {
      const { trie } = side;
      if (side.pending.length * WALK_SHARE > trie.count) {
        this.settleUnder(side, trie.root, 0, true);
      } else {
        const { nodes, length } = trie;
        side.pending.sort((a, b) => nodes[a + length]! - nodes[b + length]!);
        for (const node of side.pending) {
          this.settleUnder(side, node, trie.classAbove(node), false);
        }
      }
      side.pending = [];
    }
    this.checkBudgets();
  }

  /** `above`: the class of the nearest prefix around. All: walk on where nothing has changed. */
  private settleUnder(side: Side, node: number, above: number, all: boolean): void {
    if (!node) return;
    const { nodes, own, klass, state, left } = side.trie;
    const mine = nodes[node + own]!;
    const before = nodes[node + klass]!;
    const pending = (nodes[node + state]! & PENDING) !== 0;
    const after = mine === 0 ? 0 : this.classes.union(above, mine);
    if (after !== before) {
      if (before) this.classes.useAsClass(before, -1);
      if (after) this.classes.useAsClass(after, 1);
      nodes[node + klass] = after;
      this.move(side, node);
    } else if (mine !== 0 && !pending && !all) {
      return; // nor has anything under it
    }
    nodes[node + state]! &= ~PENDING;
    const below = mine === 0 ? above : after;
    this.settleUnder(side, nodes[node + left]!, below, all);
    this.settleUnder(side, nodes[node + left + 1]!, below, all);
  }

  private move(side: Side, node: number): void {
    const { nodes, state } = side.trie;
    if (nodes[node + state]! & MOVED) return;
    nodes[node + state]! |= MOVED;
    side.moved.push(node);
  }

  private checkBudgets(): void {
    const { classesMax = 4096, members4Max = 65_536, members6Max = 16_384 } = this.budgets;
    const count = (family: 4 | 6): number => this.sides
      .filter((side) => side.family === family).reduce((sum, { entries }) => sum + entries, 0);
    const over = (what: string, is: number, most: number, name: string): void => {
      if (is > most) throw new Error(`${is} ${what}; the budget ${name} is ${most}`);
    };
    over("combinations of sets", this.classes.distinct, classesMax, "classesMax");
    over("IPv4 members of sets", count(4), members4Max, "members4Max");
    over("IPv6 members of sets", count(6), members6Max, "members6Max");
  }

  // ---- Telling the core -------------------------------------------------------------------------

  /** What has changed since the last call, as records; settle() comes first. */
  records(): Uint8Array[] {
    const { classes } = this;
    const taken = this.again.taken, put: Uint8Array[] = [], defined: Uint8Array[] = [];
    const define = (number: number, list: number): void => {
      defined.push(classRecord(number, classes.sets(list)));
      this.told.classes.push(number);
    };
    for (const number of this.again.classes) define(number, classes.numbers.indexOf(number));
    // Whether these went the core knows: there they are, and go.
    for (const { number, sets } of this.again.gone) defined.push(classRecord(number, sets));
    for (const side of this.sides) {
      const { trie } = side;
      const { nodes, own, klass, state } = trie;
      const there = side.moved.filter((node) => nodes[node + own] !== 0);
      const gone = side.moved.filter((node) => nodes[node + own] === 0);
      for (const node of there) {
        const list = nodes[node + klass]!;
        if (classes.numbers[list]) continue;
        define(classes.numbers[list] = this.spareClasses.pop() ?? this.nextClass++, list);
      }
      taken.push(...memberRecords(side, gone, () => 0));
      put.push(...memberRecords(side, there, (node) => classes.numbers[nodes[node + klass]!]!));
      for (const node of there) nodes[node + state]! &= ~MOVED;
      for (const node of gone) {
        // The flag has kept the node where it was while others went.
        nodes[node + state]! &= ~MOVED;
        trie.remove(node);
      }
      side.moved = [];
    }
    // Their numbers are spare when it is sure that the core has heard.
    const removed = [...this.again.gone, ...classes.collect()];
    this.told.members.push(...taken, ...put);
    this.told.gone.push(...removed);
    this.again = { taken: [], classes: [], gone: [] };
    const last = removed.map(({ number }) => classRemoveRecord(number));
    return [...taken, ...defined, ...put, ...last];
  }

  /** What was told so far has arrived. */
  confirm(): void {
    this.spareClasses.push(...this.told.gone.map(({ number }) => number));
    this.told = { members: [], classes: [], gone: [] };
  }

  /** What was told since confirm() may not have arrived: the next records() bring it again. */
  repeat(): void {
    const { classes, told } = this;
    for (const body of told.members) {
      for (const { family, port, words, length, entry } of membersOf(body)) {
        const side = this.sides[this.sideOf(family, port)]!;
        const node = side.trie.find(words, length);
        const isThere = node !== 0 && side.trie.nodes[node + side.trie.own] !== 0;
        if (isThere) this.move(side, node);
        else this.again.taken.push(removalRecord(family, entry));
      }
    }
    const numbers = new Set(classes.numbers);
    this.again.classes = [...new Set(told.classes)].filter((each) => numbers.has(each));
    this.again.gone = told.gone;
    this.told = { members: [], classes: [], gone: [] };
  }
}
