// An author's rule → a rule over sets, as Felix makes it.
//
//   selector, not selector  → a set of addresses "s:…", or in `not…Sets`
//   named ports             → sets "n:…" of (address, protocol, port), already filtered by the
//                             selector of their side, which then stands by itself only beside
//                             numbered ports
//   services                → destination "svc:…" with ports, source "svcnoport:…"
//   nodes                   → a set "nodes:…" of the nodes' addresses
//
// Source: projectcalico felix/calc/{rule_scanner,rule_convert}.go.
import type { IcmpMatch, Origin, Protocol, Rule } from "../model/rule.ts";
import { combined, entitySelector, type Entity } from "./entity.ts";
import { uniqueId } from "./identity.ts";
import { portProtocol, portText, type PortMatch, type PortProtocol } from "./port.ts";
import { Selector } from "./selector/selector.ts";

/** A rule as an author of Calico's kinds says it; other kinds are said in its terms. */
export interface RuleSpec {
  action: Rule["action"];
  ipVersion?: 4 | 6;
  protocol?: Protocol;
  notProtocol?: Protocol;
  icmp?: IcmpMatch;
  notIcmp?: IcmpMatch;
  source: Entity;
  destination: Entity;
  origin: Origin;
}

/** What a set holds. */
export type SetDefinition =
  | { kind: "selector"; id: string; selector: Selector }
  | { kind: "port"; id: string; selector: Selector; protocol: PortProtocol; port: string }
  | { kind: "service"; id: string; service: string; ports: boolean }
  | { kind: "nodes"; id: string; selector: Selector };

export function selectorSet(selector: Selector): SetDefinition {
  return { kind: "selector", id: selector.id, selector };
}

function portSet(selector: Selector, protocol: PortProtocol, port: string): SetDefinition {
  const id = uniqueId("n", `${selector.id},${protocol},${port}`);
  return { kind: "port", id, selector, protocol, port };
}

function serviceSet(service: string, ports: boolean): SetDefinition {
  return { kind: "service", id: uniqueId(ports ? "svc" : "svcnoport", service), service, ports };
}

function nodeSet(selector: Selector): SetDefinition {
  return { kind: "nodes", id: uniqueId("nodes", selector.canonical), selector };
}

interface Side {
  nets: string[];
  notNets: string[];
  ports: (number | string)[];
  notPorts: (number | string)[];
  sets: string[];
  notSets: string[];
  named: string[];
  notNamed: string[];
}

/** The rule; the sets that it names are put into `sets`. Throws a SelectorError. */
export function ruleOf(
  spec: RuleSpec, namespace: string, sets: Map<string, SetDefinition>,
): Rule {
  const scope: Scope = { protocol: spec.protocol, namespace, sets };
  const source = sideOf(spec.source, scope);
  const destination = sideOf(spec.destination, scope);
  const services: string[] = [];
  const { service: from } = spec.source;
  const { service: to } = spec.destination;
  if (from) source.sets.push(keep(serviceSet(`${from.namespace}/${from.name}`, false), sets));
  if (to) services.push(keep(serviceSet(`${to.namespace}/${to.name}`, true), sets));
  const rule: Rule = { action: spec.action };
  put(rule, "ipVersion", spec.ipVersion ?? familyOf(spec.protocol));
  put(rule, "protocol", spec.protocol);
  put(rule, "notProtocol", spec.notProtocol);
  put(rule, "icmp", spec.icmp);
  put(rule, "notIcmp", spec.notIcmp);
  put(rule, "source", source.nets);
  put(rule, "notSource", source.notNets);
  put(rule, "destination", destination.nets);
  put(rule, "notDestination", destination.notNets);
  put(rule, "sourceSets", source.sets);
  put(rule, "notSourceSets", source.notSets);
  put(rule, "destinationSets", destination.sets);
  put(rule, "notDestinationSets", destination.notSets);
  put(rule, "destinationPortSets", services);
  put(rule, "sourcePorts", source.ports);
  put(rule, "notSourcePorts", source.notPorts);
  put(rule, "destinationPorts", destination.ports);
  put(rule, "notDestinationPorts", destination.notPorts);
  put(rule, "sourceNamedPorts", source.named);
  put(rule, "notSourceNamedPorts", source.notNamed);
  put(rule, "destinationNamedPorts", destination.named);
  put(rule, "notDestinationNamedPorts", destination.notNamed);
  rule.origin = spec.origin;
  return rule;
}

interface Scope {
  protocol: Protocol | undefined;
  namespace: string;
  sets: Map<string, SetDefinition>;
}

function sideOf(entity: Entity, { protocol, namespace, sets }: Scope): Side {
  const { is, not } = combined(entitySelector(entity, namespace), entity.notSelector);
  const selector = is === "" ? undefined : Selector.parse(is);
  const ports = split(entity.ports);
  const notPorts = split(entity.notPorts);
  const named = (names: string[]): string[] => names.map((name) => {
    const among = selector ?? Selector.parse("all()");
    return keep(portSet(among, portProtocol(protocol), name), sets);
  });
  const alone = ports.numbers.length > 0 || ports.names.length === 0;
  const inSets = selector && alone ? [keep(selectorSet(selector), sets)] : [];
  if (entity.nodes) inSets.push(keep(nodeSet(entity.nodes), sets));
  return {
    nets: entity.nets,
    notNets: entity.notNets,
    ports: ports.numbers,
    notPorts: notPorts.numbers,
    sets: inSets,
    notSets: not === "" ? [] : [keep(selectorSet(Selector.parse(not)), sets)],
    named: named(ports.names),
    notNamed: named(notPorts.names),
  };
}

/** Absent values and empty lists say nothing, and are left out. */
function put(rule: Rule, name: keyof Rule, value: unknown): void {
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return;
  (rule as unknown as Record<string, unknown>)[name] = value;
}

function keep(definition: SetDefinition, sets: Map<string, SetDefinition>): string {
  sets.set(definition.id, definition);
  return definition.id;
}

function split(ports: PortMatch[]): { numbers: (number | string)[]; names: string[] } {
  const numbers: (number | string)[] = [];
  const names: string[] = [];
  for (const port of ports) {
    if (port.name !== undefined) names.push(port.name);
    else numbers.push(portText(port));
  }
  return { numbers, names };
}

function familyOf(protocol: Protocol | undefined): 4 | 6 | undefined {
  if (protocol === "icmp") return 4;
  return protocol === "icmpv6" || protocol === "icmp6" ? 6 : undefined;
}
