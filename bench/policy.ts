// npm run bench:policy: what policies cost, in Node. New flows that the last of N rules denies, as
// straight-line code and as classifier blocks, by turns; sets of a thousand and of a million
// members; publishing a thousand policies, changing one; building a set and changing a member.
//
//   npm run bench:policy -- [--rules 1,10,32,100,1000,10000] [--rounds 15] [--frames 40] [--json]
//                           [--policies 1000] [--members 1000000]
//
// Every other rule asks for the packet's port and another source set, the others for one of the
// eight sets that the source is in and another port: so that no one field settles it. Nanoseconds a
// packet inside process(), parsing and all; medians. Written to bench/results/<date>-policy.*.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { FRAME_PACKETS_MAX, Reason } from "../assembly/layout.ts";
import type { Kind } from "../host/compile/plan.ts";
import { bindRecords, Compiler } from "../host/compile/program.ts";
import { configureRecord } from "../host/compile/records.ts";
import { NodeDataplane } from "../host/dataplane/node.ts";
import { reasonText } from "../host/model/names.ts";
import type { AddressSet, Budgets, Policy, Program, ProgramRule } from "../host/model/program.ts";
import { packet } from "../test/packets.ts";

export interface Options {
  rules: number[];
  rounds: number;
  /** Frames of a round. */
  frames: number;
  policies: number;
  members: number;
  core: string;
}
/** A figure of one run: the median, and what it may be at most. */
export interface Figure {
  name: string;
  value: number;
  unit: "ns" | "µs" | "ms" | "x";
  target?: number;
}

