// Services as clusters of two and three nodes have them: who gets which backend, at which node a
// packet comes in, what becomes of its source, and what is said of it. Every verdict is the packet
// program's.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cluster } from "../../../host/cluster/cluster.ts";
import { Explainer, flowText } from "../../../host/cluster/explain.ts";
import { Living } from "../../../host/cluster/living.ts";
import type { FlowResult } from "../../../host/cluster/types.ts";
import { networkPolicy, twoNodes } from "./two-nodes.ts";

/** A Service in front of the pods of web, which are on both nodes, or of others. */
function service(name: string, spec: object, more: object = {}): object {
  return {
    apiVersion: "v1", kind: "Service", metadata: { name, namespace: "shop", ...more },
    spec: { selector: { app: "web" }, ...spec },
  };
}
const http = { name: "http", port: 80, targetPort: 8080 };
const LB = "203.0.113.80", LOCAL_LB = "203.0.113.81", DSR_LB = "203.0.113.82";
const balanced = (ip: string): object => ({ loadBalancer: { ingress: [{ ip }] } });
const CLIENT = "198.51.100.7";

const SERVICES = [
  service("open", { type: "NodePort", clusterIP: "10.96.0.20",
    ports: [{ ...http, nodePort: 30080 }] }),
  service("local", { type: "NodePort", clusterIP: "10.96.0.21", externalTrafficPolicy: "Local",
    ports: [{ ...http, nodePort: 30081 }] }),
  service("none", { type: "NodePort", clusterIP: "10.96.0.22", selector: { app: "nobody" },
    ports: [{ ...http, nodePort: 30082 }] }),
  service("only-far", { type: "NodePort", clusterIP: "10.96.0.23", selector: { app: "far" },
    externalTrafficPolicy: "Local", ports: [{ ...http, nodePort: 30083 }] }),
  { ...service("ranges", { type: "LoadBalancer", clusterIP: "10.96.0.24",
    loadBalancerSourceRanges: ["198.51.100.0/24"], externalIPs: ["192.0.2.80"], ports: [http] }),
  status: balanced(LB) },
  { ...service("kept", { type: "LoadBalancer", clusterIP: "10.96.0.25",
    externalTrafficPolicy: "Local", ports: [http] }), status: balanced(LOCAL_LB) },
  { ...service("direct", { type: "LoadBalancer", clusterIP: "10.96.0.26", ports: [http] },
    { annotations: { "lb.margay.io/dsr": "true" } }), status: balanced(DSR_LB) },
  service("sticky", { clusterIP: "10.96.0.27", sessionAffinity: "ClientIP", ports: [http],
    sessionAffinityConfig: { clientIP: { timeoutSeconds: 600 } } }),
  { apiVersion: "projectcalico.org/v3", kind: "IPPool", metadata: { name: "pods" },
    spec: { cidr: "10.65.0.0/16", natOutgoing: true } },
];

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.fromSnapshot(twoNodes(...SERVICES));
});
afterAll(() => cluster.close());

const run = (text: string, at = cluster): FlowResult[] => at.run(at.flows(text));
const NODE1 = "192.168.0.1", NODE2 = "192.168.0.2";
const WEBS = ["shop/web-0", "shop/web-1", "shop/web-2"];
/** Verdict, backend, source without its port, nodes. */
const told = ({ verdict, backend, source, nodes }: FlowResult): unknown =>
  [verdict, backend, source?.replace(/:\d+$/, ""), nodes];

describe("cluster-nodeport: a Service at a node's port", () => {
  test("from outside: every backend, with the node's address as the source", () => {
    expect(run(`${CLIENT} -> node:node1:30080`).map(told)).toEqual([
      ["allow", "shop/web-0", NODE1, ["node1"]],
      ["allow", "shop/web-1", NODE1, ["node1", "node2"]],
      ["allow", "shop/web-2", NODE1, ["node1", "node2"]],
    ]);
  });
  test("policy Local: the node's own backends, the source kept", () => {
    expect(run(`${CLIENT} -> node:node1:30081`).map(told)).toEqual([
      ["allow", "shop/web-0", undefined, ["node1"]]]);
    expect(run(`${CLIENT} -> node:node2:30081`).map(told)).toEqual([
      ["allow", "shop/web-1", undefined, ["node2"]],
      ["allow", "shop/web-2", undefined, ["node2"]]]);
    expect(run(`${CLIENT} -> node:node1:30083`)).toMatchObject([
      { verdict: "drop", reason: "no-backend", nodes: ["node1"] }]);
    expect(run(`${CLIENT} -> node:node2:30083`)).toMatchObject([
      { verdict: "allow", backend: "shop/far", nodes: ["node2"] }]);
  });
  test("pods inside meet no traffic policy", () => {
    expect(run("shop/api -> node:node1:30081").map(({ backend, verdict }) => [backend, verdict]))
      .toEqual(WEBS.map((name) => [name, "allow"]));
  });
  test("the flow's text is the one that was asked, and can be pasted", () => {
    const [result] = run(`${CLIENT} -> node:node1:30080`);
    expect(flowText(result!.flow)).toBe(`${CLIENT} -> node:node1:30080/tcp`);
    expect(cluster.flows(flowText(result!.flow)).length).toBe(3);
  });
});

