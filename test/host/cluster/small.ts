// A small cluster in plain objects, for suites of names and flows: two namespaces, two nodes, a
// Deployment of two pods, a StatefulSet, a dual-stack pod, a Service with two ports.
import type { Service } from "../../../host/model/program.ts";
import type { Manifest, PodObject, Snapshot } from "../../../host/model/snapshot.ts";

export function pod(
  namespace: string, name: string, addresses: string[], more: Partial<PodObject> = {},
): PodObject {
  return {
    namespace, name, addresses, labels: { app: name }, annotations: {}, node: "node1",
    serviceAccount: "default", hostNetwork: false, ready: true, ports: [], ...more,
  };
}

export function manifest(
  kind: string, namespace: string, name: string, value: Record<string, unknown>,
): Manifest {
  const at = { line: 1, column: 1 };
  const file = "small.yaml";
  return { apiVersion: "v1", kind, namespace, name, value, file, ...at, at: () => at };
}

const web = { owner: { kind: "Deployment", name: "web" },
  ports: [{ name: "http", port: 8080, protocol: "TCP" as const }] };

export function smallSnapshot(): Snapshot {
  const labelled = { labels: {}, annotations: {} };
  return {
    namespaces: new Map([["shop", labelled], ["ops", labelled]]),
    serviceAccounts: new Map(),
    nodes: [
      { name: "node1", labels: {}, addresses: ["192.168.0.1", "fd01::1"], interface: "eth0" },
      { name: "node2", labels: {}, addresses: ["192.168.0.2"], interface: "eth0" },
    ],
    pods: [
      pod("ops", "shell", ["10.65.1.1", "fd65::1:1"], { node: "node2" }),
      pod("shop", "db-0", ["10.65.0.9"], {
        owner: { kind: "StatefulSet", name: "db" },
        ports: [{ name: "pg", port: 5432, protocol: "TCP" }],
      }),
      pod("shop", "dns", ["10.65.0.53"], {
        ports: [{ name: "dns", port: 53, protocol: "UDP" }],
      }),
      pod("shop", "only6", ["fd65::6"]),
      pod("shop", "web-0", ["10.65.0.1"], web),
      pod("shop", "web-1", ["10.65.0.2"], web),
    ],
    services: [
      manifest("Service", "shop", "front", { spec: {
        clusterIP: "10.96.0.4", ports: [{ name: "http", port: 80 }, { name: "admin", port: 81 }],
      } }),
      manifest("Service", "shop", "quiet", { spec: { clusterIP: "None", ports: [{ port: 1 }] } }),
    ],
    endpointSlices: [], policies: [], tiers: [], networkSets: [], globalNetworkSets: [],
    hostEndpoints: [], profiles: [], felixConfigurations: [], serviceCIDRs: [],
    ipPools: [
      manifest("IPPool", "", "pool", { spec: { cidr: "10.65.0.0/16" } }),
      manifest("IPPool", "", "odd", { spec: { cidr: "93.184.0.0/16" } }),
    ],
  };
}

export const smallServices: Service[] = [{
  name: "shop/front", address: "10.96.0.4", port: 80, protocol: "tcp",
  backends: [
    { name: "shop/web-0", address: "10.65.0.1", port: 8080 },
    { name: "shop/web-1", address: "10.65.0.2", port: 8080 },
  ],
}];
