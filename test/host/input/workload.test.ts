// Workloads become pods; pods, nodes get addresses.
import { describe, expect, test } from "vitest";
import { object, read } from "./files.ts";

const TEMPLATE = "template: {metadata: {labels: {app: w}}, spec: {containers: [{ports: " +
  "[{containerPort: 80, name: http}, {containerPort: 53, protocol: UDP}]}]}}";
const workload = (kind: string, name: string, spec: string, more = ""): string => {
  const version = /Job$/.test(kind) ? "batch/v1" : "apps/v1";
  return object(version, kind, `namespace: shop\n${more}`, spec, "---")
    .replace("name: x", `name: ${name}`);
};
const pod = (name: string, metadata: string, spec = "{}", status = ""): string => {
  const text = object("v1", "Pod", metadata, "", "---").replace("name: x", `name: ${name}`);
  return `${text}spec: ${spec}\n${status === "" ? "" : `status: ${status}\n`}`;
};
const node = (name: string, more = ""): string => {
  return `---\napiVersion: v1\nkind: Node\nmetadata: {name: ${name}${more}}\n`;
};
const OWNED = (kind: string, name: string): string => {
  return `namespace: shop\nownerReferences: [{kind: ${kind}, name: ${name}, uid: u}]`;
};
const names = (texts: string[]): string[] => read({ "a.yaml": texts.join("") }).snapshot.pods
  .map(({ name, addresses, node: on }) => `${name} ${addresses.join("+")} ${on}`);

describe("workload-pods:", () => {
  test("each kind makes its pods: at most two replicas, one a node of a DaemonSet", () => {
    expect(names([
      workload("Deployment", "web", `replicas: 3\n${TEMPLATE}`),
      workload("StatefulSet", "db", TEMPLATE),
      workload("ReplicaSet", "rs", `replicas: 0\n${TEMPLATE}`),
      workload("Job", "job", `parallelism: 2\n${TEMPLATE}`),
      workload("CronJob", "cron", `jobTemplate: {spec: {${TEMPLATE}}}`),
      workload("DaemonSet", "agent", TEMPLATE), node("b"), node("a"),
    ])).toEqual([
      "agent-0 10.65.0.1 a", "agent-1 10.65.0.2 b", "cron-0 10.65.0.3 a", "db-0 10.65.0.4 b",
      "job-0 10.65.0.5 a", "job-1 10.65.0.6 b", "web-0 10.65.0.7 a", "web-1 10.65.0.8 b",
    ]);
  });

  test("pods have their template's labels, ports and account, and what controllers add", () => {
    const { snapshot } = read({
      "a.yaml": workload("StatefulSet", "db", TEMPLATE) + workload("Job", "job",
        "template: {spec: {serviceAccountName: worker, hostNetwork: true}}"),
    });
    expect(snapshot.pods).toMatchObject([
      {
        namespace: "shop", name: "db-0", serviceAccount: "default", ready: true,
        owner: { kind: "StatefulSet", name: "db" },
        labels: {
          app: "w", "statefulset.kubernetes.io/pod-name": "db-0",
          "apps.kubernetes.io/pod-index": "0",
        },
        ports: [
          { name: "http", port: 80, protocol: "TCP" }, { name: "", port: 53, protocol: "UDP" },
        ],
      },
      {
        name: "job-0", serviceAccount: "worker", hostNetwork: true,
        labels: { "job-name": "job", "batch.kubernetes.io/job-name": "job" },
        addresses: snapshot.nodes[0]!.addresses,
      },
    ]);
    expect(snapshot.serviceAccounts.get("shop/worker")).toEqual({ labels: {}, annotations: {} });
  });

  test("a DaemonSet's nodeSelector picks nodes", () => {
    const picky = TEMPLATE.replace("spec: {", "spec: {nodeSelector: {disk: ssd}, ");
    expect(names([
      workload("DaemonSet", "agent", picky), node("a", ", labels: {disk: ssd, z: '1'}"),
      node("b", ", labels: {disk: hdd, z: '2'}"),
    ])).toEqual(["agent-0 10.65.0.1 a"]);
  });

  test("pods that are there stand for their workload, by its ReplicaSet or by its name", () => {
    const status = "{podIP: 10.1.0.9}";
    expect(names([
      workload("Deployment", "web", `replicas: 2\n${TEMPLATE}`),
      workload("ReplicaSet", "web-5d4f", TEMPLATE,
        "ownerReferences: [{kind: Deployment, name: web}]"),
      workload("Deployment", "api", `replicas: 2\n${TEMPLATE}`),
      workload("Deployment", "other", TEMPLATE),
      pod("web-5d4f-abc", OWNED("ReplicaSet", "web-5d4f"), "{nodeName: n0}", status),
      pod("api-77aa-xyz", OWNED("ReplicaSet", "api-77aa"), "{nodeName: n0}"),
    ])).toEqual(["api-77aa-xyz 10.65.0.1 n0", "other-0 10.65.0.2 n0", "web-5d4f-abc 10.1.0.9 n0"]);
  });

  test("a pod's owner is its workload, however far up", () => {
    const { snapshot } = read({
      "a.yaml": workload("CronJob", "backup", `jobTemplate: {spec: {${TEMPLATE}}}`) +
        pod("backup-28391-abc", OWNED("Job", "backup-28391")),
    });
    expect(snapshot.pods.map(({ name, owner }) => [name, owner]))
      .toEqual([["backup-28391-abc", { kind: "CronJob", name: "backup" }]]);
  });

  test("finished pods are gone; two workloads of one name both have pods", () => {
    expect(names([
      pod("done", "", "{}", "{phase: Succeeded, podIP: 10.65.0.1}"),
      workload("Deployment", "web", TEMPLATE), workload("StatefulSet", "web", TEMPLATE),
    ])).toEqual(["web-0 10.65.0.1 node-1", "web-statefulset-0 10.65.0.2 node-1"]);
  });
});

