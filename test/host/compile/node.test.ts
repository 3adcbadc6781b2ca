// A node's state as a program: which policies stand at which hook of which endpoint, what keeps its
// index, and what is wrong told by name.
import { describe, expect, test } from "vitest";
import { HOST_INTERFACE, NodeMemory, nodeProgram } from "../../../host/compile/node.ts";
import type { Endpoint, Policy, Program } from "../../../host/model/program.ts";
import {
  emptyState, type HostEndpointState, type NodeDevices, type NodeState, type PolicyState,
  type TierState, type WorkloadState,
} from "../../../host/model/state.ts";

const devices: NodeDevices = {
  uplinks: [
    { name: "eth0", addresses: ["192.0.2.1", "2001:db8::1"], routes: ["0.0.0.0/0", "::/0"] },
    { name: "eth1", addresses: ["198.51.100.1"], routes: ["198.51.100.0/24"] },
  ],
};

function policy(name: string, more: Partial<PolicyState> = {}): PolicyState {
  return {
    kind: "GlobalNetworkPolicy", namespace: "", name, tier: "default",
    inbound: [{ action: "allow", protocol: "tcp" }], outbound: [{ action: "deny" }], ...more,
  };
}
function tier(names: string[], more: Partial<TierState> = {}): TierState {
  const keys = names.map((name) => `GlobalNetworkPolicy ${name}`);
  return { name: "default", defaultAction: "deny", ingress: keys, egress: keys, ...more };
}
function stateOf(
  { policies = [], workloads = [], heps = [], config = {} }: {
    policies?: PolicyState[]; workloads?: Partial<WorkloadState>[];
    heps?: Partial<HostEndpointState>[]; config?: Record<string, string>;
  },
): NodeState {
  const state = emptyState();
  for (const each of policies) state.policies.set(`${each.kind} ${each.name}`, each);
  workloads.forEach((each, i) => {
    const id = each.id ?? `k8s/shop/pod-${i}/eth0`;
    state.workloads.set(id, {
      id, workload: `shop/pod-${i}`, interface: `cali${i}`, active: true,
      addresses: [`10.65.0.${i + 1}/32`], tiers: [], profiles: [], allowedSources: [], ...each,
    });
  });
  for (const each of heps) {
    const id = each.id!;
    state.hostEndpoints.set(id, {
      id, interface: "*", expectedAddresses: [], tiers: [], untrackedTiers: [], preDnatTiers: [],
      forwardTiers: [], profiles: [], ...each,
    });
  }
  state.config = new Map(Object.entries(config));
  return state;
}
const find = (program: Program, name: string): Endpoint =>
  program.endpoints.find((each) => each.name === name)!;
const hooksOf = (endpoint: Endpoint): Record<string, unknown> => {
  const { name, kind, interfaces, addresses, incarnation, active, snatAddresses, ...hooks } =
    endpoint;
  return hooks;
};
const rulesOf = (program: Program, hook: string | undefined): string[] =>
  (program.policies.find(({ name }) => name === hook) as Policy).rules.map(({ name }) => name);

