// Which things a selector selects, without asking each thing: things of equal labels are one
// class, and of a selector's conditions the one that fewest classes can fulfil names the
// candidates.
//
//   "app" ─┬─ "web" ─ classes that bear app=web        a == "x", a in {…}: by value
//          └─ (any) ─ classes that bear app at all     has(a), a contains …: by name
//   and: the shortest of its operands' lists;  or: all of theirs;  !, !=, not in: every class
//
// Limits: none but memory. A selection is kept by the selector's id.
// Source: the idea of projectcalico felix/labelindex.
import type { LabelMap } from "./label.ts";
import { evaluate, type Node } from "./selector/node.ts";
import type { Selector } from "./selector/selector.ts";

/** Things with the same labels. */
export interface LabelClass<T> {
  number: number;
  labels: LabelMap;
  things: T[];
}

interface Label<T> {
  classes: LabelClass<T>[];
  values: Map<string, LabelClass<T>[]>;
}

export class LabelIndex<T> {
  readonly classes: LabelClass<T>[] = [];
  private readonly bySignature = new Map<string, LabelClass<T>>();
  private readonly byLabel = new Map<string, Label<T>>();
  private readonly selections = new Map<string, LabelClass<T>[]>();

  /** All things are added before the first selection. */
  add(labels: LabelMap, thing: T): LabelClass<T> {
    const signature = [...labels].map(([name, value]) => `${name}=${value}`).sort().join("\n");
    let found = this.bySignature.get(signature);
    if (!found) {
      found = { number: this.classes.length, labels, things: [] };
      this.classes.push(found);
      this.bySignature.set(signature, found);
      for (const [name, value] of labels) this.file(name, value, found);
    }
    found.things.push(thing);
    return found;
  }

  /** In order of the classes' numbers. */
  select(selector: Selector): LabelClass<T>[] {
    const kept = this.selections.get(selector.canonical);
    if (kept) return kept;
    const found = (this.candidates(selector.node) ?? this.classes)
      .filter((each) => evaluate(selector.node, each.labels))
      .sort((a, b) => a.number - b.number);
    this.selections.set(selector.canonical, found);
    return found;
  }

  private file(name: string, value: string, into: LabelClass<T>): void {
    let label = this.byLabel.get(name);
    if (!label) this.byLabel.set(name, label = { classes: [], values: new Map() });
    label.classes.push(into);
    const bearers = label.values.get(value);
    if (bearers) bearers.push(into);
    else label.values.set(value, [into]);
  }

  /** Classes beside which none can be selected, each once; undefined = every class. */
  private candidates(node: Node): LabelClass<T>[] | undefined {
    switch (node.kind) {
      case "has":
        return this.byLabel.get(node.label)?.classes ?? [];
      case "compare": {
        const label = this.byLabel.get(node.label);
        if (node.operator === "!=") return undefined;
        if (node.operator === "==") return label?.values.get(node.value) ?? [];
        return label?.classes ?? [];
      }
      case "member": {
        if (node.operator === "not in") return undefined;
        const label = this.byLabel.get(node.label);
        return node.values.flatMap((value) => label?.values.get(value) ?? []);
      }
      case "and": {
        let best: LabelClass<T>[] | undefined;
        for (const operand of node.operands) {
          const some = this.candidates(operand);
          if (some && (!best || some.length < best.length)) best = some;
          if (best?.length === 0) break;
        }
        return best;
      }
      case "or": {
        const all = new Set<LabelClass<T>>();
        for (const operand of node.operands) {
          const some = this.candidates(operand);
          if (!some) return undefined;
          for (const each of some) all.add(each);
        }
        return [...all];
      }
      default:
        return undefined;
    }
  }
}
