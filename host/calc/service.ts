// Services as one node serves them: every frontend with its backends, and the sets that they name.
//
//   Service ─ serviceport.ts ─► model ─┐
//   slices, pods ─ serviceendpoint.ts ─┼─ frontend.ts, by node ─► frontends ─┐
//   pods with a hostPort ─ hostport.ts ┘                                     ├─► NodeState
//   ServiceCIDRs ─ servicecidr.ts ─► networks, a wildcard for each ClusterIP ┘
//
// An address, port and protocol that several ask for belongs to the first: ClusterIPs before load
// balancers' addresses, external ones, NodePorts and hostPorts; then by name.
// Limits: health-check node ports are the agent's, who answers on them; no packet is led there.
import type { FrontendKind, Service } from "../model/program.ts";
import type { Manifest, NodeObject, PodObject, Snapshot } from "../model/snapshot.ts";
import type { StateSet } from "../model/state.ts";
import { portFrontends, sourceSets, type ProxyNode } from "./frontend.ts";
import { hostPorts } from "./hostport.ts";
import { packetFamily, plainAddress } from "./net.ts";
import { primary, proxyConfig } from "./proxyconfig.ts";
import type { Report } from "./report.ts";
import { serviceNetworks } from "./servicecidr.ts";
import { ZONE_LABEL, type ServiceEndpoint } from "./serviceendpoint.ts";
import { serviceModel, type ServiceModel } from "./serviceport.ts";

export { serviceEndpoints, type ServiceEndpoint } from "./serviceendpoint.ts";

/** The order in which frontends get an address, port and protocol. */
const KINDS: FrontendKind[] = [
  "cluster-ip", "load-balancer", "external-ip", "node-port", "host-port",
];

export interface NodeServices {
  services: Service[];
  /** Sets that the frontends name, one object each for the same networks. */
  sets: StateSet[];
}

/** Of the whole cluster; node by node asked for. */
export class ProgramServices {
  /** Prefixes of ClusterIPs, where they are known. */
  readonly networks: string[];
  private readonly models: ServiceModel[];
  private readonly wildcards: Service[];
  private readonly byPort = new Map<string, ServiceEndpoint[]>();
  private readonly pods = new Map<string, PodObject[]>();
  private readonly sets = sourceSets();

  constructor(
    private readonly snapshot: Snapshot, endpoints: ReadonlyMap<string, ServiceEndpoint[]>,
    private readonly report: Report,
  ) {
    this.networks = serviceNetworks(snapshot, report);
    this.models = snapshot.services.flatMap((manifest) => serviceModel(manifest, report) ?? []);
    for (const { key } of this.models) {
      for (const endpoint of endpoints.get(key) ?? []) {
        if (endpoint.port === undefined) continue;
        const name = portKey(key, endpoint.portName, endpoint.protocol);
        const others = this.byPort.get(name);
        if (others) others.push(endpoint);
        else this.byPort.set(name, [endpoint]);
      }
    }
    for (const pod of snapshot.pods) {
      if (!pod.ports.some(({ hostPort }) => hostPort)) continue;
      this.pods.set(pod.node, [...this.pods.get(pod.node) ?? [], pod]);
    }
    this.wildcards = this.networks.length === 0 ? [] : this.models.flatMap(wildcards);
  }

  /** Of a node that is not there: as one without addresses serves them. */
  of(name: string, config: ReadonlyMap<string, string>): NodeServices {
    const found = this.snapshot.nodes.find((each) => each.name === name);
    const node = this.node(name, found, config);
    const sets = new Map<string, StateSet>();
    const taken = new Taken(this.report);
    const made = this.models.flatMap((model) => model.ports.map((port) => {
      const own = this.byPort.get(portKey(model.key, port.portName, port.protocol)) ?? [];
      const services = portFrontends(model, port, own, node, (networks) => {
        const set = this.sets(networks);
        sets.set(set.id, set);
        return set;
      });
      return { services, manifest: model.manifest, path: ["spec", "ports", port.index] };
    }));
    for (const kind of KINDS) {
      for (const { services, manifest, path } of made) {
        for (const each of services) if (each.kind === kind) taken.put(each, manifest, path);
      }
    }
    for (const pod of this.pods.get(name) ?? []) {
      for (const each of hostPorts([pod], node.addresses)) taken.put(each, pod.manifest, ["spec"]);
    }
    for (const each of this.wildcards) taken.put(each, undefined, []);
    const services = made.flatMap((each) => each.services).filter((each) => taken.has(each));
    const wild = this.wildcards.filter((each) => taken.has(each));
    return {
      services: [...services, ...taken.of("host-port"), ...wild], sets: [...sets.values()],
    };
  }

  private node(
    name: string, node: NodeObject | undefined, config: ReadonlyMap<string, string>,
  ): ProxyNode {
    const own = (node?.addresses ?? []).filter((address) => packetFamily(address) !== 0);
    const addresses = [...new Set(own.map(plainAddress))];
    const problem = (parameter: string, message: string): void => {
      const named = parameter.toLowerCase();
      for (const manifest of this.snapshot.felixConfigurations) {
        if (!JSON.stringify(manifest.value).toLowerCase().includes(named)) continue;
        this.report.error(manifest, ["spec"], `${parameter}: ${message}`);
      }
    };
    return {
      node: name, zone: node?.labels[ZONE_LABEL] ?? "", addresses, primary: primary(addresses),
      config: proxyConfig(config, addresses, problem),
    };
  }
}

/** What of an address's ports and protocols no other frontend serves: refused. */
function wildcards({ key, addresses }: ServiceModel): Service[] {
  return addresses.map(({ clusterIP }): Service => ({
    name: `${key}:*`, address: clusterIP, port: 0, protocol: 0, kind: "cluster-ip", backends: [],
    whenEmpty: "reject",
  }));
}

function portKey(service: string, portName: string, protocol: string): string {
  return `${service} ${portName} ${protocol}`;
}

/** Frontends by address, port and protocol: who comes second is told and left out. */
class Taken {
  private readonly places = new Map<string, Service>();

  constructor(private readonly report: Report) {}

  put(service: Service, manifest: Manifest | undefined, path: (string | number)[]): void {
    const key = placeOf(service);
    const first = this.places.get(key);
    if (!first) this.places.set(key, service);
    else if (manifest && first.name !== service.name) {
      this.report.warning(manifest, path, `${service.name}: ${key} is ${first.name}'s`);
    }
  }

  has(service: Service): boolean {
    return this.places.get(placeOf(service)) === service;
  }

  of(kind: FrontendKind): Service[] {
    return [...this.places.values()].filter((each) => each.kind === kind);
  }
}

function placeOf({ address, port, protocol }: Service): string {
  return `${address} ${protocol}/${port}`;
}
