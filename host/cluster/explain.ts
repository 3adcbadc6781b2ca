// A result in words: what each end's policies said, which rule decided as its author wrote it, and
// of a denial the rule that came nearest, condition by condition.
//
//   egress   shop/api   allow  k8s/api.yaml:8  NetworkPolicy shop/api  egress[1]
//   ingress  shop/db    DENY   isolated by NetworkPolicy shop/db; nearest rule k8s/db.yaml:14 …
//                              ✓ from app=api   ✓ protocol TCP   ✗ ports 5433, the packet has 5432
//
// Which rule decided stands in the result; conditions are looked up in the node's state. Without a
// manifest (Felix) sets go by their ids.
import type { Rule } from "../model/rule.ts";
import type { NodeState, TierState } from "../model/state.ts";
import { Authors } from "./author.ts";
import { conditionsOf, type Condition, type Facts, type Words } from "./condition.ts";
import type { Cluster } from "./cluster.ts";
import { remarksOf } from "./remark.ts";
import type { Flow, FlowEnd, FlowResult, Side, StageVerdict } from "./types.ts";
import { endName, protocolName } from "./world.ts";

/** A rule that did not match, and how near it came. */
export interface Nearest {
  policy: string;
  rule: Rule;
  conditions: Condition[];
}

export interface StageExplanation {
  stage: StageVerdict;
  /** "k8s/db.yaml:14  NetworkPolicy shop/db  ingress[0].from[1]", or why none decided. */
  because: string;
  /** Lines that stand below it, indented by the reader. */
  details: string[];
  nearest?: Nearest;
}

export interface Explanation {
  /** "shop/web-0 -> shop/db-0:5432/tcp". */
  flow: string;
  stages: StageExplanation[];
  /** What no stage says: a drop's reason, the Service's choice, a note. */
  remarks: string[];
}

const COLUMN = 9;
export class Explainer {
  private readonly authors: Authors;

  constructor(private readonly cluster: Cluster) {
    this.authors = new Authors(cluster.snapshot);
  }

  explain(result: FlowResult): Explanation {
    const stages = result.stages.map((stage) => this.stage(stage, result));
    const { flow } = result;
    for (const side of ["egress", "ingress"] as const) {
      const end = side === "egress" ? flow.from : flow.to;
      const asked = flow.side === undefined || flow.side === side;
      if (result[side] || !asked || end.kind === "address" || result.followed) continue;
      if (result.verdict !== "allow" && (side === "ingress" || result.verdict !== "deny")) continue;
      const place = side === "egress" ? 0 : stages.length;
      stages.splice(place, 0, unasked(side, result));
    }
    const remarks = remarksOf(result);
    return { flow: flowText(flow), stages, remarks };
  }

  /** The lines of an explanation, each indented by `indent`. */
  lines(result: FlowResult, indent = "  "): string[] {
    const { stages, remarks } = this.explain(result);
    const width = Math.max(0, ...stages.map(({ stage }) => stage.endpoint.length));
    const column = Math.max(COLUMN, ...stages.map(({ stage: { stage } }) => stage.length + 1));
    const lines = remarks.map((remark) => indent + remark);
    for (const { stage, because, details } of stages) {
      if (stage.verdict === "none") continue;
      const verdict = stage.verdict === "deny" ? "DENY" : "allow";
      const head = `${indent}${stage.stage.padEnd(column)}${stage.endpoint.padEnd(width)}  ` +
        `${verdict.padEnd(5)}  `;
      lines.push((head + because).trimEnd());
      for (const detail of details) lines.push(" ".repeat(head.length) + detail);
    }
    return lines;
  }

