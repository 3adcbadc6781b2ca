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

  it("program-services: they have kinds, traffic policies, ranges, affinity, DSR", () => {
    const { program } = read({
      endpoints: [POD, { ...FOUR, snatAddresses: ["192.0.2.1", "2001:db8::1"], peer: true },
        { name: "host", kind: "host", interfaces: [], addresses: ["192.0.2.1"], active: true }],
      services: [{
        name: "web", addresses: ["203.0.113.5"], port: 80, protocol: "sctp", kind: "load-balancer",
        backends: [{ endpoint: "a", port: 8080 },
          { name: "far", address: "10.1.0.1", port: 8080, weight: 7, node: "node-2" },
          { name: "far6", address: "fd01::1", port: 8080 }],
        localBackends: [{ endpoint: "a", port: 8080 }], whenEmpty: "reject", whenLocalEmpty: "drop",
        affinitySeconds: 10800, sourceRanges: "friends", addressAsSource: true, dsr: true,
        maglev: "calico", maglevSlots: 1031,
      }, { name: "rest", addresses: ["203.0.113.5"], protocol: 0, whenEmpty: "reject" },
      { name: "gre", addresses: ["203.0.113.6"], port: 1, protocol: 47, backends: [] }],
      sets: [{ id: "friends", type: "net", members: ["198.51.100.0/24", "2001:db8::/32"] }],
      routes: [{ prefix: "0.0.0.0/0", uplink: "b" }],
      settings: {
        podNetworks: "friends", masqueradeAll: true, rejectDenied: true, snatPorts: [2000, 3000],
        snatAddresses: ["192.0.2.9"], endpointToHost: "accept", vxlanPort: 4790,
      },
      peers: ["node-2"],
    });
    expect(program.services[0]).toEqual({
      name: "web", address: "203.0.113.5", port: 80, protocol: "sctp", kind: "load-balancer",
      backends: [{ name: "a", address: "10.0.0.1", port: 8080, weight: 1 },
        { name: "far", address: "10.1.0.1", port: 8080, weight: 7, node: "node-2" }],
      localBackends: [{ name: "a", address: "10.0.0.1", port: 8080, weight: 1 }],
      whenEmpty: "reject", whenLocalEmpty: "drop", affinitySeconds: 10800, sourceRanges: "friends",
      addressAsSource: true, dsr: true, maglev: "calico", maglevSlots: 1031,
    });
    expect(program.services.slice(1)).toEqual([
      { name: "rest", address: "203.0.113.5", port: 0, protocol: 0, whenEmpty: "reject",
        backends: [] },
      { name: "gre", address: "203.0.113.6", port: 1, protocol: 47, backends: [] },
    ]);
    expect(program.endpoints[1]).toMatchObject(
      { snatAddresses: ["192.0.2.1", "2001:db8::1"], peer: true });
    expect(program).toMatchObject({
      routes: [{ prefix: "0.0.0.0/0", uplink: "b" }], peers: ["node-2"],
      settings: { podNetworks: "friends", snatPorts: [2000, 3000], snatAddresses: ["192.0.2.9"] },
    });
  });

  it("program-services: what is wrong in them is listed with its field", () => {
    expect(problems({
      endpoints: [{ ...POD, peer: true, active: "yes", allowedSources: "ports" }],
      services: [{
        name: "web", addresses: ["10.96.0.1"], port: 80, protocol: "tcp", kind: "headless",
        backends: [{ name: "x", address: "nowhere", port: 1, weight: 2000, node: "node-9" }],
        localBackends: {}, whenEmpty: "ignore", affinitySeconds: 90000, sourceRanges: "none",
        dsr: 1, maglev: "katran", maglevSlots: 2, traffic: "Local",
      }, { name: "rest", addresses: ["10.96.0.1"], protocol: 0, port: 80,
        backends: [{ endpoint: "a", port: 1 }] }],
      sets: [{ id: "ports", type: "ip-port", members: ["10.0.0.1,tcp:80"] },
        { id: "ports", type: "net", members: ["10.0.0.0/33"] }],
      routes: [{ prefix: "::/0", uplink: "a" }],
      settings: { natSources: "none", snatPorts: [3000, 2000],
        snatAddresses: ["192.0.2.1", "192.0.2.2"], masquerade: true },
      peers: ["node-2"],
    })).toEqual([
      'sets[1].members[0]: "10.0.0.0/33": the prefix length must be 0 to 32',
      'endpoints[0].active: expected true or false, not "yes"',
      'endpoints[0].allowedSources: set "ports" holds ports, not addresses',
      "endpoints[0].peer: an uplink's alone",
      'sets[1].id: "ports" stands there twice',
      "services[0].traffic: unknown field; known are name, addresses, port, protocol, backends, " +
        "kind, localBackends, whenEmpty, whenLocalEmpty, affinitySeconds, sourceRanges, " +
        "addressAsSource, dsr, maglev, maglevSlots",
      'services[0].backends[0].address: "nowhere" is no IP address',
      'services[0].backends[0].node: no peer is named "node-9"',
      "services[0].backends[0].weight: expected a number from 1 to 1000, not 2000",
      "services[0].localBackends: expected a list, not {}",
      "services[0].kind: expected cluster-ip, node-port, load-balancer, external-ip, host-port, " +
        'not "headless"',
      'services[0].whenEmpty: expected drop, reject, not "ignore"',
      "services[0].dsr: expected true or false, not 1",
      'services[0].maglev: expected margay, calico, not "katran"',
      "services[0].maglevSlots: expected a number from 3 to 655373, not 2",
      "services[0].affinitySeconds: expected a number from 0 to 86400, not 90000",
      'services[0].sourceRanges: no set has the id "none"',
      "services[1].port: expected a number from 0 to 0, not 80",
      "services[1].backends: protocol 0 has no backends",
      'routes[0].uplink: no uplink is named "a"',
      "settings.masquerade: unknown field; known are endpointToHost, vxlanPort, " +
        "allowVxlanFromWorkloads, allowIpipFromWorkloads, rejectDenied, masqueradeAll, " +
        "podNetworks, natSources, natExcluded, serviceNetworks, vxlanHosts, ipipHosts, " +
        "snatAddresses, snatPorts",
      'settings.natSources: no set has the id "none"',
      "settings.snatAddresses[1]: a second address of its family",
      "settings.snatPorts: expected two ports, the lower one first",
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
        "egress, ingress, active, allowedSources, snatAddresses, peer",
      'endpoints[1].name: expected a text, not ""',
      'endpoints[1].interfaces: "eth-a" belongs to another endpoint',
      'endpoints[1].addresses[0]: "10.0.0.300" is no IP address',
      'endpoints[2].interfaces: expected a list, not "eth-z"',
      'endpoints[2].kind: expected workload, uplink, host, not "pod"',
      'endpoints[2].name: "a" stands there twice',
      'endpoints[0].ingress: no policy is named "nobody"',
      'services[0].protocol: expected tcp, udp, sctp, not "icmp"',
      "services[0].port: expected a number from 1 to 65535, not 0",
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
