// Classes of traffic: ports, ICMP types and protocols, cut at every boundary that a rule names. All
// packets of a class are alike to all these rules, so one of each says what becomes of them all.
//
//   rule: tcp 80, 8000-8080          0 ──┬─79│80│81 ──────── 7999│8000 ─ 8080│8081 ── 65535   tcp
//   rule: icmp 8/0                   0/0 ┴────────── 7/255│8/0│8/1 ─────────────── 255/255   icmp
//   rule: protocol 47                47│ all other protocols: one that no rule names
//
// Named ports count where one of the two addresses has them. ICMP errors and neighbour discovery
// are no classes: the first belong to sessions, the second passes before any policy.
// Source: RFC 792, 4443, 4861, 3810 (ICMP types), RFC 8200 (extension headers), RFC 3692 (253).
import { protocolNumber, type Rule } from "../model/rule.ts";

export interface Range {
  first: number;
  last: number;
}

/** One class: a packet's protocol, and what its ports or ICMP type lie in. */
export interface Traffic {
  protocol: number;
  port?: Range;
  /** Absent where no rule names a source port. */
  sourcePort?: Range;
  /** type << 8 | code. */
  icmp?: Range;
  /** It stands for all protocols that no rule names. */
  unnamed?: boolean;
}

const TCP = 6, UDP = 17, SCTP = 132, ICMP = 1, ICMP6 = 58;
const WITH_PORTS = [TCP, UDP, SCTP];
const PORT_MAX = 65_535;
const ICMP_MAX = 0xffff;
/** Never judged by policy as they stand: errors, then neighbour and listener discovery. */
const UNJUDGED: Record<number, Set<number>> = {
  [ICMP]: new Set([3, 4, 5, 11, 12]),
  [ICMP6]: new Set([1, 2, 3, 4, 130, 131, 132, 133, 134, 135, 136, 137, 143]),
};
const ECHO: Record<number, number> = { [ICMP]: 8, [ICMP6]: 128 };
/** Headers of IPv6 itself, no protocols there. */
const EXTENSIONS = new Set([0, 43, 44, 51, 59, 60, 135, 139, 140]);
/** For "any other protocol": experiments first, then the unassigned. */
const UNNAMED = [253, 254, ...Array.from({ length: 100 }, (_, i) => 252 - i)];

/** Where classes start in a space from 0 to `max`. */
export class Cuts {
  private readonly starts = new Set([0]);

  constructor(private readonly max: number) {}

  add({ first, last }: Range): void {
    this.starts.add(first);
    if (last < this.max) this.starts.add(last + 1);
  }

  addAll(other: Cuts): void {
    for (const start of other.starts) this.starts.add(start);
  }

  get cut(): boolean {
    return this.starts.size > 1;
  }

  ranges(): Range[] {
    const starts = [...this.starts].sort((a, b) => a - b);
    return starts.map((first, i) => ({ first, last: (starts[i + 1] ?? this.max + 1) - 1 }));
  }
}

/** All boundaries of traffic that some rules name. */
export class TrafficCuts {
  readonly ports = new Map(WITH_PORTS.map((protocol) => [protocol, new Cuts(PORT_MAX)]));
  readonly sourcePorts = new Map(WITH_PORTS.map((protocol) => [protocol, new Cuts(PORT_MAX)]));
  readonly icmp = new Map([ICMP, ICMP6].map((protocol) => [protocol, new Cuts(ICMP_MAX)]));
  readonly protocols = new Set<number>();

  addRule(rule: Rule): void {
    const { protocol, notProtocol } = rule;
    for (const each of [protocol, notProtocol]) {
      if (each !== undefined) this.protocols.add(protocolNumber(each));
    }
    const own = protocol === undefined ? undefined : protocolNumber(protocol);
    const cut = (side: Map<number, Cuts>, ...lists: (PortList | undefined)[]): void => {
      for (const [number, cuts] of side) {
        if (own !== undefined && own !== number) continue;
        for (const ports of lists.flatMap((list) => list ?? [])) cuts.add(portRange(ports));
      }
    };
    cut(this.ports, rule.destinationPorts, rule.notDestinationPorts);
    cut(this.sourcePorts, rule.sourcePorts, rule.notSourcePorts);
    for (const icmp of [rule.icmp, rule.notIcmp]) {
      if (icmp) for (const cuts of this.icmp.values()) cuts.add(icmpRange(icmp.type, icmp.code));
    }
  }

