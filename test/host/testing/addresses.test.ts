// Classes of addresses: every boundary makes a class, and every address is in the class that the
// same labels name, whatever order prefixes come in.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addressClasses, prefixHolds } from "../../../host/testing/addresses.ts";
import type { LabelledPrefix } from "../../../host/testing/addresses.ts";
import { seedOf } from "../../seed.ts";

const labelled = (...prefixes: [string, string][]): LabelledPrefix[] =>
  prefixes.map(([prefix, label]) => ({ prefix, label }));

describe("classes of addresses", () => {
  test("nested prefixes make a class each, and what is outside one more", () => {
    const nested = labelled(["203.0.113.0/24", "a"], ["203.0.113.64/26", "b"]);
    const classes = addressClasses(4, nested, []);
    expect(classes.map(({ labels, within, isPublic }) => [labels, within, isPublic])).toEqual([
      [[], undefined, true],
      [["private"], undefined, false],
      [["a"], "203.0.113.0/24", true],
      [["a", "b"], "203.0.113.64/26", true],
    ]);
    const inner = classes.at(-1)!.address;
    expect(prefixHolds("203.0.113.64/26", inner)).toBe(true);
  });

  test("prefixes of one label are one class", () => {
    const classes = addressClasses(4, labelled(["1.0.0.0/8", "s"], ["5.0.0.0/8", "s"]), []);
    expect(classes.filter(({ labels }) => labels.includes("s"))).toHaveLength(1);
  });

  test("an address that the cluster has stands for nothing", () => {
    const classes = addressClasses(
      4, labelled(["10.1.2.2/31", "a"], ["10.1.2.3/32", "b"]), ["10.1.2.3"]);
    expect(classes.map(({ address }) => address)).not.toContain("10.1.2.3");
    expect(classes.filter(({ labels }) => labels.includes("a")).map((each) => each.address))
      .toEqual(["10.1.2.2"]);
    expect(classes.some(({ labels }) => labels.includes("b"))).toBe(false);
  });

  test("nothing comes from loopback, multicast or the unspecified", () => {
    for (const family of [4, 6] as const) {
      const all = labelled(["127.0.0.0/8", "a"], ["224.0.0.0/4", "a"], ["0.0.0.0/32", "a"],
        ["::1/128", "a"], ["ff02::/16", "a"], ["fe80::/64", "a"]);
      const found = addressClasses(family, all, []);
      expect(found.some(({ labels }) => labels.includes("a"))).toBe(false);
    }
  });

  test("of IPv6, the world outside is global unicast", () => {
    const [outside] = addressClasses(6, labelled(["fd00::/8", "a"]), [])
      .filter(({ labels }) => labels.length === 0);
    expect(prefixHolds("2000::/3", outside!.address)).toBe(true);
  });

  test("every address of small spaces finds its class, by its own labels", () => {
    const prefix = fc.record({
      last: fc.integer({ min: 0, max: 255 }), bits: fc.integer({ min: 24, max: 32 }),
      label: fc.constantFrom("a", "b", "c", "d"),
    }).map(({ last, bits, label }) => ({ prefix: `198.51.100.${last}/${bits}`, label }));
    fc.assert(fc.property(fc.array(prefix, { maxLength: 12 }), (prefixes) => {
      const classes = addressClasses(4, prefixes, []);
      const byLabels = new Map(classes.map((each) => [each.labels.join(), each]));
      expect(byLabels.size).toBe(classes.length);
      const labelsOf = (address: string): string => [...new Set(prefixes
        .filter((each) => prefixHolds(each.prefix, address)).map(({ label }) => label))]
        .sort().join();
      for (let last = 0; last < 256; last++) {
        expect(byLabels.has(labelsOf(`198.51.100.${last}`))).toBe(true);
      }
      for (const each of classes) {
        if (each.labels.includes("private")) continue;
        expect(labelsOf(each.address)).toBe(each.labels.join());
      }
    }), { seed: seedOf("FUZZ_SEED"), numRuns: 60 });
  });
});
