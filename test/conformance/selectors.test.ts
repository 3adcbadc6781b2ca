// Calico's own selector cases: what parses, its canonical text and id, what it selects.
// Source: ../shared/conformance/selectors (Calico's parser tests); absent: it says so.
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Selector, SelectorError } from "../../host/calc/selector/selector.ts";

const FILE = "../shared/conformance/selectors/selectors.json";

interface Evaluated {
  selector: string;
  canonical: string;
  uniqueId: string;
  matches: Record<string, string>[];
  nonMatches: Record<string, string>[];
}
interface Cases {
  evaluate: Evaluated[];
  invalid: string[];
  canonicalise: { input: string; canonical: string; uniqueId: string }[];
}

const present = existsSync(FILE);
if (!present) console.log(`selectors: ${FILE} is absent, its cases are not run`);

describe.skipIf(!present)("selectors-conformance: Calico's selector cases", () => {
  const cases: Cases = present
    ? (JSON.parse(readFileSync(FILE, "utf8")) as Cases)
    : { evaluate: [], invalid: [], canonicalise: [] };
  const wrong: string[] = [];
  const counts = { valid: 0, invalid: 0, canonical: 0, evaluations: 0 };

  test("valid: canonical text, id, and what each selects", () => {
    for (const { selector, canonical, uniqueId, matches, nonMatches } of cases.evaluate) {
      const parsed = Selector.parse(selector);
      if (parsed.canonical === canonical && parsed.id === uniqueId) counts.valid++;
      else wrong.push(`${selector}: ${parsed.canonical} ${parsed.id}`);
      for (const [expected, list] of [[true, matches], [false, nonMatches]] as const) {
        for (const labels of list) {
          const got = parsed.evaluate(new Map(Object.entries(labels)));
          if (got === expected) counts.evaluations++;
          else wrong.push(`${selector} of ${JSON.stringify(labels)}: ${got}`);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(counts.valid).toBe(cases.evaluate.length);
  });

  test("invalid: each is refused, with a column inside the text", () => {
    for (const text of cases.invalid) {
      try {
        wrong.push(`${text}: parsed as ${Selector.parse(text).canonical}`);
      } catch (error) {
        expect(error).toBeInstanceOf(SelectorError);
        const { column } = error as SelectorError;
        expect(column).toBeGreaterThanOrEqual(1);
        expect(column).toBeLessThanOrEqual(text.length + 1);
        counts.invalid++;
      }
    }
    expect(wrong).toEqual([]);
    expect(counts.invalid).toBe(cases.invalid.length);
  });

  test("canonical: one text and id for each way to write it", () => {
    for (const { input, canonical, uniqueId } of cases.canonicalise) {
      const parsed = Selector.parse(input);
      expect([parsed.canonical, parsed.id]).toEqual([canonical, uniqueId]);
      expect(Selector.parse(parsed.canonical).id).toBe(uniqueId);
      counts.canonical++;
    }
    const { evaluate, invalid, canonicalise } = cases;
    const evaluations = evaluate.reduce(
      (sum, each) => sum + each.matches.length + each.nonMatches.length, 0,
    );
    expect(counts).toEqual({
      valid: evaluate.length, invalid: invalid.length, canonical: canonicalise.length, evaluations,
    });
    expect(evaluate.length).toBeGreaterThan(0);
    console.log(
      `selectors ${counts.valid}/${evaluate.length} valid, ${counts.invalid}/${invalid.length} ` +
        `refused, ${counts.canonical}/${canonicalise.length} canonical, ` +
        `${counts.evaluations}/${evaluations} evaluations`,
    );
  });
});
