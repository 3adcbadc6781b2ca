// Endpoints: which pods are some, what labels they bear and inherit, their profiles, spoofing,
// and the states of several nodes out of one cluster.
import { describe, expect, test } from "vitest";
import { Calculator } from "../../../host/calc/calculate.ts";
import {
  bareRules, calico, calculated, findingTexts, manifest, members, node, object, pod, snapshot,
} from "./snapshots.ts";

/** Members of the set of a selector, over a world. */
function selected(selector: string, world: Parameters<typeof calculated>[0]): string[] {
  const { state } = calculated({ ...world, objects: [
    ...(world.objects ?? []),
    calico("GlobalNetworkPolicy", "probe", {
      performanceHints: ["AssumeNeededOnEveryNode"],
      ingress: [{ action: "Allow", source: { selector } }],
    }),
  ] });
  const [rule] = bareRules(state, "GlobalNetworkPolicy probe");
  return members(state, rule!.sourceSets![0]);
}

describe("calc-labels: labels that endpoints bear and inherit", () => {
  const world = {
    pods: [
      pod("shop/web", "10.0.0.1", {
        labels: { app: "web", "pcns.team": "forged", "pcsa.role": "forged",
          "projectcalico.org/namespace": "forged" },
        serviceAccount: "front",
      }),
      pod("ops/web", "10.0.0.2", { serviceAccount: "" }),
    ],
    namespaces: { shop: { team: "a", "kubernetes.io/metadata.name": "shop" } },
    serviceAccounts: { "shop/front": { role: "edge" } },
  };
  test.each([
    ["app == 'web'", ["10.0.0.1/32"]],
    ["projectcalico.org/namespace == 'shop'", ["10.0.0.1/32"]],
    ["projectcalico.org/orchestrator == 'k8s'", ["10.0.0.1/32", "10.0.0.2/32"]],
    ["projectcalico.org/serviceaccount == 'front'", ["10.0.0.1/32"]],
    ["has(projectcalico.org/serviceaccount)", ["10.0.0.1/32"]],
    ["pcns.team == 'a'", ["10.0.0.1/32"]],
    ["pcns.projectcalico.org/name == 'ops'", ["10.0.0.2/32"]],
    ["pcns.kubernetes.io/metadata.name == 'ops'", ["10.0.0.2/32"]],
    ["pcsa.role == 'edge'", ["10.0.0.1/32"]],
    ["pcsa.projectcalico.org/name == 'front'", ["10.0.0.1/32"]],
    ["pcns.team == 'forged' || pcsa.role == 'forged'", []],
  ])("%s", (selector, expected) => {
    expect(selected(selector, world)).toEqual(expected);
  });

  test("host endpoints inherit labelsToApply, a profile's rules name sets", () => {
    const objects = [
      calico("Profile", "metal", {
        labelsToApply: { kind: "metal", rack: "none" },
        ingress: [{ action: "Allow", source: { selector: "rack == '7'" } }],
        egress: [{ action: "Pass" }],
      }),
      calico("HostEndpoint", "h", {
        node: "node1", interfaceName: "eth0", expectedIPs: ["172.16.0.1"], profiles: ["metal"],
        ports: [{ name: "ssh", protocol: "TCP", port: 22 }],
      }, { rack: "7" }),
    ];
    expect(selected("kind == 'metal' && rack == '7'", { objects })).toEqual(["172.16.0.1/32"]);
    expect(selected("rack == 'none'", { objects })).toEqual([]);
    const { state } = calculated({ objects });
    const { inbound, outbound } = state.profiles.get("metal")!;
    expect(members(state, inbound[0]!.sourceSets![0])).toEqual(["172.16.0.1/32"]);
    expect(inbound[0]!.origin).toMatchObject({ path: "ingress[0]", file: "metal.yaml" });
    expect(outbound[0]!.action).toBe("pass");
  });

  test("a host endpoint's ports can be named", () => {
    const { state } = calculated({ objects: [
      calico("HostEndpoint", "h", {
        node: "node1", interfaceName: "*", expectedIPs: ["172.16.0.1", "fd00::1"],
        ports: [{ name: "ssh", protocol: "TCP", port: 22 }],
      }),
      calico("GlobalNetworkPolicy", "p", {
        ingress: [{ action: "Allow", protocol: "TCP", destination: { ports: ["ssh"] } }],
      }),
    ] });
    const [rule] = bareRules(state, "GlobalNetworkPolicy p");
    expect(members(state, rule!.destinationNamedPorts![0]))
      .toEqual(["172.16.0.1,tcp:22", "fd00::1,tcp:22"]);
  });
});

