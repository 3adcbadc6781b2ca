// Which rules cover others, against the slow reference: what is said must be so.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { SetDefinition } from "../../../host/calc/rule.ts";
import { Selector } from "../../../host/calc/selector/selector.ts";
import { covers } from "../../../host/check/cover.ts";
import { implies, setWithin } from "../../../host/check/imply.ts";
import { unreachable } from "../../../host/check/reach.ts";
import { addressBytes, addressNumber, familyOf } from "../../../host/model/address.ts";
import type { Rule } from "../../../host/model/rule.ts";
import type { StateSet } from "../../../host/model/state.ts";
import { mismatches, type Question } from "../../reference/rule.ts";
import { seedOf } from "../../seed.ts";

const RUNS = 1_500;
const ADDRESSES = ["10.0.0.1", "10.0.0.9", "10.1.0.1", "8.8.8.8", "fd00::1", "fd01::1"];
const NETS = [
  "10.0.0.0/8", "10.0.0.0/16", "10.0.0.1/32", "0.0.0.0/0", "fd00::/16", "::/0", "fd00::/8",
];
const PORTS: (number | string)[] = [80, 443, "1-79", "80-90", "81-1000", "0-65535"];
const set = (id: string, ...members: string[]): [string, StateSet] => [id, {
  id, type: id.startsWith("p") ? "ip-port" : "net", members: new Set(members),
}];
/** s1 lies within s2; the p… are of addresses and ports. */
const SETS = new Map([
  set("s1", "10.0.0.1/32", "fd00::1/128"), set("s2", "10.0.0.0/8", "fd00::/8"),
  set("s3", "8.8.8.8/32"),
  set("p1", "10.0.0.1,tcp:80"), set("p2", "10.0.0.1,tcp:80", "10.0.0.9,udp:443"),
]);
const inside = (narrow: string, wide: string): boolean => {
  return narrow === wide || ["s1 s2", "p1 p2"].includes(`${narrow} ${wide}`);
};

function some<T>(values: T[]): fc.Arbitrary<T[] | undefined> {
  return fc.option(fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 2 }),
    { nil: undefined, freq: 2 });
}

function rarely<T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  const nothing = fc.constant(undefined);
  return fc.oneof({ weight: 4, arbitrary: nothing }, { weight: 1, arbitrary: value });
}

const fields = {
  ipVersion: rarely(fc.constantFrom(4 as const, 6 as const)),
  protocol: fc.constantFrom("tcp" as const, 6, "udp" as const, "icmp" as const, undefined),
  notProtocol: rarely(fc.constantFrom("tcp" as const, 17)),
  icmp: rarely(fc.constantFrom({ type: 8 }, { type: 8, code: 0 })),
  notIcmp: rarely(fc.constantFrom({ type: 8 }, { type: 8, code: 0 })),
  source: some(NETS), notSource: rarely(some(NETS)), destination: rarely(some(NETS)),
  notDestination: rarely(some(NETS)), sourceSets: rarely(some(["s1", "s2", "s3"])),
  notSourceSets: rarely(some(["s1", "s2", "s3"])), destinationSets: rarely(some(["s1", "s2"])),
  destinationPortSets: rarely(some(["p1", "p2"])), destinationPorts: some(PORTS),
  destinationNamedPorts: rarely(some(["p1", "p2"])), sourcePorts: rarely(some(PORTS)),
  notDestinationPorts: rarely(some(PORTS)), notDestinationNamedPorts: rarely(some(["p1", "p2"])),
};
const rule = fc.record({ action: fc.constant("allow" as const), ...fields })
  .map((each) => JSON.parse(JSON.stringify(each)) as Rule);
/** The wider one often is the narrower without some of its conditions. */
const pair = fc.tuple(rule, rule, fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }))
  .map(([narrow, other, keep]): [Rule, Rule] => {
    const names = Object.keys(fields) as (keyof Rule)[];
    const wide: Record<string, unknown> = { action: "allow" };
    names.forEach((name, i) => {
      const value = keep[i] ? narrow[name] : keep[i + 1] ? undefined : other[name];
      if (value !== undefined) wide[name] = value;
    });
    return [narrow, wide as unknown as Rule];
  });

