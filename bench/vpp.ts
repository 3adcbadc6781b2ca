// npm run bench:vpp: the plugin beside VPP's own, in one VPP process, by turns (vpp/rig.ts draws
// it): cnat, cnat with npol, acl-plugin, nat44-ed, SFDP's look-up. vpp/README.md tells each row.
//
//   npm run bench:vpp -- [--quick] [--json] [--case <part of a name>] [--list]
//
// Clocks a packet of all nodes of a side, aging included, as `show runtime` gives them; medians
// over rounds in which both sides take turns; the ratio is the median of each round's. Before a row
// is timed both sides are shown to let the same packets through, rewritten alike; a row whose
// comparison fails is refused by name, and the others go on.
//
// --json prints {"rows": [{case, margayClocks, peerClocks, target}]} alone; vpp/report.ts says what
// target is; a row that failed has nulls, and the status is 1. A full run is written to
// bench/results/<date>-vpp.{json,md,svg}. Without VPP or the plugin: status 3.

import { mkdirSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { commitOf } from "./commit.ts";
import { buildBenchPlugins } from "./vpp/build.ts";
import { bedKey, type Case, CASES } from "./vpp/cases.ts";
import { measureCase, type Setting } from "./vpp/measure.ts";
import { pushUnderLoad, pushSection } from "./vpp/push.ts";
import {
  failedRow, jsonOf, policyRows, type Row, rowOf, table, writeResult,
} from "./vpp/report.ts";
import { type Install, Rig } from "./vpp/rig.ts";
import { splitSection, splitUp } from "./vpp/split.ts";

export const EXIT_MISSING = 3;
const PUSH = "push under load", SPLIT = "how the figure splits";
const PUSHES = 1000, PUSHES_QUICK = 100;

const log = (text: string): void => console.error(text);

/** The cases of one bed, in one VPP; in another one where that ended under a case. */
async function runBed(
  cases: Case[], install: Install, setting: Setting, rows: Row[],
): Promise<{ vpp: string; pinning: string } | undefined> {
  let rig: Rig | undefined, seen;
  for (const each of cases) {
    try {
      rig ??= await Rig.start(install, each.bed);
      seen = { vpp: rig.version, pinning: rig.pinning };
      rows.push(rowOf(each, await measureCase(rig, each, setting), rows));
    } catch (error) {
      const row = failedRow(each, error, rows);
      log(`${each.name}: FAILED: ${row.failed}`);
      rows.push(row);
      await rig?.close();
      rig = undefined;
    }
  }
  await rig?.close();
  return seen;
}

async function section(
  name: string, run: () => Promise<string>, log: (text: string) => void,
): Promise<{ text: string; failed: boolean }> {
  try {
    return { text: await run(), failed: false };
  } catch (error) {
    log(`${name}: FAILED: ${(error as Error).message}`);
    return { text: `## ${name}\n\nFailed: ${(error as Error).message}\n`, failed: true };
  }
}

function pickCases(quick: boolean, part: string): Case[] {
  return CASES.filter((each) => (part ? each.name.includes(part) : !quick || each.quick));
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      case: { type: "string", default: "" },
      rounds: { type: "string" },
      ms: { type: "string" },
    },
  });
  if (values.list) {
    console.log([...CASES.map(({ name }) => name), PUSH, SPLIT].join("\n"));
    return;
  }
  const install = buildBenchPlugins(resolve("build/margay.wasm"));
  if (typeof install === "string") {
    log(`bench:vpp: ${install}`);
    process.exitCode = EXIT_MISSING;
    return;
  }
  const part = values.case;
  const cases = pickCases(values.quick, part);
  const wants = (name: string): boolean => (part ? name.includes(part) : true);
  if (!cases.length && !wants(PUSH) && !wants(SPLIT)) {
    throw new Error(`--case ${part}: none of them; --list prints all`);
  }
  const usual = values.quick ? { rounds: 3, ms: 400 } : { rounds: 7, ms: 600 };
  const setting: Setting = {
    rounds: Number(values.rounds ?? usual.rounds), ms: Number(values.ms ?? usual.ms), log,
  };
  const started = performance.now();
  const load = loadavg().map((each) => each.toFixed(2)).join(" ");
  const rows: Row[] = [];
  let seen = { vpp: "", pinning: "" };
  for (const key of new Set(cases.map(bedKey))) {
    const group = cases.filter((each) => bedKey(each) === key);
    seen = await runBed(group, install, setting, rows) ?? seen;
  }
  rows.push(...policyRows(rows));
  const sections: { text: string; failed: boolean }[] = [];
  const pushes = values.quick ? PUSHES_QUICK : PUSHES;
  if (wants(PUSH) && !(values.quick && !part)) {
    sections.push(await section(PUSH, async () =>
      pushSection(await pushUnderLoad(install, pushes, log)), log));
  }
  if (wants(SPLIT) && !(values.quick && !part)) {
    sections.push(await section(SPLIT, async () => splitSection(await splitUp(install, log)), log));
  }
  const facts = {
    date: new Date().toISOString().slice(0, 10),
    commit: commitOf("assembly", "native", "vpp-plugin"),
    machine: `${cpus()[0]!.model.trim()}, ${cpus().length} cores, Linux ${release()}`,
    ...seen, loadAtStart: load, rounds: `${setting.rounds} of ${setting.ms} ms for each side`,
    command: ["npm run bench:vpp --", ...args].join(" "),
    seconds: Math.round((performance.now() - started) / 1000),
  };
  const texts = sections.map(({ text }) => text);
  if (!values.quick && !part) {
    mkdirSync("bench/results", { recursive: true });
    const path = `bench/results/${facts.date}-vpp`;
    writeResult(path, facts, rows, texts);
    log(`written: ${path}.{json,md,svg}`);
  }
  const said = Object.entries(facts).map(([k, v]) => `${k}: ${v}`).join("\n");
  log([rows.length ? table(rows) : "", ...texts, said].filter(Boolean).join("\n\n"));
  if (rows.some(({ failed }) => failed) || sections.some(({ failed }) => failed)) {
    process.exitCode = 1;
  }
  if (values.json) console.log(jsonOf(rows));
}
