// A cluster as manifests show it: what host/input/snapshot.ts reads from files and host/calc turns
// into the states of nodes (state.ts). Objects are checked against their schemas before they stand
// here; workloads (Deployment, StatefulSet …) have become pods, and every pod has its addresses.

/** One object of a manifest file. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  /** "" for a cluster's. */
  namespace: string;
  name: string;
  /** The object as it was written, defaults of its API filled in. */
  value: Record<string, unknown>;
  file: string;
  /** 1-based, of the object. */
  line: number;
  column: number;
  /** Position of a field (or of the nearest one around it): ["spec", "ingress", 0, "from"]. */
  at(path: readonly (string | number)[]): { line: number; column: number };
}

export interface ContainerPort {
  /** "" where it has none. */
  name: string;
  port: number;
  protocol: "TCP" | "UDP" | "SCTP";
  /** The node's port that leads to it, and at which of the node's addresses; all when absent. */
  hostPort?: number;
  hostIP?: string;
}

export interface PodObject {
  namespace: string;
  name: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  serviceAccount: string;
  node: string;
  /** IPv4 and IPv6; of a host-network pod its node's. */
  addresses: string[];
  hostNetwork: boolean;
  ready: boolean;
  ports: ContainerPort[];
  /** The workload that it is made from: { kind: "Deployment", name: "web" }. */
  owner?: { kind: string; name: string };
  manifest?: Manifest;
}

export interface NodeObject {
  name: string;
  labels: Record<string, string>;
  addresses: string[];
  /** Its interface to the world, by the name that host endpoints know it by ("eth0"). */
  interface: string;
}

export interface LabelledObject {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  manifest?: Manifest;
}

export interface Snapshot {
  namespaces: Map<string, LabelledObject>;
  /** By "namespace/name". */
  serviceAccounts: Map<string, LabelledObject>;
  nodes: NodeObject[];
  /** In order of namespace and name. */
  pods: PodObject[];
  services: Manifest[];
  endpointSlices: Manifest[];
  /**
   * NetworkPolicy (Kubernetes' and Calico's), ClusterNetworkPolicy, AdminNetworkPolicy,
   * BaselineAdminNetworkPolicy, GlobalNetworkPolicy, the staged kinds, and ModulePolicy.
   */
  policies: Manifest[];
  tiers: Manifest[];
  networkSets: Manifest[];
  globalNetworkSets: Manifest[];
  hostEndpoints: Manifest[];
  profiles: Manifest[];
  ipPools: Manifest[];
  felixConfigurations: Manifest[];
  /** networking.k8s.io ServiceCIDRs: where ClusterIPs are taken from. */
  serviceCIDRs: Manifest[];
}

/** What is wrong or doubtful in a manifest; errors stop what asked for it. */
export interface Finding {
  severity: "error" | "warning";
  file: string;
  line: number;
  column: number;
  /** "NetworkPolicy shop/db"; "" where no object could be made out. */
  object: string;
  /** "spec.ingress[0].from[0].podSelecter" or ""; */
  field: string;
  message: string;
}
