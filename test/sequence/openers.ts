// First packets of flows of a random node: from anybody to anything, and those that are to show a
// certain thing of Services and NAT.
import { familyOf } from "../../host/model/address.ts";
import type { Service } from "../../host/model/program.ts";
import type { Spec } from "../packets.ts";
import type { Random } from "../policy/random.ts";
import { HOST } from "../reference/node.ts";
import type { Site } from "../reference/site.ts";
import {
  NODES, OUTSIDE_VIPS, PORTS, REMOTE_PODS, UNSERVED, VIPS,
} from "./services.ts";
import { PEER_UPLINK, podsOf, WORLD } from "./site.ts";

/** A flow's opener, as it sends. */
export interface Flow {
  interface: string;
  spec: Spec;
}
interface Place {
  interface: string;
  address: string;
}
const SOURCE_PORTS = [1000, 40_000, 40_001, 40_002, 51_000, 52_345];

/** Addresses, and where packets from them come in. */
export function placesOf(random: Random, { state, snatAddresses }: Site): Place[] {
  const workloads = [...state.workloads.values()].flatMap((each) =>
    each.addresses.map((address) => ({ interface: each.interface, address })));
  const far = [...WORLD[4], ...WORLD[6], ...WORLD[4], ...WORLD[6]].map((address) =>
    ({ interface: random.chance(0.75) ? "eth0" : PEER_UPLINK, address }));
  const pods = [...REMOTE_PODS[4], ...REMOTE_PODS[6]].map((address) =>
    ({ interface: PEER_UPLINK, address }));
  const nodes = [...snatAddresses, NODES[4], NODES[6]].map((address) =>
    ({ interface: HOST, address }));
  return [...workloads, ...workloads, ...far, ...pods, ...nodes];
}
function podPlace(random: Random, site: Site): Place {
  const pods = placesOf(random, site);
  return random.pick(pods.filter(({ address }) => /^10\.65\.|^fd00:65:/.test(address)));
}

/** From anybody to anything; `midFlow`: a TCP segment to a Service, of a flow begun elsewhere. */
export function anyFlow(
  random: Random, site: Site, midFlow?: { changed: readonly Service[] },
): Flow {
  const { interface: at, address: from } = random.pick(placesOf(random, site));
  const family = familyOf(from);
  const pods = podsOf(site.state)[family];
  const like = site.services.filter((each) => familyOf(each.address) === family && each.port > 0);
  const kind = random.weighted({
    service: !like.length ? 0 : midFlow ? 300 : 48, pod: pods.length ? 16 : 0, world: 26, host: 3,
    vip: 7, remote: 4,
  });
  const protocol = midFlow ? 6 : random.pick([6, 6, 6, 6, 17, 17, 17, 132, 1, 1, 47, 47]);
  const flags = midFlow ? random.pick(["A", "PA", "FA"]) : "S";
  const spec = anySpec(random, from, protocol, flags);
  const to = (address: string, port = spec.port!, number = protocol): Flow =>
    ({ interface: at, spec: withProtocol({ ...spec, to: address, port }, number) });
  if (midFlow) spec.sourcePort = 1024 + random.below(60_000);
  switch (kind) {
    case "service": {
      const tcp = like.filter((each) => each.protocol === 6);
      const other = tcp.filter((each) => midFlow?.changed.includes(each));
      const own = !midFlow ? like : other.length ? other : tcp;
      const { address, port, protocol: number } = random.pick(own.length ? own : like);
      return to(address, port, Number(number));
    }
    case "pod": return to(random.pick(pods), random.pick([...PORTS, 8080, 8081]));
    case "host": return to(NODES[family]);
    case "vip": {
      return to(random.pick([...VIPS[family], ...OUTSIDE_VIPS[family], UNSERVED[family]]));
    }
    case "remote": return to(random.pick(REMOTE_PODS[family]));
    default: return to(random.pick(WORLD[family]));
  }
}
function anySpec(random: Random, from: string, protocol: number, flags: string): Spec {
  const sourcePort = random.pick(protocol === 1 ? [0, 7, 8, 256, 40_000] : SOURCE_PORTS);
  const port = protocol === 17 && random.chance(0.12) ? 9999 : random.pick(PORTS);
  const payload = random.pick([0, 8, 9, 40, 150]);
  return { from, to: "", sourcePort, port, payload, flags, noChecksum: random.chance(0.7) };
}
/** ICMP where it is 1; IPv4's UDP alone may be without a checksum. */
export function withProtocol({ noChecksum, ...spec }: Spec, protocol: number): Spec {
  const bare = noChecksum && protocol === 17 && familyOf(spec.from) === 4;
  return {
    ...spec, protocol: protocol === 1 ? "icmp" : protocol, ...(bare ? { noChecksum } : {}),
  };
}

