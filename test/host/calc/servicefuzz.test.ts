// Whatever Services, slices and hostPorts say, and however they collide, a node's program takes it:
// nothing that an author writes may keep a push from coming about.
import { expect, test } from "vitest";
import { Calculator } from "../../../host/calc/calculate.ts";
import { protocolNumber } from "../../../host/model/program.ts";
import type { Finding } from "../../../host/model/snapshot.ts";
import { LivingNode } from "../../livingnode.ts";
import { Random } from "../../policy/random.ts";
import { calico, node, object, pod, snapshot } from "./snapshots.ts";

type Fields = Record<string, unknown>;
const SEED = 5_000_011, STATES = 150;
const PLACES = [
  "10.96.0.1", "10.96.0.2", "192.0.2.1", "192.0.2.2", "203.0.113.1", "fd96::1", "FD96:0::1",
  "2001:db8::1", "::ffff:10.96.0.1", "None", "", "0.0.0.0", "::", "127.0.0.1", "224.0.0.1",
  "10.0.0.300", "lb.example.com",
];
const NUMBERS = [0, 1, 80, 80, 8080, 30080, 65_535, 65_536, -1, 1.5, "80", null];
const WORDS = ["Local", "Cluster", "", "local", 7, null];
const ANNOTATIONS: Record<string, string[]> = {
  "lb.margay.io/dsr": ["true", "false", "maybe"],
  "lb.margay.io/maglev-slots": ["2", "3", "503", "65537", "65536", "-3", "x"],
  "lb.projectcalico.org/external-traffic-strategy": ["maglev", "MAGLEV", "random"],
  "projectcalico.org/natExcludeService": ["true", "false"],
  "projectcalico.org/udpConntrackCleanup": ["TerminatingImmediately"],
};
const RANGES = ["10.0.0.0/8", " 0.0.0.0/0", "::/0", "fd00::/8", "10.0.0.1", "x", "1.2.3.4/33"];

function service(random: Random, i: number): Fields {
  const places = (most: number): string[] => random.some(PLACES, 0, most);
  const ports = Array.from({ length: random.below(4) }, () => ({
    name: random.pick(["", "a", "b"]), port: random.pick(NUMBERS), nodePort: random.pick(NUMBERS),
    targetPort: random.pick([...NUMBERS, "named"]), protocol: random.pick(["TCP", "UDP", "SCTP"]),
  }));
  const whole = object("v1", "Service", `shop/s${i}`, {
    type: random.pick(["ClusterIP", "LoadBalancer", "NodePort", "ExternalName", "ClusterIP"]),
    clusterIPs: places(3), externalIPs: places(3), ports,
    selector: random.chance(0.5) ? { app: "a" } : {},
    internalTrafficPolicy: random.pick(WORDS), externalTrafficPolicy: random.pick(WORDS),
    sessionAffinity: random.pick(["ClientIP", "None", 1]),
    sessionAffinityConfig: { clientIP: { timeoutSeconds: random.pick([-1, 0, 5, 1e9, "x"]) } },
    loadBalancerSourceRanges: random.some(RANGES, 0, 3),
    trafficDistribution: random.pick(["PreferSameNode", "PreferClose", "x"]),
  });
  const annotations = Object.fromEntries(random.some(Object.keys(ANNOTATIONS), 0, 3)
    .map((name) => [name, random.pick(ANNOTATIONS[name]!)]));
  return {
    ...whole, metadata: { ...whole["metadata"] as Fields, annotations },
    status: { loadBalancer: { ingress: places(3).map((ip) => ({ ip })) } },
  };
}

function slice(random: Random, i: number): Fields {
  return {
    apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice",
    addressType: random.pick(["IPv4", "IPv6", "FQDN", "x"]),
    metadata: { name: `s${i}`, namespace: "shop",
      labels: { "kubernetes.io/service-name": `s${random.below(6)}` } },
    ports: Array.from({ length: random.below(3) }, () => ({
      name: random.pick(["", "a", "b"]), port: random.pick(NUMBERS),
      protocol: random.pick(["TCP", "UDP", "SCTP"]),
    })),
    endpoints: Array.from({ length: random.below(6) }, () => ({
      addresses: random.some([...PLACES, "10.0.0.1", "10.0.0.2", "fd00::1"], 0, 3),
      nodeName: random.pick(["n1", "n2", "", undefined]),
      conditions: { ready: random.pick([true, false, null]), serving: random.chance(0.5),
        terminating: random.chance(0.5) },
      hints: random.pick([undefined, null, { forZones: [{ name: "a" }] }, { forNodes: "x" }]),
    })),
  };
}

function world(random: Random) {
  const many = (most: number, make: (i: number) => Fields): Fields[] =>
    Array.from({ length: random.below(most + 1) }, (_, i) => make(i));
  return snapshot({
    nodes: [{ ...node("n1", "192.0.2.1"), addresses: random.some(PLACES.slice(2, 9), 0, 4) },
      node("n2", "192.0.2.2")],
    pods: Array.from({ length: random.below(4) }, (_, i) => pod(`shop/p${i}`, `10.0.0.${i + 1}`, {
      labels: { app: "a" }, node: "n1", addresses: [`10.0.0.${i + 1}`, `fd00::${i + 1}`],
      annotations: { "lb.margay.io/weight": random.pick(["0", "1", "3", "x"]) },
      ports: [{ name: "named", port: 8080, protocol: "TCP", hostPort: random.pick([0, 80, 70_000]),
        hostIP: random.pick(PLACES) }],
    })),
    objects: [
      ...many(6, (i) => service(random, i)), ...many(6, (i) => slice(random, i)),
      ...many(1, () => object("networking.k8s.io/v1", "ServiceCIDR", "k", {
        cidrs: random.some(["10.96.0.0/12", "fd96::/64", "0.0.0.0/0", "x"], 0, 3),
      })),
      ...many(2, (i) => calico("IPPool", `p${i}`, {
        cidr: random.pick(["10.0.0.0/8", "::/0", "fd00::/64", "x"]),
        natOutgoing: random.chance(0.5),
      })),
    ],
  });
}

test("services-fuzz: any Services make a program that the engine takes, state after state",
  async () => {
    const random = new Random(SEED);
    const living = new LivingNode();
    let frontends = 0, told = 0;
    for (let i = 0; i < STATES; i++) {
      const findings: Finding[] = [];
      const state = new Calculator(world(random), { findings }).state("n1");
      const addresses = state.hosts.get("n1")!.filter((each) => !each.startsWith("::ffff"));
      try {
        await living.push(state, { uplinks: [{ name: "eth0", addresses, routes: [] }] });
      } catch (error) {
        throw new Error(`seed ${SEED}, state ${i}: ${(error as Error).message}`);
      }
      const places = state.services.map(({ address, port, protocol }) =>
        `${address} ${port} ${protocolNumber(protocol)}`);
      expect(new Set(places).size).toBe(places.length);
      frontends += places.length;
      told += findings.length;
    }
    living.close();
    console.log(`services-fuzz: ${STATES} states, ${frontends} frontends, ${told} findings`);
    expect(frontends).toBeGreaterThan(STATES);
    expect(told).toBeGreaterThan(STATES / 2);
  }, 60_000);
