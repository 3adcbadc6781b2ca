// A random node for sequences: a few workloads, two uplinks, small policies that mostly allow, and
// Services; and the same node after a change.
import {
  emptyState, policyKey, type HostEndpointState, type NodeDevices, type NodeState,
  type TierState, type WorkloadState,
} from "../../host/model/state.ts";
import type { Rule } from "../../host/model/rule.ts";
import type { Random } from "../policy/random.ts";
import type { Site } from "../reference/site.ts";
import {
  changedServices, NODES, PEER, PORTS, randomServices, type Pods,
} from "./services.ts";

export const WORLD = {
  4: ["203.0.113.5", "203.0.113.77", "198.51.100.9"], 6: ["2001:db8:9::5", "2001:db8:9::77"],
};
export const PEER_UPLINK = "eth1";
const DEVICES: NodeDevices = {
  uplinks: [
    { name: "eth0", addresses: [NODES[4], NODES[6]], routes: ["0.0.0.0/0", "::/0"] },
    {
      name: PEER_UPLINK, addresses: ["198.18.0.1", "2001:db8:1::1"],
      routes: ["10.65.1.0/24", "fd00:65:1::/48", "203.0.113.64/26"],
    },
  ],
};

export function randomSite(random: Random): Site {
  const state = emptyState();
  state.hosts.set("node-1", [NODES[4], NODES[6]]);
  state.hosts.set(PEER, ["192.0.2.2", "2001:db8::2"]);
  state.config.set("DefaultEndpointToHostAction", random.pick(["ACCEPT", "ACCEPT", "RETURN"]));
  state.config.set("VXLANEnabled", "false");
  for (let n = random.between(3, 4); n > 0; n--) addWorkload(random, state, n);
  randomPolicies(random, state);
  if (random.chance(0.85)) addHostEndpoint(random, state);
  const site: Site = {
    state, devices: DEVICES, services: [], ranges: new Map(), masqueradeAll: random.chance(0.2),
    rejectDenied: random.chance(0.5), snatAddresses: [NODES[4], NODES[6]],
    snatPorts: [40_000, 40_000 + random.pick([1, 1, 3, 30])],
    uplinks: new Map([
      ["eth0", { snatAddresses: [], peer: false }],
      [PEER_UPLINK, { snatAddresses: ["198.18.0.1", "2001:db8:1::1"], peer: true }],
    ]),
    peers: [PEER],
  };
  if (random.chance(0.15)) site.snatAddresses = [];
  if (random.chance(0.1)) site.uplinks.get(PEER_UPLINK)!.snatAddresses = [];
  if (random.chance(0.85)) site.pods = ["10.65.0.0/16", "fd00:65::/32"];
  if (random.chance(0.8)) {
    site.natSources = ["10.65.0.0/16", "fd00:65::/32"];
    if (random.chance(0.8)) site.natExcluded = ["10.65.0.0/16", "fd00:65::/32", NODES[4]];
  }
  if (random.chance(0.8)) site.serviceNetworks = ["10.96.0.0/16", "fd00:96::/64"];
  site.ranges.set("ranges", ["203.0.113.0/26", "10.65.0.1/32", "2001:db8:9::/96"]);
  site.services = randomServices(random, podsOf(state));
  return site;
}

export function podsOf(state: NodeState): Pods {
  const all = [...state.workloads.values()].flatMap((each) => each.addresses);
  return {
    4: all.filter((each) => !each.includes(":")), 6: all.filter((each) => each.includes(":")),
  };
}

function addWorkload(random: Random, state: NodeState, n: number): void {
  const id = `k8s/shop/pod-${n}/eth0`;
  const tiers: TierState[] = random.chance(0.6) ? [{
    name: "default", defaultAction: random.chance(0.8) ? "pass" : "deny",
    ingress: random.chance(0.7) ? [KEYS[random.below(3)]!] : [],
    egress: random.chance(0.5) ? [KEYS[random.below(3)]!] : [],
  }] : [];
  const workload: WorkloadState = {
    id, workload: `shop/pod-${n}`, interface: `cali${n}`, active: !random.chance(0.02),
    addresses: [`10.65.0.${n}`, `fd00:65::${n}`], tiers, profiles: ["kns.shop"],
    allowedSources: [],
  };
  state.workloads.set(id, workload);
}

const KEYS = [1, 2, 3].map((n) => policyKey("NetworkPolicy", "shop", `normal-${n}`));
const FORWARD = policyKey("GlobalNetworkPolicy", "", "forward");
const RAW = policyKey("GlobalNetworkPolicy", "", "untracked");
const BEFORE = policyKey("GlobalNetworkPolicy", "", "pre-dnat");

