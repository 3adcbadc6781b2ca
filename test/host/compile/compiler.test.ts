// Programs through the compiler and through the packet program itself: every form of a policy, cut
// ones, chains with users' modules, sets that change, pushes that were refused.
import binaryen from "binaryen";
import { describe, expect, test } from "vitest";
import { GENERATIONS, Reason, Stage } from "../../../assembly/layout.ts";
import { ABI_SECTION, ABI_USER } from "../../../host/compile/policy.ts";
import { bindRecords, Compiler } from "../../../host/compile/program.ts";
import { configureRecord } from "../../../host/compile/records.ts";
import type { Kind } from "../../../host/compile/plan.ts";
import { coreModule } from "../../../host/dataplane/core.ts";
import { NodeDataplane } from "../../../host/dataplane/node.ts";
import type { Result } from "../../../host/dataplane/dataplane.ts";
import { addressText } from "../../../host/model/address.ts";
import type { Budgets, Program, ProgramRule, Service } from "../../../host/model/program.ts";
import { packet } from "../../packets.ts";
import type { Question } from "./matches.ts";
import { decide, Pool, random } from "./random.ts";

const BUDGETS: Budgets = {
  workers: 1, sessions4Max: 1024, sessions6Max: 1024, endpointsMax: 64, servicesMax: 16,
};
const POD = 1;
const DAY_MS = 86_400_000;

/** A node with one pod, which may send from anywhere; its egress hook is "p". */
function pod(policies: Program["policies"], sets: Program["sets"] = []): Program {
  return {
    endpoints: [{
      name: "pod", kind: "workload", interfaces: [POD], addresses: ["172.16.0.1"], egress: "p",
      allowedSources: "any",
    }],
    services: [], policies, sets: [
      ...sets, { id: "any", type: "net", members: ["0.0.0.0/0", "::/0"], version: 1 },
    ],
  };
}

class Node {
  readonly engine = new NodeDataplane(coreModule(), { workers: 1 });
  readonly compiler: Compiler;
  private nowMs = 1_000_000;

  constructor(form?: Kind) {
    this.compiler = new Compiler(BUDGETS, form);
    this.engine.stage(configureRecord(BUDGETS));
  }
  async push(program: Program): Promise<void> {
    this.engine.push(await this.compiler.compile(program, this.engine.generation + 1));
    this.engine.stage(bindRecords(program));
  }
  /** A packet that meets no session of those before. */
  ask(q: Question, nowSeconds = 0): Result {
    this.nowMs = (this.nowMs + DAY_MS) >>> 0;
    while (this.engine.age(0, this.nowMs, 4096) > 0);
    const bytes = packet({
      from: text(q.source), to: text(q.destination), protocol: q.icmp ? "icmp" : q.protocol,
      sourcePort: q.sourcePort ?? 0, port: q.port ?? 0, icmpType: q.icmp?.type ?? 0,
      icmpCode: q.icmp?.code ?? 0, flags: "S",
    });
    const clock = { nowMs: this.nowMs, nowSeconds };
    return this.engine.process(0, [{ interface: POD, bytes }], clock)[0]!;
  }
  /** Name of the rule that decided at egress, "none" where none matched. */
  decided(result: Result): string {
    const stage = result.stages?.find((each) => each.stage === Stage.Egress);
    if (!stage) throw new Error(`not judged: ${Reason[result.reason]}`);
    return this.compiler.ruleAt(stage.policySlot, stage.rule)?.name ?? "none";
  }
}
function text(address: bigint): string {
  const bytes = Uint8Array.from({ length: 16 }, (_, i) =>
    Number((address >> BigInt((15 - i) * 8)) & 0xffn));
  return addressText(address >> 32n === 0xffffn ? bytes.subarray(12) : bytes);
}

