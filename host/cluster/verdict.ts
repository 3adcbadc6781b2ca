// `margay verdict`, the work of it: flows and probes through a cluster, answers as text or JSON.
//
//   flows  ─ text ─►  shop/web-0 -> shop/db-0:5432/tcp  DENY
//                       egress   shop/web-0  allow  …
//   probes ─ json ─►  {"id":1,"verdict":"deny", …}                     (probe.ts)
import pc from "picocolors";
import { CommandError } from "../command-error.ts";
import { familyOf, type Family } from "../model/address.ts";
import { addonPath } from "../dataplane/addon.ts";
import type { Cluster } from "./cluster.ts";
import { NoPath } from "./cluster.ts";
import type { VerdictOptions } from "./command.ts";
import { Explainer, flowText } from "./explain.ts";
import { FlowError } from "./flow.ts";
import { jsonLines, type JsonLine } from "./lines.ts";
import { answer, ProbeReader, type BadProbe } from "./probe.ts";
import { openCluster } from "./state.ts";
import type { FlowResult } from "./types.ts";

/** Probes whose results are held at a time. */
const PIECE = 8192;
const STATUS_ABSENT = 3;

type Write = (text: string) => void;

/** Throws a CommandError. */
export async function runVerdict(
  flows: readonly string[], options: VerdictOptions, write: Write,
): Promise<void> {
  if (options.programs !== undefined) {
    const other = flows.length ? "flows" : options.probes !== undefined ? "--probes"
      : options.state ? "--state" : options.node === undefined ? undefined : "--node";
    if (other !== undefined) throw new CommandError(`--programs and ${other} can't go together`);
    if (options.engine === "native" && addonPath() === undefined) {
      throw new CommandError("--engine native: not built. Run npm run build:native, or leave out " +
        "--engine", STATUS_ABSENT);
    }
    const { runPrograms } = await import("./programs.ts");
    return runPrograms(options.programs, options.engine ?? "node", write);
  }
  if (options.engine !== undefined) throw new CommandError("--engine goes with --programs");
  if (!options.state) {
    throw new CommandError("say --state PATH: manifests or a Felix stream (or --programs FILE)");
  }
  if (flows.length === 0 && options.probes === undefined) {
    throw new CommandError('nothing is asked: give "FROM -> TO:PORT", or --probes FILE');
  }
  const { probes, node } = options;
  if (probes === "-" && options.state.includes("-")) {
    throw new CommandError("--state and --probes can't both be stdin");
  }
  const lines = probes === undefined ? [] : [...jsonLines(probes)];
  const sides = lines.some(({ value }) =>
    (value as { side?: unknown } | null | undefined)?.side !== undefined);
  const cluster = await openCluster(options.state, { sides, ...(node ? { node } : {}) });
  if (flows.length) runFlows(cluster, flows, options.format ?? "text", write);
  if (probes !== undefined) runProbes(cluster, lines, options.format ?? "json", write);
  cluster.close();
}

function runFlows(
  cluster: Cluster, texts: readonly string[], format: "text" | "json", write: Write,
): void {
  const explainer = new Explainer(cluster);
  for (const text of texts) {
    const results = resultsOf(cluster, text);
    if (format === "json") {
      for (const one of results) write(`${JSON.stringify(answer(flowText(one.flow), [one]))}\n`);
      continue;
    }
    const groups = alike(results);
    // Of pods with two families, the same text stands for a packet of each.
    const families = new Set(results.map(familyOfResult));
    for (const group of groups) {
      const whole = groups.length === 1 && group.length > 1;
      const own = new Set(group.map(familyOfResult));
      const family = own.size < families.size ? `  IPv${familyOfResult(group[0]!)}` : "";
      const head = whole ? text.trim() : flowText(group[0]!.flow) + family;
      write(flowReport(explainer, group, head));
    }
  }
}

function familyOfResult({ flow }: FlowResult): Family {
  return familyOf(flow.to.address);
}

/** Results that say the same of other pods, backends and families. */
function alike(results: readonly FlowResult[]): FlowResult[][] {
  const groups = new Map<string, FlowResult[]>();
  for (const result of results) {
    const { verdict, reason, stages, note } = result;
    const said = stages.map(({ stage, verdict: says, policy, path, tier, rule }) =>
      [stage, says, policy, path, rule?.origin?.peer, tier]);
    const key = JSON.stringify([verdict, reason, said, note !== undefined]);
    groups.set(key, [...groups.get(key) ?? [], result]);
  }
  return [...groups.values()];
}

function resultsOf(cluster: Cluster, text: string): FlowResult[] {
  try {
    return cluster.run(cluster.flows(text));
  } catch (error) {
    if (error instanceof FlowError || error instanceof NoPath) {
      throw new CommandError(error.message);
    }
    throw error;
  }
}

/** One result in full; how many others are like it. */
function flowReport(explainer: Explainer, results: FlowResult[], head: string): string {
  const [first, ...more] = results as [FlowResult, ...FlowResult[]];
  const { verdict } = first;
  const shown = verdict === "allow" ? pc.green("allow") : pc.red(verdict.toUpperCase());
  const others = more.length === 0 ? ""
    : pc.dim(`  ${results.length} packets alike; of ${flowText(first.flow)}:`);
  return [`${head}  ${shown}${others}`, ...explainer.lines(first), ""].join("\n");
}

function runProbes(
  cluster: Cluster, lines: JsonLine[], format: "text" | "json", write: Write,
): void {
  const reader = new ProbeReader(cluster);
  const explainer = new Explainer(cluster);
  for (let from = 0; from < lines.length; from += PIECE) {
    const probes = lines.slice(from, from + PIECE).map(({ value, error }) =>
      error === undefined ? reader.read(value) : { id: null, error });
    const results = cluster.run(probes.flatMap((probe) => "flows" in probe ? probe.flows : []));
    let next = 0;
    const texts = probes.map((probe): string => {
      if (!("flows" in probe)) return errorLine(probe, format);
      const own = results.slice(next, next += probe.flows.length);
      if (format === "json") return `${JSON.stringify(answer(probe.id, own))}\n`;
      return alike(own).map((group) =>
        `${probe.id}: ${flowReport(explainer, group, flowText(group[0]!.flow))}`).join("");
    });
    write(texts.join(""));
  }
}

function errorLine({ id, error }: BadProbe, format: "text" | "json"): string {
  return format === "json" ? `${JSON.stringify({ id, error })}\n` : `${id}: error: ${error}\n`;
}

