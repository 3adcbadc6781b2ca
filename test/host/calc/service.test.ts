// Services: endpoints from slices or from pods, VIPs with ready backends, what has none. Frontends
// for clients outside: frontend.test.ts.
import { describe, expect, test } from "vitest";
import { bareRules, calico, calculated, members, object, pod } from "./snapshots.ts";

const POD = (name: string, address: string, more = {}) => pod(`shop/${name}`, address, {
  labels: { app: "db" }, ports: [
    { name: "sql", port: 5432, protocol: "TCP" }, { name: "sql", port: 5433, protocol: "UDP" },
  ], ...more,
});
const PODS = [
  POD("db-1", "10.0.0.2"), POD("db-0", "10.0.0.1", { addresses: ["10.0.0.1", "fd00::1"] }),
  POD("db-2", "10.0.0.3", { ready: false }), pod("ops/db", "10.0.0.9", { labels: { app: "db" } }),
  POD("db-host", "172.16.0.1", { hostNetwork: true }),
];
const service = (spec: Record<string, unknown>) => object("v1", "Service", "shop/db", {
  selector: { app: "db" }, clusterIP: "10.96.0.1", ports: [{ port: 80, targetPort: 5432 }], ...spec,
});
const slice = (name: string, value: Record<string, unknown>) => ({
  apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice",
  metadata: { name, namespace: "shop", labels: { "kubernetes.io/service-name": "db" } }, ...value,
});
const servicesOf = (...objects: Record<string, unknown>[]) =>
  calculated({ pods: PODS, objects }).state.services;

describe("calc-services: VIPs of the packet program", () => {
  test("backends are ready pods of the namespace with the selector's labels, in order", () => {
    expect(servicesOf(service({}))).toEqual([{
      name: "shop/db:80", address: "10.96.0.1", port: 80, protocol: "tcp", kind: "cluster-ip",
      backends: [
        { name: "shop/db-0", address: "10.0.0.1", port: 5432 },
        { name: "shop/db-1", address: "10.0.0.2", port: 5432 },
        { name: "shop/db-host", address: "172.16.0.1", port: 5432 },
      ],
    }]);
  });

  test("targetPort by name is each pod's own, of the same protocol; none is the port", () => {
    const ports = [
      { name: "a", port: 1, targetPort: "sql" }, { name: "b", port: 2, targetPort: "sql",
        protocol: "UDP" }, { name: "c", port: 3 }, { name: "d", port: 4, targetPort: "none" },
    ];
    const found = servicesOf(service({ ports })).map(({ name, protocol, backends }) => {
      return [name, protocol, backends.map(({ port }) => port)[0]];
    });
    expect(found).toEqual([
      ["shop/db:a", "tcp", 5432], ["shop/db:b", "udp", 5433], ["shop/db:c", "tcp", 3],
      ["shop/db:d", "tcp", undefined],
    ]);
  });

  test("each address has the backends of its family", () => {
    const found = servicesOf(service({ clusterIPs: ["10.96.0.1", "FD96::1"] }));
    expect(found.map(({ address, backends }) => [address, backends.length]))
      .toEqual([["10.96.0.1", 3], ["fd96::1", 1]]);
  });

  test("publishNotReadyAddresses takes the others in", () => {
    expect(servicesOf(service({ publishNotReadyAddresses: true }))[0]!.backends).toHaveLength(4);
  });

  test.each([
    ["headless", { clusterIP: "None" }], ["ExternalName", { type: "ExternalName" }],
    ["without an address", { clusterIP: "" }], ["without ports", { ports: [] }],
  ])("no VIP: %s", (_, spec) => {
    expect(servicesOf(service(spec))).toEqual([]);
  });

  test("without a selector and without slices there is no backend: clients are refused", () => {
    expect(servicesOf(service({ selector: {} }))[0])
      .toMatchObject({ backends: [], whenEmpty: "reject" });
  });

  test("SCTP has a VIP as TCP and UDP have", () => {
    const [sctp] = servicesOf(service({ ports: [{ port: 1, targetPort: 2, protocol: "SCTP" }] }));
    expect(sctp).toMatchObject({ protocol: "sctp", port: 1 });
    expect(sctp!.backends.map(({ port }) => port)).toEqual([2, 2, 2]);
  });

  test("slices win over the selector: their ports, ready ones alone, each once", () => {
    const found = servicesOf(service({ ports: [{ name: "sql", port: 80 }] }), slice("db-a", {
      ports: [{ name: "sql", port: 7000 }, { name: "other", port: 7001 }],
      endpoints: [
        { addresses: ["10.1.0.2"], targetRef: { kind: "Pod", name: "b" } },
        { addresses: ["10.1.0.1"], conditions: { ready: true } },
        { addresses: ["10.1.0.3"], conditions: { ready: false } },
        { addresses: ["db.example.com"] },
      ],
    }), slice("db-b", {
      ports: [{ name: "sql", port: 7000 }], endpoints: [{ addresses: ["10.1.0.1"] }],
    }));
    expect(found[0]!.backends).toEqual([
      { name: "10.1.0.1", address: "10.1.0.1", port: 7000 },
      { name: "shop/b", address: "10.1.0.2", port: 7000 },
    ]);
  });
});

describe("calc-services: sets of rules that name a Service", () => {
  const both = (objects: Record<string, unknown>[]): string[][] => {
    const { state } = calculated({ pods: PODS, objects: [...objects,
      calico("GlobalNetworkPolicy", "p", {
        ingress: [{ action: "Allow", source: { services: { name: "db", namespace: "shop" } } }],
        egress: [{ action: "Allow", destination: { services: { name: "db", namespace: "shop" } } }],
      }),
    ] });
    const [from] = bareRules(state, "GlobalNetworkPolicy p");
    const [to] = bareRules(state, "GlobalNetworkPolicy p", "outbound");
    return [members(state, from!.sourceSets![0]), members(state, to!.destinationPortSets![0])];
  };

  test("they hold every endpoint, ready or not", () => {
    expect(both([service({})])).toEqual([
      ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", "172.16.0.1/32", "fd00::1/128"],
      ["10.0.0.1,tcp:5432", "10.0.0.2,tcp:5432", "10.0.0.3,tcp:5432", "172.16.0.1,tcp:5432",
        "fd00::1,tcp:5432"],
    ]);
  });

  test("of slices: SCTP too; endpoints without ports are addresses alone", () => {
    expect(both([slice("a", {
      ports: [{ port: 1, protocol: "SCTP" }, { name: "any" }],
      endpoints: [{ addresses: ["10.1.0.1"] }],
    })])).toEqual([["10.1.0.1/32"], ["10.1.0.1,sctp:1"]]);
    expect(both([service({ ports: [], clusterIP: "None" })])[0]).toHaveLength(5);
  });

  test("of a Service that is not there they are empty", () => {
    expect(both([])).toEqual([[], []]);
  });
});
