// Frontends of a node: every address of a Service, with the endpoints that its traffic policies,
// conditions and hints leave; node by node.
import { describe, expect, test } from "vitest";
import { Calculator } from "../../../host/calc/calculate.ts";
import type { Backend, Service } from "../../../host/model/program.ts";
import type { Finding } from "../../../host/model/snapshot.ts";
import type { NodeState } from "../../../host/model/state.ts";
import { calico, findingTexts, node, object, pod, snapshot } from "./snapshots.ts";

type Fields = Record<string, unknown>;
const ZONE = "topology.kubernetes.io/zone";
const NODES = [
  { ...node("n1", "192.0.2.1", { [ZONE]: "a" }),
    addresses: ["192.0.2.1", "192.0.2.101", "2001:db8::1"] },
  node("n2", "192.0.2.2", { [ZONE]: "a" }), node("n3", "192.0.2.3", { [ZONE]: "b" }),
];
const service = (spec: Fields, more: Fields = {}, name = "shop/db"): Fields => ({
  ...object("v1", "Service", name, { clusterIP: "10.96.0.1", ports: [{ port: 80 }], ...spec }),
  ...more,
});
const annotated = (annotations: Fields, spec: Fields, labels: Fields = {}): Fields => {
  const whole = service({ externalIPs: ["198.51.100.1"], ...spec }, {
    status: { loadBalancer: { ingress: [{ ip: "203.0.113.1" }] } },
  });
  return { ...whole, metadata: { ...whole["metadata"] as Fields, annotations, labels } };
};
/** "a n1", with conditions: on node n1, at the address 10.0.0.N of its place. */
const slice = (endpoints: Fields[], more: Fields = {}): Fields => ({
  apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
  metadata: { name: "db-1", namespace: "shop", labels: { "kubernetes.io/service-name": "db" } },
  ports: [{ name: "", port: 5432, protocol: "TCP" }], endpoints, ...more,
});
const at = (nodeName: string, last: number, more: Fields = {}): Fields =>
  ({ addresses: [`10.0.0.${last}`], nodeName, ...more });
const THREE = slice([at("n1", 1), at("n2", 2), at("n3", 3)]);
const config = (parameters: Record<string, string>): Fields => ({
  ...calico("FelixConfiguration", "default", {}),
  metadata: { name: "default", annotations: Object.fromEntries(Object.entries(parameters)
    .map(([name, value]) => [`config.projectcalico.org/${name}`, value])) },
});
function stateOf(name: string, objects: Fields[], findings: Finding[] = []): NodeState {
  return new Calculator(snapshot({ nodes: NODES, objects }), { findings }).state(name);
}
const frontends = (name: string, ...objects: Fields[]): Service[] =>
  stateOf(name, objects).services;
const ends = (backends: Backend[] | undefined): string | undefined =>
  backends?.map(({ address }) => address.split(".").at(-1)).join("");
/** "cluster-ip 10.96.0.1:80/tcp 123": backends by the last number of their address. */
const texts = (services: Service[]): string[] => services.map((each) =>
  `${each.kind} ${each.address}:${each.port}/${each.protocol} ${ends(each.backends)}` +
    (each.localBackends ? ` local ${ends(each.localBackends)}` : ""));

