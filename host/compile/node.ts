// A node's state to the program that enforces it: endpoints with a policy unit at each hook,
// routes, services, settings.
//
//   workload   ingress, egress: its tiers and profiles; of the "*" host endpoint: preDNAT, forward
//   uplink     of its host endpoint: untracked, preDNAT, forward, normal tiers and profiles
//   host       of the "*" host endpoint: normal, for workloads' packets to their host (RETURN)
//
// Rules arrays, profiles and policies are taken as they stand when first seen: a changed one is
// another array. Source: calico.md 2.2, 2.4; projectcalico felix/dataplane/linux/endpoint_mgr.go.
import { addressBytes, addressNumber, addressText, parsePrefix } from "../model/address.ts";
import type { AddressSet, Endpoint, Hooks, Program, Route, Service } from "../model/program.ts";
import type {
  HostEndpointState, NodeConfig, NodeDevices, NodeState, PolicyKey, TierState, WorkloadState,
} from "../model/state.ts";
import { failsafeRules, unitOf, type Direction, type Source, type TierSource } from "./chain.ts";
import { parseConfig } from "./config.ts";
import { netsId } from "./match.ts";
import { NodeMemory } from "./places.ts";
import { nodeSettings, snatAddresses } from "./settings.ts";

export { NodeMemory } from "./places.ts";

/** Name of the interface of the node's own processes. */
export const HOST_INTERFACE = "(host)";
/** Addresses of a workload's prefix that are entered one by one. */
const PREFIX_ADDRESSES_MAX = 256n;
const API_SERVER = "default/kubernetes:";

type Way = "ingress" | "egress";

/**
 * `memory` is what keeps indices, interface numbers and units from one state to the next; without
 * it every call begins anew. It also tells the problems of the state that did not stop it.
 */
export function nodeProgram(
  state: NodeState, devices: NodeDevices, memory = new NodeMemory(),
): Program {
  return new Builder(state, devices, memory).build();
}

class Builder {
  private readonly config: NodeConfig;
  private readonly configText: string;
  private readonly policies = new Map<string, Program["policies"][number]>();
  private readonly sets: AddressSet[];
  private readonly owners = new Map<string, string>();

  constructor(
    private readonly state: NodeState, private readonly devices: NodeDevices,
    private readonly memory: NodeMemory,
  ) {
    memory.problems = [];
    this.config = parseConfig(state.config, memory.problems);
    this.configText = JSON.stringify(this.config);
    this.sets = [...state.sets.values()];
  }

  build(): Program {
    const { state, devices, memory } = this;
    const workloads = [...state.workloads.values()].sort((a, b) => compare(a.id, b.id));
    const ids = [
      "host", ...devices.uplinks.map(({ name }) => `uplink ${name}`),
      ...workloads.map(({ id }) => `workload ${id}`),
    ];
    const places = memory.placesOf(ids);
    const numbers = memory.interfacesOf([
      HOST_INTERFACE, ...devices.uplinks.map(({ name }) => name),
      ...workloads.map((workload) => workload.interface),
    ]);
    const wide = this.firstOf(({ interface: name }) => name === "*");
    const made: Endpoint[] = [
      this.host(wide),
      ...devices.uplinks.map((uplink) => this.uplink(uplink, this.hostEndpointOf(uplink) ?? wide)),
      ...workloads.map((workload) => this.workload(workload, wide)),
    ];
    const names = [
      HOST_INTERFACE, ...devices.uplinks.map(({ name }) => name),
      ...workloads.map((workload) => workload.interface),
    ];
    const count = places.reduce((most, { index }) => Math.max(most, index + 1), 0);
    const endpoints = Array.from({ length: count }, vacant);
    const bound = new Set<string>();
    made.forEach((endpoint, i) => {
      const { index, incarnation } = places[i]!;
      const name = names[i]!;
      endpoint.incarnation = incarnation;
      if (bound.has(name)) {
        memory.problems.push(`${endpoint.name}: interface ${name} is another endpoint's`);
      } else {
        endpoint.interfaces = [numbers.get(name)!];
      }
      bound.add(name);
      endpoints[index] = endpoint;
    });
    memory.forgetUnits();
    const { settings, sets } = nodeSettings(state, devices, this.config, memory);
    this.sets.push(...sets);
    const services = state.services.map((service) => this.service(service));
    const peers = memory.peersOf([...new Set(services.flatMap(peersOf))].sort(compare));
    return {
      endpoints, services, policies: [...this.policies.values()], sets: this.sets,
      routes: this.routes(), settings, ...(peers.length ? { peers } : {}),
    };
  }

