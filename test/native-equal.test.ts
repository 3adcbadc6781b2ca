// The native engine against the Node engine, with the real program: the same packets, cut into
// frames at random, must give the same results, counters and sessions, and the same modules must be
// refused for the same reasons.

import { describe, expect, test } from "vitest";
import { addonPath } from "../host/dataplane/addon.ts";
import type { Dataplane, Packet, Result } from "../host/dataplane/dataplane.ts";
import { PushRefused } from "../host/dataplane/dataplane.ts";
import { NativeDataplane } from "../host/dataplane/native.ts";
import { NodeDataplane } from "../host/dataplane/node.ts";
import { policy, raw } from "./native-core.ts";
import { packet } from "./packets.ts";
import { seedOf } from "./seed.ts";
import { BUDGETS, CLIENT, core, shop, started, STRANGER, UPLINK, VIP4, VIP6 } from "./shop.ts";

const built = addonPath() !== undefined;
if (!built) console.log("native-equal tests: skipped (not built: npm run build:native)");

/** A small generator, so that a seed gives the same packets everywhere. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function packets(seed: number, count: number): Packet[] {
  const pick = random(seed);
  const from = [
    { at: CLIENT, v4: "10.0.0.1", v6: "fd00::1" }, { at: STRANGER, v4: "10.0.0.9", v6: "fd00::9" },
    { at: CLIENT, v4: "10.0.0.7", v6: "fd00::7" }, { at: UPLINK, v4: "203.0.113.5", v6: "fd01::5" },
    { at: 77, v4: "10.0.0.1", v6: "fd00::1" },
  ];
  return Array.from({ length: count }, () => {
    const who = from[pick(from.length)]!;
    const v6 = pick(2) === 1;
    const udp = pick(2) === 1;
    const bytes = packet({
      from: v6 ? who.v6 : who.v4, to: v6 ? VIP6 : VIP4, protocol: udp ? "udp" : "tcp",
      sourcePort: 1024 + pick(64), port: udp ? 53 : 80, flags: ["S", "A", "FA", "R"][pick(4)]!,
    });
    if (pick(8) === 0) bytes[pick(Math.min(bytes.length, 60))]! ^= 1 << pick(8);
    return { interface: who.at, bytes };
  });
}

function run(dataplane: Dataplane, all: Packet[], seed: number): Result[] {
  const pick = random(seed);
  const results: Result[] = [];
  for (let at = 0, nowMs = 0xffff_f000; at < all.length; nowMs += 300) {
    const size = [1, 7, 64, 256][pick(4)]!;
    const clock = { nowMs: nowMs >>> 0, nowSeconds: 1_700_000_000 };
    results.push(...dataplane.process(pick(2), all.slice(at, at + size), clock));
    if (pick(4) === 0) dataplane.age(pick(2), clock.nowMs, 512);
    at += size;
  }
  return results;
}

describe.skipIf(!built)("native engine, real program", () => {
  test("equal-bytes-native: results, counters, sessions are those of the Node engine", async () => {
    const seed = seedOf("FUZZ_SEED");
    console.log(`equal-bytes-native: seed ${seed}`);
    const all = packets(seed, 4000);
    const outcome = async (engine: Dataplane) => {
      const { dataplane } = await started(shop(), BUDGETS, engine);
      const results = run(dataplane, all, seed);
      const seen = { results, counters: dataplane.counters(), sessions: dataplane.sessions() };
      expect(dataplane.traps()).toEqual([]);
      dataplane.close();
      return seen;
    };
    const node = await outcome(new NodeDataplane(core, { workers: 2 }));
    const native = await outcome(new NativeDataplane(core, { workers: 2 }));
    expect(native).toEqual(node);
    expect(node.sessions.length).toBeGreaterThan(50);
    expect(node.counters.size).toBeGreaterThan(6);
  });

  test("equal-bytes-native: both engines refuse the same modules, in the same words", async () => {
    const section = (module: Uint8Array, text: string): Uint8Array => {
      const bytes = new TextEncoder();
      const name = bytes.encode("margay.abi");
      const body = [name.length, ...name, ...bytes.encode(text)];
      return new Uint8Array([...module, 0, body.length, ...body]);
    };
    const good = policy("(i32.const 1)");
    const evaluate = (body: string, rest = "") => raw(`(module ${rest}
      (func (export "evaluate") (param i32 i32 i64 i64 i64 i64 i32 i32 i32 i32) (result i32)
        ${body}))`);
    const modules: [string, Uint8Array][] = [
      ["module-no-abi-version", good],
      ["module-wrong-abi-version", section(good, "policy/2")],
      ["module-loop", section(evaluate("(loop $l (br_if $l (local.get 0))) (i32.const 1)"),
        "policy/1")],
      ["module-foreign-import", section(evaluate("(call $f) (i32.const 1)",
        '(import "wasi" "exit" (func $f))'), "policy/1")],
      ["module-malformed", new Uint8Array([1, 2, 3])],
    ];
    for (const engine of [NodeDataplane, NativeDataplane]) {
      const { dataplane, compiler } = await started(shop(), BUDGETS, new engine(core, {
        workers: 2,
      }));
      const before = dataplane.sessions();
      for (const [reason, wasm] of modules) {
        const push = await compiler.compile(shop(), 2);
        let refused: unknown;
        try {
          dataplane.push({ ...push, modules: [{ slot: 9, kind: "generated", wasm }] });
        } catch (error) {
          refused = error;
        }
        expect(refused, `${dataplane.engine}: ${reason}`).toBeInstanceOf(PushRefused);
        expect(refused).toMatchObject({
          reason, record: 0, message: expect.stringMatching(/^policy module for slot 9: /),
        });
        expect(dataplane.generation).toBe(1);
      }
      const bad = await compiler.compile(shop(), 4);
      expect(() => dataplane.push(bad)).toThrow(/bad-generation \(record 0, detail 2\)/);
      dataplane.push(await compiler.compile(shop(), 2));
      expect(dataplane.generation).toBe(2);
      expect(dataplane.sessions()).toEqual(before);
      dataplane.close();
    }
  });
});
