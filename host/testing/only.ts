// `only`, exhaustively: every source there is × every class of traffic, to each pod of `to`.
//
//   sources: pods, nodes, the test's own endpoints,     traffic: ports, ICMP types, protocols,
//            a packet of each class of addresses         cut at every boundary of a rule of either
//            that rules tell apart (sources.ts)          end, or of an entry (cuts.ts)
//
// What an entry covers must pass, all else must be denied. A node's packets to its own pods are run
// too, and may pass: no policy is asked there (kubelet's probes), so none could forbid them. A pod
// sends itself nothing.
import { familyOf, type Family } from "../model/address.ts";
import { FlowError, type OnlyText } from "../cluster/flow.ts";
import { resolveEnd } from "../cluster/resolve.ts";
import type { Flow, FlowEnd } from "../cluster/types.ts";
import { endName, portText, type World } from "../cluster/world.ts";
import { icmpOf, icmpRange, portOf, trafficText, TrafficCuts, type Range, type Traffic } from
  "./cuts.ts";
import type { RuleBook } from "./rulebook.ts";
import { coverage, insideSources, outsideSources, type Nets, type Source } from "./sources.ts";
import { FileError, gather, type Place, type Problem } from "./place.ts";
import { placeOf, type OnlyCase } from "./testfile.ts";

/** One packet to run, and what must become of it. */
export interface Probe {
  flow: Flow;
  source: Source;
  traffic: Traffic;
  /** either: it is never policed. */
  expected: "allow" | "deny" | "either";
}

export interface OnlyPlan {
  probes: Probe[];
  sources: number;
  /** Distinct classes of traffic. */
  classes: number;
  /** Modules of users, whose own boundaries nobody knows. */
  blind: string[];
}

/** What a test's ends are looked up in. */
export interface Ground {
  world: World;
  book: RuleBook;
  nets: Nets;
}

/** Traffic, any where a field is absent. */
interface Scope {
  protocol?: number;
  ports?: Range;
  icmp?: Range;
}

const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132 };

/** Throws FileError for what can't be found. */
export function planOnly(only: OnlyCase, { world, book, nets }: Ground): OnlyPlan {
  const place = ({ offset }: FlowError): Place => placeOf(only.to.parts, offset);
  const targets = placed(place, () => resolveTargets(only, world));
  const limits = placed(place, () => scopeOf(only, targets, world));
  const problems: Problem[] = [];
  const entries = only.entries.flatMap(({ entry, place }) =>
    gather(problems, () => [placed(() => place, () => (
      { covers: coverage(entry, world, nets), scopeAt: scopeAt(entry, targets) }))]));
  if (problems.length > 0) throw new FileError(problems);
  const written = only.entries.flatMap(({ entry: { from: { end } } }) => {
    const prefix = end.kind === "address" ? end.prefix ?? end.address : undefined;
    return prefix === undefined ? [] : [{ prefix, label: `net ${prefix}` }];
  });
  const prefixes = [...book.sourcePrefixes(targets), ...written];
  const sources = [...insideSources(world), ...outsideSources(prefixes, world, nets)];
  const classes = new Set<string>();
  const probes: Probe[] = [];
  for (const to of targets) {
    const family = familyOf(to.address);
    const scopes = entries.map((entry) => entry.scopeAt(to));
    const known = new Map<TrafficCuts, Traffic[]>();
    for (const source of sources) {
      if (familyOf(source.end.address) !== family || isSame(source.end, to)) continue;
      const cuts = book.cuts(source.end, to);
      const traffic = known.get(cuts) ?? cutScopes(cuts, [limits, ...scopes], family)
        .filter((each) => holds(limits, each));
      known.set(cuts, traffic);
      const open = scopes.filter((scope, i) => scope && entries[i]!.covers(source));
      const otherwise = isOwnNode(source.end, to) ? "either" : "deny";
      for (const each of traffic) {
        const expected = open.some((scope) => holds(scope!, each)) ? "allow" : otherwise;
        probes.push({ flow: flowOf(source.end, to, each), source, traffic: each, expected });
      }
    }
    for (const each of [...known.values()].flat()) classes.add(trafficText(each));
  }
  return { probes, sources: sources.length, classes: classes.size, blind: book.blind(targets) };
}

/** What can't be found is a fault of the file's, at a place. */
export function placed<T>(place: (error: FlowError) => Place, find: () => T): T {
  try {
    return find();
  } catch (error) {
    if (!(error instanceof FlowError)) throw error;
    throw new FileError([{ ...place(error), message: error.message }]);
  }
}

/** The pods of `to`; a Service's are those behind it. */
function resolveTargets({ to }: OnlyCase, world: World): FlowEnd[] {
  const ends = resolveEnd(to.flow.to, world, "to");
  const behind = ends.some(({ kind }) => kind === "service")
    ? resolveEnd(to.flow.to, world, "from") : ends;
  const outside = behind.some(({ kind }) => kind === "address");
  if (!outside) return behind;
  const { text, offset } = to.flow.to;
  throw new FlowError(text, "only: who may reach a pod or a node; that is neither", offset);
}

