// Traps, survived as ARCHITECTURE.md says: a policy's by denying in its place and running the frame
// again, the core's own by dropping the frame, freeing its locks and undoing what was half done.
import { describe, expect, test } from "vitest";
import { Phase, Reason, Verdict } from "../../assembly/layout.ts";
import { addonPath } from "../../host/dataplane/addon.ts";
import type { Dataplane } from "../../host/dataplane/dataplane.ts";
import type { Memory } from "../../host/dataplane/memory.ts";
import { NativeDataplane } from "../../host/dataplane/native.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { audit } from "../stress/audit.ts";
import { packet, type Spec } from "../packets.ts";
import { BUDGETS, CLIENT, core, shop, started, VIP4, VIP6 } from "../shop.ts";
import { TRAP_AT, trappingCore, trappingPolicy } from "../trapping.ts";

const clock = { nowMs: 1_000_000, nowSeconds: 1_700_000_000 };
const trapping = trappingCore();
type Engine = Dataplane & { memory: Memory };
type Make = (wasm: Uint8Array) => Engine;
const engines: [string, string, Make | undefined][] = [
  ["node", "", (wasm) => new NodeDataplane(wasm, { workers: 2 })],
  [
    "native", " trap-native:",
    addonPath() ? (wasm) => new NativeDataplane(wasm, { workers: 2 }) : undefined,
  ],
];
const send = (dataplane: Dataplane, specs: Spec[], worker = 0) => dataplane.process(
  worker, specs.map((spec) => ({ interface: CLIENT, bytes: packet(spec) })), clock,
);
const clients = [["10.0.0.1", VIP4], ["fd00::1", VIP6]] as const;
const syn = (n: number, side: 0 | 1 = 0): Spec => ({
  from: clients[side][0], to: clients[side][1], port: 80, sourcePort: 20_000 + n,
});

test("the trapping core has traps in insert and in end, of both families", () => {
  expect(trapping.places).toBeGreaterThanOrEqual(6);
});

describe.each(engines)("%s", (engine, id, make) => {
  test.skipIf(!make)(`trap-policy:${id} the slot denies, the rest passes`, async () => {
    const program = shop();
    program.policies.push({ name: "bad", wasm: trappingPolicy(5353) });
    program.endpoints[0]!.egress = "bad";
    const bad = program.policies[1] as { wasm: Uint8Array };
    const dataplane = make!(core);
    const { compiler } = await startedGenerated(dataplane, program, bad.wasm);
    const specs: Spec[] = [
      { ...syn(1), flags: "A" }, { ...syn(2), protocol: "udp", port: 53 }, syn(3),
    ];
    expect(send(dataplane, [syn(1)])[0]!.reason).toBe(Reason.Allowed);
    const [once] = send(dataplane, [specs[0]!]);
    const results = send(dataplane, specs);
    // What was carried before the trap is not rewritten a second time.
    expect(results[0]!.bytes).toEqual(once!.bytes);
    expect(results[0]!.bytes).not.toEqual(packet(specs[0]!));
    expect(dataplane.counters().get(Reason.Established)).toBe(2n);
    expect(results.map((each) => each.reason)).toEqual([
      Reason.Established, Reason.PolicyTrapped, Reason.PolicyTrapped,
    ]);
    const traps = dataplane.traps();
    expect(traps).toHaveLength(1);
    expect(compiler.ruleName(traps[0]!.policySlot, 0)).toBe("bad");
    expect(traps[0]!.message).toMatch(/unreachable/);
    expect(dataplane.traps()).toEqual([]);
    expect(send(dataplane, [syn(4)])[0]!.reason).toBe(Reason.PolicyTrapped);
    dataplane.close();
  });

  for (const [name, phase] of [
    ["locks held", Phase.Inserting], ["half published", Phase.Published],
  ] as const) {
    test.skipIf(!make)(`trap-core:${id} in an insert, ${name}`, async () => {
      for (const side of [0, 1] as const) {
        const { dataplane, memory } = await startedWith(make!);
        expect(send(dataplane, [syn(0, side)])[0]!.reason).toBe(Reason.Allowed);
        arm(memory, phase);
        const results = send(dataplane, [syn(0, side), syn(1, side), syn(2, side)]);
        expect(results.map((each) => [each.verdict, each.reason])).toEqual(
          results.map(() => [Verdict.Drop, Reason.CoreTrapped]),
        );
        expect(dataplane.counters().get(Reason.CoreTrapped)).toBe(3n);
        expect(dataplane.traps().map((each) => each.policySlot)).toEqual([0]);
        expect(audit(memory).problems).toEqual([]);
        // The other worker meets no lock; the same flow opens as if nothing had been.
        expect(send(dataplane, [syn(1, side)], 1)[0]!.reason).toBe(Reason.Allowed);
        expect(send(dataplane, [syn(1, side), syn(0, side)])[1]!.reason).toBe(Reason.Established);
        dataplane.close();
      }
    });
  }

  test.skipIf(!make)(`trap-core:${id} in an end: the session is gone, once`, async () => {
    const { dataplane, memory } = await startedWith(make!);
    send(dataplane, [syn(0), syn(1)]);
    arm(memory, Phase.Ending);
    const late = (clock.nowMs + 3_700_000) >>> 0;
    dataplane.age(0, late, 100);
    expect(dataplane.traps().map((each) => each.policySlot)).toEqual([0]);
    for (let round = 0; round < 4; round++) dataplane.age(0, late, 100);
    expect(dataplane.sessions()).toEqual([]);
    expect(audit(memory).problems).toEqual([]);
    expect(dataplane.counters().get(Reason.CoreTrapped)).toBeUndefined();
    expect(send(dataplane, [syn(0)], 1)[0]!.reason).toBe(Reason.Allowed);
    dataplane.close();
  });
});

function arm(memory: Memory, phase: Phase): void {
  memory.view.setUint32(TRAP_AT, phase, true);
}
async function startedWith(make: Make): Promise<{ dataplane: Engine; memory: Memory }> {
  const dataplane = make(trapping.wasm);
  await started(shop(), { ...BUDGETS, sessions4Max: 64, sessions6Max: 64 }, dataplane);
  return { dataplane, memory: dataplane.memory };
}
/** Starts with a module of our own pushed as a generated one. */
async function startedGenerated(
  dataplane: Engine, program: ReturnType<typeof shop>, wasm: Uint8Array,
): ReturnType<typeof started> {
  const push = dataplane.push.bind(dataplane);
  dataplane.push = (made) => push({
    ...made,
    modules: made.modules.map((each) => each.wasm === wasm ? { ...each, kind: "generated" } : each),
  });
  return started(program, BUDGETS, dataplane);
}
