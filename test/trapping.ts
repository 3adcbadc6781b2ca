// A test-only copy of the core that traps on demand: behind every store of a journal phase (where
// the locks are held) binaryen puts
//
//   if (load<u32>(16) == that phase) { store<u32>(16, 0); unreachable() }
//
// so a host arms a trap by writing the phase to address 16, in the page that nothing else uses.
import binaryen from "binaryen";
import { readFileSync } from "node:fs";
import { Phase } from "../assembly/layout.ts";

export const TRAP_AT = 16;
const BULK = binaryen.Features.BulkMemory | binaryen.Features.BulkMemoryOpt;

/** The core's bytes with the traps in, and how many places have one. */
export function trappingCore(path = "build/margay.wat"): { wasm: Uint8Array; places: number } {
  const phases = new Set([Phase.Inserting, Phase.Published, Phase.Ending].map(String));
  const lines = readFileSync(path, "utf8").split("\n");
  const out: string[] = [];
  let places = 0;
  lines.forEach((line, i) => {
    out.push(line);
    if (!/^\s*i32\.store offset=16\b/.test(line)) return;
    const phase = /^\s*i32\.const (\d+)/.exec(lines[i - 1] ?? "")?.[1];
    if (phase === undefined || !phases.has(phase)) return;
    places++;
    out.push(
      `i32.const ${TRAP_AT}`, "i32.load", `i32.const ${phase}`, "i32.eq", "if",
      `i32.const ${TRAP_AT}`, "i32.const 0", "i32.store", "unreachable", "end",
    );
  });
  const module = binaryen.parseText(out.join("\n"));
  try {
    module.setFeatures(
      binaryen.Features.SIMD128 | binaryen.Features.Atomics | BULK | binaryen.Features.SignExt |
        binaryen.Features.MutableGlobals,
    );
    if (!module.validate()) throw new Error("the trapping core does not validate");
    return { wasm: module.emitBinary(), places };
  } finally {
    module.dispose();
  }
}

/** A policy module, in the ABI, that traps where the destination port is `port` and else allows. */
export function trappingPolicy(port: number): Uint8Array {
  return policyModule(`
    (if (i32.eq (local.get 7) (i32.const ${port})) (then (unreachable)))
    (i32.const 1)`);
}

/** A policy module with a body of one's own. */
export function policyModule(body: string, more = "", abi = "policy/1"): Uint8Array {
  const module = binaryen.parseText(`(module ${more}
    (func $evaluate (export "evaluate")
      (param i32 i32 i64 i64 i64 i64 i32 i32 i32 i32) (result i32) ${body}))`);
  try {
    module.setFeatures(binaryen.Features.MVP | BULK | binaryen.Features.Atomics);
    if (abi !== "") module.addCustomSection("margay.abi", new TextEncoder().encode(abi));
    return module.emitBinary();
  } finally {
    module.dispose();
  }
}
