// The summary of a replay, as text: conversations of the same ends, port, verdict and rules are one
// line, and below it stand the rules that decided, as their authors wrote them.
//
//   flows  packets  from      to                     verdict
//       4    20/20  shop/web  shop/svc/api:80/tcp    pass
//                   egress    web.yaml:38  NetworkPolicy shop/web egress[0].to[0]
//                   ingress   api.yaml:31  NetworkPolicy shop/api ingress[0].from[0]
//
// Names come from who reads; what was decided, and by which rule, from the program's results.

import pc from "picocolors";
import { Stage } from "../../assembly/layout.ts";
import type { StageRule } from "../dataplane/dataplane.ts";
import type { Flow, FlowReason, FlowTable } from "./flow.ts";
import { printProtocol } from "./tuple.ts";

/** What addresses, rules and reasons are called. */
export interface SummaryNames {
  /** "shop/web", "shop/svc/web", or the address where it is nobody's. */
  end(address: string): string;
  /** What decided at a stage of a flow; "" where nothing did. */
  rule(stage: StageRule, flow: Flow): string;
  reason(reason: FlowReason): string;
}

export interface Conversation {
  from: string;
  /** With port and protocol: "shop/svc/web:80/tcp". */
  to: string;
  /** "pass", "drop: policy-denied". */
  verdict: string;
  /** Stage and rule, in the order in which they were asked. */
  stages: [string, string][];
  flows: number;
  /** As they came in, and of the other direction. */
  forward: number;
  return: number;
}

const STAGES: Record<Stage, string> = {
  [Stage.Untracked]: "untracked", [Stage.PreDnat]: "pre-dnat",
  [Stage.UntrackedOut]: "untracked out", [Stage.Egress]: "egress",
  [Stage.ForwardIn]: "forward in", [Stage.ForwardOut]: "forward out", [Stage.Ingress]: "ingress",
  [Stage.StagedEgress]: "staged egress", [Stage.StagedIngress]: "staged ingress",
};
const ICMP = new Set([1, 58]);

/** In the order of their first packets. */
export function conversations(table: FlowTable, names: SummaryNames): Conversation[] {
  const found = new Map<string, Conversation>();
  for (const flow of table.flows()) {
    const one = conversation(flow, names);
    const key = JSON.stringify([one.from, one.to, one.verdict, one.stages]);
    const same = found.get(key);
    if (same === undefined) {
      found.set(key, one);
      continue;
    }
    same.flows += 1;
    same.forward += one.forward;
    same.return += one.return;
  }
  return [...found.values()];
}

function conversation(flow: Flow, names: SummaryNames): Conversation {
  const { tuple, drops, stages } = flow;
  const protocol = printProtocol(tuple.protocol);
  const port = ICMP.has(tuple.protocol) ? "" : `:${tuple.destinationPort}`;
  const end = names.end(tuple.destination);
  const bracketed = end.includes(":") && port !== "" ? `[${end}]` : end;
  return {
    from: names.end(tuple.source),
    to: `${bracketed}${port}/${protocol}`,
    verdict: verdictOf(flow, [...drops.keys()].map(names.reason)),
    stages: stages.map((one): [string, string] => [STAGES[one.stage], names.rule(one, flow)])
      .filter(([, rule]) => rule !== ""),
    flows: 1, forward: flow.forward.packets, return: flow.return.packets,
  };
}

function verdictOf({ forward, drops }: Flow, reasons: string[]): string {
  if (reasons.length === 0) return "pass";
  const dropped = [...drops.values()].reduce((sum, packets) => sum + packets, 0);
  return `${forward.packets > dropped ? "pass, " : ""}drop: ${reasons.join(", ")}`;
}

const HEADINGS = ["flows", "packets", "from", "to", "verdict"];

export function reportConversations(all: Conversation[]): string {
  const rows = all.map((one) => [
    String(one.flows), `${one.forward}/${one.return}`, one.from, one.to, one.verdict,
  ]);
  const widths = HEADINGS.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]!.length)));
  const pad = (cell: string, column: number): string =>
    column < 2 ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!);
  const line = (row: string[]): string => row.map(pad).join("  ").trimEnd();
  const indent = " ".repeat(widths[0]! + widths[1]! + 4);
  const stageWidth = Math.max(0, ...all.flatMap(({ stages }) => stages.map(([at]) => at.length)));
  const lines = [pc.bold(line(HEADINGS))];
  all.forEach((one, index) => {
    const text = line(rows[index]!);
    lines.push(one.verdict === "pass" ? text : pc.yellow(text));
    for (const [at, rule] of one.stages) {
      lines.push(pc.dim(`${indent}${at.padEnd(stageWidth)}  ${rule}`));
    }
  });
  return lines.join("\n");
}
