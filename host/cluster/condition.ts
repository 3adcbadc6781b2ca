// Which conditions of a rule hold for a packet, one by one, in words: what a failure's explanation
// ticks and crosses. Verdicts come from the packet program; this only says what a rule asks for.
//
//   ✓ from app=api   ✓ protocol TCP   ✗ ports 5433, the packet has 5432
import { addressBytes, addressNumber, familyOf, parsePrefix } from "../model/address.ts";
import { protocolNumber, type Protocol, type Rule } from "../model/rule.ts";
import type { NodeState, StateSet } from "../model/state.ts";
import { protocolName } from "./world.ts";

export interface Condition {
  holds: boolean;
  /** "ports 5433". */
  text: string;
  /** What the packet has instead: "the packet has 5432"; absent where it holds. */
  instead?: string;
  /** How far from the packet a rule is that fails it: another end is further than another port. */
  weight: number;
}

/** The packet as policies see it, behind DNAT. */
export interface Facts {
  source: string;
  destination: string;
  protocol: number;
  sourcePort: number;
  port: number;
  icmp?: { type: number; code: number };
}

/** What the author wrote of an end, and what the end has instead; from the manifest. */
export interface Words {
  source?: { text: string; has: string };
  destination?: { text: string; has: string };
}

type Side = "source" | "destination";
const WITH_PORTS = new Set([6, 17, 132, 136]);

export function conditionsOf(
  rule: Rule, facts: Facts, sets: NodeState["sets"], words: Words = {},
): Condition[] {
  return [
    ...protocolConditions(rule, facts),
    ...endConditions(rule, "source", facts, sets, words.source),
    ...endConditions(rule, "destination", facts, sets, words.destination),
    ...portConditions(rule, "source", facts, sets),
    ...portConditions(rule, "destination", facts, sets),
  ];
}

function condition(holds: boolean, text: string, instead: string, weight = 1): Condition {
  return holds ? { holds, text, weight } : { holds, text, instead, weight };
}

function protocolConditions(rule: Rule, facts: Facts): Condition[] {
  const { protocol, notProtocol, icmp, notIcmp, ipVersion } = rule;
  const found: Condition[] = [];
  const family = familyOf(facts.source);
  const has = `the packet is ${protocolName(facts.protocol).toUpperCase()}`;
  if (protocol !== undefined) {
    const same = protocolNumber(protocol) === facts.protocol;
    found.push(condition(same, `protocol ${nameOf(protocol)}`, has));
  }
  if (notProtocol !== undefined) {
    const same = protocolNumber(notProtocol) === facts.protocol;
    found.push(condition(!same, `protocol not ${nameOf(notProtocol)}`, has));
  }
  if (ipVersion !== undefined && ipVersion !== family) {
    found.push(condition(false, `IPv${ipVersion}`, `the packet is IPv${family}`));
  }
  for (const [list, word] of [
    [rule.notSource, "from"], [rule.notDestination, "to"],
  ] as const) {
    // A negated list with nothing of the packet's family is no rule for that family.
    if (!list?.length || list.some((each) => parsePrefix(each).family === family)) continue;
    const text = `IPv${family === 4 ? 6 : 4} (${word} none of ${list.join(", ")})`;
    found.push(condition(false, text, `the packet is IPv${family}`));
  }
  const it = facts.icmp && `the packet has ${facts.icmp.type}/${facts.icmp.code}`;
  const same = (match: NonNullable<Rule["icmp"]>): boolean => match.type === facts.icmp?.type &&
    (match.code === undefined || match.code === facts.icmp.code);
  const text = ({ type, code }: NonNullable<Rule["icmp"]>): string =>
    code === undefined ? `type ${type}` : `type ${type} code ${code}`;
  if (icmp) found.push(condition(same(icmp), `ICMP ${text(icmp)}`, it ?? has));
  if (notIcmp) found.push(condition(!same(notIcmp), `ICMP not ${text(notIcmp)}`, it ?? has));
  return found;
}

