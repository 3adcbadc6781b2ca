// Kubernetes' NetworkPolicy: each form of peer and port, types left out, where rules come from.
import { describe, expect, test } from "vitest";
import { Selector } from "../../../host/calc/selector/selector.ts";
import {
  bareRules, calico, calculated, findingTexts, members, networkPolicy, place, pod, tierTexts,
} from "./snapshots.ts";

const PODS = [
  pod("shop/web", "10.0.0.1", {
    labels: { app: "web" }, ports: [{ name: "http", port: 8080, protocol: "TCP" }],
  }),
  pod("shop/db", "10.0.0.2", {
    labels: { app: "db" }, ports: [
      { name: "sql", port: 5432, protocol: "TCP" }, { name: "sql", port: 5433, protocol: "UDP" },
    ],
  }),
  pod("ops/web", "10.0.0.3", { labels: { app: "web" } }),
];
const NAMESPACES = { shop: { team: "a" }, ops: { team: "b" } };
const KEY = "NetworkPolicy shop/p";

const under = (spec: Record<string, unknown>) => calculated({
  pods: PODS, namespaces: NAMESPACES,
  objects: [networkPolicy("shop/p", { podSelector: {}, ...spec })],
});
const ingress = (rule: Record<string, unknown>) => under({ ingress: [rule] });

/** Members of the one set that a rule's source names. */
function peerMembers(from: Record<string, unknown>): string[] {
  const { state } = ingress({ from: [from] });
  const [rule] = bareRules(state, KEY);
  expect(rule!.sourceSets).toHaveLength(1);
  return members(state, rule!.sourceSets![0]);
}

describe("calc-kubernetes: peers of a NetworkPolicy", () => {
  test("podSelector alone is of the policy's own namespace", () => {
    expect(peerMembers({ podSelector: { matchLabels: { app: "web" } } })).toEqual(["10.0.0.1/32"]);
    expect(peerMembers({ podSelector: {} })).toEqual(["10.0.0.1/32", "10.0.0.2/32"]);
  });

  test("namespaceSelector alone is all pods of those namespaces", () => {
    expect(peerMembers({ namespaceSelector: { matchLabels: { team: "b" } } }))
      .toEqual(["10.0.0.3/32"]);
    expect(peerMembers({ namespaceSelector: {} }))
      .toEqual(["10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"]);
    expect(peerMembers({
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "ops" } },
    })).toEqual(["10.0.0.3/32"]);
  });

  test("both are pods in those namespaces", () => {
    expect(peerMembers({
      namespaceSelector: {}, podSelector: { matchLabels: { app: "web" } },
    })).toEqual(["10.0.0.1/32", "10.0.0.3/32"]);
  });

  test.each([
    [{ key: "app", operator: "In", values: ["db", "x"] }, ["10.0.0.2/32"]],
    [{ key: "app", operator: "NotIn", values: ["db"] }, ["10.0.0.1/32", "10.0.0.3/32"]],
    [{ key: "app", operator: "Exists" }, ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"]],
    [{ key: "app", operator: "DoesNotExist" }, []],
  ])("matchExpressions %j", (expression, expected) => {
    const podSelector = { matchExpressions: [expression] };
    expect(peerMembers({ namespaceSelector: {}, podSelector })).toEqual(expected);
  });

  test("ipBlock is prefixes, host bits off, both families", () => {
    const { state } = ingress({
      from: [
        { ipBlock: { cidr: "10.1.2.3/8", except: ["10.2.0.0/16"] } },
        { ipBlock: { cidr: "FD00:0::1/64" } },
      ],
    });
    expect(bareRules(state, KEY)).toEqual([
      { action: "allow", source: ["10.0.0.0/8"], notSource: ["10.2.0.0/16"] },
      { action: "allow", source: ["fd00::/64"] },
    ]);
  });

  test("no peers are anyone; the ids of sets are their selectors'", () => {
    const { state } = under({
      ingress: [{}, { from: [{ podSelector: { matchLabels: { b: "2", a: "1" } } }] }],
    });
    const [anyone, some] = bareRules(state, KEY);
    expect(anyone).toEqual({ action: "allow" });
    expect(some!.sourceSets).toEqual([Selector.parse(
      "(projectcalico.org/namespace == 'shop') && " +
        "(projectcalico.org/orchestrator == 'k8s' && a == '1' && b == '2')",
    ).id]);
  });

  test("egress has its peers and ports at the destination", () => {
    const { state } = under({
      policyTypes: ["Egress"],
      egress: [{ to: [{ podSelector: { matchLabels: { app: "db" } } }], ports: [{ port: 5432 }] }],
    });
    const [rule] = bareRules(state, KEY, "outbound");
    expect(rule).toMatchObject({ protocol: "tcp", destinationPorts: [5432] });
    expect(members(state, rule!.destinationSets![0])).toEqual(["10.0.0.2/32"]);
    expect(bareRules(state, KEY)).toEqual([]);
  });
});

