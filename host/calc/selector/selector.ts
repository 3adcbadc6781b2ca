// A selector: what Calico's policies say of endpoints ("app == 'web' && has(tier)").
//
//   text ─ token.ts ─ parse.ts ─ node.ts: tree ─ canonical text ─ id "s:…"
//
// Immutable, and therefore kept by text: manifests say the same selectors over and over. Equal
// canonical text = equal id; two spellings of one meaning may well differ in both.
// Source: docs.tigera.io, "Selectors"; projectcalico libcalico-go/lib/selector.
import { uniqueId } from "../identity.ts";
import { canonical, evaluate, prefixed, type Labels, type Node } from "./node.ts";
import { parseNode } from "./parse.ts";

export { SelectorError } from "./token.ts";
export type { Labels } from "./node.ts";

/** Texts that are kept; at that many all are let go. */
const KEPT_MAX = 20_000;
const kept = new Map<string, Selector>();

export class Selector {
  readonly node: Node;
  readonly canonical: string;
  private cachedId = "";

  private constructor(node: Node) {
    this.node = node;
    this.canonical = canonical(node);
  }

  /** Throws a SelectorError. Empty and blank text select all. */
  static parse(text: string): Selector {
    return keep(text, () => new Selector(parseNode(text)));
  }

  /** Id of the set of what it selects, as Felix names it. */
  get id(): string {
    this.cachedId ||= uniqueId("s", this.canonical);
    return this.cachedId;
  }

  /** Own labels win over those of parents, the first parent's over the next one's. */
  evaluate(labels: Labels, ...parents: Labels[]): boolean {
    if (parents.length === 0) return evaluate(this.node, labels);
    return evaluate(this.node, {
      get: (name) => {
        for (const each of [labels, ...parents]) {
          const value = each.get(name);
          if (value !== undefined) return value;
        }
        return undefined;
      },
    });
  }

  /** The same over labels with a prefix. */
  prefixed(prefix: string): Selector {
    // No selector's text begins so: the two kinds of keys can't meet.
    return keep(`)${prefix} ${this.canonical}`, () => new Selector(prefixed(this.node, prefix)));
  }
}

function keep(text: string, make: () => Selector): Selector {
  let selector = kept.get(text);
  if (!selector) {
    selector = make();
    if (kept.size >= KEPT_MAX) kept.clear();
    kept.set(text, selector);
  }
  return selector;
}
