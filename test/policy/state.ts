// A random node: workloads, uplinks, host endpoints, tiers, policies, profiles, sets, Services and
// Felix' parameters, small enough that all of them meet the same few addresses.
import {
  emptyState, policyKey, type HostEndpointState, type NodeDevices, type NodeState,
  type PolicyState, type TierState, type WorkloadState,
} from "../../host/model/state.ts";
import type { Rule } from "../../host/model/rule.ts";
import { HOST } from "../reference/policy.ts";
import { randomFlow, type Flow, type Place } from "./flow.ts";
import { randomRule, randomSets } from "./rules.ts";
import type { Random } from "./random.ts";

export interface World {
  state: NodeState;
  devices: NodeDevices;
  /** What rules are written around. */
  flows: Flow[];
  sources: Place[];
  targets: string[];
}

const TIERS = ["kube-admin", "security", "default", "kube-baseline"];
const KINDS =
  ["NetworkPolicy", "GlobalNetworkPolicy", "CalicoNetworkPolicy", "ClusterNetworkPolicy"];
const REMOTE_PODS = ["10.65.1.1", "10.65.1.2", "fd00:65:1::1", "fd00:65:1::2"];
export const PEERS = ["192.0.2.2", "2001:db8::2"];
const WORLD = [
  "203.0.113.5", "203.0.113.77", "192.0.2.77", "2001:db8:ffff::5", "2001:db8::77", "198.51.100.9",
];
const MULTICAST = ["224.0.0.251", "ff02::fb"];
const VIPS = ["10.96.0.1", "10.96.0.2", "fd00:96::1", "fd00:96::2"];
/** Outbound and inbound ports that are looked for among failsafes. */
const FAILSAFES = [
  "tcp:22,udp:53,tcp:8080", "none", "tcp:203.0.113.0/24:22,udp:53",
  "tcp:[2001:db8::/32]:22,sctp:80",
];

export function randomWorld(random: Random): World {
  const state = emptyState();
  const devices = randomDevices(random);
  state.hosts.set("node-1", devices.uplinks.flatMap((each) => each.addresses));
  state.hosts.set("node-2", random.chance(0.5) ? PEERS : PEERS.map((each) =>
    `${each}/${each.includes(":") ? 64 : 24}`));
  config(random, state);
  const workloads = Array.from({ length: random.between(2, 4) }, (_, i) =>
    randomWorkload(random, i + 1));
  for (const each of workloads) state.workloads.set(each.id, each);

  const nodes = devices.uplinks.flatMap((each) => each.addresses);
  const pods = workloads.flatMap((each) => each.addresses.map((text) => text.split("/")[0]!));
  const sources: Place[] = [
    ...workloads.flatMap((each) => [...each.addresses, ...each.addresses, ...spoofable(state, each)]
      .map((text) => ({ interface: each.interface, address: text.split("/")[0]! }))),
    ...devices.uplinks.flatMap(({ name }) => [...WORLD, ...PEERS, ...REMOTE_PODS]
      .map((address) => ({ interface: name, address }))),
    ...nodes.flatMap((address) => [{ interface: HOST, address }, { interface: HOST, address }]),
  ];
  const targets = [...pods, ...pods, ...nodes, ...WORLD, ...PEERS, ...REMOTE_PODS, ...VIPS,
    ...MULTICAST];
  const flows = Array.from({ length: 7 }, () => randomFlow(random, sources, targets));
  state.sets = randomSets(random, flows);
  randomServices(random, state, flows, pods);
  randomPolicies(random, state, flows);
  for (const each of workloads) attach(random, state, each);
  randomHostEndpoints(random, state, devices);
  return { state, devices, flows, sources, targets };
}

function randomDevices(random: Random): NodeDevices {
  const uplinks = [{
    name: "eth0", addresses: ["192.0.2.1", "2001:db8::1"], routes: ["0.0.0.0/0", "::/0"],
  }];
  if (random.chance(0.15)) uplinks[0]!.routes = [random.pick(["0.0.0.0/0", "::/0"])];
  if (random.chance(0.5)) {
    uplinks.push({
      name: "eth1", addresses: ["198.51.100.1", "2001:db8:1::1"],
      routes: ["198.51.100.0/24", "203.0.113.64/26", "10.65.1.2", "fd00:65:1::2", "ff00::/8"],
    });
  }
  return { uplinks };
}