describe("calc-kubernetes: ports of a NetworkPolicy", () => {
  test("one rule for each protocol in order of name, numbers as few ranges", () => {
    const { state } = ingress({
      ports: [
        { protocol: "UDP", port: 53 }, { port: 82 }, { port: 80, endPort: 81 }, { port: "90" },
        { protocol: "SCTP", port: 7 },
      ],
    });
    expect(bareRules(state, KEY)).toEqual([
      { action: "allow", protocol: "sctp", destinationPorts: [7] },
      { action: "allow", protocol: "tcp", destinationPorts: ["80-82", 90] },
      { action: "allow", protocol: "udp", destinationPorts: [53] },
    ]);
  });

  test("a port without a number is all of its protocol", () => {
    const { state } = ingress({ ports: [{ port: 80 }, { protocol: "TCP" }, { port: 81 }] });
    expect(bareRules(state, KEY)).toEqual([{ action: "allow", protocol: "tcp" }]);
  });

  test("a name is a set of (address, protocol, port), beside numbers", () => {
    const { state } = ingress({ ports: [{ port: "sql" }, { port: 80 }] });
    const [rule] = bareRules(state, KEY);
    expect(rule).toMatchObject({ protocol: "tcp", destinationPorts: [80] });
    const [id] = rule!.destinationNamedPorts!;
    expect(id).toMatch(/^n:/);
    expect(state.sets.get(id!)!.type).toBe("ip-port");
    expect(members(state, id)).toEqual(["10.0.0.2,tcp:5432"]);
  });

  test("at the peer's side a name is of the peer, which then has no set of its own", () => {
    const { state } = under({
      policyTypes: ["Egress"],
      egress: [{
        to: [{ podSelector: { matchLabels: { app: "db" } } }],
        ports: [{ protocol: "UDP", port: "sql" }],
      }],
    });
    const [rule] = bareRules(state, KEY, "outbound");
    expect(rule!.destinationSets).toBeUndefined();
    expect(members(state, rule!.destinationNamedPorts![0])).toEqual(["10.0.0.2,udp:5433"]);
  });
});