describe("service-frontends: addresses", () => {
  const LB = { status: { loadBalancer: { ingress: [
    { ip: "203.0.113.1" }, { ip: "203.0.113.2", ipMode: "VIP" }, { ip: "203.0.113.3",
      ipMode: "Proxy" }, { hostname: "lb.example.com" }, { ip: "2001:db8::99" },
  ] } } };

  test("ClusterIP, load balancer's addresses but a proxy's, external ones, the NodePort", () => {
    const spec = {
      type: "LoadBalancer", externalIPs: ["198.51.100.1"], ports: [{ port: 80, nodePort: 30080 }],
    };
    expect(texts(frontends("n1", service(spec, LB), THREE))).toEqual([
      "cluster-ip 10.96.0.1:80/tcp 123", "load-balancer 203.0.113.1:80/tcp 123",
      "load-balancer 203.0.113.2:80/tcp 123", "external-ip 198.51.100.1:80/tcp 123",
      "node-port 192.0.2.1:30080/tcp 123",
    ]);
  });

  test("without NodePorts allocated (nodePort 0) there is none", () => {
    const spec = { type: "LoadBalancer", allocateLoadBalancerNodePorts: false,
      ports: [{ port: 80, nodePort: 0 }] };
    expect(frontends("n1", service(spec, LB), THREE).map(({ kind }) => kind))
      .toEqual(["cluster-ip", "load-balancer", "load-balancer"]);
  });

  test("each family by itself: addresses, backends, NodePorts; one without a ClusterIP has none",
    () => {
      const spec = { clusterIPs: ["fd96::1", "10.96.0.1"], ports: [{ port: 80, nodePort: 30080 }] };
      const six = slice([{ addresses: ["fd00::a"], nodeName: "n1" }], {
        addressType: "IPv6", metadata: { name: "db-6", namespace: "shop",
          labels: { "kubernetes.io/service-name": "db" } },
      });
      const found = frontends("n1", service(spec, LB), THREE, six);
      expect(found.map(({ kind, address, backends }) => [kind, address, backends.length])).toEqual([
        ["cluster-ip", "fd96::1", 1], ["load-balancer", "2001:db8::99", 1],
        ["node-port", "2001:db8::1", 1],
        ["cluster-ip", "10.96.0.1", 3], ["load-balancer", "203.0.113.1", 3],
        ["load-balancer", "203.0.113.2", 3], ["node-port", "192.0.2.1", 3],
      ]);
    });

  test.each([
    [{}, ["192.0.2.1", "2001:db8::1"]],
    [{ KubeProxyNodePortAddresses: "primary" }, ["192.0.2.1", "2001:db8::1"]],
    [{ KubeProxyNodePortAddresses: "192.0.2.0/24" }, ["192.0.2.1", "192.0.2.101"]],
    [{ KubeProxyNodePortAddresses: "192.0.2.96/28,::/0" }, ["192.0.2.101", "2001:db8::1"]],
    [{ KubeProxyNodePortAddresses: "127.0.0.0/8" }, []],
    [{ KubeProxyNodePortAddresses: "127.0.0.0/8", KubeProxyLocalhostNodePorts: "true" },
      ["127.0.0.1"]],
  ])("NodePorts at %j", (parameters, expected) => {
    const spec = { clusterIPs: ["10.96.0.1", "fd96::1"], ports: [{ port: 80, nodePort: 30080 }] };
    const found = frontends("n1", service(spec), config(parameters as Record<string, string>));
    expect(found.filter(({ kind }) => kind === "node-port").map(({ address }) => address))
      .toEqual(expected);
  });

  test.each([
    ["another proxy's", { "service.kubernetes.io/service-proxy-name": "other" }, {}, {}],
    ["headless by label", { "service.kubernetes.io/headless": "" }, {}, {}],
    ["kept out of NAT", {}, { "projectcalico.org/natExcludeService": "true" }, {}],
    ["headless", {}, {}, { clusterIP: "None" }],
    ["ExternalName", {}, {}, { type: "ExternalName" }],
  ])("none: %s", (_, labels, annotations, spec) => {
    expect(frontends("n1", annotated(annotations, spec, labels), THREE)).toEqual([]);
  });

  test("what two ask for is the first one's, ClusterIPs before others, and the second is told",
    () => {
      const findings: Finding[] = [];
      const objects = [
        service({ externalIPs: ["10.96.0.9"], ports: [{ port: 80, nodePort: 30080 }] }),
        service({ clusterIP: "10.96.0.9", ports: [{ port: 80, nodePort: 30080 }] }, {}, "shop/b"),
      ];
      expect(stateOf("n1", objects, findings).services.map(({ name, address, port }) =>
        `${name} ${address} ${port}`)).toEqual([
        "shop/db:80 10.96.0.1 80", "shop/db:80 192.0.2.1 30080", "shop/b:80 10.96.0.9 80",
      ]);
      expect(findingTexts(findings)).toEqual([
        "warning Service shop/db spec.ports[0]: shop/db:80: 10.96.0.9 tcp/80 is shop/b:80's",
        "warning Service shop/b spec.ports[0]: shop/b:80: 192.0.2.1 tcp/30080 is shop/db:80's",
      ]);
    });
});