function questions(): Question[] {
  const found: Question[] = [];
  for (const from of ADDRESSES) {
    for (const to of ADDRESSES) {
      if (familyOf(from) !== familyOf(to)) continue;
      const base = {
        family: familyOf(from), source: addressNumber(addressBytes(from)),
        destination: addressNumber(addressBytes(to)),
      };
      for (const port of [0, 79, 80, 85, 443, 999]) {
        for (const protocol of [6, 17]) {
          found.push({ ...base, protocol, port, sourcePort: 80 });
          found.push({ ...base, protocol, port, sourcePort: 2000 });
        }
      }
      for (const icmp of [{ type: 8, code: 0 }, { type: 8, code: 1 }, { type: 3, code: 0 }]) {
        found.push({ ...base, protocol: 1, icmp });
      }
      found.push({ ...base, protocol: 47 });
    }
  }
  return found;
}

describe("check-cover:", () => {
  test("what is said to cover a rule matches all that the rule matches", () => {
    const packets = questions();
    let said = 0, met = 0;
    fc.assert(fc.property(pair, ([narrow, wide]) => {
      if (!covers(wide, narrow, inside)) return;
      said++;
      for (const packet of packets) {
        if (mismatches(narrow, packet, SETS).length > 0) continue;
        met++;
        expect(mismatches(wide, packet, SETS), JSON.stringify([narrow, wide])).toEqual([]);
      }
    }), { seed: seedOf("FUZZ_SEED"), numRuns: RUNS });
    // A check that never says yes would be sound as well.
    expect(said).toBeGreaterThan(RUNS / 20);
    expect(met).toBeGreaterThan(RUNS);
  });

  test.each<[string, Partial<Rule>, Partial<Rule>, boolean]>([
    ["all covers all", {}, {}, true],
    ["all covers any", {}, { protocol: "tcp", source: ["10.0.0.0/8"], sourceSets: ["a"] }, true],
    ["a protocol by name and number", { protocol: "tcp" }, { protocol: 6 }, true],
    ["one of another protocol", { protocol: "tcp" }, { protocol: "udp" }, false],
    ["ranges joined", { destinationPorts: ["1-79", "80-90"] },
      { destinationPorts: ["70-85"] }, true],
    ["a hole between ranges", { destinationPorts: ["1-79", "81-90"] },
      { destinationPorts: ["70-85"] }, false],
    ["a prefix in another", { source: ["10.0.0.0/8"] }, { source: ["10.1.0.0/16"] }, true],
    ["one of two prefixes outside", { source: ["10.0.0.0/8"] },
      { source: ["10.1.0.0/16", "11.0.0.0/16"] }, false],
    ["an exception", { source: ["10.0.0.0/8"], notSource: ["10.1.0.0/16"] },
      { source: ["10.1.0.0/16"] }, false],
    ["the same exception", { notSource: ["10.1.0.0/16"] }, { notSource: ["10.0.0.0/8"] }, true],
    ["0.0.0.0/0 is not IPv6", { source: ["0.0.0.0/0"] }, {}, false],
    ["0.0.0.0/0 is all of IPv4", { source: ["0.0.0.0/0"] }, { ipVersion: 4 }, true],
    ["fewer sets", { sourceSets: ["a"] }, { sourceSets: ["a", "b"] }, true],
    ["more sets", { sourceSets: ["a", "b"] }, { sourceSets: ["a"] }, false],
  ])("%s", (_what, wide, narrow, expected) => {
    expect(covers({ action: "allow", ...wide }, { action: "deny", ...narrow })).toBe(expected);
  });

  test("an author's rule is unreachable when all that it became is; log stands in no way", () => {
    const at = (path: string, more: Partial<Rule>, action: Rule["action"] = "allow"): Rule => {
      return { action, ...more, origin: { path } };
    };
    expect(unreachable([
      at("egress[0]", { protocol: "tcp" }, "deny"), at("egress[1]", { protocol: "udp" }),
      at("egress[2]", { protocol: "tcp", destinationPorts: [80] }),
      at("egress[3]", { protocol: 17 }), at("egress[3]", { protocol: 6 }),
      at("egress[4]", { protocol: 17 }), at("egress[4]", { protocol: 132 }),
    ])).toEqual([
      ["egress[2]", ["egress[0]"]], ["egress[3]", ["egress[1]", "egress[0]"]],
    ]);
    expect(unreachable([at("ingress[0]", {}, "log"), at("ingress[1]", {})])).toEqual([]);
  });
});

