// The engines that a replay can use, each behind the same two questions: is it here, and what does
// it make of this program and these packets. All of them run the bytes of build/margay.wasm.
//
//   node     always        native   where build:native made the addon       vpp   where VPP and the
//                                                                             plugin are installed

import { existsSync, readFileSync } from "node:fs";
import { Compiler, bindRecords } from "../compile/program.ts";
import { configureRecord } from "../compile/records.ts";
import { addonPath } from "../dataplane/addon.ts";
import { coreFile } from "../dataplane/core.ts";
import type { Dataplane, Push, VppResult } from "../dataplane/dataplane.ts";
import { NativeDataplane } from "../dataplane/native.ts";
import { NodeDataplane } from "../dataplane/node.ts";
import { vppInstall } from "../vpp/install.ts";
import { VppReplay } from "./vpp.ts";
import type { TimedPacket } from "./vpp.ts";
import type { Budgets, Program } from "../model/program.ts";
import type { EngineName } from "./command.ts";
import { byReason, replay, steps } from "./replay.ts";
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
}

export async function compileProgram(program: Program): Promise<CompiledProgram> {
  const sets = program.sets ?? [];
  const members = sets.reduce((sum, { members }) => sum + [...members].length, 0);
  const budgets: Budgets = {
    workers: 1, sessions4Max: SESSIONS_MAX, sessions6Max: SESSIONS_MAX,
    endpointsMax: Math.max(1, program.endpoints.length),
    servicesMax: Math.max(1, program.services.length),
    setsMax: Math.max(64, sets.length), classesMax: Math.max(64, 2 * members),
    members4Max: Math.max(256, 2 * members), members6Max: Math.max(256, 2 * members),
  };
  const compiler = new Compiler();
  const push = await compiler.compile(program, 1);
  return { configuration: configureRecord(budgets), push, binds: bindRecords(program), compiler };
}

export interface Engine {
  name: EngineName;
  /** Why it can't be used here, in a sentence; undefined where it can. */
  absent(): string | undefined;
  replay(program: CompiledProgram, input: ReplayInput): Promise<Outcome>;
}

export const ENGINES: readonly Engine[] = [
  {
    name: "node",
    absent: () => existsSync(coreFile()) ? undefined : `${CORE} is not built: npm run build`,
    replay: async (program, input) => replay(openNode(program), input),
  },
  {
    name: "native",
    absent: () => addonPath() === undefined ? "the addon is not built: npm run build:native"
      : undefined,
    replay: async (program, input) => {
      const dataplane = new NativeDataplane(readFileSync(coreFile()));
      try {
        start(dataplane, program);
        return replay(dataplane, input);
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
        waiting.push(...step.packets.map((packet) => ({ ...packet, clock: step.clock })));
      }
    }
    await run();
    const [counters, sessions] = [await vpp.counters(), await vpp.sessions()];
    return { engine: "vpp", results, counters: byReason(counters), sessions, traps: 0 };
  } finally {
    await vpp.close();
  }
}
