// A program into the dataplane in VPP: the first one, with a core and its budgets, and those that
// follow, as small as they can be told.
//
//   open     core, Configure, everything          ─► InForce { compiler, budgets, generation }
//   advance  nothing │ Services, members in place │ a generation of what is new
//
// Budgets are for a core's life: a program that outgrows them is Outgrown, and the caller opens
// another core beside. A refused generation is compiled again, under the same number, by the next.
import { readFileSync } from "node:fs";
import { budgetsFor, fitsBudgets } from "../compile/budgets.ts";
import { memoryPagesFor } from "../compile/pages.ts";
import { Compiler } from "../compile/program.ts";
import { configureRecord } from "../compile/records.ts";
import { coreFile } from "../dataplane/core.ts";
import { PushRefused } from "../dataplane/dataplane.ts";
import type { Budgets, Program } from "../model/program.ts";
import { changeOf, type InPlace } from "./change.ts";
import { counted } from "./log.ts";
import type { Plugin } from "./plugin.ts";

const PAGES_MOST = 65_536;

export interface InForce {
  compiler: Compiler;
  budgets: Budgets;
  generation: number;
  program: Program;
  /** A change in place was refused: what the compiler takes for told was not. */
  isTorn?: boolean;
  /** A generation was refused: the next brings all of it again. */
  isRefused?: boolean;
}

export interface OpenOptions {
  workers: number;
  sessions: { ipv4: number; ipv6: number };
  pages: number | undefined;
  hugePages: boolean;
  beside: boolean;
}

/** The program no longer fits the core's budgets or memory, or what it was told is uncertain. */
export class Outgrown extends Error {}

/** Throws PushRefused; what was opened beside is given up then. */
export async function openProgram(
  plugin: Plugin, program: Program, options: OpenOptions,
): Promise<InForce> {
  const { workers, sessions } = options;
  const budgets = budgetsFor([program],
    { workers, sessions4Max: sessions.ipv4, sessions6Max: sessions.ipv6 });
  const core = readFileSync(coreFile());
  let { beside } = options;
  let pages = options.pages ?? memoryPagesFor([program], budgets);
  for (;; pages *= 2) {
    const compiler = new Compiler(budgets);
    try {
      await plugin.open(core, { pages, workers, hugePages: options.hugePages, beside });
      await plugin.stage(configureRecord(budgets));
      await plugin.push(await compiler.compile(program, 1));
      if (beside !== options.beside) await plugin.swap();
      return { compiler, budgets, generation: 1, program };
    } catch (error) {
      if (beside) await plugin.discard().catch(() => {});
      const more = error instanceof PushRefused && /arena-full|memory-too/.test(error.reason);
      if (!more || options.pages !== undefined || pages * 2 > PAGES_MOST) throw error;
      // A core is loaded now; another one takes its place.
      beside = true;
    }
  }
}

/** Throws PushRefused: the program before runs on; Outgrown: another core is needed. */
export async function advance(
  plugin: Plugin, inForce: InForce, program: Program,
): Promise<string | undefined> {
  if (inForce.isTorn) throw new Outgrown("a change before was refused half-way");
  const change = inForce.isRefused ? "generation" : changeOf(inForce.program, program);
  if (change === "nothing") {
    inForce.program = program;
    return undefined;
  }
  if (!fitsBudgets(program, inForce.budgets)) throw new Outgrown("the program outgrew its budgets");
  try {
    const text = change === "generation" ? await generation(plugin, inForce, program)
      : await inPlace(plugin, inForce, change);
    inForce.program = program;
    return text;
  } catch (error) {
    if (isFull(error)) throw new Outgrown((error as Error).message);
    throw error;
  }
}

async function generation(plugin: Plugin, inForce: InForce, program: Program): Promise<string> {
  inForce.isRefused = true;
  const push = await inForce.compiler.compile(program, inForce.generation + 1);
  await plugin.push(push);
  inForce.generation++;
  inForce.isRefused = false;
  const modules = push.modules.length;
  return `generation ${push.generation}: ${counted(modules, "new module")}, ` +
    `${push.records.length} bytes of records`;
}

async function inPlace(
  plugin: Plugin, inForce: InForce, { services, sets }: InPlace,
): Promise<string> {
  const { compiler } = inForce;
  inForce.isTorn = true;
  for (const { id, added, removed } of sets) {
    await plugin.stage(compiler.applyDelta(id, added, removed));
  }
  if (services.size > 0) await plugin.stage(compiler.applyServices(services));
  inForce.isTorn = false;
  const came = sets.reduce((sum, { added }) => sum + added.length, 0);
  const went = sets.reduce((sum, { removed }) => sum + removed.length, 0);
  const parts = [
    ...(services.size > 0 ? [counted(services.size, "Service port")] : []),
    ...(sets.length > 0 ? [`${counted(sets.length, "set")} (${came} came, ${went} went)`] : []),
  ];
  return `in place: ${parts.join(", ")}`;
}

/** The core's tables, or the compiler's numbers, which rest for some generations, are used up. */
function isFull(error: unknown): boolean {
  if (error instanceof PushRefused) {
    return /full|too-small|field-out-of-range/.test(error.reason);
  }
  return /^more than \d+ (sets|different policies|groups|backends)/.test((error as Error).message);
}
