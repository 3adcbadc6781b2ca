// What `margay replay` does: reads what judges and the capture, runs every engine asked for,
// compares them, writes what leaves and prints the report.
//
//   capture + program ─► readInput ─► each engine ─► differences ─► report, rewritten capture
//
// By manifests the report is of conversations, with the rules that decided as their authors wrote
// them; by a program file, of flows.
//
// Without --engine every engine that is here runs, and a line says why another one doesn't. The
// report is the first engine's.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import pc from "picocolors";
import { INTERFACES_MAX, Stage, Verdict } from "../../assembly/layout.ts";
import { CommandError } from "../command-error.ts";
import { coreHash } from "../dataplane/core.ts";
import type { Restored } from "../dataplane/checkpoint.ts";
import { PushRefused } from "../dataplane/dataplane.ts";
import { makeFolder } from "../folder.ts";
import { VppError } from "../vpp/process.ts";
import type { EngineName, ReplayOptions } from "./command.ts";
import { compileProgram, ENGINES } from "./engines.ts";
import type { Checkpoints, CompiledProgram, Engine } from "./engines.ts";
import { readCapture, writeCapture } from "../input/pcap.ts";
import type { Capture, CaptureFormat, CaptureInterface } from "../input/pcap.ts";
import { reasonText } from "../model/names.ts";
import { FlowTable } from "../observe/flow.ts";
import { reportBackends, reportCounters, reportFlows } from "../observe/report.ts";
import type { Names } from "../observe/report.ts";
import { reportNat, reportSessions } from "../observe/sessions.ts";
import { conversations, reportConversations } from "../observe/summary.ts";
import type { SummaryNames } from "../observe/summary.ts";
import { readTuple } from "../observe/tuple.ts";
import { differences, leavingPackets, readInput } from "./replay.ts";
import type { OutgoingInterface, Outcome, ReplayInput } from "./replay.ts";
import { isolating, programSource, ruleText, stateSource } from "./source.ts";
import type { Source } from "./source.ts";

const STATUS_DIFFERENT = 1;
const STATUS_DAMAGED = 3;
/** No program gives this number away: what comes in there is from an unknown endpoint. */
const UNKNOWN_INTERFACE = INTERFACES_MAX - 1;

