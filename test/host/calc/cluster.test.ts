// ClusterNetworkPolicy, AdminNetworkPolicy, BaselineAdminNetworkPolicy: tiers, subjects, peers,
// ports, and what is not known closing a rule rather than opening it.
import { describe, expect, test } from "vitest";
import {
  bareRules, calculated, findingTexts, members, node, object, place, pod, tierTexts,
} from "./snapshots.ts";

const V2 = "policy.networking.k8s.io/v1alpha2";
const V1 = "policy.networking.k8s.io/v1alpha1";
const ALL = { namespaces: {} };
const CNP = "ClusterNetworkPolicy p";

const WORLD = {
  pods: [
    pod("shop/web", "10.0.0.1", {
      labels: { app: "web" }, ports: [{ name: "http", port: 8080, protocol: "TCP" }],
    }),
    pod("ops/web", "10.0.0.2", { labels: { app: "web" } }),
  ],
  namespaces: { shop: { team: "a" }, ops: { team: "b" } },
  nodes: [
    node("node1", "172.16.0.1", { role: "edge" }), node("node2", "172.16.0.2"),
  ],
};
const cnp = (spec: Record<string, unknown>, name = "p") => {
  const whole = { tier: "Admin", priority: 10, subject: ALL, ...spec };
  return object(V2, "ClusterNetworkPolicy", name, whole);
};
const under = (spec: Record<string, unknown>) => calculated({ ...WORLD, objects: [cnp(spec)] });
const accept = (more: Record<string, unknown>) => ({ action: "Accept", ...more });

describe("calc-cluster-policy: tiers and subjects", () => {
  test("kube-admin before the default tier, kube-baseline behind it, both pass", () => {
    const rule = [{ action: "Deny", from: [ALL] }];
    const { state } = calculated({ ...WORLD, objects: [
      cnp({ tier: "Baseline", ingress: rule }, "base"),
      object("networking.k8s.io/v1", "NetworkPolicy", "shop/np", { podSelector: {} }),
      cnp({ ingress: rule }, "admin"),
    ] });
    expect(tierTexts(state.workloads.get("k8s/shop/web/eth0")!.tiers)).toEqual([
      "kube-admin pass: ClusterNetworkPolicy admin | ",
      "default deny: NetworkPolicy shop/np | ",
      "kube-baseline pass: ClusterNetworkPolicy base | ",
    ]);
  });

  test("the older kinds stand in the same tiers", () => {
    const rule = { ingress: [{ action: "Allow", from: [ALL] }] };
    const { state } = calculated({ ...WORLD, objects: [
      object(V1, "BaselineAdminNetworkPolicy", "default", { subject: ALL, ...rule }),
      object(V1, "AdminNetworkPolicy", "later", { subject: ALL, priority: 20, ...rule }),
      object(V1, "AdminNetworkPolicy", "sooner", { subject: ALL, priority: 3, ...rule }),
      cnp({ priority: 7, ingress: [{ action: "Pass", from: [ALL] }] }, "between"),
    ] });
    expect(tierTexts(state.workloads.get("k8s/ops/web/eth0")!.tiers)).toEqual([
      "kube-admin pass: AdminNetworkPolicy sooner, ClusterNetworkPolicy between, " +
        "AdminNetworkPolicy later | ",
      "kube-baseline pass: BaselineAdminNetworkPolicy default | ",
    ]);
  });

  test.each([
    [{ namespaces: { matchLabels: { team: "a" } } }, ["shop/web"]],
    [{ namespaces: {} }, ["shop/web", "ops/web"]],
    [{ pods: { namespaceSelector: { matchLabels: { team: "b" } },
      podSelector: { matchLabels: { app: "web" } } } }, ["ops/web"]],
    [{ pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: "x" } } } }, []],
  ])("subject %j", (subject, expected) => {
    const { state } = under({ subject, ingress: [{ action: "Deny", from: [ALL] }] });
    const found = [...state.workloads.values()].filter(({ tiers }) => tiers.length > 0);
    expect(found.map(({ workload }) => workload)).toEqual(expected);
  });

  test("host endpoints are no subject, and a direction without rules is not ruled", () => {
    const { state } = calculated({ ...WORLD, objects: [
      cnp({ egress: [{ action: "Deny", to: [ALL] }] }),
      object("projectcalico.org/v3", "HostEndpoint", "h", { node: "node1", interfaceName: "*" }),
    ] });
    expect(state.hostEndpoints.get("h")!.tiers).toEqual([]);
    expect(tierTexts(state.workloads.get("k8s/shop/web/eth0")!.tiers))
      .toEqual([`kube-admin pass:  | ${CNP}`]);
  });
});