describe("through the packet program", () => {
  test.each([
    ["as it likes", undefined, [4, 30, 80, 260]], ["as code", "code", [30, 60]],
    ["as blocks", "block", [1, 30, 260]],
  ] as const)("policy-forms: random policies decide as rules read one by one, %s",
    async (_, form, sizes) => {
      const node = new Node(form);
      let asked = 0;
      for (const [n, rules] of sizes.flatMap((size) => [size, size]).entries()) {
        const pool = new Pool(random(900 + n));
        const policy = { ...pool.policy(rules), name: "p" };
        await node.push(pod([policy], [...pool.sets.values()]));
        for (let i = 0; i < 150; i++) {
          const q = pool.question();
          if (q.source === q.destination) continue;
          const expected = decide(policy.rules, q, pool);
          const result = node.ask(q);
          const name = policy.rules[expected.rule]?.name ?? "none";
          const what = `policy ${n}, packet ${i} ${JSON.stringify(policy.rules[expected.rule])}`;
          expect(node.decided(result), what).toBe(name);
          expect(result.reason === Reason.PolicyDenied, what).toBe(expected.action !== "allow");
          asked++;
        }
      }
      expect(asked).toBeGreaterThan(300);
      expect(node.engine.traps()).toEqual([]);
    });

  test("policy-split: more rules than a block holds are several, names stay right", async () => {
    const count = 20_000;
    const rules = Array.from({ length: count }, (_, i): ProgramRule => ({
      name: `r${i}`, action: i % 2 ? "allow" : "deny", protocol: "tcp", destinationPorts: [i + 1],
    }));
    // A pass over the border, and a rule in the middle that vectors can't say.
    rules[10] = { name: "over", action: "pass", protocol: "udp", next: 18_000 };
    rules[18_005] = { name: "udp", action: "allow", protocol: "udp" };
    rules[5000] = { name: "odd", action: "deny", icmp: { type: 0 } };
    const node = new Node();
    await node.push(pod([{ name: "p", rules }]));
    const base: Question = {
      family: 4, protocol: 6, source: 0xffff0a000001n, destination: 0xffff0a000002n,
    };
    const ask = (more: Partial<Question>): string => node.decided(node.ask({ ...base, ...more }));
    for (const port of [1, 9, 4999, 6000, 15_000, 16_385, 18_001, 19_999]) {
      expect(ask({ sourcePort: 1, port })).toBe(`r${port - 1}`);
    }
    expect(ask({ sourcePort: 1, port: 30_000 })).toBe("none");
    expect(ask({ protocol: 17, sourcePort: 1, port: 1 })).toBe("udp");
    expect(ask({ protocol: 1, icmp: { type: 0, code: 0 } })).toBe("odd");
  });

  test("policy-module: a user's module in a chain asks for its sets and the time", async () => {
    const user = userModule();
    const node = new Node();
    const rules = (name: string, action: ProgramRule["action"]): ProgramRule[] =>
      [{ name, action, protocol: "udp", destinationPorts: [53] }];
    const program = pod([
      { name: "first", rules: rules("first", "pass") },
      { name: "hours", wasm: user, sets: ["friends", "any"] },
      { name: "behind", rules: [{ name: "behind", action: "deny" }] },
      { name: "passed", rules: [{ name: "passed", action: "allow" }] },
      { name: "p", steps: [
        { policy: "first", onPass: 3 }, { policy: "hours", onPass: 3 },
        { policy: "behind", onPass: 3 }, { policy: "passed", onPass: 4 },
      ] },
    ], [
      // A set in front, so that the module's own number 0 is another in the core.
      { id: "friends", type: "net", members: ["10.0.0.0/24"] },
    ]);
    await node.push(program);
    const q: Question = {
      family: 4, protocol: 6, source: 0xffff0a000005n, destination: 0xffff0b000002n,
      sourcePort: 1, port: 80,
    };
    const stranger = { ...q, source: 0xffff0a010005n };
    expect(node.decided(node.ask({ ...q, protocol: 17, port: 53 }))).toBe("passed");
    // By day friends are allowed, by night all are asked to go on; strangers by day meet "behind".
    const day = 12 * 3600, night = 2 * 3600;
    const friend = node.ask(q, day);
    expect(friend.reason).toBe(Reason.Allowed);
    expect(node.compiler.ruleName(friend.policySlot, friend.rule)).toBe("hours");
    expect(node.decided(node.ask(stranger, day))).toBe("behind");
    expect(node.decided(node.ask(q, night))).toBe("passed");
  });
});

