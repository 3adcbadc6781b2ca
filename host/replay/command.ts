// `margay replay`: reads the program and the capture, runs every engine asked for, compares them,
// writes what leaves and prints the report.
//
//   capture + program ─► readInput ─► each engine ─► differences ─► report, rewritten capture
//
// Without --engine every engine that is here runs, and a line says why another one doesn't. The
// report is the first engine's.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import pc from "picocolors";
import { INTERFACES_MAX } from "../../assembly/layout.ts";
import { PushRefused } from "../dataplane/dataplane.ts";
import { VppError } from "../vpp/process.ts";
import { coreHash, compileProgram, ENGINES } from "./engines.ts";
import type { CompiledProgram, Engine } from "./engines.ts";
import { readCapture, writeCapture } from "../input/pcap.ts";
import type { Capture, CaptureInterface } from "../input/pcap.ts";
import { readSnapshot, SnapshotError } from "../input/snapshot.ts";
import type { Snapshot } from "../input/snapshot.ts";
import { reasonText } from "../model/names.ts";
import { FlowTable } from "../observe/flow.ts";
import { reportBackends, reportCounters, reportFlows } from "../observe/report.ts";
import type { Names } from "../observe/report.ts";
import { readTuple } from "../observe/tuple.ts";
import { differences, leavingPackets, readInput } from "./replay.ts";
import type { OutgoingInterface, Outcome, ReplayInput } from "./replay.ts";

const STATUS_DIFFERENT = 1;
const STATUS_DAMAGED = 3;
/** No snapshot gives this number away: what comes in there is from an unknown endpoint. */
const UNKNOWN_INTERFACE = INTERFACES_MAX - 1;

/** Something that the user can put right; the message says what. */
export class CommandError extends Error {}

export interface ReplayOptions {
  program: string;
  out?: string;
  engine?: Engine[];
  interface?: string;
}

/** The exit status. */
export async function replayCommand(
  file: string, options: ReplayOptions, say: (line: string) => void,
): Promise<number> {
  const snapshot = readProgram(options.program);
  const program = await compile(snapshot, options.program);
  const capture = readCapture(readBytes(file), file);
  if (capture.error !== undefined) {
    console.error(`${pc.red("margay:")} ${capture.error.message}`);
    if (capture.packets.length === 0) return STATUS_DAMAGED;
  }
  const input = readInput(capture, interfaceNumber(snapshot, options.interface, file));
  const outcomes = await runEngines(program, input, options.engine, say);
  const [first, ...others] = outcomes as [Outcome, ...Outcome[]];
  sayInput(file, capture, input, say);
  sayReport(snapshot, program, input, first, say);
  if (options.out !== undefined) writeLeaving(options.out, capture, snapshot, input, first, say);
  const equal = sayComparison(first, others, say);
  if (!equal) return STATUS_DIFFERENT;
  return capture.error === undefined ? 0 : STATUS_DAMAGED;
}

function readBytes(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new CommandError(`${file}: ${(error as Error).message}`);
  }
}

function readProgram(file: string): Snapshot {
  try {
    return readSnapshot(Buffer.from(readBytes(file)).toString("utf8"), file);
  } catch (error) {
    if (error instanceof SnapshotError) throw new CommandError(error.message);
    throw error;
  }
}

/** A program's error names policy, rule and field. */
async function compile({ program }: Snapshot, file: string): Promise<CompiledProgram> {
  try {
    return await compileProgram(program);
  } catch (error) {
    throw new CommandError(`${file}: ${(error as Error).message}`);
  }
}

function interfaceNumber({ interfaces }: Snapshot, fallback: string | undefined, file: string) {
  const known = [...interfaces.keys()].join(", ");
  if (fallback !== undefined && !interfaces.has(fallback)) {
    throw new CommandError(`--interface ${fallback}: the program knows ${known}`);
  }
  return (name: string | undefined, index: number): number => {
    const used = name ?? fallback;
    if (used === undefined) {
      const problem = `interface ${index} of the capture has no name`;
      throw new CommandError(`${file}: ${problem}: say --interface, one of ${known}`);
    }
    return interfaces.get(used) ?? UNKNOWN_INTERFACE;
  };
}

