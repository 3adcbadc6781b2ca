// Sets in the core: classes, members by longest prefix and by port, changed in place under a
// running generation; against a list that is walked. A user's module asks member() for each side,
// so the import, its handle and its numbers are met as a policy meets them. FUZZ_SEED repeats a
// run.
import binaryen from "binaryen";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ENDPOINT_BYTES, ENDPOINT_HOOKS, ENDPOINT_KIND, ENDPOINTS_ADDRESSES, ENDPOINTS_BYTES,
  ENDPOINTS_CAPACITY, EndpointKind, Hook, MEMBER4_BYTES, MEMBER6_BYTES, MEMBER_PORT, MEMBERS_FIRST,
  Reason, RecordKind, ROOT, ROOT_ARENA_NEXT, SlotState,
} from "../../assembly/layout.ts";
import { ABI_SECTION, ABI_USER } from "../../host/compile/policy.ts";
import { beginRecord, bindRecord, configureRecord } from "../../host/compile/records.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { concat, moduleRecord, putBytes, record } from "../../host/dataplane/record.ts";
import { addressBytes, addressText, parsePrefix } from "../../host/model/address.ts";
import { packet } from "../packets.ts";
import { refusal } from "../pod.ts";
import { seedOf } from "../seed.ts";
import { BUDGETS, core } from "../shop.ts";

const seed = seedOf("FUZZ_SEED");
const clock = { nowMs: 1_000_000, nowSeconds: 1_700_000_000 };

/** A user's module: allow where member(packet + `off`, set, side) says so. */
function asking(set: number, side: number, off = 0, more = ""): Uint8Array {
  const module = binaryen.parseText(`(module
    (import "margay" "member" (func $member (param i32 i32 i32) (result i32))) ${more}
    (func $evaluate (export "evaluate")
      (param i32 i32 i64 i64 i64 i64 i32 i32 i32 i32) (result i32)
      (if (result i32) (call $member
        (i32.add (local.get 0) (i32.const ${off})) (i32.const ${set}) (i32.const ${side}))
        (then (i32.const 1)) (else (i32.const 2)))))`);
  try {
    module.addCustomSection(ABI_SECTION, new TextEncoder().encode(ABI_USER));
    return module.emitBinary();
  } finally {
    module.dispose();
  }
}

const classRecord = (id: number, sets: number[]): Uint8Array =>
  record(RecordKind.Class, 8 + sets.length * 2, (b) => {
    b.setUint32(0, id, true);
    b.setUint32(4, sets.length, true);
    sets.forEach((set, i) => b.setUint16(8 + i * 2, set, true));
  });
const removal = (id: number): Uint8Array =>
  record(RecordKind.ClassRemove, 8, (b) => b.setUint32(0, id, true));
interface Member { address: string; tag: number; id: number }
function members(family: 4 | 6, list: Member[]): Uint8Array {
  const bytes = family === 4 ? MEMBER4_BYTES : MEMBER6_BYTES;
  return record(RecordKind.Members, MEMBERS_FIRST + list.length * bytes, (b) => {
    b.setUint32(0, family, true);
    b.setUint32(4, list.length, true);
    list.forEach(({ address, tag, id }, i) => {
      const at = MEMBERS_FIRST + i * bytes, size = family === 4 ? 4 : 16;
      putBytes(b, at, addressBytes(address).subarray(16 - size));
      b.setUint32(at + size, tag, true);
      b.setUint32(at + size + 4, id, true);
    });
  });
}
const slotSets = (slot: number, sets: number[]): Uint8Array =>
  record(RecordKind.SlotSets, 8 + sets.length * 2, (b) => {
    b.setUint32(0, slot, true);
    b.setUint32(4, sets.length, true);
    sets.forEach((set, i) => b.setUint16(8 + i * 2, set, true));
  });

