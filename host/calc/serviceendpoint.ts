// What a Service resolves to: its EndpointSlices or, where it has none, the pods that its selector
// selects.
//
//   Service shop/db ─┬─ slices labelled kubernetes.io/service-name=db ─┐
//                    └─ or pods of shop with its selector's labels,     ├─ ServiceEndpoint[]
//                       targetPort by number or by container port's name ┘
//
// Conditions of a slice: ready and serving where they say nothing, not terminating. A pod that is
// being deleted terminates, and serves as long as it is Ready. Pods bear the hints that the slices'
// controller would give for the Service's trafficDistribution.
//
// A pod's annotation `lb.margay.io/weight: "3"` gives it that many shares of new flows, 1 to 100.
// Source: Kubernetes core/v1 ServiceSpec, discovery.k8s.io/v1; pkg/proxy/endpointslicecache.go,
// k8s.io/endpointslice/trafficdist; felix/serviceindex.
import type { Manifest, PodObject, Snapshot } from "../model/snapshot.ts";
import { isFinished } from "./endpoint.ts";
import { fields, flagAt, listAt, mapAt, objectAt, textAt, textsAt } from "./field.ts";
import type { Fields } from "./field.ts";
import { packetFamily, plainAddress } from "./net.ts";
import { kubernetesProtocol, packetPort, type PortProtocol } from "./port.ts";
import type { Report } from "./report.ts";
import type { Categorized } from "./topology.ts";

const SERVICE_NAME_LABEL = "kubernetes.io/service-name";
export const ZONE_LABEL = "topology.kubernetes.io/zone";
const WEIGHT_ANNOTATION = "lb.margay.io/weight";
const WEIGHT_MAX = 100;

/** One address of a Service; for a port of it, or, where the Service has none, for none. */
export interface ServiceEndpoint extends Categorized {
  /** "namespace/pod" or the address. */
  name: string;
  address: string;
  /** Shares of new flows; 1 when absent. */
  weight?: number;
  /** Name of the Service's port, "" of one without a name. */
  portName: string;
  protocol: PortProtocol;
  /** Absent: the address alone is known. */
  port?: number;
}

/** Endpoints by "namespace/service". */
export function serviceEndpoints(
  snapshot: Snapshot, report?: Report,
): Map<string, ServiceEndpoint[]> {
  const endpoints = new Map<string, ServiceEndpoint[]>();
  const weights = podWeights(snapshot, report);
  for (const slice of snapshot.endpointSlices) {
    const name = mapAt(objectAt(slice.value, "metadata"), "labels")[SERVICE_NAME_LABEL];
    if (name === undefined) continue;
    const key = `${slice.namespace}/${name}`;
    const known = endpoints.get(key);
    const found = sliceEndpoints(slice, weights);
    if (known) known.push(...found);
    else endpoints.set(key, found);
  }
  const pods = new Map<string, PodObject[]>();
  for (const pod of snapshot.pods) {
    const others = pods.get(pod.namespace);
    if (others) others.push(pod);
    else pods.set(pod.namespace, [pod]);
  }
  const zones = new Map(snapshot.nodes.map(({ name, labels }) => [name, labels[ZONE_LABEL] ?? ""]));
  for (const service of snapshot.services) {
    const key = `${service.namespace}/${service.name}`;
    if (endpoints.has(key)) continue;
    const own = pods.get(service.namespace) ?? [];
    endpoints.set(key, podEndpoints(service, own, zones, weights));
  }
  return endpoints;
}

/** Weights by "namespace/pod", of those that have one. */
function podWeights(snapshot: Snapshot, report: Report | undefined): Map<string, number> {
  const weights = new Map<string, number>();
  for (const { namespace, name, annotations, manifest } of snapshot.pods) {
    const text = annotations[WEIGHT_ANNOTATION];
    if (text === undefined) continue;
    const weight = /^\d+$/.test(text) ? Number(text) : 0;
    if (weight >= 1 && weight <= WEIGHT_MAX) weights.set(`${namespace}/${name}`, weight);
    else if (manifest) {
      report?.error(manifest, ["metadata", "annotations", WEIGHT_ANNOTATION],
        `"${text}" is no weight: 1 to ${WEIGHT_MAX}`);
    }
  }
  return weights;
}

