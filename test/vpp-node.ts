// The node that the tests of the plugin's paths have in VPP: pods on a port each, an uplink.
//
//   client  10.0.0.1 fd00::1    ── pg0 ┐
//   backend 10.0.1.1 fd00:1::1  ── pg1 ┤ VPP: 10.0.n.254, fd00:n::fe on the pods' ports
//   other   10.0.2.1 fd00:2::1  ── pg2 ┤
//   world   behind 192.0.2.254  ── pg3 ┘      192.0.2.1, 2001:db8:1::1 on the uplink
//
// Services on 10.96.0.80 and fd00:96::80, port 80 to the backend's 8080; 10.96.0.81 has no backend
// and rejects. Pods are masqueraded as 192.0.2.1. Policy: nobody gets to port 1; ICMP errors are
// denied wherever policy is asked about them, so that they pass by their session alone.
import type { Program, ProgramRule, Service } from "../host/model/program.ts";
import { Graph, type GraphOptions, type PortOptions } from "./vpp-graph.ts";

export const ADDRESSES = {
  4: {
    client: "10.0.0.1", backend: "10.0.1.1", other: "10.0.2.1", world: "198.51.100.7",
    gateway: "192.0.2.254", node: "192.0.2.1", vip: "10.96.0.80", empty: "10.96.0.81",
    pod: "10.0.0.254", balancer: "203.0.113.80",
  },
  6: {
    client: "fd00::1", backend: "fd00:1::1", other: "fd00:2::1", world: "2001:db8::7",
    gateway: "2001:db8:1::fe", node: "2001:db8:1::1", vip: "fd00:96::80", empty: "fd00:96::81",
    pod: "fd00::fe", balancer: "2001:db8:80::80",
  },
} as const;
export const FAMILIES = [4, 6] as const;
export type Family = (typeof FAMILIES)[number];
/** Numbers of the endpoints. */
export const CLIENT = 0, BACKEND = 1, OTHER = 2, UPLINK = 3, HOST = 4;

const denyErrors: ProgramRule[] = [
  ...[3, 4, 11, 12].map((type): ProgramRule => ({
    name: `no-icmp-${type}`, action: "deny", protocol: "icmp", icmp: { type },
  })),
  ...[1, 2, 3, 4].map((type): ProgramRule => ({
    name: `no-icmp6-${type}`, action: "deny", protocol: "icmp6", icmp: { type },
  })),
];

export function nodeProgram(more: Partial<Program> = {}): Program {
  const both = (name: keyof (typeof ADDRESSES)[4]): string[] =>
    FAMILIES.map((family) => ADDRESSES[family][name]);
  const hooks = { ingress: "most", egress: "most" };
  const workload = (name: "client" | "backend" | "other") => ({
    name, kind: "workload" as const, interfaces: [], addresses: both(name), ...hooks,
  });
  const services = FAMILIES.flatMap((family) => (["tcp", "udp"] as const).flatMap(
    (protocol): Service[] => {
      const { vip, empty, backend, balancer } = ADDRESSES[family];
      const web: Service = {
        name: `web-${protocol}-${family}`, address: vip, port: 80, protocol,
        backends: [{ name: "backend", address: backend, port: 8080 }],
      };
      return [
        web, { ...web, address: balancer, kind: "load-balancer" },
        {
          ...web, name: `none-${protocol}-${family}`, address: empty, backends: [],
          whenEmpty: "reject",
        },
      ];
    }));
  return {
    endpoints: [
      workload("client"), workload("backend"), workload("other"),
      {
        name: "uplink", kind: "uplink", interfaces: [], addresses: [], ...hooks,
        forwardIngress: "most",
      },
      {
        name: "host", kind: "host", interfaces: [],
        addresses: [...both("node"), ...[0, 1, 2].flatMap((n) => own(n))],
      },
    ],
    services,
    policies: [{
      name: "most",
      rules: [
        ...denyErrors,
        { name: "closed", action: "deny", destinationPorts: [1] },
        { name: "all", action: "allow" },
      ],
    }],
    sets: [
      { id: "pods", type: "net", members: ["10.0.0.0/16", "fd00::/32"] },
      { id: "cluster", type: "net", members: ["10.0.0.0/8", "fd00::/8"] },
    ],
    routes: [{ prefix: "0.0.0.0/0", uplink: "uplink" }, { prefix: "::/0", uplink: "uplink" }],
    settings: {
      natSources: "pods", natExcluded: "cluster", snatAddresses: both("node"),
      endpointToHost: "accept",
    },
    ...more,
  };
}
const own = (n: number): string[] => [`10.0.${n}.254`, n ? `fd00:${n}::fe` : "fd00::fe"];

/** The ports, with what each is bound to. */
export async function wire(
  graph: Graph, ports: Partial<Record<"client" | "backend" | "other" | "world", PortOptions>> = {},
): Promise<void> {
  const names = ["client", "backend", "other"] as const;
  for (const [n, name] of names.entries()) {
    await graph.port(name, n, {
      addresses: [`10.0.${n}.254/24`, `${own(n)[1]}/64`],
      neighbors: FAMILIES.map((family) => ADDRESSES[family][name]), endpoint: n, ...ports[name],
    });
  }
  await wireWorld(graph, ports.world);
}

/** The uplink, the node itself, and the way to everywhere. */
export async function wireWorld(graph: Graph, options: PortOptions = {}): Promise<void> {
  await graph.port("world", 3, {
    addresses: ["192.0.2.1/24", "2001:db8:1::1/64"],
    neighbors: FAMILIES.map((family) => ADDRESSES[family].gateway), endpoint: UPLINK, ...options,
  });
  await graph.bind("local0", HOST);
  for (const [family, all] of [[4, "0.0.0.0/0"], [6, "::/0"]] as const) {
    await graph.vpp.quietly(`ip route add ${all} via ${ADDRESSES[family].gateway} pg3`);
  }
}

/** VPP with core, program and ports. */
export async function node(
  options: GraphOptions = {}, program: Program = nodeProgram(),
  ports: Parameters<typeof wire>[1] = {},
): Promise<Graph> {
  const graph = await Graph.start(options);
  try {
    await graph.open();
    await graph.push(program);
    await wire(graph, ports);
  } catch (error) {
    await graph.close();
    throw error;
  }
  return graph;
}