/** evaluate: by night pass; by day allow members of its set 0, else say nothing. */
function userModule(): Uint8Array {
  const m = new binaryen.Module();
  const { i32, i64 } = binaryen;
  const parameters = binaryen.createType([i32, i32, i64, i64, i64, i64, i32, i32, i32, i32]);
  m.addFunctionImport("member", "margay", "member", binaryen.createType([i32, i32, i32]), i32);
  const ofDay = m.i32.rem_u(m.local.get(9, i32), m.i32.const(86_400));
  const hour = m.i32.div_u(ofDay, m.i32.const(3600));
  m.addFunction("evaluate", parameters, i32, [], m.block(null, [
    m.if(m.i32.lt_u(hour, m.i32.const(8)), m.return(m.i32.const(3))),
    m.call("member", [m.local.get(0, i32), m.i32.const(0), m.i32.const(0)], i32),
  ], i32));
  m.addFunctionExport("evaluate", "evaluate");
  m.addCustomSection(ABI_SECTION, new TextEncoder().encode(ABI_USER));
  return m.emitBinary();
}

describe("what a push brings", () => {
  const rule = (name: string, port: number): ProgramRule =>
    ({ name, action: "allow", protocol: "tcp", destinationPorts: [port], sourceSets: ["s"] });
  const set = (...members: string[]): NonNullable<Program["sets"]>[number] =>
    ({ id: "s", type: "net", members });

  test("an unchanged policy keeps its slot, whatever lines it stands at; a changed one is brought",
    async () => {
      const node = new Node();
      const at = (line: number, port: number): Program => pod([{
        name: "p", rules: [{ ...rule("r", port), origin: { path: "egress[0]", file: "a", line } }],
      }], [set("10.0.0.0/8")]);
      const first = await node.compiler.compile(at(1, 80), 1);
      expect(first.modules).toHaveLength(1);
      const second = await node.compiler.compile(at(7, 80), 2);
      expect(second.modules).toEqual([]);
      const { slot } = first.modules[0]!;
      expect(node.compiler.ruleAt(slot, 0)!.origin!.line).toBe(7);
      expect(node.compiler.ruleName(slot, 0)).toBe("r");
      expect(node.compiler.ruleName(slot, 1)).toBe("p");
      expect(node.compiler.ruleName(4000, 0)).toBeUndefined();
      const third = await node.compiler.compile(at(7, 81), 3);
      expect(third.modules.map((each) => each.slot)).not.toContain(slot);
    });

  test("a slot is used again only when no generation can know it", async () => {
    const compiler = new Compiler();
    const slots: number[] = [];
    for (let i = 0; i < 5000; i++) {
      const program = pod([{ name: "p", rules: [rule("r", 1 + i)] }], [set()]);
      const push = await compiler.compile(program, i + 1);
      slots.push(push.modules[0]!.slot);
    }
    slots.forEach((slot, i) => {
      const before = slots.slice(Math.max(0, i - GENERATIONS), i);
      expect(before).not.toContain(slot);
    });
    expect(Math.max(...slots)).toBeLessThan(4096);
  }, 120_000);

  test("policy-again: a refused push is brought again, whole", async () => {
    const node = new Node();
    const program = (port: number, members: string[]): Program =>
      pod([{ name: "p", rules: [rule("r", port)] }], [set(...members)]);
    await node.push(program(80, ["10.0.0.0/24"]));
    const bad = program(443, ["10.1.0.0/24", "10.0.0.7"]);
    bad.endpoints.push({ ...bad.endpoints[0]!, name: "twin", interfaces: [2] });
    await expect(node.push(bad)).rejects.toThrow("duplicate-address");
    const q = (source: bigint, port: number): Question => ({
      family: 4, protocol: 6, source, destination: 0xffff0b000002n, sourcePort: 1, port,
    });
    await node.push(program(443, ["10.1.0.0/24"]));
    const { policySlot } = node.ask(q(0xffff0a010001n, 443));
    expect(node.compiler.ruleName(policySlot, 0)).toBe("p/r");
    expect(node.decided(node.ask(q(0xffff0a010001n, 443)))).toBe("r");
    expect(node.decided(node.ask(q(0xffff0a000007n, 443)))).toBe("none");
    expect(node.decided(node.ask(q(0xffff0a010001n, 80)))).toBe("none");
  });

  test("policy-delta: a member that comes or goes changes verdicts without a push", async () => {
    const node = new Node();
    await node.push(pod([{ name: "p", rules: [rule("r", 80)] }], [set("10.0.0.0/24")]));
    const q: Question = {
      family: 4, protocol: 6, source: 0xffff0a000005n, destination: 0xffff0b000002n,
      sourcePort: 1, port: 80,
    };
    const other = { ...q, source: 0xffff0a010005n };
    const ask = (): string[] => [q, other].map((each) => node.decided(node.ask(each)));
    expect(ask()).toEqual(["r", "none"]);
    node.engine.stage(node.compiler.applyDelta("s", ["10.1.0.5"], []));
    expect(ask()).toEqual(["r", "r"]);
    node.engine.stage(node.compiler.applyDelta("s", [], ["10.0.0.0/24"]));
    expect(ask()).toEqual(["none", "r"]);
  });

  test("services-delta: Services change without a push; what was refused is brought again",
    async () => {
      const node = new Node();
      const web = (last: number, more: Partial<Service> = {}): Service => ({
        name: "web", address: "10.96.0.1", port: 80, protocol: "tcp", ...more,
        backends: [{ name: `b${last}`, address: `10.0.0.${last}`, port: 8080 }],
      });
      const program = (service: Service): Program => ({
        ...pod([{ name: "p", rules: [] }], [set("198.51.100.0/24")]), services: [service],
        policies: [{ name: "p", rules: [{ name: "all", action: "allow" }] }],
      });
      const q: Question = {
        family: 4, protocol: 6, source: 0xffffac100001n, destination: 0xffff0a600001n,
        sourcePort: 1, port: 80,
      };
      const chosen = (): string | undefined => {
        const { backend } = node.ask(q);
        return backend === undefined ? undefined : node.compiler.backendAt(backend)?.name;
      };
      const apply = (service: Service[], again = false): void =>
        node.engine.stage(node.compiler.applyServices(new Map([["web", service]]), again));
      await node.push(program(web(1)));
      expect(chosen()).toBe("b1");
      apply([web(2)]);
      expect(chosen()).toBe("b2");
      expect(node.compiler.backendId(web(2).backends[0]!)).toBe(1);
      // Refused, as it were: never staged.
      node.compiler.applyServices(new Map([["web", [web(3)]]]));
      apply([web(3)], true);
      expect(chosen()).toBe("b3");
      apply([]);
      expect(node.ask(q).backend).toBeUndefined();
      // Ranges are sets, and those come with a push.
      const ranged = web(4, { sourceRanges: "s", kind: "load-balancer" });
      expect(() => apply([ranged])).toThrow(
        'service web: no set of addresses that the last program names has the id "s"');
      await node.push(program(ranged));
      expect(Reason[node.ask(q).reason]).toBe("SourceRange");
      apply([web(4, { sourceRanges: "s", kind: "load-balancer", affinitySeconds: 9 })]);
      expect(Reason[node.ask(q).reason]).toBe("SourceRange");
      apply([web(4)]);
      expect(chosen()).toBe("b4");
      // A push that is refused behind its Services: the next one has all of them again.
      const bad = program(web(5));
      bad.endpoints.push({ ...bad.endpoints[0]!, name: "twin", interfaces: [2] });
      await expect(node.push(bad)).rejects.toThrow("duplicate-address");
      expect(chosen()).toBe("b4");
      await node.push(program(web(6)));
      expect(chosen()).toBe("b6");
    });

  test.each([
    ["two policies of a name", [{ name: "p", rules: [] }, { name: "p", rules: [] }],
      'two policies are named "p"'],
    ["a hook without a policy", [], 'endpoint pod: egress: no policy is named "p"'],
    ["a chain over nothing", [{ name: "p", steps: [{ policy: "x", onPass: 1 }] }],
      'chain p: no policy is named "x"'],
    ["a chain that goes back", [
      { name: "x", rules: [] }, { name: "p", steps: [{ policy: "x", onPass: 0 }] },
    ], "chain p: step 0: onPass 0 is no later step"],
    ["a set of the wrong kind", [{ name: "p", rules: [rule("r", 1)] }],
      'policy p, rule 0 (r): no set has the id "s"'],
  ] as [string, Program["policies"], string][])("%s is refused", async (_, policies, message) => {
    await expect(new Compiler().compile(pod(policies), 1)).rejects.toThrow(message);
  });
});
