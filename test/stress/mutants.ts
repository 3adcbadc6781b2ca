// Test-only copies of the packet program with one rule of the session protocol broken, patched into
// the compiled module: the stress must see each within seconds.
import binaryen from "binaryen";

const F = binaryen.Features;
const FEATURES = F.Atomics | F.BulkMemory | F.BulkMemoryOpt | F.MutableGlobals | F.SignExt |
  F.SIMD128;

/** An exchange whose value is (word + 1) | 1 or (word | 1) + 1; what it changes is group 1. */
const EPOCH = new RegExp(
  /(i32\.atomic\.rmw\.xchg\s+\((?:[^()]|\([^()]*\))*\)\s+)/.source +
  /\(i32\.(?:or|add)\s+\(i32\.(?:add|or)\s+\(i32\.load\s+\([^()]*\)\s+\)\s+/.source +
  /\(i32\.const 1\)\s+\)\s+\(i32\.const 1\)\s+\)/.source,
  "g",
);

/** Epochs never move: every worker looks quiescent at any time, so records are reused at once. */
export function withoutEpochs(core: Uint8Array): Uint8Array {
  // enter() and leave() are the only exchanges for a word that follows from what was there.
  return patch(core, EPOCH, "$1(i32.const 0)", 4);
}

/** Locks do not lock: the exchange succeeds whoever holds the bucket. */
export function withoutLocks(core: Uint8Array): Uint8Array {
  return patch(core, /\(i32\.atomic\.rmw\.cmpxchg offset=12\b/g,
    "(call $unlocked", 2, `(func $unlocked (param i32 i32 i32) (result i32) (i32.const 0))`);
}

function patch(
  core: Uint8Array, what: RegExp, by: string, timesMin: number, added = "",
): Uint8Array {
  const original = binaryen.readBinary(core);
  original.setFeatures(FEATURES);
  const text = original.emitText();
  original.dispose();
  let times = 0;
  const patched = text.replace(what, (...match: string[]) => {
    times += 1;
    return by.replace("$1", match[1] ?? "");
  });
  if (times < timesMin) throw new Error(`mutant: ${times} places patched, ${timesMin} expected`);
  const module = binaryen.parseText(patched.replace(/\)\s*$/, `${added}\n)`));
  module.setFeatures(FEATURES);
  if (!module.validate()) throw new Error("mutant: the patched module is not valid");
  const bytes = module.emitBinary();
  module.dispose();
  return bytes;
}
