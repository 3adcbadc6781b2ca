// Classifier blocks at the door: each offset and number put wrong is refused by name, parts are
// taken in order or not at all, and of blocks changed at random those that are let in trap nothing
// and always answer. That a block answers as its rules say: test/host/compile. FUZZ_SEED repeats a
// run, FUZZ_RUNS lengthens it.
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  CLASSIFIER_ACTIONS, CLASSIFIER_BYTES, CLASSIFIER_DESTINATION, CLASSIFIER_FAMILY4,
  CLASSIFIER_FAMILY6, CLASSIFIER_RULES, CLASSIFIER_RULES_MAX, CLASSIFIER_SERVICES, CLASSIFIER_SETS,
  CLASSIFIER_SET_ADDS, CLASSIFIER_SET_CLEARS, CLASSIFIER_SET_MASK, CLASSIFIER_SOURCE,
  CLASSIFIER_SOURCES, CLASSIFIER_VECTOR, DELTA_DENSE, DIMENSION_BASE, DIMENSION_COUNT,
  DIMENSION_DELTAS, DIMENSION_STARTS, Reason, RecordKind, ROOT, ROOT_ARENA_NEXT,
} from "../../assembly/layout.ts";
import { classifierRecords } from "../../host/compile/slotrecord.ts";
import { concat, putBytes, record } from "../../host/dataplane/record.ts";
import { blockOf, FAR, FAR6, Pod, POD, POD6, refusal, RULES } from "../pod.ts";
import { seedOf } from "../seed.ts";

const seed = seedOf("FUZZ_SEED");
const numRuns = Number(process.env["FUZZ_RUNS"] ?? 300);

