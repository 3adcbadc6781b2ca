// From a flow's text to the packets that it stands for: every pod of a workload, every family that
// both ends have, every ready backend of a Service.
//
// Errors (FlowError) name what was written, and what there is instead.
import { familyOf, type Family } from "../model/address.ts";
import type { PodObject } from "../model/snapshot.ts";
import { FlowError, type EndText, type FlowText, type ProtocolText } from "./flow.ts";
import { didYouMean } from "../input/nearest.ts";
import { serviceEnds } from "./frontend.ts";
import type { Flow, FlowEnd } from "./types.ts";
import { endName, podName, portText, protocolName, World } from "./world.ts";

const WITH_PORTS = new Set([6, 17, 132, 136]);
const ICMP_FAMILY: Record<number, Family> = { 1: 4, 58: 6 };
/** Names listed in a message before it says how many more there are. */
const LISTED_MAX = 12;

/** All packets of a flow; at least one, or a FlowError. */
export function resolveFlow(flow: FlowText, world: World): Flow[] {
  const sources = resolveEnd(flow.from, world, "from");
  const targets = resolveEnd(flow.to, world, "to");
  const flows: Flow[] = [];
  let self: Flow[] = [];
  for (const to of targets) {
    for (const where of ports(flow.to, to, flow.protocol, world)) {
      for (const from of sources) {
        if (!fits(from, to, where.protocol.number)) continue;
        const sourcePort = sourcePortOf(flow.from, from, where.protocol);
        for (const end of serviceEnds(from, to, where, world)) {
          const one: Flow = { from, to: end, protocol: where.protocol.number };
          if (sourcePort !== undefined) one.sourcePort = sourcePort;
          if (where.port !== undefined) one.port = where.port;
          if (where.protocol.icmp) one.icmp = where.protocol.icmp;
          (samePod(from, end) ? self : flows).push(one);
        }
      }
    }
  }
  if (flows.length) return flows;
  if (self.length) return self;
  throw new FlowError(flow.text, noPair(flow, sources, targets));
}

/** A pod to itself leaves no pod; it is judged only where nothing else was asked. */
function samePod(from: FlowEnd, to: FlowEnd): boolean {
  return from.kind === "pod" && to.kind === "pod" && from.pod === to.pod;
}

function fits(from: FlowEnd, to: FlowEnd, protocol: number): boolean {
  const family = familyOf(from.address);
  if (family !== familyOf(to.address)) return false;
  return (ICMP_FAMILY[protocol] ?? family) === family;
}

function noPair(flow: FlowText, sources: FlowEnd[], targets: FlowEnd[]): string {
  const families = (ends: FlowEnd[]): string => ends.length === 0
    ? "no address of a family that the cluster has"
    : [...new Set(ends.map(({ address }) => `IPv${familyOf(address)}`))].sort().join(" and ");
  const only = ICMP_FAMILY[flow.protocol.number];
  const needs = only === undefined ? "" : `; ${flow.protocol.name} is IPv${only}'s`;
  return `${flow.from.text} has ${families(sources)}, ` +
    `${flow.to.text} has ${families(targets)}${needs}: no packet goes between them`;
}

export interface Where {
  protocol: ProtocolText;
  port?: number;
}

/** Destination port and protocol at one end; a named port brings its protocol along. */
function ports(text: EndText, to: FlowEnd, protocol: ProtocolText, world: World): Where[] {
  if (!WITH_PORTS.has(protocol.number)) {
    if (text.port === undefined) return [{ protocol }];
    throw new FlowError(text.text, `${protocol.name} has no ports`, text.offset);
  }
  const known = knownPorts(to, world);
  const isService = to.kind === "service";
  if (typeof text.port === "number" && !isService) return [{ protocol, port: text.port }];
  const fitting = known.filter((one) =>
    (!protocol.written || one.protocol === protocol.number) &&
    (text.port === undefined || text.port === one.name || text.port === one.port));
  const found = fitting.find((one) => one.protocol === protocol.number) ?? fitting[0];
  if (found && (text.port !== undefined || (isService && fitting.length === 1))) {
    return [{ protocol: protocolOf(found.protocol, protocol), port: found.port }];
  }
  throw new FlowError(text.text + (text.port === undefined ? "" : `:${text.port}`),
    portMessage(text, to, protocol, known), text.offset);
}

