// Random Services, slices and nodes, and random flows on them: packets through process() do what
// kube-proxy's rules, asked one by one, do. State after state into one engine, of either family.
import { describe, expect, test } from "vitest";
import { Verdict } from "../../../assembly/layout.ts";
import { Calculator } from "../../../host/calc/calculate.ts";
import { snapshotOf } from "../../../host/input/snapshot.ts";
import { endsOf, LivingNode } from "../../livingnode.ts";
import { packet } from "../../packets.ts";
import { Random } from "../../policy/random.ts";
import {
  kubeProxy, type ProxyEndpoint, type ProxyFlow, type ProxyNode, type ProxyPort,
} from "../../reference/kubeproxy.ts";
import { v6Address } from "../../conformance/readdress.ts";

type Fields = Record<string, unknown>;
const SEED = 20_261_123;
const STATES = 60, FLOWS = 16, SOURCE_PORTS = 48;
const NODES = ["n1", "n2", "n3"], ZONES = ["a", "b"];
const ADDRESSES = ["192.0.2.1", "192.0.2.65"];
const PODS = ["10.1.0.1", "10.1.0.2"];
const WORLD = ["198.51.100.1", "198.51.100.200", "10.1.9.9"];
const RANGES = ["198.51.100.0/25", "192.0.2.0/26", "10.1.0.0/16"];
const PROTOCOLS = ["tcp", "udp", "sctp"] as const;

interface Made { ports: ProxyPort[]; node: ProxyNode; objects: Fields[] }

function inRange(text: string, range: string): boolean {
  const number = (address: string): number =>
    address.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0);
  const [network, length] = range.split("/") as [string, string];
  const size = 2 ** (32 - Number(length));
  return Math.floor(number(text) / size) === Math.floor(number(network) / size);
}

function makeEndpoints(random: Random): ProxyEndpoint[] {
  const hinted = random.chance(0.5), byNode = random.chance(0.3), sick = random.chance(0.5);
  const places = random.some([...PODS, "10.1.0.3", "10.1.7.1", "10.1.7.2"], 0, 4);
  return places.map((address) => {
    const ready = !sick || random.chance(0.3);
    return {
      address, port: 8080, ready, serving: ready || random.chance(0.5),
      terminating: !ready && random.chance(0.7),
      node: PODS.includes(address) ? "n1" : random.pick(NODES),
      zoneHints: hinted && !random.chance(0.05) ? random.some(ZONES, 1, 2) : [],
      nodeHints: byNode && !random.chance(0.05) ? random.some(NODES, 1, 2) : [],
    };
  });
}

function makePort(random: Random, i: number): ProxyPort {
  const ranges = random.some(RANGES, 0, 2);
  return {
    clusterIP: `10.96.0.${i + 1}`, port: 80, protocol: random.pick(PROTOCOLS),
    nodePort: random.chance(0.5) ? 30_000 + i : 0,
    externalIPs: random.chance(0.4) ? [`203.0.113.${i + 1}`] : [],
    loadBalancerIPs: random.chance(0.5) ? [`203.0.113.${i + 101}`] : [],
    ...(ranges.length ? { inRanges: (source: string) =>
      ranges.some((range) => inRange(source, range)), ranges } : {}),
    internalLocal: random.chance(0.3), externalLocal: random.chance(0.5),
    endpoints: makeEndpoints(random),
  };
}

function make(random: Random): Made {
  const ports = Array.from({ length: random.between(1, 4) }, (_, i) => makePort(random, i));
  const told = random.chance(0.8);
  const every = random.chance(0.5);
  const node: ProxyNode = {
    node: "n1", zone: random.pick([...ZONES, ""]), addresses: ADDRESSES, nodeIP: ADDRESSES[0]!,
    nodePortAddresses: every ? ADDRESSES : ADDRESSES.slice(0, 1),
    masqueradeAll: random.chance(0.2),
    ...(told ? { isPod: (source: string) => inRange(source, "10.1.0.0/16") } : {}),
  };
  const parameters = {
    KubeProxyMasqueradeAll: String(node.masqueradeAll),
    KubeProxyDetectLocalMode: told ? "ClusterCIDR" : "None",
    KubeProxyNodePortAddresses: every ? "192.0.2.0/24,fd00::c000:200/120" : "primary",
  };
  const annotations = Object.fromEntries(Object.entries(parameters)
    .map(([name, value]) => [`config.projectcalico.org/${name}`, value]));
  const objects = [
    { apiVersion: "projectcalico.org/v3", kind: "FelixConfiguration",
      metadata: { name: "default", annotations },
      spec: { defaultEndpointToHostAction: "Accept" } },
    ...ports.flatMap((port, i) => objectsOf(port, i)),
  ];
  return { ports, node, objects };
}

/** As an API server shows them, in IPv4. */
function objectsOf(port: ProxyPort, i: number): Fields[] {
  const name = `s${i}`;
  const { clusterIP, protocol, externalIPs } = port;
  const spec = {
    clusterIP, externalIPs, type: "LoadBalancer", selector: {},
    internalTrafficPolicy: port.internalLocal ? "Local" : "Cluster",
    externalTrafficPolicy: port.externalLocal ? "Local" : "Cluster",
    loadBalancerSourceRanges: (port as unknown as { ranges?: string[] }).ranges ?? [],
    ports: [{ name: "p", port: 80, protocol: protocol.toUpperCase(), nodePort: port.nodePort }],
  };
  return [
    { apiVersion: "v1", kind: "Service", metadata: { namespace: "shop", name }, spec, status: {
      loadBalancer: { ingress: port.loadBalancerIPs.map((ip) => ({ ip })) },
    } },
    { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
      metadata: { namespace: "shop", name, labels: { "kubernetes.io/service-name": name } },
      ports: [{ name: "p", port: 8080, protocol: protocol.toUpperCase() }],
      endpoints: port.endpoints.map(({ address, node, ready, serving, terminating, ...hints }) => ({
        addresses: [address], nodeName: node, conditions: { ready, serving, terminating },
        hints: { forZones: hints.zoneHints.map((zone) => ({ name: zone })),
          forNodes: hints.nodeHints.map((one) => ({ name: one })) },
      })) },
  ];
}

