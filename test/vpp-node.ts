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
import type { Program } from "../host/model/program.ts";
import {
  ADDRESSES as TRANSLATED, FAMILIES, surroundings, webServices, type Family,
} from "./translated.ts";
import { Graph, type GraphOptions, type PortOptions } from "./vpp-graph.ts";

const own = (n: number): string[] => [`10.0.${n}.254`, n ? `fd00:${n}::fe` : "fd00::fe"];
/** Those of translated.ts, by the names of this drawing. */
const shared = (family: Family) => {
  const { outside: world, router: gateway, ...rest } = TRANSLATED[family];
  return { ...rest, world, gateway };
};
export const ADDRESSES = {
  4: { ...shared(4), other: "10.0.2.1", pod: own(0)[0]! },
  6: { ...shared(6), other: "fd00:2::1", pod: own(0)[1]! },
};
export { FAMILIES, type Family };
/** Numbers of the endpoints. */
export const CLIENT = 0, BACKEND = 1, OTHER = 2, UPLINK = 3, HOST = 4;

export function nodeProgram(more: Partial<Program> = {}): Program {
  const both = (name: keyof (typeof ADDRESSES)[4]): string[] =>
    FAMILIES.map((family) => ADDRESSES[family][name]);
  const hooks = { ingress: "no-errors", egress: "no-errors" };
  const workload = (name: "client" | "backend" | "other") => ({
    name, kind: "workload" as const, interfaces: [], addresses: both(name), ...hooks,
  });
  const around = surroundings();
  return {
    ...around,
    endpoints: [
      workload("client"), workload("backend"), workload("other"),
      {
        name: "uplink", kind: "uplink", interfaces: [], addresses: [], ...hooks,
        forwardIngress: "no-errors",
      },
      {
        name: "host", kind: "host", interfaces: [],
        addresses: [...both("node"), ...[0, 1, 2].flatMap((n) => own(n))],
      },
    ],
    services: FAMILIES.flatMap((family) =>
      (["tcp", "udp"] as const).flatMap((protocol) => webServices(family, protocol))),
    settings: { ...around.settings, endpointToHost: "accept" },
    ...more,
  };
}

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