describe("cluster-reject: nobody to answer, and it is said", () => {
  test("no endpoint anywhere: answered", () => {
    for (const text of ["shop/api -> shop/svc/none:80", `${CLIENT} -> node:node1:30082`]) {
      const results = run(text);
      expect(results).toMatchObject([{ verdict: "reject", reason: "no-backend",
        answer: "TCP reset" }]);
      expect(new Explainer(cluster).lines(results[0]!)[0]).toBe("  reject: no-backend on node1: " +
        "the Service has no ready endpoint that this client may have; answered with TCP reset");
    }
  });
  test("however many ask: answers that were held back are asked for again", () => {
    const flows = Array.from({ length: 300 }, () => cluster.flows("shop/api -> shop/svc/none:80"));
    const verdicts = new Set(cluster.run(flows.flat()).map(({ verdict }) => verdict));
    expect([...verdicts]).toEqual(["reject"]);
  });
});

describe("cluster-balancer: addresses of load balancers, and external ones", () => {
  test("source ranges let in whom they name, at the load balancer's address alone", () => {
    const results = run(`${CLIENT} -> ${LB}:80`);
    expect(results.map(({ verdict }) => verdict)).toEqual(results.map(() => "allow"));
    expect(new Set(results.map(({ backend }) => backend))).toEqual(new Set(WEBS));
    const [other] = run(`203.0.113.9 -> ${LB}:80`);
    expect(other).toMatchObject({ verdict: "drop", reason: "source-range" });
    expect(new Explainer(cluster).lines(other!).join("\n")).toContain(
      "the client is in none of the Service's loadBalancerSourceRanges");
    expect(run("203.0.113.9 -> 192.0.2.80:80")[0]).toMatchObject({ verdict: "allow" });
  });
  test("each backend by its own node, and by another: there the source is hidden", () => {
    const results = run(`${CLIENT} -> ${LB}:80`);
    const ways = results.filter(({ backend }) => backend === "shop/web-1").map(told);
    expect(ways).toEqual([
      ["allow", "shop/web-1", NODE2, ["node2"]],
      ["allow", "shop/web-1", NODE1, ["node1", "node2"]],
    ]);
  });
  test("policy Local: the backend's node alone", () => {
    expect(run(`${CLIENT} -> ${LOCAL_LB}:80`).map(told)).toEqual([
      ["allow", "shop/web-0", undefined, ["node1"]],
      ["allow", "shop/web-1", undefined, ["node2"]],
      ["allow", "shop/web-2", undefined, ["node2"]],
    ]);
  });
  test("an explanation names the Service, its address, the backend, the source", () => {
    const [, away] = run(`${CLIENT} -> ${LB}:80`)
      .filter(({ backend }) => backend === "shop/web-1");
    const lines = new Explainer(cluster).lines(away!);
    expect(lines[0]).toBe(`  service shop/ranges ${LB}:80 -> 10.65.1.10:8080 shop/web-1`);
    expect(lines[1]).toMatch(new RegExp(`^ {2}source ${CLIENT} -> ${NODE1}:\\d+$`));
  });
});

describe("cluster-dsr: a packet passed on as it is, answered by the backend's node", () => {
  test("the client's address is kept, and both nodes judge", () => {
    const results = run(`${CLIENT} -> ${DSR_LB}:80`);
    expect(new Set(results.map(({ verdict, source }) => `${verdict} ${source}`)))
      .toEqual(new Set(["allow undefined"]));
    expect(results.some(({ nodes }) => nodes.length === 2)).toBe(true);
    for (const { nodes, backend } of results) {
      expect(nodes.at(-1)).toBe(backend === "shop/web-0" ? "node1" : "node2");
    }
  });
});

describe("cluster-snat: what leaves the pools bears the node's address", () => {
  test("to the world, not to pods or nodes of the cluster", () => {
    expect(run("shop/api -> internet:443").map(told)).toEqual([
      ["allow", undefined, NODE1, ["node1"]]]);
    expect(run("shop/api -> shop/web-1:8080").map(told)).toEqual([
      ["allow", undefined, undefined, ["node1", "node2"]]]);
    expect(run("shop/api -> internet/icmp:8/0")[0]).toMatchObject(
      { verdict: "allow", source: NODE1 });
  });
});

