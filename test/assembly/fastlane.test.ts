// The fast lane against the pipeline that it spares: the core, and a copy of it in which the lane
// carries nothing, get the same frames. Slots, windows, counters and sessions must be the same
// bytes. Packets are mostly of established sessions, a few with one byte of a header changed, cut,
// padded, from another interface or with other slot flags; a push in the middle ends some sessions.
// FUZZ_SEED repeats a run, FUZZ_RUNS lengthens it.
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import {
  ENDPOINTS_ADDRESSES, ENDPOINTS_BYTES, ENDPOINTS_CAPACITY, ENDPOINTS_MAX, ENDPOINT_ADDRESS4,
  ENDPOINT_BYTES, ENDPOINT_INCARNATION, ENDPOINT_INDEX, ENDPOINT_KIND, EndpointKind, Reason,
  RecordKind,
} from "../../assembly/layout.ts";
import { bindRecords, Compiler } from "../../host/compile/program.ts";
import {
  beginRecord, bindRecord, configureRecord, serviceRecords,
} from "../../host/compile/records.ts";
import type { Packet, Push } from "../../host/dataplane/dataplane.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { concat, record } from "../../host/dataplane/record.ts";
import { bytesOf, lanelessCore, runThrough } from "../laneless.ts";
import { packet, sum16, type Spec } from "../packets.ts";
import { seedOf } from "../seed.ts";
import {
  BACKEND1, BACKEND2, BUDGETS, CLIENT, core, shop, STRANGER, UPLINK, VIP4, VIP6,
} from "../shop.ts";

const seed = seedOf("FUZZ_SEED");
const numRuns = Number(process.env["FUZZ_RUNS"] ?? 100);
const clock = { nowMs: 3_000_000, nowSeconds: 1_700_000_000 };
const BARE4 = 6, BARE6 = 7, NOWHERE = 99;

let laneless: Uint8Array;
beforeAll(async () => {
  laneless = await lanelessCore();
});

const program = shop();
program.endpoints.push(
  { name: "bare4", kind: "workload", interfaces: [BARE4], addresses: ["10.0.0.8"] },
  { name: "bare6", kind: "workload", interfaces: [BARE6], addresses: ["fd00::8"] },
);
const later = structuredClone(program);
later.endpoints[3]!.incarnation = 1; // backend 2 is another pod, the client lost an address
later.endpoints[0]!.addresses[1] = "fd00::11";
let compiled: Promise<[Push, Push]> | undefined;
async function compile(): Promise<[Push, Push]> {
  const compiler = new Compiler();
  return [await compiler.compile(program, 1), await compiler.compile(later, 2)];
}
function running(wasm: Uint8Array, push: Push, budgets = BUDGETS): NodeDataplane {
  const dataplane = new NodeDataplane(wasm, { workers: budgets.workers, memoryPages: 256 });
  dataplane.stage(configureRecord(budgets));
  dataplane.push(push);
  dataplane.stage(bindRecords(program));
  return dataplane;
}

/** The frames through both cores; how many packets the lane carried. */
function agree(pushes: Push[], parts: Packet[][][]): number {
  const lane = running(core, pushes[0]!), full = running(laneless, pushes[0]!);
  let carried = 0;
  parts.forEach((frames, part) => {
    if (part) for (const each of [lane, full]) each.push(pushes[part]!);
    for (const frame of frames) {
      carried += frame.length - runThrough(lane, frame, clock);
      expect(runThrough(full, frame, clock)).toBe(frame.length);
      const a = bytesOf(lane, frame.length), b = bytesOf(full, frame.length);
      a.forEach((each, i) => each.equals(b[i]!) ||
        expect([i % frame.length, each]).toEqual([i % frame.length, b[i]]));
    }
    expect(lane.counters()).toEqual(full.counters());
    expect(lane.sessions()).toEqual(full.sessions());
  });
  expect([...lane.traps(), ...full.traps()]).toEqual([]);
  return carried;
}

