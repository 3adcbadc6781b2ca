// Random rules, sets and packets from small pools, so that they meet; seeded.
import { addressBytes, addressNumber } from "../../../host/model/address.ts";
import type { Policy, ProgramRule, Rule } from "../../../host/model/program.ts";
import type { StateSet } from "../../../host/model/state.ts";
import { holdsPort, isIn, matches, type Question } from "./matches.ts";

/** Numbers below `below`, the same for the same seed (Mulberry32). */
export function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const ADDRESSES = [
  "10.0.0.1", "10.0.0.2", "10.0.1.1", "10.1.0.1", "192.168.0.1", "0.0.0.0", "255.255.255.255",
  "fd00::1", "fd00::2", "fd00:1::1", "fe80::1", "::", "2001:db8::ffff:a00:1",
];
const PREFIXES = [
  "10.0.0.0/8", "10.0.0.0/24", "10.0.0.1", "10.0.0.1/32", "0.0.0.0/0", "192.168.0.0/16",
  "fd00::/8", "fd00::/64", "fd00::1", "fd00:1::/32", "::/0", "fe80::/10",
];
const PORTS = [0, 22, 53, 80, 443, 8080, 65535];
const RANGES = [22, 80, "80-443", "0-1023", "0-65535", "8080", 65535, "400-500"];
const PROTOCOLS = [6, 17, 132, 1, 58, 136, 47] as const;
const NAMES = ["tcp", "udp", "sctp", "icmp", "icmpv6", "udplite", 47, 6] as const;

export class Pool {
  readonly sets = new Map<string, StateSet>();
  constructor(readonly below: (below: number) => number) {
    for (let i = 0; i < 6; i++) {
      const members = this.some(PREFIXES, 4).concat(this.some(ADDRESSES, 4));
      this.sets.set(`s${i}`, { id: `s${i}`, type: "net", members: new Set(members) });
    }
    for (let i = 0; i < 4; i++) {
      const members = Array.from({ length: below(12) }, () => {
        const protocol = this.one(["tcp", "udp", "sctp", "6"]);
        return `${this.one(ADDRESSES)},${protocol}:${this.one(PORTS)}`;
      });
      this.sets.set(`p${i}`, { id: `p${i}`, type: "ip-port", members: new Set(members) });
    }
  }
  one<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
  /** One to `most` of a list. */
  some<T>(list: readonly T[], most: number): T[] {
    return Array.from({ length: 1 + this.below(most) }, () => this.one(list));
  }
  private maybe(share: number): boolean {
    return this.below(100) < share;
  }

  rule(): Rule {
    const rule: Rule = { action: this.one(["allow", "deny", "allow", "deny", "pass", "log"]) };
    const nets = (): string[] => this.some(["s0", "s1", "s2", "s3", "s4", "s5"], 2);
    const named = (): string[] => this.some(["p0", "p1", "p2", "p3"], 2);
    const fields: [number, () => void][] = [
      [10, () => (rule.ipVersion = this.one([4, 6]))],
      [50, () => (rule.protocol = this.one(NAMES))],
      [8, () => (rule.notProtocol = this.one(NAMES))],
      [12, () => (rule.icmp = this.icmp())], [8, () => (rule.notIcmp = this.icmp())],
      [25, () => (rule.source = this.some(PREFIXES, 3))],
      [10, () => (rule.notSource = this.some(PREFIXES, 2))],
      [25, () => (rule.destination = this.some(PREFIXES, 12))],
      [10, () => (rule.notDestination = this.some(PREFIXES, 2))],
      [25, () => (rule.sourceSets = nets())], [8, () => (rule.notSourceSets = nets())],
      [20, () => (rule.destinationSets = nets())], [8, () => (rule.notDestinationSets = nets())],
      [10, () => (rule.destinationPortSets = named())],
      [12, () => (rule.sourcePorts = this.some(RANGES, 3))],
      [7, () => (rule.notSourcePorts = this.some(RANGES.slice(0, 3), 2))],
      [25, () => (rule.destinationPorts = this.some(RANGES, 3))],
      [7, () => (rule.notDestinationPorts = this.some(RANGES.slice(0, 3), 2))],
      [8, () => (rule.sourceNamedPorts = named())], [5, () => (rule.notSourceNamedPorts = named())],
      [15, () => (rule.destinationNamedPorts = named())],
      [5, () => (rule.notDestinationNamedPorts = named())],
    ];
    // Few fields a rule, so that rules match at all.
    const share = this.one([0.3, 0.6, 1]);
    for (const [chance, put] of fields) if (this.maybe(chance * share)) put();
    return rule;
  }
  private icmp(): { type: number; code?: number } {
    const type = this.one([0, 8, 128]);
    return this.maybe(50) ? { type } : { type, code: this.one([0, 1]) };
  }

  /** Rules in tiers: a pass goes on at a later rule, or leaves. */
  policy(rules: number): Policy {
    return {
      name: "random",
      rules: Array.from({ length: rules }, (_, i): ProgramRule => {
        const rule: ProgramRule = { ...this.rule(), name: `r${i}` };
        const next = (Math.floor(i / 7) + 1) * 7;
        if (rule.action === "pass" && next < rules && this.maybe(80)) rule.next = next;
        return rule;
      }),
    };
  }

  question(): Question {
    const source = this.one(ADDRESSES);
    const family = source.includes(":") ? 6 : 4;
    const own = ADDRESSES.filter((each) => each.includes(":") === (family === 6));
    const protocol = this.one(PROTOCOLS);
    const number = (text: string): bigint => addressNumber(addressBytes(text));
    const question: Question = {
      family, protocol, source: number(source), destination: number(this.one(own)),
    };
    if ([6, 17, 132].includes(protocol)) {
      question.sourcePort = this.one(PORTS);
      question.port = this.one(PORTS);
    }
    if (protocol === (family === 4 ? 1 : 58)) {
      question.icmp = { type: this.one([0, 8, 128, 3]), code: this.one([0, 1, 2]) };
    }
    return question;
  }
}

export interface Decision {
  action: "allow" | "deny" | "pass" | "none";
  /** Index of the rule; of `none` the count of rules. */
  rule: number;
}

/** The first rule that matches, a pass going on at its next: rule by rule, field by field. */
export function decide(rules: readonly ProgramRule[], q: Question, pool: Pool): Decision {
  for (let i = 0; i < rules.length; i++) {
    const rule = rules[i]!;
    if (rule.action === "log" || !matches(rule, q, pool.sets)) continue;
    if (rule.action !== "pass" || rule.next === undefined) return { action: rule.action, rule: i };
    i = rule.next - 1;
  }
  return { action: "none", rule: rules.length };
}

/** The sets that hold one side of a packet, of the pool and of prefix lists by id. */
export function holds(
  q: Question, pool: Pool, side: "source" | "destination", ports: boolean,
  nets: ReadonlyMap<string, string[]>,
): string[] {
  const address = q[side], port = side === "source" ? q.sourcePort : q.port;
  const found = [...pool.sets.values()].filter((set) => {
    if ((set.type === "ip-port") !== ports) return false;
    return ports
      ? holdsPort(set, q.protocol, address, port)
      : isIn(set.members, q.family, address);
  }).map(({ id }) => id);
  if (!ports) for (const [id, list] of nets) if (isIn(list, q.family, address)) found.push(id);
  return found;
}
