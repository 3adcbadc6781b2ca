// Straight-line policies, run as the Wasm that they are, against rules read one by one.
import { describe, expect, test } from "vitest";
import { Action } from "../../../assembly/layout.ts";
import { compilePolicy } from "../../../host/compile/policy.ts";
import type { ProgramRule } from "../../../host/model/program.ts";
import type { Question } from "./matches.ts";
import { Facts, Numbered } from "./numbered.ts";
import { decide, Pool, random, type Decision } from "./random.ts";

const ACTIONS = ["none", "allow", "deny", "pass"] as const;

type Evaluate = (packet: number, protocol: number, ...rest: (number | bigint)[]) => number;

async function instantiate(wasm: Uint8Array, memory: WebAssembly.Memory): Promise<Evaluate> {
  const module = await WebAssembly.compile(wasm as Uint8Array<ArrayBuffer>);
  const instance = await WebAssembly.instantiate(module, { env: { memory } });
  return instance.exports["evaluate"] as Evaluate;
}

function ask(evaluate: Evaluate, facts: number, q: Question): Decision {
  const low = (n: bigint): bigint => BigInt.asIntN(64, n);
  const high = (n: bigint): bigint => low(n >> 64n);
  const answer = evaluate(
    facts, q.protocol, high(q.source), low(q.source), high(q.destination), low(q.destination),
    q.sourcePort ?? 0, q.port ?? 0, q.icmp ? (q.icmp.type << 8) | q.icmp.code : -1, 0,
  );
  return { action: ACTIONS[answer & 0xff]!, rule: answer >>> 8 };
}

describe("straight-line policies", () => {
  test("policy-code: random rules of every field decide as rules read one by one", async () => {
    const seed = 20_261_123;
    const facts = new Facts();
    const seen = new Map<string, number>();
    for (let round = 0; round < 150; round++) {
      const pool = new Pool(random(seed + round));
      const policy = pool.policy(1 + pool.below(30));
      const sets = new Numbered();
      const evaluate = await instantiate(await compilePolicy(policy, sets), facts.memory);
      for (let i = 0; i < 50; i++) {
        const q = pool.question();
        const expected = decide(policy.rules, q, pool);
        const at = facts.put(sets.classes(q, pool));
        const rule = JSON.stringify(policy.rules[expected.rule] ?? "");
        const what = `seed ${seed + round}, packet ${i}: expected ${rule}`;
        expect(ask(evaluate, at, q), what).toEqual(expected);
        seen.set(expected.action, (seen.get(expected.action) ?? 0) + 1);
      }
    }
    for (const action of ACTIONS) expect(seen.get(action) ?? 0, action).toBeGreaterThan(100);
  });

  test("an empty list is no condition, and 8 prefixes are compared, 9 looked up", async () => {
    const pool = new Pool(random(1));
    const q: Question = { family: 4, protocol: 47, source: 0xffff0a000001n, destination: 1n };
    for (const count of [0, 8, 9]) {
      const source = Array.from({ length: count }, (_, i) => `10.0.0.${count - i}`);
      const rules: ProgramRule[] = [{ name: "r", action: "allow", source, destinationPorts: [] }];
      const sets = new Numbered();
      const facts = new Facts();
      const wasm = await compilePolicy({ name: "p", rules }, sets);
      const evaluate = await instantiate(wasm, facts.memory);
      expect(sets.nets_.size).toBe(count === 9 ? 1 : 0);
      expect(ask(evaluate, facts.put(sets.classes(q, pool)), q).action).toBe("allow");
      const other = { ...q, source: 0xffff0b000001n };
      expect(ask(evaluate, facts.put(sets.classes(other, pool)), other).action)
        .toBe(count === 0 ? "allow" : "none");
    }
  });

  test.each([
    ["source[1]", { source: ["10.0.0.0/8", "10.0.0.0/33"] }, '"10.0.0.0/33": the prefix length'],
    ["notDestination[0]", { notDestination: ["fd00::/129"] }, '"fd00::/129": the prefix length'],
    ["protocol", { protocol: 256 }, 'protocol "256": expected tcp,'],
    ["destinationPorts[0]", { destinationPorts: ["90-80"] }, 'port "90-80": expected 0 to 65535'],
    ["sourcePorts[0]", { sourcePorts: ["80-"] }, 'port "80-"'],
    ["icmp", { icmp: { type: 300 } }, "icmp.type 300: expected 0 to 255"],
    ["sourceSets", { sourceSets: ["gone"] }, 'no set has the id "gone"'],
    ["next", { action: "pass", next: 0 }, "next 0: expected the index of a later rule"],
  ])("a wrong %s is refused by policy, rule and field", async (field, fields, message) => {
    const rule = { name: "first", action: "allow", ...fields } as ProgramRule;
    const compiled = compilePolicy({ name: "web", rules: [rule] });
    await expect(compiled).rejects.toThrow(`policy web, rule 0 (first): `);
    await expect(compilePolicy({ name: "web", rules: [rule] })).rejects.toThrow(message);
    if (field.includes("[")) {
      await expect(compilePolicy({ name: "web", rules: [rule] })).rejects.toThrow(field);
    }
  });

  test("actions are those of the ABI", () => {
    expect(ACTIONS.indexOf("allow")).toBe(Action.Allow);
    expect(ACTIONS.indexOf("deny")).toBe(Action.Deny);
    expect(ACTIONS.indexOf("pass")).toBe(Action.Pass);
  });
});