function sliceEndpoints(
  slice: Manifest, weights: ReadonlyMap<string, number>,
): ServiceEndpoint[] {
  const ports = listAt(slice.value, "ports").map((value) => slicePort(fields(value)));
  if (ports.length === 0) ports.push({ portName: "", protocol: "any", port: undefined });
  // A slice may hold names of hosts (addressType FQDN).
  const family = { IPv4: 4, IPv6: 6, FQDN: -1 }[textAt(slice.value, "addressType")];
  const endpoints: ServiceEndpoint[] = [];
  for (const value of listAt(slice.value, "endpoints")) {
    const endpoint = fields(value);
    const conditions = objectAt(endpoint, "conditions");
    const target = objectAt(endpoint, "targetRef");
    const isPod = textAt(target, "kind") === "Pod";
    const pod = isPod ? `${slice.namespace}/${textAt(target, "name")}` : "";
    const weight = weights.get(pod);
    const node = textAt(endpoint, "nodeName");
    const ready = conditions["ready"] !== false, serving = conditions["serving"] !== false;
    const terminating = flagAt(conditions, "terminating");
    const nodeHints = hintsAt(endpoint, "forNodes"), zoneHints = hintsAt(endpoint, "forZones");
    for (const text of textsAt(endpoint, "addresses")) {
      const own = packetFamily(text);
      if (own === 0 || (family !== undefined && family !== own)) continue;
      const address = own === 4 ? text : plainAddress(text);
      for (const { portName, protocol, port } of ports) {
        const made: ServiceEndpoint = {
          name: pod === "" ? address : pod, address, ready, serving, terminating, node, nodeHints,
          zoneHints, portName, protocol,
        };
        if (port !== undefined) made.port = port;
        if (weight !== undefined) made.weight = weight;
        endpoints.push(made);
      }
    }
  }
  return endpoints;
}

function slicePort(
  port: Fields | undefined,
): Pick<ServiceEndpoint, "portName" | "protocol"> & { port: number | undefined } {
  const protocol = kubernetesProtocol(port?.["protocol"]);
  return { portName: textAt(port, "name"), protocol, port: packetPort(port?.["port"]) };
}

const NONE: readonly string[] = [];

function hintsAt(endpoint: Fields | undefined, name: string): readonly string[] {
  if (endpoint?.["hints"] === undefined) return NONE;
  return listAt(objectAt(endpoint, "hints"), name).map((each) => textAt(fields(each), "name"));
}

function podEndpoints(
  service: Manifest, pods: PodObject[], zones: ReadonlyMap<string, string>,
  weights: ReadonlyMap<string, number>,
): ServiceEndpoint[] {
  const spec = objectAt(service.value, "spec");
  const wanted = Object.entries(mapAt(spec, "selector"));
  if (wanted.length === 0) return [];
  const ports = listAt(spec, "ports").map((value) => fields(value));
  return pods.filter((pod) => !isFinished(pod)).flatMap((pod) => {
    if (!wanted.every(([name, value]) => pod.labels[name] === value)) return [];
    const own = addressesOf(pod, spec, zones.get(pod.node) ?? "", weights);
    if (ports.length === 0) return own;
    return ports.flatMap((port) => {
      const protocol = kubernetesProtocol(port?.["protocol"]);
      const number = targetPort(pod, port?.["targetPort"] || port?.["port"], protocol);
      if (number === undefined) return [];
      return own.map((endpoint): ServiceEndpoint => {
        return { ...endpoint, portName: textAt(port, "name"), protocol, port: number };
      });
    });
  });
}

function addressesOf(
  pod: PodObject, spec: Fields, zone: string, weights: ReadonlyMap<string, number>,
): ServiceEndpoint[] {
  const name = `${pod.namespace}/${pod.name}`;
  const early = flagAt(spec, "publishNotReadyAddresses");
  const terminating = textAt(objectAt(pod.manifest?.value, "metadata"), "deletionTimestamp") !== "";
  const spread = textAt(spec, "trafficDistribution");
  const nodeHints = spread === "PreferSameNode" ? [pod.node] : [];
  const zoneHints = spread !== "" && zone !== "" ? [zone] : [];
  const weight = weights.get(name);
  const addresses = pod.addresses.filter((address) => packetFamily(address) !== 0);
  return addresses.map((address): ServiceEndpoint => ({
    name, address: plainAddress(address), node: pod.node,
    ready: early || (pod.ready && !terminating), serving: pod.ready, terminating,
    nodeHints, zoneHints, ...(weight === undefined ? {} : { weight }),
    portName: "", protocol: "any",
  }));
}

function targetPort(pod: PodObject, target: unknown, protocol: PortProtocol): number | undefined {
  if (typeof target === "number") return packetPort(target);
  const named = pod.ports.find((port) => {
    return port.name === target && port.protocol.toLowerCase() === protocol;
  });
  return packetPort(named?.port);
}
