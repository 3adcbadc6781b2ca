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

/** Reasons of what goes by a session, whatever policies say now. */
const FOLLOWED = new Set([Reason.Established, Reason.Related, Reason.Fragment]);

export function judgement(flow: Flow, hops: Hop[], bytes: Uint8Array): FlowResult {
  const last = hops[hops.length - 1]!;
  const stages: StageVerdict[] = [];
  for (const hop of hops) addStages(stages, hop, flow);
  const verdict = verdictOf(last.result);
  const result: FlowResult = {
    flow, verdict, stages, reason: reasonText(last.result.reason),
    nodes: hops.map(({ node }) => node.name),
  };
  const followed = hops.filter((hop) => FOLLOWED.has(hop.result.reason));
  if (followed.length > 0) result.followed = followed.map(({ node }) => node.name);
  if (verdict === "reject") result.answer = answerText(last.result.bytes);
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
    const denied = isLast && result.verdict !== Verdict.Pass &&
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
    if (!result.flow.isReply) result.destination = socket(chosen.address, chosen.port);
  }
  const last = hops[hops.length - 1]!.result;
  const after = last.bytes;
  if (after === undefined || last.verdict !== Verdict.Pass) return;
  if (differ(before, after, "source")) result.source = socketAt(after, "source");
  if (result.flow.isReply && differ(before, after, "destination")) {
    result.destination = socketAt(after, "destination");
  }
}

export type PacketEnd = "source" | "destination";
const TCP = 6;
/** Protocols whose first four bytes are ports. */
const WITH_PORTS = new Set([6, 17, 132, 136]);

/** Where an end's address stands in a header, and its port behind it. */
function placeOf(bytes: Uint8Array, end: PacketEnd): {
  address: number; length: number; port: number | undefined;
} {
  const is4 = bytes[0]! >> 4 === 4;
  const isSource = end === "source";
  const l4 = is4 ? (bytes[0]! & 15) * 4 : 40;
  const protocol = is4 ? bytes[9]! : bytes[6]!;
  return {
    address: is4 ? (isSource ? 12 : 16) : (isSource ? 8 : 24), length: is4 ? 4 : 16,
    port: WITH_PORTS.has(protocol) ? l4 + (isSource ? 0 : 2) : undefined,
  };
}

function differ(before: Uint8Array, after: Uint8Array, end: PacketEnd): boolean {
  const { address, length, port } = placeOf(before, end);
  for (let i = address; i < address + length; i++) if (before[i] !== after[i]) return true;
  return port !== undefined && (before[port] !== after[port] ||
    before[port + 1] !== after[port + 1]);
}

/** "ip:port" of one end; the address alone where the protocol has no ports. */
function socketAt(bytes: Uint8Array, end: PacketEnd): string {
  const { address, length, port } = placeOf(bytes, end);
  const text = addressText(bytes.subarray(address, address + length));
  return port === undefined ? text : socket(text, portAt(bytes, end)!);
}

/** An end's port; undefined of protocols that have none. */
export function portAt(bytes: Uint8Array, end: PacketEnd): number | undefined {
  const { port } = placeOf(bytes, end);
  return port === undefined ? undefined : (bytes[port]! << 8) | bytes[port + 1]!;
}

/** Text of the address in the header. */
export function addressAt(bytes: Uint8Array, end: PacketEnd): string {
  const { address, length } = placeOf(bytes, end);
  return addressText(bytes.subarray(address, address + length));
}

/** What an answer is, by its own bytes. */
function answerText(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return "an answer";
  const is4 = bytes[0]! >> 4 === 4;
  if ((is4 ? bytes[9] : bytes[6]) === TCP) return "TCP reset";
  return is4 ? "ICMP unreachable" : "ICMPv6 unreachable";
}

/** Text of the destination in the header. */
export function destinationOf(bytes: Uint8Array): string {
  return addressAt(bytes, "destination");
}

export function socket(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
