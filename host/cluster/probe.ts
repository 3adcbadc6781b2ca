// Probes: a JSON object a line in, a JSON object a line out, same order, ids kept.
//
//   {"id", "from", "to", "protocol", "sourcePort"?, "port"?, "icmpType"?, "icmpCode"?, "side"?}
//   {"id", "verdict", "reason"?, "egress"?, "ingress"?, "destination"?, "source"?}, {"id", "error"}
//
// A probe of a workload or a Service is several packets: the first that did not pass is told, else
// the first. Of ends with two families the first family that both have is taken.
import { familyOf } from "../model/address.ts";
import { FlowError, parseEnd, parseProtocol, type EndText } from "./flow.ts";
import { NoPath, type Cluster } from "./cluster.ts";
import { entryOf } from "./path.ts";
import { resolveFlow } from "./resolve.ts";
import type { Flow, FlowResult, Side, StageVerdict } from "./types.ts";

/** Whatever the probe gave; null where it gave none. */
export type ProbeId = unknown;

export interface Probe {
  id: ProbeId;
  flows: Flow[];
}
export interface BadProbe {
  id: ProbeId;
  error: string;
}

export interface ProbeSide {
  verdict: "allow" | "deny";
  tier?: string;
  policy?: string;
  rule?: string;
}

/** A line of output. */
export interface ProbeAnswer {
  id: ProbeId;
  verdict: FlowResult["verdict"];
  reason?: string;
  egress?: ProbeSide;
  ingress?: ProbeSide;
  destination?: string;
  source?: string;
}

type Fields = Record<string, unknown>;

export class ProbeReader {
  private readonly ends = new Map<string, EndText>();

  constructor(private readonly cluster: Cluster) {}

  /** What is wrong with a probe is its answer. */
  read(json: unknown): Probe | BadProbe {
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      return { id: null, error: "a probe is a JSON object" };
    }
    const fields = json as Fields;
    const id = fields["id"] ?? null;
    try {
      return { id, flows: this.flows(fields) };
    } catch (error) {
      if (error instanceof FlowError || error instanceof NoPath || error instanceof BadField) {
        return { id, error: error.message };
      }
      throw error;
    }
  }

  private flows(fields: Fields): Flow[] {
    const from = this.end(fields, "from"), to = this.end(fields, "to");
    const protocol = parseProtocol(protocolText(fields["protocol"]));
    const port = number(fields, "port", 65_535);
    const sourcePort = number(fields, "sourcePort", 65_535);
    const type = number(fields, "icmpType", 255), code = number(fields, "icmpCode", 255);
    const side = sideOf(fields["side"]);
    if (type !== undefined) protocol.icmp = { type, code: code ?? 0 };
    const text = `${from.text} -> ${to.text}`;
    const hasPorts = [6, 17, 132, 136].includes(protocol.number);
    const found = resolveFlow({
      text, protocol: { ...protocol, written: true },
      from: { ...from, port: hasPorts ? sourcePort ?? from.port : undefined },
      to: { ...to, port: hasPorts ? port ?? to.port : undefined },
    }, this.cluster.world);
    const family = familyOf(found[0]!.from.address);
    const flows = found.filter((flow) => familyOf(flow.from.address) === family);
    for (const flow of flows) {
      if (side !== undefined) flow.side = side;
      entryOf(flow, this.cluster);
    }
    return flows;
  }

  private end(fields: Fields, name: "from" | "to"): EndText {
    const text = fields[name];
    if (typeof text !== "string") throw new BadField(name, "a text", text);
    let end = this.ends.get(text);
    if (!end) this.ends.set(text, end = parseEnd(text));
    return end;
  }
}

/** Message: "port: expected a number from 0 to 65535, not "http"". */
class BadField extends Error {
  constructor(name: string, expected: string, value: unknown) {
    super(value === undefined ? `${name} is missing: ${expected}`
      : `${name}: expected ${expected}, not ${JSON.stringify(value)}`);
  }
}

function protocolText(value: unknown): string {
  if (typeof value === "string" || typeof value === "number") return String(value);
  throw new BadField("protocol", "tcp, udp, sctp, icmp, icmp6 or a number", value);
}

function number(fields: Fields, name: string, most: number): number | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  if (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= most) return Number(value);
  throw new BadField(name, `a number from 0 to ${most}`, value);
}

function sideOf(value: unknown): Side | undefined {
  if (value === undefined || value === null) return undefined;
  if (value === "egress" || value === "ingress") return value;
  throw new BadField("side", "egress or ingress", value);
}

export function answer(id: ProbeId, results: readonly FlowResult[]): ProbeAnswer {
  const told = results.find(({ verdict }) => verdict !== "allow") ?? results[0]!;
  const { verdict, reason, egress, ingress, destination, source } = told;
  return {
    id, verdict,
    ...(verdict === "allow" ? {} : { reason }),
    ...(egress ? { egress: side(egress) } : {}),
    ...(ingress ? { ingress: side(ingress) } : {}),
    ...(destination === undefined ? {} : { destination }),
    ...(source === undefined ? {} : { source }),
  };
}

function side({ verdict, tier, policy, path }: StageVerdict): ProbeSide {
  const one: ProbeSide = { verdict: verdict === "deny" ? "deny" : "allow" };
  if (tier !== undefined) one.tier = tier;
  if (policy === undefined) return one;
  one.policy = policy;
  if (path !== undefined) one.rule = path;
  return one;
}
