// From what process() left in a packet's slot to what people read: verdict, stages, the deciding
// rule of each, addresses as rewritten. Nothing is judged here.
import { Reason, Stage as Asked, Verdict } from "../../assembly/layout.ts";
import type { Result } from "../dataplane/dataplane.ts";
import { addressText } from "../model/address.ts";
import { reasonText } from "../model/names.ts";
import type { NodeRun } from "./node.ts";
import type { Flow, FlowResult, FlowVerdict, Stage, StageVerdict } from "./types.ts";
import { endName } from "./world.ts";

/** What one node made of the packet. */
export interface Hop {
  node: NodeRun;
  result: Result;
}

const STAGES: Partial<Record<Asked, Stage>> = {
  [Asked.Untracked]: "untracked", [Asked.UntrackedOut]: "untracked", [Asked.PreDnat]: "pre-dnat",
  [Asked.Egress]: "egress", [Asked.ForwardIn]: "forward-in", [Asked.ForwardOut]: "forward-out",
  [Asked.Ingress]: "ingress",
};

export function judgement(flow: Flow, hops: Hop[], bytes: Uint8Array): FlowResult {
  const last = hops[hops.length - 1]!;
  const stages: StageVerdict[] = [];
  for (const hop of hops) addStages(stages, hop, flow);
  const verdict = verdictOf(last.result);
  const result: FlowResult = {
    flow, verdict, stages, reason: reasonText(last.result.reason),
    nodes: hops.map(({ node }) => node.name),
  };
  for (const stage of stages) {
    if (stage.stage === "egress") result.egress ??= stage;
    if (stage.stage === "ingress") result.ingress = stage;
    if (stage.verdict === "deny") result.at = stage.stage;
  }
  if (last.result.reason === Reason.EndpointToHost) result.at = "host";
  addRewrites(result, hops, bytes);
  return result;
}

function verdictOf({ verdict, reason }: Result): FlowVerdict {
  if (verdict === Verdict.Pass) return "allow";
  if (verdict === Verdict.Reply) return "reject";
  return reason === Reason.PolicyDenied ? "deny" : "drop";
}

/** Stages in the packet's order; staged policies, which decide nothing, are left out. */
function addStages(all: StageVerdict[], { node, result }: Hop, flow: Flow): void {
  const asked = (result.stages ?? []).filter(({ stage }) => STAGES[stage] !== undefined);
  asked.forEach(({ stage: number, policySlot, rule: ruleIndex }, i) => {
    const stage = STAGES[number]!;
    const rule = node.ruleAt(policySlot, ruleIndex);
    const isLast = i === asked.length - 1;
    const denied = isLast && result.verdict === Verdict.Drop &&
      result.reason === Reason.PolicyDenied;
    const module = rule ? undefined : node.moduleAt(policySlot);
    const silent = !rule && !module && (stage === "untracked" || stage === "pre-dnat");
    const one: StageVerdict = {
      stage, node: node.name, endpoint: endpointOf(stage, node, flow), slot: policySlot, ruleIndex,
      verdict: denied ? "deny" : silent ? "none" : "allow",
    };
    if (rule) {
      one.rule = rule;
      if (rule.tier !== undefined) one.tier = rule.tier;
      if (rule.policy !== undefined) one.policy = rule.policy;
      if (rule.origin) one.path = rule.origin.path;
    } else if (module !== undefined) {
      one.policy = module;
      const tier = node.state.policies.get(module)?.tier;
      if (tier !== undefined) one.tier = tier;
    }
    all.push(one);
  });
}

function endpointOf(stage: Stage, node: NodeRun, flow: Flow): string {
  if (stage === "egress") return endName(flow.from);
  if (stage !== "ingress") return node.name;
  return flow.to.kind === "service" && flow.to.backend ? flow.to.backend.name : endName(flow.to);
}

function addRewrites(result: FlowResult, hops: Hop[], before: Uint8Array): void {
  for (const { node, result: { backend } } of hops) {
    const chosen = backend === undefined ? undefined : node.backendAt(backend);
    if (!chosen) continue;
    result.backend = chosen.name;
    result.destination = socket(chosen.address, chosen.port);
  }
  const after = hops[hops.length - 1]!.result.bytes;
  if (after === undefined || result.backend === undefined) return;
  const was = sourceOf(before), is = sourceOf(after);
  if (was !== is) result.source = is;
}

/** "ip:port" of the sender. */
function sourceOf(bytes: Uint8Array): string {
  const is4 = bytes[0]! >> 4 === 4;
  const at = is4 ? (bytes[0]! & 15) * 4 : 40;
  const address = is4 ? bytes.subarray(12, 16) : bytes.subarray(8, 24);
  return socket(addressText(address), (bytes[at]! << 8) | bytes[at + 1]!);
}

/** Text of the destination in the header. */
export function destinationOf(bytes: Uint8Array): string {
  const is4 = bytes[0]! >> 4 === 4;
  return addressText(is4 ? bytes.subarray(16, 20) : bytes.subarray(24, 40));
}

export function socket(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
