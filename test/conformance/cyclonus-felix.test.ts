// cyclonus' cases as Felix's stream: every probe a packet through process(), against cyclonus' own
// matcher. As they are, re-addressed into fd00::/64, and as dual stack.
//
//   messages ─► FelixMirror ─► state ─► Cluster of one node ─► a packet a probe ─► table
//
//   egress, ingress: that side's policies alone;  combined: both, as on a real path
//
// Cases: ../shared/conformance/cyclonus (its README tells the format); where that folder is not
// there, this says so.
import { existsSync, readFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { Cluster } from "../../host/cluster/cluster.ts";
import type { Flow, FlowEnd } from "../../host/cluster/types.ts";
import { FelixMirror, FrameReader } from "../../host/input/felix.ts";
import { messageFromJson } from "../../host/input/felixframe.ts";
import { protocolNumber } from "../../host/model/rule.ts";
import type { Protocol } from "../../host/model/rule.ts";
import type { NodeDevices } from "../../host/model/state.ts";
import { dual, v6, v6Address } from "./readdress.ts";

const folder = "../shared/conformance/cyclonus";
const there = existsSync(`${folder}/cyclonus-felix-v4.jsonl`);
if (!there) console.log(`cyclonus-felix: skipped, there is no ${folder}`);

const SIDES = ["egress", "ingress", "combined"] as const;
type Tables = Record<(typeof SIDES)[number], string[]>;
interface Step {
  messages: object[];
  binRange: [number, number];
  pods: { namespace: string; name: string; ip: string }[];
  podOrder: string[];
  /** By "TCP/80". */
  expect: Record<string, Tables>;
}
interface Case { id: number; description: string; steps: Step[] }

const cases: Case[] = there ? readFileSync(`${folder}/cyclonus-felix-v4.jsonl`, "utf8").trim()
  .split("\n").map((line) => JSON.parse(line)) : [];
const bytes = there ? readFileSync(`${folder}/cyclonus-felix-v4.bin`) : Buffer.alloc(0);
const devices: NodeDevices = {
  uplinks: [{ name: "eth0", addresses: [], routes: ["0.0.0.0/0", "::/0"] }],
};
/** Letters that ask for a packet; the others say that nothing serves there. */
const VERDICTS: Record<string, string> = { ".": "allow", X: "deny" };

interface Probe { flow: Flow; what: string; side: (typeof SIDES)[number]; shall: string }

function probes(step: Step, address: (ip: string) => string): Probe[] {
  const end = (name: string): FlowEnd => {
    const pod = step.pods.find((one) => `${one.namespace}/${one.name}` === name)!;
    const at = address(pod.ip);
    return { kind: "pod", address: at, pod: {
      namespace: pod.namespace, name: pod.name, labels: {}, annotations: {}, serviceAccount: "",
      node: "node1", addresses: [at], hostNetwork: false, ready: true, ports: [],
    } };
  };
  const ends = step.podOrder.map(end);
  return Object.entries(step.expect).flatMap(([where, tables]) => {
    const [name, port] = where.split("/") as [string, string];
    const protocol = protocolNumber(name.toLowerCase() as Protocol);
    const cells = (side: (typeof SIDES)[number]): [number, number, string][] =>
      tables[side].flatMap((row, i) => [...row].map((letter, j) => [i, j, letter]));
    return SIDES.flatMap((side) => cells(side).flatMap(([i, j, letter]) => {
      const shall = VERDICTS[letter];
      if (shall === undefined) return [];
      const flow: Flow = { from: ends[i]!, to: ends[j]!, protocol, port: Number(port) };
      if (side !== "combined") flow.side = side;
      const what = `${step.podOrder[i]} -> ${step.podOrder[j]}:${where}`;
      return [{ flow, side, shall, what }];
    }));
  });
}

describe.skipIf(!there)("cyclonus, by Felix's stream", () => {
  const lines: string[] = [];

  /** All probes of all cases; `form` re-addresses messages, `address` the packets. */
  async function run(
    title: string, form: (message: object) => object, addresses: ((ip: string) => string)[],
  ): Promise<void> {
    const wrong: string[] = [];
    const counts = { egress: [0, 0], ingress: [0, 0], combined: [0, 0] };
    let cluster: Cluster | undefined;
    for (const { id, description, steps } of cases) {
      const mirror = new FelixMirror();
      for (const [index, step] of steps.entries()) {
        for (const message of step.messages) mirror.apply(messageFromJson(form(message)));
        const state = mirror.state();
        if (cluster) await cluster.applyState("node1", state, devices);
        else cluster = await Cluster.fromState(state, devices, { node: "node1", sides: true });
        for (const address of addresses) {
          const all = probes(step, address);
          const results = cluster.run(all.map(({ flow }) => flow));
          results.forEach(({ verdict, reason }, i) => {
            const { side, shall, what } = all[i]!;
            const count = counts[side];
            count[1]!++;
            if (verdict === shall) count[0]!++;
            else wrong.push(`case ${id} (${description}) step ${index} ${side} ${what}: `
              + `${verdict} (${reason}), not ${shall}`);
          });
        }
      }
    }
    cluster?.close();
    const [right, all] = counts.combined as [number, number];
    lines.push(`${title} ${right}/${all} (egress ${counts.egress.join("/")}, `
      + `ingress ${counts.ingress.join("/")})`);
    expect(wrong.slice(0, 10)).toEqual([]);
    expect(all).toBeGreaterThan(0);
  }

  test("felix-cyclonus-messages: framed and JSON messages are the same", () => {
    let messages = 0;
    for (const { binRange: [from, to], messages: wanted } of cases.flatMap(({ steps }) => steps)) {
      let at = 0;
      const reader = new FrameReader((message) =>
        expect(message).toEqual(messageFromJson(wanted[at++])));
      reader.push(bytes.subarray(from, to));
      reader.end();
      expect(at).toBe(wanted.length);
      messages += at;
    }
    expect(messages).toBeGreaterThan(0);
  });

  test("felix-cyclonus: every probe is judged as cyclonus judges it", async () => {
    await run("cyclonus-felix", (message) => message, [(ip) => ip]);
  }, 300_000);

  test("felix-cyclonus-v6: the same in fd00::/64", async () => {
    await run("cyclonus-felix-v6", v6, [v6Address]);
  }, 300_000);

  test("felix-cyclonus-dual: and with both families at once", async () => {
    await run("cyclonus-felix-dual", dual, [(ip) => ip, v6Address]);
  }, 600_000);

  afterAll(() => console.log(lines.join("\n")));
});
