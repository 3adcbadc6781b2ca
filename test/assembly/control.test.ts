// The control door: each refusal by a record made for it; a refusal changes nothing that runs,
// leaks nothing and stands in no later push's way; two thousand pushes leave the arena flat; noise
// as records never traps. (Why a module is refused: admission.test.ts.) FUZZ_SEED repeats a run.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ARENA, BACKEND_BYTES, BACKEND_ID, BACKEND_WEIGHT, BIND_BYTES, CONFIGURE_BYTES, ENDPOINT_ADDRESS4,
  ENDPOINT_BYTES, ENDPOINT_HOOKS, ENDPOINTS_BYTES, EndpointKind, FRONTEND_AFFINITY, FRONTEND_BYTES,
  FRONTEND_FLAGS, FRONTEND_INTERNAL, FRONTEND_PORT, FRONTEND_PROTOCOL, FRONTEND_REMOVE_BYTES,
  GROUP_BACKEND, GROUP_COUNT, GROUP_FLAGS, GROUP_ID, GROUP_REMOVE_BYTES, GROUP_SLOTS, GroupFlag,
  Hook, NO_ENDPOINT, POLICY_SLOTS_MAX, Reason, RecordKind, ROOT, ROOT_ARENA_FREE, ROOT_ARENA_NEXT,
  SlotState, StageError, STAGING_BYTES, WORKER_EPOCH, WORKER_GENERATION, WORKERS,
} from "../../assembly/layout.ts";
import { bindRecords, Compiler } from "../../host/compile/program.ts";
import { beginRecord, configureRecord } from "../../host/compile/records.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { concat, moduleRecord, putBytes, record } from "../../host/dataplane/record.ts";
import { addressBytes } from "../../host/model/address.ts";
import { stageErrorText } from "../../host/model/names.ts";
import type { Budgets } from "../../host/model/program.ts";
import { handmade } from "../handmade.ts";
import { packet } from "../packets.ts";
import { refusal } from "../pod.ts";
import { seedOf } from "../seed.ts";
import { ALLOW, BUDGETS, CLIENT, core, shop, VIP4 } from "../shop.ts";

const seed = seedOf("FUZZ_SEED");
const numRuns = Number(process.env["FUZZ_RUNS"] ?? 300);
const clock = { nowMs: 1_000_000, nowSeconds: 1_700_000_000 };

const Begin = RecordKind.Begin, Bind = RecordKind.Bind, Module = RecordKind.Module;
const Endpoints = RecordKind.Endpoints, Endpoint = RecordKind.Endpoint;
const Group = RecordKind.Group, GroupRemove = RecordKind.GroupRemove;
const Frontend = RecordKind.Frontend, FrontendRemove = RecordKind.FrontendRemove;
const BackendStates = RecordKind.BackendStates;
const Address = RecordKind.Address, Abandon = RecordKind.Abandon;

/** A record of 32-bit words; `bytes` may say another length than they have. */
const words = (kind: RecordKind, ...list: number[]): Uint8Array =>
  record(kind, list.length * 4, (b) => list.forEach((each, i) => b.setUint32(i * 4, each, true)));
const ofLength = (kind: RecordKind, bytes: number): Uint8Array => record(kind, bytes, () => {});

