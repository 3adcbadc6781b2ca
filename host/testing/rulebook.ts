// Which rules can bear on a flow between two ends, out of the programs that the nodes run, and the
// boundaries that they name. It decides nothing: it says where verdicts may change.
//
//   end ─ endpoint of its node's program ─ hooks ─ policies ─ rules ─ cuts.ts, addresses.ts
//
// For a flow all hooks of both endpoints count, and those of the uplinks and hosts of both nodes: a
// boundary too many costs a packet, one too few would leave a class untried. A user's own module
// names its boundaries to nobody; it is reported (blind).
import type { FlowEnd } from "../cluster/types.ts";
import type { Chain, Endpoint, Hooks, Policy, Program, ProgramRule, UserPolicy } from
  "../model/program.ts";
import { protocolNumber } from "../model/rule.ts";
import type { LabelledPrefix } from "./addresses.ts";
import { TrafficCuts } from "./cuts.ts";

type AnyPolicy = Policy | UserPolicy | Chain;
const HOOKS: (keyof Hooks)[] = [
  "egress", "ingress", "forwardEgress", "forwardIngress", "untrackedEgress", "untrackedIngress",
  "preDnat",
];

/** A policy of a node's program, without chains. */
interface Unit {
  /** Distinct over all nodes. */
  key: string;
  policy: Policy | UserPolicy;
  node: NodeBook;
}

type Side = "source" | "destination";

/** A set of addresses with ports, and the side that rules ask it about. */
interface NamedSet {
  side: Side;
  set: string;
}

interface NamedPort {
  protocol: number;
  port: number;
}

/** One node's program, indexed. */
class NodeBook {
  readonly units = new Map<string, Unit[]>();
  readonly byAddress = new Map<string, Endpoint>();
  readonly passages: Endpoint[] = [];
  private readonly members = new Map<string, Map<string, NamedPort[]>>();
  private readonly cutsOf = new Map<string, TrafficCuts>();
  private readonly unitsAt = new Map<Endpoint, Unit[]>();
  private readonly namedOf = new Map<string, NamedSet[]>();

  constructor(readonly name: string, readonly program: Program) {
    const policies = new Map(program.policies.map((policy) => [policy.name, policy]));
    for (const endpoint of program.endpoints) {
      if (endpoint.kind === "workload") {
        for (const address of endpoint.addresses) this.byAddress.set(address, endpoint);
      } else this.passages.push(endpoint);
    }
    for (const policy of program.policies) {
      this.units.set(policy.name, leaves(policy, policies).map((leaf) => (
        { key: `${name}\n${leaf.name}`, policy: leaf, node: this })));
    }
  }

  /** The units that an endpoint's hooks name. */
  unitsOf(endpoint: Endpoint): Unit[] {
    let units = this.unitsAt.get(endpoint);
    if (units) return units;
    units = HOOKS.flatMap((hook) => {
      const name = endpoint[hook];
      return name === undefined ? [] : this.units.get(name) ?? [];
    });
    this.unitsAt.set(endpoint, units);
    return units;
  }

  /** The sets of addresses with ports that a unit's rules name. */
  namedSets({ key, policy }: Unit): NamedSet[] {
    let sets = this.namedOf.get(key);
    if (sets) return sets;
    const found = new Map<string, NamedSet>();
    for (const rule of rulesOf(policy)) {
      const add = (side: Side, ids: string[] | undefined): void => {
        for (const set of ids ?? []) found.set(`${side} ${set}`, { side, set });
      };
      add("destination", rule.destinationNamedPorts);
      add("destination", rule.notDestinationNamedPorts);
      add("destination", rule.destinationPortSets);
      add("source", rule.sourceNamedPorts);
      add("source", rule.notSourceNamedPorts);
    }
    sets = [...found.values()];
    this.namedOf.set(key, sets);
    return sets;
  }

  /** What a unit's rules name but for named ports. */
  cuts({ key, policy }: Unit): TrafficCuts {
    let cuts = this.cutsOf.get(key);
    if (cuts) return cuts;
    cuts = new TrafficCuts();
    for (const rule of rulesOf(policy)) cuts.addRule(rule);
    this.cutsOf.set(key, cuts);
    return cuts;
  }

  /** The ports that a set of addresses with ports gives to an address. */
  namedPorts(set: string, address: string): NamedPort[] {
    let members = this.members.get(set);
    if (!members) {
      members = new Map();
      const found = this.program.sets?.find(({ id }) => id === set);
      for (const member of found?.type === "ip-port" ? found.members : []) {
        const [of, where] = member.split(",") as [string, string];
        const [protocol, port] = where.split(":") as [string, string];
        const number = /^\d+$/.test(protocol) ? Number(protocol)
          : protocolNumber(protocol as "tcp");
        const named = { protocol: number, port: Number(port) };
        members.set(of, [...(members.get(of) ?? []), named]);
      }
      this.members.set(set, members);
    }
    return members.get(address) ?? [];
  }
}

export class RuleBook {
  private readonly nodes = new Map<string, NodeBook>();
  private readonly merged = new Map<string, TrafficCuts>();

  constructor(programs: ReadonlyMap<string, Program>) {
    for (const [name, program] of programs) this.nodes.set(name, new NodeBook(name, program));
  }

