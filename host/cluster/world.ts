// What names of a flow stand for: pods, workloads, Services, nodes and addresses of a snapshot, and
// the endpoints that a test adds. Indexes are built once; look-ups cost a few maps.
//
//   ns/name ─► pod ─ else workload (all its pods) ─ else Service (VIPs × ready backends)
//   address:port ─► the frontend that is there: ClusterIP, NodePort, load balancer, external IP
import {
  addressBytes, addressNumber, familyOf, parsePrefix, type Family, type Prefix,
} from "../model/address.ts";
import { protocolNumber, type Backend, type Service } from "../model/program.ts";
import type { ContainerPort, NodeObject, PodObject, Snapshot } from "../model/snapshot.ts";
import type { FlowEnd, ServiceBackend } from "./types.ts";

export interface ServicePort {
  name: string;
  port: number;
  protocol: number;
}

export interface ServiceEntry {
  namespace: string;
  name: string;
  ports: ServicePort[];
  /** Its VIPs; none of a headless one. */
  addresses: string[];
}

/** Outside of what clusters use for themselves; no packet is ever sent there. */
const INTERNET: Record<Family, string[]> = {
  4: ["93.184.215.14", "8.8.4.4", "151.101.1.57", "17.253.144.10"],
  6: ["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2001:4860:4860::8844", "2a04:4e42::57"],
};

const NOWHERE: ReadonlyMap<string, Service> = new Map();

export class World {
  readonly pods = new Map<string, PodObject>();
  readonly services = new Map<string, ServiceEntry>();
  /** By "namespace/name": pods of each workload, by kind. */
  readonly workloads = new Map<string, Map<string, PodObject[]>>();
  private readonly byAddress = new Map<string, FlowEnd>();
  /**
   * Addresses that stand for a prefix, one of each class that rules tell apart; none where nobody
   * has told (then its first address stands for it).
   */
  within: (prefix: string) => FlowEnd[] = () => [];
  /** Can clients inside be told from others? (KubeProxyDetectLocalMode None: no.) */
  arePodsTold = true;
  private readonly pools: Prefix[];
  /** By "address protocol port": each node's frontend there, by the node's name. */
  private readonly serving = new Map<string, string>();
  private readonly frontends = new Map<string, Map<string, Service>>();

  constructor(
    readonly snapshot: Snapshot,
    /** What each node that runs serves, by its name. */
    services: ReadonlyMap<string, readonly Service[]>,
    /** Endpoints that only a test has, by name. */
    readonly words: ReadonlyMap<string, FlowEnd[]> = new Map(),
  ) {
    this.pools = snapshot.ipPools.flatMap(({ value }) => {
      const cidr = (value["spec"] as { cidr?: unknown } | undefined)?.cidr;
      return typeof cidr === "string" ? [parsePrefix(cidr)] : [];
    });
    for (const node of snapshot.nodes) {
      for (const address of node.addresses) this.own({ kind: "node", node, address });
    }
    for (const pod of snapshot.pods) this.addPod(pod);
    for (const manifest of snapshot.services) {
      const entry = serviceEntry(manifest.namespace, manifest.name, manifest.value);
      this.services.set(`${manifest.namespace}/${manifest.name}`, entry);
    }
    for (const [node, all] of services) {
      for (const service of all) this.addFrontend(node, service);
    }
  }

  private addFrontend(node: string, service: Service): void {
    const { address, port } = service;
    // All that an address does not serve is nobody's Service.
    if (port === 0) return;
    this.serving.set(plain(address), serviceKey(service));
    const key = `${plain(address)} ${protocolNumber(service.protocol)} ${port}`;
    const byNode = this.frontends.get(key);
    if (byNode) byNode.set(node, service);
    else this.frontends.set(key, new Map([[node, service]]));
  }

  private addPod(pod: PodObject): void {
    this.pods.set(`${pod.namespace}/${pod.name}`, pod);
    if (!pod.hostNetwork) {
      for (const address of pod.addresses) this.own({ kind: "pod", pod, address });
    }
    if (!pod.owner) return;
    const key = `${pod.namespace}/${pod.owner.name}`;
    const kinds = this.workloads.get(key) ?? new Map<string, PodObject[]>();
    this.workloads.set(key, kinds);
    kinds.set(pod.owner.kind, [...(kinds.get(pod.owner.kind) ?? []), pod]);
  }

  private own(end: FlowEnd): void {
    this.byAddress.set(plain(end.address), end);
  }

  /** The pod or node that has the address. */
  ownerOf(address: string): FlowEnd | undefined {
    const owner = this.byAddress.get(plain(address));
    const [node, other] = this.snapshot.nodes;
    if (owner || !isLoopback(address) || !node || other) return owner;
    return { kind: "node", node, address };
  }

  /** The frontend there, as one of the nodes has it, the first of them that does. */
  service(
    address: string, protocol: number, port: number, nodes: readonly (string | undefined)[] = [],
  ): Service | undefined {
    const byNode = this.frontends.get(`${plain(address)} ${protocol} ${port}`);
    if (!byNode) return undefined;
    const name = nodes.find((each) => each !== undefined && byNode.has(each));
    return name === undefined ? byNode.values().next().value : byNode.get(name);
  }

