// What a state holds beside Services' own frontends: networks of their addresses, wildcards, pools,
// hostPorts.
import { describe, expect, test } from "vitest";
import type { Service } from "../../../host/model/program.ts";
import { calculated, calico, findingTexts, object, pod } from "./snapshots.ts";

type Fields = Record<string, unknown>;
const cidrs = (...list: string[]): Fields =>
  object("networking.k8s.io/v1", "ServiceCIDR", "kubernetes", { cidrs: list });
const service = (name: string, clusterIPs: string[], metadata: Fields = {}): Fields => {
  const whole = object("v1", "Service", name, { clusterIPs, ports: [{ port: 80 }] });
  return { ...whole, metadata: { ...whole["metadata"] as Fields, ...metadata } };
};
const OTHERS = { annotations: { "projectcalico.org/natExcludeService": "true" } };

describe("service-networks: where Services' addresses are from", () => {
  test("as ServiceCIDRs say; each ClusterIP refuses what no port of it serves", () => {
    const { state } = calculated({ objects: [
      cidrs("10.96.0.0/12", "fd96::/112"), service("shop/a", ["10.96.0.1", "fd96::1"]),
    ] });
    expect(state.serviceNetworks).toEqual(["10.96.0.0/12", "fd96::/112"]);
    const wild = state.services.filter(({ protocol }) => protocol === 0);
    expect(wild).toEqual(["10.96.0.1", "fd96::1"].map((address): Service => ({
      name: "shop/a:*", address, port: 0, protocol: 0, kind: "cluster-ip", backends: [],
      whenEmpty: "reject",
    })));
  });

  test("without any nothing is known of them, and no address is refused whole", () => {
    const { state } = calculated({ objects: [service("shop/a", ["10.96.0.1"])] });
    expect(state.serviceNetworks).toEqual([]);
    expect(state.services.map(({ port }) => port)).toEqual([80]);
  });

  test.each([
    [["10.96.0.0/30"], "10.96.0.1", ["10.96.0.0/32", "10.96.0.2/31"]],
    [["10.96.0.0/30"], "10.97.0.1", ["10.96.0.0/30"]],
    [["10.96.0.1/32", "fd96::/126"], "10.96.0.1", ["fd96::/126"]],
    [["fd96::/126", "10.96.0.0/12"], "fd96::2", ["fd96::/127", "fd96::3/128", "10.96.0.0/12"]],
  ])("%j less another proxy's %s", (networks, address, expected) => {
    const { state } = calculated({ objects: [
      cidrs(...networks), service("shop/a", [address], OTHERS),
    ] });
    expect([...state.serviceNetworks].sort()).toEqual([...expected].sort());
    expect(state.services).toEqual([]);
  });

  test("what is no prefix is told", () => {
    const { state, findings } = calculated({ objects: [cidrs("10.96.0.0/33", "10.97.0.0/16")] });
    expect(state.serviceNetworks).toEqual(["10.97.0.0/16"]);
    expect(findingTexts(findings)[0]).toMatch(/^error ServiceCIDR kubernetes spec.cidrs\[0\]: /);
  });
});

test("ip-pools: prefixes, and whose pods are masqueraded when they leave", () => {
  const { state } = calculated({ objects: [
    calico("IPPool", "a", { cidr: "10.1.0.0/16", natOutgoing: true }),
    calico("IPPool", "b", { cidr: "fd01::/64", natOutgoing: false, disabled: true }),
  ] });
  expect(state.pools).toEqual([
    { cidr: "10.1.0.0/16", masquerade: true }, { cidr: "fd01::/64", masquerade: false },
  ]);
  const { state: other, findings } =
    calculated({ objects: [calico("IPPool", "a", { cidr: "x" })] });
  expect([other.pools, findings.length]).toEqual([[], 1]);
});

describe("host-ports: ports of the node that lead to its pods", () => {
  const container = (more: Fields) =>
    ({ name: "", port: 8080, protocol: "TCP" as const, hostPort: 80, ...more });
  const NODE = { name: "node1", labels: {}, addresses: ["192.0.2.1", "2001:db8::1"],
    interface: "eth0" };
  const found = (...pods: ReturnType<typeof pod>[]): string[] =>
    calculated({ nodes: [NODE], pods }).state.services.map((each) =>
      `${each.name} ${each.kind} ${each.address}:${each.port}/${each.protocol} ` +
        each.backends.map(({ address, port }) => `${address}:${port}`).join());

  test("at the node's addresses of the pod's families, ready or not", () => {
    const web = pod("shop/web", "10.0.0.1", {
      addresses: ["10.0.0.1", "fd00::1"], ready: false, ports: [container({})],
    });
    expect(found(web)).toEqual([
      "shop/web hostPort 80 host-port 192.0.2.1:80/tcp 10.0.0.1:8080",
      "shop/web hostPort 80 host-port 2001:db8::1:80/tcp fd00::1:8080",
    ]);
  });

  test.each([
    ["127.0.0.1", ["127.0.0.1"]], ["0.0.0.0", ["192.0.2.1"]], ["::", ["192.0.2.1"]],
    ["2001:db8::1", []],
  ])("hostIP %s of a pod with IPv4", (hostIP, addresses) => {
    const web = pod("shop/web", "10.0.0.1", {
      ports: [container({ protocol: "UDP", hostIP }), container({ hostPort: 0 })],
    });
    expect(found(web)).toEqual(addresses.map((address) =>
      `shop/web hostPort 80 host-port ${address}:80/udp 10.0.0.1:8080`));
  });

  test("none of other nodes' pods, of the host's network, of two the first", () => {
    const more = { ports: [container({})] };
    expect(found(
      pod("shop/far", "10.0.0.2", { ...more, node: "node2" }),
      pod("shop/host", "192.0.2.1", { ...more, hostNetwork: true }),
      pod("shop/a", "10.0.0.3", more), pod("shop/b", "10.0.0.4", more),
    )).toEqual(["shop/a hostPort 80 host-port 192.0.2.1:80/tcp 10.0.0.3:8080"]);
  });
});
