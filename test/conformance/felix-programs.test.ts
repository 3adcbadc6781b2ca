// The states of Felix's own calculation-graph tests as programs in one living engine, state after
// state: packets among all that a state names, judged by process() and by the slow twin.
//
//   messages ─► FelixMirror ─► state ─┬─► program ─► process() ─┐
//                                     └─► reference/policy.ts ──┴─ same verdict, same reason?
//
// Cases: ../shared/conformance/calc-states; where that folder is not there, this says so.
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { devicesOfState } from "../../host/cluster/mirror.ts";
import { buildPacket } from "../../host/cluster/packet.ts";
import { FelixMirror } from "../../host/input/felix.ts";
import { messageFromJson } from "../../host/input/felixframe.ts";
import { familyOf } from "../../host/model/address.ts";
import type { NodeState } from "../../host/model/state.ts";
import type { Packet } from "../policy/generate.ts";
import { Runner } from "../policy/runner.ts";
import { HOST, judge } from "../reference/policy.ts";

const file = "../shared/conformance/calc-states/calc-states.jsonl";
const there = existsSync(file);
if (!there) console.log(`felix-programs: skipped, there is no ${file}`);

interface Case { id: number; description: string; steps: { messages: object[] }[] }
const NODE = "localhostname";
/** Protocol and port that some rule, named port or failsafe of these cases asks for, or none. */
const PORTS: readonly (readonly [number, number])[] =
  [[6, 80], [6, 8080], [6, 1234], [6, 22], [17, 9091], [17, 53], [132, 1100], [6, 7]];
const OUTSIDE = ["10.0.0.3", "192.0.2.1", "fc00:fe11::3", "2001:db8::1"];

/**
 * From every interface to every address, by ports in turn. An address that two workloads bear
 * belongs to one of them, and which is not told: it is left out.
 */
function packets(state: NodeState, uplink: string, host: string[], turn: number): Packet[] {
  const workloads = [...state.workloads.values()];
  const isShared = (address: string): boolean =>
    workloads.filter(({ addresses }) => addresses.includes(address)).length > 1;
  const ends = [
    ...workloads.flatMap((one) => one.addresses.filter((address) => !isShared(address))
      .map((address) => ({ interface: one.interface, address }))),
    ...OUTSIDE.filter((address) => !isShared(address))
      .map((address) => ({ interface: uplink, address })),
    ...host.map((address) => ({ interface: HOST, address })),
  ];
  let count = turn;
  return ends.flatMap((from) => ends.flatMap((to): Packet[] => {
    if (from.interface === to.interface || familyOf(from.address) !== familyOf(to.address)) {
      return [];
    }
    const [protocol, port] = PORTS[count++ % PORTS.length]!;
    const bytes = buildPacket({
      source: from.address, destination: to.address, protocol, port, sourcePort: 20_000 + count,
    });
    return [{ interface: from.interface, bytes } as Packet];
  }));
}

describe.skipIf(!there)("Felix's states as programs", () => {
  test("felix-programs: every state is taken, and judges as the slow twin does", async () => {
    const runner = new Runner();
    const cases = readFileSync(file, "utf8").trim().split("\n")
      .map((line) => JSON.parse(line) as Case);
    const wrong: string[] = [];
    const verdicts = { pass: 0, drop: 0 };
    let states = 0;
    for (const { id, description, steps } of cases) {
      const mirror = new FelixMirror();
      for (const [index, { messages }] of steps.entries()) {
        for (const message of messages) mirror.apply(messageFromJson(message));
        const state = mirror.state(), devices = devicesOfState(state, NODE);
        await runner.load(state, devices);
        const all = packets(state, devices.uplinks[0]!.name, state.hosts.get(NODE) ?? [], states++);
        const is = all.length ? runner.frame(all) : [];
        all.forEach((packet, i) => {
          const { verdict, reason } = judge(state, devices, packet);
          verdicts[verdict]++;
          if (is[i]!.verdict === verdict && is[i]!.reason === reason) return;
          wrong.push(`case ${id} (${description}) step ${index}, packet ${i} at `
            + `${packet.interface}: ${is[i]!.reason}, not ${reason}`);
        });
      }
    }
    console.log(`felix-programs ${states} states, ${verdicts.pass} packets pass, `
      + `${verdicts.drop} drop, ${wrong.length} differ`);
    expect(wrong.slice(0, 10)).toEqual([]);
    expect(Math.min(verdicts.pass, verdicts.drop)).toBeGreaterThan(0);
  }, 300_000);
});
