// Policies of many rules to classifier blocks: bit vectors over the rules, a dimension each for
// service (protocol and port), source port, source and destination sets; the core ANDs what a
// packet's values select and takes the first bit. Layout: assembly/layout.ts, "A classifier".
//
//   rules ─ matchOf ─┬─ by protocol: base vector + intervals of ports or ICMP types
//                    ├─ by source port: likewise
//                    └─ sets: what membership adds to a vector, or clears
//
// A rule that names several sets on one side stands in the vector of the first; the others are
// verified when its bit is found. Prefix lists are sets too, so that an address is looked up once.
//
// Limits: 16,384 rules and 4 MiB a block. Rules that vectors can't say (fitsClassifier) are for
// straight-line code. Source: Lakshman & Stiliadis 1998.
import {
  Action, CLASSIFIER_ACTIONS, CLASSIFIER_BYTES, CLASSIFIER_DESTINATION, CLASSIFIER_FAMILY4,
  CLASSIFIER_FAMILY6, CLASSIFIER_HEADER_BYTES, CLASSIFIER_RULES, CLASSIFIER_RULES_MAX,
  CLASSIFIER_SERVICES, CLASSIFIER_SETS, CLASSIFIER_SET_ADDS, CLASSIFIER_SET_BYTES,
  CLASSIFIER_SET_CLEARS, CLASSIFIER_SET_HASH, CLASSIFIER_SET_KEY, CLASSIFIER_SET_MASK,
  CLASSIFIER_SOURCE, CLASSIFIER_SOURCES, CLASSIFIER_VECTOR, DIMENSION_BASE, DIMENSION_BYTES,
  DIMENSION_COUNT, DIMENSION_DELTAS, DIMENSION_STARTS, Side,
} from "../../assembly/layout.ts";
import type { Policy, ProgramRule } from "../model/program.ts";
import { Block } from "./block.ts";
import {
  bearsPorts, FAMILY4, FAMILY6, matchOf, neverMatches, type Match, type SideMatch, type Span,
} from "./match.ts";
import { checkNext, type SetNumbers } from "./policy.ts";

export const CLASSIFIER_BYTES_MAX = 4 << 20;
/** Protocols with values of their own, always told apart. */
const VALUED = [1, 6, 17, 58, 132];
const ACTIONS = { allow: Action.Allow, deny: Action.Deny, pass: Action.Pass, log: Action.Deny };
const VALUES: Span = [0, 65_535];

/** Which vector a set acts on (layout.ts, CLASSIFIER_SIDES). */
const enum KeySide { Source, Destination, SourcePort, Service, DestinationPorts }

/**
 * Can vectors say this rule? Not what a named port and a negated port, two named ports of one
 * protocol, or an ICMP type 0 of no certain family ask of each other.
 */
export function fitsClassifier(match: Match): boolean {
  const { source, destination, protocol, notProtocol, icmp, notIcmp, families } = match;
  for (const side of [source, destination]) {
    if (side.namedPorts.length && side.notPorts.length) return false;
  }
  const bothNamed = source.namedPorts.length > 0 && destination.namedPorts.length > 0;
  if (bothNamed && (protocol !== undefined || notProtocol !== undefined)) return false;
  if (icmp?.[0] === 0 && protocol === undefined) return false;
  if (notIcmp?.[0] === 0) {
    const own = protocol === 1 ? FAMILY4 : protocol === 58 ? FAMILY6 : 0;
    const isElse = protocol !== undefined && own === 0;
    return isElse || families === own;
  }
  return true;
}

