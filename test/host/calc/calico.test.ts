// Calico's own policies: every field of a rule, whom they select, types, both API groups, errors.
import { describe, expect, test } from "vitest";
import { Selector } from "../../../host/calc/selector/selector.ts";
import {
  bareRules, calico, calculated, findingTexts, members, object, place, pod, tierTexts,
} from "./snapshots.ts";

const WORLD = {
  pods: [
    pod("shop/web", "10.0.0.1", { labels: { app: "web" }, serviceAccount: "front" }),
    pod("shop/db", "10.0.0.2", { labels: { app: "db" } }),
    pod("ops/web", "10.0.0.3", { labels: { app: "web" }, serviceAccount: "front", addresses: [
      "10.0.0.3", "fd00::3",
    ] }),
  ],
  namespaces: { shop: { team: "a" }, ops: { team: "b" } },
  serviceAccounts: { "shop/front": { role: "edge" }, "ops/front": {}, "shop/default": {} },
  hosts: [] as Record<string, unknown>[],
};
const SETS = [
  calico("GlobalNetworkSet", "partners", { nets: ["203.0.113.0/24", "0.0.0.0/0"] },
    { app: "web", partner: "yes" }),
  calico("NetworkSet", "shop/cdn", { nets: ["198.51.100.7", "2001:db8::/32"] }, { app: "web" }),
];
const HOST = calico("HostEndpoint", "h1", {
  node: "node1", interfaceName: "eth0", expectedIPs: ["172.16.0.1"],
}, { app: "web" });

const NP = "NetworkPolicy shop/p";
const GNP = "GlobalNetworkPolicy p";

/** State under a namespaced policy or a cluster's. */
const under = (spec: Record<string, unknown>, more: Record<string, unknown>[] = SETS) =>
  calculated({ ...WORLD, objects: [calico("NetworkPolicy", "shop/p", spec), HOST, ...more] });
const globally = (spec: Record<string, unknown>, more: Record<string, unknown>[] = SETS) =>
  calculated({ ...WORLD, objects: [calico("GlobalNetworkPolicy", "p", spec), HOST, ...more] });

/** Members of the one set of the first ingress rule's source. */
function sourceMembers(source: Record<string, unknown>, cluster = false): string[] {
  const { state } = (cluster ? globally : under)({ ingress: [{ action: "Allow", source }] });
  const [rule] = bareRules(state, cluster ? GNP : NP);
  expect(rule!.sourceSets).toHaveLength(1);
  return members(state, rule!.sourceSets![0]);
}

