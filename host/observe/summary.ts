// The summary of a replay, as text: conversations of the same ends, port, verdict and rules are one
// line, and below it stand the rules that decided, as their authors wrote them, and what NAT did.
//
//   flows  packets  from      to                     verdict
//       4    20/20  shop/web  shop/svc/api:80/tcp    pass
//                   egress    web.yaml:38  NetworkPolicy shop/web egress[0].to[0]
//                   ingress   api.yaml:31  NetworkPolicy shop/api ingress[0].from[0]
//                   backend   shop/api-0 3, shop/api-1 1
//
// Names come from who reads; what was decided, and by which rule, from the program's results.

import { isIP } from "node:net";
import pc from "picocolors";
import { Stage } from "../../assembly/layout.ts";
import type { StageRule } from "../dataplane/dataplane.ts";
import { flowVerdict, isSourceHidden } from "./flow.ts";
import type { Flow, FlowReason, FlowTable } from "./flow.ts";
import { printProtocol } from "./tuple.ts";

/** What addresses, rules and reasons are called. */
export interface SummaryNames {
  /** "shop/web", "shop/svc/web", or the address where it is nobody's. */
  end(address: string): string;
  /** What decided at a stage of a flow; "" where nothing did. */
  rule(stage: StageRule, flow: Flow): string;
  reason(reason: FlowReason): string;
  backend(id: number): string;
  /** Another node, by a result's number of it. */
  peer(number: number): string;
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
  /** Flows by the backend that a Service led to, by who stands in as source, by node (DSR). */
  backends: Map<string, number>;
  sources: Map<string, number>;
  peers: Map<string, number>;
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
    addCounts(same.backends, one.backends);
    addCounts(same.sources, one.sources);
    addCounts(same.peers, one.peers);
  }
  return [...found.values()];
}

function conversation(flow: Flow, names: SummaryNames): Conversation {
  const { tuple, stages } = flow;
  const protocol = printProtocol(tuple.protocol);
  const port = ICMP.has(tuple.protocol) ? "" : `:${tuple.destinationPort}`;
  const end = names.end(tuple.destination);
  const bracketed = isIP(end) === 6 && port !== "" ? `[${end}]` : end;
  return {
    from: names.end(tuple.source),
    to: `${bracketed}${port}/${protocol}`,
    verdict: flowVerdict(flow, (reason) => names.reason(reason)),
    stages: stages.map((one): [string, string] => [STAGES[one.stage], names.rule(one, flow)])
      .filter(([, rule]) => rule !== ""),
    flows: 1, forward: flow.forward.packets, return: flow.return.packets,
    backends: counts(flow.backend === undefined ? undefined : names.backend(flow.backend)),
    sources: counts(isSourceHidden(flow) ? names.end(flow.to!.source) : undefined),
    peers: counts(flow.peer === undefined ? undefined : names.peer(flow.peer)),
  };
}

function counts(name: string | undefined): Map<string, number> {
  return new Map(name === undefined ? [] : [[name, 1]]);
}

function addCounts(to: Map<string, number>, more: ReadonlyMap<string, number>): void {
  for (const [name, count] of more) to.set(name, (to.get(name) ?? 0) + count);
}

/** Where the flows went, and who they seem to be from. */
function natLines({ backends, sources, peers }: Conversation): [string, string][] {
  const line = (what: string, by: Map<string, number>): [string, string][] => by.size === 0 ? []
    : [[what, [...by].sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, flows]) => by.size === 1 ? name : `${name} ${flows}`).join(", ")]];
  return [...line("backend", backends), ...line("source", sources), ...line("passed on", peers)];
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
  const stageWidth = Math.max(0, ...all.flatMap((one) =>
    [...one.stages, ...natLines(one)].map(([at]) => at.length)));
  const lines = [pc.bold(line(HEADINGS))];
  all.forEach((one, index) => {
    const text = line(rows[index]!);
    lines.push(one.verdict === "pass" ? text : pc.yellow(text));
    for (const [at, rule] of [...one.stages, ...natLines(one)]) {
      lines.push(pc.dim(`${indent}${at.padEnd(stageWidth)}  ${rule}`));
    }
  });
  return lines.join("\n");
}
