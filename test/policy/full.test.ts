// Full tables: each budget reached on purpose. A full session table is a drop reason, counted; a
// full table of anything that is staged is a refusal by name, and the generation before runs on.
// Never a pass.
import { describe, expect, test } from "vitest";
import { Reason, RecordKind, ROUTES_MAX } from "../../assembly/layout.ts";
import { bindRecords, Compiler } from "../../host/compile/program.ts";
import { configureRecord } from "../../host/compile/records.ts";
import { coreModule } from "../../host/dataplane/core.ts";
import type { PushRefused, Result } from "../../host/dataplane/dataplane.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { record } from "../../host/dataplane/record.ts";
import type { AddressSet, Budgets, Policy, Program, Service } from "../../host/model/program.ts";
import { packet, type Spec } from "../packets.ts";

const BUDGETS: Budgets = {
  workers: 1, sessions4Max: 64, sessions6Max: 64, endpointsMax: 8, servicesMax: 4,
};
const clock = { nowMs: 5_000_000, nowSeconds: 1_700_000_000 };
const POD = 1, UPLINK = 2;
const ends = { 4: ["10.65.0.1", "203.0.113.5"], 6: ["fd00::1", "2001:db8::5"] } as const;

/** A pod that may send TCP to port 80, an uplink. */
function program(more: Partial<Program> = {}): Program {
  const rules: Policy["rules"] =
    [{ name: "web", action: "allow", protocol: "tcp", destinationPorts: [80] }];
  return {
    endpoints: [
      {
        name: "pod", kind: "workload", interfaces: [POD], addresses: [ends[4][0], ends[6][0]],
        egress: "web",
      },
      { name: "eth0", kind: "uplink", interfaces: [UPLINK], addresses: [] },
    ],
    services: [], policies: [{ name: "web", rules }],
    routes: [{ prefix: "0.0.0.0/0", uplink: "eth0" }, { prefix: "::/0", uplink: "eth0" }],
    ...more,
  };
}

class Node {
  readonly dataplane: NodeDataplane;
  readonly compiler: Compiler;
  private generation = 0;
  private port = 30_000;

  constructor(readonly budgets: Budgets = BUDGETS, memoryPages = 1024) {
    this.dataplane = new NodeDataplane(coreModule(), { workers: 1, memoryPages });
    this.compiler = new Compiler(budgets);
    this.dataplane.stage(configureRecord(budgets));
  }
  async push(next: Program): Promise<void> {
    const generation = this.generation + 1;
    this.dataplane.push(await this.compiler.compile(next, generation));
    this.dataplane.stage(bindRecords(next));
    this.generation = generation;
  }
  send(spec: Partial<Spec>, family: 4 | 6 = 4): Result {
    const [from, to] = ends[family];
    const bytes = packet({ from, to, ...spec });
    return this.dataplane.process(0, [{ interface: POD, bytes }], clock)[0]!;
  }
  /** The pod's policy, and nothing else, decides: what stood before a refused push still stands. */
  stands(): void {
    for (const family of [4, 6] as const) {
      const port = this.port++; // a flow of its own
      expect(this.send({ port: 80, sourcePort: port }, family).reason).toBe(Reason.Allowed);
      expect(this.send({ port: 81, sourcePort: port }, family).reason).toBe(Reason.PolicyDenied);
    }
    expect(this.dataplane.traps()).toEqual([]);
  }
}

/** A push that does not fit: the words of its refusal. */
async function refusal(node: Node, next: Program): Promise<string> {
  return node.push(next).then(() => "taken", (cause: PushRefused) => cause.message);
}

describe.each([4, 6] as const)("full-sessions: IPv%i", (family) => {
  test("a full session table drops new flows by name; open flows go on", async () => {
    const node = new Node({ ...BUDGETS, sessions4Max: 16, sessions6Max: 16 });
    await node.push(program());
    const reasons = Array.from({ length: 40 }, (_, i) =>
      node.send({ port: 80, sourcePort: 1000 + i }, family).reason);
    const allowed = reasons.filter((each) => each === Reason.Allowed).length;
    expect(allowed).toBeGreaterThan(0);
    expect(allowed).toBeLessThanOrEqual(16);
    expect(reasons.filter((each) => each === Reason.SessionTableFull).length).toBe(40 - allowed);
    expect(reasons.at(-1)).toBe(Reason.SessionTableFull);
    expect(node.dataplane.counters().get(Reason.SessionTableFull)).toBe(BigInt(40 - allowed));
    expect(node.send({ port: 80, sourcePort: 1000, flags: "A" }, family).reason)
      .toBe(Reason.Established);
    expect(node.send({ port: 81, sourcePort: 1000 }, family).reason).toBe(Reason.PolicyDenied);
  });
});

const member = (i: number): string => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;
/** Policies that name sets, so that the sets are brought. */
function withSets(sets: AddressSet[]): Program {
  const base = program();
  const rules: Policy["rules"] = [
    ...sets.map((set): Policy["rules"][number] =>
      ({ name: set.id, action: "deny", destinationSets: [set.id] })),
    ...(base.policies[0] as Policy).rules,
  ];
  return { ...base, sets, policies: [{ name: "web", rules }] };
}