async function runEngines(
  program: CompiledProgram, input: ReplayInput, asked: Engine[] | undefined,
  say: (line: string) => void,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const engine of asked ?? ENGINES) {
    const absent = engine.absent();
    if (absent === undefined) outcomes.push(await runEngine(engine, program, input));
    else if (asked === undefined && engine.name !== "node") {
      say(`engine ${engine.name}: skipped: ${absent}`);
    } else throw new CommandError(`engine ${engine.name}: ${absent}`);
  }
  return outcomes;
}

async function runEngine(
  engine: Engine, program: CompiledProgram, input: ReplayInput,
): Promise<Outcome> {
  try {
    return await engine.replay(program, input);
  } catch (error) {
    if (!(error instanceof PushRefused || error instanceof VppError)) throw error;
    throw new CommandError(`engine ${engine.name}: ${error.message}`);
  }
}

function sayInput(
  file: string, capture: Capture, input: ReplayInput, say: (line: string) => void,
): void {
  const others = input.others === 0 ? "" : `, ${input.others} packets without IP left out`;
  say(`core ${coreHash()} (build/margay.wasm, the bytes that VPP runs)`);
  say(`${file}: ${capture.format}, ${input.replayed.length} packets at ` +
    `${capture.interfaces.length} interfaces${others}`);
}

function sayReport(
  snapshot: Snapshot, program: CompiledProgram, input: ReplayInput, first: Outcome,
  say: (line: string) => void,
): void {
  const names = namesOf(snapshot, program);
  const table = new FlowTable();
  input.replayed.forEach(({ packet }, index) => table.add(packet, first.results[index]!));
  say("");
  say(reportFlows(table, names));
  say("");
  say(`${table.flows().length} flows; by backend: ${reportBackends(table, names)}`);
  say(`${first.sessions.length} sessions live; packets by reason:`);
  say(reportCounters(first.counters, names));
  say("");
}

function namesOf({ program, interfaces }: Snapshot, { compiler }: CompiledProgram): Names {
  const backends = program.services.flatMap((service) => service.backends);
  const names = new Map([...interfaces].map(([name, number]) => [number, name]));
  return {
    interface: (number) => names.get(number) ?? "unknown",
    rule: (slot, rule) => compiler.ruleName(slot, rule) ?? `policy slot ${slot}, rule ${rule}`,
    backend: (id) => backends[id]?.name ?? `backend ${id}`,
    reason: (reason) => typeof reason === "string" ? reason : reasonText(reason),
  };
}

function writeLeaving(
  file: string, capture: Capture, snapshot: Snapshot, input: ReplayInput, first: Outcome,
  say: (line: string) => void,
): void {
  const outgoing = outgoingInterface(snapshot, capture.interfaces);
  const leaving = leavingPackets(input, first.results, outgoing, capture.interfaces);
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, writeCapture("pcapng", capture.interfaces, leaving));
  } catch (error) {
    throw new CommandError(`${file}: ${(error as Error).message}`);
  }
  say(`${file}: ${leaving.length} packets leave, rewritten, at the interfaces they go to`);
}

/** A packet leaves by the interface of the endpoint that its destination belongs to. */
function outgoingInterface(
  { program, interfaces }: Snapshot, captured: CaptureInterface[],
): OutgoingInterface {
  const byAddress = new Map<string, number>();
  for (const endpoint of program.endpoints) {
    const index = captured.findIndex(({ name }) =>
      name !== undefined && endpoint.interfaces.includes(interfaces.get(name) ?? -1));
    if (index < 0) continue;
    for (const address of endpoint.addresses) byAddress.set(address, index);
  }
  return (bytes) => byAddress.get(readTuple(bytes)?.destination ?? "");
}

function sayComparison(first: Outcome, others: Outcome[], say: (line: string) => void): boolean {
  let equal = true;
  const packets = `${first.results.length} packets`;
  if (others.length === 0) say(`engine ${first.engine}: ${packets}; no other to compare with`);
  for (const other of others) {
    const found = differences(first, other);
    equal &&= found.length === 0;
    if (found.length === 0) {
      const what = `${packets}, verdicts, counters and ${first.sessions.length} sessions`;
      say(`${first.engine} and ${other.engine}: ${pc.green("equal")}: ${what}`);
    } else {
      say(`${first.engine} and ${other.engine}: ${pc.red("different")}:`);
      for (const line of found) say(`  ${line}`);
    }
  }
  return equal;
}
