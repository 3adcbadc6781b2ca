// A Service as a flow's destination: which backends may be chosen for this sender, each of which is
// judged, and at which node a packet from outside comes in.
//
//   sender       kind                 backends that may be chosen        comes in at
//   a pod        any                  the Service's                      its own node
//   its node     any                  the Service's                      its own node
//   outside      policy Local         those of the node it comes in at   the backend's node
//   outside      NodePort             the Service's                      the node that is named
//   outside      the others           the Service's                      the backend's node, and
//                                                                        one where it is not
//
// At another node than the backend's the packet takes that node's address as its source, which the
// policy of the backend's node then sees: both ways are judged. What is chosen is the program's
// choice alone; this only says what to look for.
import type { Backend, Service } from "../model/program.ts";
import { FlowError } from "./flow.ts";
import type { Where } from "./resolve.ts";
import type { FlowEnd, ServiceEnd } from "./types.ts";
import { endName, serviceKey, type World } from "./world.ts";

/** A Service once for each backend behind it; any other end as it is. Throws FlowError. */
export function serviceEnds(
  from: FlowEnd, to: FlowEnd, { protocol, port = 0 }: Where, world: World,
): FlowEnd[] {
  if (to.kind === "pod" && !to.pod.hostNetwork) return [to];
  const home = nodeOf(from), own = nodeOf(to);
  const service = world.service(to.address, protocol.number, port, [home, own]);
  if (!service) {
    // From outside to a port that is nobody's, at an address that is: any node can be asked.
    const of = from.kind === "address" && to.kind === "address" && world.serviceOf(to.address);
    if (of) return [{ kind: "service", service: of, address: to.address, via: to.address }];
    if (to.kind !== "service") return [to];
    throw new FlowError(to.service, `the packet program has no Service at ${to.address} for ` +
      `${protocol.name}; name its pods or workload`);
  }
  const key = serviceKey(service);
  const end: ServiceEnd = { kind: "service", service: key, address: to.address };
  const isNamed = world.services.get(key)?.addresses.includes(to.address);
  if (to.kind === "service" ? to.via !== undefined : !isNamed) end.via = endName(to);
  if (own !== undefined) end.entry = own;
  // A node's own address is inside at home alone: elsewhere nobody can tell it from others.
  const isPod = world.arePodsTold && (from.kind === "pod" ? !from.pod.hostNetwork
    : from.kind === "address" && world.isPooled(from.address));
  const isInside = isPod || (home !== undefined && world.servedAt(
    to.address, protocol.number, port).has(home));
  const found = home !== undefined || own !== undefined
    ? choices(service, isInside).map((backend) => ({ ...end, backend }))
    : fromOutside(end, protocol.number, port, isInside, world);
  if (found.length === 0) return [end];
  return found.map(({ backend, ...rest }): FlowEnd =>
    ({ ...rest, backend: world.backendEnd(backend) }));
}

function choices({ backends, localBackends }: Service, isInside: boolean): Backend[] {
  return isInside ? backends : localBackends ?? backends;
}

type Chosen = ServiceEnd & { backend: Backend };

/** Each backend at its own node, and, where that is let to be, at another one. */
function fromOutside(
  end: ServiceEnd, protocol: number, port: number, isInside: boolean, world: World,
): Chosen[] {
  const served = [...world.servedAt(end.address, protocol, port)];
  const found: Chosen[] = [];
  const seen = new Set<string>();
  for (const [node, service] of served) {
    for (const backend of choices(service, isInside)) {
      const owner = world.ownerOf(backend.address);
      const at = owner && nodeOf(owner);
      const isHere = at === node || (at === undefined || !served.some(([name]) => name === at));
      const key = `${isHere} ${backend.address} ${backend.port}`;
      if (seen.has(key)) continue;
      seen.add(key);
      found.push({ ...end, entry: node, backend } as Chosen);
    }
  }
  // The way that is taken first is the one to the backend's own node.
  return found.sort((a, b) => Number(isAway(a, world)) - Number(isAway(b, world)));
}

function isAway({ entry, backend }: Chosen, world: World): boolean {
  const owner = world.ownerOf(backend.address);
  const at = owner && nodeOf(owner);
  return at !== undefined && at !== entry;
}

/** The node that a pod runs on, or that is the node. */
export function nodeOf(end: FlowEnd): string | undefined {
  if (end.kind === "pod") return end.pod.node;
  return end.kind === "node" ? end.node.name : undefined;
}
