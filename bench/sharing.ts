// What sharing one session table costs two workers (docs/decisions/0004): established flows whose
// two directions meet on one worker, against flows whose requests are on one and whose replies on
// the other, so that both touch every record and every bucket. Native threads, by turns in one run.
//
//   alone     one worker, requests and replies of its flows
//   apart     two workers, each requests and replies of its own flows
//   across    two workers, the requests of all flows on one, the replies on the other
//
// npm run bench:sharing [-- --flows 10000 --rounds 7]
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { SLOT_BYTES, Verdict, WINDOW_BYTES } from "../assembly/layout.ts";
import { bindRecords, Compiler } from "../host/compile/program.ts";
import { configureRecord } from "../host/compile/records.ts";
import type { TrafficFrame } from "../host/dataplane/addon.ts";
import type { Packet } from "../host/dataplane/dataplane.ts";
import { NativeDataplane } from "../host/dataplane/native.ts";
import { packet } from "../test/packets.ts";
import { shop, VIP4 } from "../test/shop.ts";

const clock = { nowMs: 1_000_000, nowSeconds: 1_700_000_000 };
const FRAME = 256;
const UPLINK = 5;
const MEASURE_MS = 400;

interface Flow {
  request: Packet;
  reply: Packet;
}

/** Opens a flow and answers what either end sends on it. */
function open(dataplane: NativeDataplane, n: number): Flow {
  const from = `198.18.${n >> 8 & 255}.${n & 255}`, sourcePort = 1024 + (n >> 16);
  const bytes = packet({ from, to: VIP4, protocol: "udp", sourcePort, port: 53, noChecksum: true });
  const request = { interface: UPLINK, bytes };
  const sent = dataplane.process(0, [request], clock)[0]!.bytes!;
  const backend = sent.subarray(16, 20).join(".");
  const reply = packet({
    from: backend, to: from, protocol: "udp", sourcePort: 5353, port: sourcePort, noChecksum: true,
  });
  return { request, reply: { interface: backend.endsWith(".1") ? 3 : 4, bytes: reply } };
}

function framesOf(dataplane: NativeDataplane, packets: Packet[]): TrafficFrame[] {
  const frames: TrafficFrame[] = [];
  for (let at = 0; at + FRAME <= packets.length; at += FRAME) {
    packets.slice(at, at + FRAME).forEach((each, i) => dataplane.memory.writePacket(0, i, each));
    const copy = (from: number, bytes: number): Uint8Array =>
      dataplane.memory.bytes.slice(from, from + bytes);
    frames.push({
      count: FRAME,
      slots: copy(dataplane.memory.slotOf(0, 0), FRAME * SLOT_BYTES),
      windows: copy(dataplane.memory.windowOf(0, 0), FRAME * WINDOW_BYTES),
      allowed: new Uint8Array(FRAME).fill(1 << Verdict.Pass),
    });
  }
  return frames;
}

/** ns a packet of each worker. */
async function measure(dataplane: NativeDataplane, plans: TrafficFrame[][]): Promise<number[]> {
  dataplane.addon.trafficStart(
    plans.map((frames, worker) => ({ worker, frames, ...clock, realClock: true })),
  );
  await new Promise((done) => setTimeout(done, MEASURE_MS));
  return dataplane.addon.trafficStop().map((count) => {
    if (count.wrongVerdicts || count.missing) throw new Error("an established packet did not pass");
    return count.nanoseconds / count.packets;
  });
}

const median = (all: number[]): number => [...all].sort((a, b) => a - b)[all.length >> 1]!;

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      flows: { type: "string", default: "10240" }, rounds: { type: "string", default: "7" },
    },
  });
  const flows = Math.ceil(Number(values.flows) / (2 * FRAME)) * 2 * FRAME;
  const dataplane = new NativeDataplane(readFileSync("build/margay.wasm"), { workers: 2 });
  dataplane.stage(configureRecord({
    workers: 2, sessions4Max: Math.ceil(flows * 1.25) + 1024, sessions6Max: 0, endpointsMax: 16,
    servicesMax: 16, timeoutsMs: [3_600_000, 0, 0, 0, 0, 0],
  }));
  const program = shop();
  dataplane.push(await new Compiler().compile(program, 1));
  dataplane.stage(bindRecords(program));
  const all = Array.from({ length: flows }, (_, n) => open(dataplane, n));
  const half = flows / 2;
  const both = (part: Flow[]): Packet[] =>
    [...part.map((flow) => flow.request), ...part.map((flow) => flow.reply)];
  const cases: [string, TrafficFrame[][]][] = [
    ["alone", [framesOf(dataplane, both(all.slice(0, half)))]],
    ["apart", [all.slice(0, half), all.slice(half)].map((part) => framesOf(dataplane, both(part)))],
    ["across", [
      framesOf(dataplane, all.map((flow) => flow.request)),
      framesOf(dataplane, all.map((flow) => flow.reply)),
    ]],
  ];
  const found = new Map(cases.map(([name]) => [name, [] as number[][]]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [name, plans] of cases) found.get(name)!.push(await measure(dataplane, plans));
  }
  console.log(`| ${flows} flows | ns a packet, worker 0 | worker 1 |`);
  console.log("| --- | --- | --- |");
  for (const [name, rounds] of found) {
    const [first, second] = [0, 1].map((w) => rounds.map((round) => round[w] ?? NaN).map(Number));
    const text = (each: number[]): string =>
      Number.isNaN(each[0]) ? "-" : median(each).toFixed(1);
    console.log(`| ${name} | ${text(first!)} | ${text(second!)} |`);
  }
  dataplane.close();
}