function randomRule(random: Random, action: Rule["action"]): Rule {
  return random.pick<() => Rule>([
    () => ({ action, protocol: 6, destinationPorts: [random.pick([...PORTS, 8080, 8081])] }),
    () => ({ action, protocol: 17, destinationPorts: [random.pick([...PORTS, 8080, 8081])] }),
    () => ({ action, source: [random.pick(["203.0.113.0/25", "10.65.0.2/32", "fd00:65::2/128"])] }),
    () => ({ action, protocol: random.pick([132, 1, 58, 47]) }),
    () => ({ action, protocol: 6, sourcePorts: [random.pick([1000, 40001, 40002])] }),
  ])();
}

function randomPolicies(random: Random, state: NodeState): void {
  const put = (key: string, name: string, rules: Rule[], more: object): void => {
    const [inbound, outbound] = ["inbound", "outbound"].map((side) => rules.map((rule, i): Rule =>
      ({ ...rule, origin: { path: `${key} ${side}[${i}]` } }))) as [Rule[], Rule[]];
    state.policies.set(key, {
      kind: key.split(" ")[0]!, namespace: key.includes("/") ? "shop" : "", name, tier: "default",
      inbound, outbound, ...more,
    });
  };
  KEYS.forEach((key, i) => {
    const rules = Array.from({ length: random.between(0, 2) }, () =>
      randomRule(random, random.chance(0.7) ? "deny" : "allow"));
    put(key, `normal-${i + 1}`, [...rules, ...(random.chance(0.85) ? [ALL] : [])], {});
  });
  put(FORWARD, "forward", [randomRule(random, "deny"), ALL], {});
  put(RAW, "untracked", [
    { action: random.chance(0.7) ? "allow" : "deny", protocol: 17, destinationPorts: [9999] },
    { action: "allow", protocol: 47 },
  ], { untracked: true });
  const before: Rule = {
    action: random.chance(0.6) ? "deny" : "allow", protocol: 6, destinationPorts: [30443, 443],
  };
  put(BEFORE, "pre-dnat", [before], { preDnat: true, outbound: [] });
  const open = (side: string): Rule[] =>
    [{ action: "allow", origin: { path: `Profile kns.shop ${side}[0]` } }];
  state.profiles.set("kns.shop", {
    name: "kns.shop", inbound: open("inbound"), outbound: open("outbound"),
  });
}
const ALL: Rule = { action: "allow" };

function addHostEndpoint(random: Random, state: NodeState): void {
  const tier = (key: string, share: number): TierState[] => random.chance(share)
    ? [{ name: "default", defaultAction: "pass", ingress: [key], egress: [key] }] : [];
  const endpoint: HostEndpointState = {
    id: "hep-1", interface: random.pick(["eth0", "eth0", PEER_UPLINK, "*"]), expectedAddresses: [],
    tiers: tier(KEYS[0]!, 0.7), untrackedTiers: tier(RAW, 0.8),
    preDnatTiers: tier(BEFORE, 0.3).map((each) => ({ ...each, egress: [] })),
    forwardTiers: tier(FORWARD, 0.6), profiles: ["kns.shop"],
  };
  state.hostEndpoints.set(endpoint.id, endpoint);
}

/** The node after a change; what has not changed is the same object. */
export function changedSite(random: Random, site: Site): Site {
  const state: NodeState = {
    ...site.state, workloads: new Map(site.state.workloads),
    policies: new Map(site.state.policies), hostEndpoints: new Map(site.state.hostEndpoints),
  };
  const next: Site = { ...site, state };
  const all = ["backends", "policies", "endpoint", "settings", "host"] as const;
  const kinds = { backends: 12, policies: 3, endpoint: 3, settings: 1, host: 1 };
  const kind: typeof all[number] = random.weighted(kinds);
  if (kind === "backends") next.services = changedServices(random, site.services, podsOf(state));
  if (kind === "policies") randomPolicies(random, state);
  if (kind === "endpoint") changeEndpoint(random, state);
  if (kind === "settings") {
    next.masqueradeAll = random.chance(0.3);
    next.rejectDenied = random.chance(0.5);
    next.snatPorts = [40_000, 40_000 + random.pick([1, 7, 30])];
  }
  if (kind === "host") {
    state.hostEndpoints.clear();
    if (random.chance(0.6)) addHostEndpoint(random, state);
  }
  return next;
}

function changeEndpoint(random: Random, state: NodeState): void {
  const n = random.between(1, 4);
  const id = `k8s/shop/pod-${n}/eth0`;
  const old = state.workloads.get(id);
  if (!old) addWorkload(random, state, n);
  else if (random.chance(0.8) && old.active && state.workloads.size > 2) state.workloads.delete(id);
  else state.workloads.set(id, { ...old, active: !old.active });
}
