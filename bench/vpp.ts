// npm run bench:vpp: the plugin's clocks a packet beside those of cnat, the NAT plugin of VPP, in
// one VPP process, by turns (vpp-peers.ts draws it). 64-byte UDP to a Service with two backends,
// sessions open, frames of 256.
//
//   npm run bench:vpp -- [--quick] [--json] [--case <part of a name>]
//
// Counted: for Margay all its nodes, aging included; for cnat lookup, input, output and writeback.
// Beside them ip4-input + ip4-lookup + ip4-rewrite as a yardstick: where it differs between the
// two, something else was on the processor. Medians over rounds; the ratio is the median of each
// round's.
// --json prints {"rows": [{case, margayClocks, peerClocks, target}]} alone; target is the greatest
// margayClocks / peerClocks allowed (targets.json). A full run is written to
// bench/results/<date>-vpp.{json,md}. Without VPP or the plugin: status 3.
//
// The packet generator repeats hot buffers, so that what a NIC adds is missing from both.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { vppInstall, type VppInstall } from "../host/vpp/install.ts";
import { commitOf } from "./commit.ts";
import { inOrder, writeShuffled } from "./vpp-flows.ts";
import { compareRewrites, type Peer, Peers } from "./vpp-peers.ts";
import { costOf, median, type NodeCost, type PathCost } from "./vpp-runtime.ts";

const CORE = resolve("build/margay.wasm");
const COMPARED_PACKETS = 1000;
const SEED = 20_261;
const EXIT_MISSING = 3;
const NODES: Record<Peer, RegExp> = {
  margay: /^margay-/,
  cnat: /^cnat-(lookup|input|output|writeback)-/,
};
const YARDSTICK = /^ip4-(input|lookup|rewrite)$/;

/** Cases with as many flows share a VPP; the sessions are made by the first of them. */
interface Case { name: string; flows: number; shuffled: boolean }
const CASES: Case[] = [
  { name: "established, 10,000 flows", flows: 10_000, shuffled: false },
  { name: "established, 1,000,000 flows", flows: 1_000_000, shuffled: false },
  { name: "established, 1,000,000 flows, random order", flows: 1_000_000, shuffled: true },
];

interface Round { margay: PathCost; cnat: PathCost; yardsticks: [number, number]; load: number }
interface Row {
  case: string;
  margayClocks: number;
  peerClocks: number;
  target: number | undefined;
  ratio: number;
  /** ip4-input + ip4-lookup + ip4-rewrite of either path. */
  yardsticks: { margay: number; peer: number };
  /** Clocks by node, medians. */
  nodes: Record<string, number>;
  vectorsPerCall: { margay: number; peer: number };
  rewrites: string;
  rounds: { margay: number; peer: number; yardsticks: [number, number]; load: number }[];
}
interface Setting { rounds: number; ms: number }

const log = (text: string): void => console.error(text);
const round1 = (value: number): number => Math.round(value * 10) / 10;

/** The target of a case; that of its flows in order where the order is not named. */
function targetOf(name: string): number | undefined {
  const { vpp } = JSON.parse(readFileSync("bench/targets.json", "utf8")) as {
    vpp: { case: string; ratio: number }[];
  };
  const named = (text: string) => vpp.find((each) => each.case === text)?.ratio;
  return named(name) ?? named(name.replace(/, random order$/, ""));
}

async function oneRound(peers: Peers, stream: string, ms: number): Promise<Round> {
  const measure = async (peer: Peer) => {
    const nodes: NodeCost[] = await peers.measure(stream, peer, ms);
    return { path: costOf(nodes, NODES[peer]), yardstick: costOf(nodes, YARDSTICK).clocks };
  };
  const margay = await measure("margay");
  const cnat = await measure("cnat");
  return {
    margay: margay.path, cnat: cnat.path, yardsticks: [margay.yardstick, cnat.yardstick],
    load: loadavg()[0]!,
  };
}

async function runCase(each: Case, peers: Peers, setting: Setting, rewrites: string): Promise<Row> {
  const stream = each.shuffled ? "shuffled" : "in-order";
  const file = peers.vpp.path("shuffled.pcap");
  if (each.shuffled) writeShuffled(file, each.flows, SEED);
  await peers.streams(stream, each.shuffled ? `pcap ${file}` : inOrder(each.flows));
  for (const peer of ["margay", "cnat"] as const) {
    log(`${each.name}: ${peer}: ${await peers.establish(stream, peer)} sessions`);
  }
  const rounds: Round[] = [];
  for (let k = 0; k < setting.rounds; k++) {
    const made = await oneRound(peers, stream, setting.ms);
    rounds.push(made);
    const [own, theirs] = made.yardsticks;
    log(`${each.name}: margay ${made.margay.clocks.toFixed(1)}, cnat `
      + `${made.cnat.clocks.toFixed(1)} clocks (yardstick ${own.toFixed(1)}, `
      + `${theirs.toFixed(1)}; load ${made.load.toFixed(2)})`);
  }
  const dropped = await peers.dropped();
  if (dropped) throw new Error(`${each.name}: margay did not pass all packets: ${dropped}`);
  return rowOf(each, rounds, rewrites);
}

async function runFlows(
  flows: number, cases: Case[], install: VppInstall, setting: Setting,
): Promise<{ rows: Row[]; vpp: string; pinning: string }> {
  const peers = await Peers.start({ ...install, core: CORE, flows });
  try {
    const margay = await peers.rewritten("margay", COMPARED_PACKETS);
    const rewrites = compareRewrites(margay, await peers.rewritten("cnat", COMPARED_PACKETS));
    log(`${flows} flows: ${rewrites}`);
    const rows: Row[] = [];
    for (const each of cases) rows.push(await runCase(each, peers, setting, rewrites));
    return { rows, vpp: peers.version, pinning: peers.pinning };
  } finally {
    await peers.close();
  }
}

