// Does one rule match one packet? Field by field, as host/model/rule.ts says it, each field a line:
// no classes, no tables, members compared one by one.
import { addressBytes, addressNumber, parsePrefix, type Prefix } from "../../host/model/address.ts";
import { protocolNumber, type Protocol, type Rule } from "../../host/model/rule.ts";
import type { StateSet } from "../../host/model/state.ts";

/** What a policy is asked about: the packet after DNAT. */
export interface Question {
  family: 4 | 6;
  protocol: number;
  source: bigint;
  destination: bigint;
  /** Absent where the protocol has none. */
  sourcePort?: number;
  port?: number;
  icmp?: { type: number; code: number };
}
export type Sets = ReadonlyMap<string, StateSet>;

/** Fields that keep the rule from matching; none where it matches. */
export function mismatches(rule: Rule, q: Question, sets: Sets): (keyof Rule)[] {
  const { family } = q;
  const misses: (keyof Rule)[] = [];
  const need = (field: keyof Rule, holds: boolean): void => {
    if (rule[field] !== undefined && !holds) misses.push(field);
  };
  const from = (id: string): boolean => holdsAddress(setOf(sets, id), q, q.source);
  const to = (id: string): boolean => holdsAddress(setOf(sets, id), q, q.destination);
  const fromPort = (id: string): boolean => holdsPort(setOf(sets, id), q, q.source, q.sourcePort);
  const toPort = (id: string): boolean => holdsPort(setOf(sets, id), q, q.destination, q.port);

  need("ipVersion", rule.ipVersion === family);
  need("protocol", isProtocol(rule.protocol, q));
  need("notProtocol", !isProtocol(rule.notProtocol, q));
  need("icmp", sameIcmp(rule.icmp, q));
  need("notIcmp", !sameIcmp(rule.notIcmp, q));

  need("source", inAny(rule.source, family, q.source));
  need("destination", inAny(rule.destination, family, q.destination));
  need("notSource", outOfAll(rule.notSource, family, q.source));
  need("notDestination", outOfAll(rule.notDestination, family, q.destination));

  need("sourceSets", !!rule.sourceSets?.every(from));
  need("notSourceSets", !rule.notSourceSets?.some(from));
  need("destinationSets", !!rule.destinationSets?.every(to));
  need("notDestinationSets", !rule.notDestinationSets?.some(to));
  need("destinationPortSets", !!rule.destinationPortSets?.every(toPort));

  // Ports and named ports of one side are alternatives.
  const fromAny = !!rule.sourcePorts?.some((range) => inRange(range, q.sourcePort)) ||
    !!rule.sourceNamedPorts?.some(fromPort);
  need(rule.sourcePorts ? "sourcePorts" : "sourceNamedPorts", fromAny);
  const toAny = !!rule.destinationPorts?.some((range) => inRange(range, q.port)) ||
    !!rule.destinationNamedPorts?.some(toPort);
  need(rule.destinationPorts ? "destinationPorts" : "destinationNamedPorts", toAny);
  need("notSourcePorts", !rule.notSourcePorts?.some((range) => inRange(range, q.sourcePort)));
  need("notSourceNamedPorts", !rule.notSourceNamedPorts?.some(fromPort));
  need("notDestinationPorts", !rule.notDestinationPorts?.some((range) => inRange(range, q.port)));
  need("notDestinationNamedPorts", !rule.notDestinationNamedPorts?.some(toPort));
  return misses;
}

/** The fields that a rule is matched by. */
export const MATCH_FIELDS = [
  "ipVersion", "protocol", "notProtocol", "icmp", "notIcmp", "source", "notSource", "destination",
  "notDestination", "sourceSets", "notSourceSets", "destinationSets", "notDestinationSets",
  "destinationPortSets", "sourcePorts", "notSourcePorts", "destinationPorts",
  "notDestinationPorts", "sourceNamedPorts", "notSourceNamedPorts", "destinationNamedPorts",
  "notDestinationNamedPorts",
] as const satisfies (keyof Rule)[];

function setOf(sets: Sets, id: string): StateSet {
  const set = sets.get(id);
  if (!set) throw new Error(`no set has the id "${id}"`);
  return set;
}

const prefixes = new Map<string, Prefix>();
/** A prefix by its text; the same texts come again and again. */
export function prefixOf(text: string): Prefix {
  let known = prefixes.get(text);
  if (!known) prefixes.set(text, known = parsePrefix(text));
  return known;
}
export function inPrefix(text: string, family: 4 | 6, address: bigint): boolean {
  const prefix = prefixOf(text);
  return prefix.family === family && (address & prefix.mask) === prefix.network;
}

function isProtocol(protocol: Protocol | undefined, q: Question): boolean {
  return protocol !== undefined && protocolNumber(protocol) === q.protocol;
}
function sameIcmp(match: { type: number; code?: number } | undefined, q: Question): boolean {
  if (!match || !q.icmp || q.icmp.type !== match.type) return false;
  return match.code === undefined || match.code === q.icmp.code;
}
function inAny(list: string[] | undefined, family: 4 | 6, address: bigint): boolean {
  return !!list?.some((text) => inPrefix(text, family, address));
}
/** False, too, where the list says nothing for the family: the rule is not for it. */
function outOfAll(list: string[] | undefined, family: 4 | 6, address: bigint): boolean {
  const own = (list ?? []).filter((text) => prefixOf(text).family === family);
  return own.length > 0 && !own.some((text) => inPrefix(text, family, address));
}
function holdsAddress(set: StateSet, q: Question, address: bigint): boolean {
  if (set.type === "ip-port") throw new Error(`set ${set.id}: ip-port, asked for an address`);
  return [...set.members].some((member) => inPrefix(member, q.family, address));
}
function holdsPort(
  set: StateSet, q: Question, address: bigint, port: number | undefined,
): boolean {
  if (set.type !== "ip-port") throw new Error(`set ${set.id}: ${set.type}, asked for a port`);
  if (port === undefined) return false;
  return [...set.members].some((member) => {
    const [text, service] = member.split(",") as [string, string];
    const [protocol, number] = service.split(":") as [string, string];
    const named = { tcp: 6, udp: 17, sctp: 132 }[protocol.toLowerCase()];
    return addressNumber(addressBytes(text)) === address && Number(number) === port &&
      (named ?? Number(protocol)) === q.protocol;
  });
}
function inRange(range: number | string, port: number | undefined): boolean {
  if (port === undefined) return false;
  const [first, last = first] = String(range).split("-").map(Number) as [number, number?];
  return first <= port && port <= last;
}