describe("calc-endpoints: which pods are endpoints, and where", () => {
  const phase = (name: string) => manifest({
    apiVersion: "v1", kind: "Pod", metadata: { name: "x", namespace: "shop" },
    status: { phase: name },
  });
  const world = {
    nodes: [node("node1", "172.16.0.1"), node("node2", "172.16.0.2")],
    pods: [
      pod("shop/a", "10.0.0.1", { addresses: ["10.0.0.1", "FD00::1"] }),
      pod("shop/b", "10.0.0.2", { node: "node2" }),
      pod("shop/host", "172.16.0.1", { hostNetwork: true }),
      pod("shop/done", "10.0.0.4", { manifest: phase("Succeeded") }),
      pod("shop/failed", "10.0.0.5", { manifest: phase("Failed") }),
      pod("shop/runs", "10.0.0.6", { manifest: phase("Running") }),
      pod("shop/pending", "", { addresses: [] }),
    ],
  };

  test("pods of the host's network, finished ones and ones without address are none", () => {
    expect(selected("all()", world))
      .toEqual(["10.0.0.1/32", "10.0.0.2/32", "10.0.0.6/32", "fd00::1/128"]);
    const { state } = calculated(world);
    expect([...state.workloads.keys()]).toEqual(["k8s/shop/a/eth0", "k8s/shop/runs/eth0"]);
  });

  test("a workload has Felix' name of its interface, both families, its profiles", () => {
    const { state } = calculated(world);
    expect(state.workloads.get("k8s/shop/a/eth0")).toEqual({
      id: "k8s/shop/a/eth0", workload: "shop/a", interface: "cali8c689ec8560", active: true,
      addresses: ["10.0.0.1", "fd00::1"], tiers: [], profiles: ["kns.shop", "ksa.shop.default"],
      allowedSources: [],
    });
    expect(state.profiles.get("kns.shop")!.inbound.map(({ action }) => action)).toEqual(["allow"]);
    expect(state.profiles.get("kns.shop")!.outbound.map(({ action }) => action)).toEqual(["allow"]);
    expect(state.profiles.get("ksa.shop.default")).toEqual({
      name: "ksa.shop.default", inbound: [], outbound: [],
    });
  });

  test("only what the node has is in its state; sets are of the whole cluster, and shared", () => {
    const calculator = new Calculator(snapshot({ ...world, objects: [
      object("networking.k8s.io/v1", "NetworkPolicy", "shop/p", {
        podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }],
      }),
    ] }));
    const [one, two, none] = ["node1", "node2", "node3"].map((name) => calculator.state(name));
    expect([...one!.workloads.keys()]).toEqual(["k8s/shop/a/eth0", "k8s/shop/runs/eth0"]);
    expect([...two!.workloads.keys()]).toEqual(["k8s/shop/b/eth0"]);
    expect([none!.workloads.size, none!.policies.size, none!.sets.size]).toEqual([0, 0, 0]);
    const [set] = one!.sets.values();
    expect([...two!.sets.values()][0]).toBe(set);
    expect(set!.members.size).toBe(4);
    expect(none!.hosts).toEqual(new Map([["node1", ["172.16.0.1"]], ["node2", ["172.16.0.2"]]]));
  });

  test("allowed source prefixes, and what is wrong with them", () => {
    const prefixes = (text: string) => calculated({ pods: [pod("shop/a", "10.0.0.1", {
      annotations: { "cni.projectcalico.org/allowedSourcePrefixes": text },
      manifest: phase("Running"),
    })] });
    const { state } = prefixes('["10.9.8.7/16", "fd00::/8"]');
    expect(state.workloads.get("k8s/shop/a/eth0")!.allowedSources)
      .toEqual(["10.9.0.0/16", "fd00::/8"]);
    const { state: without, findings } = prefixes('["10.9.8.7/99"]');
    expect(without.workloads.get("k8s/shop/a/eth0")!.allowedSources).toEqual([]);
    expect(findingTexts(findings)[0]).toMatch(
      /^error Pod shop\/x .*allowedSourcePrefixes: "10.9.8.7\/99": the prefix length must be/,
    );
  });

  test("a set of networks with a bad prefix is an error and holds nothing", () => {
    const { findings } = calculated({ objects: [
      calico("GlobalNetworkSet", "s", { nets: ["10.0.0.0/8", "10.0.0.0/a"] }),
    ] });
    expect(findingTexts(findings)).toEqual(["error GlobalNetworkSet s spec.nets: " +
      'nets: "10.0.0.0/a": the prefix length must be 0 to 32']);
  });
});