/** A client whose egress policy, in slot 5, is a module that asks; the other side is beyond. */
function asker(wasm: Uint8Array, sets: number[]): NodeDataplane {
  const dataplane = new NodeDataplane(core, { workers: 1, memoryPages: 256 });
  dataplane.stage(configureRecord({ ...BUDGETS, workers: 1, setsMax: 200, classesMax: 64 }));
  start(dataplane, wasm, sets);
  return dataplane;
}
function start(dataplane: NodeDataplane, wasm: Uint8Array, sets: number[]): void {
  const table = record(RecordKind.Endpoints, ENDPOINTS_BYTES, (b) => {
    b.setUint32(ENDPOINTS_CAPACITY, 1, true);
    b.setUint32(ENDPOINTS_ADDRESSES, 2, true);
  });
  const client = record(RecordKind.Endpoint, ENDPOINT_BYTES, (b) => {
    b.setUint8(ENDPOINT_KIND, EndpointKind.Uplink);
    b.setUint16(ENDPOINT_HOOKS + Hook.PreDnat * 2, 5, true);
  });
  dataplane.push({
    generation: 1, modules: [{ slot: 5, kind: "user", wasm }],
    records: concat([slotSets(5, sets), beginRecord(1), table, client]),
  });
  dataplane.stage(bindRecord(1, 0));
}
let sourcePort = 1024;
/** Does the policy say allow? (A preDNAT deny drops; an allow goes on, and passes.) */
function asks(dataplane: NodeDataplane, from: string, to: string): boolean {
  sourcePort = (sourcePort & 0x3fff) + 1024;
  const bytes = packet({ from, to, sourcePort, flags: "S" });
  const [result] = dataplane.process(0, [{ interface: 1, bytes }], clock);
  dataplane.age(0, clock.nowMs + 10_000_000, 100_000);
  dataplane.age(0, clock.nowMs + 10_000_000, 100_000);
  expect([Reason.Allowed, Reason.PolicyDenied]).toContain(result!.reason);
  return result!.reason === Reason.Allowed;
}

describe("member()", () => {
  test("set-member: answers for each side, by the module's own numbers", () => {
    const members4 = members(4, [
      { address: "10.0.0.0", tag: 8, id: 1 }, { address: "10.1.2.3", tag: 32, id: 2 },
      { address: "10.1.2.3", tag: MEMBER_PORT | (6 << 16) | 80, id: 1 },
    ]);
    const where: [number, string, string, boolean][] = [
      [0, "10.9.9.9", "192.0.2.1", true], [0, "11.0.0.1", "192.0.2.1", false],
      [1, "192.0.2.1", "10.0.0.1", true], [1, "10.0.0.1", "192.0.2.1", false],
      [0, "10.1.2.3", "192.0.2.1", false], // the longer prefix answers alone
      [3, "192.0.2.1", "10.1.2.3", true], [3, "192.0.2.1", "10.1.2.4", false],
      [2, "10.1.2.3", "192.0.2.1", false], [4, "10.0.0.1", "10.0.0.1", false],
    ];
    for (const [side, from, to, answer] of where) {
      const dataplane = asker(asking(1, side), [9, 130]);
      dataplane.stage(concat([classRecord(1, [7, 130]), classRecord(2, [9]), members4]));
      expect(asks(dataplane, from, to), `${side} ${from} ${to}`).toBe(answer);
    }
  });

  test("set-member: a wrong handle, number or side is in no set", () => {
    const all = concat([classRecord(1, [0, 1, 199]), members(4, [
      { address: "0.0.0.0", tag: 0, id: 1 },
    ])]);
    const wrong: [number, number, number][] = [
      [0, 0, 4], [0, 0, 1024], [0, 0, -16], [0, 4, 0], [0, -1, 0], [1, 0, 0], [-1, 0, 0],
      [65536, 0, 0],
    ];
    expect(asks(control(0, 0, 0), "10.0.0.1", "10.0.0.2")).toBe(true);
    for (const [set, side, off] of wrong) {
      expect(asks(control(set, side, off), "10.0.0.1", "10.0.0.2")).toBe(false);
    }
    function control(set: number, side: number, off: number): NodeDataplane {
      const dataplane = asker(asking(set, side, off), [199]);
      dataplane.stage(all);
      return dataplane;
    }
  });

  test.each([
    ["another name", '(import "margay" "other" (func (param i32 i32 i32) (result i32)))'],
    ["two of it", '(import "margay" "member" (func (param i32 i32 i32) (result i32)))'],
    ["another type", '(import "margay" "member" (func (param i32) (result i32)))'],
  ])("door-import: %s", (_, more) => {
    const dataplane = asker(asking(0, 0), []);
    const refused = (kind: SlotState) =>
      refusal(() => dataplane.stage(moduleRecord(6, kind, asking(0, 0, 0, more))));
    expect(refused(SlotState.User)).toBe("module-foreign-import");
  });

  test("door-import: a generated module may not ask it", () => {
    const dataplane = asker(asking(0, 0), []);
    expect(refusal(() => dataplane.stage(moduleRecord(6, SlotState.Generated, asking(0, 0)))))
      .toBe("module-foreign-import");
  });
});

