// One pass over a function body: which instructions may stand in a policy (DESIGN 5: it must end,
// on every engine, and touch nothing but its arguments and what it may read).
//
//   refused by name: loop, call_indirect, bulk memory
//   refused as forbidden: stores, global.set, table access, memory.grow, tail calls, SIMD, atomics
//
// Costs: an instruction is 1, a call what its callee costs; without loops and recursion that bounds
// what a call can execute.
import { Cursor } from "./cursor";
import { StageError } from "./layout";

/** What the walk found; errors stop it. */
@unmanaged
export class Walk {
  error: u32;
  where: u32; // offset of the instruction
  cost: u32; // saturates at COST_END
  waits: u32; // 1 = a callee's cost is not known yet
}
/** No path through a policy may execute more instructions than this. */
export const COST_MAX: u32 = 1 << 20;
const COST_END: u32 = COST_MAX + 1;

/** Walks one body; costs[f] is 0 while unknown, of `functions` functions. */
export function walk(c: Cursor, result: Walk, costs: usize, functions: u32): void {
  result.error = StageError.None;
  result.cost = 1;
  result.waits = 0;
  const groups = c.number();
  for (let i: u32 = 0; i < groups && !c.bad; i++) {
    c.number();
    if (!isNumeric(c.byte())) c.bad = 1;
  }
  while (c.more()) {
    result.where = c.at;
    const opcode = c.byte();
    const error = opcode == 0x10
      ? call(c, result, costs, functions)
      : immediates(c, opcode);
    if (error != StageError.None) {
      result.error = error;
      return;
    }
    if (result.cost < COST_END) result.cost += 1;
  }
  if (c.bad) result.error = StageError.ModuleMalformed;
}

function call(c: Cursor, result: Walk, costs: usize, functions: u32): StageError {
  const callee = c.number();
  if (callee >= functions) return StageError.ModuleMalformed;
  const cost = load<u32>(costs + (usize(callee) << 2));
  if (!cost) result.waits = 1;
  else result.cost = min(COST_END, result.cost + cost);
  return StageError.None;
}

/** Passes over an instruction's immediates, or says why it may not be here. */
function immediates(c: Cursor, opcode: u32): StageError {
  if (opcode <= 0x01 || opcode == 0x05 || opcode == 0x0b || opcode == 0x0f) return StageError.None;
  if (opcode == 0x03) return StageError.ModuleLoop;
  if (opcode == 0x11 || opcode == 0x13) return StageError.ModuleIndirectCall;
  if (opcode == 0xfc) return prefixed(c);
  if (opcode == 0x02 || opcode == 0x04) {
    return blockType(c);
  } else if (opcode == 0x0c || opcode == 0x0d || (opcode >= 0x20 && opcode <= 0x23)) {
    c.number(); // a label, a local, a global to read
  } else if (opcode == 0x0e) {
    const labels = c.number();
    for (let i: u32 = 0; i <= labels && !c.bad; i++) c.number();
  } else if (opcode == 0x1c) {
    if (c.number() != 1 || !isNumeric(c.byte())) return StageError.ModuleForbiddenInstruction;
  } else if (opcode >= 0x28 && opcode <= 0x35) {
    if (c.number() > 3) return StageError.ModuleForbiddenInstruction; // 64 = a memory index follows
    c.number(); // offset
  } else if (opcode == 0x41) {
    c.skipSigned(5);
  } else if (opcode == 0x42) {
    c.skipSigned(10);
  } else if (opcode == 0x43) {
    c.skip(4);
  } else if (opcode == 0x44) {
    c.skip(8);
  } else if (opcode != 0x1a && opcode != 0x1b && !(opcode >= 0x45 && opcode <= 0xc4)) {
    return StageError.ModuleForbiddenInstruction;
  }
  return StageError.None;
}

/** i32, i64, f32, f64: reference types may be longer than a byte. */
function isNumeric(type: u32): bool {
  return type >= 0x7c && type <= 0x7f;
}
/** Nothing, a numeric type, or a type's index (s33, not negative). */
function blockType(c: Cursor): StageError {
  const first = c.byte();
  if (first == 0x40 || isNumeric(first) || first < 0x40) return StageError.None;
  if (!(first & 0x80)) return StageError.ModuleForbiddenInstruction;
  c.skipSigned(4);
  return StageError.None;
}

/** 0xfc: saturating truncations pass, memory and table instructions do not. */
function prefixed(c: Cursor): StageError {
  const second = c.number();
  if (second <= 7) return StageError.None;
  return second <= 17 ? StageError.ModuleBulkMemory : StageError.ModuleForbiddenInstruction;
}
