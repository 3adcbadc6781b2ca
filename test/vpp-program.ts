// A small program that the tests of commands and messages give to VPP: a client that may not use
// telnet, a Service of one backend.
import type { Program } from "../host/model/program.ts";

export const PROGRAM: Program = {
  endpoints: [
    {
      name: "client", kind: "workload", interfaces: [7], addresses: ["10.0.0.1", "fd00::1"],
      egress: "web",
    },
    { name: "server", kind: "workload", interfaces: [3], addresses: ["10.0.1.5", "fd00::5"] },
  ],
  services: [{
    name: "web", address: "10.96.0.1", port: 80, protocol: "tcp",
    backends: [{ name: "server", address: "10.0.1.5", port: 8080 }],
  }],
  policies: [{
    name: "web",
    rules: [
      { name: "no-telnet", action: "deny", protocol: "tcp", destinationPorts: [23] },
      { name: "all", action: "allow" },
    ],
  }],
};