describe("which host endpoint", () => {
  const own = (program: Program, uplink: string): string | undefined =>
    rulesOf(program, find(program, uplink).ingress).find((name) => name.startsWith("Global"));

  test("by name or by expected addresses, the alphabetically first id wins; * has the rest", () => {
    const names = ["a", "b", "c", "d", "e"];
    const state = stateOf({
      policies: names.map((name) => policy(name)),
      heps: [
        { id: "z-any", interface: "*", tiers: [tier(["e"])] },
        { id: "y-any", interface: "*", tiers: [tier(["d"])] },
        { id: "n2", interface: "eth0", tiers: [tier(["b"])] },
        { id: "n1", interface: "", expectedAddresses: ["2001:db8:0::1"], tiers: [tier(["a"])] },
        { id: "a0", interface: "", expectedAddresses: ["203.0.113.1"], tiers: [tier(["c"])] },
      ],
    });
    const program = nodeProgram(state, devices);
    expect(own(program, "eth0")).toBe("GlobalNetworkPolicy a inbound[0]");
    expect(own(program, "eth1")).toBe("GlobalNetworkPolicy d inbound[0]");
    expect(own(program, "host")).toBe("GlobalNetworkPolicy d inbound[0]");
    state.hostEndpoints.delete("n1");
    expect(own(nodeProgram(state, devices), "eth0")).toBe("GlobalNetworkPolicy b inbound[0]");
  });

  test("without any, no host policy stands anywhere", () => {
    const program = nodeProgram(stateOf({ workloads: [{}] }), devices);
    expect(hooksOf(find(program, "eth0"))).toEqual({});
    expect(hooksOf(find(program, "host"))).toEqual({});
    expect(Object.keys(hooksOf(find(program, "shop/pod-0"))).sort()).toEqual(["egress", "ingress"]);
  });

  test("one with nothing denies all but failsafes; raw and forward hooks stay empty", () => {
    const program = nodeProgram(stateOf({ heps: [{ id: "h", interface: "eth0" }] }), devices);
    const hooks = hooksOf(find(program, "eth0"));
    expect(Object.keys(hooks).sort()).toEqual(["egress", "ingress"]);
    expect(new Set(rulesOf(program, hooks["ingress"] as string)))
      .toEqual(new Set(["failsafe", "no profile matched"]));
  });

  test("* has its preDNAT and forward policies at workloads too, the rest at uplinks alone", () => {
    const tiers = [tier(["a"])];
    const state = stateOf({
      policies: [policy("a")], workloads: [{}],
      heps: [{ id: "h", tiers, untrackedTiers: tiers, preDnatTiers: tiers, forwardTiers: tiers }],
    });
    const program = nodeProgram(state, devices);
    expect(Object.keys(hooksOf(find(program, "eth0"))).sort()).toEqual([
      "egress", "forwardEgress", "forwardIngress", "ingress", "preDnat", "untrackedEgress",
      "untrackedIngress",
    ]);
    expect(Object.keys(hooksOf(find(program, "shop/pod-0"))).sort()).toEqual([
      "egress", "forwardEgress", "forwardIngress", "ingress", "preDnat",
    ]);
    expect(Object.keys(hooksOf(find(program, "host")))).toEqual(["ingress"]);
    state.hostEndpoints.get("h")!.interface = "eth0";
    const named = nodeProgram(state, devices);
    expect(Object.keys(hooksOf(find(named, "shop/pod-0"))).sort()).toEqual(["egress", "ingress"]);
  });
});

test("policy-failsafe: first in untracked, preDNAT and normal, never in forward; replies when raw",
  () => {
    const tiers = [tier(["a"])];
    const state = stateOf({
      policies: [policy("a")],
      heps: [{ id: "h", tiers, untrackedTiers: tiers, preDnatTiers: tiers, forwardTiers: tiers }],
      config: {
        FailsafeInboundHostPorts: "tcp:22", FailsafeOutboundHostPorts: "udp:10.0.0.0/8:53",
      },
    });
    const program = nodeProgram(state, devices);
    const hooks = find(program, "eth0");
    const failsafes = (hook: string | undefined): unknown[] =>
      (program.policies.find(({ name }) => name === hook) as Policy).rules
        .filter(({ name }) => name === "failsafe")
        .map(({ name, origin, ...rule }) => rule);
    const inbound = { protocol: "tcp", destinationPorts: [22] };
    const outbound = { protocol: "udp", destinationPorts: [53], destination: ["10.0.0.0/8"] };
    expect(failsafes(hooks.ingress)).toEqual([{ ...inbound, action: "allow" }]);
    expect(failsafes(hooks.egress)).toEqual([{ ...outbound, action: "allow" }]);
    expect(failsafes(hooks.forwardIngress)).toEqual([]);
    expect(failsafes(hooks.forwardEgress)).toEqual([]);
    const skip = { action: "pass" };
    expect(failsafes(hooks.preDnat)).toMatchObject([{ ...inbound, ...skip }]);
    expect(failsafes(hooks.untrackedIngress)).toMatchObject([
      { ...inbound, ...skip },
      { protocol: "udp", sourcePorts: [53], source: ["10.0.0.0/8"], ...skip },
    ]);
    expect(failsafes(hooks.untrackedEgress)).toMatchObject([
      { ...outbound, ...skip }, { protocol: "tcp", sourcePorts: [22], ...skip },
    ]);
  });