/** Throws BlockFull, or with the policy, rule and field that is wrong. */
export function buildClassifier(policy: Policy, sets: SetNumbers): Uint8Array {
  if (policy.rules.length > CLASSIFIER_RULES_MAX) {
    const most = `at most ${CLASSIFIER_RULES_MAX}`;
    throw new Error(`policy ${policy.name}: ${policy.rules.length} rules; ${most}`);
  }
  const rules = policy.rules.flatMap((rule, index): Entry[] => {
    try {
      checkNext(policy, index);
      const match = matchOf(rule, 0, (prefixes) => sets.nets(prefixes));
      if (neverMatches(rule, match)) return [];
      if (!fitsClassifier(match)) throw new Error("these conditions need straight-line code");
      return [{ index, match }];
    } catch (cause) {
      const where = `policy ${policy.name}, rule ${index} (${rule.name})`;
      throw new Error(`${where}: ${(cause as Error).message}`);
    }
  });
  return new Builder(policy.rules, rules, sets).build();
}

interface Entry {
  index: number;
  match: Match;
}
interface SetEntry {
  adds: number[];
  clears: number[];
}

class Builder {
  private readonly block: Block;
  private readonly table = new Map<number, SetEntry>();
  private readonly verify = new Map<number, number[]>();
  private readonly sourceBase: number[] = [];
  private readonly destinationBase: number[] = [];

  constructor(
    private readonly rules: ProgramRule[], private readonly entries: Entry[],
    private readonly sets: SetNumbers,
  ) {
    this.block = new Block(rules.length, CLASSIFIER_BYTES_MAX);
  }

  build(): Uint8Array {
    const { block, entries } = this;
    block.allocate(CLASSIFIER_HEADER_BYTES);
    block.put32(CLASSIFIER_RULES, this.rules.length);
    block.put32(CLASSIFIER_VECTOR, block.vectorBytes);
    const family = (bit: number): number => block.vector(
      entries.filter(({ match }) => match.families & bit).map(({ index }) => index),
    );
    block.put32(CLASSIFIER_FAMILY4, family(FAMILY4));
    block.put32(CLASSIFIER_FAMILY6, family(FAMILY6));
    for (const entry of entries) this.memberships(entry);
    block.put32(CLASSIFIER_SOURCE, block.vector(this.sourceBase));
    block.put32(CLASSIFIER_DESTINATION, block.vector(this.destinationBase));
    block.put32(CLASSIFIER_SERVICES, this.services());
    block.put32(CLASSIFIER_SOURCES, this.sources());
    this.setTable();
    this.actions();
    block.allocate(0, 16);
    const bytes = block.finish();
    new DataView(bytes.buffer).setUint32(CLASSIFIER_BYTES, bytes.length, true);
    return bytes;
  }

  // ---- Protocols and ports ----------------------------------------------------------------------

  /** A table by protocol number of dimensions; protocols that no rule names share one. */
  private byProtocol(dimension: (protocol: number, own: Entry[]) => number): number {
    const named = new Set(VALUED);
    for (const { match } of this.entries) {
      if (match.protocol !== undefined) named.add(match.protocol);
      if (match.notProtocol !== undefined) named.add(match.notProtocol);
    }
    const at = this.block.allocate(256 * 4, 16);
    let others: number | undefined;
    for (let protocol = 0; protocol < 256; protocol++) {
      let made = named.has(protocol) ? undefined : others;
      if (made === undefined) {
        const own = this.entries.filter(({ match }) => isFor(match, protocol));
        made = own.length ? dimension(protocol, own) : 0;
        if (!named.has(protocol)) others = made;
      }
      this.block.put32(at + protocol * 4, made);
    }
    return at;
  }

  private services(): number {
    return this.byProtocol((protocol, own) => this.dimension(own, ({ match }) => {
      if (bearsPorts(protocol)) return portSpans(match.destination);
      if (protocol !== 1 && protocol !== 58) return [VALUES];
      return without(match.icmp ? [match.icmp] : [VALUES], match.notIcmp ? [match.notIcmp] : []);
    }));
  }

