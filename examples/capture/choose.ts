// What the shop's program says of a connection before it is made: it is asked in the Node engine
// about the packet that opens it. The shop is examples/shop, its manifests.

import { Verdict } from "../../assembly/layout.ts";
import { compileProgram, openNode } from "../../host/replay/engines.ts";
import { stateSource } from "../../host/replay/source.ts";
import { readSnapshot } from "../../host/input/snapshot.ts";
import type { Manifest } from "../../host/model/snapshot.ts";
import { readTuple } from "../../host/observe/tuple.ts";
import type { Carriage, Opening, Pod } from "./network.ts";
import { openingPacket } from "./opening.ts";
import { WORLD, WORLD_NAME } from "./visits.ts";
import type { Shop } from "./visits.ts";

export const MANIFESTS = "examples/shop";
const UPLINK = "eth0";

/** What visits are planned by: pods and VIPs of the manifests. */
export interface Manifests extends Shop {
  /** "namespace/pod" of every pod, with its addresses and the TCP ports that it serves. */
  all: { name: string; addresses: string[]; ports: number[] }[];
}

export function readShop(): Manifests {
  const { snapshot } = readSnapshot([MANIFESTS]);
  const name = (of: { namespace: string; name: string }): string => `${of.namespace}/${of.name}`;
  const find = (service: string): Manifest => {
    const found = snapshot.services.find((one) => name(one) === service);
    if (found === undefined) throw new Error(`${MANIFESTS}: there is no Service ${service}`);
    return found;
  };
  return {
    pods: (workload) => snapshot.pods.filter(({ namespace, owner }) =>
      `${namespace}/${owner?.name}` === workload).map((pod) =>
      ({ name: name(pod), addresses: pod.addresses })),
    vips: (service) => (find(service).value["spec"] as { clusterIPs: string[] }).clusterIPs,
    balancers: (service) => {
      const { loadBalancer } = find(service).value["status"] as {
        loadBalancer: { ingress: { ip: string }[] };
      };
      return loadBalancer.ingress.map(({ ip }) => ip);
    },
    all: snapshot.pods.map((pod) => ({
      name: name(pod), addresses: pod.addresses,
      ports: pod.ports.filter(({ protocol }) => protocol === "TCP").map(({ port }) => port),
    })),
  };
}

export interface ShopProgram extends Manifests {
  /** Every pod, and the world, with its interface on the node. */
  places: Pod[];
  /**
   * Where the program sends a connection that a pod opens, and from whom it seems to come; nothing
   * where it denies it.
   */
  choose(pod: string, opening: Opening): Pick<Carriage, "to" | "from">;
}

export async function openShop(): Promise<ShopProgram> {
  const source = await stateSource([MANIFESTS], undefined);
  const dataplane = openNode(await compileProgram(source.program));
  const shop = readShop();
  const names = new Map([...source.interfaces].map(([name, number]) => [number, name]));
  const interfaceOf = new Map(source.program.endpoints.flatMap(({ interfaces, addresses }) =>
    addresses.map((address) => [address.split("/")[0]!, names.get(interfaces[0]!)!] as const)));
  const places: Pod[] = [
    ...shop.all.map(({ name, addresses }) =>
      ({ name, addresses, interface: interfaceOf.get(addresses[0]!)! })),
    { name: WORLD_NAME, interface: UPLINK, addresses: WORLD },
  ];
  const now = Date.now();
  const clock = { nowMs: now % 2 ** 32, nowSeconds: Math.floor(now / 1000) };
  return {
    ...shop,
    places,
    choose: (pod, opening) => {
      const place = places.find(({ name }) => name === pod)!;
      const packet = {
        interface: source.interfaces.get(place.interface)!, bytes: openingPacket(opening),
      };
      const [result] = dataplane.process(0, [packet], clock);
      if (result!.verdict !== Verdict.Pass) return { to: undefined, from: undefined };
      const leaving = readTuple(result!.bytes!)!;
      return {
        to: { address: leaving.destination, port: leaving.destinationPort },
        from: { address: leaving.source, port: leaving.sourcePort },
      };
    },
  };
}
