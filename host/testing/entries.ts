// What passed, as entries of `only`: sources that are alike together, ranges of ports joined.
//
//   shop/api: 5432/tcp   shop/web, shop/cart: 8080-8081/tcp   ─►  shop/api -> 5432/tcp
//   ops/a, ops/b (all of ops): 22/tcp                              ops/* -> 22/tcp  …
//
// Not everything can be said so (any other protocol, a range of ICMP types, half of the source
// ports): then there are no entries.
import { familyOf } from "../model/address.ts";
import { PRIVATE, prefixHolds } from "./addresses.ts";
import { trafficText, type Range, type Traffic } from "./cuts.ts";
import type { Probe } from "./only.ts";
import type { Source } from "./sources.ts";

const PORT_MAX = 65_535;
const NAMES: Record<number, string> = { 6: "tcp", 17: "udp", 132: "sctp" };

/** Undefined where entries can't say which of the probes passed. */
export function entriesOf(
  probes: readonly Probe[], passed: ReadonlySet<Probe>,
): string[] | undefined {
  const bySource = new Map<Source, { all: Traffic[]; open: Traffic[] }>();
  for (const probe of probes) {
    if (probe.expected === "either") continue;
    const known = bySource.get(probe.source) ?? { all: [], open: [] };
    bySource.set(probe.source, known);
    known.all.push(probe.traffic);
    if (passed.has(probe)) known.open.push(probe.traffic);
  }
  const said = [...bySource].map(([source, { all, open }]) => (
    { source, where: whereText(all, open) }));
  if (said.some(({ where }) => where === undefined)) return undefined;
  return grouped(said as Said[]).flatMap(({ name, where }) =>
    where.map((each) => each === "" ? name : `${name} -> ${each}`));
}

interface Said {
  source: Source;
  /** What may follow the arrow, an entry each; "" is everything, none is nothing. */
  where: string[];
}

interface Group {
  name: string;
  where: string[];
  /** Of pods. */
  namespace?: string;
}

/** Sources by the widest names that are right: *, ns/*, a workload, 0.0.0.0/0, internet. */
function grouped(said: readonly Said[]): Group[] {
  if (new Set(said.map(key)).size === 1) return named(["*"], said[0]!.where);
  const byLabel = new Map<string, Said[]>();
  for (const each of said) {
    if (each.source.class) continue;
    const { label } = each.source;
    byLabel.set(label, [...byLabel.get(label) ?? [], each]);
  }
  const inside = [...byLabel.values()].flatMap((members): Group[] => {
    const isWhole = new Set(members.map(key)).size === 1;
    return (isWhole ? members.slice(0, 1) : members).map(({ source, where }) => {
      const { end, label } = source;
      if (end.kind !== "pod") return { name: label, where };
      const { namespace, name } = end.pod;
      return { name: isWhole ? label : `${namespace}/${name}`, where, namespace };
    });
  });
  const outside = ([4, 6] as const).flatMap((family) =>
    outsideGroups(said.filter(({ source }) => source.class?.family === family), family));
  return [...byNamespace(distinct(inside)), ...outside].filter(({ where }) => where.length > 0);
}

/** Everything ([""]) and nothing ([]) are two. */
const key = ({ where }: Pick<Said, "where">): string => JSON.stringify(where);

function named(names: readonly string[], where: string[]): Group[] {
  return where.length === 0 ? [] : names.map((name) => ({ name, where }));
}

/** A pod with two addresses is one. */
function distinct(groups: readonly Group[]): Group[] {
  return [...new Map(groups.map((group) => [`${group.name}\n${key(group)}`, group])).values()];
}

/** Addresses outside: all at once where they are alike, else by their prefixes. */
function outsideGroups(said: readonly Said[], family: 4 | 6): Group[] {
  if (said.length === 0) return [];
  const all = family === 4 ? "0.0.0.0/0" : "::/0";
  if (new Set(said.map(key)).size === 1) return named([all], said[0]!.where);
  const within = said.flatMap(({ source }) => source.class?.within ?? []);
  return said.flatMap(({ source, where }) => {
    const { isPublic, within: own } = source.class!;
    if (own !== undefined && own !== all) return named([own], where);
    if (isPublic) return named(["internet"], where);
    // Private prefixes that no rule cuts are one class; each has a name of its own.
    return named(PRIVATE.filter((prefix) => familyOf(prefix.split("/")[0]!) === family &&
      !within.some((inner) => prefixHolds(prefix, inner.split("/")[0]!))), where);
  });
}

/** All workloads of a namespace that may the same go by its name. */
function byNamespace(groups: readonly Group[]): Group[] {
  const merged: Group[] = [];
  const done = new Set<string>();
  for (const group of groups) {
    const { namespace } = group;
    if (namespace === undefined) merged.push(group);
    if (namespace === undefined || done.has(namespace)) continue;
    done.add(namespace);
    const all = groups.filter((each) => each.namespace === namespace);
    const alike = all.length > 1 && new Set(all.map(key)).size === 1;
    if (alike) merged.push({ name: `${namespace}/*`, where: group.where });
    else merged.push(...all);
  }
  return merged;
}

/** "5432/tcp", "udp", "icmp:8/0"; "" for everything. */
function whereText(all: readonly Traffic[], open: readonly Traffic[]): string[] | undefined {
  const distinct = new Set(open.map(trafficText));
  if (distinct.size === new Set(all.map(trafficText)).size) return [""];
  const texts: string[] = [];
  for (const [protocol, name] of Object.entries(NAMES)) {
    const own = open.filter((each) => each.protocol === Number(protocol));
    // Half of the source ports is nothing that an entry can say.
    if (own.some(({ sourcePort }) => sourcePort !== undefined)) return undefined;
    for (const { first, last } of joined(own.map(({ port }) => port!))) {
      if (first === 0 && last === PORT_MAX) texts.push(name);
      else texts.push(`${first === last ? first : `${first}-${last}`}/${name}`);
    }
  }
  for (const each of open) {
    if (each.port) continue;
    if (each.unnamed) return undefined;
    const text = each.icmp ? trafficText(each) : `/${each.protocol}`;
    if (text.includes(" ")) return undefined;
    if (!texts.includes(text)) texts.push(text);
  }
  return texts;
}

/** Ranges that touch are one. */
function joined(ranges: readonly Range[]): Range[] {
  const sorted = [...ranges].sort((a, b) => a.first - b.first);
  const found: Range[] = [];
  for (const { first, last } of sorted) {
    const before = found.at(-1);
    if (before && first <= before.last + 1) before.last = Math.max(before.last, last);
    else found.push({ first, last });
  }
  return found;
}