test("service-frontends: one address in two spellings is one, and IPv4 in IPv6's form is none",
  () => {
    const found = new Calculator(snapshot({
      nodes: [{ ...NODES[0]!, addresses: ["2001:DB8:0::1", "2001:db8::1", "::ffff:192.0.2.1"] }],
      objects: [
        service({
          clusterIPs: ["FD96::1"], externalIPs: ["fd96:0::1", "2001:db8::9", "::ffff:10.0.0.9"],
          ports: [{ port: 80, nodePort: 30080 }],
        }),
        slice([{ addresses: ["FD00::a"] }, { addresses: ["fd00:0::a"] },
          { addresses: ["::ffff:10.0.0.1"] }], { addressType: "IPv6" }),
      ],
    })).state("n1").services;
    expect(found.map(({ address, backends }) => [address, backends.map((each) => each.address)]))
      .toEqual([["fd96::1", ["fd00::a"]], ["2001:db8::9", ["fd00::a"]],
        ["2001:db8::1", ["fd00::a"]]]);
  });

describe("service-frontends: traffic policies, and where there is no endpoint", () => {
  const OUTSIDE = { externalIPs: ["198.51.100.1"] };
  const of = (name: string, spec: Fields, ...endpoints: Fields[]): unknown[] =>
    frontends(name, service({ ...OUTSIDE, ...spec }), slice(endpoints)).map((each) => [
      ends(each.backends), ends(each.localBackends), each.whenEmpty, each.whenLocalEmpty,
    ]);
  const local = { externalTrafficPolicy: "Local" }, inner = { internalTrafficPolicy: "Local" };
  const leaving = { conditions: { ready: false, serving: true, terminating: true } };
  const off = { conditions: { ready: false } };

  test.each([
    ["Cluster", {}, ["123", undefined], ["123", undefined]],
    ["external Local", local, ["123", undefined], ["123", "1"]],
    ["internal Local", inner, ["1", undefined], ["123", undefined]],
    ["both Local", { ...local, ...inner }, ["1", undefined], ["123", "1"]],
  ])("%s", (_, spec, internal, external) => {
    const found = of("n1", spec, at("n1", 1), at("n2", 2), at("n3", 3));
    expect(found.map((each) => (each as unknown[]).slice(0, 2))).toEqual([internal, external]);
  });

  test("none anywhere: refused; none here alone, where the policy is Local: dropped", () => {
    const both = { ...local, ...inner };
    expect(of("n1", both)).toEqual([
      ["", undefined, "reject", undefined], ["", "", "reject", "reject"],
    ]);
    expect(of("n1", both, at("n2", 2))).toEqual([
      ["", undefined, "drop", undefined], ["2", "", undefined, "drop"],
    ]);
  });

  test("terminating ones serve where there is no ready one, in each set by itself", () => {
    const found = of("n1", local, at("n1", 1, leaving), at("n1", 2, off), at("n2", 3),
      at("n2", 4, leaving));
    expect(found[1]).toEqual(["3", "1", undefined, undefined]);
    expect(of("n1", {}, at("n1", 1, leaving), at("n2", 2, leaving), at("n2", 3, off))[0])
      .toEqual(["12", undefined, undefined, undefined]);
  });

  test("without an address for outside, an external policy says nothing", () => {
    const spec = { ...local, externalIPs: [] };
    expect(of("n1", spec, at("n2", 2))).toEqual([["2", undefined, undefined, undefined]]);
  });

  test("an address in several slices counts once, as local where any says so", () => {
    expect(of("n1", local, at("n2", 1), at("n1", 1))[1])
      .toEqual(["1", "1", undefined, undefined]);
  });

  test("hints: the node's, then the zone's, when every ready endpoint has them", () => {
    const hint = (zone: string, forNode?: string): Fields => ({ hints: {
      forZones: [{ name: zone }], ...(forNode ? { forNodes: [{ name: forNode }] } : {}),
    } });
    const zones = [at("n1", 1, hint("a")), at("n2", 2, hint("a")), at("n3", 3, hint("b"))];
    expect(["n1", "n2", "n3"].map((name) => (of(name, {}, ...zones)[0] as unknown[])[0]))
      .toEqual(["12", "12", "3"]);
    const nodes = [at("n1", 1, hint("a", "n1")), at("n2", 2, hint("a", "n9")),
      at("n3", 3, hint("b", "n3"))];
    expect(["n1", "n2", "n3"].map((name) => (of(name, {}, ...nodes)[0] as unknown[])[0]))
      .toEqual(["1", "12", "3"]);
    expect((of("n3", {}, ...zones, at("n3", 4))[0] as unknown[])[0]).toBe("1234");
  });

  test("trafficDistribution gives pods the hints that their slices would have", () => {
    const pods = [1, 2, 3].map((i) =>
      pod(`shop/db-${i}`, `10.0.0.${i}`, { labels: { app: "db" }, node: `n${i}` }));
    const found = (name: string, trafficDistribution: string): string | undefined => {
      const objects = [service({ selector: { app: "db" }, trafficDistribution })];
      const { services } = new Calculator(snapshot({ nodes: NODES, pods, objects })).state(name);
      return ends(services[0]!.backends);
    };
    expect(found("n1", "PreferClose")).toBe("12");
    expect(found("n3", "PreferSameZone")).toBe("3");
    expect(found("n2", "PreferSameNode")).toBe("2");
    expect(found("elsewhere", "PreferSameNode")).toBe("123");
  });
});

