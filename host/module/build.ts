// A policy that a user wrote in AssemblyScript, to a module that the program's door admits.
//
//   office-hours.ts ─ asc ─► Wasm ─ binaryen: custom section "margay.abi" = "evaluate/1" ─► .wasm
//                                                              core.stage() ─► admitted, or why not
//
// asc runs with what the ABI asks for: no runtime, no memory of its own, no abort. The door is the
// core's, in the Node engine: what it says here, every engine says.
//
// Limits: one entry file (it may import others); asc is needed, and said so where it is missing.
// Source: DESIGN of the ABI in docs/user-policies.md; AssemblyScript's compiler options.
import { readFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { SlotState, type StageError } from "../../assembly/layout.ts";
import { ABI_SECTION, ABI_USER } from "../compile/policy.ts";
import { configureRecord } from "../compile/records.ts";
import { PushRefused } from "../dataplane/dataplane.ts";
import { NodeDataplane } from "../dataplane/node.ts";
import { moduleRecord } from "../dataplane/record.ts";
import { kebab } from "../model/names.ts";

const OPTIONS = [
  "--runtime", "stub", "--use", "abort=", "--noAssert", "--noExportMemory",
  "--initialMemory", "0", "--optimizeLevel", "3",
];
/** A file that isn't there: asc would else take an asconfig.json beside the source. */
const NO_CONFIG = "no-asconfig.json";
const MEMORY_PAGES = 128;
const BUDGETS = {
  workers: 1, sessions4Max: 64, sessions6Max: 64, endpointsMax: 1, servicesMax: 1,
};

/** The source can't be compiled; the message is asc's own. */
export class SourceError extends Error {}

/** Compiles an AssemblyScript file and names the ABI in it. */
export async function buildModule(source: string): Promise<Uint8Array> {
  const file = resolve(source);
  readFileSync(file);
  const { default: asc } = await loadCompiler();
  let wasm: Uint8Array | undefined;
  const { error, stderr } = await asc.main(
    [basename(file), "--baseDir", dirname(file), "--config", NO_CONFIG,
      "--outFile", "module.wasm", ...OPTIONS],
    {
      writeFile: (_name: string, contents: Uint8Array | string) => {
        if (typeof contents !== "string") wasm = contents;
      },
    },
  );
  if (error !== null || wasm === undefined) {
    throw new SourceError(stderr.toString().trim() || String(error));
  }
  return nameAbi(wasm);
}

async function loadCompiler(): Promise<typeof import("assemblyscript/asc")> {
  try {
    return await import("assemblyscript/asc");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw cause;
    throw new SourceError("AssemblyScript is not installed: npm install --save-dev assemblyscript");
  }
}

/** Adds the custom section that names the ABI, and drops what nothing uses. */
export async function nameAbi(wasm: Uint8Array, abi: string = ABI_USER): Promise<Uint8Array> {
  const { default: binaryen } = await import("binaryen");
  const module = binaryen.readBinary(wasm);
  try {
    module.addCustomSection(ABI_SECTION, new TextEncoder().encode(abi));
    return module.emitBinary();
  } finally {
    module.dispose();
  }
}

/** What the door says of a module. */
export type Answer = { admitted: true } | {
  admitted: false;
  /** A StageError's text, "module-loop". */
  reason: string;
  /** Byte of the module that it is about. */
  at: number;
  /** What to do about it; "" where the reason says all. */
  advice: string;
};

const ADVICE: Partial<Record<keyof typeof StageError, string>> = {
  ModuleLoop: "a policy has to end: unroll it, or ask member() of a set",
  ModuleRecursion: "a policy has to end: no function may call itself, nor through another",
  ModuleIndirectCall: "no call through a table: an interface, or a function held in a variable",
  ModuleForeignImport: "the one import is margay.member(packet, set, side)",
  ModuleNoAbiVersion: `the custom section ${ABI_SECTION} is missing: build it by margay module`,
  ModuleWrongAbiVersion: `this core knows the ABI ${ABI_USER}`,
  ModuleNoEvaluate: "export evaluate with the ten parameters of the ABI",
  ModuleForbiddenSection: "no data, no table, no mutable global, no memory of its own: " +
    "an array, a string or a top-level let makes one",
  ModuleForbiddenInstruction: "no memory: a class, an array or a string makes use of it",
  ModuleBulkMemory: "no memory: a class, an array or a string makes use of it",
};
const ADVICE_BY_REASON = new Map(
  Object.entries(ADVICE).map(([name, advice]) => [kebab(name), advice]));

export function askDoor(wasm: Uint8Array, core: Uint8Array): Answer {
  const dataplane = new NodeDataplane(core, { memoryPages: MEMORY_PAGES });
  try {
    dataplane.stage(configureRecord(BUDGETS));
    dataplane.stage(moduleRecord(1, SlotState.User, wasm));
    return { admitted: true };
  } catch (cause) {
    if (!(cause instanceof PushRefused)) throw cause;
    const { reason, detail: at } = cause;
    return { admitted: false, reason, at, advice: ADVICE_BY_REASON.get(reason) ?? "" };
  } finally {
    dataplane.close();
  }
}
