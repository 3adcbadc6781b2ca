// Swapping generations under traffic, on the native engine with the real program: two threads
// process without a pause while a policy for new flows turns from allow to deny and back, a
// thousand times.
//
//   worker 0   clients' packets of open connections, and new flows from the uplink
//   worker 1   the backends' packets of the same connections, and new flows
//   this one   pushes, and between two pushes watches the counters
//
// Every module is sent anew, into the slot that no generation of the core's ring names any more, so
// that stores take on a thousand modules and are rebuilt meanwhile.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { GENERATIONS, Reason, Verdict } from "../assembly/layout.ts";
import { compilePolicy } from "../host/compile/policy.ts";
import { bindRecords } from "../host/compile/program.ts";
import {
  beginRecord, configureRecord, endpointRecords, serviceRecords,
} from "../host/compile/records.ts";
import { concat } from "../host/dataplane/record.ts";
import { addonPath } from "../host/dataplane/addon.ts";
import type { Packet, Result } from "../host/dataplane/dataplane.ts";
import { NativeDataplane } from "../host/dataplane/native.ts";
import type { ProgramRule } from "../host/model/program.ts";
import { DROP, PASS, trafficFrame } from "./native-frames.ts";
import { packet } from "./packets.ts";
import { ALLOW, BACKEND1, BACKEND2, BUDGETS, CLIENT, core, shop, UPLINK, VIP4 } from "./shop.ts";
import { audit } from "./stress/audit.ts";

const built = addonPath() !== undefined;
if (!built) console.log("swap-native: skipped (not built: npm run build:native)");

const PUSHES = Number(process.env["MARGAY_SWAP_PUSHES"] ?? 1000);
const FLOWS = 128;
/** One more than the generations that the core still holds when a module comes. */
const SLOTS = GENERATIONS + 1;
const CLIENT4 = "10.0.0.1";
const clock = { nowMs: 1_000_000, nowSeconds: 1_700_000_000 };
const DENY: ProgramRule[] = [{ name: "nothing", action: "deny" }];

/** Opens the connections; answers what either end sends on, and how it must leave. */
function connections(dataplane: NativeDataplane) {
  const send = (from: number, bytes: Uint8Array): Result =>
    dataplane.process(0, [{ interface: from, bytes }], clock)[0]!;
  const request: Packet[] = [], reply: Packet[] = [];
  const requested: Uint8Array[] = [], replied: Uint8Array[] = [];
  for (let i = 0; i < FLOWS; i++) {
    const client = { from: CLIENT4, to: VIP4, sourcePort: 20_000 + i, port: 80 };
    const syn = send(CLIENT, packet({ ...client, flags: "S" }));
    expect(syn).toMatchObject({ verdict: Verdict.Pass, reason: Reason.Allowed });
    const backend = `10.0.1.${syn.bytes![19]}`;
    const at = syn.bytes![19] === 1 ? BACKEND1 : BACKEND2;
    const server = { from: backend, to: CLIENT4, sourcePort: 8080, port: 20_000 + i };
    send(at, packet({ ...server, flags: "SA" }));
    request.push({ interface: CLIENT, bytes: packet({ ...client, flags: "A" }) });
    requested.push(send(CLIENT, request[i]!.bytes).bytes!);
    reply.push({ interface: at, bytes: packet({ ...server, flags: "A" }) });
    replied.push(send(at, reply[i]!.bytes).bytes!);
    expect([...replied[i]!.subarray(12, 16)]).toEqual(VIP4.split(".").map(Number));
  }
  return { request, requested, reply, replied };
}

const residentMiB = (): number =>
  Number(readFileSync("/proc/self/statm", "utf8").split(" ")[1]) * 4096 / 2 ** 20;

