// Services: what they resolve to, from EndpointSlices or, where a Service has none, from the pods
// that its selector selects; and the VIPs of the packet program.
//
//   Service shop/db ─┬─ slices labelled kubernetes.io/service-name=db ─┐
//                    └─ or pods of shop with its selector's labels,     ├─ ServiceEndpoint[]
//                       targetPort by number or by container port's name ┘
//
// Sets of a rule's `services` hold every endpoint, ready or not; VIPs lead to ready ones alone.
// Headless and ExternalName Services have no VIP. Node ports and the like come with NAT.
// Source: Kubernetes core/v1 ServiceSpec, discovery.k8s.io/v1; felix/serviceindex.
import { isIP } from "node:net";
import type { Backend, Service } from "../model/program.ts";
import type { Manifest, PodObject, Snapshot } from "../model/snapshot.ts";
import { isFinished } from "./endpoint.ts";
import { fields, flagAt, listAt, mapAt, numberAt, objectAt, textAt, textsAt } from "./field.ts";
import { plainAddress } from "./net.ts";
import { kubernetesProtocol, type PortProtocol } from "./port.ts";

const SERVICE_NAME_LABEL = "kubernetes.io/service-name";

/** One address of a Service; for a port of it, or, where the Service has none, for none. */
export interface ServiceEndpoint {
  /** "namespace/pod" or the address. */
  name: string;
  address: string;
  ready: boolean;
  /** Name of the Service's port, "" of one without a name. */
  portName: string;
  protocol: PortProtocol;
  /** Absent: the address alone is known. */
  port?: number;
}

/** Endpoints by "namespace/service". */
export function serviceEndpoints(snapshot: Snapshot): Map<string, ServiceEndpoint[]> {
  const endpoints = new Map<string, ServiceEndpoint[]>();
  for (const slice of snapshot.endpointSlices) {
    const name = mapAt(objectAt(slice.value, "metadata"), "labels")[SERVICE_NAME_LABEL];
    if (name === undefined) continue;
    const key = `${slice.namespace}/${name}`;
    endpoints.set(key, [...(endpoints.get(key) ?? []), ...sliceEndpoints(slice)]);
  }
  const pods = new Map<string, PodObject[]>();
  for (const pod of snapshot.pods) {
    const others = pods.get(pod.namespace);
    if (others) others.push(pod);
    else pods.set(pod.namespace, [pod]);
  }
  for (const service of snapshot.services) {
    const key = `${service.namespace}/${service.name}`;
    if (endpoints.has(key)) continue;
    endpoints.set(key, podEndpoints(service, pods.get(service.namespace) ?? []));
  }
  return endpoints;
}

/** In the order of Services, their addresses and ports; backends in order of name and address. */
export function programServices(
  snapshot: Snapshot, endpoints: ReadonlyMap<string, ServiceEndpoint[]>,
): Service[] {
  return snapshot.services.flatMap((manifest) => {
    const spec = objectAt(manifest.value, "spec");
    if (textAt(spec, "type") === "ExternalName") return [];
    const key = `${manifest.namespace}/${manifest.name}`;
    const several = textsAt(spec, "clusterIPs");
    const addresses = (several.length > 0 ? several : [textAt(spec, "clusterIP")])
      .filter((address) => isIP(address) !== 0).map(plainAddress);
    return addresses.flatMap((address) => listAt(spec, "ports").flatMap((value): Service[] => {
      const port = fields(value);
      const number = numberAt(port, "port");
      const protocol = kubernetesProtocol(port?.["protocol"]);
      // The packet program serves no SCTP.
      if (number === undefined || (protocol !== "tcp" && protocol !== "udp")) return [];
      const portName = textAt(port, "name");
      const backends = (endpoints.get(key) ?? [])
        .filter((each) => each.ready && each.port !== undefined && each.portName === portName)
        .filter((each) => each.protocol === protocol && isIP(each.address) === isIP(address))
        .map(({ name, address: at, port: to }): Backend => ({ name, address: at, port: to! }));
      const name = `${key}:${portName === "" ? number : portName}`;
      return [{ name, address, port: number, protocol, backends: distinct(backends) }];
    }));
  });
}

function distinct(backends: Backend[]): Backend[] {
  const byPlace = new Map(backends.map((each) => [`${each.address} ${each.port}`, each]));
  const key = ({ name, address, port }: Backend): string => `${name} ${address} ${port}`;
  return [...byPlace.values()].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

function sliceEndpoints(slice: Manifest): ServiceEndpoint[] {
  const ports = listAt(slice.value, "ports").map((value) => fields(value));
  return listAt(slice.value, "endpoints").flatMap((value) => {
    const endpoint = fields(value);
    const target = objectAt(endpoint, "targetRef");
    const pod = textAt(target, "kind") === "Pod" ? textAt(target, "name") : "";
    const ready = objectAt(endpoint, "conditions")["ready"] !== false;
    // A slice may hold names of hosts (addressType FQDN).
    const addresses = textsAt(endpoint, "addresses").filter((each) => isIP(each) !== 0);
    return addresses.map(plainAddress).flatMap((address) => {
      const name = pod === "" ? address : `${slice.namespace}/${pod}`;
      const base = { name, address, ready };
      if (ports.length === 0) return [{ ...base, portName: "", protocol: "any" as const }];
      return ports.map((port): ServiceEndpoint => {
        const number = numberAt(port, "port");
        const protocol = kubernetesProtocol(port?.["protocol"]);
        const named = { ...base, portName: textAt(port, "name"), protocol };
        return number === undefined ? named : { ...named, port: number };
      });
    });
  });
}

function podEndpoints(service: Manifest, pods: PodObject[]): ServiceEndpoint[] {
  const spec = objectAt(service.value, "spec");
  const wanted = Object.entries(mapAt(spec, "selector"));
  if (wanted.length === 0) return [];
  const early = flagAt(spec, "publishNotReadyAddresses");
  return pods.filter((pod) => !isFinished(pod)).flatMap((pod) => {
    if (!wanted.every(([name, value]) => pod.labels[name] === value)) return [];
    const ports = listAt(spec, "ports");
    if (ports.length === 0) return addressesOf(pod, early);
    return ports.flatMap((value) => {
      const port = fields(value);
      const protocol = kubernetesProtocol(port?.["protocol"]);
      const number = targetPort(pod, port?.["targetPort"] ?? port?.["port"], protocol);
      if (number === undefined) return [];
      return addressesOf(pod, early).map((endpoint): ServiceEndpoint => {
        return { ...endpoint, portName: textAt(port, "name"), protocol, port: number };
      });
    });
  });
}

function addressesOf(pod: PodObject, early: boolean): ServiceEndpoint[] {
  return pod.addresses.map((address) => ({
    name: `${pod.namespace}/${pod.name}`, address: plainAddress(address),
    ready: pod.ready || early, portName: "", protocol: "any",
  }));
}

function targetPort(pod: PodObject, target: unknown, protocol: PortProtocol): number | undefined {
  if (typeof target === "number") return target;
  const named = pod.ports.find((port) => {
    return port.name === target && port.protocol.toLowerCase() === protocol;
  });
  return named?.port;
}