  // ---- Endpoints --------------------------------------------------------------------------------

  private host(wide: HostEndpointState | undefined): Endpoint {
    const addresses = this.devices.uplinks.flatMap((uplink) => uplink.addresses);
    const own = this.own("host", addresses.map((text) => text.split("/")[0]!));
    const hooks = wide ? this.hooks({ ingress: this.normal(wide, "ingress") }) : {};
    return { name: "host", kind: "host", interfaces: [], addresses: own, ...hooks };
  }

  private uplink(
    { name, addresses, peer }: NodeDevices["uplinks"][number], hep: HostEndpointState | undefined,
  ): Endpoint {
    const hooks = hep && this.hooks({
      ingress: this.normal(hep, "ingress"), egress: this.normal(hep, "egress"),
      ...this.forwards(hep),
      untrackedIngress: this.raw(hep, "untracked", hep.untrackedTiers, "ingress"),
      untrackedEgress: this.raw(hep, "untracked", hep.untrackedTiers, "egress"),
    });
    const snat = snatAddresses(addresses);
    return {
      name, kind: "uplink", interfaces: [], addresses: [], ...hooks,
      ...(snat.length ? { snatAddresses: snat } : {}), ...(peer ? { peer } : {}),
    };
  }

  private workload(workload: WorkloadState, wide: HostEndpointState | undefined): Endpoint {
    const { tiers, profiles, id } = workload;
    const end = { profiles };
    const of = (way: Way, staged: boolean): Direction | undefined =>
      this.direction(way, tiers, way, `workload ${id}`, { end, staged });
    const staged = (way: Way): Direction | undefined =>
      this.hasStaged(tiers, way) ? of(way, true) : undefined;
    const { addresses, wider } = this.addressesOf(workload);
    const endpoint: Endpoint = {
      name: workload.workload, kind: "workload", interfaces: [], addresses,
      ...this.hooks({
        ingress: of("ingress", false), egress: of("egress", false),
        stagedIngress: staged("ingress"), stagedEgress: staged("egress"),
        ...(wide ? this.forwards(wide) : {}),
      }),
    };
    if (!workload.active) endpoint.active = false;
    const spoofed = this.config.anySourceSpoofing ? workload.allowedSources : [];
    const sources = [...wider, ...spoofed];
    if (sources.length) endpoint.allowedSources = this.netSet(sources);
    return endpoint;
  }

  /** Addresses one by one; prefixes too large for that only admit sources. */
  private addressesOf({ workload, addresses }: WorkloadState):
    { addresses: string[]; wider: string[] } {
    const wider: string[] = [];
    const each = addresses.flatMap((text): string[] => {
      const { network, mask, family } = parsePrefix(text);
      const count = (~mask & ((1n << 128n) - 1n)) + 1n;
      if (count === 1n) return [text.split("/")[0]!];
      wider.push(text);
      if (count <= PREFIX_ADDRESSES_MAX) {
        return Array.from({ length: Number(count) }, (_, i) => textOf(network + BigInt(i), family));
      }
      this.memory.problems.push(
        `workload ${workload}: ${text}: it may send from there, but is not reached there: ` +
          `a prefix of more than ${PREFIX_ADDRESSES_MAX} addresses`,
      );
      return [];
    });
    return { addresses: this.own(`workload ${workload}`, each), wider };
  }

  /** Those that no other endpoint has: the first in order keeps an address. */
  private own(who: string, addresses: string[]): string[] {
    return [...new Set(addresses)].filter((text) => {
      const key = addressNumber(addressBytes(text)).toString(16);
      const owner = this.owners.get(key);
      if (owner === undefined) this.owners.set(key, who);
      else if (owner !== who) {
        this.memory.problems.push(`${who}: ${text} is an address of ${owner}`);
      }
      return owner === undefined;
    });
  }