describe("workloads", () => {
  test("policy-staged: left out of what is enforced, in their places in what is counted", () => {
    const staged = policy("s", { kind: "StagedGlobalNetworkPolicy", staged: true });
    const key = "StagedGlobalNetworkPolicy s";
    const both = { ...tier(["a"]), ingress: [key, "GlobalNetworkPolicy a"] };
    const alone = { ...tier([]), name: "alone", defaultAction: "deny" as const, egress: [key] };
    const state = stateOf({
      policies: [policy("a"), staged],
      workloads: [{ tiers: [alone, both] }, { tiers: [tier(["a"])] }],
    });
    const program = nodeProgram(state, devices);
    const hooks = find(program, "shop/pod-0");
    expect(rulesOf(program, hooks.ingress)).toEqual([
      "GlobalNetworkPolicy a inbound[0]", "tier default end", "no profile matched",
    ]);
    expect(rulesOf(program, hooks.stagedIngress)).toEqual([
      `${key} inbound[0]`, "GlobalNetworkPolicy a inbound[0]", "tier default end",
      "no profile matched",
    ]);
    // A tier with staged policies alone is skipped, its default action too.
    expect(rulesOf(program, hooks.egress)).toEqual([
      "GlobalNetworkPolicy a outbound[0]", "tier default end", "no profile matched",
    ]);
    expect(rulesOf(program, hooks.stagedEgress)[0]).toBe(`${key} outbound[0]`);
    expect(find(program, "shop/pod-1").stagedIngress).toBeUndefined();
  });

  test("a profile that is not there denies; equal directions are one policy", () => {
    const workload = { profiles: ["kns.shop", "gone"] };
    const state = stateOf({ workloads: [workload, workload] });
    state.profiles.set("kns.shop", {
      name: "kns.shop", inbound: [{ action: "allow", protocol: "udp" }], outbound: [],
    });
    const program = nodeProgram(state, devices);
    const [first, second] = [find(program, "shop/pod-0"), find(program, "shop/pod-1")];
    expect(rulesOf(program, first.ingress)).toEqual([
      "Profile kns.shop inbound[0]", "Profile gone there is no such profile", "no profile matched",
    ]);
    expect(second.ingress).toBe(first.ingress);
    expect(program.policies).toHaveLength(2);
  });

  test("inactive ones, spoofed sources where the node lets them, prefixes, the host's own", () => {
    const memory = new NodeMemory();
    const state = stateOf({
      workloads: [
        { active: false }, { allowedSources: ["203.0.113.0/24"] },
        { addresses: ["10.66.0.0/30", "fd00::5/128"] }, { addresses: ["192.0.2.1/32"] },
        { addresses: ["10.67.0.0/16"] }, { interface: "cali0", addresses: ["10.68.0.1"] },
      ],
    });
    const program = nodeProgram(state, devices, memory);
    expect(find(program, "shop/pod-0").active).toBe(false);
    expect(find(program, "shop/pod-1").allowedSources).toBeUndefined();
    expect(find(program, "shop/pod-2").addresses)
      .toEqual(["10.66.0.0", "10.66.0.1", "10.66.0.2", "10.66.0.3", "fd00::5"]);
    expect(find(program, "host").addresses).toEqual(["192.0.2.1", "2001:db8::1", "198.51.100.1"]);
    expect(memory.problems).toEqual([
      "workload shop/pod-3: 192.0.2.1 is an address of host",
      "workload shop/pod-4: 10.67.0.0/16: it may send from there, but is not reached there: " +
        "a prefix of more than 256 addresses",
      "shop/pod-5: interface cali0 is another endpoint's",
    ]);
    state.config.set("WorkloadSourceSpoofing", "Any");
    const spoofing = nodeProgram(state, devices, memory);
    const { allowedSources } = find(spoofing, "shop/pod-1");
    expect([...spoofing.sets!.find(({ id }) => id === allowedSources)!.members])
      .toEqual(["203.0.113.0/24"]);
  });

  test("a policy that is not there is named, and a bad parameter keeps its default", () => {
    const memory = new NodeMemory();
    expect(() => nodeProgram(stateOf({ workloads: [{ tiers: [tier(["gone"])] }] }), devices))
      .toThrow("workload k8s/shop/pod-0/eth0: tier default names GlobalNetworkPolicy gone, which");
    const state = stateOf({ config: { VXLANPort: "x" } });
    expect(nodeProgram(state, devices, memory).settings!.vxlanPort).toBe(4789);
    expect(memory.problems).toEqual(['VXLANPort "x": expected a port, 1 to 65535']);
  });
});

