// The native engine's own behaviour, on a stand-in core (native-core.ts): stores, traps, refusals,
// change-over. What the packet program decides is tested on all engines elsewhere.

import { describe, expect, test } from "vitest";
import * as L from "../assembly/layout.ts";
import type { Addon, AddonError, TrafficFrame } from "../host/dataplane/addon.ts";
import { addonPath, loadAddon } from "../host/dataplane/addon.ts";
import {
  BAD_PREFETCH, CORE_AND_RECOVER_TRAP, CORE_TRAP, NO_VERDICT, policy, raw, standIn,
  standInPrivate,
} from "./native-core.ts";
import { DROP, PASS, trafficFrame } from "./native-frames.ts";

const built = addonPath() !== undefined;
if (!built) console.log("native tests: skipped (not built: npm run build:native)");

const allow = policy("(i32.const 1)");
const deny = policy("(i32.const 2)");
const trap = policy("(unreachable)");
const GENERATED = L.SlotState.Generated, USER = L.SlotState.User;

function record(kind: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + ((body.length + 7) & ~7));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, kind, true);
  view.setUint32(4, body.length, true);
  bytes.set(body, 8);
  return bytes;
}

function moduleRecord(slot: number, wasm: Uint8Array): Uint8Array {
  const body = new Uint8Array(8 + wasm.length);
  new DataView(body.buffer).setUint32(0, slot, true);
  new DataView(body.buffer).setUint32(4, GENERATED, true);
  body.set(wasm, 8);
  return record(L.RecordKind.Module, body);
}

/** Runs a frame whose packets ask for these interfaces; answers verdict, reason, rule of each. */
function run(addon: Addon, worker: number, interfaces: number[]) {
  const view = new DataView(addon.memory());
  const slot = (i: number) => L.FRAMES + worker * L.FRAME_BYTES + i * L.SLOT_BYTES;
  interfaces.forEach((number, i) => {
    for (let at = 0; at < L.SLOT_BYTES; at += 4) view.setUint32(slot(i) + at, 0xa5a5a5a5, true);
    view.setUint32(slot(i) + L.SLOT_INTERFACE, number, true);
    view.setUint8(slot(i) + L.SLOT_VERDICT, L.Verdict.None);
  });
  const code = addon.process(worker, interfaces.length, 0, 0);
  const packets = interfaces.map((_, i) => ({
    verdict: view.getUint8(slot(i) + L.SLOT_VERDICT),
    reason: view.getUint8(slot(i) + L.SLOT_REASON),
    rule: view.getUint32(slot(i) + L.SLOT_RULE, true),
  }));
  return { code, packets };
}

const pass = (rule: number) => ({ verdict: L.Verdict.Pass, reason: L.Reason.Allowed, rule });
const drop = (rule: number, reason: number = L.Reason.PolicyDenied) =>
  ({ verdict: L.Verdict.Drop, reason, rule });

function refusal(action: () => void): AddonError {
  try {
    action();
  } catch (error) {
    return error as AddonError;
  }
  throw new Error("nothing was refused");
}