type EndpointOf = Partial<Record<"index" | "kind" | "egress" | "ingress", number>>;
const endpoint = (
  of: EndpointOf & { address?: string } = {},
): Uint8Array => record(Endpoint, ENDPOINT_BYTES, (b) => {
  b.setUint32(0, of.index ?? 0, true);
  b.setUint8(6, of.kind ?? EndpointKind.Workload);
  b.setUint16(ENDPOINT_HOOKS + Hook.Egress * 2, of.egress ?? 0, true);
  b.setUint16(ENDPOINT_HOOKS + Hook.Ingress * 2, of.ingress ?? 0, true);
  if (of.address) putBytes(b, ENDPOINT_ADDRESS4, addressBytes(of.address).subarray(12));
});
const address = (text: string, of: number): Uint8Array => record(Address, 24, (b) => {
  putBytes(b, 0, addressBytes(text));
  b.setUint32(16, of, true);
});
type GroupOf = Partial<Record<"id" | "slots" | "count" | "length" | "weight" | "flags", number>>;
/** A group of backends at port 80 of 10.0.1.1, 10.0.1.2 … or of the address given. */
const group = (of: GroupOf & { backend?: string; backendId?: number } = {}): Uint8Array => {
  const count = of.count ?? 1;
  const length = of.length ?? GROUP_BACKEND + count * BACKEND_BYTES;
  return record(Group, length, (b) => {
    b.setUint32(GROUP_ID, of.id ?? FREE_GROUP, true);
    b.setUint32(GROUP_SLOTS, of.slots ?? 0, true);
    b.setUint32(GROUP_COUNT, count, true);
    b.setUint32(GROUP_FLAGS, of.flags ?? 0, true);
    for (let at = GROUP_BACKEND, i = 1; at + BACKEND_BYTES <= length; at += BACKEND_BYTES, i++) {
      putBytes(b, at, addressBytes(of.backend ?? `10.0.1.${i}`));
      b.setUint16(at + 16, 80, true);
      b.setUint16(at + BACKEND_WEIGHT, of.weight ?? 1, true);
      b.setUint32(at + BACKEND_ID, of.backendId ?? i, true);
    }
  });
};
type FrontendOf = Partial<Record<"port" | "protocol" | "flags" | "group" | "affinity", number>>;
const frontend = (of: FrontendOf & { vip?: string } = {}): Uint8Array =>
  record(Frontend, FRONTEND_BYTES, (b) => {
    putBytes(b, 0, addressBytes(of.vip ?? "10.96.0.80"));
    b.setUint16(FRONTEND_PORT, of.port ?? 81, true);
    b.setUint8(FRONTEND_PROTOCOL, of.protocol ?? 6);
    b.setUint32(FRONTEND_FLAGS, of.flags ?? 0, true);
    b.setUint32(FRONTEND_INTERNAL, of.group ?? FREE_GROUP, true);
    b.setUint32(FRONTEND_AFFINITY, of.affinity ?? 0, true);
  });
/** An id of a group that the running program does not use. */
const FREE_GROUP = 64;
/** A fresh table without routes, flags or tunnels. */
const endpointTable = (count: number, addresses: number): Uint8Array =>
  words(Endpoints, count, addresses, ...Array(12).fill(0));
const begun = beginRecord(2);
const ends = [begun, endpointTable(2, 2)];
const begin = (number: number): Uint8Array => words(Begin, number, 0);

/** A running program with one policy in slot 1, as generation 1. */
async function running(budgets: Budgets = BUDGETS, memoryPages = 192) {
  const dataplane = new NodeDataplane(core, { workers: budgets.workers, memoryPages });
  dataplane.stage(configureRecord(budgets));
  const compiler = new Compiler(BUDGETS);
  dataplane.push(await compiler.compile(shop(), 1));
  dataplane.stage(bindRecords(shop()));
  return { dataplane, compiler };
}
const E = StageError;
const arena = (dataplane: NodeDataplane): number =>
  dataplane.memory.view.getUint32(ROOT + ROOT_ARENA_NEXT, true);
const syn = { interface: CLIENT, bytes: packet({ from: "10.0.0.1", to: VIP4, flags: "S" }) };