function endConditions(
  rule: Rule, side: Side, facts: Facts, sets: NodeState["sets"], words: Words[Side],
): Condition[] {
  const is = side === "source";
  const address = facts[side];
  const word = is ? "from" : "to";
  const nets = is ? rule.source : rule.destination;
  const notNets = is ? rule.notSource : rule.notDestination;
  const all = (is ? rule.sourceSets : rule.destinationSets) ?? [];
  const none = (is ? rule.notSourceSets : rule.notDestinationSets) ?? [];
  const services = is ? [] : rule.destinationPortSets ?? [];
  const within = (list: string[]): boolean => list.some((prefix) => covers(prefix, address));
  const member = (id: string): boolean => holdsAddress(sets.get(id), address);
  const inService = (id: string): boolean => holdsPort(sets.get(id), address, facts, facts.port);
  const holds = [
    nets === undefined || within(nets), notNets === undefined || !within(notNets),
    all.every(member), !none.some(member), services.every(inService),
  ];
  if (words) {
    const named = nets || notNets || all.length || none.length || services.length ||
      (is ? rule.sourceNamedPorts : rule.destinationNamedPorts);
    if (!named) return [];
    return [condition(holds.every(Boolean), `${word} ${words.text}`, `it has ${words.has}`, 2)];
  }
  const it = `it is ${address}`;
  const found: Condition[] = [];
  if (nets) found.push(condition(holds[0]!, `${word} ${nets.join(" or ")}`, it, 2));
  if (notNets) found.push(condition(holds[1]!, `${word} none of ${notNets.join(", ")}`, it, 2));
  for (const id of all) {
    found.push(condition(member(id), `${word} set ${id}`, `${it}, not in it`, 2));
  }
  for (const id of none) {
    found.push(condition(!member(id), `${word} no set ${id}`, `${it}, in it`, 2));
  }
  for (const id of services) {
    found.push(condition(inService(id), `${word} service ${id}`, `${it}:${facts.port}`));
  }
  return found;
}

function portConditions(
  rule: Rule, side: Side, facts: Facts, sets: NodeState["sets"],
): Condition[] {
  const is = side === "source";
  const [ports, named, notPorts, notNamed] = is
    ? [rule.sourcePorts, rule.sourceNamedPorts, rule.notSourcePorts, rule.notSourceNamedPorts]
    : [rule.destinationPorts, rule.destinationNamedPorts, rule.notDestinationPorts,
      rule.notDestinationNamedPorts];
  const port = is ? facts.sourcePort : facts.port;
  const numbered = (list: (number | string)[]): boolean =>
    WITH_PORTS.has(facts.protocol) && list.some((each) => inRange(each, port));
  const inSets = (ids: string[]): boolean =>
    ids.some((id) => holdsPort(sets.get(id), facts[side], facts, port));
  const what = is ? "source ports" : "ports";
  const has = WITH_PORTS.has(facts.protocol) ? `the packet has ${port}` : "the packet has none";
  const text = (list: (number | string)[], ids: string[]): string =>
    [...list, ...ids.map((id) => portName(id, sets))].join(", ");
  const found: Condition[] = [];
  if (ports || named) {
    const holds = numbered(ports ?? []) || inSets(named ?? []);
    found.push(condition(holds, `${what} ${text(ports ?? [], named ?? [])}`, has));
  }
  if (notPorts || notNamed) {
    const holds = !numbered(notPorts ?? []) && !inSets(notNamed ?? []);
    found.push(condition(holds, `${what} not ${text(notPorts ?? [], notNamed ?? [])}`, has));
  }
  return found;
}

/** Of a named port nothing but its set's id is known here: the numbers that the set holds. */
function portName(id: string, sets: NodeState["sets"]): string {
  const numbers = new Set<string>();
  for (const member of sets.get(id)?.members ?? []) {
    numbers.add(member.slice(member.lastIndexOf(":") + 1));
  }
  return numbers.size === 0 ? "a name that no pod has" : [...numbers].slice(0, 4).join(", ");
}

function nameOf(protocol: Protocol): string {
  return protocolName(protocolNumber(protocol)).toUpperCase();
}

function inRange(range: number | string, port: number): boolean {
  const [first, last] = String(range).split("-").map(Number) as [number, number?];
  return port >= first && port <= (last ?? first);
}

function covers(prefix: string, address: string): boolean {
  const { family, network, mask } = parsePrefix(prefix);
  if (family !== familyOf(address)) return false;
  return (addressNumber(addressBytes(address)) & mask) === network;
}

function holdsAddress(set: StateSet | undefined, address: string): boolean {
  if (!set) return false;
  if (set.members.has(address)) return true;
  for (const member of set.members) {
    if ((set.type === "net" || member.includes(":")) && covers(member, address)) return true;
  }
  return false;
}

function holdsPort(
  set: StateSet | undefined, address: string, { protocol }: Facts, port: number,
): boolean {
  for (const member of set?.members ?? []) {
    const [at, rest] = member.split(",") as [string, string];
    const colon = rest.lastIndexOf(":");
    const name = rest.slice(0, colon).toLowerCase();
    const number = /^\d+$/.test(name) ? Number(name) : protocolNumber(name as Protocol);
    if (number === protocol && Number(rest.slice(colon + 1)) === port && covers(at, address)) {
      return true;
    }
  }
  return false;
}