const often = <T,>(usual: T, rare: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight: 8, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: rare });
const step = fc.record({
  four: fc.boolean(), udp: fc.boolean(), second: fc.boolean(), flow: fc.nat(2),
  role: fc.constantFrom("out", "out", "back", "back", "uplink"), backend: fc.constantFrom(1, 2),
  flags: often("A", fc.constantFrom("S", "SA", "R", "FA", "F", "PA", "RA", "SF")),
  payload: fc.nat(130), noChecksum: fc.boolean(),
  at: often(0, fc.constantFrom(BARE4, BARE6, NOWHERE, UPLINK, CLIENT, STRANGER)),
  from: often("", fc.constantFrom("0", "mapped")),
  cut: often(0, fc.integer({ min: -20, max: 60 })),
  edit: often(-1, fc.oneof(fc.constantFrom(6, 7, 8, 9, 32, 52), fc.nat(63))), fix: fc.boolean(),
  value: fc.oneof(fc.constantFrom(0, 1, 4, 5, 6, 17, 0x40, 0x45, 0x50, 0x60, 0xff), fc.nat(255)),
  slotFlags: often(0, fc.nat(15)),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function packetOf(s: Step): Packet {
  const client = s.four ? (s.second ? "10.0.0.101" : "10.0.0.1") : "fd00::1";
  const far = s.four ? "198.51.100.7" : "2001:db8::7";
  const peer = s.role === "uplink" || s.flow === 2 ? far : client;
  const backend = s.four ? `10.0.1.${s.backend}` : `fd00:1::${s.backend}`;
  const zero = s.four ? "0.0.0.0" : "::";
  const spec: Spec = s.role === "back"
    ? { from: backend, to: peer, sourcePort: s.udp ? 5353 : 8080, port: 40000 + s.flow }
    : {
      from: s.from === "0" ? zero : peer, to: s.four ? VIP4 : VIP6,
      port: s.udp ? 53 : 80, sourcePort: 40000 + s.flow,
    };
  let bytes = packet({
    ...spec, protocol: s.udp ? "udp" : "tcp", flags: s.flags, payload: s.payload,
    noChecksum: s.noChecksum,
  });
  if (s.from === "mapped" && !s.four) bytes.fill(0, 8, 18).fill(0xff, 18, 20);
  if (s.edit >= 0) bytes[s.edit % bytes.length] = s.value;
  if (s.fix && s.four) {
    bytes.fill(0, 10, 12);
    new DataView(bytes.buffer).setUint16(10, ~sum16(bytes.subarray(0, 20)) & 0xffff);
  }
  if (s.cut > 0) bytes = bytes.slice(0, Math.max(1, bytes.length - s.cut));
  if (s.cut < 0) bytes = Uint8Array.from([...bytes, ...new Uint8Array(-s.cut)]);
  const own = s.role === "back" ? (s.backend === 1 ? BACKEND1 : BACKEND2)
    : peer === far ? UPLINK : CLIENT;
  return { interface: s.at || own, bytes, flags: s.slotFlags };
}/** What opens the flows: one packet each, TCP in mid-flow. */
const openers = [true, false].flatMap((four) => [true, false].flatMap((udp) =>
  [0, 1, 2].flatMap((flow) => [true, false].map((second) => packetOf({
    four, udp, second, flow, role: "out", backend: 1, flags: "A", payload: 8, noChecksum: false,
    at: 0, from: "", cut: 0, edit: -1, fix: false, value: 0, slotFlags: 0,
  })))));

test("fast-lane: it carries nothing that the pipeline would treat otherwise", async () => {
  console.log(`FUZZ_SEED=${seed}`);
  const pushes = await (compiled ??= compile());
  let carried = 0, all = 0;
  const few = fc.array(step, { minLength: 1, maxLength: 60, size: "max" });
  const many = fc.array(step, { minLength: 250, maxLength: 256, size: "max" });
  const frames = fc.array(fc.oneof(few, many), { minLength: 1, maxLength: 3 });
  await fc.assert(fc.property(frames, frames, (a, b) => {
    const parts = [a, b].map((part) => part.map((frame) => frame.map(packetOf)));
    carried += agree(pushes, [[openers, ...parts[0]!], parts[1]!]);
    all += parts.flat(2).length;
  }), { seed, numRuns });
  expect(carried).toBeGreaterThan(all / 20);
}, 120_000);

const at = (from: number, spec: Spec): Packet => ({ interface: from, bytes: packet(spec) });
const reasons = (dataplane: NodeDataplane, frame: Packet[]): string[] =>
  dataplane.process(0, frame, clock).map((each) => Reason[each.reason]!);

test("a SYN from a further address keeps its replies off the lane", async () => {
  const [push] = await (compiled ??= compile());
  const web: Spec = { from: "10.0.0.101", to: VIP4, port: 80 };
  // The full pipeline says what is right.
  const outcomes = await Promise.all([laneless, core].map(async (wasm) => {
    const dataplane = running(wasm, push);
    const [opened] = dataplane.process(0, [at(CLIENT, web)], clock);
    const n = opened!.backend! + 1;
    // From now on the service has the other backend alone: a SYN opens a session to that one.
    const other = structuredClone(program);
    other.services.forEach((each) => each.backends.splice(n - 1, 1));
    other.policies[0] = { name: "web", rules: [{ name: "all", action: "allow" }] };
    const compiler = new Compiler();
    await compiler.compile(program, 1);
    dataplane.push(await compiler.compile(other, 2));
    const reply = at(n === 1 ? BACKEND1 : BACKEND2, {
      from: `10.0.1.${n}`, to: web.from, sourcePort: 8080, port: 40000, flags: "A",
    });
    return reasons(dataplane, [at(CLIENT, { ...web, flags: "R" }), at(CLIENT, web), reply]);
  }));
  expect(outcomes[0]).toEqual(["Established", "Allowed", "Allowed"]);
  expect(outcomes[1]).toEqual(outcomes[0]);
});

test("no endpoint's identity is the mark of packets that are not plain", () => {
  const index = ENDPOINTS_MAX - 1;
  const budgets = { ...BUDGETS, sessions4Max: 8, endpointsMax: ENDPOINTS_MAX };
  const lone: Push = { generation: 1, modules: [], records: concat([
    beginRecord(1),
    record(RecordKind.Endpoints, ENDPOINTS_BYTES, (body) => {
      body.setUint32(ENDPOINTS_CAPACITY, ENDPOINTS_MAX, true);
      body.setUint32(ENDPOINTS_ADDRESSES, 1, true);
    }),
    record(RecordKind.Endpoint, ENDPOINT_BYTES, (body) => {
      body.setUint32(ENDPOINT_INDEX, index, true);
      body.setUint16(ENDPOINT_INCARNATION, 0xffff, true);
      body.setUint8(ENDPOINT_KIND, EndpointKind.Workload);
      body.setUint32(ENDPOINT_ADDRESS4, 0x0a000001);
    }),
    ...serviceRecords([]),
  ]) };
  const dataplane = running(core, lone, budgets);
  dataplane.stage(bindRecord(CLIENT, index));
  for (let n = 0; n < 6; n++) {
    const good = at(CLIENT, {
      from: "10.0.0.1", to: "198.51.100.7", protocol: "udp", sourcePort: 40000 + n,
    });
    expect(reasons(dataplane, [good])).toEqual(["Allowed"]);
    expect(reasons(dataplane, [good])).toEqual(["Established"]);
    expect(reasons(dataplane, [{ ...good, interface: NOWHERE }])).toEqual(["UnknownEndpoint"]);
    const bytes = good.bytes.slice();
    bytes[8] = 1; // the header's checksum is wrong now
    expect(reasons(dataplane, [{ ...good, bytes }])).toEqual(["BadChecksum"]);
  }
});