const CASES: [string, StageError, Uint8Array[]][] = [
  ["a second Configure", E.AlreadyConfigured, [configureRecord(BUDGETS)]],
  ["half a header", E.TruncatedRecord, [begun, Uint8Array.of(1, 0, 0, 0)]],
  ["a body beyond the stream", E.TruncatedRecord, [begun, begun.slice(0, 12)]],
  ["a length of 4 GiB", E.TruncatedRecord,
    [Uint8Array.of(Bind, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)]],
  ["kind 0", E.UnknownRecord, [ofLength(0 as RecordKind, 8)]],
  ["kind 23", E.UnknownRecord, [begun, ofLength(23 as RecordKind, 8)]],
  ["kind 65535", E.UnknownRecord, [ofLength(0xffff as RecordKind, 0)]],
  ["a long Bind", E.BadRecordLength, [ofLength(Bind, BIND_BYTES + 1)]],
  ["a short Begin", E.BadRecordLength, [ofLength(Begin, 4)]],
  ["a short Module", E.BadRecordLength, [ofLength(Module, 7)]],
  ["a long Endpoints", E.BadRecordLength, [begun, ofLength(Endpoints, ENDPOINTS_BYTES + 8)]],
  ["a short Endpoint", E.BadRecordLength, [...ends, ofLength(Endpoint, ENDPOINT_BYTES - 1)]],
  ["an empty Address", E.BadRecordLength, [...ends, endpoint(), ofLength(Address, 0)]],
  ["a Group without its flags", E.BadRecordLength, [ofLength(Group, GROUP_BACKEND - 1)]],
  ["fewer backends than said", E.BadRecordLength,
    [group({ count: 2, length: GROUP_BACKEND + BACKEND_BYTES })]],
  ["a long GroupRemove", E.BadRecordLength, [ofLength(GroupRemove, GROUP_REMOVE_BYTES + 1)]],
  ["a short Frontend", E.BadRecordLength, [ofLength(Frontend, FRONTEND_BYTES - 1)]],
  ["a short FrontendRemove", E.BadRecordLength,
    [ofLength(FrontendRemove, FRONTEND_REMOVE_BYTES - 1)]],
  ["fewer states than said", E.BadRecordLength, [words(BackendStates, 2, 0, 1, 0)]],
  ["interface 4096", E.FieldOutOfRange, [words(Bind, 4096, 0)]],
  ["an endpoint beyond the budget", E.FieldOutOfRange, [words(Bind, 1, BUDGETS.endpointsMax)]],
  ["slot 0", E.FieldOutOfRange, [moduleRecord(0, SlotState.User, handmade())]],
  ["slot 4096", E.FieldOutOfRange, [moduleRecord(POLICY_SLOTS_MAX, SlotState.User, handmade())]],
  ["a module of no kind", E.FieldOutOfRange, [moduleRecord(9, SlotState.Trapped, handmade())]],
  ["no endpoint at all", E.FieldOutOfRange, [begun, endpointTable(0, 0)]],
  ["more endpoints than the budget", E.FieldOutOfRange, [begun, endpointTable(65, 0)]],
  ["2^24 + 1 addresses", E.FieldOutOfRange, [begun, endpointTable(1, 2 ** 24 + 1)]],
  ["an endpoint of index 2 of 2", E.FieldOutOfRange, [...ends, endpoint({ index: 2 })]],
  ["an endpoint of no kind", E.FieldOutOfRange, [...ends, endpoint({ kind: 0 })]],
  ["an endpoint twice", E.FieldOutOfRange, [...ends, endpoint(), endpoint()]],
  ["an address of no endpoint", E.FieldOutOfRange, [...ends, address("10.0.0.1", 1)]],
  ["65,536 backends", E.FieldOutOfRange, [group({ count: 65_536, length: 56 })]],
  ["slots that are no prime", E.FieldOutOfRange, [group({ slots: 2001 })]],
  ["more slots than may be", E.FieldOutOfRange, [group({ slots: 655_379 })]],
  ["fewer slots than backends", E.FieldOutOfRange, [group({ slots: 3, count: 4 })]],
  ["group 0", E.FieldOutOfRange, [group({ id: 0 })]],
  ["a group beyond the budget", E.FieldOutOfRange, [group({ id: 2 ** 21 })]],
  ["flags of a group that nobody knows", E.FieldOutOfRange, [group({ flags: 2 })]],
  ["a weight of 1,001", E.FieldOutOfRange, [group({ weight: 1001 })]],
  ["a backend's id beyond the budget", E.FieldOutOfRange, [group({ backendId: 65_536 })]],
  ["a classic backend that skips nothing", E.FieldOutOfRange,
    [group({ flags: GroupFlag.Classic })]],
  ["a port without a protocol", E.FieldOutOfRange, [group(), frontend({ protocol: 0 })]],
  ["a protocol without a port", E.FieldOutOfRange, [group(), frontend({ port: 0 })]],
  ["flags of a frontend that nobody knows", E.FieldOutOfRange, [frontend({ flags: 2 ** 31 })]],
  ["affinity for a month", E.FieldOutOfRange, [group(), frontend({ affinity: 2_592_000 })]],
  ["the state of a backend beyond the budget", E.FieldOutOfRange,
    [words(BackendStates, 1, 0, 65_536, 0)]],
  ["a state that nobody knows", E.FieldOutOfRange, [words(BackendStates, 1, 0, 1, 2)]],
  ["Endpoints without Begin", E.NothingStaged, [endpointTable(1, 0)]],
  ["an Endpoint after Abandon", E.NothingStaged, [...ends, ofLength(Abandon, 0), endpoint()]],
  ["Begin twice", E.StagingInProgress, [begun, begun]],
  ["Endpoints twice", E.StagingInProgress, [...ends, ends[1]!]],
  ["the running generation", E.BadGeneration, [begin(1)]],
  ["a generation too far", E.BadGeneration, [begin(3)]],
  ["generation 0", E.BadGeneration, [begin(0)]],
  ["an Endpoint without a table", E.TableNotStarted, [begun, endpoint()]],
  ["an Address without a table", E.TableNotStarted, [begun, address("10.0.0.1", 0)]],
  ["an address too many", E.TableFull,
    [begun, endpointTable(2, 1), endpoint({ address: "10.1.0.1" }), address("10.1.0.2", 0)]],
  ["a frontend too many", E.TableFull, [
    group(), ...Array.from({ length: 65 }, (_, i) => frontend({ port: 1000 + i })),
  ]],
  ["tables larger than the memory", E.ArenaFull, [begun, endpointTable(1, 2 ** 22)]],
  ["an address of two endpoints", E.DuplicateAddress,
    [...ends, endpoint({ address: "10.1.0.1" }), endpoint({ index: 1, address: "10.1.0.1" })]],
  ["a group of an id in use", E.GroupInUse, [group(), group({ count: 2 })]],
  ["a group that a frontend names", E.GroupInUse,
    [group(), frontend(), words(GroupRemove, FREE_GROUP, 0)]],
  ["a group that is not there", E.UnknownGroup, [frontend({ group: 63 })]],
  ["the removal of a group beyond", E.FieldOutOfRange, [words(GroupRemove, 2 ** 20, 0)]],
  ["a frontend of ICMP", E.FieldOutOfRange, [group(), frontend({ protocol: 1 })]],
  ["a set beyond the budget", E.FieldOutOfRange,
    [begun, words(Endpoints, 2, 2, 0, 0, 0xffff << 16, ...Array(9).fill(0))]],
  ["a module for a slot in use", E.SlotInUse, [moduleRecord(1, SlotState.Generated, handmade())]],
  ["an ingress slot of nothing", E.SlotNotAdmitted, [...ends, endpoint({ ingress: 77 })]],
  ["an egress slot beyond", E.SlotNotAdmitted, [...ends, endpoint({ egress: 4096 })]],
  ["an IPv6 backend of an IPv4 VIP", E.WrongFamily, [group({ backend: "fd00::1" }), frontend()]],
  ["an IPv4 backend of an IPv6 VIP", E.WrongFamily, [group(), frontend({ vip: "fd00::80" })]],
];