  /** Names of the units; what has none is left out. */
  private hooks(directions: { [K in keyof Hooks]: Direction | undefined }): Hooks {
    const hooks: Hooks = {};
    for (const [hook, direction] of Object.entries(directions) as
      [keyof Hooks, Direction | undefined][]) {
      if (!direction) continue;
      const unit = this.memory.unit(this.keyOf(direction), () => unitOf(direction));
      for (const policy of unit.policies) this.policies.set(policy.name, policy);
      hooks[hook] = unit.hook;
    }
    return hooks;
  }

  /** Equal keys, equal units. Lists of rules are known by identity: none is read. */
  private keyOf({ name, tiers, end, head }: Direction): string {
    const idOf = (source: Source): string => {
      const { module, rules } = source;
      const own = module ? this.memory.identity(module.wasm) : this.memory.identity(rules);
      return `${source.name}#${own}${module ? module.sets.join() : ""}`;
    };
    const parts = tiers.map((tier) =>
      `${tier.name}:${tier.defaultAction}:${tier.policies.map(idOf).join()}`);
    const last = typeof end === "string" ? end : end.profiles.map(idOf).join();
    return [name, ...parts, last, head ? this.configText : ""].join("|");
  }

  // ---- Directions -------------------------------------------------------------------------------

  private direction(
    name: string, tiers: readonly TierState[], way: Way, who: string,
    options: {
      end: { profiles: string[] } | "allow" | "no-match";
      staged?: boolean;
      head?: Direction["head"];
    },
  ): Direction {
    const { end, staged = false, head } = options;
    const rules = way === "ingress" ? "inbound" : "outbound";
    const direction: Direction = {
      name, rules, tiers: this.tiersOf(tiers, way, who, staged),
      end: typeof end === "string" ? end : {
        profiles: end.profiles.map((profile) => this.profileOf(profile, rules)),
      },
    };
    if (head?.length) direction.head = head;
    return direction;
  }

  private tiersOf(
    tiers: readonly TierState[], way: Way, who: string, staged: boolean,
  ): TierSource[] {
    return tiers.map((tier): TierSource => ({
      name: tier.name, defaultAction: tier.defaultAction,
      policies: tier[way].flatMap((key): Source[] => {
        const policy = this.policyAt(key, who, tier.name);
        if (isStaged(policy) && !staged) return [];
        const rules = way === "ingress" ? policy.inbound : policy.outbound;
        const { module, origin } = policy;
        return [{ name: key, rules, ...(module ? { module, origin } : {}) }];
      }),
    }));
  }
  private policyAt(key: PolicyKey, who: string, tier: string): PolicyOf {
    const policy = this.state.policies.get(key);
    if (!policy) throw new Error(`${who}: tier ${tier} names ${key}, which is not there`);
    return policy;
  }
  private hasStaged(tiers: readonly TierState[], way: Way): boolean {
    return tiers.some((tier) => tier[way].some((key) => {
      const policy = this.state.policies.get(key);
      return policy !== undefined && isStaged(policy);
    }));
  }

  /** A profile that is not there drops everything, as Felix's own stand-in does. */
  private profileOf(name: string, rules: "inbound" | "outbound"): Source {
    const profile = this.state.profiles.get(name);
    return { name: `Profile ${name}`, rules: profile ? profile[rules] : NO_PROFILE };
  }

  // ---- Host endpoints ---------------------------------------------------------------------------

  /** Of those that name the uplink, or expect one of its addresses, the first by id. */
  private hostEndpointOf(
    uplink: NodeDevices["uplinks"][number],
  ): HostEndpointState | undefined {
    const own = new Set(uplink.addresses.map(numberOf));
    return this.firstOf((each) => each.interface === ""
      ? each.expectedAddresses.some((text) => own.has(numberOf(text)))
      : each.interface === uplink.name);
  }
  private firstOf(holds: (each: HostEndpointState) => boolean): HostEndpointState | undefined {
    return [...this.state.hostEndpoints.values()].filter(holds)
      .sort((a, b) => compare(a.id, b.id))[0];
  }

