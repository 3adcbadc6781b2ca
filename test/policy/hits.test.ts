// Rule counters: every rule's hits are the times that the slow twin says it decided, at whatever
// stage, staged policies' among them; and staging a policy changes no verdict.
import { expect, test } from "vitest";
import { judge } from "../reference/policy.ts";
import { seedOf } from "../seed.ts";
import { generate } from "./generate.ts";
import { Runner } from "./runner.ts";

const seed = seedOf("POLICY_SEED");
const STATES = 30, PACKETS = 40;

test("policy-hits: every rule counts its decisions, staged policies' rules too", async () => {
  let staged = 0;
  for (let i = 0; i < STATES; i++) {
    const { state, devices, packets } = generate(seed + i, PACKETS);
    const where = `POLICY_SEED=${seed} state ${i}`;
    const runner = new Runner();
    await runner.load(state, devices);
    const wanted = new Map<string, bigint>(), counted = new Map<string, bigint>();
    const add = (to: Map<string, bigint>, name: string, n: bigint): void => {
      if (n > 0n) to.set(name, (to.get(name) ?? 0n) + n);
    };
    const slots = new Set<number>();
    for (const packet of packets) {
      const [result] = runner.raw([packet]);
      for (const { policySlot } of result!.stages ?? []) slots.add(policySlot);
      for (const { by, rule, stage } of judge(state, devices, packet).asked) {
        if (by === "") continue;
        add(wanted, `${by} ${rule}`, 1n);
        if (stage.startsWith("Staged")) staged++;
      }
    }
    for (const slot of slots) {
      runner.dataplane.ruleHits(slot).forEach((hits, index) => {
        const author = runner.author(slot, index);
        if (author) add(counted, `${author.by} ${author.rule}`, hits);
      });
    }
    expect(Object.fromEntries(counted), where).toEqual(Object.fromEntries(wanted));
    // The same node with its staged policies taken away: the same verdicts.
    for (const tiers of [...state.workloads.values()].map((each) => each.tiers)) {
      for (const tier of tiers) {
        for (const side of ["ingress", "egress"] as const) {
          tier[side] = tier[side].filter((key) => !state.policies.get(key)!.staged);
        }
      }
    }
    const bare = new Runner();
    await bare.load(state, devices);
    for (const packet of packets) {
      const [[whole], [without]] = [runner.frame([packet]), bare.frame([packet])];
      expect(without!.reason, where).toBe(whole!.reason);
      expect(without!.verdict, where).toBe(whole!.verdict);
    }
  }
  expect(staged).toBeGreaterThan(STATES);
}, 120_000);