const BAD = 0xfffffff0;
type Word = (view: DataView, put: (at: number, value: number) => void) => void;
const of = (view: DataView, field: number): number => view.getUint32(field, true);
/** The dimension of TCP. */
const tcp = (view: DataView, table: number): number => of(view, of(view, table) + 6 * 4);
const entryOf = (view: DataView, side?: number): number => {
  for (let i = 0, at = of(view, CLASSIFIER_SETS); i <= of(view, CLASSIFIER_SET_MASK); i++) {
    const key = of(view, at + i * 32);
    if (key && (side === undefined || (key - 1) >> 16 === side)) return at + i * 32;
  }
  throw new Error("no such entry");
};
const verifyOf = (view: DataView): [number, number] => {
  const actions = of(view, CLASSIFIER_ACTIONS);
  for (let i = 0; i < RULES.length; i++) {
    const list = of(view, actions + i * 8 + 4);
    if (list) return [actions + i * 8 + 4, list];
  }
  throw new Error("no verify list");
};
const CASES: [string, Word][] = [
  ["too many rules", (_, put) => put(CLASSIFIER_RULES, CLASSIFIER_RULES_MAX + 1)],
  ["rules of 2^32 - 1", (_, put) => put(CLASSIFIER_RULES, 0xffffffff)],
  ["another vector", (_, put) => put(CLASSIFIER_VECTOR, 32)],
  ["another length", (view, put) => put(CLASSIFIER_BYTES, view.byteLength + 16)],
  ...([
    CLASSIFIER_SERVICES, CLASSIFIER_SOURCES, CLASSIFIER_SOURCE, CLASSIFIER_DESTINATION,
    CLASSIFIER_SETS, CLASSIFIER_ACTIONS, CLASSIFIER_FAMILY4, CLASSIFIER_FAMILY6,
  ].flatMap((field): [string, Word][] => [
    [`field ${field} far beyond`, (_, put) => put(field, BAD)],
    [`field ${field} at the end`, (view, put) => put(field, view.byteLength - 8)],
    [`field ${field} in the header`, (_, put) => put(field, 16)],
  ])),
  ["a set mask of no power of two", (_, put) => put(CLASSIFIER_SET_MASK, 2)],
  ["a set mask of 2^20", (_, put) => put(CLASSIFIER_SET_MASK, (1 << 21) - 1)],
  ["a set mask of 2^32 - 1", (_, put) => put(CLASSIFIER_SET_MASK, 0xffffffff)],
  ["a set table more than half full", (view, put) => {
    const at = of(view, CLASSIFIER_SETS);
    for (let i = 0; i <= of(view, CLASSIFIER_SET_MASK); i++) put(at + i * 32, i + 1);
  }],
  ["a set of side 5", (view, put) => put(entryOf(view), (5 << 16) + 1)],
  ["a set of side 65535", (view, put) => put(entryOf(view), 0xffffffff)],
  ["a source port set without source ports", (view, put) => {
    put(entryOf(view), (2 << 16) + 1);
    put(CLASSIFIER_SOURCES, 0);
  }],
  ...[CLASSIFIER_SET_ADDS, CLASSIFIER_SET_CLEARS].flatMap((what): [string, Word][] => [
    [`a set's delta ${what} beyond`, (view, put) => {
      put(entryOf(view) + what, BAD);
      put(entryOf(view) + what + 4, 1);
    }],
    [`a set's dense delta ${what} beyond`, (view, put) => {
      put(entryOf(view) + what, view.byteLength - 8);
      put(entryOf(view) + what + 4, DELTA_DENSE | 1);
    }],
    [`a set's delta ${what} of too many rules`, (view, put) => {
      put(entryOf(view) + what, 64);
      put(entryOf(view) + what + 4, 9);
    }],
    [`a set's delta ${what} of a rule that is not`, (view, put) => {
      put(entryOf(view) + what, view.byteLength - 16);
      put(view.byteLength - 16, RULES.length);
      put(entryOf(view) + what + 4, 1);
    }],
  ]),
  ...[CLASSIFIER_SERVICES, CLASSIFIER_SOURCES].flatMap((table): [string, Word][] => [
    [`dimension ${table} beyond`, (view, put) => put(of(view, table) + 6 * 4, BAD)],
    [`dimension ${table} of protocol 255 beyond`, (view, put) =>
      put(of(view, table) + 255 * 4, view.byteLength - 8)],
    [`base ${table}`, (view, put) => put(tcp(view, table) + DIMENSION_BASE, BAD)],
    [`no intervals ${table}`, (view, put) => put(tcp(view, table) + DIMENSION_COUNT, 0)],
    [`2^31 intervals ${table}`, (view, put) =>
      put(tcp(view, table) + DIMENSION_COUNT, 0x80000001)],
    [`intervals beyond ${table}`, (view, put) => put(tcp(view, table) + DIMENSION_COUNT, 0x10000)],
    [`starts ${table}`, (view, put) => put(tcp(view, table) + DIMENSION_STARTS, BAD)],
    [`a first start of 1 ${table}`, (view, put) =>
      put(of(view, tcp(view, table) + DIMENSION_STARTS), 1)],
    [`deltas ${table}`, (view, put) => put(tcp(view, table) + DIMENSION_DELTAS, BAD)],
    [`a delta ${table}`, (view, put) => {
      const delta = of(view, tcp(view, table) + DIMENSION_DELTAS);
      put(delta, BAD);
      put(delta + 4, 1);
    }],
  ]),
  ["starts that do not ascend", (view, put) =>
    put(of(view, tcp(view, CLASSIFIER_SERVICES) + DIMENSION_STARTS), 0)],
  ["action 4", (view, put) => put(of(view, CLASSIFIER_ACTIONS), 4)],
  ["a pass to itself", (view, put) => put(of(view, CLASSIFIER_ACTIONS) + 8, 3 | (1 << 8))],
  ["a pass back", (view, put) => put(of(view, CLASSIFIER_ACTIONS) + 8, 3)],
  ["a pass beyond", (view, put) =>
    put(of(view, CLASSIFIER_ACTIONS) + 8, 3 | ((RULES.length + 1) << 8))],
  ["a verify list beyond", (view, put) => put(verifyOf(view)[0], BAD)],
  ["a verify list in the header", (view, put) => put(verifyOf(view)[0], 4)],
  ["a verify list of 2^32 - 1", (view, put) => put(verifyOf(view)[1], 0xffffffff)],
  ["a verify list of 2^30", (view, put) => put(verifyOf(view)[1], 1 << 30)],
  ["a condition of side 5", (view, put) => put(verifyOf(view)[1] + 4, 5 << 16)],
];

let good: Promise<Uint8Array> | undefined;
test.each(CASES)("stage-refusals: classifier: %s", async (_, change) => {
  const block = (await (good ??= blockOf(RULES))).slice();
  const view = new DataView(block.buffer);
  const pod = new Pod();
  expect(refusal(() => pod.dataplane.stage(concat(classifierRecords(9, block))))).toBe("accepted");
  change(view, (at, value) => view.setUint32(at, value, true));
  expect(refusal(() => pod.dataplane.stage(concat(classifierRecords(9, block)))))
    .toBe("bad-classifier");
  // What was there went when the slot was given anew, and nothing took its place.
  expect(refusal(() => pod.push(9))).toBe("slot-not-admitted");
});