test.each(CASES)("stage-refusals: %s", async (_, error, records) => {
  const { dataplane, compiler } = await running();
  const before = dataplane.process(0, [syn], clock)[0]!.backend;
  const stream = concat(records);
  expect(refusal(() => dataplane.stage(stream))).toBe(stageErrorText(error));
  // What acts at once has acted; blocks that it replaces rest for two calls before they are reused.
  for (let i = 0; i < 3; i++) refusal(() => dataplane.stage(stream));
  const flat = arena(dataplane);
  for (let i = 0; i < 20; i++) refusal(() => dataplane.stage(stream));
  expect(arena(dataplane)).toBe(flat);
  // The generation before runs on, and the next push is taken.
  expect(dataplane.process(0, [syn], clock)[0])
    .toMatchObject({ reason: Reason.Established, backend: before });
  dataplane.push(await compiler.compile(shop(), 2));
  const other = { ...syn, bytes: packet({ from: "10.0.0.1", to: VIP4, sourcePort: 5 }) };
  expect(dataplane.process(0, [other], clock)[0]!.reason).toBe(Reason.Allowed);
});

describe("stage-refusals: before there is a program", () => {
  const fresh = (): NodeDataplane => new NodeDataplane(core, { memoryPages: 192 });
  test.each<[string, StageError, Uint8Array]>([
    ["Bind first", StageError.NotConfigured, words(Bind, 1, NO_ENDPOINT)],
    ["a short Configure", E.BadRecordLength, ofLength(RecordKind.Configure, CONFIGURE_BYTES - 4)],
    ...([
      ["workers", 0], ["workers", 17], ["sessions4Max", 2 ** 26 + 1], ["endpointsMax", 0],
      ["sessions6Max", 2 ** 26 + 1], ["endpointsMax", 65_536], ["servicesMax", 2 ** 20 + 1],
    ] as const).map(([field, value]): [string, StageError, Uint8Array] => [
      `${field} ${value}`, E.FieldOutOfRange, configureRecord({ ...BUDGETS, [field]: value }),
    ]),
    ["sessions beyond the memory", StageError.MemoryTooSmall,
      configureRecord({ ...BUDGETS, sessions4Max: 2 ** 24 })],
  ])("%s", (_, error, stream) => {
    const dataplane = fresh();
    expect(refusal(() => dataplane.stage(stream))).toBe(stageErrorText(error));
    expect(dataplane.core.publish(1)).toBe(StageError.NotConfigured);
    dataplane.stage(configureRecord(BUDGETS));
  });
  test("publish without Begin, without endpoints, or of another number", () => {
    const dataplane = fresh();
    dataplane.stage(configureRecord(BUDGETS));
    expect(dataplane.core.publish(1)).toBe(StageError.NothingStaged);
    dataplane.stage(begin(1));
    expect(dataplane.core.publish(2)).toBe(StageError.NothingStaged);
    // Each refusal abandons what was staged.
    expect(dataplane.core.publish(1)).toBe(StageError.NothingStaged);
    dataplane.stage(begin(1));
    expect(dataplane.core.publish(1)).toBe(StageError.TableNotStarted);
    expect(dataplane.core.publish(1)).toBe(StageError.NothingStaged);
    dataplane.stage(begin(1));
    dataplane.stage(endpointTable(1, 0));
    expect(dataplane.core.publish(1)).toBe(StageError.None);
  });
  test("a length beyond the staging buffer", () => {
    expect(fresh().core.stage(STAGING_BYTES + 1)).toBe(StageError.TruncatedRecord);
    expect(fresh().core.stage(-1)).toBe(StageError.TruncatedRecord);
  });
});

