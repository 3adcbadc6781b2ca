// What a rule asks of a packet, in the form that both emitters read (policy.ts, classifier.ts):
// families worked out, protocols as numbers, ports and ICMP types as spans, long prefix lists as
// sets. A rule that no packet can match has no family left.
//
//   Rule (host/model/rule.ts) ─ matchOf ─► Match { families, protocol, icmp, source, destination }
//
// Limits: none; errors name the field. Source: projectcalico felix/rules FilterRuleToIPVersion.
import { createHash } from "node:crypto";
import { PROTOCOL_NUMBERS, protocolNumber, type IcmpMatch, type Rule } from "../model/rule.ts";
import { parseMember } from "./member.ts";

export const FAMILY4 = 1, FAMILY6 = 2;

/** First and last, both inside. */
export type Span = readonly [number, number];

export interface SideMatch {
  /** Any of these must hold the address; no condition where the list is empty. */
  prefixes: string[];
  notPrefixes: string[];
  /** Ids of sets: all must hold the address. */
  sets: string[];
  notSets: string[];
  /** Ids of ip-port sets that must all hold (address, protocol, port). */
  portSets: string[];
  /** Any of the spans or of the named ports; no condition where both are empty. */
  ports: Span[];
  namedPorts: string[];
  notPorts: Span[];
  notNamedPorts: string[];
}

export interface Match {
  /** FAMILY4 | FAMILY6; 0 = it matches nothing. */
  families: number;
  protocol?: number;
  notProtocol?: number;
  /** Of type << 8 | code. */
  icmp?: Span;
  notIcmp?: Span;
  source: SideMatch;
  destination: SideMatch;
}

/** Makes a set of a prefix list and gives its id. */
export type InternNets = (prefixes: string[]) => string;

const SIDES = ["source", "destination"] as const;
/** Never written to. */
const NONE: string[] = [];
const NO_SPANS: Span[] = [];
const PORTED = [6, 17, 132];

export function bearsPorts(protocol: number): boolean {
  return PORTED.includes(protocol);
}

/** Throws with the field that is wrong. Lists of more than `inlineMax` prefixes become sets. */
export function matchOf(rule: Rule, inlineMax: number, intern: InternNets): Match {
  const match: Match = {
    families: rule.ipVersion === 4 ? FAMILY4 : rule.ipVersion === 6 ? FAMILY6 : FAMILY4 | FAMILY6,
    source: sourceOf(rule), destination: destinationOf(rule),
  };
  if (rule.protocol !== undefined) match.protocol = protocolOf(rule.protocol, "protocol");
  if (rule.notProtocol !== undefined) {
    match.notProtocol = protocolOf(rule.notProtocol, "notProtocol");
    if (match.notProtocol === match.protocol) match.families = 0;
  }
  if (rule.icmp) match.icmp = icmpSpan(rule.icmp, "icmp");
  if (rule.notIcmp) match.notIcmp = icmpSpan(rule.notIcmp, "notIcmp");
  // A packet bears ICMP where its protocol is its family's.
  if (match.icmp && match.protocol !== undefined) {
    match.families &= match.protocol === 1 ? FAMILY4 : match.protocol === 58 ? FAMILY6 : 0;
  }
  for (const side of SIDES) {
    const { prefixes, notPrefixes, ports, namedPorts } = match[side];
    if (prefixes.length) match.families &= familiesOf(prefixes, side);
    if (notPrefixes.length) {
      match.families &= familiesOf(notPrefixes, side === "source" ? "notSource" : "notDestination");
      if (notPrefixes.includes("0.0.0.0/0")) match.families &= ~FAMILY4;
      if (notPrefixes.includes("::/0")) match.families &= ~FAMILY6;
    }
    const asksPorts = ports.length + namedPorts.length > 0;
    if (asksPorts && match.protocol !== undefined && !bearsPorts(match.protocol)) {
      match.families = 0;
    }
    setsForLists(match[side], inlineMax, intern);
  }
  return match;
}

