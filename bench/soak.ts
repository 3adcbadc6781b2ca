// npm run soak:vpp: the plugin at full rate for a long time, while everything about it changes.
//
//   npm run soak:vpp -- [--minutes 30] [--json]
//
//   packets   of a window of clients that moves on, so that sessions are made and end all the time;
//             every eighth turn of such as the policy denies
//   pushes    another version of the policy, four a second
//   interfaces  one made, bound, enabled and deleted again, each second
//
// At its end traffic stops, and then: packets in = packets out + drops by reason, as the program
// counts them; every session ends; buffers are back; resident memory has not grown since the first
// fifth of the time. Each that does not hold is said by name, and the status is 1. Written to
// bench/results/<date>-vpp-soak.md. Without VPP or the plugin: status 3.

import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { commitOf } from "./commit.ts";
import { type Bed, CLIENTS_ALLOWED, worstRules } from "./vpp/bed.ts";
import { buildBenchPlugins } from "./vpp/build.ts";
import { percentile, pushVersion, reasons } from "./vpp/load.ts";
import { trafficOf } from "./vpp/measure.ts";
import { type Install, pause, Rig } from "./vpp/rig.ts";

const EXIT_MISSING = 3;
const WINDOW = 40_000, STEP = 5000;
const IDLE_SECONDS = 3;
const TURN_MS = 250;
/** Resident memory may be so much larger at the end: megabytes. */
const GROWTH_MB_MAX = 32;
const BED: Bed = {
  family: 4, peer: "cnat", services: 1, sessions: 400_000, policy: worstRules(100),
  idleSeconds: IDLE_SECONDS,
};

interface Sample { seconds: number; residentMb: number; sessions: number; pushes: number }
export interface SoakFigures {
  seconds: number;
  packetsIn: number;
  packetsOut: number;
  reasons: Record<string, number>;
  pushes: number;
  inForceMs: { median: number; p99: number };
  interfaces: number;
  sessionsMost: number;
  sessionsLeft: number;
  buffersBefore: number;
  buffersAfter: number;
  residentMb: { early: number; end: number };
  samples: Sample[];
  /** What did not hold, by name. */
  wrong: string[];
}

const PASSED = new Set(["allowed", "established"]);
const sum = (values: number[]): number => values.reduce((total, each) => total + each, 0);

/** Buffers in use, of all pools: neither free nor in a thread's cache. Between frames, no one. */
export function buffersUsed(text: string): number {
  const pools = text.split("\n").filter((line) => /^\S+\s+\d+\s+\d+\s/.test(line));
  if (!pools.length) throw new Error(`show buffers: no pool in ${text}`);
  return sum(pools.map((line) => Number(line.trim().split(/\s+/).at(-1))));
}

/** Made, bound, enabled and gone again: its number is used by the next one. */
async function interfaceTurn(rig: Rig): Promise<void> {
  const { vpp } = rig;
  const name = (await vpp.command("create loopback interface")).trim();
  await vpp.quietly(`set interface state ${name} up`);
  await vpp.expect(`margay bind ${name} 1`, "interface bound");
  await vpp.expect(`set margay input ${name}`, "input enabled");
  await vpp.quietly(`delete loopback interface intfc ${name}`);
}

export async function soak(
  install: Install, seconds: number, log: (text: string) => void,
): Promise<SoakFigures> {
  const rig = await Rig.start(install, BED);
  try {
    const traffic = trafficOf(rig);
    await rig.flows("margay", traffic, { ...churned(0), random: true });
    await rig.stream("soak", "margay", traffic);
    await rig.clearCounters();
    const counted = await reasons(rig);
    const buffersBefore = buffersUsed(await rig.vpp.command("show buffers"));
    const started = Date.now(), samples: Sample[] = [], inForce: number[] = [];
    let interfaces = 0, sampled = -Infinity, sessionsMost = 0;
    const elapsed = (): number => (Date.now() - started) / 1000;
    await rig.enable("soak", "margay");
    for (let turn = 1; elapsed() < seconds; turn++) {
      const next = started + turn * TURN_MS;
      inForce.push((await pushVersion(rig, turn)).inForce);
      await rig.flows("margay", traffic, { ...churned(turn), random: true });
      if (turn % 4 === 0) {
        await interfaceTurn(rig);
        interfaces++;
      }
      if (elapsed() - sampled > Math.max(seconds / 60, 1)) {
        sampled = elapsed();
        const sessions = await rig.sessions("margay");
        sessionsMost = Math.max(sessionsMost, sessions);
        samples.push({
          seconds: Math.round(sampled), residentMb: Math.round(rig.residentKilobytes() / 1024),
          sessions, pushes: inForce.length,
        });
        log(`soak: ${JSON.stringify(samples.at(-1))}`);
      }
      await pause(Math.max(next - Date.now(), 0));
    }
    await rig.disable("soak", "margay");
    const lasted = elapsed();
    await pause(IDLE_SECONDS * 1000 + 2000);
    const carried = await rig.carried("margay");
    const now = await reasons(rig);
    const made: Record<string, number> = {};
    for (const [name, packets] of Object.entries(now)) made[name] = packets - (counted[name] ?? 0);
    const early = samples.find((each) => each.seconds >= seconds / 5) ?? samples[0]!;
    const figures: SoakFigures = {
      seconds: Math.round(lasted), packetsIn: carried.in, packetsOut: carried.out, reasons: made,
      pushes: inForce.length,
      inForceMs: { median: percentile(inForce, 0.5), p99: percentile(inForce, 0.99) },
      interfaces, sessionsMost, sessionsLeft: await rig.sessions("margay"), buffersBefore,
      buffersAfter: buffersUsed(await rig.vpp.command("show buffers")),
      residentMb: { early: early.residentMb, end: Math.round(rig.residentKilobytes() / 1024) },
      samples, wrong: [],
    };
    figures.wrong = wrongOf(figures);
    return figures;
  } finally {
    await rig.close();
  }
}

