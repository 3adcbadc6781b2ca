// What the native engine survives with the real program: traps in a policy and in the core inside a
// change of the session index, and threads that open and close the same flows against each other.

import { describe, expect, test } from "vitest";
import { Phase, Reason, Verdict } from "../assembly/layout.ts";
import { addonPath, type TrafficFrame } from "../host/dataplane/addon.ts";
import type { Packet } from "../host/dataplane/dataplane.ts";
import { NativeDataplane } from "../host/dataplane/native.ts";
import { DROP, PASS, trafficFrame } from "./native-frames.ts";
import { packet } from "./packets.ts";
import { BUDGETS, CLIENT, core, shop, started, VIP4, VIP6 } from "./shop.ts";
import { audit } from "./stress/audit.ts";
import { policyModule, TRAP_AT, trappingCore } from "./trapping.ts";

const built = addonPath() !== undefined;
if (!built) console.log("native-survival tests: skipped (not built: npm run build:native)");

const SECONDS = Number(process.env["MARGAY_STRESS_SECONDS"] ?? 10);
const clock = { nowMs: 1_000_000, nowSeconds: 1_700_000_000 };
const flow = (family: 4 | 6, sourcePort: number, flags = "S"): Packet => ({
  interface: CLIENT,
  bytes: packet({
    from: family === 4 ? "10.0.0.1" : "fd00::1", to: family === 4 ? VIP4 : VIP6, port: 80,
    sourcePort, flags,
  }),
});