describe("calc-calico: who a rule's side is", () => {
  test("selector in a namespaced policy is of that namespace, sets of networks and all", () => {
    expect(sourceMembers({ selector: "app == 'web'" }))
      .toEqual(["10.0.0.1/32", "198.51.100.7/32", "2001:db8::/32"]);
  });

  test("selector in a cluster's policy is of everything", () => {
    expect(sourceMembers({ selector: "app == 'web'" }, true)).toEqual([
      "0.0.0.0/1", "10.0.0.1/32", "10.0.0.3/32", "128.0.0.0/1", "172.16.0.1/32",
      "198.51.100.7/32", "2001:db8::/32", "203.0.113.0/24", "fd00::3/128",
    ]);
  });

  test("namespaceSelector with a selector, alone, all() and global()", () => {
    expect(sourceMembers({ namespaceSelector: "team == 'b'", selector: "app == 'web'" }))
      .toEqual(["10.0.0.3/32", "fd00::3/128"]);
    expect(sourceMembers({ namespaceSelector: "projectcalico.org/name == 'ops'" }))
      .toEqual(["10.0.0.3/32", "fd00::3/128"]);
    expect(sourceMembers({ namespaceSelector: "all()" })).toEqual([
      "10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", "198.51.100.7/32", "2001:db8::/32",
      "fd00::3/128",
    ]);
    expect(sourceMembers({ namespaceSelector: "global()", selector: "app == 'web'" }))
      .toEqual(["0.0.0.0/1", "128.0.0.0/1", "172.16.0.1/32", "203.0.113.0/24"]);
  });

  test("notSelector within a selector, within the namespace, and by itself", () => {
    expect(sourceMembers({ selector: "has(app)", notSelector: "app == 'web'" }))
      .toEqual(["10.0.0.2/32"]);
    expect(sourceMembers({ notSelector: "app == 'web'" })).toEqual(["10.0.0.2/32"]);
    const { state } = globally({
      ingress: [{ action: "Allow", source: { notSelector: "has(app)" } }],
    });
    const [rule] = bareRules(state, GNP);
    expect(rule!.sourceSets).toBeUndefined();
    expect(rule!.notSourceSets).toEqual([Selector.parse("has(app)").id]);
  });

  test("serviceAccounts by name, by label, both, and with a selector", () => {
    expect(sourceMembers({ serviceAccounts: { names: ["front", "x"] } })).toEqual(["10.0.0.1/32"]);
    expect(sourceMembers({ serviceAccounts: { selector: "role == 'edge'" } }, true))
      .toEqual(["10.0.0.1/32"]);
    expect(sourceMembers({ serviceAccounts: { names: ["front"], selector: "!has(role)" } }, true))
      .toEqual(["10.0.0.3/32", "fd00::3/128"]);
    expect(sourceMembers({
      serviceAccounts: { names: ["front", "default"] }, selector: "app == 'db'",
    }, true)).toEqual(["10.0.0.2/32"]);
  });

  test("services: endpoints with their ports at the destination, addresses at the source", () => {
    const service = object("v1", "Service", "shop/db", {
      selector: { app: "db" }, ports: [{ port: 80, targetPort: 5432 }],
    });
    const rule = { action: "Allow", destination: { services: { name: "db" } } };
    const { state } = under({ types: ["Egress"], egress: [rule] }, [service]);
    const [out] = bareRules(state, NP, "outbound");
    expect(out!.destinationPortSets![0]).toMatch(/^svc:/);
    expect(members(state, out!.destinationPortSets![0])).toEqual(["10.0.0.2,tcp:5432"]);
    const from = { action: "Allow", source: { services: { name: "db", namespace: "shop" } } };
    const { state: inward } = globally({ ingress: [from] }, [service]);
    const [rulein] = bareRules(inward, GNP);
    expect(rulein!.sourceSets![0]).toMatch(/^svcnoport:/);
    expect(members(inward, rulein!.sourceSets![0])).toEqual(["10.0.0.2/32"]);
  });
});