test("stage-refusals: a generation that a worker is inside of is not taken out", async () => {
  const { dataplane, compiler } = await running();
  for (let n = 2; n <= 4; n++) dataplane.push(await compiler.compile(shop(), n));
  const { view } = dataplane.memory;
  const worker = WORKERS + 1024; // worker 1, as if it were in a frame of generation 1
  view.setUint32(worker + WORKER_GENERATION, 1, true);
  view.setUint32(worker + WORKER_EPOCH, 1, true);
  const push = await compiler.compile(shop(), 5);
  expect(refusal(() => dataplane.push(push))).toBe("generation-busy");
  dataplane.changeOver(1);
  expect(dataplane.process(0, [syn], clock)[0]!.reason).toBe(Reason.Allowed);
  view.setUint32(worker + WORKER_EPOCH, 2, true);
  dataplane.push(push);
  expect(dataplane.process(0, [syn], clock)[0]!.reason).toBe(Reason.Established);
});

test("a table that is larger than the memory is refused, and tramples on nothing", async () => {
  // 2^23 + 1 addresses need a gigabyte. The memory has less, but more than a quarter of it.
  const { dataplane } = await running(BUDGETS, 6144);
  const entry = endpoint({ address: "10.1.0.1" });
  const stream = concat([begun, endpointTable(1, 2 ** 23 + 1), entry]);
  expect(refusal(() => dataplane.stage(stream))).toBe(stageErrorText(StageError.ArenaFull));
});

test("stage-refusals: a policy whose push was refused works at the next push", async () => {
  const { dataplane, compiler } = await running();
  const rules = [{ name: "all", action: "allow" as const }];
  const push = await compiler.compile(shop(rules), 2);
  const refused = { ...push, records: concat([push.records, ofLength(Bind, 3)]) };
  expect(refusal(() => dataplane.push(refused))).toBe("bad-record-length");
  dataplane.push(await compiler.compile(shop(rules), 2));
  expect(dataplane.process(0, [syn], clock)[0]!.reason).toBe(Reason.Allowed);
  expect(dataplane.traps()).toEqual([]);
});

