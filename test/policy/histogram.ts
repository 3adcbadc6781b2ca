// What a random run has met, and whether that is enough: shares of packets by reason, by stage that
// was asked, and by match field. A field decides where the rule that decided bears it, and where it
// alone kept a rule that was reached from matching: both must come about.
import type { Rule } from "../../host/model/rule.ts";
import { judge, type Judgement } from "../reference/policy.ts";
import { MATCH_FIELDS } from "../reference/rule.ts";
import type { Case, Packet } from "./generate.ts";

/** The least share of packets, for each field either way and for each reason. */
export const LEAST = 0.005;
export const LEAST_ALLOWED = 0.3;

/** Reasons that one packet can meet in a state that is not full, and that none other precedes. */
export const REASONS = [
  "Allowed", "Untracked", "NeighbourDiscovery",
  "UnknownEndpoint", "SpoofedSource", "PolicyDenied", "HeadersTooLong", "Truncated", "BadVersion",
  "BadHeaderLength", "BadTotalLength", "BadChecksum", "TimeExpired", "LaterFragment",
  "TinyFragment", "ExtensionHeader", "RoutingHeader", "BadTcpFlags", "NoBackend", "NoSession",
  "MappedAddress", "EndpointInactive", "EncapFromWorkload", "EncapFromUnknownHost",
  "EndpointToHost",
];
/** Who may decide at a stage; each must have, once at least. */
const STAGES = [
  "Untracked allow", "Untracked deny", "UntrackedOut allow", "UntrackedOut deny",
  "PreDnat allow", "PreDnat deny", "Egress allow", "Egress deny", "ForwardIn allow",
  "ForwardIn deny", "ForwardOut allow", "ForwardOut deny", "Ingress allow", "Ingress deny",
  "StagedEgress allow", "StagedEgress deny", "StagedIngress allow", "StagedIngress deny",
  "by failsafe", "by tier", "by profiles", "by Profile",
];

export class Histogram {
  packets = 0;
  passed = 0;
  private readonly counts = new Map<string, number>();

  private count(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }
  private of(name: string): number {
    return this.counts.get(name) ?? 0;
  }

  /** The twin's judgement of a packet, noted. */
  judge({ state, devices }: Pick<Case, "state" | "devices">, packet: Packet): Judgement {
    const names = new Set<string>();
    const watch = (rule: Rule, misses: (keyof Rule)[]): void => {
      if (misses.length === 1) names.add(`${misses[0]} alone misses`);
      if (misses.length > 0) return;
      for (const field of MATCH_FIELDS) {
        if (rule[field] !== undefined) names.add(`${field} decides`);
      }
    };
    const judged = judge(state, devices, packet, { watch });
    this.packets++;
    if (judged.verdict === "pass") this.passed++;
    names.add(judged.reason);
    for (const { stage, action, by } of judged.asked) {
      names.add(`${stage} ${action}`);
      const who = by.split(" ")[0]!;
      if (["failsafe", "tier", "profiles", "Profile"].includes(who)) names.add(`by ${who}`);
    }
    for (const name of names) this.count(name);
    return judged;
  }

  lines(): string[] {
    const percent = (count: number): string =>
      `${((100 * count) / this.packets).toFixed(2).padStart(6)} %`;
    const all = [...REASONS, ...STAGES, ...fields()];
    return [
      `${this.packets} packets, ${percent(this.passed).trim()} pass`,
      ...all.map((name) => `${percent(this.of(name))}  ${name}`),
    ];
  }
  /** What came about too seldom. */
  missing(): string[] {
    const seldom = [...REASONS, ...fields()].filter((name) => this.of(name) < LEAST * this.packets);
    const never = STAGES.filter((name) => this.of(name) === 0);
    const few = this.passed < LEAST_ALLOWED * this.packets ? ["pass"] : [];
    return [...few, ...seldom, ...never];
  }
}
function fields(): string[] {
  return MATCH_FIELDS.flatMap((field) => [`${field} decides`, `${field} alone misses`]);
}