describe("calc-calico: the other fields of a rule", () => {
  test("everything at once", () => {
    const { state, findings } = under({
      ingress: [{
        action: "Deny", protocol: "TCP", ipVersion: 4,
        source: { nets: ["10.1.0.1/16", "10.9.9.9"], notNets: ["10.1.2.0/24"], ports: [1, "2:3"],
          notPorts: ["4"] },
        destination: { nets: ["FD00::/8"], notNets: ["fd01::5"], ports: ["http", 80],
          notPorts: ["x"] },
      }],
    });
    expect(findings).toEqual([]);
    const [rule] = bareRules(state, NP);
    const named = { destinationNamedPorts: rule!.destinationNamedPorts,
      notDestinationNamedPorts: rule!.notDestinationNamedPorts };
    expect(rule).toEqual({
      action: "deny", ipVersion: 4, protocol: "tcp",
      source: ["10.1.0.0/16", "10.9.9.9/32"], notSource: ["10.1.2.0/24"],
      sourcePorts: [1, "2-3"], notSourcePorts: [4],
      destination: ["fd00::/8"], notDestination: ["fd01::5/128"], destinationPorts: [80],
      ...named,
    });
    expect(named.destinationNamedPorts).toHaveLength(1);
    expect(named.notDestinationNamedPorts).toHaveLength(1);
  });

  test.each([
    [{ protocol: "ICMP", icmp: { type: 8, code: 0 } },
      { ipVersion: 4, protocol: "icmp", icmp: { type: 8, code: 0 } }],
    [{ protocol: "ICMPv6", notICMP: { type: 128 } },
      { ipVersion: 6, protocol: "icmpv6", notIcmp: { type: 128 } }],
    [{ notProtocol: "UDPLite" }, { notProtocol: "udplite" }],
    [{ protocol: "47" }, { protocol: 47 }],
    [{ protocol: 132 }, { protocol: 132 }],
    [{ ipVersion: 6 }, { ipVersion: 6 }],
  ])("%j", (fields, expected) => {
    const { state } = under({ ingress: [{ action: "Allow", ...fields }] });
    expect(bareRules(state, NP)).toEqual([{ action: "allow", ...expected }]);
  });

  test("actions, in their order, each with its author's place", () => {
    const actions = ["Log", "Pass", "Allow", "Deny"];
    const { state } = under({ ingress: actions.map((action) => ({ action })) });
    const { inbound } = state.policies.get(NP)!;
    expect(inbound.map(({ action }) => action)).toEqual(["log", "pass", "allow", "deny"]);
    expect(inbound[2]!.origin).toEqual({
      path: "ingress[2]", file: "p.yaml", ...place(["spec", "ingress", 2]),
    });
  });

  test("a named port asks the selector of its side, and no protocol is any", () => {
    const pods = [
      pod("shop/a", "10.0.0.1", { labels: { app: "a" }, ports: [
        { name: "x", port: 1, protocol: "TCP" }, { name: "x", port: 2, protocol: "SCTP" },
      ] }),
      pod("shop/b", "10.0.0.2", { ports: [{ name: "x", port: 3, protocol: "TCP" }] }),
    ];
    const { state } = calculated({ pods, objects: [calico("GlobalNetworkPolicy", "p", {
      egress: [{ action: "Allow", destination: { selector: "app == 'a'", ports: ["x"] } }],
    })] });
    const [rule] = bareRules(state, GNP, "outbound");
    expect(rule!.destinationSets).toBeUndefined();
    expect(members(state, rule!.destinationNamedPorts![0]))
      .toEqual(["10.0.0.1,sctp:2", "10.0.0.1,tcp:1"]);
  });

  test("HTTP is warned of", () => {
    const { findings } = under({ ingress: [{ action: "Allow", http: { methods: ["GET"] } }] });
    expect(findingTexts(findings)).toEqual([`warning ${NP} spec.ingress[0].http: ` +
      "HTTP is not looked at: the rule holds whatever is asked"]);
  });
});

describe("calc-calico: whom a policy selects, and which way", () => {
  const selected = (cluster: boolean, spec: Record<string, unknown>): string[] => {
    const { state } = (cluster ? globally : under)(spec, []);
    return [...state.workloads.values(), ...state.hostEndpoints.values()]
      .filter(({ tiers }) => tiers.length > 0).map(({ id }) => id.replace(/k8s\/|\/eth0/g, ""));
  };

  test("of its namespace; of the cluster, host endpoints too", () => {
    expect(selected(false, {})).toEqual(["shop/web", "shop/db"]);
    expect(selected(false, { selector: "app == 'web'" })).toEqual(["shop/web"]);
    expect(selected(true, {})).toEqual(["shop/web", "shop/db", "ops/web", "h1"]);
    expect(selected(true, { selector: "app == 'web'" })).toEqual(["shop/web", "ops/web", "h1"]);
  });

  test("by namespaceSelector and serviceAccountSelector, where all() means that it has one", () => {
    expect(selected(true, { namespaceSelector: "team == 'a'" })).toEqual(["shop/web", "shop/db"]);
    expect(selected(true, { namespaceSelector: "all()", selector: "app == 'web'" }))
      .toEqual(["shop/web", "ops/web"]);
    expect(selected(true, { serviceAccountSelector: "role == 'edge'" })).toEqual(["shop/web"]);
    expect(selected(true, { serviceAccountSelector: "all()" }))
      .toEqual(["shop/web", "shop/db", "ops/web"]);
    expect(selected(false, { serviceAccountSelector: "role == 'edge'" })).toEqual(["shop/web"]);
  });

  test.each([
    [{}, "in"], [{ ingress: [{ action: "Allow" }] }, "in"],
    [{ egress: [{ action: "Allow" }] }, "out"],
    [{ ingress: [{ action: "Allow" }], egress: [{ action: "Allow" }] }, "in out"],
    [{ types: ["Egress"], ingress: [{ action: "Allow" }] }, "out"],
  ])("types of %j: %s", (spec, expected) => {
    const { state } = under(spec);
    const [tier] = state.workloads.get("k8s/shop/web/eth0")!.tiers;
    const ways = [tier!.ingress.length > 0 ? "in" : "", tier!.egress.length > 0 ? "out" : ""];
    expect(ways.filter((way) => way !== "").join(" ")).toBe(expected);
  });

  test("the crd form without types is both, and says so", () => {
    const { state, findings } = calculated({ ...WORLD, objects: [
      object("crd.projectcalico.org/v1", "NetworkPolicy", "shop/p", {
        ingress: [{ action: "Allow" }],
      }),
    ] });
    expect(tierTexts(state.workloads.get("k8s/shop/web/eth0")!.tiers))
      .toEqual([`default deny: ${NP} | ${NP}`]);
    expect(findingTexts(findings)).toEqual([`warning ${NP} spec: types: none are given, and in ` +
      "the crd.projectcalico.org form that means both: egress is denied too; say types"]);
  });

  test("both forms come to the same state", () => {
    const spec = { types: ["Ingress"], order: 5, ingress: [{ action: "Deny", protocol: "UDP" }] };
    const [v3, crd] = ["projectcalico.org/v3", "crd.projectcalico.org/v1"].map((apiVersion) => {
      const policy = object(apiVersion, "NetworkPolicy", "shop/p", spec);
      return calculated({ ...WORLD, objects: [policy] });
    });
    expect(crd!.state).toEqual(v3!.state);
  });
});