/** The exit status. */
export async function runReplay(
  file: string, options: ReplayOptions, say: (line: string) => void,
): Promise<number> {
  const source = await readSource(options);
  const program = await compile(source);
  const capture = readCapture(readBytes(file), file);
  if (capture.error !== undefined) {
    console.error(`${pc.red("margay:")} ${capture.error.message}`);
    if (capture.packets.length === 0) return STATUS_DAMAGED;
  }
  const input = readInput(capture, interfaceNumber(source, options.interface, file));
  const { checkpoint } = options;
  const before = checkpoint !== undefined && existsSync(checkpoint) ? readBytes(checkpoint)
    : undefined;
  const checkpoints: Checkpoints = { save: checkpoint !== undefined };
  if (before) checkpoints.restore = before;
  const outcomes = await runEngines(program, input, options.engine, checkpoints, say);
  const [first, ...others] = outcomes as [Outcome, ...Outcome[]];
  sayInput(file, source, capture, input, say);
  if (first.restored) sayRestored(checkpoint!, first.restored, say);
  sayReport(source, program, input, first, say);
  if (options.out !== undefined) writeLeaving(options.out, capture, source, input, first, say);
  if (first.checkpoint) writeCheckpoint(checkpoint!, first, say);
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

async function readSource({ state, program, node }: ReplayOptions): Promise<Source> {
  if ((state === undefined) === (program === undefined)) {
    throw new CommandError("what judges? Either --state with manifests, or --program with a file");
  }
  if (program !== undefined) return programSource(program);
  return stateSource(state!, node);
}

/** A program's error names policy, rule and field. */
async function compile({ program, from }: Source): Promise<CompiledProgram> {
  try {
    return await compileProgram(program);
  } catch (error) {
    throw new CommandError(`${from}: ${(error as Error).message}`);
  }
}

function interfaceNumber({ interfaces }: Source, fallback: string | undefined, file: string) {
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
  program: CompiledProgram, input: ReplayInput, asked: EngineName[] | undefined,
  checkpoints: Checkpoints, say: (line: string) => void,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const engines = asked?.map((name) => ENGINES.find((engine) => engine.name === name)!) ?? ENGINES;
  for (const engine of engines) {
    const absent = engine.name === "vpp" && checkpoints.save
      ? "it takes no checkpoint from a replay" : engine.absent();
    if (absent === undefined) outcomes.push(await runEngine(engine, program, input, checkpoints));
    else if (asked === undefined && engine.name !== "node") {
      say(`engine ${engine.name}: skipped: ${absent}`);
    } else throw new CommandError(`engine ${engine.name}: ${absent}`);
  }
  return outcomes;
}

async function runEngine(
  engine: Engine, program: CompiledProgram, input: ReplayInput, checkpoints: Checkpoints,
): Promise<Outcome> {
  try {
    return await engine.replay(program, input, checkpoints);
  } catch (error) {
    if (/checkpoint/.test((error as Error).message)) {
      throw new CommandError(`--checkpoint: ${(error as Error).message}`);
    }
    if (!(error instanceof PushRefused || error instanceof VppError)) throw error;
    throw new CommandError(`engine ${engine.name}: ${error.message}`);
  }
}

function sayRestored(file: string, restored: Restored, say: (line: string) => void): void {
  const { taken, endpointGone, peerGone, backendGone, refused } = restored;
  const left = [
    [endpointGone, "of endpoints that are gone"], [peerGone, "to nodes that are gone"],
    [backendGone, "to backends that are gone"], [refused, "known already, or without room"],
  ].filter(([count]) => count !== 0).map(([count, why]) => `${count} ${why}`);
  say(`${file}: ${counted(taken, "session")} came back` +
    (left.length === 0 ? "" : `; not: ${left.join(", ")}`));
}

function writeCheckpoint(
  file: string, { checkpoint, sessions }: Outcome, say: (line: string) => void,
): void {
  try {
    writeFileSync(file, checkpoint!);
  } catch (error) {
    throw new CommandError(`${file}: ${(error as Error).message}`);
  }
  say(`${file}: ${counted(sessions.length, "session")} left`);
}

function sayInput(
  file: string, { from }: Source, capture: Capture, input: ReplayInput,
  say: (line: string) => void,
): void {
  const others = input.others === 0 ? "" : `, ${input.others} packets without IP left out`;
  say(`core ${coreHash()} (build/margay.wasm, the bytes that VPP runs)`);
  say(`${file}: ${capture.format}, ${input.replayed.length} packets at ` +
    `${capture.interfaces.length} interfaces${others}`);
  if (input.partial > 0) {
    say(`${counted(input.partial, "packet")} had partial checksums: completed`);
  }
  say(`judged by ${from}`);
}

function sayReport(
  source: Source, program: CompiledProgram, input: ReplayInput, first: Outcome,
  say: (line: string) => void,
): void {
  const names = namesOf(source, program);
  const table = new FlowTable();
  input.replayed.forEach(({ packet }, index) => table.add(packet, first.results[index]!));
  say("");
  const { manifests } = source;
  if (manifests === undefined) say(reportFlows(table, names));
  else say(reportConversations(conversations(table, authoredNames(source, program))));
  say("");
  const spread = manifests === undefined ? `; by backend: ${reportBackends(table, names)}` : "";
  say(`${table.flows().length} flows${spread}`);
  say(`${reportSessions(first.sessions)}; ${reportNat(table)}`);
  say("packets by reason:");
  say(reportCounters(first.counters, names));
  say("");
}

/** Names by manifests: pods' workloads, Services, rules with their places. */
export function authoredNames(
  { manifests, program }: Source, { compiler }: CompiledProgram,
): SummaryNames {
  const { owners, state } = manifests!;
  return {
    end: (address) => owners.get(address) ?? address,
    reason: (reason) => typeof reason === "string" ? reason : reasonText(reason),
    backend: (id) => compiler.backendAt(id)?.name ?? `backend ${id}`,
    peer: (number) => program.peers?.[number - 1] ?? `node ${number}`,
    rule: ({ stage, policySlot, rule: index }, { tuple }) => {
      const rule = compiler.ruleAt(policySlot, index);
      if (rule === undefined || rule.policy !== undefined || rule.tier === undefined) {
        return rule === undefined ? "" : ruleText(rule);
      }
      const side = stage === Stage.Egress ? "egress" : "ingress";
      // A denied flow bears no backend: those of a Service are alike, so that the first will do.
      const service = program.services.find(({ address, port }) =>
        address === tuple.destination && port === tuple.destinationPort);
      const backend = service?.backends[0]?.address;
      const end = side === "egress" ? tuple.source : backend ?? tuple.destination;
      const policies = isolating(state, end, rule.tier, side);
      return policies.length === 0 ? rule.name : `isolated by ${policies.join(", ")}`;
    },
  };
}

function namesOf({ program, interfaces }: Source, { compiler }: CompiledProgram): Names {
  const names = new Map([...interfaces].map(([name, number]) => [number, name]));
  return {
    interface: (number) => names.get(number) ?? "unknown",
    rule: (slot, rule) => compiler.ruleName(slot, rule) ?? `policy slot ${slot}, rule ${rule}`,
    backend: (id) => compiler.backendAt(id)?.name ?? `backend ${id}`,
    peer: (number) => program.peers?.[number - 1] ?? `node ${number}`,
    reason: (reason) => typeof reason === "string" ? reason : reasonText(reason),
  };
}

/** A pcap by that name; everything else is a pcapng, which keeps the interfaces' names. */
function formatOf(file: string): CaptureFormat {
  return /\.(pcap|cap|dmp)$/i.test(file) ? "pcap" : "pcapng";
}

function writeLeaving(
  file: string, capture: Capture, source: Source, input: ReplayInput, first: Outcome,
  say: (line: string) => void,
): void {
  const outgoing = outgoingInterface(source, capture.interfaces);
  const leaving = leavingPackets(input, first.results, outgoing, capture.interfaces);
  const format = formatOf(file);
  try {
    makeFolder(dirname(file));
    writeFileSync(file, writeCapture(format, capture.interfaces, leaving));
  } catch (error) {
    throw new CommandError(`${file}: ${(error as Error).message}`);
  }
  const answers = first.results.filter(({ verdict, bytes }) =>
    verdict === Verdict.Reply && bytes !== undefined).length;
  const among = answers === 0 ? "" : `, ${counted(answers, "answer")} among them,`;
  const where = format === "pcapng" ? ", at the interfaces they go to" : "";
  say(`${file}: ${format}, ${counted(leaving.length, "packet")} that leave${among} rewritten` +
    where);
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** A packet leaves by the interface of the endpoint that has its destination, else by an uplink. */
function outgoingInterface(
  { program, interfaces }: Source, captured: CaptureInterface[],
): OutgoingInterface {
  const byAddress = new Map<string, number>();
  let uplink: number | undefined;
  for (const endpoint of program.endpoints) {
    const index = captured.findIndex(({ name }) =>
      name !== undefined && endpoint.interfaces.includes(interfaces.get(name) ?? -1));
    if (index < 0) continue;
    for (const address of endpoint.addresses) byAddress.set(address, index);
    if (endpoint.kind === "uplink") uplink ??= index;
  }
  return (bytes) => byAddress.get(readTuple(bytes)?.destination ?? "") ?? uplink;
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
