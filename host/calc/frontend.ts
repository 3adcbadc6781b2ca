// The frontends that one node has for a Service port, with the endpoints behind each.
//
//   kind            address                    backends (inside)    localBackends (outside)
//   cluster-ip      clusterIP : port           internal policy's    -
//   load-balancer   ingress IP : port         ┐
//   external-ip     external IP : port        ├ the policy Cluster's  external policy Local: the
//   node-port       node address : nodePort   ┘                       local ones, maybe none
//
// Endpoints that terminate keep what they have begun (draining, told once, at the ClusterIP).
// Without an endpoint anywhere clients are answered (reject); where the policy Local finds none
// here alone, packets are dropped. Clients inside who ask an address for outside meet no traffic
// policy. Who is masqueraded follows from kind and policy, and the packet program sees to it.
// Source: kubernetes pkg/proxy/iptables/proxier.go (syncProxyRules).
import { createHash } from "node:crypto";
import { familyOf, parsePrefix } from "../model/address.ts";
import type { Backend, FrontendKind, Service, WhenEmpty } from "../model/program.ts";
import type { StateSet } from "../model/state.ts";
import type { ProxyConfig } from "./proxyconfig.ts";
import type { ServiceEndpoint } from "./serviceendpoint.ts";
import type { ServiceAddresses, ServiceModel, ServicePort } from "./serviceport.ts";
import { categorize, isLocal, type Place } from "./topology.ts";

/** A node as its frontends need it. */
export interface ProxyNode extends Place {
  /** In their one spelling. */
  addresses: string[];
  /** The first of each family. */
  primary: string[];
  config: ProxyConfig;
}

/** A set of networks, the same object for the same networks. */
export type SourceSets = (networks: readonly string[]) => StateSet;

/** `endpoints`: the port's, each with its number, of any family; `sets` takes what is named. */
export function portFrontends(
  model: ServiceModel, port: ServicePort, endpoints: readonly ServiceEndpoint[], node: ProxyNode,
  sets: SourceSets,
): Service[] {
  return model.addresses.flatMap((addresses) => {
    const six = addresses.family === 6;
    const own = endpoints.filter((each) => each.address.includes(":") === six);
    return new Frontends(model, port, addresses, distinct(own, node), node, sets).all();
  });
}

/** Of one port, of one family. */
class Frontends {
  private readonly isExternalLocal: boolean;
  private readonly isDsr: boolean;
  private readonly whenEmpty: WhenEmpty;
  private readonly forCluster: Backend[];
  private readonly forLocal: Backend[];
  private readonly draining: Backend[];
  /** Where Calico's eBPF dataplane would spread clients by its table. */
  private readonly forCalico: Backend[] | undefined;
  private readonly more: Partial<Service> = {};

  constructor(
    private readonly model: ServiceModel, private readonly port: ServicePort,
    private readonly addresses: ServiceAddresses, endpoints: ServiceEndpoint[],
    private readonly node: ProxyNode, private readonly sets: SourceSets,
  ) {
    const { internalLocal, affinitySeconds, maglevSlots } = model;
    const outside = addresses.externalIPs.length + addresses.loadBalancerIPs.length;
    const isAccessible = port.nodePort !== 0 || outside > 0;
    this.isExternalLocal = model.externalLocal && isAccessible;
    this.isDsr = outside > 0 && (model.dsr ?? node.config.dsr);
    const { cluster, local, reachable, any } = categorize(endpoints, {
      cluster: !internalLocal || isAccessible, local: internalLocal || this.isExternalLocal,
    }, node);
    this.whenEmpty = any ? "drop" : "reject";
    this.forCluster = this.backends(cluster);
    this.forLocal = this.backends(local);
    this.draining = model.flushTerminating ? [] : this.backends(endpoints.filter((each) =>
      each.serving && each.terminating && !reachable.includes(each)));
    const ready = calicoTable(model, endpoints, node);
    this.forCalico = ready && this.backends(ready);
    if (affinitySeconds !== undefined) this.more.affinitySeconds = affinitySeconds;
    // A table with fewer slots than backends would leave some out: then the size class decides.
    const fits = maglevSlots !== undefined && maglevSlots >= endpoints.length;
    if (fits) this.more.maglevSlots = maglevSlots;
  }