  /**
   * Needed where a rule asks for source ports; and for destination ports by name: a member of such
   * a set adds its rules whatever their protocol, which this dimension then takes away.
   */
  private sources(): number {
    const isNeeded = this.entries.some(({ match: { source, destination } }) =>
      source.ports.length + source.namedPorts.length + source.notPorts.length +
      source.notNamedPorts.length + destination.namedPorts.length > 0);
    if (!isNeeded) return 0;
    return this.byProtocol((protocol, own) => this.dimension(own, ({ match }) =>
      bearsPorts(protocol) ? portSpans(match.source) : [VALUES]));
  }

  /** Offset of a dimension: which rules hold for which values. */
  private dimension(own: Entry[], spansOf: (entry: Entry) => Span[]): number {
    const { block } = this;
    const base: number[] = [];
    const events = new Map<number, { begin: number[]; end: number[] }>();
    const eventAt = (value: number): { begin: number[]; end: number[] } => {
      let event = events.get(value);
      if (!event) events.set(value, event = { begin: [], end: [] });
      return event;
    };
    eventAt(0);
    for (const entry of own) {
      const spans = spansOf(entry);
      if (spans.length === 1 && spans[0]![0] === 0 && spans[0]![1] === 65_535) {
        base.push(entry.index);
        continue;
      }
      for (const [first, last] of spans) {
        eventAt(first).begin.push(entry.index);
        if (last < 65_535) eventAt(last + 1).end.push(entry.index);
      }
    }
    const starts = [...events.keys()].sort((a, b) => a - b);
    const at = block.allocate(DIMENSION_BYTES, 16);
    const startsAt = block.allocate(starts.length * 2);
    const deltasAt = block.allocate(starts.length * 8, 8);
    block.put32(at + DIMENSION_BASE, block.vector(base));
    block.put32(at + DIMENSION_COUNT, starts.length);
    block.put32(at + DIMENSION_STARTS, startsAt);
    block.put32(at + DIMENSION_DELTAS, deltasAt);
    const active = new Uint8Array(block.vectorBytes);
    starts.forEach((start, i) => {
      const { begin, end } = events.get(start)!;
      for (const rule of end) active[rule >> 3]! &= ~(1 << (rule & 7));
      for (const rule of begin) active[rule >> 3]! |= 1 << (rule & 7);
      block.put16(startsAt + i * 2, start);
      block.putDelta(deltasAt + i * 8, block.delta(rulesOf(active)));
    });
    return at;
  }

  // ---- Sets -------------------------------------------------------------------------------------

  private memberships({ index, match }: Entry): void {
    const { sets } = this;
    const add = (side: KeySide, set: number): void => void this.entryOf(side, set).adds.push(index);
    const clear = (side: KeySide, set: number): void =>
      void this.entryOf(side, set).clears.push(index);
    const { source, destination } = match;
    const [first, ...further] = source.sets.map((id) => sets.addresses(id));
    if (first === undefined) this.sourceBase.push(index);
    else add(KeySide.Source, first);
    const verify = further.map((set) => set | (Side.Source << 16));

    const required: [number, KeySide, Side][] = [
      ...destination.sets.map((id): [number, KeySide, Side] =>
        [sets.addresses(id), KeySide.Destination, Side.Destination]),
      ...destination.portSets.map((id): [number, KeySide, Side] =>
        [sets.ports(id), KeySide.DestinationPorts, Side.DestinationPort]),
    ];
    if (required.length === 0) this.destinationBase.push(index);
    required.forEach(([set, keySide, side], i) => {
      if (i === 0) add(keySide, set);
      else verify.push(set | (side << 16));
    });
    if (verify.length) this.verify.set(index, verify);

    for (const id of source.notSets) clear(KeySide.Source, sets.addresses(id));
    for (const id of destination.notSets) clear(KeySide.Destination, sets.addresses(id));
    for (const id of source.namedPorts) add(KeySide.SourcePort, sets.ports(id));
    for (const id of destination.namedPorts) add(KeySide.Service, sets.ports(id));
    for (const id of source.notNamedPorts) clear(KeySide.SourcePort, sets.ports(id));
    for (const id of destination.notNamedPorts) clear(KeySide.Service, sets.ports(id));
  }
  private entryOf(side: KeySide, set: number): SetEntry {
    const key = ((side << 16) | set) + 1;
    let entry = this.table.get(key);
    if (!entry) this.table.set(key, entry = { adds: [], clears: [] });
    return entry;
  }

