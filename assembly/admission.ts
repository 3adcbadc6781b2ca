// The door for policy modules: the core itself reads a module's bytes before any engine compiles
// it, so that Node, the native core and VPP refuse the same modules for the same reasons. Whether
// the bytes are valid WebAssembly beyond what is looked at here, the engine's compiler says.
//
//   sections   type, import, function, memory of 0 pages, constant globals, export, code, custom
//   imports    env.memory, for generated modules alone
//              margay.member: (i32 i32 i32) -> i32, for users' alone, once
//   exports    evaluate: (i32 i32 i64 i64 i64 i64 i32 i32 i32 i32) -> i32
//   custom     "margay.abi": "policy/1" (generated) or "evaluate/1" (a user's)
//   code       instructions.ts; calls without recursion; at most COST_MAX instructions on any path
//
// Limits: 64 KiB, 256 functions.
import { allocate, release } from "./arena";
import { Cursor } from "./cursor";
import { COST_MAX, Walk, walk } from "./instructions";
import { MODULE_BYTES_MAX, SlotState, StageError } from "./layout";
import { refuse } from "./root";

const FUNCTIONS_MAX: u32 = 256;
const EVALUATE: u64 = 0x65746175_6c617665; // "evaluate", little-endian
const MARGAY_A: u64 = 0x612e7961_6772616d; // "margay.a"
const BI: u32 = 0x6962;
const POLICY_1: u64 = 0x312f7963_696c6f70; // "policy/1"
const SLASH_1: u32 = 0x312f;
const SIX: u64 = 0xffff_ffffffff; // the low six bytes
const MEMORY: u64 = 0x7972_6f6d656d; // "memory"
const ENV: u32 = 0x766e65;
const MARGAY: u64 = 0x7961_6772616d; // "margay"
const MEMBER: u64 = 0x7265_626d656d; // "member"
/** What a call of member() counts as: instructions of the core. */
const MEMBER_COST: u32 = 64;

/** What is known of the module so far; lives in a scratch block. */
@unmanaged
class Module {
  cursor: Cursor;
  base: u32;
  kind: u32;
  types: u32; // address behind the type section's count
  typeCount: u32;
  functionTypes: u32; // address behind the function section's count
  functions: u32;
  bodies: u32; // address behind the code section's count
  end: u32; // end of the code section
  evaluate: u32; // index + 1, counted with the imported function
  imported: u32; // 1 = member is function 0
  abi: u32; // 1 right, 2 another version
  costs: u32; // FUNCTIONS_MAX words
}

/** Admits the module's bytes for a kind (SlotState Generated or User), or says why not. */
export function admit(bytes: u32, length: u32, kind: u32): StageError {
  if (length > MODULE_BYTES_MAX) return refuse(StageError.ModuleTooLarge, length);
  const scratch = allocate(256 + (FUNCTIONS_MAX + 1) * 4);
  if (!scratch) return refuse(StageError.ArenaFull, length);
  const m = changetype<Module>(usize(scratch));
  m.cursor = changetype<Cursor>(usize(scratch) + 128);
  m.costs = scratch + 256;
  m.base = bytes;
  m.kind = kind;
  const c = m.cursor;
  c.at = bytes;
  c.end = bytes + length;
  c.bad = 0;
  const walked = changetype<Walk>(usize(scratch) + 192);
  const error = read(m, c, walked);
  const where = (walked.error ? walked.where : c.at) - bytes;
  release(scratch);
  return error == StageError.None ? error : refuse(error, where);
}

