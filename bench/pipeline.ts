// npm run bench: the established row. UDP flows to a Service, sessions open, 256 packets a frame,
// flows in random order; nanoseconds a packet inside process(), in Node, in the native engine and
// in the C twin, by turns; with one thing switched off at a time: prefetch, huge pages, shared
// memory.
//
//   npm run bench -- [--flows 1,10000,1000000] [--rounds 9] [--packets 262144] [--json]
//                  [--core build/margay.wasm]
//
// Every engine's results are hashed (answers in the slots, rewritten headers) and must be equal.
// Written to bench/results/<date>-pipeline.{json,md}; medians. Not timed: copying frames in.
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  FRAME_PACKETS_MAX, SLOT_BYTES, SLOT_REASON, SLOT_VERDICT, Reason,
} from "../assembly/layout.ts";
import { NodeDataplane } from "../host/dataplane/node.ts";
import { reasonText } from "../host/model/names.ts";
import { commitOf } from "./commit.ts";
import { TWIN_FLAGS, buildDriver, missing, startDriver } from "./native.ts";
import { FRAME_IN, GENERATION, makeFrames, pagesFor, setup } from "./traffic.ts";

export interface Options {
  flows: number[];
  rounds: number;
  /** Packets of a round; at least every flow once. */
  packets: number;
  /** The packet program; the private-memory variant is built from the sources here. */
  core: string;
}
export interface Row {
  flows: number;
  /** Median ns a packet, by variant. */
  nanoseconds: Record<string, number>;
  /** Of the results, by variant. */
  hashes: Record<string, number>;
  /** native / twin of the same round, median; undefined without the native half. */
  ratio: number | undefined;
  target: number | undefined;
}

const SLOTS = FRAME_PACKETS_MAX * SLOT_BYTES;

/** The Node engine at the same work as pipeline.c's variants. */
class NodeVariant {
  private readonly engine: NodeDataplane;
  private at = 0;
  constructor(
    core: Uint8Array, flows: number, records: Uint8Array, private readonly frames: Uint8Array,
  ) {
    this.engine = new NodeDataplane(core, { memoryPages: pagesFor(flows) });
    this.engine.push({ generation: GENERATION, modules: [], records });
    for (let i = 0; i < this.count; i++) this.run(256);
  }
  get count(): number {
    return this.frames.length / FRAME_IN;
  }
  /** The next frame; milliseconds inside. */
  private run(nowMs: number): number {
    const { memory, core } = this.engine;
    const from = this.at * FRAME_IN;
    this.at = (this.at + 1) % this.count;
    memory.bytes.set(this.frames.subarray(from, from + SLOTS), memory.slotOf(0, 0));
    memory.bytes.set(this.frames.subarray(from + SLOTS, from + FRAME_IN), memory.windowOf(0, 0));
    const start = performance.now();
    core.process(0, FRAME_PACKETS_MAX, nowMs, 0, GENERATION);
    return performance.now() - start;
  }
  round(frames: number): number {
    let spent = 0;
    for (let i = 0; i < frames; i++) spent += this.run(512);
    return (spent * 1e6) / (frames * FRAME_PACKETS_MAX);
  }
  hash(): number {
    const words = new Uint32Array(this.engine.memory.buffer);
    let hash = 2166136261;
    const add = (from: number, count: number): void => {
      for (let k = from; k < from + count; k++) hash = Math.imul(hash ^ words[k]!, 16777619);
    };
    for (let n = 0; n < this.count; n++) {
      this.run(512);
      for (let i = 0; i < FRAME_PACKETS_MAX; i++) {
        const slot = this.engine.memory.slotOf(0, i);
        const reason: Reason = this.engine.memory.bytes[slot + SLOT_REASON]!;
        if (reason !== Reason.Established) {
          const text = reasonText(reason);
          throw new Error(`bench: frame ${n}, packet ${i} is ${text}, not established`);
        }
        add((slot + SLOT_VERDICT) / 4, 5);
        add(this.engine.memory.windowOf(0, i) / 4, 16);
      }
    }
    return hash >>> 0;
  }
}