  private setTable(): void {
    const { block, table } = this;
    let places = 2;
    while (places < table.size * 2) places *= 2;
    const at = block.allocate(places * CLASSIFIER_SET_BYTES, 16);
    block.put32(CLASSIFIER_SETS, at);
    block.put32(CLASSIFIER_SET_MASK, places - 1);
    const taken = new Uint8Array(places);
    for (const [key, { adds, clears }] of table) {
      let place = (Math.imul(key, CLASSIFIER_SET_HASH) >>> 16) & (places - 1);
      while (taken[place]) place = (place + 1) & (places - 1);
      taken[place] = 1;
      const entry = at + place * CLASSIFIER_SET_BYTES;
      block.put32(entry + CLASSIFIER_SET_KEY, key);
      block.putDelta(entry + CLASSIFIER_SET_ADDS, block.delta(unique(adds)));
      block.putDelta(entry + CLASSIFIER_SET_CLEARS, block.delta(unique(clears)));
    }
  }

  private actions(): void {
    const { block, rules } = this;
    const at = block.allocate(rules.length * 8, 16);
    block.put32(CLASSIFIER_ACTIONS, at);
    rules.forEach(({ action, next }, i) => {
      const target = action === "pass" ? next ?? rules.length : 0;
      block.put32(at + i * 8, ACTIONS[action] | (target << 8));
      const list = this.verify.get(i);
      if (!list) return;
      const listAt = block.allocate(4 + list.length * 4);
      block.put32(listAt, list.length);
      list.forEach((condition, k) => block.put32(listAt + 4 + k * 4, condition));
      block.put32(at + i * 8 + 4, listAt);
    });
  }
}

/** Numbers of the bits that are set. */
function rulesOf(vector: Uint8Array): number[] {
  const rules: number[] = [];
  vector.forEach((byte, i) => {
    for (let left = byte; left; left &= left - 1) rules.push(i * 8 + 31 - Math.clz32(left & -left));
  });
  return rules;
}

/** Rule numbers come in order; a rule may name a set twice. */
function unique(rules: number[]): number[] {
  return rules.filter((rule, i) => i === 0 || rules[i - 1] !== rule);
}

/** May a packet of this protocol match at all? */
function isFor(match: Match, protocol: number): boolean {
  if (match.protocol !== undefined && match.protocol !== protocol) return false;
  if (match.notProtocol === protocol) return false;
  if (match.icmp) {
    const family = protocol === 1 ? FAMILY4 : protocol === 58 ? FAMILY6 : 0;
    if (!(match.families & family)) return false;
  }
  const asks = ({ ports, namedPorts }: SideMatch): boolean => ports.length + namedPorts.length > 0;
  return bearsPorts(protocol) || !(asks(match.source) || asks(match.destination));
}

/** Ports by number that a side admits; those by name come through sets. */
function portSpans({ ports, namedPorts, notPorts }: SideMatch): Span[] {
  if (ports.length === 0 && namedPorts.length > 0) return [];
  return without(ports.length ? ports : [VALUES], notPorts);
}

/** Spans less other spans; both in order. */
function without(spans: Span[], less: Span[]): Span[] {
  let left = [...spans];
  for (const [first, last] of less) {
    left = left.flatMap(([a, b]): Span[] => {
      if (last < a || first > b) return [[a, b]];
      const parts: Span[] = [];
      if (a < first) parts.push([a, first - 1]);
      if (b > last) parts.push([last + 1, b]);
      return parts;
    });
  }
  return left;
}
