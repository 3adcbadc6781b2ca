// Flows through a cluster of two nodes: which programs judge them, in what order, and what is told.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cluster, NoPath } from "../../../host/cluster/cluster.ts";
import type { FlowResult } from "../../../host/cluster/types.ts";
import { networkPolicy, twoNodes } from "./two-nodes.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.fromSnapshot(twoNodes(), { sides: true });
});
afterAll(() => cluster.close());

const run = (text: string, at = cluster): FlowResult[] => at.run(at.flows(text));
const one = (text: string, at = cluster): FlowResult => run(text, at)[0]!;

describe("cluster-path: a flow runs through its source's node and its destination's", () => {
  test("same node: one program, both ends", () => {
    const result = one("shop/api -> shop/db:5432");
    expect(result).toMatchObject({ verdict: "allow", reason: "allowed", nodes: ["node1"] });
    expect(result.ingress).toMatchObject({
      verdict: "allow", policy: "NetworkPolicy shop/db", tier: "default", path: "ingress[0]",
    });
    expect(result.egress).toMatchObject({ verdict: "allow", policy: "Profile kns.shop" });
  });
  test("two nodes: the first's egress, then the second's ingress", () => {
    expect(one("shop/far -> shop/db:8080")).toMatchObject({
      verdict: "deny", reason: "policy-denied", at: "ingress", nodes: ["node2", "node1"],
      egress: { verdict: "allow", policy: "NetworkPolicy shop/far", path: "egress[0]" },
      ingress: { verdict: "deny", tier: "default" },
    });
    const early = one("shop/far -> shop/api:22");
    expect(early).toMatchObject({ verdict: "deny", at: "egress", nodes: ["node2"] });
    expect(early.ingress).toBeUndefined();
  });
  test("nodes, pods of the host's network, and the world", () => {
    expect(one("node:node2 -> shop/db:1")).toMatchObject(
      { verdict: "deny", at: "ingress", nodes: ["node2", "node1"] });
    // From its own host nothing is policed.
    expect(one("node:node1 -> shop/db:1")).toMatchObject({ verdict: "allow", nodes: ["node1"] });
    expect(one("shop/agent -> shop/db:1")).toMatchObject(
      { verdict: "deny", nodes: ["node2", "node1"] });
    expect(one("shop/agent -> shop/far:1")).toMatchObject({ verdict: "allow", nodes: ["node2"] });
    expect(one("internet -> shop/db:1")).toMatchObject({ verdict: "deny", nodes: ["node1"] });
    expect(one("shop/api -> internet:443")).toMatchObject({ verdict: "allow", nodes: ["node1"] });
    expect(one("shop/far -> internet:443")).toMatchObject({ verdict: "deny", at: "egress" });
  });
  test("a workload's packet to its own node meets DefaultEndpointToHostAction", () => {
    expect(one("shop/api -> node:node1:22")).toMatchObject(
      { verdict: "drop", reason: "endpoint-to-host", at: "host" });
    expect(one("shop/api -> node:node2:22")).toMatchObject(
      { verdict: "allow", nodes: ["node1", "node2"] });
  });
  test("neither end in the cluster", () => {
    expect(() => run("8.8.8.8 -> 9.9.9.9:53/udp")).toThrow(NoPath);
  });
  test("one node alone", async () => {
    const alone = await Cluster.fromSnapshot(twoNodes(), { node: "node1" });
    expect(one("shop/far -> shop/db:22", alone)).toMatchObject(
      { verdict: "deny", at: "ingress", nodes: ["node1"] });
    expect(() => run("shop/far -> shop/web-1:8080", alone)).toThrow(/neither end is on node node1/);
    await expect(Cluster.fromSnapshot(twoNodes(), { node: "node9" }))
      .rejects.toThrow("--node node9: no node of that name; there are node1, node2");
  });
});

describe("cluster-service: every ready backend is judged", () => {
  test("each backend once, by the Service's own choice, on whichever node it is", () => {
    const results = run("shop/api -> shop/svc/web:http");
    expect(results.map(({ backend, destination, verdict, note }) =>
      [backend, destination, verdict, note])).toEqual([
      ["shop/web-0", "10.65.0.10:8080", "allow", undefined],
      ["shop/web-1", "10.65.1.10:8080", "allow", undefined],
      ["shop/web-2", "10.65.1.11:8080", "allow", undefined],
    ]);
    expect(results.map(({ nodes }) => nodes.length)).toEqual([1, 2, 2]);
  });
  test("a source port that one backend is chosen from: the others by their own addresses", () => {
    const results = run("shop/api:40000 -> shop/svc/web:80");
    expect(results.filter(({ note }) => note === undefined)).toHaveLength(1);
    expect(results.filter(({ note }) => /did not choose .* judged at/.test(note ?? "")))
      .toHaveLength(2);
    for (const { verdict } of results) expect(verdict).toBe("allow");
  });
});