const median = (values: number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

function targetFor(flows: number): number | undefined {
  const { twin } = JSON.parse(readFileSync("bench/targets.json", "utf8")) as {
    twin: { case: string; ratio: number }[];
  };
  const name = `established, ${flows.toLocaleString("en")} flows`;
  return twin.find((each) => each.case === name)?.ratio;
}

async function row(flows: number, options: Options, program: string | undefined): Promise<Row> {
  const core = new Uint8Array(readFileSync(options.core));
  const frames = makeFrames(flows, Math.ceil(options.packets / FRAME_PACKETS_MAX));
  const count = frames.length / FRAME_IN;
  const folder = mkdtempSync(join(tmpdir(), "margay-bench-"));
  try {
    const records = await setup(flows);
    const node = new NodeVariant(core, flows, records, frames);
    const hashes: Record<string, number> = { node: node.hash() };
    const times = new Map<string, number[]>();
    const note = (name: string, ns: number): void =>
      void times.set(name, [...(times.get(name) ?? []), ns]);
    let driver: Awaited<ReturnType<typeof startDriver>> | undefined;
    if (program) {
      writeFileSync(join(folder, "setup.bin"), records);
      writeFileSync(join(folder, "frames.bin"), frames);
      driver = await startDriver(
        program, options.core, join(folder, "setup.bin"), join(folder, "frames.bin"),
        pagesFor(flows),
      );
      Object.assign(hashes, driver.hashes);
    }
    for (let round = 0; round < options.rounds; round++) {
      note("node", node.round(count));
      const measured = driver ? await driver.round(count) : {};
      for (const [name, ns] of Object.entries(measured)) note(name, ns);
    }
    driver?.stop();
    const nanoseconds = Object.fromEntries([...times].map(([name, all]) => [name, median(all)]));
    const twin = times.get("twin");
    const ratio = twin && median(times.get("native")!.map((ns, i) => ns / twin[i]!));
    return { flows, nanoseconds, hashes, ratio, target: targetFor(flows) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Rows for each number of flows. Throws where two engines' results differ. */
export async function pipeline(options: Options): Promise<{ rows: Row[]; skipped?: string }> {
  const skipped = missing();
  const program = skipped === undefined ? await buildDriver() : undefined;
  const rows: Row[] = [];
  for (const flows of options.flows) {
    const made = await row(flows, options, program);
    const different = Object.entries(made.hashes).find(([, hash]) => hash !== made.hashes["node"]);
    if (different) {
      throw new Error(`bench: ${flows} flows: ${different[0]}'s results differ from node's: hash `
        + `${different[1]!.toString(16)} and ${made.hashes["node"]!.toString(16)}`);
    }
    rows.push(made);
  }
  return { rows, ...(skipped === undefined ? {} : { skipped }) };
}

function table(rows: Row[]): string {
  const names = Object.keys(rows[0]!.nanoseconds);
  const line = (cells: string[]): string => `| ${cells.join(" | ")} |`;
  return [
    line(["flows", ...names, "native / twin", "target", "hash"]),
    line(new Array<string>(names.length + 4).fill("---")),
    ...rows.map((each) => line([
      each.flows.toLocaleString("en"), ...names.map((name) => each.nanoseconds[name]!.toFixed(1)),
      each.ratio?.toFixed(2) ?? "-", each.target?.toFixed(2) ?? "-",
      each.hashes["node"]!.toString(16),
    ])),
  ].join("\n");
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      flows: { type: "string", default: "1,1000,10000,1000000" },
      rounds: { type: "string", default: "9" },
      packets: { type: "string", default: "262144" },
      core: { type: "string", default: "build/margay.wasm" },
      json: { type: "boolean", default: false },
    },
  });
  const started = performance.now();
  const { rows, skipped } = await pipeline({
    flows: values.flows.split(",").map(Number), rounds: Number(values.rounds),
    packets: Number(values.packets), core: values.core,
  });
  const core = createHash("sha256").update(readFileSync(values.core)).digest("hex");
  const date = new Date().toISOString().slice(0, 10);
  const facts = {
    date, commit: commitOf("assembly", "native", "bench/*.c"), core: core.slice(0, 12),
    machine: `${cpus()[0]!.model.trim()}, `
      + `${cpus().length} cores`, node: process.version, twin: `cc ${TWIN_FLAGS.join(" ")}`,
    command: ["npm run bench --", ...args].join(" "),
    seconds: Math.round((performance.now() - started) / 1000),
    ...(skipped === undefined ? {} : { skipped }),
  };
  mkdirSync("bench/results", { recursive: true });
  const path = `bench/results/${date}-pipeline`;
  writeFileSync(`${path}.json`, `${JSON.stringify({ ...facts, rows }, null, 2)}\n`);
  const said = Object.entries(facts).map(([name, value]) => `${name}: ${value}`).join("\n");
  const title = "# Pipeline, established UDP flows, DNAT: ns a packet, medians";
  writeFileSync(`${path}.md`, `${title}\n\n${table(rows)}\n\n\`\`\`\n${said}\n\`\`\`\n`);
  console.log(values.json ? JSON.stringify({ ...facts, rows }) : `${table(rows)}\n\n${said}`);
}