  private normal(hep: HostEndpointState, way: Way): Direction {
    const head = this.failsafes(way, "allow", false);
    const end = { profiles: hep.profiles };
    return this.direction(`host ${way}`, hep.tiers, way, `host endpoint ${hep.id}`, { end, head });
  }

  /** Forward and preDNAT policies, which "*" has at workloads too. */
  private forwards(hep: HostEndpointState): { [K in keyof Hooks]: Direction | undefined } {
    const forward = (way: Way): Direction | undefined => {
      const who = `host endpoint ${hep.id}`;
      const made = this.direction(`forward ${way}`, hep.forwardTiers, way, who, { end: "allow" });
      return isEmpty(made) ? undefined : made;
    };
    return {
      forwardIngress: forward("ingress"), forwardEgress: forward("egress"),
      preDnat: this.raw(hep, "pre-dnat", hep.preDnatTiers, "ingress"),
    };
  }

  /** Failsafe ports go on to what is behind, like what no policy matches. */
  private raw(
    hep: HostEndpointState, name: "untracked" | "pre-dnat", tiers: readonly TierState[], way: Way,
  ): Direction | undefined {
    const head = this.failsafes(way, "pass", name === "untracked");
    const who = `host endpoint ${hep.id}`;
    const made = this.direction(`${name} ${way}`, tiers, way, who, { end: "no-match", head });
    return isEmpty(made) ? undefined : made;
  }

  /** `replies`: those of the other direction's failsafes too, by source port. */
  private failsafes(way: Way, action: "allow" | "pass", replies: boolean): Direction["head"] {
    const { failsafeInbound, failsafeOutbound } = this.config;
    const [own, other] = way === "ingress"
      ? [failsafeInbound, failsafeOutbound] : [failsafeOutbound, failsafeInbound];
    const peer = way === "ingress" ? "source" : "destination";
    return [
      ...failsafeRules(own, peer, "destination", action),
      ...(replies ? failsafeRules(other, peer, "source", action) : []),
    ];
  }

  // ---- The rest ---------------------------------------------------------------------------------

  private routes(): Route[] {
    return this.devices.uplinks.flatMap(({ name, routes }) =>
      routes.map((prefix): Route => ({ prefix, uplink: name })));
  }

  /** The API server's Service keeps its last backends: without it nobody could tell of new ones. */
  private service(service: Service): Service {
    if (!service.name.startsWith(API_SERVER)) return service;
    const place = `${service.address} ${service.protocol}/${service.port}`;
    const backends = this.memory.lastBackends(place, service.backends);
    return backends === service.backends ? service : { ...service, backends };
  }

  private netSet(prefixes: string[]): string {
    const id = netsId(prefixes);
    if (!this.sets.some((set) => set.id === id)) {
      this.sets.push({ id, type: "net", members: prefixes, version: 0 });
    }
    return id;
  }
}

type PolicyOf = NodeState["policies"] extends Map<PolicyKey, infer P> ? P : never;

const NO_PROFILE: Source["rules"] = [
  { action: "deny", origin: { path: "there is no such profile" } },
];

function isStaged(policy: PolicyOf): boolean {
  return policy.staged === true || policy.kind.startsWith("Staged");
}
function isEmpty({ tiers }: Direction): boolean {
  return tiers.every(({ policies }) => policies.length === 0);
}
/** A place in the table that nobody has. */
function vacant(): Endpoint {
  return { name: "", kind: "workload", interfaces: [], addresses: [], active: false };
}
/** Nodes that backends bear are those that packets may go on to. */
function peersOf({ backends, localBackends }: Service): string[] {
  return [...backends, ...localBackends ?? []].flatMap(({ node }) => node ?? []);
}
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
function numberOf(text: string): bigint {
  return addressNumber(addressBytes(text.split("/")[0]!));
}
function textOf(address: bigint, family: 4 | 6): string {
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 16; i++) bytes[i] = Number((address >> BigInt((15 - i) * 8)) & 0xffn);
  return addressText(family === 4 ? bytes.subarray(12) : bytes);
}