const AROUND: Fields[] = [
  { apiVersion: "v1", kind: "Node", metadata: { name: "n1" }, status: { addresses:
    ADDRESSES.map((address) => ({ type: "InternalIP", address })) } },
  { apiVersion: "projectcalico.org/v3", kind: "IPPool", metadata: { name: "pods" },
    spec: { cidr: "10.1.0.0/16", natOutgoing: false } },
  ...PODS.map((ip, i) => ({
    apiVersion: "v1", kind: "Pod", metadata: { namespace: "pods", name: `p${i}` },
    spec: { nodeName: "n1", containers: [] }, status: { podIPs: [{ ip }] },
  })),
];
const ADDRESS = /^\d+\.\d+\.\d+\.\d+(\/\d+)?$/;

/** Every address in it re-addressed, every word of a family too. */
function inV6(value: unknown): unknown {
  if (typeof value === "string") {
    if (value === "IPv4") return "IPv6";
    return ADDRESS.test(value) ? v6Address(value) : value;
  }
  if (Array.isArray(value)) return value.map(inV6);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, inV6(each)]));
}

function flows(random: Random, ports: readonly ProxyPort[]): ProxyFlow[] {
  return Array.from({ length: FLOWS }, () => {
    const port = random.pick(ports);
    const places: [string, number][] = [
      [port.clusterIP, 80], [port.clusterIP, 81],
      ...[...port.externalIPs, ...port.loadBalancerIPs].map((ip): [string, number] => [ip, 80]),
      ...(port.nodePort ? ADDRESSES.map((ip): [string, number] => [ip, port.nodePort]) : []),
    ];
    const [destination, number] = random.pick(places);
    const sources = [...PODS, ...ADDRESSES, ...WORLD];
    return { source: random.pick(sources), destination, port: number,
      protocol: random.chance(0.9) ? port.protocol : random.pick(PROTOCOLS) };
  });
}

function senderOf(source: string): string {
  const pod = PODS.indexOf(source);
  return pod >= 0 ? `pods/p${pod}` : ADDRESSES.includes(source) ? "host" : "eth0";
}

describe("services-random: process() beside kube-proxy's rules", () => {
  test.each([
    ["IPv4", (text: string) => text], ["IPv6", v6Address],
  ])("%s", async (family, form) => {
    const random = new Random(SEED);
    const node = new LivingNode();
    const seen = { DNAT: 0, masqueraded: 0, REJECT: 0, DROP: 0, none: 0 };
    let sourcePort = 1024;
    for (let i = 0; i < STATES; i++) {
      const { ports, node: proxy, objects } = make(random);
      const all = [...AROUND.map((each, at) => at === 0
        ? { ...each, metadata: { name: "n1",
          labels: { "topology.kubernetes.io/zone": proxy.zone } } } : each), ...objects];
      const { snapshot, findings } =
        snapshotOf((family === "IPv6" ? inV6(all) : all) as Fields[]);
      expect(findings).toEqual([]);
      const state = new Calculator(snapshot).state("n1");
      await node.push(state, { uplinks: [{ name: "eth0", addresses: state.hosts.get("n1")!,
        routes: ["0.0.0.0/0", "::/0"] }] });
      node.forget();
      for (const flow of flows(random, ports)) {
        const verdict = kubeProxy(ports, proxy, flow);
        const from = form(flow.source);
        sourcePort = sourcePort > 60_000 ? 1024 : sourcePort + SOURCE_PORTS;
        const results = node.send(senderOf(flow.source),
          Array.from({ length: SOURCE_PORTS }, (_, at) => packet({
            from, to: form(flow.destination), protocol: flow.protocol, port: flow.port,
            flags: "S", sourcePort: sourcePort + at,
          })), 100);
        const words = `seed ${SEED} state ${i} ${JSON.stringify(flow)}`;
        const verdicts = [...new Set(results.map((each) => Verdict[each.verdict]))].join();
        if (typeof verdict === "string") {
          const shall = { REJECT: "Reply", DROP: "Drop", "": "Pass" }[verdict];
          expect(verdicts, words).toBe(shall);
          expect(results.every(({ backend }) => backend === undefined), words).toBe(true);
          seen[verdict || "none"]++;
          continue;
        }
        expect(verdicts, words).toBe("Pass");
        const ends = results.map(({ bytes }) => endsOf(bytes!));
        const is = new Map(ends.map(({ to, from: bears }) => [to, bears]));
        const shall = new Map([...verdict].map(([to, masqueraded]) => {
          const [address, port] = to.split(":") as [string, string];
          const place = family === "IPv6" ? `[${form(address)}]:${port}` : to;
          return [place, masqueraded ? form(ADDRESSES[0]!) : from];
        }));
        expect([...is].sort(), words).toEqual([...shall].sort());
        expect(ends.every(({ fault }) => fault === ""), words).toBe(true);
        seen.DNAT++;
        if ([...verdict.values()].includes(true)) seen.masqueraded++;
      }
    }
    node.close();
    console.log(`services-random ${family}: ${STATES} states, flows ${JSON.stringify(seen)}`);
    for (const [kind, count] of Object.entries(seen)) expect(count, kind).toBeGreaterThan(20);
  }, 120_000);
});
