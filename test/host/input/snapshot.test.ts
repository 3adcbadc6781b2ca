// Whole snapshots: twins, what is implied, what changes keep.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  applyManifests, readSnapshot, snapshotOf, withPods,
} from "../../../host/input/snapshot.ts";
import { folderOf, line, object, policy, read } from "./files.ts";

const DEPLOYMENT = (name: string): string => object("apps/v1", "Deployment", "namespace: shop",
  "replicas: 2\ntemplate: {metadata: {labels: {app: a}}}", "---")
  .replace("name: x", `name: ${name}`);
const SERVICE = (name: string, spec: string): string => {
  return object("v1", "Service", "namespace: shop", spec, "---")
    .replace("name: x", `name: ${name}`);
};

describe("snapshot-objects:", () => {
  test("the same object twice is an error that names both places; the later one stays", () => {
    const { lines, snapshot } = read({
      "a.yaml": policy("podSelector: {matchLabels: {a: b}}"), "b/c.yaml": `\n\n${policy("{}")}`,
      "d.yaml": object("projectcalico.org/v3", "NetworkPolicy", "namespace: shop", "order: 1"),
    });
    expect(lines).toEqual([
      "b/c.yaml:3:1 NetworkPolicy shop/x: is in a.yaml:1:1 too; kubectl apply would leave this " +
      "one, the later",
    ]);
    expect(snapshot.policies.map(({ value }) => value["spec"])).toMatchObject([
      { podSelector: {} }, { order: 1 },
    ]);
    expect(JSON.stringify(snapshot.policies)).not.toContain("matchLabels");
  });

  test("both forms of Calico's API are one object; a kustomization explains twins", () => {
    const { lines, folder } = read({
      "a.yaml": object("projectcalico.org/v3", "Tier", "", "order: 1"),
      "b.yaml": object("crd.projectcalico.org/v1", "Tier", "", "order: 2"),
      "kustomization.yaml": "resources: []",
    });
    expect(lines[0]).toContain("is in a.yaml:1:1 too");
    expect(lines[0]).toContain("kustomize build ");
    expect(folder).not.toBe("");
  });

  test("namespaces and accounts that objects name are there, with the label that all have", () => {
    const { snapshot } = read({
      "a.yaml": DEPLOYMENT("web"), "b.yaml": object("v1", "Namespace", "labels: {team: a}", ""),
      "c.yaml": object("v1", "ServiceAccount", "namespace: y1\nlabels: {role: r}", ""),
    });
    expect([...snapshot.namespaces].map(([name, { labels }]) => [name, labels])).toEqual([
      ["x", { team: "a", "kubernetes.io/metadata.name": "x" }],
      ["shop", { "kubernetes.io/metadata.name": "shop" }],
      ["y1", { "kubernetes.io/metadata.name": "y1" }],
    ]);
    expect([...snapshot.serviceAccounts].map(([name, { labels }]) => [name, labels]))
      .toEqual([["y1/x", { role: "r" }], ["shop/default", {}]]);
  });

  test("a policy that is wrong is not in the snapshot; the others are", () => {
    const { lines, snapshot } = read({
      "a.yaml": policy("ingres: []"), "b.yaml": policy("{}").replace("name: x", "name: fine"),
    });
    expect(lines).toHaveLength(1);
    expect(snapshot.policies.map(({ name }) => name)).toEqual(["fine"]);
  });

  test("Services get ClusterIPs as an API server gives them", () => {
    const { snapshot } = read({
      "a.yaml": SERVICE("b", "ports: [{port: 80, targetPort: http}, {port: 81}]") +
        SERVICE("a", "{}") + SERVICE("headless", "clusterIP: None") +
        SERVICE("own", "clusterIP: 10.96.0.2") + SERVICE("named", "type: ExternalName") +
        SERVICE("kube-dns", "{}").replace("namespace: shop", "namespace: kube-system"),
    });
    const specs = Object.fromEntries(snapshot.services.map(({ name, value }) => {
      return [name, value["spec"] as { clusterIP?: string; ports?: unknown[] }];
    }));
    expect(Object.fromEntries(Object.entries(specs).map(([name, spec]) => [name, spec.clusterIP])))
      .toEqual({
        a: "10.96.0.3", b: "10.96.0.4", headless: "None", own: "10.96.0.2", named: undefined,
        "kube-dns": "10.96.0.10",
      });
    expect(specs["b"]!.ports).toEqual([
      { port: 80, targetPort: "http", protocol: "TCP" },
      { port: 81, targetPort: 81, protocol: "TCP" },
    ]);
  });

  test("dual-stack Services in a dual-stack cluster have both", () => {
    const pool = (name: string, cidr: string): string => {
      return object("projectcalico.org/v3", "IPPool", "", `cidr: '${cidr}'`, "---")
        .replace("name: x", `name: ${name}`);
    };
    const { snapshot, lines } = read({
      "a.yaml": DEPLOYMENT("web") + pool("a", "10.8.0.0/16") + pool("b", "fd00:8::/64") +
        SERVICE("both", "ipFamilyPolicy: PreferDualStack") + SERVICE("one", "{}") +
        SERVICE("six", "ipFamilies: [IPv6]"),
    });
    expect(lines).toEqual([]);
    const specs = snapshot.services.map(({ value }) => value["spec"] as { clusterIPs: string[] });
    expect(specs.map(({ clusterIPs }) => clusterIPs))
      .toEqual([["10.96.0.2", "fd96::1"], ["10.96.0.3"], ["fd96::2"]]);
  });

  test("plain objects make a snapshot too", () => {
    const { snapshot, findings } = snapshotOf([
      {
        apiVersion: "v1", kind: "Pod", metadata: { name: "y" }, spec: {},
        status: { podIP: "1.2.3.4" },
      },
      { apiVersion: "v1", kind: "List", items: [] },
      { apiVersion: "v1", kind: "Pod", metadata: { name: "z" }, spec: { nodeName: 3 } },
    ]);
    expect(findings.map((each) => line(each, "/none"))).toEqual([
      ":1:1 Pod default/z spec.nodeName: must be a string, is 3; quote it",
    ]);
    expect(snapshot.pods).toMatchObject([{ name: "y", addresses: ["1.2.3.4"], node: "node-1" }]);
  });
});

