// Membership classes: sorted lists of set numbers, each held once. A list is what one prefix's own
// sets are, or those of all prefixes around it; the second kind has a number in the core.
//
//   list 0 = no set      with(list, set), without(list, set), union(a, b) ─► list
//   uses by prefixes' own sets and by effective classes; a list that nobody uses goes
//
// Limits: the budget of classes counts effective ones alone; sets are numbered below 65,536.

export interface GoneClass {
  number: number;
  sets: Uint16Array;
}

export class Classes {
  private readonly lists: (Uint16Array | undefined)[] = [new Uint16Array(0)];
  private readonly byText = new Map<string, number>([["", 0]]);
  private readonly uses: number[] = [1];
  private readonly effective: number[] = [0];
  /** Of the core, by list; 0 = it has none. */
  readonly numbers: number[] = [0];
  private readonly spare: number[] = [];
  private readonly unused = new Set<number>();
  /** Lists that were some prefix's class and may be no more. */
  private readonly idle = new Set<number>();
  private readonly grown = new Map<number, number>();
  private readonly joined = new Map<number, number>();
  /** Lists that are some prefix's effective class. */
  distinct = 0;

  sets(list: number): Uint16Array {
    return this.lists[list]!;
  }
  has(list: number, set: number): boolean {
    const sets = this.lists[list]!;
    if (sets.length === 1) return sets[0] === set;
    return sets.includes(set);
  }

  with(list: number, set: number): number {
    const key = list * 65_536 + set;
    let known = this.grown.get(key);
    if (known === undefined) {
      const sets = this.lists[list]!;
      known = sets.includes(set) ? list : this.intern([...sets, set].sort((a, b) => a - b));
      this.grown.set(key, known);
    }
    return known;
  }
  without(list: number, set: number): number {
    return this.intern([...this.lists[list]!].filter((each) => each !== set));
  }
  union(a: number, b: number): number {
    if (a === b || b === 0) return a;
    if (a === 0) return b;
    const key = Math.min(a, b) * 2 ** 26 + Math.max(a, b);
    let known = this.joined.get(key);
    if (known === undefined) {
      const all = new Set([...this.lists[a]!, ...this.lists[b]!]);
      this.joined.set(key, known = this.intern([...all].sort((x, y) => x - y)));
    }
    return known;
  }

  private intern(sets: number[]): number {
    const text = sets.join(",");
    let list = this.byText.get(text);
    if (list !== undefined) return list;
    list = this.spare.pop() ?? this.lists.length;
    this.lists[list] = Uint16Array.from(sets);
    this.uses[list] = 0;
    this.effective[list] = 0;
    this.numbers[list] = 0;
    this.byText.set(text, list);
    this.unused.add(list);
    return list;
  }

  /** One prefix more or less has the list as its own sets. */
  use(list: number, by: 1 | -1): void {
    const uses = this.uses[list]! += by;
    if (uses === 0) this.unused.add(list);
  }
  /** One prefix more or less has it as its class. */
  useAsClass(list: number, by: 1 | -1): void {
    const before = this.effective[list]!;
    this.effective[list] = before + by;
    if (list !== 0 && before === 0) this.distinct++;
    if (list !== 0 && before + by === 0) {
      this.distinct--;
      this.idle.add(list);
    }
    this.use(list, by);
  }

  /** Forgets what nobody uses; returns the classes that went, as the core knew them. */
  collect(): GoneClass[] {
    const gone: GoneClass[] = [];
    for (const list of this.idle) {
      if (this.effective[list]! > 0 || this.numbers[list] === 0) continue;
      gone.push({ number: this.numbers[list]!, sets: this.lists[list]! });
      this.numbers[list] = 0;
    }
    this.idle.clear();
    let freed = false;
    for (const list of this.unused) {
      if (list === 0 || this.uses[list]! > 0 || !this.lists[list]) continue;
      this.byText.delete(this.lists[list]!.join(","));
      this.lists[list] = undefined;
      this.spare.push(list);
      freed = true;
    }
    this.unused.clear();
    // What was worked out may name a list that is another one soon.
    if (freed) {
      this.grown.clear();
      this.joined.clear();
    }
    return gone;
  }
}