describe("cluster-snat-ports: what the node can lend is counted", () => {
  test("a port is kept where it is free, else another; none left is a drop by name", async () => {
    const few = await Cluster.fromSnapshot(twoNodes(...SERVICES, {
      apiVersion: "projectcalico.org/v3", kind: "FelixConfiguration",
      metadata: { name: "default" }, spec: { natPortRange: "40000:40001" },
    }));
    const living = new Living(few);
    const open = (pod: string): FlowResult =>
      living.open(few.flows(`shop/${pod}:40000 -> internet:443`))[0]!.result;
    expect(open("api").source).toBe(`${NODE1}:40000`);
    expect(open("db").source).toBe(`${NODE1}:40001`);
    const third = open("web-0");
    expect(third).toMatchObject({ verdict: "drop", reason: "nat-ports-exhausted" });
    expect(new Explainer(few).lines(third)[0]).toContain("is in use with this destination");
    // Other ends have ports of their own, and what has ended gives its back.
    expect(living.open(few.flows("shop/web-0:40000 -> internet:80"))[0]!.result.verdict)
      .toBe("allow");
    living.wait(2 * 3_600_000);
    expect(open("web-0")).toMatchObject({ verdict: "allow", source: `${NODE1}:40000` });
    few.close();
  });
});

describe("cluster-policy: the backend's node sees the source that NAT leaves", () => {
  const allowed = networkPolicy("clients", { podSelector: { matchLabels: { app: "web" } },
    ingress: [{ from: [{ ipBlock: { cidr: "198.51.100.0/24" } }] }] });

  test("a client that a policy lets in is stopped on the way by another node", async () => {
    const strict = await Cluster.fromSnapshot(twoNodes(...SERVICES, allowed));
    const ways = run(`${CLIENT} -> ${LB}:80`, strict)
      .filter(({ backend }) => backend === "shop/web-1").map(({ verdict, at }) => [verdict, at]);
    const [here] = run(`${CLIENT} -> ${LOCAL_LB}:80`, strict);
    strict.close();
    expect(here).toMatchObject({ verdict: "allow", nodes: ["node1"] });
    expect(ways).toEqual([["allow", undefined], ["deny", "ingress"]]);
  });
});

describe("living-services: connections to Services, both ways", () => {
  let living: Living;
  beforeAll(async () => {
    living = new Living(await cluster.fork());
  });
  afterAll(() => living.cluster.close());
  let port = 41_000;
  const open = (text: string) => living.open(cluster.flows(text))[0]!;

  test.each([
    ["a pod to a ClusterIP", "shop/api:40000 -> shop/svc/web:80", "10.96.0.10:80"],
    ["a pod to itself by its Service", "shop/web-0:40000 -> shop/svc/web:80", "10.96.0.10:80"],
    ["outside to a NodePort", `${CLIENT}:40000 -> node:node1:30080`, `${NODE1}:30080`],
    ["outside to a NodePort, Local", `${CLIENT}:40000 -> node:node2:30081`, `${NODE2}:30081`],
    ["outside to a load balancer", `${CLIENT}:40000 -> ${LB}:80`, `${LB}:80`],
    ["outside to an external address", `${CLIENT}:40000 -> 192.0.2.80:80`, "192.0.2.80:80"],
    ["outside by DSR", `${CLIENT}:40000 -> ${DSR_LB}:80`, `${DSR_LB}:80`],
    ["a pod to another node's port", "shop/api:40000 -> node:node2:30080", `${NODE2}:30080`],
  ])("%s: ten connections, every answer from the address that was asked", (_, text, vip) => {
    for (let i = 0; i < 10; i++) {
      // Another case's port might be a session's at the same backend: a collision, and dropped.
      const { connection, result } = open(text.replace("40000", String(port++)));
      expect(result).toMatchObject({ verdict: "allow" });
      expect(result.backend).toMatch(/^shop\/web-/);
      expect(living.sendOn(connection).result).toMatchObject(
        { verdict: "allow", reason: "established", backend: result.backend });
      const { result: back } = living.replyOn(connection);
      expect(back).toMatchObject({ verdict: "allow", source: vip });
      expect(back.note).toBeUndefined();
    }
  });
  test("the world's answers come back through source NAT", () => {
    const { connection } = open("shop/api:40000 -> internet:443");
    expect(living.replyOn(connection).result).toMatchObject(
      { verdict: "allow", destination: "10.65.0.1:40000" });
    const echo = open("shop/api -> internet/icmp:8/0");
    expect(living.replyOn(echo.connection).result).toMatchObject({ verdict: "allow" });
  });
  test("two Services may lead one client's port to one backend: under another port", () => {
    const results = [`${NODE2}:30081`, `${LOCAL_LB}:80`, `${DSR_LB}:80`].flatMap((to) =>
      Array.from({ length: 12 }, (_, i) => open(`${CLIENT}:${50_000 + i} -> ${to}`.replace(
        NODE2, "node:node2")).result));
    const reasons = new Set(results.map(({ reason }) => reason));
    expect(reasons).toEqual(new Set(["allowed"]));
    const sources = results.filter(({ source }) => source !== undefined).map((r) => r.source!);
    expect(sources.length).toBeGreaterThan(0);
    for (const source of sources) expect(Number(source.split(":")[1])).toBeGreaterThan(32_767);
  });
  test("a client keeps its backend while affinity remembers it", () => {
    const backends = Array.from({ length: 8 }, () =>
      open("shop/api -> shop/svc/sticky:80").result.backend);
    expect(new Set(backends).size).toBe(1);
  });
});
