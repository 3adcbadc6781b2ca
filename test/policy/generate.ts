// Random pairs of a node's state and packets, from a seed. What is generated is biased: rules are
// written around a few flows, packets are those flows or one step from them; the rest bears one
// fault, each drop reason in turn.
import type { NodeDevices, NodeState } from "../../host/model/state.ts";
import { packet } from "../packets.ts";
import { HOST } from "../reference/policy.ts";
import { dressed, FAULTS, nearFlow, specOf, type Flow, type Place } from "./flow.ts";
import { Random } from "./random.ts";
import { PEERS, randomWorld, type World } from "./state.ts";

export interface Case {
  seed: number;
  state: NodeState;
  devices: NodeDevices;
  packets: Packet[];
}
export interface Packet {
  /** Name of the interface; HOST for the node's own. */
  interface: string;
  bytes: Uint8Array;
}

const FAILSAFE_PORTS = [
  [6, 22], [17, 68], [6, 179], [6, 6443], [17, 53], [17, 67], [6, 8080], [132, 80],
] as const;

/** What a packet is meant to show; the weights are shares of a hundred. */
const KINDS: Record<string, number> = {
  flow: 44, near: 30,
  ...Object.fromEntries(Object.keys(FAULTS).map((name) => [name, 1.15])),
  BadChecksum: 1.8, ExtensionHeader: 1.8, RoutingHeader: 1.8, HeadersTooLong: 1.8,
  MappedAddress: 1.8, NoSession: 1.5, SpoofedSource: 2.4,
  toHost: 2.5, encapsulated: 2, encapsulatedToHost: 4.5, service: 4, inactive: 1.5, failsafe: 3,
};

export function generate(seed: number, packets: number): Case {
  const random = new Random(seed);
  const world = randomWorld(random);
  const one = (): Packet => randomPacket(random.fork(), world);
  return {
    seed, state: world.state, devices: world.devices,
    packets: Array.from({ length: packets }, one),
  };
}

function randomPacket(random: Random, world: World): Packet {
  const { flows, sources, targets, state } = world;
  const flow = random.pick(flows);
  const kind = random.weighted(KINDS);
  const of = (from: Flow): Packet => ({
    interface: from.interface, bytes: packet(dressed(random, specOf(elsewhere(from, targets)))),
  });
  const fault = FAULTS[kind];
  if (fault) {
    const whole = elsewhere(sixOften(random, kind, flows, flow), targets);
    const { bytes, interface: at } = fault(random, whole);
    return { interface: at ?? flow.interface, bytes };
  }
  switch (kind) {
    case "flow": return of(flow);
    case "near": return of(nearFlow(random, flow, sources, targets));
    case "service": {
      const services = state.services.filter((each) => sources.some((from) => like(from, each)));
      if (services.length === 0) return of(flow);
      const { address: to, port, protocol } = random.pick(services);
      const { interface: at, address: from } =
        random.pick(sources.filter((each) => like(each, { address: to })));
      return of({ ...flow, interface: at, from, to, port, protocol: Number(protocol) });
    }
    case "failsafe": {
      const inward = random.chance(0.6);
      const at = sources.filter((each) => inward === each.interface.startsWith("eth") &&
        inward !== (each.interface === HOST));
      const nodes = world.devices.uplinks.flatMap((each) => each.addresses);
      const [protocol, port] = random.pick(FAILSAFE_PORTS);
      const reply = random.chance(0.25);
      return of({
        ...flow, ...between(random, at, inward && random.chance(0.7) ? nodes : targets), protocol,
        ...(reply ? { sourcePort: port } : { port }),
      });
    }
    case "inactive": {
      const dead = [...state.workloads.values()].filter((each) => !each.active);
      const to = dead.flatMap((each) => each.addresses.map((text) => text.split("/")[0]!))
        .find((each) => like({ address: each }, { address: flow.from }));
      return of(to ? { ...flow, to } : flow);
    }
    case "encapsulated": {
      const places = sources.filter((each) => each.interface.startsWith("cali"));
      return of(encapsulated(random, world, { ...flow, ...between(random, places, targets) }));
    }
    case "encapsulatedToHost": {
      const places = sources.filter((each) => each.interface.startsWith("eth"));
      const known = places.filter((each) => PEERS.includes(each.address));
      const nodes = world.devices.uplinks.flatMap((each) => each.addresses);
      const from = random.chance(0.4) ? known : places;
      return of(encapsulated(random, world, { ...flow, ...between(random, from, nodes) }));
    }
    default: { // toHost
      const places = sources.filter((each) => each.interface.startsWith("cali"));
      const nodes = world.devices.uplinks.flatMap((each) => each.addresses);
      return of({ ...flow, ...between(random, places, nodes) });
    }
  }
}

/** What an endpoint sends to itself never comes to a dataplane; its tuple may be its reply's. */
function elsewhere(flow: Flow, targets: string[]): Flow {
  if (flow.from !== flow.to) return flow;
  const to = targets.find((each) => each !== flow.from &&
    like({ address: each }, { address: flow.from }));
  return { ...flow, to: to! };
}
/** Faults of one family alone are made where a flow of it is. */
function sixOften(random: Random, kind: string, flows: Flow[], flow: Flow): Flow {
  const six = flows.filter((each) => each.from.includes(":"));
  const four = flows.filter((each) => !each.from.includes(":"));
  const wanted = kind === "BadChecksum" ? four
    : ["ExtensionHeader", "RoutingHeader", "HeadersTooLong", "MappedAddress"].includes(kind)
      ? six : [];
  return wanted.length ? random.pick(wanted) : flow;
}
const like = (a: { address: string }, b: { address: string }): boolean =>
  a.address.includes(":") === b.address.includes(":");

function between(
  random: Random, places: Place[], targets: string[],
): Pick<Flow, "interface" | "from" | "to"> {
  const { interface: at, address: from } = random.pick(places);
  const to = random.pick(targets.filter((each) => like({ address: each }, { address: from })));
  return { interface: at, from, to };
}
function encapsulated(random: Random, { state }: World, flow: Flow): Flow {
  const port = Number(state.config.get("VXLANPort") ?? 4789);
  return random.chance(0.6) ? { ...flow, protocol: 17, port } : { ...flow, protocol: 4 };
}