describe("calc-kubernetes: types, selection, origins, errors", () => {
  test.each([
    [{}, true, false],
    [{ ingress: [{}] }, true, false],
    [{ egress: [{}] }, true, true],
    [{ egress: [] }, true, false],
    [{ policyTypes: ["Egress"] }, false, true],
    [{ policyTypes: ["Ingress", "Egress"] }, true, true],
  ])("%j: ingress %s, egress %s", (spec, inward, outward) => {
    const { state } = under(spec);
    const [tier] = state.workloads.get("k8s/shop/web/eth0")!.tiers;
    expect([tier!.ingress.length > 0, tier!.egress.length > 0]).toEqual([inward, outward]);
  });

  test("it selects pods of its namespace alone, and stands in the default tier", () => {
    const { state } = calculated({
      pods: PODS, objects: [
        networkPolicy("shop/p", { podSelector: { matchLabels: { app: "web" } } }),
        networkPolicy("shop/nobody", { podSelector: { matchLabels: { app: "none" } } }),
      ],
    });
    expect(tierTexts(state.workloads.get("k8s/shop/web/eth0")!.tiers))
      .toEqual([`default deny: ${KEY} | `]);
    expect(state.workloads.get("k8s/shop/db/eth0")!.tiers).toEqual([]);
    expect(state.workloads.get("k8s/ops/web/eth0")!.tiers).toEqual([]);
    expect([...state.policies.keys()]).toEqual([KEY]);
  });

  test("a rule knows where its author wrote it, and which peer it is", () => {
    const { state } = ingress({ from: [{ podSelector: {} }, { ipBlock: { cidr: "1.0.0.0/8" } }] });
    const origins = state.policies.get(KEY)!.inbound.map(({ origin }) => origin);
    expect(origins).toEqual([0, 1].map((i) => ({
      path: "ingress[0]", peer: `from[${i}]`, file: "p.yaml",
      ...place(["spec", "ingress", 0, "from", i]),
    })));
    const { state: bare } = under({ ingress: [{}, {}] });
    expect(bare.policies.get(KEY)!.inbound[1]!.origin).toEqual({
      path: "ingress[1]", file: "p.yaml", ...place(["spec", "ingress", 1]),
    });
  });

  test.each([
    [{ ingress: [{ from: [{}] }] },
      "spec.ingress[0].from[0]: a peer is a podSelector, a namespaceSelector or an ipBlock"],
    [{ ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/33" } }] }] },
      'spec.ingress[0].from[0].ipBlock.cidr: "10.0.0.0/33": the prefix length must be 0 to 32'],
    [{ ingress: [{ ports: [{ port: 90, endPort: 80 }] }] },
      "spec.ingress[0].ports[0].port: ports 90 to 80: the first is above the last"],
    [{ ingress: [{ ports: [{ port: "http", endPort: 80 }] }] },
      'spec.ingress[0].ports[0].port: endPort: "http" is no number'],
    [{ ingress: [{ ports: [{ protocol: "TPC", port: 1 }] }] },
      'spec.ingress[0].ports[0].protocol: "TPC" is no protocol; ' +
        "TCP, UDP, SCTP, ICMP, ICMPv6, UDPLite or a number"],
    [{ podSelector: { matchExpressions: [{ key: "a", operator: "Is" }] } },
      'spec.podSelector.matchExpressions[0]: operator "Is": In, NotIn, Exists or DoesNotExist'],
  ])("%j is an error, and the policy is left out", (spec, message) => {
    const { state, findings } = under(spec);
    expect(findingTexts(findings)).toEqual([`error ${KEY} ${message}`]);
    expect(state.policies.size).toBe(0);
  });

  test("rules of a direction that policyTypes leaves out are warned of", () => {
    const { findings } = under({ policyTypes: ["Egress"], ingress: [{}], egress: [{}] });
    expect(findingTexts(findings)).toEqual([
      `warning ${KEY} spec.ingress: ingress rules never run: policyTypes lacks Ingress`,
    ]);
  });

  test("the staged form is counted beside the others, a staged deletion is nothing", () => {
    const { state } = calculated({
      pods: PODS, objects: [
        calico("StagedKubernetesNetworkPolicy", "shop/s", { podSelector: {}, ingress: [{}] }),
        calico("StagedKubernetesNetworkPolicy", "shop/gone", { stagedAction: "Delete" }),
      ],
    });
    expect([...state.policies.values()].map(({ kind, name, staged }) => [kind, name, staged]))
      .toEqual([["StagedKubernetesNetworkPolicy", "s", true]]);
    expect(bareRules(state, "StagedKubernetesNetworkPolicy shop/s")).toEqual([{ action: "allow" }]);
  });
});
