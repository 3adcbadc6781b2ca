// From manifests to packets: what kube-proxy's own cases leave out. hostPort, masquerade of what
// leaves the pools, addresses of Services that nothing serves, the API server's last backends, DSR,
// affinity, denials that are answered.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Calculator } from "../../../host/calc/calculate.ts";
import { snapshotOf } from "../../../host/input/snapshot.ts";
import type { Finding } from "../../../host/model/snapshot.ts";
import { endsOf, LivingNode, outcome } from "../../livingnode.ts";
import { packet, type Spec } from "../../packets.ts";

type Fields = Record<string, unknown>;
const NODE = { apiVersion: "v1", kind: "Node", metadata: { name: "n1" }, status: { addresses: [
  { type: "InternalIP", address: "192.0.2.1" }, { type: "InternalIP", address: "2001:db8::1" },
] } };
const OTHER = { apiVersion: "v1", kind: "Node", metadata: { name: "n2" }, status: { addresses: [
  { type: "InternalIP", address: "192.0.2.2" }] } };
const pool = (cidr: string, natOutgoing: boolean, name: string): Fields => ({
  apiVersion: "projectcalico.org/v3", kind: "IPPool", metadata: { name },
  spec: { cidr, natOutgoing },
});
const POOLS = [pool("10.1.0.0/16", true, "a"), pool("10.2.0.0/16", false, "b"),
  pool("fd01::/64", true, "c")];
const pod = (name: string, ips: string[], container: Fields = {}, nodeName = "n1"): Fields => ({
  apiVersion: "v1", kind: "Pod", metadata: { namespace: "shop", name, labels: { app: name } },
  spec: { nodeName, containers: [{ name: "c", ...container }] },
  status: { phase: "Running", podIPs: ips.map((ip) => ({ ip })),
    conditions: [{ type: "Ready", status: "True" }] },
});
const service = (name: string, spec: Fields, metadata: Fields = {}, status: Fields = {}): Fields =>
  ({ apiVersion: "v1", kind: "Service", metadata: { namespace: "shop", name, ...metadata }, spec,
    status });
const config = (spec: Fields, annotations: Fields = {}): Fields => ({
  apiVersion: "projectcalico.org/v3", kind: "FelixConfiguration",
  metadata: { name: "default", annotations }, spec,
});
const WEB = pod("web", ["10.1.0.2", "fd01::2"], { ports: [
  { containerPort: 8080, hostPort: 80 }, { containerPort: 53, protocol: "UDP", hostPort: 53,
    hostIP: "192.0.2.1" },
] });