describe("calc-cluster-policy: peers and ports", () => {
  test("actions, peers in their order, each with its author's place", () => {
    const { state } = under({ egress: [
      { action: "Pass", to: [{ namespaces: { matchLabels: { team: "b" } } }] },
      { action: "Deny", to: [{ networks: ["10.1.2.3/8", "fd00::/8"] }, ALL] },
    ] });
    const key = CNP;
    const rules = bareRules(state, key, "outbound");
    expect(rules.map(({ action }) => action)).toEqual(["pass", "deny", "deny"]);
    expect(members(state, rules[0]!.destinationSets![0])).toEqual(["10.0.0.2/32"]);
    expect(rules[1]!.destination).toEqual(["10.0.0.0/8", "fd00::/8"]);
    expect(state.policies.get(key)!.outbound[2]!.origin).toEqual({
      path: "egress[1]", peer: "to[1]", file: "p.yaml", ...place(["spec", "egress", 1, "to", 1]),
    });
  });

  test("pods of namespaces", () => {
    const peer = { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: "web" } } } };
    const { state } = under({ ingress: [accept({ from: [peer] })] });
    const [rule] = bareRules(state, CNP);
    expect(members(state, rule!.sourceSets![0])).toEqual(["10.0.0.1/32", "10.0.0.2/32"]);
  });

  test("nodes are their addresses", () => {
    const { state } = under({ egress: [
      accept({ to: [{ nodes: { matchLabels: { role: "edge" } } }, { nodes: {} }] }),
    ] });
    const [edge, all] = bareRules(state, CNP, "outbound");
    expect(members(state, edge!.destinationSets![0])).toEqual(["172.16.0.1/32"]);
    expect(members(state, all!.destinationSets![0])).toEqual(["172.16.0.1/32", "172.16.0.2/32"]);
  });

  test("protocols of v1alpha2", () => {
    const { state } = under({ ingress: [accept({ from: [ALL], protocols: [
      { udp: { destinationPort: { number: 53 } } },
      { tcp: { destinationPort: { range: { start: 80, end: 90 } } } },
      { tcp: { destinationPort: { number: 91 } } },
      { sctp: {} },
      { destinationNamedPort: "http" },
    ] })] });
    const rules = bareRules(state, CNP);
    expect(rules.map(({ protocol, destinationPorts }) => [protocol, destinationPorts])).toEqual([
      [undefined, undefined], ["sctp", undefined], ["tcp", ["80-91"]], ["udp", [53]],
    ]);
    expect(members(state, rules[0]!.destinationNamedPorts![0])).toEqual(["10.0.0.1,tcp:8080"]);
  });

  test("ports of v1alpha1", () => {
    const { state } = calculated({ ...WORLD, objects: [object(V1, "AdminNetworkPolicy", "a", {
      priority: 1, subject: ALL, ingress: [{ action: "Allow", from: [ALL], ports: [
        { portNumber: { protocol: "UDP", port: 53 } }, { portRange: { start: 1, end: 5 } },
        { namedPort: "http" },
      ] }],
    })] });
    const rules = bareRules(state, "AdminNetworkPolicy a");
    expect(rules.map(({ protocol, destinationPorts }) => [protocol, destinationPorts])).toEqual([
      [undefined, undefined], ["tcp", ["1-5"]], ["udp", [53]],
    ]);
  });
});

describe("calc-cluster-policy: what is not known closes", () => {
  const domains = { domainNames: ["example.com"] };

  test("domain names match nothing of an Accept, the other peers stand", () => {
    const to = [domains, { networks: ["1.0.0.0/8"] }];
    const { state, findings } = under({ egress: [accept({ to })] });
    expect(bareRules(state, CNP, "outbound"))
      .toEqual([{ action: "allow", destination: ["1.0.0.0/8"] }]);
    expect(findingTexts(findings)).toEqual([`warning ${CNP} spec.egress[0].to[0].domainNames: ` +
      "domainNames: names are not resolved: the peer matches nothing"]);
  });

  test.each(["Deny", "Pass"])("a peer that can't be read makes a %s deny all", (action) => {
    const { state, findings } = under({ egress: [{ action, to: [domains, ALL] }] });
    expect(bareRules(state, CNP, "outbound")).toEqual([{ action: "deny" }]);
    expect(findingTexts(findings)[0]).toContain("the rule denies all");
    const { state: strange } = under({ ingress: [{ action, from: [{ moon: {} }] }] });
    expect(bareRules(strange, CNP)).toEqual([{ action: "deny" }]);
  });

  test.each([
    [{ tier: "Middle" }, 'spec.tier: tier: "Middle": Admin or Baseline'],
    [{ ingress: [{ action: "Deny", from: [] }] }, "spec.ingress[0].from: from: needs a peer"],
    [{ subject: {} }, "spec.subject: subject: namespaces or pods"],
    [{ ingress: [{ action: "Reject", from: [ALL] }] },
      'spec.ingress[0].action: "Reject": Accept (Allow before v1alpha2), Deny or Pass'],
    [{ egress: [accept({ to: [{ networks: ["10.0.0.0/40"] }] })] },
      'spec.egress[0].to[0].networks[0]: "10.0.0.0/40": the prefix length must be 0 to 32'],
    [{ ingress: [accept({ from: [ALL],
      protocols: [{ tcp: { destinationPort: { range: { start: 9, end: 8 } } } }] })] },
      "spec.ingress[0].protocols[0].tcp.destinationPort: " +
        "ports 9 to 8: the first is above the last"],
  ])("%j is an error", (spec, message) => {
    const { state, findings } = under(spec);
    expect(findingTexts(findings)).toEqual([`error ${CNP} ${message}`]);
    expect(state.policies.size).toBe(0);
  });
});