test.each<[string, string, Uint8Array[]]>([
  ["class 0", "field-out-of-range", [classRecord(0, [])]],
  ["a class beyond the budget", "field-out-of-range", [classRecord(65, [])]],
  ["a set beyond the budget", "field-out-of-range", [classRecord(1, [200])]],
  ["sets that do not ascend", "field-out-of-range", [classRecord(1, [3, 3])]],
  ["a class twice", "class-in-use", [classRecord(1, [3]), classRecord(1, [4])]],
  ["no such class to remove", "unknown-class", [removal(7)]],
  ["a member of no class", "unknown-class", [
    members(4, [{ address: "10.0.0.1", tag: 32, id: 3 }]),
  ]],
  ["a class that a member has", "class-in-use", [
    classRecord(1, [3]), members(4, [{ address: "10.0.0.1", tag: 32, id: 1 }]), removal(1),
  ]],
  ["host bits", "field-out-of-range", [
    classRecord(1, [3]), members(4, [{ address: "10.0.0.1", tag: 31, id: 1 }]),
  ]],
  ["host bits of IPv6", "field-out-of-range", [
    classRecord(1, [3]), members(6, [{ address: "fd00::1", tag: 127, id: 1 }]),
  ]],
  ["a length of 33", "field-out-of-range", [
    classRecord(1, [3]), members(4, [{ address: "0.0.0.0", tag: 33, id: 1 }]),
  ]],
])("stage-refusals: sets: %s", (_, reason, records) => {
  const dataplane = asker(asking(0, 0), [3]);
  expect(refusal(() => dataplane.stage(concat(records)))).toBe(reason);
});

test("set-full: a member too many is refused, and nothing of its record is carried out", () => {
  const dataplane = new NodeDataplane(core, { workers: 1, memoryPages: 256 });
  dataplane.stage(configureRecord({ ...BUDGETS, workers: 1, members4Max: 3 }));
  const list = (n: number): Member[] => Array.from({ length: n }, (_, i) => ({
    address: `10.0.0.${i}`, tag: 32, id: 1,
  }));
  dataplane.stage(classRecord(1, [1]));
  expect(refusal(() => dataplane.stage(members(4, list(4))))).toBe("table-full");
  dataplane.stage(concat([removal(1), classRecord(1, [2]), members(4, list(3))]));
  expect(refusal(() => dataplane.stage(members(4, [{ address: "10.1.0.0", tag: 16, id: 1 }]))))
    .toBe("table-full");
  dataplane.stage(members(4, [...list(1).map((each) => ({ ...each, id: 0 }))]));
  dataplane.stage(members(4, [{ address: "10.1.0.0", tag: 16, id: 1 }]));
});