test.skipIf(!built)("swap-native: a thousand pushes, two threads, nothing lost", async () => {
  const dataplane = new NativeDataplane(core, { workers: 2 });
  const modules = [await compilePolicy({ name: "web", rules: DENY }),
    await compilePolicy({ name: "web", rules: ALLOW })];
  const program = shop();
  const push = (generation: number): void => {
    const slot = 1 + (generation % SLOTS);
    dataplane.push({
      generation, modules: [{ slot, kind: "generated", wasm: modules[generation % 2]! }],
      records: concat([
        beginRecord(generation), ...endpointRecords(program.endpoints, new Map([["web", slot]])),
        ...serviceRecords(program.services),
      ]),
    });
  };
  // UDP sessions end after 0.3 s, so that new flows find room again and again
  dataplane.stage(configureRecord({
    ...BUDGETS, sessions4Max: 1 << 16, timeoutsMs: [300, 0, 0, 3_600_000, 0, 0],
  }));
  push(1);
  dataplane.stage(bindRecords(program));
  const open = connections(dataplane);

  const frames = [[open.request, open.requested], [open.reply, open.replied]] as const;
  dataplane.addon.trafficStart(frames.map(([packets, expected], worker) => ({
    worker, ...clock, realClock: true, ageBudget: 512,
    frames: [trafficFrame(packets, PASS, expected), newFlows(worker)],
  })));
  const counter = (reason: Reason): bigint => dataplane.addon.counter(reason);
  const grown = { allowed: 0, denied: 0 };
  const leaked: number[] = [];
  let resident = 0;
  const started = performance.now();
  let counts;
  try {
    for (let generation = 2; generation <= PUSHES + 1; generation++) {
      push(generation);
      // From the return of the push on, nothing is judged by the generation before.
      const [never, may, name] = generation % 2
        ? [Reason.PolicyDenied, Reason.Allowed, "allowed"] as const
        : [Reason.Allowed, Reason.PolicyDenied, "denied"] as const;
      const before = [counter(never), counter(may)] as const;
      const until = performance.now() + 1;
      while (performance.now() < until);
      if (counter(never) !== before[0]) leaked.push(generation);
      if (counter(may) > before[1]) grown[name]++;
      if (generation === Math.ceil(PUSHES / 5)) resident = residentMiB();
    }
  } finally {
    counts = dataplane.addon.trafficStop();
  }
  const took = (performance.now() - started) / 1000;
  const stats = dataplane.stats();
  const growth = residentMiB() - resident;
  console.log(`swap-native: ${PUSHES} pushes in ${took.toFixed(1)} s, ${stats.rebuilds} rebuilds, `
    + `${growth.toFixed(1)} MiB grown; per worker ` + counts.map((count) =>
      `${count.frames} frames, ${count.packets} packets, ${count.aged} sessions ended, `
      + `worst frame ${(count.worstNanoseconds / 1e6).toFixed(2)} ms`).join("; "));
  for (const count of counts) {
    expect(count.first).toBeUndefined();
    expect(count).toMatchObject({
      missing: 0, wrongVerdicts: 0, wrongWindows: 0, coreTraps: 0, refused: 0,
    });
    expect(count.frames).toBeGreaterThan(PUSHES);
    expect(count.dropped).toBeGreaterThan(0);
  }
  expect(leaked).toEqual([]);
  expect(grown.allowed).toBeGreaterThan(PUSHES / 50);
  expect(grown.denied).toBeGreaterThan(PUSHES / 50);
  expect(counter(Reason.NoSession)).toBe(0n);
  expect(counter(Reason.NoGeneration)).toBe(0n);
  expect(stats).toMatchObject({ pushes: PUSHES + 1, policyTraps: 0, coreTraps: 0 });
  expect(growth).toBeLessThan(32);
  const sessions = dataplane.sessions().filter((session) => session.protocol === 6);
  expect(sessions).toHaveLength(FLOWS);
  expect(audit(dataplane.memory).problems).toEqual([]);
  dataplane.close();
}, 180_000);

/** Packets of flows that nobody has seen; those of the two workers differ. */
function newFlows(worker: number) {
  const packets = Array.from({ length: 8 }, (_, i): Packet => ({
    interface: UPLINK,
    bytes: packet({
      from: `${198 + worker}.0.0.1`, to: VIP4, protocol: "udp", sourcePort: 30_000 + i, port: 53,
      noChecksum: true,
    }),
  }));
  return trafficFrame(packets, PASS | DROP, undefined, true);
}
