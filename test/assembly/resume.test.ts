// A frame whose fast lane is done and that is run again, because policies trapped: what was carried
// stays carried, is rewritten once and counted once, whatever happens in the later runs.
import { expect, test } from "vitest";
import { Phase, Reason, Verdict } from "../../assembly/layout.ts";
import type { Packet } from "../../host/dataplane/dataplane.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { packet, type Spec } from "../packets.ts";
import { BUDGETS, CLIENT, core, shop, started, STRANGER, VIP4 } from "../shop.ts";
import { policyModule, TRAP_AT, trappingCore } from "../trapping.ts";

const clock = { nowMs: 3_000_000, nowSeconds: 1_700_000_000 };
const at = (from: number, spec: Spec): Packet => ({ interface: from, bytes: packet(spec) });
const reasons = (dataplane: NodeDataplane, frame: Packet[]): string[] =>
  dataplane.process(0, frame, clock).map((each) => Reason[each.reason]!);

const traps = (local: number, value: number): Uint8Array => policyModule(`
  (if (i32.eq (local.get ${local}) (i32.const ${value})) (then (unreachable)))
  (i32.const 1)`, "", "evaluate/1");
/** Ingress traps at source port 666, the client's egress at destination port 5353. */
async function fragile(wasm: Uint8Array): Promise<NodeDataplane> {
  const fallible = shop();
  fallible.policies = [{ name: "web", wasm: traps(6, 666) }, { name: "out", wasm: traps(7, 5353) }];
  fallible.endpoints[0]!.egress = "out";
  const dataplane = new NodeDataplane(wasm, { workers: 2 });
  await started(fallible, BUDGETS, dataplane);
  return dataplane;
}
const open: Spec = { from: "10.0.0.1", to: VIP4, port: 80 };
const carried = at(CLIENT, { ...open, flags: "A" });
const trapsOut = at(CLIENT, { ...open, protocol: "udp", port: 53 });
const guest = (sourcePort: number): Packet =>
  at(STRANGER, { ...open, from: "10.0.0.9", sourcePort });

test("a frame run three times for two policies that trap counts and rewrites once", async () => {
  const dataplane = await fragile(core);
  expect(reasons(dataplane, [at(CLIENT, open)])).toEqual(["Allowed"]);
  const [once] = dataplane.process(0, [carried], clock);
  const results = dataplane.process(0, [trapsOut, carried, guest(666), carried], clock);
  expect(dataplane.traps()).toHaveLength(2);
  expect(results.map((each) => Reason[each.reason])).toEqual([
    "PolicyTrapped", "Established", "PolicyTrapped", "Established",
  ]);
  for (const i of [1, 3]) expect(results[i]!.bytes).toEqual(once!.bytes);
  expect(dataplane.counters()).toEqual(new Map([
    [Reason.Established, 3n], [Reason.Allowed, 1n], [Reason.PolicyTrapped, 2n],
  ]));
  expect(reasons(dataplane, [carried, carried])).toEqual(["Established", "Established"]);
});

test("a core that traps in the second run drops the frame, counted once", async () => {
  const dataplane = await fragile(trappingCore().wasm);
  expect(reasons(dataplane, [at(CLIENT, open)])).toEqual(["Allowed"]);
  dataplane.memory.view.setUint32(TRAP_AT, Phase.Inserting, true);
  const results = dataplane.process(0, [carried, trapsOut, guest(1)], clock);
  expect(dataplane.traps().map((each) => each.policySlot > 0)).toEqual([true, false]);
  expect(results.map((each) => [each.verdict, each.reason])).toEqual(
    results.map(() => [Verdict.Drop, Reason.CoreTrapped]),
  );
  expect(reasons(dataplane, [carried, carried, guest(1), guest(1)])).toEqual([
    "Established", "Established", "Allowed", "Established",
  ]);
  expect(dataplane.counters()).toEqual(new Map([
    [Reason.Established, 3n], [Reason.Allowed, 2n], [Reason.CoreTrapped, 3n],
  ]));
});
