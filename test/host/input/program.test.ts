// Snapshots: a file becomes the program's plain objects, or a list of all that is wrong with it.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readSnapshot, SnapshotError } from "../../../host/input/program.ts";

const POD = { name: "a", interfaces: ["eth-a"], addresses: ["10.0.0.1", "fd00::1"] };
const FOUR = { name: "b", interfaces: ["eth-b", "eth-c"], addresses: ["10.0.0.2"], kind: "uplink" };

function read(json: unknown) {
  return readSnapshot(JSON.stringify(json), "shop.json");
}

function problems(json: unknown): string[] {
  try {
    read(json);
  } catch (error) {
    if (error instanceof SnapshotError) {
      return error.problems.map(({ path, message }) => `${path}: ${message}`);
    }
    throw error;
  }
  return [];
}

describe("snapshots", () => {
  it("number interfaces, and give each VIP the backends of its family", () => {
    const { program, interfaces } = read({
      endpoints: [POD, { ...FOUR, ingress: "web" }],
      services: [{
        name: "web", addresses: ["10.96.0.1", "fd00:96::1"], port: 80, protocol: "tcp",
        backends: [{ endpoint: "a", port: 8080, weight: 3 }, { endpoint: "b", port: 8081 }],
      }],
      policies: [{ name: "web", rules: [{ name: "all", action: "allow", protocol: 47 }] }],
    });
    expect([...interfaces]).toEqual([["eth-a", 1], ["eth-b", 2], ["eth-c", 3]]);
    expect(program.endpoints[1]).toEqual({
      name: "b", kind: "uplink", interfaces: [2, 3], addresses: ["10.0.0.2"], ingress: "web",
    });
    expect(program.services).toEqual([
      { name: "web", address: "10.96.0.1", port: 80, protocol: "tcp", backends: [
        { name: "a", address: "10.0.0.1", port: 8080, weight: 3 },
        { name: "b", address: "10.0.0.2", port: 8081, weight: 1 },
      ] },
      { name: "web", address: "fd00:96::1", port: 80, protocol: "tcp", backends: [
        { name: "a", address: "fd00::1", port: 8080, weight: 3 },
      ] },
    ]);
    expect(program.policies).toEqual([
      { name: "web", rules: [{ name: "all", action: "allow", protocol: 47 }] },
    ]);
  });

  it("the example is one", () => {
    const { program } = readSnapshot(readFileSync("examples/program.json", "utf8"), "program.json");
    expect(program.endpoints.length).toBe(5);
    expect(program.services.length).toBe(4);
  });

  it("every problem is listed with its path, none loads", () => {
    expect(problems({
      endpoints: [
        { ...POD, ingress: "nobody", adresses: [] },
        { name: "", interfaces: ["eth-a"], addresses: ["10.0.0.300"] },
        { ...POD, interfaces: "eth-z", kind: "pod" },
      ],
      services: [{
        name: "web", addresses: [], port: 0, protocol: "icmp",
        backends: [{ endpoint: "z", port: 70000 }],
      }],
      policies: [{ name: "p", rules: [{
        name: "r", action: "accept", protocol: "gre", source: ["10.0.0.0/33"],
        destinationPorts: ["90-80", 0, {}],
      }] }],
    })).toEqual([
      'policies[0].rules[0].action: expected allow, deny, pass, not "accept"',
      'policies[0].rules[0].protocol: expected tcp, udp, icmp, icmp6, icmpv6, sctp, udplite, ' +
        'not "gre"',
      'policies[0].rules[0].source[0]: "10.0.0.0/33": the prefix length must be 0 to 32',
      'policies[0].rules[0].destinationPorts[0]: expected a port or "first-last", not "90-80"',
      "policies[0].rules[0].destinationPorts[1]: expected a number from 1 to 65535, not 0",
      'policies[0].rules[0].destinationPorts[2]: expected a port or "first-last", not {}',
      "endpoints[0].adresses: unknown field; known are name, kind, interfaces, addresses, " +
        "egress, ingress",
      'endpoints[1].name: expected a text, not ""',
      'endpoints[1].interfaces: "eth-a" belongs to another endpoint',
      'endpoints[1].addresses[0]: "10.0.0.300" is no IP address',
      'endpoints[2].interfaces: expected a list, not "eth-z"',
      'endpoints[2].kind: expected workload, uplink, not "pod"',
      'endpoints[2].name: "a" stands there twice',
      'endpoints[0].ingress: no policy is named "nobody"',
      "services[0].port: expected a number from 1 to 65535, not 0",
      'services[0].protocol: expected tcp, udp, not "icmp"',
      'services[0].backends[0].endpoint: no endpoint is named "z"',
      "services[0].backends[0].port: expected a number from 1 to 65535, not 70000",
    ]);
  });

  it("what is no JSON, no object or lacks endpoints says so", () => {
    expect(() => readSnapshot("{", "a.json")).toThrow(/^a\.json: JSON: /);
    expect(problems([])).toEqual(["file: expected an object, not []",
      "endpoints: expected a list, not nothing"]);
    expect(problems({ endpoints: [5] })[0]).toBe("endpoints[0]: expected an object, not 5");
  });
});
