// Does one rule match all that another matches? Said only where it surely is so: "no" may mean that
// it was too hard to tell.
//
//   each condition of the wider rule must follow from one of the narrower:
//     families ⊇   protocol =   prefixes ⊇   sets: all of the wider's are the narrower's too
//     ports ⊇      negations: what the wider leaves out, the narrower leaves out as well
//
// Whether all of one set are in another, the caller says; else sets are compared by their ids,
// which are those of their selectors' canonical text.
import { parsePrefix } from "../model/address.ts";
import type { Rule } from "../model/rule.ts";
import { protocolNumber } from "../model/rule.ts";

type Family = 4 | 6;
type Ports = readonly (number | string)[];
type Lists = readonly string[] | undefined;

/** Is the first set surely within the second, by their ids? */
export type Within = (narrow: string, wide: string) => boolean;

export function covers(
  wide: Rule, narrow: Rule, inside: Within = (one, other) => one === other,
): boolean {
  const among = (sets: Lists, of: Lists): boolean => (sets ?? []).every((id) => {
    return (of ?? []).some((each) => inside(each, id));
  });
  const leftOut = (sets: Lists, of: Lists): boolean => (sets ?? []).every((id) => {
    return (of ?? []).some((each) => inside(id, each));
  });
  return familiesOf(narrow).every((family) => familiesOf(wide).includes(family)) &&
    protocolCovers(wide, narrow) && icmpCovers(wide, narrow) &&
    netsCover(wide.source, narrow.source, narrow) &&
    netsCover(wide.destination, narrow.destination, narrow) &&
    notNetsCover(wide.notSource, narrow.notSource) &&
    notNetsCover(wide.notDestination, narrow.notDestination) &&
    among(wide.sourceSets, narrow.sourceSets) &&
    among(wide.destinationSets, narrow.destinationSets) &&
    leftOut(wide.notSourceSets, narrow.notSourceSets) &&
    leftOut(wide.notDestinationSets, narrow.notDestinationSets) &&
    among(wide.destinationPortSets, narrow.destinationPortSets) &&
    portsCover(wide.sourcePorts, wide.sourceNamedPorts, narrow.sourcePorts,
      narrow.sourceNamedPorts, inside) &&
    portsCover(wide.destinationPorts, wide.destinationNamedPorts, narrow.destinationPorts,
      narrow.destinationNamedPorts, inside) &&
    notPortsCover(wide.notSourcePorts, narrow.notSourcePorts) &&
    notPortsCover(wide.notDestinationPorts, narrow.notDestinationPorts) &&
    leftOut(wide.notSourceNamedPorts, narrow.notSourceNamedPorts) &&
    leftOut(wide.notDestinationNamedPorts, narrow.notDestinationNamedPorts);
}

/** Families that a rule can match at all (rule.ts: lists of one family alone). */
function familiesOf(rule: Rule): Family[] {
  const positive = [rule.source, rule.destination];
  const negative = [rule.notSource, rule.notDestination];
  const all: Family[] = [4, 6];
  return all.filter((family) => {
    const own = (list: Lists): string[] => (list ?? []).filter((text) => {
      return parsePrefix(text).family === family;
    });
    const fits = positive.every((list) => isAbsent(list) || own(list).length > 0);
    const leaves = negative.every((list) => isAbsent(list) ||
      (own(list).length > 0 && !own(list).some(isWhole)));
    return (rule.ipVersion ?? family) === family && fits && leaves;
  });
}

function isWhole(text: string): boolean {
  return /\/0$/.test(text);
}

function isAbsent(list: readonly unknown[] | undefined): boolean {
  return list === undefined || list.length === 0;
}

function protocolCovers(wide: Rule, narrow: Rule): boolean {
  const number = (protocol: Rule["protocol"]): number | undefined => {
    return protocol === undefined ? undefined : protocolNumber(protocol);
  };
  const [want, not] = [number(wide.protocol), number(wide.notProtocol)];
  const [own, ownNot] = [number(narrow.protocol), number(narrow.notProtocol)];
  return (want === undefined || want === own) &&
    (not === undefined || not === ownNot || (own !== undefined && own !== not));
}

function icmpCovers(wide: Rule, narrow: Rule): boolean {
  const { icmp, notIcmp } = wide;
  const fits = icmp === undefined || (narrow.icmp?.type === icmp.type &&
    (icmp.code === undefined || icmp.code === narrow.icmp.code));
  const leaves = notIcmp === undefined || (narrow.notIcmp?.type === notIcmp.type &&
    (narrow.notIcmp.code === undefined || narrow.notIcmp.code === notIcmp.code));
  return fits && leaves;
}

/** Each prefix of the narrower lies in one of the wider's. */
function netsCover(wide: Lists, narrow: Lists, rule: Rule): boolean {
  if (isAbsent(wide)) return true;
  const whole = familiesOf(rule).every((family) => wide!.some((text) => {
    return isWhole(text) && parsePrefix(text).family === family;
  }));
  return whole || (!isAbsent(narrow) && narrow!.every((inner) => within(inner, wide!)));
}

/** What the wider leaves out, the narrower leaves out too. */
function notNetsCover(wide: Lists, narrow: Lists): boolean {
  return isAbsent(wide) || wide!.every((inner) => within(inner, narrow ?? []));
}

function within(inner: string, outer: readonly string[]): boolean {
  const one = parsePrefix(inner);
  return outer.some((text) => {
    const { family, network, mask } = parsePrefix(text);
    return family === one.family && (one.mask & mask) === mask && (one.network & mask) === network;
  });
}

function portsCover(
  wide: Ports | undefined, wideNamed: Lists, narrow: Ports | undefined, narrowNamed: Lists,
  inside: Within,
): boolean {
  if (isAbsent(wide) && isAbsent(wideNamed)) return true;
  if (isAbsent(narrow) && isAbsent(narrowNamed)) return false;
  return portsWithin(narrow ?? [], wide ?? []) && (narrowNamed ?? []).every((id) => {
    return (wideNamed ?? []).some((each) => inside(id, each));
  });
}

function notPortsCover(wide: Ports | undefined, narrow: Ports | undefined): boolean {
  return isAbsent(wide) || portsWithin(wide!, narrow ?? []);
}

/** Is each range inside the union of the others? */
function portsWithin(inner: Ports, outer: Ports): boolean {
  const joined: [number, number][] = [];
  for (const [first, last] of outer.map(rangeOf).sort((a, b) => a[0] - b[0])) {
    const before = joined.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else joined.push([first, last]);
  }
  return inner.map(rangeOf).every(([first, last]) => {
    return joined.some(([from, to]) => from <= first && last <= to);
  });
}

function rangeOf(port: number | string): [number, number] {
  const [first, last] = String(port).split("-").map(Number) as [number, number | undefined];
  return [first, last ?? first];
}
