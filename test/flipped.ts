// A test-only core that says the opposite: behind process(), binaryen puts a walk over the frame's
// slots that turns Pass into Drop and Drop into Pass, with a reason of the other kind. Whoever asks
// the packet program for verdicts hears it; whoever decides for himself does not.
import binaryen from "binaryen";
import { readFileSync } from "node:fs";
import {
  FRAME_BYTES, FRAMES, Reason, SLOT_BYTES, SLOT_REASON, SLOT_VERDICT, Verdict,
} from "../assembly/layout.ts";

const { Features } = binaryen;
const FEATURES = Features.SIMD128 | Features.Atomics | Features.BulkMemory |
  Features.BulkMemoryOpt | Features.SignExt | Features.MutableGlobals;
const OUTER = "process$flipped";

export function flippedCore(path = "build/margay.wasm"): Uint8Array {
  const module = binaryen.readBinary(readFileSync(path));
  try {
    const own = binaryen.getExportInfo(module.getExport("process")).value;
    const { i32 } = binaryen;
    const [worker, count, answer, slot, end] = [0, 1, 5, 6, 7] as const;
    const get = (local: number): number => module.local.get(local, i32);
    const to = (verdict: Verdict, reason: Reason): number => module.block(null, [
      module.i32.store8(SLOT_VERDICT, 1, get(slot), module.i32.const(verdict)),
      module.i32.store8(SLOT_REASON, 1, get(slot), module.i32.const(reason)),
    ]);
    const isPass = module.i32.eq(
      module.i32.load8_u(SLOT_VERDICT, 1, get(slot)), module.i32.const(Verdict.Pass),
    );
    const first = module.i32.add(module.i32.const(FRAMES),
      module.i32.mul(get(worker), module.i32.const(FRAME_BYTES)));
    const body = module.block(null, [
      module.local.set(answer, module.call(own, [0, 1, 2, 3, 4].map(get), i32)),
      module.local.set(slot, first),
      module.local.set(end, module.i32.add(get(slot),
        module.i32.mul(get(count), module.i32.const(SLOT_BYTES)))),
      module.block("done", [module.loop("slots", module.block(null, [
        module.br("done", module.i32.ge_u(get(slot), get(end))),
        module.if(isPass, to(Verdict.Drop, Reason.PolicyDenied), to(Verdict.Pass, Reason.Allowed)),
        module.local.set(slot, module.i32.add(get(slot), module.i32.const(SLOT_BYTES))),
        module.br("slots"),
      ]))]),
      get(answer),
    ], i32);
    const parameters = binaryen.createType([i32, i32, i32, i32, i32]);
    module.addFunction(OUTER, parameters, i32, [i32, i32, i32], body);
    module.removeExport("process");
    module.addFunctionExport(OUTER, "process");
    module.setFeatures(FEATURES);
    if (!module.validate()) throw new Error("the flipped core does not validate");
    return module.emitBinary();
  } finally {
    module.dispose();
  }
}
