// A small program for tests: two clients, two backends behind a VIP in both families, an uplink.
import { readFileSync } from "node:fs";
import { Compiler, bindRecords } from "../host/compile/program.ts";
import { configureRecord } from "../host/compile/records.ts";
import { NodeDataplane } from "../host/dataplane/node.ts";
import type { Dataplane } from "../host/dataplane/dataplane.ts";
import type { Budgets, Program, ProgramRule } from "../host/model/program.ts";

export const core = readFileSync("build/margay.wasm");
export const VIP4 = "10.96.0.80";
export const VIP6 = "fd00:96::80";
/** Interface numbers: the client's, the stranger's, the backends', the uplink's. */
export const CLIENT = 1, STRANGER = 2, BACKEND1 = 3, BACKEND2 = 4, UPLINK = 5;

export const ALLOW: ProgramRule[] = [
  { name: "no-stranger", action: "deny", source: ["10.0.0.9", "fd00::9"] },
  { name: "web", action: "allow", protocol: "tcp", destinationPorts: [8080] },
  { name: "dns", action: "allow", protocol: "udp", destinationPorts: [5353] },
  { name: "ping", action: "allow", protocol: "icmp" },
  { name: "ping6", action: "allow", protocol: "icmp6" },
];

export function shop(rules: ProgramRule[] = ALLOW): Program {
  const backends = (port: number, family: 4 | 6) => [1, 2].map((n) => ({
    name: `backend-${n}`,
    address: family === 4 ? `10.0.1.${n}` : `fd00:1::${n}`,
    port,
  }));
  const service = (family: 4 | 6, protocol: "tcp" | "udp", port: number, target: number) => ({
    name: `${protocol}${family}`, address: family === 4 ? VIP4 : VIP6, port, protocol,
    backends: backends(target, family),
  });
  return {
    endpoints: [
      {
        name: "client", kind: "workload", interfaces: [CLIENT],
        addresses: ["10.0.0.1", "fd00::1", "10.0.0.101"],
      },
      {
        name: "stranger", kind: "workload", interfaces: [STRANGER],
        addresses: ["10.0.0.9", "fd00::9"],
      },
      {
        name: "backend-1", kind: "workload", interfaces: [BACKEND1], ingress: "web",
        addresses: ["10.0.1.1", "fd00:1::1"],
      },
      {
        name: "backend-2", kind: "workload", interfaces: [BACKEND2], ingress: "web",
        addresses: ["10.0.1.2", "fd00:1::2"],
      },
      { name: "uplink", kind: "uplink", interfaces: [UPLINK], addresses: ["192.0.2.1"] },
    ],
    services: [
      service(4, "tcp", 80, 8080), service(4, "udp", 53, 5353),
      service(6, "tcp", 80, 8080), service(6, "udp", 53, 5353),
    ],
    policies: [{ name: "web", rules }],
  };
}

export const BUDGETS: Budgets = {
  workers: 2, sessions4Max: 4096, sessions6Max: 4096, endpointsMax: 64, servicesMax: 64,
};

/** A running dataplane with a program as generation 1. */
export async function started(
  program: Program = shop(), budgets: Budgets = BUDGETS,
  dataplane: Dataplane = new NodeDataplane(core, { workers: budgets.workers }),
): Promise<{ dataplane: Dataplane; compiler: Compiler }> {
  const compiler = new Compiler();
  dataplane.stage(configureRecord(budgets));
  dataplane.push(await compiler.compile(program, 1));
  dataplane.stage(bindRecords(program));
  return { dataplane, compiler };
}