function config(random: Random, state: NodeState): void {
  const put = (share: number, name: string, ...values: string[]): void => {
    if (random.chance(share)) state.config.set(name, random.pick(values));
  };
  put(0.7, "DefaultEndpointToHostAction", "RETURN", "ACCEPT", "DROP", "Return", "Accept", "Return");
  put(0.7, "VXLANEnabled", "true", "true", "true", "false");
  put(0.5, "IpInIpEnabled", "true");
  put(0.2, "VXLANPort", "8080", "4790");
  put(0.3, "AllowVXLANPacketsFromWorkloads", "true");
  put(0.3, "AllowIPIPPacketsFromWorkloads", "true");
  put(0.6, "WorkloadSourceSpoofing", "Any", "Any", "Disabled");
  put(0.5, "FailsafeInboundHostPorts", ...FAILSAFES);
  put(0.5, "FailsafeOutboundHostPorts", ...FAILSAFES);
}

function randomWorkload(random: Random, n: number): WorkloadState {
  const host = random.chance(0.5);
  const addresses = [`10.65.0.${n}${host ? "/32" : ""}`, `fd00:65::${n}${host ? "/128" : ""}`];
  if (random.chance(0.2)) addresses.push(`10.65.0.${100 + n}`, `fd00:65::${100 + n}`);
  if (random.chance(0.1)) addresses.push(`10.65.0.${60 + 4 * n}/30`);
  if (random.chance(0.08)) addresses.splice(random.below(2), 1);
  return {
    id: `k8s/shop/pod-${n}/eth0`, workload: `shop/pod-${n}`, interface: `cali${n}`,
    active: !random.chance(0.05), addresses, tiers: [], profiles: [],
    allowedSources: random.chance(0.4) ? ["203.0.113.0/24", "2001:db8:ffff::/48"] : [],
  };
}
function spoofable(state: NodeState, workload: WorkloadState): string[] {
  const may = workload.allowedSources.length &&
    state.config.get("WorkloadSourceSpoofing") === "Any";
  return may ? ["203.0.113.5", "2001:db8:ffff::5"] : [];
}

/** One backend or none: the choice among several is the Service look-up's own matter. */
function randomServices(random: Random, state: NodeState, flows: Flow[], pods: string[]): void {
  for (const { to, protocol, port } of flows.filter((each) => VIPS.includes(each.to))) {
    if (protocol !== 6 && protocol !== 17) continue;
    const name = `${to}:${port}/${protocol}`;
    if (state.services.some((each) => each.name === name)) continue;
    const like = pods.filter((each) => each.includes(":") === to.includes(":"));
    const backends = random.chance(0.6) && like.length > 0
      ? [{ name: "one", address: random.pick(like), port: random.pick([port, 8080]) }] : [];
    state.services.push({ name, address: to, port, protocol, backends });
  }
}

type Phase = "normal" | "untracked" | "preDnat";
const ACTIONS: Record<Phase, Record<Rule["action"], number>> = {
  normal: { allow: 60, deny: 18, pass: 14, log: 8 },
  untracked: { allow: 34, deny: 30, pass: 26, log: 10 },
  preDnat: { allow: 34, deny: 30, pass: 26, log: 10 },
};