test("set-longest-prefix: random changes in place answer as a walk over a list does", () => {
  console.log(`FUZZ_SEED=${seed}`);
  const addresses = { 4: "10.0.0.0", 6: "fd00::" } as const;
  const address = fc.record({
    family: fc.constantFrom<(4 | 6)[]>(4, 4, 6), low: fc.nat(15), middle: fc.nat(3),
  }).map(({ family, low, middle }) => ({
    family, text: family === 4 ? `10.0.${middle}.${low}` : `fd00::${middle}:${low.toString(16)}`,
  }));
  const change = fc.record({
    address, id: fc.nat(3), length: fc.constantFrom(0, 1, 22, 24, 28, 31, 32),
    port: fc.constantFrom(0, 0, 0, 80, 443),
  });
  fc.assert(fc.property(fc.array(fc.tuple(change, address), { maxLength: 60 }), (steps) => {
    const dataplane = asker(asking(0, 1), [5]);
    const ports = asker(asking(0, 3), [5]);
    for (const each of [dataplane, ports]) {
      each.stage(concat([classRecord(1, [5]), classRecord(2, [6]), classRecord(3, [4, 5, 6])]));
    }
    const held = new Map<string, number>();
    const sets = [[], [5], [6], [4, 5, 6]];
    for (const [{ address: { family, text }, id, length, port }, asked] of steps) {
      const bits = family === 4 ? length : length === 0 ? 0 : 96 + length;
      const prefix = port ? text : network(text, bits);
      const tag = port ? MEMBER_PORT | (6 << 16) | port : bits;
      for (const each of [dataplane, ports]) {
        each.stage(members(family, [{ address: prefix, tag: tag >>> 0, id }]));
      }
      if (id) held.set(`${prefix}/${port ? `p${port}` : bits}`, id);
      else held.delete(`${prefix}/${port ? `p${port}` : bits}`);
      const most = asked.family === 4 ? 32 : 128;
      let expected = 0;
      for (let bit = most; bit >= 0 && !expected; bit--) {
        expected = held.get(`${network(asked.text, bit)}/${bit}`) ?? 0;
      }
      const from = addresses[asked.family];
      expect(asks(dataplane, from, asked.text)).toBe(sets[expected]!.includes(5));
      const exact = held.get(`${asked.text}/p80`) ?? 0;
      expect(asks(ports, from, asked.text)).toBe(sets[exact]!.includes(5));
    }
  }), { seed, numRuns: 60 });
});

/** The first address of the prefix around an address. */
function network(text: string, bits: number): string {
  const { network: number } = parsePrefix(`${text}/${bits}`);
  const byte = (i: number): number => Number(number >> BigInt(120 - i * 8) & 255n);
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => byte(i));
  return addressText(text.includes(":") ? bytes : bytes.subarray(12));
}

test("set-churn: members that come and go leave no marks that look-ups have to pass", () => {
  const dataplane = new NodeDataplane(core, { workers: 1, memoryPages: 256 });
  // Eight places, at most four in use: a mark left in each would make a look-up endless.
  dataplane.stage(configureRecord({ ...BUDGETS, workers: 1, members4Max: 4, members6Max: 4 }));
  start(dataplane, asking(0, 0), [3]);
  dataplane.stage(classRecord(1, [3]));
  const name = (family: 4 | 6, n: number): string =>
    family === 4 ? `10.0.${n >> 8}.${n & 255}` : `fd00::${(n + 1).toString(16)}`;
  for (const family of [4, 6] as const) {
    const stage = (n: number, id: number): void => dataplane.stage(
      members(family, [{ address: name(family, n), tag: family === 4 ? 32 : 128, id }]),
    );
    const far = family === 4 ? "192.0.2.1" : "2001:db8::1";
    const held: number[] = [];
    for (let n = 0; n < 400; n++) {
      stage(n, 1);
      held.push(n);
      // Of four that stand in one run, any may go first.
      const gone = held.length === 4 ? held.splice((n * 7) % 4, 1)[0]! : undefined;
      if (gone !== undefined) stage(gone, 0);
      for (const each of held) expect(asks(dataplane, name(family, each), far)).toBe(true);
      if (gone !== undefined) expect(asks(dataplane, name(family, gone), far)).toBe(false);
    }
  }
}, 60_000);

test("arena-flat: classes that come and go give their memory back", () => {
  const dataplane = asker(asking(0, 0), [3]);
  const next = (): number => dataplane.memory.view.getUint32(ROOT + ROOT_ARENA_NEXT, true);
  let flat = 0;
  for (let i = 0; i < 500; i++) {
    dataplane.stage(concat([
      classRecord(1, [i % 100, 100]), members(4, [{ address: "10.0.0.1", tag: 32, id: 1 }]),
    ]));
    asks(dataplane, "10.0.0.1", "10.0.0.2");
    dataplane.stage(members(4, [{ address: "10.0.0.1", tag: 32, id: 0 }]));
    dataplane.stage(removal(1));
    if (i === 20) flat = next();
  }
  expect(next()).toBe(flat);
});