describe("check-imply:", () => {
  const of = (text: string) => Selector.parse(text).node;

  test.each([
    ["a == 'b'", "all()", true], ["a == 'b' && c == 'd'", "c == 'd'", true],
    ["c == 'd'", "a == 'b' && c == 'd'", false], ["a == 'b'", "a == 'b' || c == 'd'", true],
    ["a == 'b' || a == 'c'", "has(a)", true], ["a in {'b', 'c'}", "a in {'c', 'b', 'd'}", true],
    ["a in {'b', 'c'}", "a == 'b'", false], ["a == 'b'", "a != 'c'", true],
    ["a == 'b'", "!(a == 'c')", true], ["a == 'b'", "c != 'c'", false],
    ["has(a)", "a == 'b'", false],
    ["a != 'b'", "has(a)", false], ["a == 'bc'", "a starts with 'b'", true],
  ])("%s implies %s: %s", (narrow, wide, expected) => {
    expect(implies(of(narrow), of(wide))).toBe(expected);
  });

  test("what is implied holds of all labels", () => {
    const leaf = fc.constantFrom("a == 'x'", "a != 'x'", "a in {'x', 'w'}", "a not in {'x'}",
      "has(a)", "b == 'x'", "has(b)", "a starts with 'x'", "all()", "a == 'w'");
    const text = fc.letrec<{ it: string }>((tie) => ({
      it: fc.oneof({ maxDepth: 2 }, leaf, leaf,
        fc.tuple(tie("it"), tie("it")).map(([one, other]) => `(${one}) && (${other})`),
        fc.tuple(tie("it"), tie("it")).map(([one, other]) => `(${one}) || (${other})`),
        tie("it").map((one) => `!(${one})`)),
    })).it;
    const values = [undefined, "x", "w", "xw"];
    let said = 0;
    fc.assert(fc.property(text, text, (narrow, wide) => {
      if (!implies(of(narrow), of(wide))) return;
      said++;
      for (const a of values) {
        for (const b of values) {
          const labels = new Map(Object.entries({ a, b })
            .filter((each): each is [string, string] => each[1] !== undefined));
          if (!Selector.parse(narrow).evaluate(labels)) continue;
          expect(Selector.parse(wide).evaluate(labels), `${narrow} => ${wide}`).toBe(true);
        }
      }
    }), { seed: seedOf("FUZZ_SEED"), numRuns: 5000 });
    expect(said).toBeGreaterThan(250);
  });

  test("sets of named ports are within others of the same port alone", () => {
    const port = (selector: string, name: string, protocol: "tcp" | "any"): SetDefinition => ({
      kind: "port", id: `${selector} ${name} ${protocol}`, selector: Selector.parse(selector),
      protocol, port: name,
    });
    const narrow = port("a == 'b' && has(c)", "http", "tcp");
    expect(setWithin(narrow, port("has(c)", "http", "any"))).toBe(true);
    expect(setWithin(narrow, port("has(c)", "web", "tcp"))).toBe(false);
    expect(setWithin(port("has(c)", "http", "any"), port("has(c)", "http", "tcp"))).toBe(false);
  });
});
