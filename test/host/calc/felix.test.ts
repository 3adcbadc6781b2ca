// The same clusters twice: as manifests through calculate(), and as Felix told them of itself.
// Both must come to one state: policies, rules, tiers, profiles, endpoints, sets and their ids.
// Source: ../shared/conformance/cyclonus (230 cases, all on node1); absent: it says so.
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { calculate } from "../../../host/calc/calculate.ts";
import { FelixMirror } from "../../../host/input/felix.ts";
import { messageFromJson } from "../../../host/input/felixframe.ts";
import type { Rule } from "../../../host/model/rule.ts";
import type { Finding, PodObject, Snapshot } from "../../../host/model/snapshot.ts";
import type { NodeState } from "../../../host/model/state.ts";
import { manifest, snapshot } from "./snapshots.ts";

const FOLDER = "../shared/conformance/cyclonus";

interface Step {
  namespaces: Record<string, Record<string, string>>;
  pods: {
    namespace: string; name: string; labels: Record<string, string>; ip: string;
    ports: PodObject["ports"]; hostNetwork?: boolean;
  }[];
  policies: Record<string, unknown>[];
}
interface Case<S> {
  id: number;
  description: string;
  steps: S[];
}

const present = existsSync(`${FOLDER}/cyclonus-v4.jsonl`);
if (!present) console.log(`calc beside Felix: ${FOLDER} is absent, its cases are not compared`);

function read<S>(name: string): Case<S>[] {
  return readFileSync(`${FOLDER}/${name}`, "utf8").split("\n").filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Case<S>);
}

function snapshotOf({ namespaces, pods, policies }: Step): Snapshot {
  return snapshot({
    namespaces,
    pods: pods.map(({ ip, ...pod }): PodObject => ({
      hostNetwork: false, ...pod, annotations: {}, serviceAccount: "default", node: "node1",
      addresses: [ip], ready: true,
    })),
    objects: policies.map((policy) => manifest(policy)),
  });
}

/** What both can say: no places of authors, maps and members in order. */
function comparable(state: NodeState): unknown {
  const bare = (rules: Rule[]): unknown[] => rules.map(({ origin: _, ...rule }) => rule);
  const sorted = <V>(map: Map<string, V>): [string, V][] => {
    return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  };
  return {
    sets: sorted(state.sets).map(([id, { type, members }]) => [id, type, [...members].sort()]),
    policies: sorted(state.policies).map(([key, { origin: _, ...policy }]) => [
      key, { ...policy, inbound: bare(policy.inbound), outbound: bare(policy.outbound) },
    ]),
    profiles: sorted(state.profiles).map(([name, { inbound, outbound }]) => [
      name, bare(inbound), bare(outbound),
    ]),
    workloads: sorted(state.workloads),
    hostEndpoints: sorted(state.hostEndpoints),
  };
}

describe.skipIf(!present)("calc-felix: cyclonus' cases as manifests and as Felix told them", () => {
  test("every step of every case comes to the same state", () => {
    const cases = read<Step>("cyclonus-v4.jsonl");
    const told = new Map(read<{ messages: unknown[] }>("cyclonus-felix-v4.jsonl")
      .map((each) => [each.id, each]));
    const totals = { steps: 0, policies: 0, rules: 0, sets: 0, members: 0 };
    for (const { id, description, steps } of cases) {
      const mirror = new FelixMirror();
      steps.forEach((step, i) => {
        for (const message of told.get(id)!.steps[i]!.messages) {
          mirror.apply(messageFromJson(message));
        }
        const findings: Finding[] = [];
        const state = calculate(snapshotOf(step), "node1", { findings });
        expect(comparable(state), `${id} ${description}, step ${i}`)
          .toEqual(comparable(mirror.state()));
        expect(findings.filter(({ severity }) => severity === "error")).toEqual([]);
        totals.steps++;
        totals.policies += state.policies.size;
        totals.sets += state.sets.size;
        for (const { inbound, outbound } of state.policies.values()) {
          totals.rules += inbound.length + outbound.length;
        }
        for (const { members } of state.sets.values()) totals.members += members.size;
      });
    }
    expect(cases.length).toBe(told.size);
    expect(totals.rules).toBeGreaterThan(cases.length);
    const { steps, policies, rules, sets, members } = totals;
    console.log(`calc beside Felix ${cases.length}/${told.size} cases, ${steps} steps: ` +
      `${policies} policies, ${rules} rules, ${sets} sets, ${members} members equal`);
  }, 60_000);
});