/** A turn's clients: others every time, and every eighth turn such as the policy denies. */
function churned(turn: number): { from: number; count: number } {
  const from = turn % 8 === 7 ? CLIENTS_ALLOWED : (turn * STEP) % (CLIENTS_ALLOWED - WINDOW);
  return { from, count: WINDOW };
}

export function wrongOf(figures: SoakFigures): string[] {
  const { packetsIn, packetsOut, reasons: by, residentMb } = figures;
  const passed = sum(Object.entries(by).filter(([name]) => PASSED.has(name)).map(([, n]) => n));
  const dropped = sum(Object.values(by)) - passed;
  const checks: [boolean, string][] = [
    [packetsIn > 0, "no packet came"],
    [packetsOut === passed, `${packetsOut} packets left, ${passed} were passed`],
    [packetsIn === packetsOut + dropped,
      `${packetsIn} packets came, ${packetsOut} left and ${dropped} were dropped`],
    [dropped > 0 && passed > 0, "nothing was passed, or nothing denied"],
    [figures.sessionsLeft === 0, `${figures.sessionsLeft} sessions are left`],
    [figures.buffersAfter <= figures.buffersBefore,
      `${figures.buffersAfter} buffers in use, ${figures.buffersBefore} before`],
    [residentMb.end - residentMb.early <= GROWTH_MB_MAX,
      `resident memory grew from ${residentMb.early} to ${residentMb.end} MB`],
  ];
  return checks.filter(([good]) => !good).map(([, why]) => why);
}

function report(figures: SoakFigures, facts: Record<string, unknown>): string {
  const { reasons: by, samples } = figures;
  const n = (value: number): string => value.toLocaleString("en");
  return [
    "# The plugin at full rate, while everything changes", "",
    figures.wrong.length ? `**Wrong**: ${figures.wrong.join("; ")}.` : "All that was asked held.",
    "",
    `${n(figures.packetsIn)} packets in, ${n(figures.packetsOut)} out in ${figures.seconds} s; by `
      + `reason: ${Object.entries(by).map(([name, count]) => `${name} ${n(count)}`).join(", ")}. `
      + `${n(figures.pushes)} pushes (in force after ${figures.inForceMs.median.toFixed(1)} ms, `
      + `p99 ${figures.inForceMs.p99.toFixed(1)}), ${n(figures.interfaces)} interfaces made and `
      + `deleted, ${n(figures.sessionsMost)} sessions at most, ${figures.sessionsLeft} left; `
      + `buffers in use ${figures.buffersBefore} before, ${figures.buffersAfter} after; resident `
      + `${figures.residentMb.early} MB after a fifth of the time, ${figures.residentMb.end} MB at `
      + "the end.", "",
    "| seconds | resident MB | sessions | pushes |", "| --- | --- | --- | --- |",
    ...samples.map((each) =>
      `| ${each.seconds} | ${each.residentMb} | ${n(each.sessions)} | ${n(each.pushes)} |`),
    "", "```", ...Object.entries(facts).map(([name, value]) => `${name}: ${value}`), "```", "",
  ].join("\n");
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      minutes: { type: "string", default: "30" }, json: { type: "boolean", default: false },
    },
  });
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) throw new Error(`--minutes ${values.minutes}: expected a number above 0`);
  const install = buildBenchPlugins(resolve("build/margay.wasm"));
  if (typeof install === "string") {
    console.error(`soak:vpp: ${install}`);
    process.exitCode = EXIT_MISSING;
    return;
  }
  const load = loadavg()[0]!.toFixed(2);
  const figures = await soak(install, minutes * 60, (text) => console.error(text));
  const facts = {
    date: new Date().toISOString().slice(0, 10),
    commit: commitOf("assembly", "native", "vpp-plugin"),
    machine: `${cpus()[0]!.model.trim()}, ${cpus().length} cores`, loadAtStart: load,
    command: ["npm run soak:vpp --", ...args].join(" "),
  };
  const text = report(figures, facts);
  mkdirSync("bench/results", { recursive: true });
  writeFileSync(`bench/results/${facts.date}-vpp-soak.md`, text);
  console.log(values.json ? JSON.stringify({ ...facts, ...figures }) : text);
  if (figures.wrong.length) process.exitCode = 1;
}