function randomPolicies(random: Random, state: NodeState, flows: Flow[]): void {
  // Many rules of one direction run as bit vectors, few as code.
  const most = random.chance(0.3) ? 40 : 6;
  const add = (n: number, phase: Phase): void => {
    const rules = (): Rule[] => Array.from({ length: random.between(0, most) }, () =>
      randomRule(random, random.pick(flows), state.sets, ACTIONS[phase]));
    const staged = phase === "normal" && random.chance(0.15);
    const kind = (staged ? "Staged" : "") + random.pick(KINDS);
    const policy: PolicyState = {
      kind, namespace: random.chance(0.5) ? "shop" : "", name: `${phase}-${n}`,
      tier: random.pick(TIERS), inbound: rules(), outbound: phase === "preDnat" ? [] : rules(),
      ...(staged ? { staged } : {}), ...(phase === "normal" ? {} : { [phase]: true }),
    };
    const key = policyKey(kind, policy.namespace, policy.name);
    for (const side of ["inbound", "outbound"] as const) {
      policy[side].forEach((rule, i) => rule.origin = { path: `${key} ${side}[${i}]` });
    }
    state.policies.set(key, policy);
  };
  for (let i = random.between(6, 11); i > 0; i--) add(i, "normal");
  for (let i = 4; i > 0; i--) add(i, "untracked");
  for (let i = 4; i > 0; i--) add(i, "preDnat");
  const profile = (name: string, open: number): void => {
    const rules = (side: string): Rule[] => {
      const list: Rule[] = random.chance(open) ? [{ action: "allow" }]
        : Array.from({ length: random.between(0, 3) }, () =>
          randomRule(random, random.pick(flows), state.sets, ACTIONS.normal));
      list.forEach((rule, i) => rule.origin = { path: `Profile ${name} ${side}[${i}]` });
      return list;
    };
    state.profiles.set(name, { name, inbound: rules("inbound"), outbound: rules("outbound") });
  };
  profile("kns.shop", 0.9);
  profile("ksa.shop.default", 0);
}

function randomTiers(
  random: Random, state: NodeState, phase: Phase, most: number,
): TierState[] {
  const policies = [...state.policies].filter(([, one]) =>
    (phase === "untracked") === !!one.untracked && (phase === "preDnat") === !!one.preDnat);
  const named = TIERS.filter((name) => policies.some(([, one]) => one.tier === name));
  return random.some(random.chance(0.8) ? named : TIERS, 1, most).map((name) => {
    const own = policies.filter(([, one]) => one.tier === name).map(([key]) => key);
    const chosen = random.some(own, Math.min(1, own.length), own.length);
    const pass = phase !== "normal" || random.chance(0.65);
    return {
      name, defaultAction: pass ? "pass" as const : "deny" as const,
      ingress: chosen.filter(() => random.chance(0.8)),
      egress: phase === "preDnat" ? [] : chosen.filter(() => random.chance(0.8)),
    };
  });
}
function randomProfiles(random: Random): string[] {
  if (random.chance(0.03)) return ["missing"];
  const names = random.some(["ksa.shop.default", "kns.shop"], 1, 2);
  return random.chance(0.05) ? ["missing", ...names] : names;
}
function attach(random: Random, state: NodeState, workload: WorkloadState): void {
  if (!random.chance(0.1)) workload.tiers = randomTiers(random, state, "normal", 4);
  if (!random.chance(0.05)) workload.profiles = randomProfiles(random);
}

function randomHostEndpoints(random: Random, state: NodeState, devices: NodeDevices): void {
  const add = (id: string, name: string, expectedAddresses: string[] = []): void => {
    const tiers = (share: number, phase: Phase): TierState[] =>
      random.chance(share) ? randomTiers(random, state, phase, 3) : [];
    const endpoint: HostEndpointState = {
      id, interface: name, expectedAddresses, tiers: tiers(0.8, "normal"),
      untrackedTiers: tiers(0.5, "untracked"), preDnatTiers: tiers(0.5, "preDnat"),
      forwardTiers: tiers(0.6, "normal"),
      profiles: random.chance(0.6) ? randomProfiles(random) : [],
    };
    state.hostEndpoints.set(id, endpoint);
  };
  for (const { name, addresses } of devices.uplinks) {
    if (random.chance(0.5)) add(`hep-${random.below(9)}-${name}`, name);
    if (random.chance(0.2)) add(`hep-${random.below(9)}-ip-${name}`, "", [random.pick(addresses)]);
  }
  if (random.chance(0.3)) add(`hep-${random.below(9)}-all`, "*");
  if (random.chance(0.1)) add("hep-other", "eth9");
}