describe("calc-calico: what is wrong", () => {
  test.each([
    [{ selector: "app = 'x'" }, "spec.selector: selector: expected == or in after 'app' " +
      "(column 5): app = 'x'; Calico wants =="],
    [{ ingress: [{ action: "Allow", source: { namespaceSelector: "has(" } }] },
      "spec.ingress[0].source.namespaceSelector: namespaceSelector: " +
        "expected a label at the end (column 5): has("],
    [{ ingress: [{ action: "Drop" }] }, 'spec.ingress[0].action: "Drop": Allow, Deny, Pass or Log'],
    [{ ingress: [{ action: "Allow", destination: { ports: ["9:8"] } }] },
      "spec.ingress[0].destination.ports[0]: ports 9 to 8: the first is above the last"],
    [{ ingress: [{ action: "Allow", source: { nets: ["10.0.0.0/8", "example.com"] } }] },
      'spec.ingress[0].source.nets[1]: "example.com" is no IP address'],
  ])("%j", (spec, message) => {
    const { state, findings } = under(spec);
    expect(findingTexts(findings)).toEqual([`error ${NP} ${message}`]);
    expect(state.policies.size).toBe(0);
  });

  test("a finding stands where the field stands", () => {
    const { findings } = under({ selector: "a = 'x'" });
    expect(findings[0]).toMatchObject({ file: "p.yaml", ...place(["spec", "selector"]) });
  });

  test("a selector that is too deep once it is joined with its namespace's", () => {
    const deep = `${"(".repeat(500)}has(a)${")".repeat(500)}`;
    for (const spec of [{ selector: deep }, {
      ingress: [{ action: "Allow", source: { selector: deep } }],
    }]) {
      const { state, findings } = under(spec);
      expect(findingTexts(findings)[0]).toMatch(
        /^error NetworkPolicy shop\/p spec: more than 500 parentheses deep/,
      );
      expect(state.policies.size).toBe(0);
    }
    const { findings } = calculated({ objects: [calico("Profile", "x", {
      ingress: [{ action: "Allow", source: { selector: deep, notSelector: "has(b)" } }],
    })] });
    expect(findingTexts(findings)[0]).toMatch(/^error Profile x spec.ingress: more than 500/);
  });

  test("a Service of a cluster's policy needs a namespace", () => {
    const { findings } = globally({
      egress: [{ action: "Allow", destination: { services: { name: "db" } } }],
    });
    expect(findingTexts(findings)).toEqual([
      `error ${GNP} spec.egress[0].destination.services: services: a namespace is needed`,
    ]);
  });
});