describe("cluster-runs: new flows, in order, as many as there are", () => {
  test("no flow meets an older one's session", () => {
    const flows = Array.from({ length: 40 }, () => cluster.flows("shop/api:5000 -> shop/db:5432"));
    const icmp = Array.from({ length: 40 }, () => cluster.flows("shop/api -> shop/db/icmp"));
    const gre = Array.from({ length: 40 }, () => cluster.flows("shop/api -> shop/db/47"));
    for (const { verdict, reason } of cluster.run([...flows, ...icmp, ...gre].flat())) {
      expect([verdict, reason]).toEqual(["allow", "allowed"]);
    }
  });
  test("more flows than sessions fit, answers in order", () => {
    const [yes, no] = [cluster.flows("shop/api -> shop/db:1")[0]!,
      cluster.flows("shop/web-0 -> shop/db:1")[0]!];
    const flows = Array.from({ length: 40_000 }, (_, i) => i % 3 === 0 ? no : yes);
    const wrong = cluster.run(flows).filter(({ verdict, flow }) =>
      verdict !== (flow === no ? "deny" : "allow"));
    expect(wrong).toEqual([]);
  });
  test("one side alone", () => {
    const sides = (text: string) => (["egress", "ingress"] as const).map((side) =>
      cluster.run(cluster.flows(text).map((flow) => ({ ...flow, side })))[0]!.verdict);
    expect(sides("shop/web-0 -> shop/db:1")).toEqual(["allow", "deny"]);
    expect(sides("shop/far -> shop/db:1")).toEqual(["deny", "deny"]);
    expect(sides("shop/far -> shop/web-1:1")).toEqual(["deny", "allow"]);
    expect(sides("shop/far -> internet:1")).toEqual(["deny", "allow"]);
    expect(sides("internet -> shop/db:1")).toEqual(["allow", "deny"]);
  });
  test("a side that was not asked for when the cluster was made is an error", async () => {
    const plain = await Cluster.fromSnapshot(twoNodes());
    const flows = plain.flows("shop/api -> shop/db:1").map((flow) =>
      ({ ...flow, side: "egress" as const }));
    expect(() => plain.run(flows)).toThrow(/`sides`/);
  });
});

describe("cluster-apply: new states go into living engines", () => {
  const lockdown = networkPolicy("all", { podSelector: {}, policyTypes: ["Ingress", "Egress"] });

  test("applied, forked, taken back", async () => {
    const living = await Cluster.fromSnapshot(twoNodes());
    const twin = await living.fork();
    await living.apply(twoNodes(lockdown));
    expect(one("shop/api -> shop/web-0:1", living)).toMatchObject(
      { verdict: "deny", at: "egress", nodes: ["node1"] });
    expect(one("shop/api -> shop/web-0:1", twin).verdict).toBe("allow");
    await living.apply(twoNodes());
    expect(one("shop/api -> shop/web-0:1", living).verdict).toBe("allow");
    for (const node of living.nodes.values()) expect(node.outgrown).toBe(0);
  });
  test("a state that outgrows the engine's budgets gets another engine", async () => {
    const living = await Cluster.fromSnapshot(twoNodes());
    const pods = Array.from({ length: 200 }, (_, i) => ({
      apiVersion: "v1", kind: "Pod",
      metadata: { name: `more-${i}`, namespace: "shop", labels: { app: `more-${i}` } },
      spec: { nodeName: "node1", containers: [{ name: "more", image: "more" }] },
      status: { podIP: `10.65.2.${i}`, podIPs: [{ ip: `10.65.2.${i}` }], phase: "Running",
        conditions: [{ type: "Ready", status: "True" }] },
    }));
    await living.apply(twoNodes(...pods, lockdown));
    expect(living.nodes.get("node1")!.outgrown).toBe(1);
    expect(one("shop/more-199 -> shop/db:1", living)).toMatchObject(
      { verdict: "deny", at: "egress" });
  });
});