  addAll(other: TrafficCuts): void {
    for (const side of ["ports", "sourcePorts", "icmp"] as const) {
      for (const [protocol, cuts] of other[side]) this[side].get(protocol)!.addAll(cuts);
    }
    for (const protocol of other.protocols) this.protocols.add(protocol);
  }

  /** The classes of packets of a family. */
  classes(family: 4 | 6): Traffic[] {
    const classes: Traffic[] = [];
    for (const protocol of WITH_PORTS) {
      const sourceCuts = this.sourcePorts.get(protocol)!;
      const sources = sourceCuts.cut ? sourceCuts.ranges() : [undefined];
      for (const port of this.ports.get(protocol)!.ranges()) {
        for (const sourcePort of sources) {
          classes.push(sourcePort ? { protocol, port, sourcePort } : { protocol, port });
        }
      }
    }
    const control = family === 4 ? ICMP : ICMP6;
    for (const icmp of this.icmp.get(control)!.ranges()) {
      if (icmpOf(control, icmp)) classes.push({ protocol: control, icmp });
    }
    const apart = new Set([...WITH_PORTS, ICMP, ICMP6]);
    const others = [...this.protocols].filter((protocol) =>
      !apart.has(protocol) && !(family === 6 && EXTENSIONS.has(protocol)));
    for (const protocol of others.sort((a, b) => a - b)) classes.push({ protocol });
    const unnamed = UNNAMED.find((protocol) => !apart.has(protocol) && !others.includes(protocol));
    if (unnamed !== undefined) classes.push({ protocol: unnamed, unnamed: true });
    return classes;
  }
}

type PortList = readonly (number | string)[];

/** 80, "80" or "8000-8080". */
export function portRange(port: number | string): Range {
  const [first, last] = String(port).split(/[-:]/) as [string, string?];
  return { first: Number(first), last: Number(last ?? first) };
}

export function icmpRange(type: number, code?: number): Range {
  return { first: (type << 8) | (code ?? 0), last: (type << 8) | (code ?? 255) };
}

/** The packet that stands for a class of ICMP: an echo request where that is in it. */
export function icmpOf(
  protocol: number, { first, last }: Range,
): { type: number; code: number } | undefined {
  const echo = ECHO[protocol]! << 8;
  if (first <= echo && echo <= last) return { type: ECHO[protocol]!, code: 0 };
  for (let value = first; value <= last; value = ((value >> 8) + 1) << 8) {
    const type = value >> 8;
    if (!UNJUDGED[protocol]!.has(type)) return { type, code: value & 0xff };
  }
  return undefined;
}

/** The port that stands for a class: 0 is no port to send to where another will do. */
export function portOf({ first, last }: Range): number {
  return first === 0 && last > 0 ? 1 : first;
}

const NAMES: Record<number, string> = { [TCP]: "tcp", [UDP]: "udp", [SCTP]: "sctp" };

/** "5432/tcp", "1-79/tcp", "any tcp", "icmp:8/0", "protocol 47", "any other protocol". */
export function trafficText({ protocol, port, sourcePort, icmp, unnamed }: Traffic): string {
  const from = sourcePort === undefined ? "" : ` from port ${rangeText(sourcePort)}`;
  if (port) return `${rangeText(port)}/${NAMES[protocol]}${from}`;
  if (icmp) {
    const name = protocol === ICMP ? "icmp" : "icmp6";
    if (icmp.first === 0 && icmp.last === ICMP_MAX) return name;
    const { type, code } = icmpOf(protocol, icmp)!;
    const whole = (icmp.first & 0xff) === 0 && (icmp.last & 0xff) === 0xff;
    if (icmp.first === icmp.last) return `${name}:${type}/${code}`;
    if (whole && icmp.first >> 8 === icmp.last >> 8) return `${name}:${type}`;
    return `${name}:${type}/${code} and what else no rule names`;
  }
  return unnamed ? "any other protocol" : `protocol ${protocol}`;
}

function rangeText({ first, last }: Range): string {
  if (first === last) return String(first);
  return first === 0 && last === PORT_MAX ? "any port" : `${first}-${last}`;
}