describe("full-tables:", () => {
  test("sets: more than the budget are refused by name", async () => {
    const node = new Node({ ...BUDGETS, setsMax: 16 });
    await node.push(program());
    const sets = Array.from({ length: 17 }, (_, i): AddressSet =>
      ({ id: `s${i}`, type: "net", members: [member(i)] }));
    expect(await refusal(node, withSets(sets))).toMatch(/setsMax|sets/);
    node.stands();
  });

  test("classes: more combinations of sets than the budget are refused by name", async () => {
    const node = new Node({ ...BUDGETS, classesMax: 8 });
    await node.push(program());
    // Each address is in another combination of five sets.
    const sets = Array.from({ length: 5 }, (_, k): AddressSet => ({
      id: `s${k}`, type: "net",
      members: Array.from({ length: 32 }, (_, i) => i).filter((i) => (i >> k) & 1).map(member),
    }));
    expect(await refusal(node, withSets(sets))).toMatch(/class/i);
    node.stands();
  });

  test.each([4, 6] as const)("members: more than the budget are refused by name, IPv%i",
    async (family) => {
      const node = new Node({ ...BUDGETS, members4Max: 64, members6Max: 64 });
      await node.push(program());
      const members = Array.from({ length: 65 }, (_, i) =>
        family === 4 ? member(i) : `fd99::${(i + 1).toString(16)}`);
      const text = await refusal(node, withSets([{ id: "many", type: "net", members }]));
      expect(text).toMatch(/members|table-full/);
      node.stands();
      const few = members.slice(0, 60);
      await node.push(withSets([{ id: "many", type: "net", members: few }]));
      node.stands();
    });

  test("members: a delta beyond the budget is refused by name", async () => {
    const node = new Node({ ...BUDGETS, members4Max: 64 });
    await node.push(withSets([{ id: "some", type: "net", members: ["10.0.0.1"] }]));
    const more = Array.from({ length: 80 }, (_, i) => member(i));
    expect(() => node.dataplane.stage(node.compiler.applyDelta("some", more, [])))
      .toThrow(/members|table-full/);
    node.stands();
  });

  test("slots: more different policies than there are slots are refused by name", async () => {
    const node = new Node();
    await node.push(program());
    const base = program();
    const policies = Array.from({ length: 4096 }, (_, i): Policy => ({
      name: `p${i}`,
      rules: [{ name: "one", action: "deny", protocol: i & 255, sourcePorts: [1 + (i >> 4)] }],
    }));
    expect(await refusal(node, { ...base, policies: [...base.policies, ...policies] }))
      .toMatch(/more than 4095 different policies/);
    node.stands();
  }, 120_000);

  test("routes: more than the budget are refused by name", async () => {
    const node = new Node();
    await node.push(program());
    const routes = Array.from({ length: ROUTES_MAX + 1 }, (_, i) =>
      ({ prefix: `${member(i << 8)}/24`, uplink: "eth0" }));
    expect(await refusal(node, program({ routes }))).toMatch(/field-out-of-range|table-full/);
    node.stands();
  });

  test("endpoints: more than the budget are refused by name", async () => {
    const node = new Node();
    await node.push(program());
    const base = program();
    const endpoints = [...base.endpoints, ...Array.from({ length: 8 }, (_, i) =>
      ({ ...base.endpoints[0]!, name: `p${i}`, interfaces: [10 + i], addresses: [member(i)] }))];
    expect(await refusal(node, { ...base, endpoints })).toMatch(/field-out-of-range|table-full/);
    node.stands();
  });

  test("services: more than the budget are refused by name", async () => {
    const node = new Node();
    await node.push(program());
    const services = Array.from({ length: 5 }, (_, i) =>
      ({ name: `s${i}`, address: member(i), port: 80, protocol: "tcp" as const, backends: [] }));
    expect(await refusal(node, program({ services }))).toMatch(/servicesMax/);
    node.stands();
  });

  test("groups and backends: more than the budgets are refused by name", async () => {
    const service = (i: number): Service => ({
      name: `s${i}`, address: member(i), port: 80, protocol: "tcp",
      backends: [{ name: `b${i}`, address: member(1000 + i), port: 8080 }],
    });
    const services = Array.from({ length: 4 }, (_, i) => service(i));
    for (const budget of ["groupsMax", "backendsMax"] as const) {
      const node = new Node({ ...BUDGETS, [budget]: 3 });
      await node.push(program());
      expect(await refusal(node, program({ services }))).toMatch(budget);
      node.stands();
      expect(await refusal(node, program({ services: services.slice(0, 2) }))).toBe("taken");
      node.stands();
    }
  });

  test("arena: tables that the memory does not hold are refused by name", async () => {
    const node = new Node({ ...BUDGETS, servicesMax: 4096 }, 160);
    await node.push(program());
    const backends = Array.from({ length: 200 }, (_, i) =>
      ({ name: `b${i}`, address: member(i), port: 80 }));
    const services = Array.from({ length: 120 }, (_, i) => ({
      name: `s${i}`, address: member(i), port: 80, protocol: "tcp" as const, maglevSlots: 65_537,
      backends: backends.map((each) => ({ ...each, port: 1 + i })),
    }));
    expect(await refusal(node, program({ services }))).toMatch(/arena-full/);
    node.stands();
  });

  test("interfaces: a number beyond the table is refused, its packets are unknown", async () => {
    const node = new Node();
    await node.push(program());
    const bind = record(RecordKind.Bind, 8, (body) => body.setUint32(0, 4096, true));
    expect(() => node.dataplane.stage(bind)).toThrow("field-out-of-range");
    const bytes = packet({ from: ends[4][0], to: ends[4][1] });
    for (const number of [4095, 4096, 0xffffffff]) {
      const [result] = node.dataplane.process(0, [{ interface: number, bytes }], clock);
      expect(result!.reason).toBe(Reason.UnknownEndpoint);
    }
  });
});
