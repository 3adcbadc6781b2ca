// Control records, damaged: streams of stage records of real pushes with bits flipped, records
// dropped, doubled, moved, cut and stretched. The door refuses by name or takes them; it never
// traps, and neither does the program that then runs on what was taken. A policy module may trap
// where its own bytes were damaged; the core may not. FUZZ_SEED, FUZZ_STREAMS as for packets.
import { expect, test } from "vitest";
import { RecordKind, StageError } from "../../assembly/layout.ts";
import { bindRecords } from "../../host/compile/program.ts";
import { NodeMemory, nodeProgram } from "../../host/compile/node.ts";
import { configureRecord } from "../../host/compile/records.ts";
import type { Push } from "../../host/dataplane/dataplane.ts";
import { concat, moduleRecord, record } from "../../host/dataplane/record.ts";
import type { Budgets, Program } from "../../host/model/program.ts";
import type { NodeDevices, NodeState } from "../../host/model/state.ts";
import { generate, type Packet } from "../policy/generate.ts";
import { Random } from "../policy/random.ts";
import { Runner } from "../policy/runner.ts";
import { seedOf } from "../seed.ts";
import { programOf } from "../sequence/engine.ts";
import { changedSite, randomSite } from "../sequence/site.ts";
import { Traffic } from "../sequence/traffic.ts";

const seed = seedOf("FUZZ_SEED");
const streams = Number(process.env["FUZZ_STREAMS"] ?? 5_000);
/** Streams that one engine takes, each from the same state of it. */
const ENGINE_STREAMS = 100;
/** Small, so that the engine's memory is soon as it was. */
const BUDGETS: Budgets = {
  workers: 1, sessions4Max: 64, sessions6Max: 64, endpointsMax: 64, servicesMax: 64, setsMax: 256,
  classesMax: 512, members4Max: 1024, members6Max: 1024, groupsMax: 256, backendsMax: 1024,
  affinityMax: 64, fragmentsMax: 64,
};
const PAGES = 80;

const GENERATED = 1;
const KINDS = { body: 10, word: 6, drop: 1, double: 1, move: 1, header: 3, cut: 1 };
const DEEP = new Set<number>([
  RecordKind.ClassifierPart, RecordKind.Group, RecordKind.Frontend, RecordKind.GroupRemove,
  RecordKind.FrontendRemove, RecordKind.BackendStates,
]);
const ABANDON = record(RecordKind.Abandon, 0, () => {});

/** Cuts a stream into its records, headers and padding included. */
function recordsOf(stream: Uint8Array): Uint8Array[] {
  const out: Uint8Array[] = [];
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  for (let at = 0; at + 8 <= stream.length;) {
    const bytes = 8 + Math.ceil(view.getUint32(at + 4, true) / 8) * 8;
    out.push(stream.slice(at, at + bytes));
    at += bytes;
  }
  return out;
}

function damaged(random: Random, records: Uint8Array[]): Uint8Array {
  const list = records.map((each) => each.slice());
  for (let i = random.between(1, 3); i > 0; i--) {
    // Bit vectors and Services are the records that are read deepest, and there are few of them.
    const deep = list.flatMap((each, k) => DEEP.has(each[0]!) ? [k] : []);
    const at = deep.length && random.chance(0.35)
      ? random.pick(deep) : random.below(list.length);
    const one = list[at]!;
    switch (random.weighted(KINDS)) {
      case "body":
        if (one.length > 8) one[8 + random.below(one.length - 8)]! ^= 1 << random.below(8);
        break;
      case "word": {
        if (one.length < 16) break;
        const place = 8 + 4 * random.below((one.length - 8) / 4);
        const values = [0, 1, 2, 0xff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff];
        new DataView(one.buffer).setUint32(place, random.pick(values), true);
        break;
      }
      case "drop": list.splice(at, list.length > 1 ? 1 : 0); break;
      case "double": list.splice(random.below(list.length), 0, one.slice()); break;
      case "move": list.splice(random.below(list.length), 0, ...list.splice(at, 1)); break;
      case "header": one[random.below(8)] = random.below(256); break;
      default: list[at] = one.slice(0, 8 * random.below(one.length / 8 + 1)); break;
    }
  }
  return concat(list);
}

/** The records of a push: modules as the engine stages them, the rest, the interfaces. */
function streamOf(push: Push, program: Program): Uint8Array[] {
  const modules = push.modules.map(({ slot, wasm }) => moduleRecord(slot, GENERATED, wasm));
  return [...modules, ...recordsOf(push.records), ...recordsOf(bindRecords(program))];
}