// Written out field by field: rules by the ten thousand come through here.
function sourceOf(rule: Rule): SideMatch {
  return {
    prefixes: rule.source ?? NONE, notPrefixes: rule.notSource ?? NONE,
    sets: rule.sourceSets ?? NONE, notSets: rule.notSourceSets ?? NONE, portSets: NONE,
    ports: spansOf(rule.sourcePorts, "sourcePorts"),
    namedPorts: rule.sourceNamedPorts ?? NONE,
    notPorts: spansOf(rule.notSourcePorts, "notSourcePorts"),
    notNamedPorts: rule.notSourceNamedPorts ?? NONE,
  };
}
function destinationOf(rule: Rule): SideMatch {
  return {
    prefixes: rule.destination ?? NONE, notPrefixes: rule.notDestination ?? NONE,
    sets: rule.destinationSets ?? NONE, notSets: rule.notDestinationSets ?? NONE,
    portSets: rule.destinationPortSets ?? NONE,
    ports: spansOf(rule.destinationPorts, "destinationPorts"),
    namedPorts: rule.destinationNamedPorts ?? NONE,
    notPorts: spansOf(rule.notDestinationPorts, "notDestinationPorts"),
    notNamedPorts: rule.notDestinationNamedPorts ?? NONE,
  };
}

function setsForLists(side: SideMatch, inlineMax: number, intern: InternNets): void {
  if (side.prefixes.length > inlineMax) {
    side.sets = [intern(side.prefixes), ...side.sets];
    side.prefixes = [];
  }
  if (side.notPrefixes.length > inlineMax) {
    side.notSets = [intern(side.notPrefixes), ...side.notSets];
    side.notPrefixes = [];
  }
}

/** Id of the set that stands for a list of prefixes: the same list, the same id. */
export function netsId(prefixes: string[]): string {
  const text = [...prefixes].sort().join(",");
  if (text.length <= 80) return `nets:${text}`;
  return `nets:${createHash("sha256").update(text).digest("hex").slice(0, 32)}`;
}

function familiesOf(prefixes: string[], field: string): number {
  let families = 0;
  prefixes.forEach((text, i) => {
    try {
      families |= parseMember(text, "net").family === 4 ? FAMILY4 : FAMILY6;
    } catch (cause) {
      throw new Error(`${field}[${i}]: ${(cause as Error).message}`);
    }
  });
  return families;
}

function protocolOf(protocol: NonNullable<Rule["protocol"]>, field: string): number {
  const number = protocolNumber(protocol);
  if (Number.isInteger(number) && number >= 0 && number <= 255) return number;
  const names = Object.keys(PROTOCOL_NUMBERS).join(", ");
  throw new Error(`${field} "${protocol}": expected ${names} or 0 to 255`);
}

function icmpSpan({ type, code }: IcmpMatch, field: string): Span {
  const isByte = (value: number): boolean => Number.isInteger(value) && value >= 0 && value < 256;
  if (!isByte(type)) throw new Error(`${field}.type ${type}: expected 0 to 255`);
  if (code === undefined) return [type << 8, (type << 8) | 0xff];
  if (!isByte(code)) throw new Error(`${field}.code ${code}: expected 0 to 255`);
  return [(type << 8) | code, (type << 8) | code];
}

/** Ports and ranges as spans in order, those that touch joined. */
function spansOf(ports: (number | string)[] | undefined, field: string): Span[] {
  if (!ports?.length) return NO_SPANS;
  const spans = ports.map((each, i): Span => {
    try {
      return portRange(each);
    } catch (cause) {
      throw new Error(`${field}[${i}]: ${(cause as Error).message}`);
    }
  });
  if (spans.length === 1) return spans;
  spans.sort((a, b) => a[0] - b[0]);
  const joined: [number, number][] = [[...spans[0]!]];
  for (const [first, last] of spans.slice(1)) {
    const before = joined.at(-1)!;
    if (first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else joined.push([first, last]);
  }
  return joined;
}

/** 80, "80" or "8000-8080", as first and last. */
export function portRange(text: number | string): [number, number] {
  const [first, last = first] = typeof text === "number"
    ? [text]
    : text.split("-").map((part) => (/^\d+$/.test(part) ? Number(part) : NaN)) as [number, number?];
  const isPort = (port: number): boolean => Number.isInteger(port) && port >= 0 && port < 65536;
  if (!isPort(first) || !isPort(last) || first > last) {
    throw new Error(`port "${text}": expected 0 to 65535 or first-last`);
  }
  return [first, last];
}

/** A match that its rule's protocol fits not at all, or a log: nothing is emitted for it. */
export function neverMatches(rule: Rule, match: Match): boolean {
  return rule.action === "log" || match.families === 0;
}