function portMessage(
  text: EndText, to: FlowEnd, protocol: ProtocolText, known: Port[],
): string {
  const has = known.length === 0 ? `${text.text} declares no ports`
    : `ports of ${text.text}: ${known.map(portText).join(", ")}`;
  if (text.port === undefined) return `say which port: ${text.text}:PORT; ${has}`;
  if (to.kind === "service") return `the Service has no such port/${protocol.name}; ${has}`;
  const names = known.map(({ name }) => name).filter((name) => name !== "");
  const meant = names.includes(String(text.port)) ? "" : didYouMean(String(text.port), names);
  const what = to.kind === "pod" ? "container port" : "port";
  const over = protocol.written ? ` of ${protocol.name}` : "";
  return `no ${what}${over} named ${text.port}${meant}; ${has}`;
}

function protocolOf(number: number, asked: ProtocolText): ProtocolText {
  if (number === asked.number) return asked;
  return { number, name: protocolName(number), written: false };
}

interface Port {
  name: string;
  port: number;
  protocol: number;
}

function knownPorts(end: FlowEnd, world: World): Port[] {
  if (end.kind === "service") return world.services.get(end.service)?.ports ?? [];
  if (end.kind !== "pod") return [];
  const number = { TCP: 6, UDP: 17, SCTP: 132 };
  return end.pod.ports.map((port) => ({ ...port, protocol: number[port.protocol] }));
}

function sourcePortOf(
  text: EndText, from: FlowEnd, protocol: ProtocolText,
): number | undefined {
  if (text.port === undefined) return undefined;
  if (!WITH_PORTS.has(protocol.number)) {
    throw new FlowError(text.text, `${protocol.name} has no ports`, text.offset);
  }
  if (typeof text.port === "number") return text.port;
  const ports = from.kind === "pod" ? from.pod.ports : [];
  const found = ports.find(({ name }) => name === text.port);
  if (found) return found.port;
  const known = ports.map(portText).join(", ");
  const has = ports.length === 0 ? "" : `; ports of ${text.text}: ${known}`;
  throw new FlowError(`${text.text}:${text.port}`, `no port of that name${has}`, text.offset);
}

/** What an end stands for, an entry for each address. */
export function resolveEnd(text: EndText, world: World, side: "from" | "to"): FlowEnd[] {
  const fail = (message: string): never => {
    throw new FlowError(text.text, message, text.offset);
  };
  const { end } = text;
  switch (end.kind) {
    case "address": {
      const inside = end.prefix === undefined ? [] : world.within(end.prefix);
      return inside.length ? inside : [addressEnd(end.address, world)];
    }
    case "internet": return world.internet();
    case "word": return world.words.get(end.name) ?? fail(unknownWord(end.name, world));
    case "node": {
      const node = world.nodeNamed(end.name);
      if (node) return node.addresses.map((address) => ({ kind: "node", node, address }));
      const names = world.snapshot.nodes.map(({ name }) => name);
      return fail(`no node of that name${didYouMean(end.name, names)}; nodes: ${listed(names)}`);
    }
    case "namespace": {
      const pods = world.snapshot.pods.filter(({ namespace }) => namespace === end.namespace);
      if (pods.length) return podEnds(pods, fail);
      return fail(unknownNamespace(end.namespace, world) ?? `no pods in ${end.namespace}`);
    }
    case "name": return named(end.namespace, end.name, world, side, fail);
    case "object": return ofKind(end.object, end.namespace, end.name, world, side, fail);
  }
}

/** An address that a pod or a node has is that pod or node. */
export function addressEnd(address: string, world: World): FlowEnd {
  const owner = world.ownerOf(address);
  return owner ?? { kind: "address", address };
}