test("routes, settings and the set of hosts, the same object while hosts are", () => {
  const memory = new NodeMemory();
  const state = stateOf({
    config: { VXLANEnabled: "true", DefaultEndpointToHostAction: "ACCEPT", VXLANPort: "8472" },
  });
  state.hosts.set("n1", ["192.0.2.1/24", "2001:db8::1/64"]).set("n2", ["192.0.2.2"]);
  const program = nodeProgram(state, devices, memory);
  expect(program.routes).toEqual([
    { prefix: "0.0.0.0/0", uplink: "eth0" }, { prefix: "::/0", uplink: "eth0" },
    { prefix: "198.51.100.0/24", uplink: "eth1" },
  ]);
  expect(program.settings).toEqual({
    endpointToHost: "accept", vxlanPort: 8472, allowVxlanFromWorkloads: false,
    allowIpipFromWorkloads: false, vxlanHosts: "margay:hosts",
    podNetworks: "margay:pod-networks", snatAddresses: ["192.0.2.1", "2001:db8::1"],
  });
  const hosts = program.sets!.find(({ id }) => id === "margay:hosts")!;
  expect([...hosts.members]).toEqual(["192.0.2.1", "2001:db8::1", "192.0.2.2"]);
  const again = nodeProgram(state, devices, memory);
  expect(again.sets!.find(({ id }) => id === "margay:hosts")!.members).toBe(hosts.members);
});

test("an endpoint keeps its index; what takes a vacant one is another incarnation", () => {
  const memory = new NodeMemory();
  const of = (...names: string[]): Program => nodeProgram(stateOf({
    workloads: names.map((name) => ({
      id: `k8s/shop/${name}/eth0`, workload: `shop/${name}`, interface: `cali-${name}`,
      addresses: [`10.65.0.${name.charCodeAt(0)}`],
    })),
  }), devices, memory);
  const places = (program: Program): unknown[] => program.endpoints.map((each) =>
    [each.name, each.interfaces[0], each.incarnation]);
  const host = [["host", 1, 0], ["eth0", 2, 0], ["eth1", 3, 0]];
  expect(places(of("a", "b", "c"))).toEqual([
    ...host, ["shop/a", 4, 0], ["shop/b", 5, 0], ["shop/c", 6, 0],
  ]);
  expect(places(of("a", "c"))).toEqual([
    ...host, ["shop/a", 4, 0], ["", undefined, undefined], ["shop/c", 6, 0],
  ]);
  expect(places(of("0", "a", "c"))).toEqual([
    ...host, ["shop/a", 4, 0], ["shop/0", 5, 1], ["shop/c", 6, 0],
  ]);
  expect(places(of("0"))).toEqual([...host, ["", undefined, undefined], ["shop/0", 5, 1]]);
  expect(find(of("0"), "host").interfaces).toEqual([1]);
  expect(HOST_INTERFACE).toBe("(host)");
});

test("what did not change is the same unit", () => {
  const memory = new NodeMemory();
  const names = Array.from({ length: 200 }, (_, i) => `p${i}`);
  const state = stateOf({
    policies: names.map((name) => policy(name)),
    workloads: names.map((name) => ({ tiers: [tier([name])] })),
  });
  const first = nodeProgram(state, devices, memory);
  const second = nodeProgram(state, devices, memory);
  expect(second.policies.every((each, i) => each === first.policies[i])).toBe(true);
  const before = state.policies.get("GlobalNetworkPolicy p7")!;
  state.policies.set("GlobalNetworkPolicy p7", { ...before, inbound: [{ action: "deny" }] });
  const third = nodeProgram(state, devices, memory);
  expect(third.policies.filter((each) => !first.policies.includes(each))).toHaveLength(1);
});