  private stage(stage: StageVerdict, result: FlowResult): StageExplanation {
    const { rule, policy, tier } = stage;
    const flow = result.flow;
    const side = stage.stage === "egress" ? "egress" : "ingress";
    const tiers = this.tiersOf(stage, side);
    const unselected = tiers.length === 0 && stage.stage === side;
    const where = unselected ? `no policy selects it for ${side}` : "";
    if (rule && policy !== undefined) {
      if (unselected && stage.verdict === "allow") return { stage, because: where, details: [] };
      const words = this.authors.words(policy, rule.origin, flow.from, target(flow, this.cluster));
      const texts = Object.values(words).map(({ text, has }) => `${text}   it has ${has}`);
      const said = `${place(rule)}${policy}  ${rulePath(rule)}`.trim();
      return { stage, because: where === "" ? said : `${where}; ${said}`,
        details: stage.verdict === "deny" ? [] : texts };
    }
    if (policy !== undefined) return { stage, because: policy, details: [] };
    if (stage.verdict !== "deny") {
      const silent = stage.verdict === "none" ? "no rule matched" : "";
      const because = rule ? rulePath(rule) || rule.name : where === "" ? silent : where;
      return { stage, because, details: [] };
    }
    const policies = this.stateOf(stage)?.policies;
    const own = (tiers.find(({ name }) => name === tier)?.[side] ?? [])
      .filter((key) => policies?.get(key)?.staged !== true);
    const isolated = own.length === 0 ? rule?.origin?.path ?? "no rule allows it"
      : `isolated by ${some(own)}`;
    const nearest = this.nearest(stage, side, own, result);
    if (!nearest) return { stage, because: isolated, details: [] };
    const hold = nearest.conditions.filter(({ holds }) => holds).length;
    const at = `nearest rule ${place(nearest.rule)}${own.length > 1 ? `${nearest.policy}  ` : ""}` +
      `${rulePath(nearest.rule)}, ${hold} of ${nearest.conditions.length} hold`;
    const marks = nearest.conditions.map(mark).join("   ");
    return own.length > 1
      ? { stage, nearest, because: isolated, details: [at, marks] }
      : { stage, nearest, because: `${isolated}; ${at}`, details: [marks] };
  }

  private stateOf(stage: StageVerdict): NodeState | undefined {
    return this.cluster.nodes.get(stage.node)?.state;
  }

  /** The tiers that say something at this stage, of the workload or of the node's host endpoint. */
  private tiersOf(stage: StageVerdict, side: Side): TierState[] {
    const state = this.stateOf(stage);
    if (!state) return [];
    const said = (tiers: TierState[]): TierState[] =>
      tiers.filter((tier) => tier[side].length > 0);
    for (const { workload, tiers } of state.workloads.values()) {
      if (workload === stage.endpoint) return said(tiers);
    }
    for (const host of state.hostEndpoints.values()) {
      const tiers = stage.stage.startsWith("forward") ? host.forwardTiers
        : stage.stage === "untracked" ? host.untrackedTiers
        : stage.stage === "pre-dnat" ? host.preDnatTiers : host.tiers;
      if (tiers.some(({ name }) => name === stage.tier)) return said(tiers);
    }
    return [];
  }

  /** Of the rules that would have allowed it, the one of which most holds. */
  private nearest(
    stage: StageVerdict, side: Side, policies: string[], result: FlowResult,
  ): Nearest | undefined {
    const state = this.stateOf(stage);
    if (!state) return undefined;
    const facts = factsOf(result);
    const to = target(result.flow, this.cluster);
    let best: Nearest | undefined;
    let least = Infinity;
    for (const key of policies) {
      const policy = state.policies.get(key);
      if (!policy || policy.staged) continue;
      for (const rule of side === "egress" ? policy.outbound : policy.inbound) {
        if (rule.action !== "allow" && rule.action !== "pass") continue;
        const words: Words = this.authors.words(key, rule.origin, result.flow.from, to);
        const conditions = conditionsOf(rule, facts, state.sets, words);
        const failing = conditions.reduce((sum, each) => sum + (each.holds ? 0 : each.weight), 0);
        if (failing === 0 || failing > least) continue;
        if (failing === least && conditions.length <= best!.conditions.length) continue;
        [best, least] = [{ policy: key, rule, conditions }, failing];
      }
    }
    return best;
  }
}