test("stage-refusals: a push that publish refuses is not in the next one's way", async () => {
  const dataplane = new NodeDataplane(core, { memoryPages: 192 });
  dataplane.stage(configureRecord(BUDGETS));
  const empty = { generation: 1, modules: [], records: beginRecord(1) };
  expect(refusal(() => dataplane.push(empty))).toBe("table-not-started");
  dataplane.push(await new Compiler().compile(shop(), 1));
  expect(dataplane.generation).toBe(1);
});

test("arena-flat: two thousand pushes, some refused, leave the arena as it was", async () => {
  const { dataplane, compiler } = await running();
  const small = shop(ALLOW.slice(0, 2));
  small.services.pop();
  const large = shop();
  const many = Array.from({ length: 40 }, (_, i) => ({
    name: `pod-${i}`, address: `10.0.9.${i}`, port: 1000 + i, weight: 1 + i % 3,
  }));
  large.services[0]!.backends.push(...many);
  let flat = 0;
  for (let n = 2; n <= 2001; n++) {
    if (n === 40) flat = arena(dataplane);
    const broken = concat([begin(n), endpointTable(2, 2), endpoint(), endpoint()]);
    if (n % 5 === 0) refusal(() => dataplane.stage(broken));
    dataplane.push(await compiler.compile([small, shop(), large][n % 3]!, n));
  }
  expect(arena(dataplane)).toBe(flat);
  expect(dataplane.process(0, [syn], clock)[0]!.reason).toBe(Reason.Allowed);
});

test("memory-too-small: a Configure that was refused leaves nothing in the tables", () => {
  const dataplane = new NodeDataplane(core, { workers: 1, memoryPages: 192 });
  const small = { ...BUDGETS, workers: 1, sessions4Max: 1, sessions6Max: 1 };
  const members = { members4Max: 65_536, members6Max: 131_072, classesMax: 1 << 10 };
  expect(refusal(() => dataplane.stage(configureRecord({ ...small, ...members }))))
    .toBe("memory-too-small");
  const { memory } = dataplane;
  const dirty = memory.bytes.subarray(ARENA).findIndex((byte) => byte !== 0);
  expect(dirty).toBe(-1);
  dataplane.stage(configureRecord({ ...small, sessions4Max: 4096, members4Max: 64 }));
  const free = memory.view.getUint32(ROOT + ROOT_ARENA_NEXT, true);
  for (let sizeClass = 0; sizeClass < 128; sizeClass++) { // nothing on a free list
    expect(memory.view.getUint32(ROOT + ROOT_ARENA_FREE + sizeClass * 4, true)).toBe(0);
  }
  expect(free).toBeGreaterThan(ARENA);
});

// ---- Noise ------------------------------------------------------------------------------------

const edges = fc.constantFrom(0xffffffff, 0x80000000, 1999, 4096, 1 << 24);
const number = fc.oneof(fc.nat(8), edges, fc.nat());
const valid = [...CASES.flatMap(([, , records]) => records), begin(2), begin(3), endpoint()];
const someRecord = fc.oneof(
  fc.constantFrom(...valid),
  fc.tuple(fc.nat(20), fc.array(number, { maxLength: 20 }))
    .map(([kind, list]) => words(kind, ...list)),
  fc.tuple(fc.nat(20), number, fc.uint8Array({ maxLength: 60 })).map(([kind, length, noise]) =>
    concat([new Uint8Array(Uint32Array.of(kind, length).buffer), noise])),
);

test("noise as stage records never traps, and the door opens again", async () => {
  console.log(`FUZZ_SEED=${seed}`);
  const { dataplane } = await running();
  const step = fc.tuple(fc.array(someRecord, { maxLength: 8 }), fc.nat(3));
  fc.assert(fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
    for (const [records, publish] of steps) {
      const error = dataplane.core.stage(dataplane.memory.writeStaging(concat(records)));
      expect(StageError[error]).toBeDefined();
      if (publish === 0) dataplane.core.publish(dataplane.memory.view.getUint32(ROOT + 44, true));
      dataplane.process(0, [syn], clock);
      expect(dataplane.traps().filter((each) => each.policySlot === 0)).toEqual([]);
    }
  }), { seed, numRuns });
  dataplane.stage(ofLength(Abandon, 0));
  const published = dataplane.memory.view.getUint32(ROOT + 40, true);
  const records = concat([begin(published + 1), endpointTable(1, 0)]);
  dataplane.push({ generation: published + 1, modules: [], records });
});
