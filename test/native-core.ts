// A stand-in for the packet program, for the native engine's own tests: the smallest core with the
// exports and the traps that an engine has to deal with. It judges a packet by calling the policy
// slot whose number stands in the packet's interface field.
//
//   interface   1..4095  the policy's action (1 allow, else drop); rule = the frame's generation
//               CORE_TRAP, BAD_PREFETCH, CORE_AND_RECOVER_TRAP, NO_VERDICT: as their names say
//   stage       refuses a record of kind 99 as unknown-record, admits every Module
//   publish     refuses generation 0
//   restore     takes all; 2 records it refuses, 3 trap
//   member      holds where set and side add up to the published generation

import binaryen from "binaryen";
import * as L from "../assembly/layout.ts";

export const CORE_TRAP = 0x10000;
export const BAD_PREFETCH = 0x10001;
export const CORE_AND_RECOVER_TRAP = 0x10002;
export const NO_VERDICT = 0x10003;

const frame = `(i32.add (i32.const ${L.FRAMES})
  (i32.mul (local.get $worker) (i32.const ${L.FRAME_BYTES})))`;
const worker = `(i32.add (i32.const ${L.WORKERS})
  (i32.mul (local.get $worker) (i32.const ${L.WORKER_BYTES})))`;
const slotState = (slot: string) =>
  `(i32.add (i32.const ${L.POLICY_SLOTS}) (i32.shl ${slot} (i32.const 2)))`;
const at = (offset: number) => `offset=${offset}`;