/** To a Service whose packets go on to their backends' nodes, or that another node passed on. */
export function directFlow(random: Random, site: Site): Flow | undefined {
  const own = site.services.filter((each) => each.dsr);
  if (own.length === 0) return undefined;
  const { address: to, port, protocol } = random.pick(own);
  const from = random.pick(WORLD[familyOf(to)]);
  const at = random.chance(0.42) ? "eth0" : PEER_UPLINK;
  const spec: Spec = { from, to, port, sourcePort: 1024 + random.below(60_000), payload: 8 };
  return { interface: at, spec: withProtocol(spec, Number(protocol)) };
}

/** A pod's to one end beyond, all from one port: so that they want one port of the node's. */
export function crowdedFlow(random: Random, site: Site): Flow {
  const { interface: at, address: from } = podPlace(random, site);
  const to = random.pick(WORLD[familyOf(from)]);
  const spec: Spec = { from, to, sourcePort: 40_001, port: 443, payload: 12, flags: "S" };
  return { interface: at, spec: withProtocol(spec, random.pick([6, 6, 17, 47, 47, 47])) };
}
export function echoFlow(random: Random, site: Site): Flow {
  const { interface: at, address: from } = podPlace(random, site);
  const to = random.pick(WORLD[familyOf(from)]), sourcePort = random.pick([0, 7, 256]);
  return { interface: at, spec: { from, to, protocol: "icmp", sourcePort } };
}

/** SCTP that is rewritten: to a Service, or masqueraded. */
export function sctpFlow(random: Random, site: Site): Flow {
  const own = site.services.filter((each) => each.protocol === 132);
  if (own.length === 0) {
    const { interface: at, spec } = crowdedFlow(random, site);
    const sourcePort = random.pick(SOURCE_PORTS);
    return { interface: at, spec: { ...spec, protocol: 132, sourcePort } };
  }
  const { address: to, port } = random.pick(own);
  const like = placesOf(random, site).filter(({ address }) => familyOf(address) === familyOf(to));
  const { interface: at, address: from } = random.pick(like);
  return { interface: at, spec: { from, to, port, sourcePort: 40_002, protocol: 132 } };
}

/** A pod's to every backend of a Service, then to the Service, all from one port. */
export function flowsAhead(random: Random, site: Site): Flow[] {
  const own = site.services.filter(({ kind, backends, port }) =>
    kind === undefined && port > 0 && backends.length > 0);
  if (own.length === 0 || !site.pods || site.masqueradeAll) return [];
  const service = random.pick(own);
  const like = [...site.state.workloads.values()].flatMap((each) =>
    each.addresses.map((address): Place => ({ interface: each.interface, address })))
    .filter(({ address }) => familyOf(address) === familyOf(service.address));
  if (like.length === 0) return [];
  const { interface: at, address: from } = random.pick(like);
  const sourcePort = 1024 + random.below(60_000);
  return [...service.backends, service].filter(({ address }) => address !== from)
    .map(({ address: to, port }): Flow => ({
      interface: at, spec: { from, to, port, sourcePort, protocol: Number(service.protocol) },
    }));
}

/** To a Service's address, at a port that it has not. */
export function unservedFlow(random: Random, site: Site): Flow {
  const { interface: at, address: from } = random.pick(placesOf(random, site));
  const to = random.pick([...VIPS[familyOf(from)], UNSERVED[familyOf(from)]]);
  const spec: Spec = { from, to, sourcePort: 1024 + random.below(60_000), port: 7777 };
  return { interface: at, spec: withProtocol(spec, random.pick([6, 17, 17, 132])) };
}