  all(): Service[] {
    const { family, loadBalancerIPs, externalIPs } = this.addresses;
    const { nodePort } = this.port;
    const nodePorts = nodePort === 0 ? []
      : this.node.config.nodePortAddresses.filter((each) => familyOf(each) === family);
    return [
      this.internal(),
      ...loadBalancerIPs.map((each) => this.limit(this.virtual("load-balancer", each))),
      ...externalIPs.map((each) => this.virtual("external-ip", each)),
      ...nodePorts.map((each) => this.external("node-port", each, nodePort)),
    ];
  }

  private internal(): Service {
    const backends = this.model.internalLocal ? this.forLocal : this.forCluster;
    const service = this.frontend("cluster-ip", this.addresses.clusterIP, this.port.port, backends);
    if (this.draining.length > 0) service.draining = this.draining;
    return service;
  }

  private external(kind: FrontendKind, address: string, port: number): Service {
    const service = this.frontend(kind, address, port, this.forCluster);
    if (!this.isExternalLocal) return service;
    service.localBackends = this.forLocal;
    if (this.forLocal.length === 0) service.whenLocalEmpty = this.whenEmpty;
    return service;
  }

  /** At an address that is no node's. */
  private virtual(kind: FrontendKind, address: string): Service {
    const { forCalico } = this;
    const service = forCalico ? this.frontend(kind, address, this.port.port, forCalico)
      : this.external(kind, address, this.port.port);
    if (forCalico) {
      service.maglev = "calico";
      service.maglevSlots ??= this.node.config.calicoSlots;
      if (forCalico.length === 0) service.whenEmpty = "reject";
    }
    if (this.isDsr) service.dsr = true;
    return service;
  }

  private frontend(
    kind: FrontendKind, address: string, port: number, backends: Backend[],
  ): Service {
    const { name, protocol } = this.port;
    const service: Service = {
      name, address, port, protocol: protocol as Service["protocol"], kind, backends, ...this.more,
    };
    if (backends.length === 0) service.whenEmpty = this.whenEmpty;
    return service;
  }

  /** loadBalancerSourceRanges; where they hold the node's address, the frontend's own may ask. */
  private limit(service: Service): Service {
    const { sourceRanges } = this.addresses;
    if (sourceRanges === undefined) return service;
    service.sourceRanges = this.sets(sourceRanges).id;
    const prefixes = sourceRanges.map(parsePrefix);
    const holds = this.node.primary.some((address) => {
      const { family, network } = parsePrefix(address);
      return prefixes.some((each) => each.family === family &&
        (network & each.mask) === each.network);
    });
    if (holds) service.addressAsSource = true;
    return service;
  }

  private backends(endpoints: ServiceEndpoint[]): Backend[] {
    return endpoints.map((each) => backendOf(each, this.isDsr && !isLocal(each, this.node)));
  }
}

/** Ready endpoints, as many as Calico's table is made for. */
function calicoTable(
  { calicoMaglev }: ServiceModel, endpoints: ServiceEndpoint[], { config }: ProxyNode,
): ServiceEndpoint[] | undefined {
  if (!calicoMaglev) return undefined;
  const ready = endpoints.filter((each) => each.ready);
  return ready.length <= config.calicoEndpointsMax ? ready : undefined;
}

/** `away`: packets may go on to its node. */
function backendOf(
  { name, address, port, weight, node }: ServiceEndpoint, away: boolean,
): Backend {
  const backend: Backend = { name, address, port: port! };
  if (weight !== undefined) backend.weight = weight;
  if (away && node !== "") backend.node = node;
  return backend;
}

/** Each address and port once, one that is on this node before others; in order of name. */
function distinct(endpoints: readonly ServiceEndpoint[], place: Place): ServiceEndpoint[] {
  const places = new Map<string, ServiceEndpoint>();
  for (const each of endpoints) {
    const key = `${each.address} ${each.port}`;
    if (!places.has(key) || isLocal(each, place)) places.set(key, each);
  }
  return [...places.values()].sort((a, b) => compare(a.name, b.name) ||
    compare(a.address, b.address) || a.port! - b.port!);
}
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Makes sets of networks, and keeps one for the same networks. */
export function sourceSets(): SourceSets {
  const kept = new Map<string, StateSet>();
  return (networks) => {
    const text = [...new Set(networks)].sort().join(",");
    let set = kept.get(text);
    if (!set) {
      const id = `margay:sources:${createHash("sha1").update(text).digest("hex").slice(0, 16)}`;
      set = { id, type: "net", members: new Set(text.split(",")) };
      kept.set(text, set);
    }
    return set;
  };
}