/** What a door opens with, and what then comes; packets of both. */
interface Programs {
  first: Program;
  second: Program;
  state: NodeState;
  devices: NodeDevices;
  packets: Packet[];
}
/** Many policies, and hardly a Service. */
function ofPolicies(seed: number): Programs {
  const one = generate(seed, 48), two = generate(seed + 0x10000, 48);
  return {
    first: nodeProgram(one.state, one.devices), second: nodeProgram(two.state, two.devices),
    state: one.state, devices: one.devices, packets: [...one.packets, ...two.packets],
  };
}
/** Services of all kinds, which have changed a few times in the second. */
function ofServices(seed: number): Programs {
  const random = new Random(seed), memory = new NodeMemory();
  const site = randomSite(random);
  const traffic = new Traffic(random.fork(), site);
  const packets = Array.from({ length: 96 }, () => traffic.next());
  let next = site;
  for (let i = 0; i < 8; i++) next = changedSite(random.fork(), next);
  return {
    first: programOf(site, memory), second: programOf(next, memory), state: site.state,
    devices: site.devices, packets,
  };
}

/** An engine that runs one state, and the records that would bring it another; both intact. */
class Door {
  private readonly running: Uint8Array;
  private readonly empty: Uint8Array;

  private constructor(
    readonly runner: Runner, private readonly packets: Packet[],
    private readonly first: Uint8Array[], private readonly second: Uint8Array[],
  ) {
    this.running = runner.dataplane.memory.bytes.slice();
    this.empty = new Uint8Array(this.running.length);
  }
  static async open({ first, second, state, devices, packets }: Programs): Promise<Door> {
    const runner = new Runner(BUDGETS, PAGES);
    const { dataplane, compiler } = runner;
    const begun = await compiler.compile(first, 1);
    const opening = [configureRecord(BUDGETS), ...streamOf(begun, first)];
    dataplane.push(begun);
    dataplane.stage(bindRecords(first));
    runner.adopt(first, state, devices);
    const next = await compiler.compile(second, 2);
    for (const { slot, wasm } of next.modules) dataplane.install(slot, wasm);
    return new Door(runner, packets, opening, streamOf(next, second));
  }

  /** A damaged stream against the engine as it was before any: what the door said. */
  try(random: Random): StageError {
    const fresh = random.chance(0.15);
    const { dataplane } = this.runner;
    const { core, memory } = dataplane;
    memory.bytes.set(fresh ? this.empty : this.running);
    dataplane.changeOver(fresh ? 0 : 1);
    const error: StageError =
      core.stage(memory.writeStaging(damaged(random, fresh ? this.first : this.second)));
    const published: StageError = error || core.publish(fresh ? 1 : 2);
    if (!published) dataplane.changeOver(fresh ? 1 : 2);
    if (published && random.chance(0.5)) core.stage(memory.writeStaging(ABANDON));
    if (!fresh || !published) this.runner.raw(this.packets);
    return published;
  }
}

test("fuzz-records: damaged records are refused by name or taken, and nothing traps", async () => {
  const met = new Map<string, number>();
  for (let done = 0, round = 0; done < streams; round++) {
    const random = new Random(seed + round);
    const programs = round % 2 ? ofServices(seed + round) : ofPolicies(seed + round);
    const door = await Door.open(programs);
    for (let k = 0; k < ENGINE_STREAMS && done < streams; k++, done++) {
      const where = `FUZZ_SEED=${seed} round ${round} stream ${k}`;
      try {
        const error = door.try(random);
        const name = error ? StageError[error] ?? expect.fail(`${where}: error ${error}`) : "taken";
        met.set(name, (met.get(name) ?? 0) + 1);
      } catch (trap) {
        expect.fail(`${where}: ${(trap as Error).stack}`);
      }
      const own = door.runner.dataplane.traps().filter((trap) => trap.policySlot === 0);
      expect(own, where).toEqual([]);
    }
  }
  const lines = [...met].sort((a, b) => b[1] - a[1]).map(([name, n]) => `${n} ${name}`);
  console.log(`FUZZ_SEED=${seed}: ${lines.join(", ")}`);
  expect(met.get("taken") ?? 0).toBeGreaterThan(streams / 20);
  for (const name of ["FieldOutOfRange", "BadRecordLength", "UnknownRecord", "TruncatedRecord"]) {
    expect([...met.keys()]).toContain(name);
  }
}, 3_600_000);