describe.skipIf(!built)("native engine", () => {
  const Native = built ? loadAddon() : (undefined as never);
  function open<T>(body: (addon: Addon) => T, options = {}): T {
    const addon = new Native({ core: standIn(), workers: 2, memoryPages: 64, ...options });
    try {
      return body(addon);
    } finally {
      addon.close();
    }
  }

  test("native-engine: modules and generation change in the same frame, on every worker", () =>
    open((addon) => {
      addon.module(5, GENERATED, allow);
      expect(refusal(() => addon.publish(0)).reason).toBe("bad-generation");
      expect(addon.generation()).toBe(0);
      for (let generation = 1; generation <= 6; generation++) {
        addon.module(5, GENERATED, generation % 2 ? allow : deny);
        addon.publish(generation);
        expect(addon.generation()).toBe(generation);
        const expected = generation % 2 ? pass(generation) : drop(generation);
        for (const worker of [0, 1]) {
          expect(run(addon, worker, [5, 5]).packets).toEqual([expected, expected]);
        }
      }
      // a generation without modules keeps those that are there
      addon.publish(7);
      expect(run(addon, 0, [5]).packets).toEqual([drop(7)]);
      addon.publish(8);
      expect(run(addon, 0, [5]).packets).toEqual([drop(8)]);
    }));

  test("native-engine: a user's module is linked to the core's member, in both stores", () =>
    open((addon) => {
      addon.module(5, USER, raw(`(module
        (import "margay" "member" (func $member (param i32 i32 i32) (result i32)))
        (func (export "evaluate") (param i32 i32 i64 i64 i64 i64 i32 i32 i32 i32) (result i32)
          (i32.or (call $member (local.get 0) (i32.const 1) (i32.const 2))
            (call $member (local.get 0) (i32.const 2) (i32.const 2)))))`));
      for (let generation = 1; generation <= 6; generation++) {
        addon.publish(generation);
        const holds = generation === 3 || generation === 4;
        for (const worker of [0, 1]) {
          expect(run(addon, worker, [5]).packets)
            .toEqual([holds ? pass(generation) : drop(generation)]);
        }
      }
      expect(addon.traps()).toEqual([]);
    }));

  test("native-engine: session records go into the worker's windows; a trap takes none", () =>
    open((addon) => {
      const records = (count: number, bytes: number) => new Uint8Array(count * bytes).fill(0x5a);
      expect(addon.restore(1, 4, records(5, L.SESSION4_BYTES))).toBe(5);
      expect(addon.restore(1, 6, records(256, L.SESSION6_BYTES))).toBe(256);
      const windows = L.FRAMES + L.FRAME_BYTES + L.FRAME_WINDOWS;
      const bytes = new Uint8Array(addon.memory(), windows, 256 * L.WINDOW_BYTES);
      expect(bytes.every((byte) => byte === 0x5a)).toBe(true);
      for (const [worker, family, count] of [[2, 4, 1], [0, 5, 1], [0, 4, 513], [0, 4, 2]]) {
        const bad = records(count!, L.SESSION4_BYTES);
        expect(refusal(() => addon.restore(worker!, family!, bad)).code).toBe(-3);
      }
      expect(refusal(() => addon.restore(0, 6, records(1, 64))).message).toBe(
        "restore: 64 bytes of family 6");
      expect(addon.restore(0, 4, records(3, L.SESSION4_BYTES))).toBe(0);
      expect(addon.traps()).toMatchObject([{ worker: 0, policySlot: 0 }]);
      expect(addon.restore(0, 4, records(1, L.SESSION4_BYTES))).toBe(1);
    }));

  test("native-engine: the core can't import what is for policies", () => {
    const core = raw('(module (import "margay" "member" (func (param i32 i32 i32) (result i32))))');
    expect(() => new Native({ core, memoryPages: 64 }))
      .toThrow(/margay\.member is not for the core/);
  });

  test("native-engine: the slot denies, the frame is run again, the trap is reported", () =>
    open((addon) => {
      addon.module(5, GENERATED, allow);
      addon.module(6, GENERATED, trap);
      addon.module(7, GENERATED, policy("(i32.div_u (i32.const 1) (local.get 9))"));
      addon.publish(1);
      const { code, packets } = run(addon, 1, [5, 6, 7, 5, 6]);
      const trapped = drop(1, L.Reason.PolicyTrapped);
      expect(code).toBe(0);
      expect(packets).toEqual([pass(1), trapped, trapped, pass(1), trapped]);
      const traps = addon.traps();
      expect(traps.map(({ worker, policySlot }) => [worker, policySlot])).toEqual([[1, 6], [1, 7]]);
      expect(traps[0]?.message).toMatch(/unreachable.* in function 0/);
      expect(traps[1]?.message).toMatch(/divide by zero/);
      expect(addon.traps()).toEqual([]);
      expect(addon.stats()).toMatchObject({ policyTraps: 2, coreTraps: 0, frames: 1 });
      expect(run(addon, 0, [6, 5]).packets).toEqual([trapped, pass(1)]);
    }));

  test("native-engine: the frame is dropped, the instance goes on", () =>
    open((addon) => {
      addon.module(5, GENERATED, allow);
      addon.publish(1);
      for (const bad of [CORE_TRAP, BAD_PREFETCH]) {
        const { code, packets } = run(addon, 0, [5, bad, 5]);
        expect(code).toBe(-4);
        expect(packets.map((p) => [p.verdict, p.reason])).toEqual(
          Array(3).fill([L.Verdict.Drop, L.Reason.CoreTrapped]));
        expect(run(addon, 0, [5]).packets).toEqual([pass(1)]);
      }
      expect(addon.traps().map((t) => [t.policySlot, t.message])).toEqual([
        [0, expect.stringMatching(/unreachable/)],
        [0, expect.stringMatching(/prefetch: bad argument/)],
      ]);
    }));

  test("native-engine: when recover traps too, no packet passes", () =>
    open((addon) => {
      addon.module(5, GENERATED, allow);
      addon.publish(1);
      const { code, packets } = run(addon, 0, [5, CORE_AND_RECOVER_TRAP, 5]);
      expect(code).toBe(-4);
      expect(packets.map((p) => [p.verdict, p.reason])).toEqual(
        Array(3).fill([L.Verdict.Drop, L.Reason.CoreTrapped]));
      expect(addon.traps()).toHaveLength(2);
    }));

  test("native-engine: 64 traps are kept, the others counted", () =>
    open((addon) => {
      for (let i = 0; i < 70; i++) run(addon, 0, [CORE_TRAP]);
      expect(addon.traps()).toHaveLength(64);
      expect(addon.stats()).toMatchObject({ coreTraps: 70, trapsLost: 6 });
    }));

  test("native-engine: a refused stream names its record and abandons what it brought", () =>
    open((addon) => {
      addon.module(5, GENERATED, allow);
      addon.module(8, GENERATED, allow);
      addon.publish(1);
      const stream = Buffer.concat([
        moduleRecord(8, deny), record(L.RecordKind.Bind, new Uint8Array(8)),
        record(99, new Uint8Array(3)), moduleRecord(5, deny),
      ]);
      expect(refusal(() => addon.stage(stream))).toMatchObject({
        code: -1, reason: "unknown-record", record: 2, detail: 7,
        message: "stage: unknown-record (record 2, detail 7)",
      });
      expect(run(addon, 0, [5, 8]).packets).toEqual([pass(1), pass(1)]);
      // what the core admitted and never came to use is empty: not the module before it
      addon.publish(2);
      expect(run(addon, 0, [5, 8]).packets).toEqual([pass(2), drop(2, L.Reason.PolicyTrapped)]);
      expect(addon.traps().map((t) => t.policySlot)).toEqual([8]);
      addon.module(8, GENERATED, allow);
      addon.publish(3);
      for (const worker of [0, 1]) {
        expect(run(addon, worker, [5, 8]).packets).toEqual([pass(3), pass(3)]);
      }
    }));

  test("native-engine: a module that the engine can't take is refused with its slot", () =>
    open((addon) => {
      const cases: [Uint8Array, RegExp][] = [
        [new Uint8Array([0, 97, 115, 109, 9, 9, 9, 9]), /^slot 9: module: /],
        [raw('(module (import "wasi" "exit" (func)))'), /^slot 9: .*wasi\.exit is not offered/],
      ];
      for (const [wasm, message] of cases) {
        const error = refusal(() => addon.module(9, GENERATED, wasm));
        expect(error).toMatchObject({ code: -2, reason: "engine" });
        expect(error.message).toMatch(message);
      }
      // found only when it is instantiated: the publish is refused, the generation before runs on
      addon.module(5, GENERATED, allow);
      addon.publish(1);
      for (const [text, message] of [
        ['(module (import "host" "prefetch" (func (param i32 i32 i32 i32 i32))))',
          /prefetch is not for a policy/],
        ["(module)", /no function is exported as evaluate/],
      ] as const) {
        addon.module(8, GENERATED, deny);
        addon.module(9, GENERATED, raw(text));
        const error = refusal(() => addon.publish(2));
        expect(error).toMatchObject({ code: -2, reason: "engine" });
        expect(error.message).toMatch(message);
        expect(addon.generation()).toBe(1);
        expect(run(addon, 0, [5]).packets).toEqual([pass(1)]);
      }
      addon.publish(3);
      for (const worker of [0, 1]) expect(run(addon, worker, [5]).packets).toEqual([pass(3)]);
      addon.publish(4);
      for (const worker of [0, 1]) expect(run(addon, worker, [5]).packets).toEqual([pass(4)]);
    }));

  test("native-engine: a stream longer than the staging buffer goes through in parts", () =>
    open((addon) => {
      const filler = raw(`(module (memory 0) (data "${"x".repeat(50_000)}")
        (func (export "evaluate") (param i32 i32 i64 i64 i64 i64 i32 i32 i32 i32) (result i32)
          (i32.const 1)))`);
      const count = 60; // 3 MB
      const stream = Buffer.concat(
        Array.from({ length: count }, (_, i) => moduleRecord(i + 1, filler)));
      expect(stream.length).toBeGreaterThan(2 * L.STAGING_BYTES);
      const bad = Buffer.concat([stream, record(99, new Uint8Array(0))]);
      expect(refusal(() => addon.stage(bad))).toMatchObject({ code: -1, record: count });
      addon.stage(stream);
      addon.publish(1);
      expect(run(addon, 0, [1, count]).packets).toEqual([pass(1), pass(1)]);
      const long = record(L.RecordKind.Module, new Uint8Array(L.STAGING_BYTES));
      expect(refusal(() => addon.stage(long)).message).toMatch(/record 0 exceeds/);
    }));

  test("native-engine: after 1,000 added modules a store is made anew", () =>
    open((addon) => {
      addon.module(1, GENERATED, allow);
      addon.publish(1);
      const pushes = 2500;
      let most = 0;
      for (let generation = 2; generation <= pushes; generation++) {
        addon.module(2, GENERATED, generation % 2 ? allow : deny);
        addon.publish(generation);
        most = Math.max(most, addon.stats().instancesAdded);
        const { packets } = run(addon, generation % 2, [1, 2]);
        const expected = generation % 2 ? pass(generation) : drop(generation);
        expect(packets).toEqual([pass(generation), expected]);
      }
      expect(most).toBe(1000);
      expect(addon.stats()).toMatchObject({ pushes, rebuilds: 8 }); // 2 workers x 2 stores x 2
    }), 60_000);

  test("native-engine: what can't be a core or an option is refused by name", () => {
    const core = standIn();
    const tries: [object, RegExp][] = [
      [{ core: new Uint8Array(0) }, /^core: no bytes/],
      [{ core: new Uint8Array([1, 2, 3]) }, /^module: /],
      [{ core: raw("(module)") }, /no function is exported as stage/],
      [{ core: raw('(module (func (export "stage") (result i32) (i32.const 0)))') },
        /stage must take 1 i32/],
      [{ core, workers: 0 }, /^workers: not 1..16/],
      [{ core, workers: 17 }, /^workers: not 1..16/],
      [{ core, memoryPages: 10 }, /^memory_pages: under 64/],
      [{ core, memoryPages: 65537 }, /^memory_pages: over 65,536/],
      [{ core, workers: 2, privateMemory: true }, /^private_memory: only one worker/],
      [{ core: standInPrivate() }, /^instantiate: .*memory/],
    ];
    for (const [options, message] of tries) {
      expect(refusal(() => new Native(options as never)).message).toMatch(message);
    }
  });

  test("native-engine: one worker over a memory of its own", () =>
    open((addon) => {
      for (let generation = 1; generation <= 4; generation++) {
        addon.module(5, GENERATED, generation % 2 ? allow : deny);
        addon.publish(generation);
        expect(run(addon, 0, [5]).packets).toEqual([
          generation % 2 ? pass(generation) : drop(generation)]);
      }
    }, { core: standInPrivate(), workers: 1, privateMemory: true }));

  test("native-engine: traffic threads tell right answers from wrong ones", () =>
    open((addon) => {
      addon.module(5, GENERATED, allow);
      addon.publish(1);
      const packets = (...interfaces: number[]) =>
        interfaces.map((number) => ({ interface: number, bytes: new Uint8Array(40).fill(0xa5) }));
      const same = new Uint8Array(40).fill(0xa5), other = new Uint8Array(40).fill(0xa6);
      const count = (...frames: TrafficFrame[]) => {
        addon.trafficStart([{ worker: 0, frames, framesMax: 20 }]);
        expect(refusal(() => addon.process(0, 0, 0, 0)).message).toMatch(/running traffic/);
        expect(addon.process(1, 0, 0, 0)).toBe(0);
        while (addon.trafficRead()[0]!.frames < 20);
        return addon.trafficStop()[0]!;
      };
      const right = { frames: 20, missing: 0, wrongVerdicts: 0, wrongWindows: 0, coreTraps: 0 };
      const two = packets(5, 5);
      expect(count(trafficFrame(two, PASS, [same, same]))).toMatchObject({
        ...right, packets: 40, passed: 40, dropped: 0,
      });
      expect(count(trafficFrame(two, DROP))).toMatchObject({
        ...right, wrongVerdicts: 40, first: { frame: 0, packet: 0, verdict: "pass" },
      });
      expect(count(trafficFrame(two, PASS), trafficFrame(two, PASS, [same, other]))).toMatchObject({
        ...right, wrongWindows: 10, first: { frame: 1, packet: 1, reason: "allowed" },
      });
      expect(count(trafficFrame(packets(5, CORE_TRAP), PASS))).toMatchObject({
        ...right, coreTraps: 20, dropped: 40, wrongVerdicts: 40, first: { reason: "core-trapped" },
      });
      expect(count(trafficFrame(packets(5, NO_VERDICT), PASS))).toMatchObject({
        ...right, missing: 20, first: { frame: 0, packet: 1, verdict: "none" },
      });
    }));

  test("native-engine: a view of the memory is detached, later calls say so", () => {
    const addon = new Native({ core: standIn(), memoryPages: 64 });
    const bytes = new Uint8Array(addon.memory());
    expect(bytes.length).toBe(64 * 65536);
    addon.close();
    addon.close();
    expect(bytes.length).toBe(0);
    expect(() => addon.publish(1)).toThrow("the native dataplane is closed");
  });
});
