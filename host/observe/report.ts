// The report of a replay, as text: flows, drops by reason, backends, counters.
//
//   client  tcp 10.244.0.2:40002 > 10.96.0.80:80  http-1 10.244.0.11:8080 6/5 905/690 pass web/all
//   from    flow, as its opener sent it           backend, its end    packets bytes verdict rule
//
// Names come from the program that was replayed; the numbers from the packets and results alone.

import pc from "picocolors";
import type { Reason } from "../../assembly/layout.ts";
import { flowVerdict, isSourceHidden } from "./flow.ts";
import type { Flow, FlowReason, FlowTable } from "./flow.ts";
import { printEnd, printTuple } from "./tuple.ts";

/** What the numbers of results are called. */
export interface Names {
  interface(number: number): string;
  /** Policy and rule. */
  rule(policySlot: number, rule: number): string;
  backend(id: number): string;
  reason(reason: FlowReason): string;
  /** Another node, by a result's number of it. */
  peer(number: number): string;
}

const HEADINGS = ["from", "flow", "to", "packets", "bytes", "verdict", "rule"];
const RIGHT_ALIGNED = new Set([3, 4]);

export function reportFlows(table: FlowTable, names: Names): string {
  const rows = table.flows().map((flow) => [
    names.interface(flow.interface),
    printTuple(flow.tuple),
    whereTo(flow, names),
    `${flow.forward.packets}/${flow.return.packets}`,
    `${flow.forward.bytes}/${flow.return.bytes}`,
    verdict(flow, names),
    flow.policySlot === 0 ? "-" : names.rule(flow.policySlot, flow.rule),
  ]);
  return align([HEADINGS, ...rows]).map((line, index) => index === 0 ? pc.bold(line) : line)
    .join("\n");
}

/** The backend and its end; the source where NAT put another in. */
function whereTo(flow: Flow, names: Names): string {
  const { to, tuple, backend, peer } = flow;
  if (to === undefined) return "-";
  if (peer !== undefined) return `as it came, to ${names.peer(peer)}`;
  const end = printEnd(to.destination, to.destinationPort);
  const from = isSourceHidden(flow) ? ` from ${printEnd(to.source, to.sourcePort)}` : "";
  if (backend !== undefined) return `${names.backend(backend)} ${end}${from}`;
  return end === printEnd(tuple.destination, tuple.destinationPort) && from === ""
    ? "as it came" : `${end}${from}`;
}

function verdict(flow: Flow, names: Names): string {
  return flowVerdict(flow, (reason, packets) => `${packets} ${names.reason(reason)}`);
}

/** How the flows to a Service's backends are spread. */
export function reportBackends(table: FlowTable, names: Names): string {
  const flows = new Map<string, number>();
  for (const { backend } of table.flows()) {
    if (backend === undefined) continue;
    const name = names.backend(backend);
    flows.set(name, (flows.get(name) ?? 0) + 1);
  }
  return [...flows].sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${name} ${count}`).join(", ") || "none";
}

/** Counters of the program, those that aren't 0. */
export function reportCounters(counters: [Reason, bigint][], names: Names): string {
  const some = counters.filter(([, packets]) => packets !== 0n);
  return align(some.map(([reason, packets]) => [`  ${names.reason(reason)}`, packets.toString()]),
    new Set([1])).join("\n");
}

function align(rows: string[][], right: ReadonlySet<number> = RIGHT_ALIGNED): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, index) => (widths[index] = Math.max(widths[index] ?? 0, cell.length)));
  }
  return rows.map((row) => row.map((cell, index) =>
    right.has(index) ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!))
    .join("  ").trimEnd());
}
