// The selector language by hand: each operator, what an absent label is, inheritance, the places
// that errors name; and the index of labels against asking each thing, on random selectors.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LabelIndex } from "../../../host/calc/index.ts";
import { Selector, SelectorError } from "../../../host/calc/selector/selector.ts";
import { seedOf } from "../../seed.ts";

const labels = (text: Record<string, string>) => new Map(Object.entries(text));
const selects = (text: string, of: Record<string, string>): boolean => {
  return Selector.parse(text).evaluate(labels(of));
};

describe("calc-selector: every operator of the selector language", () => {
  test.each([
    ["a == 'b'", { a: "b" }, { a: "c" }, false],
    ["a != 'b'", { a: "c" }, { a: "b" }, true],
    ["a in {'b', \"c\"}", { a: "c" }, { a: "d" }, false],
    ["a not in {'b', 'c'}", { a: "d" }, { a: "b" }, true],
    ["a notin {'b'}", { a: "d" }, { a: "b" }, true],
    ["a in {}", undefined, { a: "b" }, false],
    ["a contains 'nd'", { a: "candle" }, { a: "cable" }, false],
    ["a starts with 'ca'", { a: "candle" }, { a: "scandal" }, false],
    ["a startswith 'ca'", { a: "candle" }, { a: "scandal" }, false],
    ["a ends with 'le'", { a: "candle" }, { a: "candles" }, false],
    ["has(a)", { a: "" }, { b: "a" }, false],
    ["!has(a)", { b: "a" }, { a: "" }, true],
    ["all()", { a: "b" }, undefined, true],
    ["global()", { a: "b" }, undefined, true],
    ["!all()", undefined, { a: "b" }, false],
    ["has(a) && a != 'b'", { a: "c" }, { a: "b" }, false],
    ["a == 'b' || a == 'c'", { a: "c" }, { a: "d" }, false],
  ])("%s", (text, holds, fails, ofNothing) => {
    if (holds) expect(selects(text, holds)).toBe(true);
    if (fails) expect(selects(text, fails)).toBe(false);
    expect(selects(text, {})).toBe(ofNothing);
  });

  test("&& binds closer than ||, ! closest, parentheses before all", () => {
    expect(selects("has(a) || has(b) && has(c)", { a: "" })).toBe(true);
    expect(selects("(has(a) || has(b)) && has(c)", { a: "" })).toBe(false);
    expect(selects("!has(a) && has(b)", { b: "" })).toBe(true);
    expect(selects("!(has(a) && has(b))", { b: "" })).toBe(true);
  });

  test("labels may be called like operators, and bear dots, slashes and dashes", () => {
    expect(selects("in in {'x'}", { in: "x" })).toBe(true);
    expect(selects("contains contains 'x'", { contains: "axe" })).toBe(true);
    expect(selects("app.kubernetes.io/part-of == 'shop'", {
      "app.kubernetes.io/part-of": "shop",
    })).toBe(true);
    expect(selects("hasty == 'x'", { hasty: "x" })).toBe(true);
  });

  test("own labels win over a parent's, the first parent's over the next one's", () => {
    const own = labels({ a: "own" });
    const first = labels({ a: "first", b: "first" });
    const next = labels({ b: "next", c: "next" });
    const holds = (text: string) => Selector.parse(text).evaluate(own, first, next);
    expect(holds("a == 'own' && b == 'first' && c == 'next'")).toBe(true);
    expect(holds("b == 'next'")).toBe(false);
  });

  test("a prefix goes before each label, and nowhere else", () => {
    const selector = Selector.parse("!(a == 'has(a)' || has(b)) && all() && c in {'a'}");
    expect(selector.prefixed("pcns.").canonical)
      .toBe('(!(pcns.a == "has(a)" || has(pcns.b)) && all() && pcns.c in {"a"})');
    expect(selector.canonical).toBe('(!(a == "has(a)" || has(b)) && all() && c in {"a"})');
  });
});