type Fail = (message: string) => never;

function named(
  namespace: string, name: string, world: World, side: "from" | "to", fail: Fail,
): FlowEnd[] {
  const key = `${namespace}/${name}`;
  const pod = world.pods.get(key);
  if (pod) return podEnds([pod], fail);
  const kinds = world.workloads.get(key);
  if (kinds) return podEnds([...new Set([...kinds.values()].flat())], fail);
  if (world.services.has(key)) return serviceNamed(key, world, side, fail);
  const missing = unknownNamespace(namespace, world);
  if (missing !== undefined) return fail(missing);
  const { names, described } = world.contents(namespace);
  const there = names.length === 0 ? "there is nothing there" : `there are ${listed(described)}`;
  return fail(`no pod, workload or Service of that name in ${namespace}; ${there}` +
    (described.length > LISTED_MAX ? didYouMean(name, names) : ""));
}

function ofKind(
  kind: string, namespace: string, name: string, world: World, side: "from" | "to", fail: Fail,
): FlowEnd[] {
  const key = `${namespace}/${name}`;
  if (kind === "Service" && world.services.has(key)) return serviceNamed(key, world, side, fail);
  const pod = world.pods.get(key);
  if (kind === "Pod" && pod) return podEnds([pod], fail);
  const pods = world.workloads.get(key)?.get(kind);
  if (pods) return podEnds(pods, fail);
  const missing = unknownNamespace(namespace, world);
  if (missing !== undefined) return fail(missing);
  const { names, described } = world.contents(namespace);
  const there = names.length === 0 ? "there is nothing there" : `there are ${listed(described)}`;
  return fail(`no ${kind} of that name in ${namespace}; ${there}`);
}

function podEnds(pods: PodObject[], fail: Fail): FlowEnd[] {
  const ends = pods.flatMap((pod): FlowEnd[] =>
    pod.addresses.map((address) => ({ kind: "pod", pod, address })));
  return ends.length ? ends : fail(`${pods.map(podName).join(", ")}: no address`);
}

/** As a source, a Service is the pods behind it; so is a headless one as a destination. */
function serviceNamed(key: string, world: World, side: "from" | "to", fail: Fail): FlowEnd[] {
  const { addresses, ports } = world.services.get(key)!;
  if (side === "to" && addresses.length) {
    return addresses.map((address) => ({ kind: "service", service: key, address }));
  }
  const names = addresses.flatMap((address) => ports.flatMap(({ protocol, port }) =>
    world.backends(address, protocol, port)));
  const ends = new Map(names.flatMap(({ address }) => {
    const owner = world.ownerOf(address);
    return owner ? [[address, owner] as const] : [];
  }));
  if (ends.size) return [...ends.values()];
  return fail(addresses.length === 0
    ? "a Service without an address (headless); name its pods or workload"
    : "no ready pod is behind that Service");
}

function unknownNamespace(namespace: string, world: World): string | undefined {
  const known = world.namespaces();
  if (known.has(namespace)) return undefined;
  const meant = didYouMean(namespace, known);
  return `no namespace ${namespace}${meant}; there are ${listed([...known].sort())}`;
}

function unknownWord(name: string, world: World): string {
  const known = [...world.words.keys(), "internet"];
  const pods = [...world.namespaces()].filter((namespace) =>
    world.contents(namespace).names.includes(name)).map((namespace) => `${namespace}/${name}`);
  const meant = pods.length ? `; did you mean ${listed(pods)}?` : didYouMean(name, known);
  const tests = world.words.size === 0 ? "" : `; endpoints of the test: ${
    listed([...world.words.keys()])}`;
  return `no endpoint of that name${meant}${tests}; an object is NAMESPACE/NAME`;
}

function listed(names: string[]): string {
  if (names.length === 0) return "none";
  const more = names.length - LISTED_MAX;
  return names.slice(0, LISTED_MAX).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

export { endName };
