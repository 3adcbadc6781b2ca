// kube-proxy, slowly: what its iptables rules do with the first packet of a flow. Every rule that
// it would write for a Service port is asked in its order, with nothing worked out beforehand;
// chains are named as they are there (SVC, SVL, EXT).
// Source: kubernetes pkg/proxy/iptables/proxier.go (syncProxyRules), pkg/proxy/topology.go.
// Limits: of a load balancer's address with source ranges and no endpoint at all, a client within
// the ranges is refused here; kube-proxy's order of chains drops it.

export interface ProxyEndpoint {
  address: string;
  port: number;
  ready: boolean;
  serving: boolean;
  terminating: boolean;
  node: string;
  zoneHints: string[];
  nodeHints: string[];
}
export interface ProxyPort {
  clusterIP: string;
  port: number;
  protocol: "tcp" | "udp" | "sctp";
  /** 0 = none. */
  nodePort: number;
  externalIPs: string[];
  loadBalancerIPs: string[];
  /** Does a source lie within loadBalancerSourceRanges? Absent: there are none. */
  inRanges?: (source: string) => boolean;
  internalLocal: boolean;
  externalLocal: boolean;
  endpoints: ProxyEndpoint[];
}
export interface ProxyNode {
  node: string;
  zone: string;
  /** Addresses that are the node's own. */
  addresses: string[];
  /** Those of them that have NodePorts, and the one that the ranges are asked about. */
  nodePortAddresses: string[];
  nodeIP: string;
  masqueradeAll: boolean;
  /** Is a source a pod's? Absent: that can't be told. */
  isPod?: (source: string) => boolean;
}
export interface ProxyFlow {
  source: string;
  destination: string;
  port: number;
  protocol: "tcp" | "udp" | "sctp";
}
/** "" = no rule matched. Backends: "address:port", and whether the source is masqueraded there. */
export type ProxyVerdict = "" | "REJECT" | "DROP" | Map<string, boolean>;

export function kubeProxy(
  ports: readonly ProxyPort[], node: ProxyNode, flow: ProxyFlow,
): ProxyVerdict {
  for (const port of ports) {
    if (port.protocol !== flow.protocol) continue;
    const verdict = ofPort(port, node, flow);
    if (verdict !== undefined) return verdict;
  }
  return "";
}

function ofPort(
  port: ProxyPort, node: ProxyNode, flow: ProxyFlow,
): ProxyVerdict | undefined {
  const { source, destination } = flow;
  const accessible = port.nodePort !== 0 || port.loadBalancerIPs.length > 0 ||
    port.externalIPs.length > 0;
  const externalLocal = port.externalLocal && accessible;
  const usesCluster = !port.internalLocal || accessible;
  const SVC = usesCluster ? clusterEndpoints(port.endpoints, node) : [];
  const SVL = localEndpoints(port.endpoints, node);
  const hasEndpoints = usesCluster ? SVC.length > 0
    : port.endpoints.some((each) => each.ready || (each.serving && each.terminating));
  const target: ProxyVerdict = hasEndpoints ? "DROP" : "REJECT";
  const marked = (endpoints: ProxyEndpoint[], mark: boolean): ProxyVerdict =>
    new Map(endpoints.map((each) =>
      // KUBE-SEP: an endpoint that asks itself is masqueraded.
      [`${each.address}:${each.port}`, mark || each.address === source]));

  if (destination === port.clusterIP && flow.port === port.port) {
    const internal = port.internalLocal ? SVL : SVC;
    if (internal.length === 0) return target;
    const mark = node.masqueradeAll || (node.isPod !== undefined && !node.isPod(source));
    return marked(internal, mark);
  }

  const EXT = (): ProxyVerdict => {
    if (!externalLocal) return SVC.length > 0 ? marked(SVC, true) : target;
    if (!hasEndpoints) return target;
    if (node.isPod?.(source)) return marked(SVC, false);
    if (node.addresses.includes(source)) return marked(SVC, true);
    return SVL.length > 0 ? marked(SVL, false) : target;
  };
  if (port.externalIPs.includes(destination) && flow.port === port.port) return EXT();
  if (port.loadBalancerIPs.includes(destination) && flow.port === port.port) {
    const { inRanges } = port;
    const allowed = !inRanges || inRanges(source) ||
      (inRanges(node.nodeIP) && source === destination);
    return allowed ? EXT() : "DROP";
  }
  const isNodePort = port.nodePort !== 0 && flow.port === port.nodePort;
  if (isNodePort && node.nodePortAddresses.includes(destination)) return EXT();
  return undefined;
}

function clusterEndpoints(endpoints: ProxyEndpoint[], { node, zone }: ProxyNode): ProxyEndpoint[] {
  let allNodeHints = true, forNode = false, allZoneHints = true, forZone = false;
  for (const { ready, nodeHints, zoneHints } of endpoints) {
    if (!ready) continue;
    if (nodeHints.length === 0) allNodeHints = false;
    else if (nodeHints.includes(node)) forNode = true;
    if (zoneHints.length === 0) allZoneHints = false;
    else if (zoneHints.includes(zone)) forZone = true;
  }
  const mode = allNodeHints && forNode ? "node" : allZoneHints && forZone ? "zone" : "";
  const found = endpoints.filter((each) => {
    if (!each.ready) return false;
    if (mode === "node") return each.nodeHints.includes(node);
    return mode !== "zone" || each.zoneHints.includes(zone);
  });
  return found.length > 0 ? found : endpoints.filter((each) => each.serving && each.terminating);
}

function localEndpoints(endpoints: ProxyEndpoint[], { node }: ProxyNode): ProxyEndpoint[] {
  const local = endpoints.filter((each) => each.node === node);
  const ready = local.filter((each) => each.ready);
  return ready.length > 0 ? ready : local.filter((each) => each.serving && each.terminating);
}