describe("service-packets:", () => {
  let node: LivingNode;
  let port = 2000;
  beforeAll(() => { node = new LivingNode(); });
  afterAll(() => node.close());

  async function push(...objects: Fields[]): Promise<void> {
    await pushOn(...objects);
    node.forget();
  }
  /** Sessions go on. */
  async function pushOn(...objects: Fields[]): Promise<void> {
    const { snapshot, findings } = snapshotOf([NODE, OTHER, ...POOLS, ...objects]);
    const faults: Finding[] = [...findings];
    const state = new Calculator(snapshot, { findings: faults }).state("n1");
    expect(faults).toEqual([]);
    await node.push(state, { uplinks: [
      { name: "eth0", addresses: ["192.0.2.1/24", "2001:db8::1/64"],
        routes: ["0.0.0.0/0", "::/0"] },
      { name: "nodes", addresses: [], routes: [], peer: true },
    ] });
  }
  /** "pass allowed 192.0.2.1 > 10.1.0.2:80" of a new flow. */
  function sent(from: string, spec: Spec): string {
    const [result] = node.send(from, [packet({ sourcePort: port++, flags: "S", ...spec })], 100);
    const bytes = result!.bytes;
    if (bytes === undefined || outcome(result!).startsWith("reply")) return outcome(result!);
    const ends = endsOf(bytes);
    expect(ends.fault).toBe("");
    return `${outcome(result!)} ${ends.from} > ${ends.to}`;
  }

  test("hostPort: at every address of the node, at hostIP alone; clients keep their source",
    async () => {
      await push(WEB);
      expect(sent("eth0", { from: "198.51.100.7", to: "192.0.2.1", port: 80 }))
        .toBe("pass allowed 198.51.100.7 > 10.1.0.2:8080");
      expect(sent("eth0", { from: "2001:db8:9::7", to: "2001:db8::1", port: 80 }))
        .toBe("pass allowed 2001:db8:9::7 > [fd01::2]:8080");
      const dns = { protocol: "udp" as const, port: 53 };
      expect(sent("eth0", { from: "198.51.100.7", to: "192.0.2.1", ...dns }))
        .toBe("pass allowed 198.51.100.7 > 10.1.0.2:53");
      expect(sent("eth0", { from: "2001:db8:9::7", to: "2001:db8::1", ...dns }))
        .toBe("pass allowed 2001:db8:9::7 > [2001:db8::1]:53");
    });

  test("natOutgoing: from its pools to none; hosts too where NATOutgoingExclusions says so",
    async () => {
      const plain = pod("plain", ["10.2.0.2"]);
      await push(WEB, plain);
      const to = (destination: string, from = "shop/web", source = "10.1.0.2"): string =>
        sent(from, { from: source, to: destination, port: 443 });
      expect(to("203.0.113.9")).toBe("pass allowed 192.0.2.1 > 203.0.113.9:443");
      expect(to("2001:db8:9::9", "shop/web", "fd01::2"))
        .toBe("pass allowed 2001:db8::1 > [2001:db8:9::9]:443");
      expect(to("192.0.2.2")).toBe("pass allowed 192.0.2.1 > 192.0.2.2:443");
      expect(to("10.2.9.9")).toBe("pass allowed 10.1.0.2 > 10.2.9.9:443");
      expect(to("203.0.113.9", "shop/plain", "10.2.0.2"))
        .toBe("pass allowed 10.2.0.2 > 203.0.113.9:443");
      await push(WEB, plain, config({ natOutgoingExclusions: "IPPoolsAndHostIPs" }));
      expect(to("192.0.2.2")).toBe("pass allowed 10.1.0.2 > 192.0.2.2:443");
      expect(to("203.0.113.9")).toBe("pass allowed 192.0.2.1 > 203.0.113.9:443");
    });

  test("ServiceCIDRs: other ports are refused, other addresses dropped, another proxy's left",
    async () => {
      const cidr = { apiVersion: "networking.k8s.io/v1", kind: "ServiceCIDR",
        metadata: { name: "kubernetes" }, spec: { cidrs: ["10.96.0.0/16", "fd96::/112"] } };
      await push(WEB, cidr,
        service("web", { clusterIP: "10.96.0.1", selector: { app: "web" }, ports: [{ port: 80 }] }),
        service("dns", { clusterIP: "10.96.0.10", ports: [{ port: 53 }] },
          { annotations: { "projectcalico.org/natExcludeService": "true" } }));
      const to = (destination: string, at = 80): string =>
        sent("shop/web", { from: "10.1.0.2", to: destination, port: at });
      // Its own backend, so the node's address stands in.
      expect(to("10.96.0.1")).toBe("pass allowed 192.0.2.1 > 10.1.0.2:80");
      expect(to("10.96.0.1", 81)).toBe("reply unknown-service-port");
      expect(to("10.96.0.2")).toBe("drop unknown-service-address");
      expect(to("10.96.0.10")).toMatch(/^pass allowed .* > 10.96.0.10:80$/);
      await push(WEB, cidr, config({ serviceLoopPrevention: "Disabled" }));
      expect(to("10.96.0.2")).toMatch(/^pass allowed/);
    });

  test("the API server's Service keeps its last backends; others do without", async () => {
    const api = (name: string, namespace: string, clusterIP: string): Fields =>
      service(name, { clusterIP, ports: [{ name: "https", port: 443 }] }, { namespace });
    const slice = (namespace: string, name: string, endpoints: Fields[]): Fields => ({
      apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
      metadata: { namespace, name, labels: { "kubernetes.io/service-name": name } },
      ports: [{ name: "https", port: 6443 }], endpoints,
    });
    const both = [api("kubernetes", "default", "10.97.0.1"), api("other", "shop", "10.97.0.2")];
    const at = (addresses: string[]): Fields[] => both.map(({ metadata }) => {
      const { namespace, name } = metadata as { namespace: string; name: string };
      return slice(namespace, name, addresses.map((ip) => ({ addresses: [ip] })));
    });
    const asked = (to: string): string => sent("shop/web", { from: "10.1.0.2", to, port: 443 });
    await push(WEB, ...both, ...at(["192.0.2.9"]));
    expect(asked("10.97.0.1")).toBe("pass allowed 192.0.2.1 > 192.0.2.9:6443");
    await push(WEB, ...both, ...at([]));
    expect(asked("10.97.0.1")).toBe("pass allowed 192.0.2.1 > 192.0.2.9:6443");
    expect(asked("10.97.0.2")).toBe("reply no-backend");
    await push(WEB, ...both, ...at(["192.0.2.8"]));
    expect(asked("10.97.0.1")).toBe("pass allowed 192.0.2.1 > 192.0.2.8:6443");
  });

  test("DSR: clients outside go on as they came to the backend's node, from peers no further",
    async () => {
      const far = pod("far", ["10.1.9.9"], {}, "n2");
      const spec = { clusterIP: "10.96.0.1", selector: { lb: "yes" }, ports: [{ port: 80 }] };
      const labelled = [WEB, far].map((each) => ({
        ...each, metadata: { ...each["metadata"] as Fields, labels: { lb: "yes" } },
      }));
      await push(...labelled, service("web", spec, { annotations: { "lb.margay.io/dsr": "true" } },
        { loadBalancer: { ingress: [{ ip: "203.0.113.1" }] } }));
      expect(node.program.peers).toEqual(["n2"]);
      const flows = Array.from({ length: 32 }, () => packet({
        from: "198.51.100.7", to: "203.0.113.1", port: 80, sourcePort: port++, flags: "S",
      }));
      const from = (endpoint: string): string[] => [...new Set(node.send(endpoint, flows)
        .map((result) => `${outcome(result)} ${result.peer ?? "-"} ${endsOf(result.bytes!).to}`))];
      expect(from("eth0").sort()).toEqual([
        "pass allowed - 10.1.0.2:80", "pass forwarded 1 203.0.113.1:80",
      ]);
      node.forget();
      expect(from("nodes")).toEqual(["pass allowed - 10.1.0.2:80"]);
    });

  test("UDP of a terminating endpoint goes on until it is gone, or ends at once if asked for",
    async () => {
      const run = async (annotations: Fields): Promise<string[]> => {
        const spec = { clusterIP: "10.96.0.1", ports: [{ port: 53, protocol: "UDP" }] };
        const at = (ip: string, conditions: Fields): Fields => ({ addresses: [ip], conditions });
        const off = { ready: false, serving: true, terminating: true };
        node.forget();
        const to = (...endpoints: Fields[]): Promise<void> => pushOn(WEB,
          service("dns", spec, { annotations }), {
            apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
            metadata: { namespace: "shop", name: "dns",
              labels: { "kubernetes.io/service-name": "dns" } },
            ports: [{ port: 53, protocol: "UDP" }], endpoints,
          });
        const asked = packet({ from: "10.1.0.2", to: "10.96.0.1", protocol: "udp", port: 53,
          sourcePort: port++ });
        const seen: string[] = [];
        for (const endpoints of [
          [at("10.1.0.21", {})],
          [at("10.1.0.21", off), at("10.1.0.22", {})],
          [at("10.1.0.22", {})],
        ]) {
          await to(...endpoints);
          node.sweep();
          const [result] = node.send("shop/web", [asked], 100);
          seen.push(`${outcome(result!)} ${endsOf(result!.bytes!).to}`);
        }
        return seen;
      };
      expect(await run({})).toEqual([
        "pass allowed 10.1.0.21:53", "pass established 10.1.0.21:53", "pass allowed 10.1.0.22:53",
      ]);
      expect(await run({ "projectcalico.org/udpConntrackCleanup": "TerminatingImmediately" }))
        .toEqual([
          "pass allowed 10.1.0.21:53", "pass allowed 10.1.0.22:53",
          "pass established 10.1.0.22:53",
        ]);
    });

  test("session affinity: a client has one backend, whatever its ports", async () => {
    const backends = ["10.1.0.11", "10.1.0.12", "10.1.0.13"].map((ip, i) => {
      const made = pod(`b${i}`, [ip]);
      return { ...made, metadata: { ...made["metadata"] as Fields, labels: { lb: "yes" } } };
    });
    const reached = (client: string): number => new Set(Array.from({ length: 40 }, () =>
      sent("eth0", { from: client, to: "10.96.0.1", port: 80 }))).size;
    const spec = { clusterIP: "10.96.0.1", selector: { lb: "yes" }, ports: [{ port: 80 }] };
    await push(...backends, service("web", spec));
    expect(reached("198.51.100.7")).toBe(3);
    await push(...backends, service("web", { ...spec, sessionAffinity: "ClientIP" }));
    expect(["198.51.100.7", "198.51.100.8", "198.51.100.9"].map(reached)).toEqual([1, 1, 1]);
  });

  test("what policy denies is answered where IptablesFilterDenyAction says Reject", async () => {
    const denied = { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy",
      metadata: { namespace: "shop", name: "none" },
      spec: { podSelector: {}, policyTypes: ["Ingress"] } };
    const asked = (): string => sent("eth0", { from: "198.51.100.7", to: "10.1.0.2", port: 80 });
    await push(WEB, denied);
    expect(asked()).toMatch(/^drop /);
    await push(WEB, denied, config({ iptablesFilterDenyAction: "Reject" }));
    expect(asked()).toMatch(/^reply /);
  });
});