  /** Every node's frontend there, by the node's name. */
  servedAt(address: string, protocol: number, port: number): ReadonlyMap<string, Service> {
    return this.frontends.get(`${plain(address)} ${protocol} ${port}`) ?? NOWHERE;
  }

  /** "namespace/name" of a Service that has the address, whatever its ports are. */
  serviceOf(address: string): string | undefined {
    return this.serving.get(plain(address));
  }

  /** The ready endpoints of a Service's ClusterIP and port. */
  backends(address: string, protocol: number, port: number): ServiceBackend[] {
    const service = this.service(address, protocol, port);
    return (service?.backends ?? []).map((backend) => this.backendEnd(backend));
  }

  /** A backend, by the pod that it is. */
  backendEnd({ address, port }: Backend): ServiceBackend {
    const owner = this.ownerOf(address);
    return { name: owner?.kind === "pod" ? podName(owner.pod) : address, address, port };
  }

  nodeNamed(name: string): NodeObject | undefined {
    return this.snapshot.nodes.find((node) => node.name === name);
  }

  /** Namespaces that are declared or that something lies in. */
  namespaces(): Set<string> {
    const names = new Set(this.snapshot.namespaces.keys());
    for (const { namespace } of [...this.pods.values(), ...this.services.values()]) {
      names.add(namespace);
    }
    return names;
  }

  /** Is it of a pool of pods' addresses? */
  isPooled(address: string): boolean {
    const number = addressNumber(addressBytes(address));
    return this.pools.some(({ family, network, mask }) =>
      family === familyOf(address) && (number & mask) === network);
  }

  /** Addresses of the world outside: in no pool, no node's, no pod's; one a family. */
  internet(): FlowEnd[] {
    const outside = (address: string): boolean =>
      !this.isPooled(address) && this.ownerOf(address) === undefined;
    return ([4, 6] as const).flatMap((family) => {
      const address = INTERNET[family].find(outside);
      return address === undefined ? [] : [{ kind: "address" as const, address, name: "internet" }];
    });
  }

  /** What lies in a namespace, for messages: "db (StatefulSet)", "web". */
  contents(namespace: string): { names: string[]; described: string[] } {
    const found = new Map<string, string>();
    const inside = (key: string): boolean => key.startsWith(`${namespace}/`);
    for (const [key, kinds] of this.workloads) {
      if (inside(key)) found.set(bare(key), `${bare(key)} (${[...kinds.keys()].join(", ")})`);
    }
    for (const [key, pod] of this.pods) {
      if (inside(key) && pod.owner === undefined) found.set(bare(key), bare(key));
    }
    for (const key of this.services.keys()) {
      if (inside(key) && !found.has(bare(key))) found.set(bare(key), `${bare(key)} (Service)`);
    }
    return { names: [...found.keys()], described: [...found.values()] };
  }
}

/** "namespace/name" of a frontend, whose own name has the port behind that. */
export function serviceKey({ name }: Service): string {
  return name.split(":")[0]!;
}

/** 127.0.0.0/8 and ::1: a node's own, on every node. */
export function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1";
}

export function podName(pod: PodObject): string {
  return `${pod.namespace}/${pod.name}`;
}

/** An end as people call it. */
export function endName(end: FlowEnd): string {
  switch (end.kind) {
    case "pod": return podName(end.pod);
    case "node": return `node:${end.node.name}`;
    case "service": return end.via ?? end.service;
    case "address": return end.name ?? end.address;
  }
}

/** "web (8080/tcp)", "9100/tcp". */
export function portText({ name, port, protocol }: ContainerPort | ServicePort): string {
  const proto = typeof protocol === "number" ? protocolName(protocol) : protocol.toLowerCase();
  return name === "" ? `${port}/${proto}` : `${name} (${port}/${proto})`;
}

const PROTOCOL_NAMES: Record<number, string> = {
  1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp", 136: "udplite",
};
export function protocolName(number: number): string {
  return PROTOCOL_NAMES[number] ?? String(number);
}

const bare = (key: string): string => key.slice(key.indexOf("/") + 1);

/** Two texts of one IPv6 address are one address. */
function plain(address: string): string {
  if (familyOf(address) === 4) return address;
  return addressNumber(addressBytes(address)).toString(16);
}

function serviceEntry(
  namespace: string, name: string, value: Record<string, unknown>,
): ServiceEntry {
  const spec = (value["spec"] ?? {}) as {
    clusterIP?: string; clusterIPs?: string[];
    ports?: { name?: string; port: number; protocol?: string }[];
  };
  const addresses = spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP]);
  return {
    namespace, name,
    addresses: addresses.filter((address) => address !== "None" && address !== ""),
    ports: (spec.ports ?? []).map(({ name, port, protocol }) => ({
      name: name ?? "", port, protocol: { TCP: 6, UDP: 17, SCTP: 132 }[protocol ?? "TCP"] ?? 6,
    })),
  };
}
