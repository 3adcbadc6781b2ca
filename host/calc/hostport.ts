// hostPort: ports of a node's addresses that lead to one of its pods.
//
//   pod shop/web, containerPort 8080, hostPort 80 ─► node address : 80 ─► pod address : 8080
//   hostIP names one of the addresses; 0.0.0.0, :: and nothing mean all of the pod's family
//
// Ready or not, for the CNI plugin that does it elsewhere knows no readiness. Clients keep their
// source. Source: Kubernetes core/v1 ContainerPort; containernetworking plugins/meta/portmap.
import type { Service } from "../model/program.ts";
import type { PodObject } from "../model/snapshot.ts";
import { isFinished } from "./endpoint.ts";
import { packetFamily, plainAddress } from "./net.ts";
import { kubernetesProtocol, packetPort } from "./port.ts";

const ANY = new Set(["", "0.0.0.0", "::"]);

/** `pods`: of the node, whose addresses are in their one spelling. */
export function hostPorts(pods: readonly PodObject[], nodeAddresses: readonly string[]): Service[] {
  return pods.filter((pod) => !pod.hostNetwork && !isFinished(pod)).flatMap((pod) => {
    const name = `${pod.namespace}/${pod.name}`;
    return pod.ports.flatMap(({ port, protocol, hostPort, hostIP = "" }): Service[] => {
      if (packetPort(hostPort) === undefined || packetPort(port) === undefined) return [];
      const frontends = ANY.has(hostIP) ? nodeAddresses
        : packetFamily(hostIP) === 0 ? [] : [plainAddress(hostIP)];
      return frontends.flatMap((address) => pod.addresses
        .filter((each) => packetFamily(each) === packetFamily(address)).slice(0, 1)
        .map((each): Service => ({
          name: `${name} hostPort ${hostPort}`, address, port: hostPort!, kind: "host-port",
          protocol: kubernetesProtocol(protocol) as Service["protocol"],
          backends: [{ name, address: plainAddress(each), port }],
        })));
    });
  });
}
