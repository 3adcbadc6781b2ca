// Two nodes with pods on each, a Service whose backends stand on both, and policies at both ends:
// for suites of the cluster. Objects as an API server shows them.
import { snapshotOf } from "../../../host/input/snapshot.ts";
import type { Snapshot } from "../../../host/model/snapshot.ts";

const NODES = { node1: "192.168.0.1", node2: "192.168.0.2" };

function pod(name: string, node: keyof typeof NODES, ip: string, more: object = {}): object {
  return {
    apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "shop", labels: { app: name } },
    spec: { nodeName: node, ...more, containers: [{ name, image: name,
      ports: [{ name: "main", containerPort: 8080 }] }] },
    status: { phase: "Running", podIP: ip, podIPs: [{ ip }],
      conditions: [{ type: "Ready", status: "True" }] },
  };
}

const host = { hostNetwork: true };
const web = (index: number, node: keyof typeof NODES, ip: string): object => {
  const one = pod(`web-${index}`, node, ip) as { metadata: { labels: object } };
  one.metadata.labels = { app: "web" };
  return one;
};

export function networkPolicy(name: string, spec: object): object {
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy",
    metadata: { name, namespace: "shop" }, spec };
}

const objects: object[] = [
  ...Object.entries(NODES).map(([name, address]) => ({
    apiVersion: "v1", kind: "Node", metadata: { name },
    status: { addresses: [{ type: "InternalIP", address }] },
  })),
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
  pod("api", "node1", "10.65.0.1"), pod("db", "node1", "10.65.0.2"),
  pod("far", "node2", "10.65.1.1"), pod("agent", "node2", NODES.node2, host),
  web(0, "node1", "10.65.0.10"), web(1, "node2", "10.65.1.10"), web(2, "node2", "10.65.1.11"),
  { apiVersion: "v1", kind: "Service", metadata: { name: "web", namespace: "shop" },
    spec: { clusterIP: "10.96.0.10", selector: { app: "web" },
      ports: [{ name: "http", port: 80, targetPort: 8080 }] } },
  // db: from api alone; far: to port 8080 alone.
  networkPolicy("db", { podSelector: { matchLabels: { app: "db" } }, policyTypes: ["Ingress"],
    ingress: [{ from: [{ podSelector: { matchLabels: { app: "api" } } }] }] }),
  networkPolicy("far", { podSelector: { matchLabels: { app: "far" } }, policyTypes: ["Egress"],
    egress: [{ ports: [{ port: 8080 }] }] }),
];

export function twoNodes(...more: object[]): Snapshot {
  const { snapshot, findings } = snapshotOf([...objects, ...more]);
  const errors = findings.filter(({ severity }) => severity === "error");
  if (errors.length) throw new Error(errors.map(({ message }) => message).join("\n"));
  return snapshot;
}
