// The engines that a replay can use, each behind the same two questions: is it here, and what does
// it make of this program and these packets. All of them run the bytes of build/margay.wasm.
//
//   node     always        native   where build:native made the addon       vpp   where VPP and the
//                                                                             plugin are installed

import { existsSync, readFileSync } from "node:fs";
import { budgetsFor } from "../compile/budgets.ts";
import { Compiler, bindRecords } from "../compile/program.ts";
import { configureRecord } from "../compile/records.ts";
import { addonPath } from "../dataplane/addon.ts";
import { restoreCheckpoint, saveCheckpoint } from "../dataplane/checkpoint.ts";
import { coreFile } from "../dataplane/core.ts";
import type { Dataplane, Push, VppResult } from "../dataplane/dataplane.ts";
import { NativeDataplane } from "../dataplane/native.ts";
import { NodeDataplane } from "../dataplane/node.ts";
import { vppInstall } from "../vpp/install.ts";
import { VppReplay } from "./vpp.ts";
import type { TimedPacket } from "./vpp.ts";
import type { Program } from "../model/program.ts";
import type { EngineName } from "./command.ts";
import { byReason, clocksOf, replay, steps, whole } from "./replay.ts";
import type { Outcome, ReplayInput } from "./replay.ts";

export { coreFile, coreHash } from "../dataplane/core.ts";

const CORE = "build/margay.wasm";
const SESSIONS_MAX = 65_536;

/** A program as every engine is given it: the same bytes. */
export interface CompiledProgram {
  /** Configure, first. */
  configuration: Uint8Array;
  push: Push;
  /** Binds interfaces to endpoints, when those are published. */
  binds: Uint8Array;
  compiler: Compiler;
  program: Program;
}

/** Sessions that were there before the capture, and what is to become of those after it. */
export interface Checkpoints {
  restore?: Uint8Array;
  /** Is the outcome to have the sessions? */
  save: boolean;
}

export async function compileProgram(program: Program): Promise<CompiledProgram> {
  const budgets = budgetsFor([program], { sessions4Max: SESSIONS_MAX, sessions6Max: SESSIONS_MAX });
  const compiler = new Compiler(budgets);
  const push = await compiler.compile(program, 1);
  const configuration = configureRecord(budgets);
  return { configuration, push, binds: bindRecords(program), compiler, program };
}

export interface Engine {
  name: EngineName;
  /** Why it can't be used here, in a sentence; undefined where it can. */
  absent(): string | undefined;
  replay(program: CompiledProgram, input: ReplayInput, checkpoints?: Checkpoints): Promise<Outcome>;
}

export const ENGINES: readonly Engine[] = [
  {
    name: "node",
    absent: () => existsSync(coreFile()) ? undefined : `${CORE} is not built: npm run build`,
    replay: async (program, input, checkpoints) =>
      replayWith(openNode(program), program, input, checkpoints),
  },
  {
    name: "native",
    absent: () => addonPath() === undefined ? "the addon is not built: npm run build:native"
      : undefined,
    replay: async (program, input, checkpoints) => {
      const dataplane = new NativeDataplane(readFileSync(coreFile()));
      try {
        start(dataplane, program);
        return replayWith(dataplane, program, input, checkpoints);
      } finally {
        dataplane.close();
      }
    },
  },
  {
    name: "vpp",
    absent: () => {
      const install = vppInstall();
      return typeof install === "string" ? install : undefined;
    },
    replay: replayInVpp,
  },
];

/** The Node engine with the program published. */
export function openNode(program: CompiledProgram): NodeDataplane {
  const dataplane = new NodeDataplane(readFileSync(coreFile()));
  start(dataplane, program);
  return dataplane;
}

function start(dataplane: Dataplane, { configuration, push, binds }: CompiledProgram): void {
  dataplane.stage(configuration);
  dataplane.push(push);
  dataplane.stage(binds);
}

/** The whole of it, between the sessions of before and those of after. */
function replayWith(
  dataplane: Dataplane, { compiler, program }: CompiledProgram, input: ReplayInput,
  { restore, save }: Checkpoints = { save: false },
): Outcome {
  const [first, last] = clocksOf(input);
  const { endpoints, peers = [] } = program;
  const restored = restore && restoreCheckpoint(dataplane, 0, restore,
    { endpoints, peers, backendId: (backend) => compiler.backendId(backend) }, first);
  const outcome = replay(dataplane, input);
  if (restored) outcome.restored = restored;
  if (!save) return outcome;
  const names = { endpoints, peers, backendAt: (id: number) => compiler.backendAt(id) };
  return { ...outcome, checkpoint: saveCheckpoint(dataplane, names, last) };
}

async function replayInVpp(program: CompiledProgram, input: ReplayInput): Promise<Outcome> {
  const install = vppInstall();
  if (typeof install === "string") throw new Error(install);
  const vpp = await VppReplay.start({ ...install, core: coreFile() });
  try {
    await vpp.stage(program.configuration);
    await vpp.push(program.push);
    await vpp.stage(program.binds);
    const results: VppResult[] = [];
    let waiting: TimedPacket[] = [];
    const run = async () => {
      results.push(...await vpp.process(waiting));
      waiting = [];
    };
    for (const step of steps(input)) {
      if ("age" in step) {
        await run();
        await vpp.age(step.age, step.budget);
      } else {
        // A capture file can't say that a checksum is partial.
        waiting.push(...step.packets.map((packet) => ({ ...whole(packet), clock: step.clock })));
      }
    }
    await run();
    const [counters, sessions] = [await vpp.counters(), await vpp.sessions()];
    return { engine: "vpp", results, counters: byReason(counters), sessions, traps: 0 };
  } finally {
    await vpp.close();
  }
}