const UPLINK = 1, POD = 2;
const SETS = 64, SETS_OF_SOURCE = 8, SOURCES = 1024;
const CODE_RULES_MAX = 1000;
const SERVED = 80;
/** Pushes before those that count. */
const WARM = 20;
const median = (values: number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
const sourceAt = (n: number): string => `198.18.${(n >> 8) & 255}.${n & 255}`;
const memberAt = (n: number): string => `11.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;

function programOf(rules: ProgramRule[], sets: AddressSet[]): Program {
  return {
    endpoints: [
      { name: "uplink", kind: "uplink", interfaces: [UPLINK], addresses: [] },
      { name: "pod", kind: "workload", interfaces: [POD], addresses: ["10.1.0.1"], ingress: "p" },
    ],
    services: [], policies: [{ name: "p", rules }], sets,
  };
}

function ruleList(count: number): ProgramRule[] {
  const rules = Array.from({ length: count - 1 }, (_, i): ProgramRule => {
    const isServed = i % 2 === 0;
    const set = isServed ? SETS_OF_SOURCE + (i % (SETS - SETS_OF_SOURCE)) : i % SETS_OF_SOURCE;
    const port = isServed ? SERVED : 1000 + (i % 60_000);
    return {
      name: `r${i}`, action: "allow", protocol: "udp", sourceSets: [`s${set}`],
      destinationPorts: [port],
    };
  });
  return [...rules, { name: "last", action: "deny" }];
}
function setList(): AddressSet[] {
  return Array.from({ length: SETS }, (_, s): AddressSet => ({
    id: `s${s}`, type: "net", version: 1,
    members: Array.from({ length: SOURCES }, (_, n) =>
      s < SETS_OF_SOURCE ? sourceAt(n) : `100.64.${s}.${n & 255}`),
  }));
}

function budgets(members4Max: number, endpointsMax = 64): Budgets {
  return {
    workers: 1, sessions4Max: 1024, sessions6Max: 16, endpointsMax, servicesMax: 16, members4Max,
  };
}

async function start(
  core: Uint8Array, program: Program, own: Budgets, pages: number, form?: Kind,
): Promise<{ engine: NodeDataplane; compiler: Compiler }> {
  const engine = new NodeDataplane(core, { memoryPages: pages });
  const compiler = new Compiler(own, form);
  engine.stage(configureRecord(own));
  engine.push(await compiler.compile(program, 1));
  engine.stage(bindRecords(program));
  return { engine, compiler };
}

/** A policy under traffic: frames of new flows, all of which it denies. */
class Variant {
  private at = 0;
  private constructor(readonly name: string, private readonly engine: NodeDataplane,
    private readonly frames: Uint8Array[][]) {}

  static async make(
    name: string, core: Uint8Array, program: Program, own: Budgets, pages: number,
    sources: readonly string[], form?: Kind,
  ): Promise<Variant> {
    const { engine } = await start(core, program, own, pages, form);
    const frames: Uint8Array[][] = [];
    for (let from = 0; from < sources.length; from += FRAME_PACKETS_MAX) {
      frames.push(Array.from({ length: FRAME_PACKETS_MAX }, (_, i) => packet({
        from: sources[(from + i) % sources.length]!, to: "10.1.0.1", protocol: "udp",
        sourcePort: 1024 + i, port: SERVED,
      })));
    }
    const variant = new Variant(name, engine, frames);
    const results = engine.process(0, frames[0]!.map((bytes) => ({ interface: UPLINK, bytes })), {
      nowMs: 256, nowSeconds: 0,
    });
    const other = results.find(({ reason }) => reason !== Reason.PolicyDenied);
    if (other) throw new Error(`bench: ${name}: a packet is ${reasonText(other.reason)}`);
    for (let i = 0; i < 30; i++) variant.frame();
    return variant;
  }
  /** Milliseconds in the program, for the next frame. */
  private frame(): number {
    const frame = this.frames[this.at++ % this.frames.length]!;
    const { memory, core } = this.engine;
    frame.forEach((bytes, i) => memory.writePacket(0, i, { interface: UPLINK, bytes }));
    const from = performance.now();
    core.process(0, FRAME_PACKETS_MAX, 512, 0, 1);
    return performance.now() - from;
  }
  /** Nanoseconds a packet, frame by frame. */
  round(frames: number): number[] {
    return Array.from({ length: frames }, () => (this.frame() * 1e6) / FRAME_PACKETS_MAX);
  }
}

/** Medians over all frames of variants that take turns. */
function turns(variants: Variant[], rounds: number, frames: number): Map<string, number> {
  const times = new Map<string, number[]>(variants.map(({ name }) => [name, []]));
  for (let i = 0; i < rounds; i++) {
    for (const variant of variants) times.get(variant.name)!.push(...variant.round(frames));
  }
  return new Map([...times].map(([name, all]) => [name, median(all)]));
}

async function byRules(core: Uint8Array, options: Options): Promise<Figure[]> {
  const sets = setList();
  const sources = Array.from({ length: SOURCES }, (_, n) => sourceAt(n));
  const variants: Variant[] = [];
  const make = async (name: string, count: number, form?: Kind): Promise<void> => {
    const program = programOf(ruleList(count), sets);
    variants.push(await Variant.make(name, core, program, budgets(32_768), 512, sources, form));
  };
  for (const count of options.rules) {
    const name = `${count.toLocaleString("en")} rules`;
    await make(name, count);
    if (count <= CODE_RULES_MAX) await make(`${name}, code`, count, "code");
    await make(`${name}, block`, count, "block");
  }
  const found = turns(variants, options.rounds, options.frames);
  const figures = [...found].map(([name, value]): Figure => ({ name, value, unit: "ns" }));
  const ten = found.get("10 rules");
  for (const [count, target] of [[1000, 3], [10_000, 6]] as const) {
    const name = `${count.toLocaleString("en")} rules`;
    const own = found.get(name);
    if (own === undefined || ten === undefined) continue;
    figures.push({ name: `${name} / 10 rules`, value: own / ten, unit: "x", target });
  }
  return figures;
}

async function bySetSize(core: Uint8Array, options: Options): Promise<Figure[]> {
  const rules: ProgramRule[] = [
    { name: "members", action: "deny", sourceSets: ["s"] }, { name: "rest", action: "allow" },
  ];
  const variants: Variant[] = [];
  const sizes = [1000, options.members];
  for (const size of sizes) {
    const members = Array.from({ length: size }, (_, n) => memberAt(n));
    const set: AddressSet = { id: "s", type: "net", members, version: 1 };
    // Members at random, so that a large table is met cold.
    const sources = Array.from({ length: 32_768 }, (_, n) =>
      memberAt((Math.imul(n + 1, 0x9e3779b1) >>> 0) % size));
    const pages = 512 + Math.ceil((size * 64) / 65_536);
    variants.push(await Variant.make(
      `a set of ${size.toLocaleString("en")}`, core, programOf(rules, [set]), budgets(size), pages,
      sources,
    ));
  }
  const found = turns(variants, options.rounds, options.frames * 3);
  const values = [...found.values()];
  return [
    ...[...found].map(([name, value]): Figure => ({ name, value, unit: "ns" })),
    { name: "large set / small set", value: values[1]! / values[0]!, unit: "x", target: 2 },
  ];
}

/** Ten rules, no two policies the same. */
function tenRules(p: number, version = 0): Policy {
  return {
    name: `p${p}`,
    rules: Array.from({ length: 10 }, (_, i): ProgramRule => ({
      name: `r${i}`, action: i === 9 ? "deny" : "allow", protocol: "tcp",
      source: [`10.${(p >> 8) & 255}.${p & 255}.0/24`], destinationPorts: [1000 + i + version],
    })),
  };
}
/** A policy a pod. */
function many(count: number): Program {
  const policies = Array.from({ length: count }, (_, p) => tenRules(p));
  const endpoints = policies.map(({ name }, i) => ({
    name: `pod-${i}`, kind: "workload" as const, interfaces: [i + 1],
    addresses: [`10.65.${i >> 8}.${i & 255}`], ingress: name,
  }));
  return { endpoints, services: [], policies };
}

async function publishing(core: Uint8Array, options: Options): Promise<Figure[]> {
  const { policies } = options;
  const whole: number[] = [], one: number[] = [];
  const program = many(policies);
  const own = budgets(1024, policies + 64);
  for (let round = 0; round < 3; round++) {
    const from = performance.now();
    const { engine, compiler } = await start(core, program, own, 1024);
    whole.push(performance.now() - from);
    if (round < 2) continue;
    for (let i = 0; i < WARM + 100; i++) {
      const place = (i * 37) % policies;
      const changed = [...program.policies];
      changed[place] = tenRules(place, 100 + i);
      const next = { ...program, policies: changed };
      const start = performance.now();
      engine.push(await compiler.compile(next, engine.generation + 1));
      if (i >= WARM) one.push(performance.now() - start);
    }
  }
  const name = `${policies.toLocaleString("en")} policies of 10 rules`;
  return [
    { name: `${name} published`, value: median(whole), unit: "ms", target: 2000 },
    { name: `one of ${name} changed`, value: median(one), unit: "ms", target: 5 },
  ];
}

async function setChanges(core: Uint8Array, options: Options): Promise<Figure[]> {
  const size = options.members;
  const members = new Set(Array.from({ length: size }, (_, n) => memberAt(n)));
  const set: AddressSet = { id: "s", type: "net", members };
  const rule: ProgramRule = { name: "r", action: "allow", sourceSets: ["s"] };
  const empty = programOf([rule], [{ ...set, members: [] }]);
  const own = budgets(size + 1024);
  const { engine, compiler } = await start(core, empty, own, 512 + Math.ceil((size * 64) / 65_536));
  const from = performance.now();
  engine.push(await compiler.compile(programOf([rule], [set]), 2));
  const built = performance.now() - from;
  const again = performance.now();
  engine.push(await compiler.compile(programOf([rule], [set]), 3));
  const unchanged = performance.now() - again;
  const deltas: number[] = [];
  for (let i = 0; i < 1000; i++) {
    const member = `12.0.${i >> 8}.${i & 255}`;
    const start = performance.now();
    engine.stage(compiler.applyDelta("s", [member], []));
    deltas.push((performance.now() - start) * 1000);
  }
  const name = `a set of ${size.toLocaleString("en")}`;
  return [
    { name: `${name} built`, value: built, unit: "ms" },
    { name: `${name} unchanged in a push`, value: unchanged, unit: "ms", target: 5 },
    { name: `one member into ${name}`, value: median(deltas), unit: "µs", target: 100 },
  ];
}

export async function policy(options: Options): Promise<Figure[]> {
  const core = new Uint8Array(readFileSync(options.core));
  return [
    ...await byRules(core, options), ...await bySetSize(core, options),
    ...await publishing(core, options), ...await setChanges(core, options),
  ];
}

function table(figures: Figure[]): string {
  return [
    "| what | median | at most |", "| --- | --- | --- |",
    ...figures.map(({ name, value, unit, target }) =>
      `| ${name} | ${value.toFixed(value < 10 ? 2 : 1)} ${unit} | ${target ?? "-"} |`),
  ].join("\n");
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      rules: { type: "string", default: "1,10,32,100,1000,10000" },
      rounds: { type: "string", default: "15" }, frames: { type: "string", default: "40" },
      policies: { type: "string", default: "1000" },
      members: { type: "string", default: "1000000" },
      core: { type: "string", default: "build/margay.wasm" },
      json: { type: "boolean", default: false },
    },
  });
  const figures = await policy({
    rules: values.rules.split(",").map(Number), rounds: Number(values.rounds),
    frames: Number(values.frames), policies: Number(values.policies),
    members: Number(values.members), core: values.core,
  });
  const core = createHash("sha256").update(readFileSync(values.core)).digest("hex");
  const date = new Date().toISOString().slice(0, 10);
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  const facts = {
    date, commit, core: core.slice(0, 12),
    machine: `${cpus()[0]!.model.trim()}, ${cpus().length} cores`, node: process.version,
    command: ["npm run bench:policy --", ...args].join(" "),
  };
  mkdirSync("bench/results", { recursive: true });
  const path = `bench/results/${date}-policy`;
  writeFileSync(`${path}.json`, `${JSON.stringify({ ...facts, figures }, null, 2)}\n`);
  const said = Object.entries(facts).map(([name, value]) => `${name}: ${value}`).join("\n");
  const title = "# Policy: new flows that the last rule denies, publishing, sets; in Node";
  writeFileSync(`${path}.md`, `${title}\n\n${table(figures)}\n\n\`\`\`\n${said}\n\`\`\`\n`);
  console.log(values.json ? JSON.stringify({ ...facts, figures }) : `${table(figures)}\n\n${said}`);
}