function read(m: Module, c: Cursor, walked: Walk): StageError {
  if (c.end - c.at < 8 || load<u64>(c.at) != 0x00000001_6d736100) {
    return StageError.ModuleMalformed;
  }
  c.at += 8;
  while (c.more()) {
    const id = c.byte();
    const size = c.number();
    if (c.bad || size > c.end - c.at) return StageError.ModuleMalformed;
    const next = c.at + size;
    const error = section(m, c, id, next);
    if (error != StageError.None) return error;
    if (c.bad || c.at > next) return StageError.ModuleMalformed;
    c.at = next;
  }
  if (c.bad) return StageError.ModuleMalformed;
  if (m.abi == 0) return StageError.ModuleNoAbiVersion;
  if (m.abi == 2) return StageError.ModuleWrongAbiVersion;
  if (m.evaluate == 0 || !evaluateType(m, c)) return StageError.ModuleNoEvaluate;
  return bodies(m, c, walked);
}

function section(m: Module, c: Cursor, id: u32, next: u32): StageError {
  if (id == 0) return custom(m, c, next);
  if (id == 1) {
    m.typeCount = c.number();
    m.types = c.at;
  } else if (id == 2) {
    return imports(m, c);
  } else if (id == 3) {
    m.functions = c.number();
    m.functionTypes = c.at;
    if (m.functions > FUNCTIONS_MAX) return StageError.ModuleTooManyFunctions;
  } else if (id == 5) {
    return emptyMemory(c) ? StageError.None : StageError.ModuleForbiddenSection;
  } else if (id == 6) {
    return constantGlobals(c);
  } else if (id == 7) {
    exports(m, c);
  } else if (id == 10) {
    if (c.number() != m.functions) return StageError.ModuleMalformed;
    m.bodies = c.at;
    m.end = next;
  } else {
    return StageError.ModuleForbiddenSection; // table, start, element, data, tag
  }
  return StageError.None;
}

function custom(m: Module, c: Cursor, next: u32): StageError {
  const length = c.name();
  if (c.bad || c.at > next) return StageError.ModuleMalformed;
  if (length != 10) return StageError.None;
  if (load<u64>(c.at - 10) != MARGAY_A || u32(load<u16>(c.at - 2)) != BI) return StageError.None;
  const text = c.at, bytes = next - c.at;
  const right = m.kind == SlotState.User
    ? bytes == 10 && load<u64>(text) == EVALUATE && u32(load<u16>(text, 8)) == SLASH_1
    : bytes == 8 && load<u64>(text) == POLICY_1;
  m.abi = right && m.abi != 2 ? 1 : 2;
  return StageError.None;
}

function imports(m: Module, c: Cursor): StageError {
  const count = c.number();
  for (let i: u32 = 0; i < count && !c.bad; i++) {
    const moduleLength = c.name();
    const moduleEnd = c.at;
    const fieldLength = c.name();
    const fieldEnd = c.at;
    if (c.bad) return StageError.ModuleMalformed;
    const kind = c.byte();
    if (kind == 0) {
      const isMargay = moduleLength == 6 && (load<u64>(moduleEnd - 6) & SIX) == MARGAY;
      const isMember = fieldLength == 6 && (load<u64>(fieldEnd - 6) & SIX) == MEMBER;
      if (!isMargay || !isMember || m.kind != SlotState.User || m.imported) {
        return StageError.ModuleForeignImport;
      }
      m.imported = 1;
      if (!memberType(m, c.number())) return StageError.ModuleForeignImport;
      continue;
    }
    const isEnv = moduleLength == 3 && (load<u32>(moduleEnd - 3) & 0xffffff) == ENV;
    const isMemory = fieldLength == 6 && (load<u64>(fieldEnd - 6) & SIX) == MEMORY;
    if (kind != 2 || !isEnv || !isMemory || m.kind != SlotState.Generated) {
      return StageError.ModuleForeignImport;
    }
    const limits = c.number();
    c.number();
    if (limits & 1) c.number();
  }
  return StageError.None;
}

function emptyMemory(c: Cursor): bool {
  const count = c.number();
  if (count == 0) return true;
  c.number();
  return count == 1 && c.number() == 0;
}