const wat = (memory: string) => `(module
  (type $evaluate (func (param i32 i32 i64 i64 i64 i64 i32 i32 i32 i32) (result i32)))
  (import "env" "memory" (memory ${memory}))
  (import "env" "table" (table 4096 funcref))
  (import "host" "prefetch" (func $prefetch (param i32 i32 i32 i32 i32)))

  (func (export "stage") (param $length i32) (result i32)
    (local $at i32) (local $record i32)
    (local.set $at (i32.const ${L.STAGING}))
    (loop $next
      (if (i32.lt_u (local.get $at) (i32.add (i32.const ${L.STAGING}) (local.get $length)))
        (then
          (if (i32.eq (i32.load16_u (local.get $at)) (i32.const 99))
            (then
              (i32.store (i32.const ${L.ROOT + L.ROOT_ERROR_RECORD}) (local.get $record))
              (i32.store (i32.const ${L.ROOT + L.ROOT_ERROR_DETAIL}) (i32.const 7))
              (return (i32.const ${L.StageError.UnknownRecord}))))
          (if (i32.eq (i32.load16_u (local.get $at)) (i32.const ${L.RecordKind.Module}))
            (then (i32.store ${slotState("(i32.load offset=8 (local.get $at))")}
              (i32.load offset=12 (local.get $at)))))
          (local.set $record (i32.add (local.get $record) (i32.const 1)))
          (local.set $at (i32.add (local.get $at) (i32.add (i32.const 8)
            (i32.and (i32.add (i32.load offset=4 (local.get $at)) (i32.const 7))
              (i32.const -8)))))
          (br $next))))
    (i32.const 0))

  (func (export "publish") (param $generation i32) (result i32)
    (if (i32.eqz (local.get $generation))
      (then (return (i32.const ${L.StageError.BadGeneration}))))
    (i32.store (i32.const ${L.ROOT + L.ROOT_PUBLISHED}) (local.get $generation))
    (i32.const 0))

  (func $judge (param $worker i32) (param $at i32) (param $seconds i32) (param $generation i32)
    (local $interface i32)
    (local.set $interface (i32.load ${at(L.SLOT_INTERFACE)} (local.get $at)))
    (if (i32.eq (local.get $interface) (i32.const ${NO_VERDICT})) (then (return)))
    (if (i32.eq (local.get $interface) (i32.const ${CORE_TRAP})) (then (unreachable)))
    (if (i32.eq (local.get $interface) (i32.const ${CORE_AND_RECOVER_TRAP}))
      (then (i32.store ${at(L.WORKER_PHASE)} ${worker} (i32.const 1)) (unreachable)))
    (if (i32.eq (local.get $interface) (i32.const ${BAD_PREFETCH}))
      (then (call $prefetch (i32.const 0) (i32.const -4) (i32.const 0) (i32.const 4)
        (i32.const 256))))
    (i32.store8 ${at(L.SLOT_VERDICT)} (local.get $at) (i32.const ${L.Verdict.Drop}))
    (i32.store8 ${at(L.SLOT_REASON)} (local.get $at) (i32.const ${L.Reason.PolicyTrapped}))
    (i32.store ${at(L.SLOT_RULE)} (local.get $at) (local.get $generation))
    (if (i32.eq (i32.load ${slotState("(local.get $interface)")})
          (i32.const ${L.SlotState.Trapped}))
      (then (return)))
    (i32.store8 ${at(L.SLOT_REASON)} (local.get $at) (i32.const ${L.Reason.PolicyDenied}))
    (i32.store ${at(L.WORKER_POLICY_SLOT)} ${worker} (local.get $interface))
    (if (i32.eq (call_indirect (type $evaluate) (local.get $at) (i32.const 6) (i64.const 1)
          (i64.const 2) (i64.const 3) (i64.const 4) (i32.const 5) (i32.const 6) (i32.const -1)
          (local.get $seconds) (local.get $interface)) (i32.const ${L.Action.Allow}))
      (then
        (i32.store8 ${at(L.SLOT_VERDICT)} (local.get $at) (i32.const ${L.Verdict.Pass}))
        (i32.store8 ${at(L.SLOT_REASON)} (local.get $at) (i32.const ${L.Reason.Allowed}))))
    (i32.store ${at(L.WORKER_POLICY_SLOT)} ${worker} (i32.const 0)))

  (func (export "process") (param $worker i32) (param $count i32) (param $ms i32)
    (param $seconds i32) (param $generation i32) (result i32)
    (local $i i32)
    (i32.store ${at(L.WORKER_FRAME_COUNT)} ${worker} (local.get $count))
    (call $prefetch (i32.const 0) (i32.const 65532) (i32.const 63) (i32.const 4) (i32.const 1))
    (loop $next
      (if (i32.lt_u (local.get $i) (local.get $count))
        (then
          (call $judge (local.get $worker)
            (i32.add ${frame} (i32.mul (local.get $i) (i32.const ${L.SLOT_BYTES})))
            (local.get $seconds) (local.get $generation))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next))))
    (i32.const 0))

  (func (export "member") (param $packet i32) (param $set i32) (param $side i32) (result i32)
    (i32.eq (i32.add (local.get $set) (local.get $side))
      (i32.load (i32.const ${L.ROOT + L.ROOT_PUBLISHED}))))

  (func (export "age") (param i32 i32 i32) (result i32) (local.get 2))

  (func (export "restore") (param $worker i32) (param $family i32) (param $count i32) (result i32)
    (if (i32.eq (local.get $count) (i32.const 3)) (then (unreachable)))
    (select (i32.const -1) (local.get $count) (i32.eq (local.get $count) (i32.const 2))))

  (func (export "recover") (param $worker i32) (result i32)
    (local $slot i32) (local $i i32)
    (if (i32.load ${at(L.WORKER_PHASE)} ${worker}) (then (unreachable)))
    (local.set $slot (i32.load ${at(L.WORKER_POLICY_SLOT)} ${worker}))
    (i32.store ${at(L.WORKER_POLICY_SLOT)} ${worker} (i32.const 0))
    (if (local.get $slot)
      (then (i32.store ${slotState("(local.get $slot)")} (i32.const ${L.SlotState.Trapped}))
        (return (local.get $slot))))
    (loop $next
      (i32.store16 ${at(L.SLOT_VERDICT)}
        (i32.add ${frame} (i32.mul (local.get $i) (i32.const ${L.SLOT_BYTES})))
        (i32.const ${L.Verdict.Drop | (L.Reason.CoreTrapped << 8)}))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i)
        (i32.load ${at(L.WORKER_FRAME_COUNT)} ${worker}))))
    (i32.const 0)))`;

function assemble(text: string): Uint8Array {
  const module = binaryen.parseText(text);
  const F = binaryen.Features;
  const plain = F.MutableGlobals | F.SignExt | F.SIMD128 | F.Atomics;
  module.setFeatures(plain | F.BulkMemory | F.BulkMemoryOpt);
  if (!module.validate()) throw new Error("the stand-in is not valid");
  const bytes = module.emitBinary();
  module.dispose();
  return bytes;
}

export const standIn = (): Uint8Array => assemble(wat("64 65536 shared"));
export const standInPrivate = (): Uint8Array => assemble(wat("64 65536"));

/** A policy whose answer is the value of a WAT expression; parameters are local.get 0..9. */
export const policy = (answer: string): Uint8Array => assemble(`(module
  (func (export "evaluate") (param i32 i32 i64 i64 i64 i64 i32 i32 i32 i32) (result i32)
    ${answer}))`);
/** A module as it stands. */
export const raw = assemble;