describe("workload-addresses:", () => {
  const pool = (name: string, cidr: string, more = ""): string => {
    return `---\napiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: ${name}}\n` +
      `spec: {cidr: '${cidr}'${more}}\n`;
  };

  test("pods keep their own addresses, and nobody else gets them", () => {
    expect(names([
      pod("a", "", "{}", "{podIPs: [{ip: 10.65.0.2}, {ip: 'fd00::2'}], podIP: 10.65.0.2}"),
      pod("b", "annotations: {cni.projectcalico.org/podIP: 10.65.0.1/32}"),
      pod("c", `annotations: {cni.projectcalico.org/ipAddrs: '["10.65.0.7"]'}`),
      pod("d", ""), pod("e", "", "{}", "{podIP: ''}"),
    ])).toEqual([
      "a 10.65.0.2+fd00::2 node-1", "b 10.65.0.1 node-1", "c 10.65.0.7 node-1",
      "d 10.65.0.3 node-1", "e 10.65.0.4 node-1",
    ]);
  });

  test("pools in order of name, both families; disabled and other uses are passed by", () => {
    expect(names([
      pool("b", "10.9.0.0/16"), pool("a", "10.8.0.0/31"), pool("six", "fd00:9::/64"),
      pool("off", "10.7.0.0/16", ", disabled: true"),
      pool("lb", "10.6.0.0/16", ", allowedUses: [LoadBalancer]"),
      pool("0picky", "10.5.0.0/16", ", nodeSelector: 'a == \"b\"'"),
      pod("x", ""), pod("yy", ""), pod("z", ""),
    ])).toEqual([
      "x 10.8.0.0+fd00:9::1 node-1", "yy 10.8.0.1+fd00:9::2 node-1", "z 10.9.0.1+fd00:9::3 node-1",
    ]);
  });

  test("a pool that is used up is an error", () => {
    const { lines } = read({
      "a.yaml": pool("a", "10.8.0.0/30") + ["p", "q", "r"].map((name) => pod(name, "")).join(""),
    });
    expect(lines).toEqual([
      expect.stringMatching(/Pod default\/r: no IPPool has an IPv4 address left for pod /),
    ]);
  });

  test("nodes: own addresses, else a host endpoint's, a pod's host's, else some are given", () => {
    const { snapshot } = read({
      "a.yaml": node("n1", ", annotations: {projectcalico.org/IPv4Address: 10.0.0.1/24}") +
        "status: {addresses: [{type: Hostname, address: n1}, " +
        "{type: InternalIP, address: 10.0.0.1}, {type: ExternalIP, address: 203.0.113.1}]}\n" +
        node("n2") +
        "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: h}\n" +
        "spec: {node: n2, interfaceName: ens5, expectedIPs: [10.0.0.2]}\n" +
        pod("p", "", "{nodeName: n3}", "{hostIP: 10.0.0.3}") + pod("q", "", "{nodeName: n4}"),
    });
    const nodes = snapshot.nodes.map(({ name, addresses, interface: at }) => [name, addresses, at]);
    expect(nodes).toEqual([
      ["n1", ["10.0.0.1", "203.0.113.1"], "eth0"], ["n2", ["10.0.0.2"], "ens5"],
      ["n3", ["10.0.0.3"], "eth0"], ["n4", ["192.168.65.1"], "eth0"],
    ]);
  });
});