/** Immutable, initialised by one constant: nothing to keep between calls. */
function constantGlobals(c: Cursor): StageError {
  const count = c.number();
  for (let i: u32 = 0; i < count && !c.bad; i++) {
    c.byte();
    if (c.byte() != 0) return StageError.ModuleForbiddenSection;
    const opcode = c.byte();
    if (opcode == 0x41) c.skipSigned(5);
    else if (opcode == 0x42) c.skipSigned(10);
    else if (opcode == 0x43) c.skip(4);
    else if (opcode == 0x44) c.skip(8);
    else return StageError.ModuleForbiddenSection;
    if (c.byte() != 0x0b) return StageError.ModuleForbiddenSection;
  }
  return StageError.None;
}

function exports(m: Module, c: Cursor): void {
  const count = c.number();
  for (let i: u32 = 0; i < count && !c.bad; i++) {
    const length = c.name();
    const end = c.at;
    const kind = c.byte();
    const index = c.number();
    if (c.bad) return;
    if (kind == 0 && length == 8 && load<u64>(end - 8) == EVALUATE) m.evaluate = index + 1;
  }
}

/** Is a type of the module member's? Read aside: the cursor stands among the imports. */
function memberType(m: Module, type: u32): bool {
  if (type >= m.typeCount) return false;
  const aside = changetype<Cursor>(changetype<usize>(m.cursor) + 32);
  aside.at = m.types;
  aside.end = m.cursor.end;
  aside.bad = 0;
  for (let i: u32 = 0; i < type && !aside.bad; i++) {
    if (aside.byte() != 0x60) return false;
    aside.skip(aside.number());
    aside.skip(aside.number());
  }
  if (aside.byte() != 0x60 || aside.number() != 3) return false;
  for (let k: u32 = 0; k < 3; k++) if (aside.byte() != 0x7f) return false;
  return aside.number() == 1 && aside.byte() == 0x7f && !aside.bad;
}

/** Is `evaluate` a function of the ABI's type? */
function evaluateType(m: Module, c: Cursor): bool {
  if (m.evaluate <= m.imported || m.evaluate - m.imported > m.functions || !m.bodies) return false;
  c.at = m.functionTypes;
  let type: u32 = 0;
  for (let i: u32 = m.imported; i < m.evaluate; i++) type = c.number();
  if (type >= m.typeCount) return false;
  c.at = m.types;
  for (let i: u32 = 0; i <= type && !c.bad; i++) {
    if (c.byte() != 0x60) return false;
    const parameters = c.number();
    if (i < type) {
      c.skip(parameters);
      c.skip(c.number());
      continue;
    }
    if (parameters != 10) return false;
    for (let k: u32 = 0; k < 10; k++) {
      const expected: u32 = k >= 2 && k < 6 ? 0x7e : 0x7f;
      if (c.byte() != expected) return false;
    }
    if (c.number() != 1 || c.byte() != 0x7f) return false;
  }
  return !c.bad;
}

/** Walks the bodies until every function's cost is known; what never is, is a recursion. */
function bodies(m: Module, c: Cursor, walked: Walk): StageError {
  const end = c.end;
  let known: u32 = 0;
  // Costs are by function index: the imported one stands in front of the module's own.
  if (m.imported) store<u32>(usize(m.costs), MEMBER_COST);
  const own = usize(m.costs) + (usize(m.imported) << 2);
  while (known < m.functions) {
    const before = known;
    known = 0;
    let at = m.bodies;
    for (let f: u32 = 0; f < m.functions; f++) {
      c.at = at;
      c.end = m.end;
      const size = c.number();
      if (c.bad || size > c.end - c.at) return StageError.ModuleMalformed;
      c.end = c.at + size;
      at = c.end;
      walk(c, walked, m.costs, m.functions + m.imported);
      if (walked.error) return walked.error;
      if (walked.waits) continue;
      if (walked.cost > COST_MAX) return StageError.ModuleTooCostly;
      store<u32>(own + (usize(f) << 2), walked.cost);
      known++;
    }
    if (known == before && known < m.functions) return StageError.ModuleRecursion;
  }
  c.end = end;
  return StageError.None;
}