describe("calc-selector-errors: what was expected, in which column", () => {
  test.each([
    ["app = 'x'", "expected == or in after 'app' (column 5): app = 'x'; Calico wants ==", 5],
    ["app == web", "expected a quoted string after 'app ==', not web (column 8): app == web", 8],
    ["app is 'x'",
      "expected ==, !=, in or another operator after 'app' (column 5): app is 'x'", 5],
    ["app", "expected ==, !=, in or another operator after 'app' (column 4): app", 4],
    ["app == 'x", "string without its closing ' (column 8): app == 'x", 8],
    ["app in 'x'", "expected { after 'app in', not 'x' (column 8): app in 'x'", 8],
    ["app in {'x' 'y'}",
      "expected a quoted string, or } for the end of the set, not 'y' (column 13): " +
        "app in {'x' 'y'}", 13],
    ["has(app", "expected ) to close has( (column 8): has(app", 8],
    ["(has(a)", "expected ) for the ( of column 1, not the end (column 8): (has(a)", 8],
    ["has(a) & has(b)", "expected && (column 8): has(a) & has(b)", 8],
    ["has(a) has(b)", "unexpected has(b); expected && or || (column 8): has(a) has(b)", 8],
    ["has(a) &&",
      "expected a label, has(…), all(), global(), ! or (, not the end (column 10): has(a) &&", 10],
    ["*", "unexpected * (column 1): *", 1],
  ])("%s", (text, message, column) => {
    try {
      Selector.parse(text);
    } catch (error) {
      expect((error as SelectorError).message).toBe(message);
      expect((error as SelectorError).column).toBe(column);
      return;
    }
    throw new Error(`${text} was parsed`);
  });

  test("no depth of parentheses exhausts the stack", () => {
    const deep = (depth: number): string => "(".repeat(depth) + "has(a)" + ")".repeat(depth);
    expect(Selector.parse(deep(400)).canonical).toBe("has(a)");
    expect(() => Selector.parse(deep(100_000))).toThrow(/more than 500 parentheses deep/);
  });
});

const name = fc.constantFrom("a", "b", "c");
const value = fc.constantFrom("x", "y", "xy", "");
const { text } = fc.letrec<{ text: string }>((tie) => ({
  text: fc.oneof(
    { maxDepth: 4 },
    fc.tuple(name, fc.constantFrom("==", "!=", "contains", "starts with", "ends with"), value)
      .map(([label, operator, wanted]) => `${label} ${operator} '${wanted}'`),
    fc.tuple(name, fc.constantFrom("in", "not in"), fc.array(value, { maxLength: 3 }))
      .map(([label, operator, set]) => {
        return `${label} ${operator} {${set.map((each) => `'${each}'`).join(", ")}}`;
      }),
    name.map((label) => `has(${label})`),
    fc.constantFrom("all()", "global()"),
    tie("text").map((inner) => `!(${inner})`),
    fc.tuple(tie("text"), fc.constantFrom("&&", "||"), tie("text"))
      .map(([left, operator, right]) => `(${left}) ${operator} (${right})`),
  ),
}));
const own = fc.dictionary(name, value, { maxKeys: 3 });

test("calc-index: the index selects what asking each thing selects", () => {
  fc.assert(fc.property(fc.array(own, { maxLength: 30 }), fc.array(text, { minLength: 1 }),
    (things, selectors) => {
      const index = new LabelIndex<number>();
      things.forEach((thing, i) => index.add(labels(thing), i));
      for (const each of selectors) {
        const selector = Selector.parse(each);
        const found = index.select(selector).flatMap((one) => one.things).sort((a, b) => a - b);
        const asked = things.flatMap((thing, i) => selector.evaluate(labels(thing)) ? [i] : []);
        expect(found, each).toEqual(asked);
        const again = Selector.parse(selector.canonical);
        expect(things.flatMap((thing, i) => again.evaluate(labels(thing)) ? [i] : []), each)
          .toEqual(asked);
      }
    }), { seed: seedOf("FUZZ_SEED"), numRuns: 300 });
});

test("calc-index: of an && the rarest condition names whom to ask, and no other is asked", () => {
  const asked = new Set<number>();
  class Watched extends Map<string, string> {
    readonly number: number;
    constructor(number: number) {
      super([["a", "x"], ["b", `${number}`], ["c", `${number % 2}`]]);
      this.number = number;
    }
    override get(label: string): string | undefined {
      asked.add(this.number);
      return super.get(label);
    }
  }
  const index = new LabelIndex<number>();
  for (let i = 0; i < 1000; i++) index.add(new Watched(i), i);
  for (const text of [
    "has(a) && b == '7' && c == '1'", "b == '7' && has(a) && a != 'y'",
    "c == '1' && (b in {'7'} || b == '8')",
  ]) {
    asked.clear();
    expect(index.select(Selector.parse(text)).flatMap(({ things }) => things)).toEqual([7]);
    expect([...asked].filter((number) => number !== 7 && number !== 8), text).toEqual([]);
  }
});