describe("service-frontends: who may ask, and how clients are spread", () => {
  const ranged = (...ranges: string[]): Fields => annotated({}, {
    clusterIPs: ["10.96.0.1", "fd96::1"], loadBalancerSourceRanges: ranges,
    ports: [{ port: 80, nodePort: 30080 }],
  });

  test("source ranges are the load balancer's addresses' alone, in sets of their family", () => {
    const state = stateOf("n1", [ranged(" 203.0.113.0/25", "0.0.0.0/0", "2001:db8:1::/48")]);
    const named = state.services.filter(({ sourceRanges }) => sourceRanges !== undefined);
    expect(named.map(({ kind }) => kind)).toEqual(["load-balancer"]);
    expect([...state.sets.get(named[0]!.sourceRanges!)!.members].sort())
      .toEqual(["0.0.0.0/1", "128.0.0.0/1", "203.0.113.0/25"]);
    const [other] = stateOf("n2", [ranged("2001:db8:1::/48")]).services
      .filter(({ kind }) => kind === "load-balancer");
    expect(other!.sourceRanges).toBeUndefined();
  });

  test("ranges with the node's address let the frontend's own in too", () => {
    const own = (name: string): (boolean | undefined)[] =>
      frontends(name, ranged("192.0.2.0/31")).filter(({ kind }) => kind === "load-balancer")
        .map(({ addressAsSource }) => addressAsSource);
    expect([own("n1"), own("n2")]).toEqual([[true], [undefined]]);
  });

  test("equal ranges are one set, the same object on every node", () => {
    const objects = [ranged("192.0.2.0/31")];
    const calculator = new Calculator(snapshot({ nodes: NODES, objects }));
    const sets = ["n1", "n2"].map((name) => [...calculator.state(name).sets.values()][0]);
    expect(sets[0]).toBe(sets[1]);
  });

  test("session affinity, 10,800 seconds where nothing else is said", () => {
    const of = (spec: Fields): unknown => frontends("n1", service(spec))[0]!.affinitySeconds;
    expect(of({ sessionAffinity: "ClientIP" })).toBe(10_800);
    expect(of({ sessionAffinity: "ClientIP",
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } })).toBe(60);
    expect(of({ sessionAffinity: "None" })).toBeUndefined();
  });

  test("Calico's Maglev: outside addresses have its table over all ready endpoints", () => {
    const off = { conditions: { ready: false } };
    const spec = { externalTrafficPolicy: "Local", ports: [{ port: 80, nodePort: 30080 }] };
    const maglev = annotated({ "lb.projectcalico.org/external-traffic-strategy": "Maglev" }, spec);
    const found = frontends("n1", maglev, slice([at("n1", 1), at("n2", 2), at("n3", 3, off)]));
    expect(found.map(({ kind, maglev: table, maglevSlots, backends, localBackends }) =>
      [kind, table, maglevSlots, ends(backends), ends(localBackends)])).toEqual([
      ["cluster-ip", undefined, undefined, "12", undefined],
      ["load-balancer", "calico", 503, "12", undefined],
      ["external-ip", "calico", 503, "12", undefined],
      ["node-port", undefined, undefined, "12", "1"],
    ]);
    const few = config({ BPFMaglevMaxEndpointsPerService: "1" });
    expect(frontends("n1", maglev, THREE, few).some((each) => each.maglev)).toBe(false);
  });

  test("DSR by annotation or by the node's configuration; backends bear their nodes then", () => {
    const dsrOf = (text: string | undefined, parameters: Record<string, string> = {}): unknown => {
      const notes = text === undefined ? {} : { "lb.margay.io/dsr": text };
      const spec = { ports: [{ port: 80, nodePort: 30080 }] };
      const found = frontends("n1", annotated(notes, spec), THREE, config(parameters));
      return [found.filter(({ dsr }) => dsr).map(({ kind }) => kind),
        found[0]!.backends.map((each) => each.node)];
    };
    const on = [["load-balancer", "external-ip"], [undefined, "n2", "n3"]];
    const none = [[], [undefined, undefined, undefined]];
    expect(dsrOf("true")).toEqual(on);
    expect(dsrOf(undefined, { BPFExternalServiceMode: "DSR" })).toEqual(on);
    expect(dsrOf("false", { BPFExternalServiceMode: "DSR" })).toEqual(none);
    expect(dsrOf(undefined)).toEqual(none);
  });

  test("slots and weights by annotation; what is none is told and counts as absent", () => {
    const findings: Finding[] = [];
    const weighted = (i: number, weight: string) => pod(`shop/db-${i}`, `10.0.0.${i}`, {
      labels: { app: "db" }, annotations: { "lb.margay.io/weight": weight },
      manifest: snapshot({ objects: [service({})] }).services[0]!,
    });
    const of = (slots: string): [unknown, unknown] => {
      const objects = [annotated({ "lb.margay.io/maglev-slots": slots }, {
        selector: { app: "db" },
      })];
      const pods = [weighted(1, "3"), weighted(2, "0")];
      const [first] = new Calculator(snapshot({ nodes: NODES, pods, objects }), { findings })
        .state("n1").services;
      return [first!.maglevSlots, first!.backends.map(({ weight }) => weight)];
    };
    expect(of("65537")).toEqual([65_537, [3, undefined]]);
    expect(of("1000")).toEqual([undefined, [3, undefined]]);
    expect(findings.map(({ message }) => message)).toEqual([
      '"0" is no weight: 1 to 100', '"0" is no weight: 1 to 100',
      '"1000" is no number of slots: a prime up to 65537',
    ]);
  });

  test("a bad parameter is told at the configuration that says it", () => {
    const findings: Finding[] = [];
    stateOf("n1", [config({ BPFExternalServiceMode: "Both" })], findings);
    expect(findingTexts(findings)).toEqual([
      'error FelixConfiguration default spec: BPFExternalServiceMode: "Both" is neither Tunnel ' +
        "nor DSR",
    ]);
  });
});