describe("snapshot-changes:", () => {
  test("test-only pods get free addresses, and change nobody else's", () => {
    const { snapshot } = read({ "a.yaml": DEPLOYMENT("web") });
    const before = JSON.stringify(snapshot.pods);
    const more = withPods(snapshot, [
      { namespace: "other", name: "a-stranger", labels: { app: "curl" } },
      { namespace: "shop", name: "own", addresses: ["10.65.0.200"], serviceAccount: "sa" },
    ]);
    const pods = more.pods.map(({ namespace, name, addresses }) => [namespace, name, addresses]);
    expect(pods).toEqual([
      ["other", "a-stranger", ["10.65.0.3"]], ["shop", "own", ["10.65.0.200"]],
      ["shop", "web-0", ["10.65.0.1"]], ["shop", "web-1", ["10.65.0.2"]],
    ]);
    expect(more.namespaces.get("other")!.labels)
      .toEqual({ "kubernetes.io/metadata.name": "other" });
    expect(more.serviceAccounts.has("shop/sa")).toBe(true);
    expect(JSON.stringify(snapshot.pods)).toBe(before);
    expect(snapshot.namespaces.has("other")).toBe(false);
  });

  test("applying files replaces objects of the same name and moves nobody", () => {
    const folder = folderOf({
      "k8s/a.yaml": DEPLOYMENT("web") + policy("podSelector: {}", "---") + SERVICE("web", "{}"),
      "more.yaml": DEPLOYMENT("api") + policy("podSelector: {matchLabels: {a: b}}", "---") +
        SERVICE("a", "{}"),
    });
    const first = readSnapshot([join(folder, "k8s")]);
    const second = applyManifests(first, [join(folder, "more.yaml")]);
    expect(second.findings).toEqual([]);
    expect(second.snapshot.pods.map(({ name, addresses }) => [name, ...addresses])).toEqual([
      ["api-0", "10.65.0.3"], ["api-1", "10.65.0.4"],
      ["web-0", "10.65.0.1"], ["web-1", "10.65.0.2"],
    ]);
    expect(second.snapshot.policies.map(({ value }) => value["spec"]))
      .toMatchObject([{ podSelector: { matchLabels: { a: "b" } } }]);
    const address = (from: typeof second.snapshot, name: string): unknown => {
      const { value } = from.services.find((each) => each.name === name)!;
      return (value["spec"] as { clusterIP: string }).clusterIP;
    };
    expect(address(second.snapshot, "web")).toBe(address(first.snapshot, "web"));
    expect(address(second.snapshot, "a")).not.toBe(address(first.snapshot, "web"));
  });
});