/** Of `shop/db:5432`, nothing but that port counts; of a Service's, the port behind it. */
function scopeOf({ to: { flow } }: OnlyCase, targets: FlowEnd[], world: World): Scope {
  const { text, offset } = flow.to;
  const { protocol } = flow;
  const port = portBehind(flow, world) ?? flow.to.port;
  if (port === undefined) {
    return protocol.written ? protocolScope(protocol.number, protocol.icmp, flow.text) : {};
  }
  if (typeof port === "number") {
    return { protocol: protocol.number, ports: { first: port, last: port } };
  }
  for (const to of targets) {
    const found = namedPort(to, port, protocol.written ? protocol.number : undefined);
    if (found) return found;
  }
  throw new FlowError(`${text}:${port}`, noPort(text, port, targets), offset);
}

/** Where a Service's port leads to; undefined of other ends and other ports. */
function portBehind({ to, protocol }: OnlyCase["to"]["flow"], world: World): number | undefined {
  const [end] = resolveEnd(to, world, "to");
  if (end?.kind !== "service") return undefined;
  const known = world.services.get(end.service)?.ports ?? [];
  const port = known.find((one) => to.port !== undefined &&
    one.protocol === protocol.number && [one.port, one.name].includes(to.port));
  return port && world.backends(end.address, port.protocol, port.port)[0]?.port;
}

/** An entry's traffic at one pod of `to`; undefined where that has no port of its name. */
function scopeAt(entry: OnlyText, targets: FlowEnd[]): (to: FlowEnd) => Scope | undefined {
  const { ports, protocol, text } = entry;
  if (protocol === undefined) return () => ({});
  if (ports === undefined) return () => protocolScope(protocol.number, protocol.icmp, text);
  if (typeof ports !== "string") return () => ({ protocol: protocol.number, ports });
  const written = protocol.written ? protocol.number : undefined;
  if (!targets.some((to) => namedPort(to, ports, written))) {
    const names = [...new Set(targets.map(endName))].join(", ");
    throw new FlowError(text, noPort(names, ports, targets));
  }
  return (to) => namedPort(to, ports, written);
}

/** "icmp" is all of it, "icmp:8/0" one type and code, "icmp:8" all codes of a type. */
function protocolScope(
  protocol: number, icmp: { type: number; code: number } | undefined, written: string,
): Scope {
  if (icmp === undefined || !/icmp(6|v6)?:/i.test(written)) return { protocol };
  const hasCode = /:\d+\/\d+\s*$/.test(written);
  return { protocol, icmp: icmpRange(icmp.type, hasCode ? icmp.code : undefined) };
}

function namedPort(to: FlowEnd, name: string, protocol?: number): Scope | undefined {
  const ports = to.kind === "pod" ? to.pod.ports : [];
  const found = ports.find((port) => port.name === name &&
    (protocol === undefined || PROTOCOLS[port.protocol] === protocol));
  if (found === undefined) return undefined;
  return { protocol: PROTOCOLS[found.protocol], ports: { first: found.port, last: found.port } };
}

function noPort(text: string, port: string, targets: FlowEnd[]): string {
  const ports = targets.flatMap((to) => to.kind === "pod" ? to.pod.ports.map(portText) : []);
  const known = [...new Set(ports)].join(", ");
  return `no container port named ${port}; ` +
    (known === "" ? `${text} declares no ports` : `ports of ${text}: ${known}`);
}

/** The classes of traffic, cut where the test's own texts name a boundary too. */
function cutScopes(
  cuts: TrafficCuts, scopes: (Scope | undefined)[], family: Family,
): Traffic[] {
  const all = new TrafficCuts();
  all.addAll(cuts);
  for (const scope of scopes) {
    if (scope?.protocol === undefined) continue;
    all.protocols.add(scope.protocol);
    if (scope.ports) all.ports.get(scope.protocol)?.add(scope.ports);
    if (scope.icmp) all.icmp.get(scope.protocol)?.add(scope.icmp);
  }
  return all.classes(family);
}

/** A class lies in a scope whole or not at all: it was cut there. */
function holds(scope: Scope, traffic: Traffic): boolean {
  if (scope.protocol === undefined) return true;
  if (scope.protocol !== traffic.protocol) return false;
  return within(traffic.port, scope.ports) && within(traffic.icmp, scope.icmp);
}

function within(range: Range | undefined, around: Range | undefined): boolean {
  if (around === undefined) return true;
  return range !== undefined && around.first <= range.first && range.last <= around.last;
}

function isSame(from: FlowEnd, to: FlowEnd): boolean {
  if (from.kind === "pod" && to.kind === "pod" && from.pod === to.pod) return true;
  return from.address === to.address;
}

function isOwnNode(from: FlowEnd, to: FlowEnd): boolean {
  if (to.kind !== "pod") return false;
  if (from.kind === "node") return from.node.name === to.pod.node;
  return from.kind === "pod" && from.pod.hostNetwork && from.pod.node === to.pod.node;
}

function flowOf(from: FlowEnd, to: FlowEnd, traffic: Traffic): Flow {
  const { protocol, port, sourcePort, icmp } = traffic;
  const flow: Flow = { from, to, protocol };
  if (port) flow.port = portOf(port);
  if (sourcePort) flow.sourcePort = portOf(sourcePort);
  if (icmp) flow.icmp = icmpOf(protocol, icmp)!;
  return flow;
}