  /** All boundaries of traffic between two ends. */
  cuts(from: FlowEnd, to: FlowEnd): TrafficCuts {
    const units = this.unitsBetween(from, to);
    const named = units.flatMap((unit) => unit.node.namedSets(unit).flatMap(({ side, set }) => {
      const { address } = side === "source" ? from : to;
      return unit.node.namedPorts(set, address).map((port) => ({ ...port, side }));
    }));
    const key = [...units.map((unit) => unit.key), ...named.map(({ side, protocol, port }) =>
      `${side} ${protocol} ${port}`)].join("\n\n");
    const known = this.merged.get(key);
    if (known) return known;
    const cuts = new TrafficCuts();
    for (const unit of units) cuts.addAll(unit.node.cuts(unit));
    for (const { side, protocol, port } of named) {
      const cut = side === "source" ? cuts.sourcePorts : cuts.ports;
      cut.get(protocol)?.add({ first: port, last: port });
    }
    this.merged.set(key, cuts);
    return cuts;
  }

  /** Prefixes by which rules tell the sources of flows to these ends apart, own sets included. */
  sourcePrefixes(targets: readonly FlowEnd[]): LabelledPrefix[] {
    const units = new Map(targets.flatMap((to) =>
      this.unitsBetween(undefined, to).map((unit) => [unit.key, unit] as const)));
    return prefixes([...units.values()], ["source"]);
  }

  /** Prefixes that any rule of any node names, of either end. */
  allPrefixes(): LabelledPrefix[] {
    const units = [...this.nodes.values()].flatMap((node) => [...node.units.values()].flat());
    return [...prefixes(units, ["source", "destination"]), ...this.sourceRanges()];
  }

  /** Prefixes of clients that Services let in (loadBalancerSourceRanges). */
  private sourceRanges(): LabelledPrefix[] {
    return [...this.nodes.values()].flatMap(({ program: { services, sets = [] } }) => {
      const ids = new Set(services.flatMap(({ sourceRanges }) => sourceRanges ?? []));
      return sets.filter(({ id }) => ids.has(id)).flatMap(({ id, members }) =>
        [...members].map((prefix) => ({ prefix, label: `set ${id}` })));
    });
  }

  /** Names of users' modules that judge flows to these ends. */
  blind(targets: readonly FlowEnd[]): string[] {
    return [...new Set(targets.flatMap((to) => this.unitsBetween(undefined, to))
      .flatMap(({ policy }) => "wasm" in policy ? [authorsName(policy)] : []))];
  }

  /** The units of both ends, and of what lies between them; each once. */
  private unitsBetween(from: FlowEnd | undefined, to: FlowEnd): Unit[] {
    const units = new Map<string, Unit>();
    const add = (node: NodeBook, endpoint: Endpoint): void => {
      for (const unit of node.unitsOf(endpoint)) units.set(unit.key, unit);
    };
    for (const end of from === undefined ? [to] : [from, to]) {
      const node = this.nodes.get(nodeOf(end) ?? "");
      if (node) {
        const own = end.kind === "pod" ? node.byAddress.get(end.address) : undefined;
        if (own) add(node, own);
        for (const endpoint of node.passages) add(node, endpoint);
      }
    }
    return [...units.values()];
  }
}

/** "ModulePolicy office-hours", without what tells its versions apart. */
function authorsName({ name }: UserPolicy): string {
  return name.split(" ").slice(0, 2).join(" ");
}

function nodeOf(end: FlowEnd): string | undefined {
  return end.kind === "pod" ? end.pod.node : end.kind === "node" ? end.node.name : undefined;
}

function leaves(policy: AnyPolicy, all: ReadonlyMap<string, AnyPolicy>): (Policy | UserPolicy)[] {
  if (!("steps" in policy)) return [policy];
  return policy.steps.flatMap((step) => {
    const found = all.get(step.policy);
    return found === undefined || "steps" in found ? [] : [found];
  });
}

function rulesOf(policy: Policy | UserPolicy): ProgramRule[] {
  return "rules" in policy ? policy.rules : [];
}

function prefixes(
  units: readonly Unit[], sides: readonly Side[],
): LabelledPrefix[] {
  const found = new Map<string, LabelledPrefix>();
  const sets = new Map<string, { node: NodeBook; id: string }>();
  for (const { policy, node } of units) {
    for (const rule of rulesOf(policy)) {
      for (const side of sides) {
        const [nets, notNets, ids, notIds] = side === "source"
          ? [rule.source, rule.notSource, rule.sourceSets, rule.notSourceSets]
          : [rule.destination, rule.notDestination, rule.destinationSets,
            rule.notDestinationSets];
        for (const prefix of [...nets ?? [], ...notNets ?? []]) {
          found.set(prefix, { prefix, label: `net ${prefix}` });
        }
        for (const id of [...ids ?? [], ...notIds ?? []]) {
          sets.set(`${node.name}\n${id}`, { node, id });
        }
      }
    }
  }
  const members = [...sets.values()].flatMap(({ node, id }) => {
    const set = node.program.sets?.find((each) => each.id === id);
    if (set === undefined || set.type === "ip-port") return [];
    return [...set.members].map((prefix) => ({ prefix, label: `set ${id}` }));
  });
  return [...found.values(), ...members];
}
