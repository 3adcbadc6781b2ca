// Sessions over time: pushes, expiry, full tables, endpoints that go, generations that are missing.
import { describe, expect, test } from "vitest";
import { Reason, Verdict } from "../../assembly/layout.ts";
import type { Dataplane, Result } from "../../host/dataplane/dataplane.ts";
import type { Program, ProgramRule } from "../../host/model/program.ts";
import { configureRecord } from "../../host/compile/records.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { packet, type Spec } from "../packets.ts";
import { ALLOW, BACKEND1, BACKEND2, BUDGETS, CLIENT, core, shop, started, VIP4 } from "../shop.ts";

const START = { nowMs: 5_000_000, nowSeconds: 1_700_000_000 };
function send(dataplane: Dataplane, from: number, specs: Spec[], nowMs = START.nowMs): Result[] {
  const packets = specs.map((spec) => ({ interface: from, bytes: packet(spec) }));
  return dataplane.process(0, packets, { ...START, nowMs });
}
const web: Spec = { from: "10.0.0.1", to: VIP4, port: 80 };
const DENY = shop([{ name: "nobody", action: "deny" }]);

test("push-keeps-flows: a push that denies ends no open flow, and stops new ones", async () => {
  const { dataplane, compiler } = await started();
  expect(send(dataplane, CLIENT, [web])[0]!.reason).toBe(Reason.Allowed);
  dataplane.push(await compiler.compile(DENY, 2));
  expect(send(dataplane, CLIENT, [{ ...web, flags: "A" }])[0]!.reason).toBe(Reason.Established);
  expect(send(dataplane, CLIENT, [{ ...web, sourcePort: 41000 }])[0]).toMatchObject({
    verdict: Verdict.Drop, reason: Reason.PolicyDenied,
  });
});

test("a closed session's tuple is judged anew at the next SYN", async () => {
  const { dataplane, compiler } = await started();
  send(dataplane, CLIENT, [web, { ...web, flags: "R" }]);
  expect(send(dataplane, CLIENT, [web])[0]!.reason).toBe(Reason.Allowed);
  expect(dataplane.sessions()).toHaveLength(1);
  send(dataplane, CLIENT, [{ ...web, flags: "R" }]);
  dataplane.push(await compiler.compile(DENY, 2));
  expect(send(dataplane, CLIENT, [web])[0]!.reason).toBe(Reason.PolicyDenied);
});

test("endpoint-removal: a new incarnation of an endpoint ends its sessions", async () => {
  const { dataplane, compiler } = await started();
  send(dataplane, CLIENT, [web]);
  const next: Program = shop();
  next.endpoints = next.endpoints.map((each) => ({ ...each, incarnation: 1 }));
  dataplane.push(await compiler.compile(next, 2));
  // The reply of the old session finds no session any more.
  const reply = (n: number): Spec => ({
    from: `10.0.1.${n}`, to: "10.0.0.1", sourcePort: 8080, port: 40000, flags: "SA",
  });
  const reasons = [
    ...send(dataplane, BACKEND1, [reply(1)]), ...send(dataplane, BACKEND2, [reply(2)]),
  ].map((each) => each.reason);
  expect(reasons).toEqual([Reason.NoSession, Reason.NoSession]);
  expect(dataplane.sessions()).toEqual([]);
});

test("no-generation: before the first publish nothing passes", () => {
  const dataplane = new NodeDataplane(core);
  dataplane.stage(configureRecord(BUDGETS));
  const [result] = send(dataplane, CLIENT, [web]);
  expect(result).toMatchObject({ verdict: Verdict.Drop, reason: Reason.NoGeneration });
});

test("unknown-interface: a packet from an interface without endpoint is dropped", async () => {
  const { dataplane } = await started();
  for (const from of [77, 4095, 4096, 0xffffffff]) {
    expect(send(dataplane, from, [web])[0]!.reason).toBe(Reason.UnknownEndpoint);
  }
});

test("policy-slot: the policy in the slot decides, and says by which rule", async () => {
  const deny: ProgramRule = { name: "odd", action: "deny", sourcePorts: ["40001-40003"] };
  const { dataplane } = await started(shop([deny, ...ALLOW]));
  const results = send(dataplane, CLIENT, [40000, 40001, 40003, 40004].map((sourcePort) => ({
    ...web, sourcePort,
  })));
  expect(results.map((each) => [each.reason, each.rule])).toEqual([
    [Reason.Allowed, 2], [Reason.PolicyDenied, 0], [Reason.PolicyDenied, 0], [Reason.Allowed, 2],
  ]);
});

describe("a small table", () => {
  const budgets = { ...BUDGETS, sessions4Max: 64, sessions6Max: 0 };

  test("table-full: what finds no room is dropped by name, and counted", async () => {
    const { dataplane } = await started(shop(), budgets);
    const many = Array.from({ length: 200 }, (_, i) => ({ ...web, sourcePort: 20000 + i }));
    const results = send(dataplane, CLIENT, many);
    const full = results.filter((each) => each.reason === Reason.SessionTableFull);
    const open = results.filter((each) => each.reason === Reason.Allowed);
    expect(open.length + full.length).toBe(200);
    expect(open.length).toBeLessThanOrEqual(64);
    expect(open.length).toBeGreaterThan(48);
    expect(full.every((each) => each.verdict === Verdict.Drop)).toBe(true);
    expect(dataplane.counters().get(Reason.SessionTableFull)).toBe(BigInt(full.length));
    const v6 = { from: "fd00::1", to: "fd00:96::80", port: 80 };
    expect(send(dataplane, CLIENT, [v6])[0]!.reason).toBe(Reason.SessionTableFull);
  });

  test("session-expiry: idle sessions end, busy ones stay, their records serve again", async () => {
    const { dataplane } = await started(shop(), budgets);
    const ask = (sourcePort: number): Spec => ({
      from: "10.0.0.1", to: VIP4, protocol: "udp", port: 53, sourcePort,
    });
    let now = START.nowMs;
    for (let round = 0; round < 50; round++) {
      const ports = Array.from({ length: 40 }, (_, i) => 1024 + round * 40 + i);
      const results = send(dataplane, CLIENT, [ask(1000), ...ports.map(ask)], now);
      expect(results.map((each) => each.reason)).not.toContain(Reason.SessionTableFull);
      expect(results[0]!.reason).toBe(round ? Reason.Established : Reason.Allowed);
      now = (now + 45_000) >>> 0;
      send(dataplane, CLIENT, [ask(1000)], now);
      now = (now + 45_000) >>> 0;
      // The first call retires, the second closes limbo, the third frees it.
      const ended = [0, 0, 0].map(() => dataplane.age(0, now, 1000));
      expect(ended[0]).toBe(40);
      expect(dataplane.sessions().map((each) => each.sourcePort)).toEqual([1000]);
    }
  });

  test("time may wrap: 2^32 ms is not an hour of idleness", async () => {
    const { dataplane } = await started(shop(), budgets);
    send(dataplane, CLIENT, [web], 0xffff_ff00);
    expect(dataplane.age(0, 5_000, 1000)).toBe(0);
    expect(dataplane.age(0, 30_000, 1000)).toBe(1);
  });
});

test("an established segment whose data offset lies beyond the packet is dropped", async () => {
  const { dataplane } = await started();
  send(dataplane, CLIENT, [web]);
  const ack = packet({ ...web, flags: "A" });
  ack[32] = 0xf0;
  const [result] = dataplane.process(0, [{ interface: CLIENT, bytes: ack }], START);
  expect(result).toMatchObject({ verdict: Verdict.Drop, reason: Reason.BadHeaderLength });
});