const NAMED_MAX = 3;
function some(names: string[]): string {
  const more = names.length - NAMED_MAX;
  return names.slice(0, NAMED_MAX).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function mark({ holds, text, instead }: Condition): string {
  return holds ? `✓ ${text}` : `✗ ${text}, ${instead ?? ""}`;
}

/** "k8s/db.yaml:14  " where it is known. */
function place({ origin }: Rule): string {
  if (origin?.file === undefined) return "";
  return `${origin.file}${origin.line === undefined ? "" : `:${origin.line}`}  `;
}

function rulePath({ origin }: Rule): string {
  if (!origin) return "";
  return origin.peer === undefined ? origin.path : `${origin.path}.${origin.peer}`;
}

/** An end whose policies nobody asked: what that means. */
function unasked(side: Side, { flow, nodes }: FlowResult): StageExplanation {
  const end = side === "egress" ? flow.from : flow.to;
  const isNode = end.kind === "node" || (end.kind === "pod" && end.pod.hostNetwork);
  const because = isNode ? "the host, no host endpoint's policy applies"
    : flow.from.kind === "node" ? "from its own host: not policed"
    : `no policy selects it for ${side}`;
  const node = (side === "egress" ? nodes[0] : nodes.at(-1)) ?? "";
  return {
    stage: { stage: side, node, endpoint: endName(end), verdict: "allow", ruleIndex: 0, slot: 0 },
    because, details: [],
  };
}

/** The destination that policies see: the backend, behind a Service. */
function target(flow: Flow, cluster: Cluster): FlowEnd {
  if (flow.to.kind !== "service" || !flow.to.backend) return flow.to;
  const { address } = flow.to.backend;
  return cluster.world.ownerOf(address) ?? { kind: "address", address };
}

function factsOf({ flow, destination }: FlowResult): Facts {
  const rewritten = destination === undefined ? undefined
    : /^\[?([^\]]*)\]?:(\d+)$/.exec(destination);
  const facts: Facts = {
    source: flow.from.address, destination: rewritten?.[1] ?? flow.to.address,
    protocol: flow.protocol, sourcePort: flow.sourcePort ?? 0,
    port: rewritten ? Number(rewritten[2]) : flow.port ?? 0,
  };
  return flow.icmp ? { ...facts, icmp: flow.icmp } : facts;
}

/** "shop/web-0 -> shop/db-0:5432/tcp": the grammar, so that it can be pasted. */
export function flowText(flow: Flow, from = endText(flow.from), to = endText(flow.to)): string {
  const name = protocolName(flow.protocol);
  const source = flow.sourcePort === undefined || flow.icmp ? from : `${from}:${flow.sourcePort}`;
  if (flow.icmp) {
    const icmp = `${name}:${flow.icmp.type}/${flow.icmp.code}`;
    return `${source} -> ${bracketed(to)}/${icmp}`;
  }
  const where = flow.port === undefined ? bracketed(to) : `${to}:${flow.port}`;
  return `${source} -> ${where}/${name}`;
}

function endText(end: FlowEnd): string {
  const name = end.kind === "service" ? end.via ?? end.service.replace("/", "/svc/") : endName(end);
  return end.kind !== "pod" && name === end.address && name.includes(":") ? `[${name}]` : name;
}

/** An IPv4 address before a slash would be a prefix. */
function bracketed(text: string): string {
  return /^[\d.]+$/.test(text) ? `[${text}]` : text;
}

/** A word as a shell takes it. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `"${text.replace(/(["$`\\])/g, "\\$1")}"`;
}

/** The line to paste: `margay verdict --state k8s/ "shop/web -> shop/db:5432"`. */
export function pasteLine(state: readonly string[], flow: string): string {
  const paths = state.map((path) => `--state ${shellWord(path)}`).join(" ");
  return `margay verdict ${paths} "${flow.replace(/(["$`\\])/g, "\\$1")}"`;
}