describe.skipIf(!built)("native survival", () => {
  test("trap-native: a policy that traps denies, no other packet is lost", async () => {
    const wasm = policyModule(`(if (result i32) (i32.eq (local.get 6) (i32.const 666))
      (then (unreachable)) (else (i32.const 1)))`, "", "evaluate/1");
    const program = { ...shop(), policies: [{ name: "web", wasm }] };
    const native = new NativeDataplane(core, { workers: 2 });
    const { dataplane, compiler } = await started(program, BUDGETS, native);
    const first = dataplane.process(1, [flow(4, 1), flow(6, 2)], clock);
    expect(first.map((each) => each.reason)).toEqual([Reason.Allowed, Reason.Allowed]);
    const results = dataplane.process(1, [
      flow(4, 1, "A"), flow(4, 666), flow(6, 2, "A"), flow(4, 3),
    ], clock);
    expect(results.map((each) => each.reason)).toEqual([
      Reason.Established, Reason.PolicyTrapped, Reason.Established, Reason.PolicyTrapped,
    ]);
    expect(results[0]!.bytes).toBeDefined();
    expect(dataplane.traps()).toEqual([
      { worker: 1, policySlot: 1, message: expect.stringMatching(/unreachable/) },
    ]);
    // the next generation has a policy that holds
    dataplane.push(await compiler.compile(shop(), 2));
    expect(dataplane.process(0, [flow(4, 666)], clock)[0]!.reason).toBe(Reason.Allowed);
    expect(audit(native.memory).problems).toEqual([]);
    dataplane.close();
  });

  test("trap-native: a core that traps inside an insert or an end is recovered", async () => {
    const native = new NativeDataplane(trappingCore().wasm, { workers: 2 });
    const { dataplane } = await started(shop(), {
      ...BUDGETS, timeoutsMs: [1000, 1000, 1000, 10_000, 1000, 1000],
    }, native);
    const trigger = (phase: number): void => native.memory.view.setUint32(TRAP_AT, phase, true);
    let port = 1000;
    for (const family of [4, 6] as const) {
      const kept = flow(family, port++);
      expect(dataplane.process(1, [kept], clock)[0]!.reason).toBe(Reason.Allowed);
      for (const phase of [Phase.Inserting, Phase.Published]) {
        const held = dataplane.sessions().length;
        const frame = [flow(family, port++), flow(family, port++)];
        trigger(phase);
        const results = dataplane.process(0, frame, clock);
        expect(results.map((each) => [each.verdict, each.reason])).toEqual(
          Array(2).fill([Verdict.Drop, Reason.CoreTrapped]));
        expect(dataplane.traps()).toEqual([
          { worker: 0, policySlot: 0, message: expect.stringMatching(/unreachable/) },
        ]);
        expect(dataplane.sessions()).toHaveLength(held);
        expect(audit(native.memory).problems).toEqual([]);
        // the same flows, on either worker: no lock is left, no half session in the way
        expect(dataplane.process(1, [frame[0]!], clock)[0]!.reason).toBe(Reason.Allowed);
        expect(dataplane.process(0, [frame[1]!], clock)[0]!.reason).toBe(Reason.Allowed);
        expect(dataplane.process(0, [{ ...kept }], clock)[0]!.reason).toBe(Reason.Established);
      }
    }
    expect(dataplane.counters().get(Reason.CoreTrapped)).toBe(8n);
    const live = dataplane.sessions().length;
    trigger(Phase.Ending);
    const later = clock.nowMs + 20_000;
    dataplane.age(0, later, 4096);
    expect(dataplane.traps()).toHaveLength(1);
    expect(audit(native.memory).problems).toEqual([]);
    for (let i = 0; i < 64; i++) dataplane.age(i % 2, later + 512 * i, 4096);
    expect(dataplane.sessions()).toEqual([]);
    expect(live).toBeGreaterThan(0);
    expect(audit(native.memory)).toMatchObject({ problems: [], live: 0 });
    expect(dataplane.process(0, [flow(4, 1), flow(6, 1)], clock).map((each) => each.reason))
      .toEqual([Reason.Allowed, Reason.Allowed]);
    dataplane.close();
  });

  test("session-stress-native: threads open, use and reset the same flows", async () => {
    const native = new NativeDataplane(core, { workers: 2 });
    // a third of the flows finds no room at a time; what is reset ends at once
    const budgets = {
      ...BUDGETS, sessions4Max: 1024, sessions6Max: 1024, timeoutsMs: [1, 1, 1, 60_000, 1, 1],
    };
    await started(shop(), budgets, native);
    const reference = new NativeDataplane(core, { workers: 2 });
    await started(shop(), { ...BUDGETS }, reference);

    const frames: TrafficFrame[] = [];
    for (let set = 0; set < 12; set++) {
      const ports = Array.from({ length: 128 }, (_, i) => 2000 + set * 128 + i);
      const opening = ports.flatMap((port) => [flow(4, port), flow(6, port)]);
      const expected = reference.process(0, opening, clock).map((each) => each.bytes!);
      frames.push(trafficFrame(opening, PASS | DROP, expected));
      for (const flags of ["A", "R"]) {
        const next = ports.flatMap((port) => [flow(4, port, flags), flow(6, port, flags)]);
        const left = reference.process(0, next, clock).map((each) => each.bytes!);
        frames.push(trafficFrame(next, PASS | DROP, left));
      }
    }
    native.addon.trafficStart([0, 1].map((worker) => ({
      worker, ...clock, realClock: true, ageBudget: 256,
      frames: worker ? [...frames.slice(15), ...frames.slice(0, 15)] : frames,
    })));
    await new Promise((done) => setTimeout(done, SECONDS * 1000));
    const counts = native.addon.trafficStop();
    const report = audit(native.memory);
    const opened = native.addon.counter(Reason.Allowed);
    console.log(`session-stress-native: ${SECONDS} s, ${opened} sessions opened, `
      + counts.map((count) => `worker ${count.worker}: ${count.packets} packets, `
        + `${count.passed} passed, ${count.aged} ended`).join("; "));
    for (const count of counts) {
      expect(count.first).toBeUndefined();
      expect(count).toMatchObject({
        missing: 0, wrongVerdicts: 0, wrongWindows: 0, coreTraps: 0, refused: 0,
      });
      expect(count.aged).toBeGreaterThan(1000);
    }
    expect(opened).toBeGreaterThan(10_000n);
    expect(report.problems).toEqual([]);
    for (let i = 0; i < 64; i++) {
      native.age(i % 2, clock.nowMs + 600_000 + 512 * i, 1 << 20);
    }
    expect(audit(native.memory)).toMatchObject({ problems: [], live: 0 });
    native.close();
    reference.close();
  }, SECONDS * 1000 + 60_000);
});
