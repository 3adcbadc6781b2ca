// "did you mean": what is near enough to be meant, and what is not.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { didYouMean, editDistance, nearest, oneOf } from "../../../host/input/nearest.ts";
import { seedOf } from "../../seed.ts";

/** By its definition: the best of all ways to end. */
function slowDistance(a: string, b: string): number {
  if (a === "" || b === "") return a.length + b.length;
  const [one, other] = [a.slice(0, -1), b.slice(0, -1)];
  const ways = [slowDistance(one, b) + 1, slowDistance(a, other) + 1,
    slowDistance(one, other) + (a.at(-1) === b.at(-1) ? 0 : 1)];
  if (a.length > 1 && b.length > 1 && a.at(-1) === b.at(-2) && a.at(-2) === b.at(-1)) {
    ways.push(slowDistance(a.slice(0, -2), b.slice(0, -2)) + 1);
  }
  return Math.min(...ways);
}

describe("input-nearest:", () => {
  test.each([
    ["podSelecter", ["podSelector", "namespaceSelector"], "podSelector"],
    ["form", ["from", "ports"], "from"], ["tcp", ["TCP", "UDP"], "TCP"],
    ["sorce", ["source", "services"], "source"], ["dbb", ["db", "web"], "db"],
    ["tier", ["podSelector", "ingress"], undefined], ["x", [], undefined],
  ])("%s of %s: %s", (word, known, meant) => {
    expect(nearest(word, known)).toBe(meant);
    expect(didYouMean(word, known)).toBe(meant === undefined ? "" : `; did you mean ${meant}?`);
  });

  test("the distance is the slow one's", () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 5 });
    fc.assert(fc.property(word, word, (a, b) => {
      expect(editDistance(a, b)).toBe(slowDistance(a, b));
    }), { seed: seedOf("FUZZ_SEED"), numRuns: 500 });
  });

  test("lists end in or", () => {
    expect([oneOf(["a", "b", "c"]), oneOf(["a"]), oneOf([])]).toEqual(["a, b or c", "a", ""]);
  });
});