test("stage-refusals: parts out of order, of another slot, too many, none, and no classifier",
  async () => {
    const block = await blockOf(RULES);
    const { dataplane } = new Pod();
    const open = (slot: number, bytes: number): Uint8Array =>
      record(RecordKind.Classifier, 8, (b) => {
        b.setUint32(0, slot, true);
        b.setUint32(4, bytes, true);
      });
    const part = (slot: number, offset: number, bytes: Uint8Array): Uint8Array =>
      record(RecordKind.ClassifierPart, 8 + bytes.length, (b) => {
        b.setUint32(0, slot, true);
        b.setUint32(4, offset, true);
        putBytes(b, 8, bytes);
      });
    const cases: [string, Uint8Array[]][] = [
      ["field-out-of-range", [part(9, 0, block)]],
      ["field-out-of-range", [open(9, block.length), part(8, 0, block)]],
      ["field-out-of-range", [open(9, block.length), part(9, 16, block.subarray(16))]],
      ["field-out-of-range", [open(9, block.length - 16), part(9, 0, block)]],
      ["field-out-of-range", [
        open(9, block.length), part(9, 0, block.subarray(0, 64)), part(9, 0, block.subarray(64)),
      ]],
      ["bad-record-length", [open(9, block.length), part(9, 0, new Uint8Array(0))]],
      ["field-out-of-range", [open(9, 48)]],
      ["field-out-of-range", [open(9, 72)]],
      ["field-out-of-range", [open(0, 64)]],
      ["field-out-of-range", [open(4096, 64)]],
      ["field-out-of-range", [open(9, (1 << 25) + 16)]],
      ["bad-classifier", [open(9, 64), part(9, 0, new Uint8Array(64))]],
    ];
    for (const [reason, records] of cases) {
      expect(refusal(() => dataplane.stage(concat(records)))).toBe(reason);
    }
    const next = (): number => dataplane.memory.view.getUint32(ROOT + ROOT_ARENA_NEXT, true);
    let flat = 0;
    for (let i = 0; i < 200; i++) {
      // Refused midway, dropped for another, whole: nothing stays behind.
      const foreign = [open(9, 65_536), part(9, 0, block), part(7, 0, block)];
      refusal(() => dataplane.stage(concat(foreign)));
      refusal(() => dataplane.stage(concat([open(8, 65_536), open(9, 64)])));
      refusal(() => dataplane.stage(concat([open(9, 64), part(9, 0, new Uint8Array(64))])));
      dataplane.stage(concat(classifierRecords(9, block)));
      if (i === 3) flat = next();
    }
    expect(next()).toBe(flat);
  });

test("classifier-noise: what is let in of changed blocks never traps and always answers",
  async () => {
    console.log(`FUZZ_SEED=${seed}`);
    const block = await (good ??= blockOf(RULES));
    let pod = new Pod();
    let admitted = 0;
    const change = fc.record({
      at: fc.nat(block.length / 4 - 1),
      value: fc.oneof(fc.nat(255), fc.nat(block.length), fc.integer(), fc.nat(7)),
    });
    const changes = fc.array(change, { minLength: 1, maxLength: 3 });
    fc.assert(fc.property(changes, fc.array(fc.nat(65_535), { maxLength: 3 }), (list, ports) => {
      const noise = block.slice();
      const view = new DataView(noise.buffer);
      for (const { at, value } of list) view.setInt32(at * 4, value | 0, true);
      const slot = 1 + admitted % 16;
      const records = classifierRecords(slot, noise);
      const answer = refusal(() => pod.push(slot, records));
      expect(["accepted", "bad-classifier"]).toContain(answer);
      if (answer !== "accepted") return;
      admitted++;
      for (const port of [22, 80, 8050, ...ports]) {
        for (const protocol of ["tcp", "udp", "icmp", "sctp", 47] as const) {
          for (const [from, to] of [[POD, FAR], [POD, POD], [POD6, FAR6]] as const) {
            const { reason } = pod.send({ from, to, protocol, port });
            const right = [Reason.Allowed, Reason.PolicyDenied, Reason.SessionTableFull];
            // Without ports every packet is of the one flow, which the first may have opened.
            if (protocol === 47) right.push(Reason.Established);
            expect(right).toContain(reason);
          }
        }
      }
      expect(pod.dataplane.traps()).toEqual([]);
      if (admitted % 50 === 0) pod = new Pod();
    }), { seed, numRuns });
    expect(admitted).toBeGreaterThan(numRuns / 20);
  }, 120_000);