function rowOf(each: Case, rounds: Round[], rewrites: string): Row {
  const middle = (pick: (made: Round) => number) => round1(median(rounds.map(pick)));
  const nodes: Record<string, number> = {};
  for (const peer of ["margay", "cnat"] as const) {
    for (const name of Object.keys(rounds[0]![peer].nodes)) {
      const clocks = median(rounds.map((made) => made[peer].nodes[name] ?? 0));
      nodes[name] = Math.round(clocks * 100) / 100;
    }
  }
  const ratio = median(rounds.map((made) => made.margay.clocks / made.cnat.clocks));
  return {
    case: each.name,
    margayClocks: middle((made) => made.margay.clocks),
    peerClocks: middle((made) => made.cnat.clocks),
    target: targetOf(each.name),
    ratio: Math.round(ratio * 1000) / 1000,
    yardsticks: {
      margay: middle((made) => made.yardsticks[0]), peer: middle((made) => made.yardsticks[1]),
    },
    nodes,
    vectorsPerCall: {
      margay: middle((made) => made.margay.vectorsPerCall),
      peer: middle((made) => made.cnat.vectorsPerCall),
    },
    rewrites,
    rounds: rounds.map((made) => ({
      margay: round1(made.margay.clocks), peer: round1(made.cnat.clocks),
      yardsticks: made.yardsticks.map(round1) as [number, number], load: made.load,
    })),
  };
}

function table(rows: Row[]): string {
  const line = (cells: string[]): string => `| ${cells.join(" | ")} |`;
  const head = ["case", "margay", "cnat", "ratio", "target", "yardstick", "vectors/call"];
  return [
    line(head),
    line(head.map(() => "---")),
    ...rows.map((row) => line([
      row.case, row.margayClocks.toFixed(1), row.peerClocks.toFixed(1), row.ratio.toFixed(2),
      row.target?.toFixed(2) ?? "-", `${row.yardsticks.margay} / ${row.yardsticks.peer}`,
      `${row.vectorsPerCall.margay} / ${row.vectorsPerCall.peer}`,
    ])),
  ].join("\n");
}

function details(rows: Row[]): string {
  return rows.map((row) => [
    `## ${row.case}`, "", `${row.rewrites}.`, "",
    ...Object.entries(row.nodes).map(([name, clocks]) => `- ${name}: ${clocks}`), "",
    "Rounds, margay / cnat (yardsticks; load): " + row.rounds.map((made) =>
      `${made.margay} / ${made.peer} (${made.yardsticks.join(", ")}; ${made.load.toFixed(2)})`)
      .join(", ") + ".",
  ].join("\n")).join("\n\n");
}

function write(facts: Record<string, unknown>, rows: Row[]): void {
  mkdirSync("bench/results", { recursive: true });
  const path = `bench/results/${facts["date"]}-vpp`;
  writeFileSync(`${path}.json`, `${JSON.stringify({ ...facts, rows }, null, 2)}\n`);
  const said = Object.entries(facts).map(([name, value]) => `${name}: ${value}`).join("\n");
  const title = "# Beside cnat in one VPP: clocks a packet, medians";
  writeFileSync(
    `${path}.md`, `${title}\n\n${table(rows)}\n\n\`\`\`\n${said}\n\`\`\`\n\n${details(rows)}\n`,
  );
  log(`written: ${path}.{json,md}`);
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      case: { type: "string", default: "" },
    },
  });
  const cases = CASES.filter((each) => each.name.includes(values.case)
    && !(values.quick && each.shuffled && !values.case));
  const install = vppInstall();
  const lack = typeof install === "string" ? install
    : existsSync(CORE) ? undefined : "build/margay.wasm is missing: npm run build";
  if (lack !== undefined || typeof install === "string") {
    log(`bench:vpp: ${lack}`);
    process.exitCode = EXIT_MISSING;
    return;
  }
  if (!cases.length) throw new Error(`--case ${values.case}: none of ${CASES.map((c) => c.name)}`);
  const setting = values.quick ? { rounds: 3, ms: 1000 } : { rounds: 7, ms: 2000 };
  const started = performance.now();
  const load = loadavg().map((each) => each.toFixed(2)).join(" ");
  const rows: Row[] = [];
  let seen = { vpp: "", pinning: "" };
  for (const flows of new Set(cases.map((each) => each.flows))) {
    const group = cases.filter((each) => each.flows === flows);
    const { rows: made, ...rest } = await runFlows(flows, group, install, setting);
    rows.push(...made);
    seen = rest;
  }
  const facts = {
    date: new Date().toISOString().slice(0, 10),
    commit: commitOf("assembly", "native", "vpp-plugin"),
    machine: `${cpus()[0]!.model.trim()}, ${cpus().length} cores, Linux ${release()}`,
    ...seen, loadAtStart: load, rounds: `${setting.rounds} of ${setting.ms} ms for each peer`,
    command: ["npm run bench:vpp --", ...args].join(" "),
    seconds: Math.round((performance.now() - started) / 1000),
  };
  if (!values.quick && !values.case) write(facts, rows);
  log(`${table(rows)}\n\n${Object.entries(facts).map(([k, v]) => `${k}: ${v}`).join("\n")}`);
  if (!values.json) return;
  console.log(JSON.stringify({ rows: rows.map((row) => ({
    case: row.case, margayClocks: row.margayClocks, peerClocks: row.peerClocks, target: row.target,
  })) }));
}
