// Does a rule match? Field by field, members compared one by one: what compiled policies are held
// against. An empty list is no condition.
import {
  addressBytes, addressNumber, parsePrefix, type Prefix,
} from "../../../host/model/address.ts";
import { protocolNumber, type Rule } from "../../../host/model/rule.ts";
import type { StateSet } from "../../../host/model/state.ts";
import type { Question } from "../../reference/rule.ts";

export type { Question };

const prefixes = new Map<string, Prefix>();

export function isIn(list: Iterable<string>, family: 4 | 6, address: bigint): boolean {
  return [...list].some((text) => {
    let prefix = prefixes.get(text);
    if (!prefix) prefixes.set(text, prefix = parsePrefix(text));
    return prefix.family === family && (address & prefix.mask) === prefix.network;
  });
}
export function holdsPort(
  set: StateSet, protocol: number, address: bigint, port: number | undefined,
): boolean {
  return port !== undefined && [...set.members].some((member) => {
    const [text, name, number] = member.split(/[,:](?=[^:,]*(?:,|:\d+$|$))/) as
      [string, string, string];
    const numeric = /^\d+$/.test(name) ? Number(name) : protocolNumber(name as "tcp");
    return numeric === protocol && Number(number) === port &&
      addressNumber(addressBytes(text)) === address;
  });
}

export function matches(rule: Rule, q: Question, sets: ReadonlyMap<string, StateSet>): boolean {
  const { family, protocol } = q;
  const some = <T>(list: T[] | undefined, holds: (one: T) => boolean): boolean =>
    !!list?.some(holds);
  const all = <T>(list: T[] | undefined, holds: (one: T) => boolean): boolean =>
    !list || list.every(holds);
  const sameIcmp = ({ type, code }: { type: number; code?: number }): boolean =>
    q.icmp?.type === type && (code === undefined || q.icmp.code === code);
  const own = (list: string[]): string[] => list.filter((text) =>
    text.includes(":") === (family === 6));
  const inside = (range: number | string, port: number | undefined): boolean => {
    const [first, last = first] = String(range).split("-").map(Number) as [number, number?];
    return port !== undefined && first <= port && port <= last;
  };

  if (rule.ipVersion !== undefined && rule.ipVersion !== family) return false;
  if (rule.protocol !== undefined && protocolNumber(rule.protocol) !== protocol) return false;
  if (rule.notProtocol !== undefined && protocolNumber(rule.notProtocol) === protocol) return false;
  if (rule.icmp && !sameIcmp(rule.icmp)) return false;
  if (rule.notIcmp && sameIcmp(rule.notIcmp)) return false;
  const sides = [
    [q.source, q.sourcePort, rule.source, rule.notSource, rule.sourceSets, rule.notSourceSets,
      undefined, rule.sourcePorts, rule.sourceNamedPorts, rule.notSourcePorts,
      rule.notSourceNamedPorts],
    [q.destination, q.port, rule.destination, rule.notDestination, rule.destinationSets,
      rule.notDestinationSets, rule.destinationPortSets, rule.destinationPorts,
      rule.destinationNamedPorts, rule.notDestinationPorts, rule.notDestinationNamedPorts],
  ] as const;
  for (const [address, port, nets, notNets, ids, notIds, portSets, ports, named, notPorts, notNamed]
    of sides) {
    const inSet = (id: string): boolean => isIn(sets.get(id)!.members, family, address);
    const isNamed = (id: string): boolean => holdsPort(sets.get(id)!, protocol, address, port);
    if (nets?.length && !isIn(nets, family, address)) return false;
    if (notNets?.length && (own(notNets).length === 0 || isIn(notNets, family, address))) {
      return false;
    }
    if (!all(ids, inSet) || some(notIds, inSet) || !all(portSets, isNamed)) return false;
    const asks = (ports?.length ?? 0) + (named?.length ?? 0) > 0;
    if (asks && !some(ports, (each) => inside(each, port)) && !some(named, isNamed)) return false;
    if (some(notPorts, (each) => inside(each, port)) || some(notNamed, isNamed)) return false;
  }
  return true;
}
