// A small node for tests of single cells: two pods, an uplink to a peer node and to the world, and
// words to put policies where calico.md's table 2.4 has them. Both families.
//
//   cali1 ─ a ┐                 ┌ eth0 ─ peer node ─ remote pod, world
//             ├─ node ──────────┤
//   cali2 ─ b ┘                 └ eth1 ─ the other net
import {
  emptyState, policyKey, type HostEndpointState, type NodeDevices, type NodeState, type TierState,
} from "../../host/model/state.ts";
import type { Rule } from "../../host/model/rule.ts";
import { packet, type Spec } from "../packets.ts";
import { HOST } from "../reference/policy.ts";

export type Name =
  | "a" | "b" | "node" | "remote" | "peer" | "world" | "other" | "vip" | "spoofed" | "stranger";
export const ADDRESSES: Record<4 | 6, Record<Name, string>> = {
  4: {
    a: "10.65.0.1", b: "10.65.0.2", node: "192.0.2.1", remote: "10.65.1.1", peer: "192.0.2.2",
    world: "203.0.113.5", other: "198.51.100.9", vip: "10.96.0.1", spoofed: "203.0.113.99",
    stranger: "192.0.2.66",
  },
  6: {
    a: "fd00:65::1", b: "fd00:65::2", node: "2001:db8::1", remote: "fd00:65:1::1",
    peer: "2001:db8::2", world: "2001:db8:ffff::5", other: "2001:db8:1::9", vip: "fd00:96::1",
    spoofed: "2001:db8:ffff::99", stranger: "2001:db8::66",
  },
};
/** Where packets from each come in. */
const INTERFACES: Record<Name, string> = {
  a: "cali1", b: "cali2", node: HOST, remote: "eth0", peer: "eth0", world: "eth0",
  other: "eth1", vip: "eth0", spoofed: "cali1", stranger: "eth0",
};

/** One kind of place that policies stand in. */
type Phase = "tiers" | "untrackedTiers" | "preDnatTiers" | "forwardTiers";
export type Direction = "ingress" | "egress";

export class Cell {
  readonly state: NodeState = emptyState();
  readonly devices: NodeDevices;
  private policies = 0;

  constructor(readonly family: 4 | 6) {
    const at = ADDRESSES[family];
    const all = family === 4 ? "0.0.0.0/0" : "::/0";
    this.devices = {
      uplinks: [
        { name: "eth0", addresses: [at.node], routes: [all] },
        {
          name: "eth1", addresses: [family === 4 ? "198.51.100.1" : "2001:db8:1::1"],
          routes: [family === 4 ? "198.51.100.0/24" : "2001:db8:1::/48"],
        },
      ],
    };
    this.state.hosts.set("node-1", [at.node]);
    this.state.hosts.set("node-2", [`${at.peer}/${family === 4 ? 24 : 64}`]);
    for (const [i, name] of (["a", "b"] as const).entries()) {
      const id = `k8s/shop/${name}/eth0`;
      this.state.workloads.set(id, {
        id, workload: `shop/${name}`, interface: `cali${i + 1}`, active: true,
        addresses: [at[name]], tiers: [], profiles: ["kns.shop"], allowedSources: [],
      });
    }
    this.profile("kns.shop", [{ action: "allow" }]);
  }
  address(name: Name): string {
    return ADDRESSES[this.family][name];
  }
  pod(name: "a" | "b") {
    return this.state.workloads.get(`k8s/shop/${name}/eth0`)!;
  }
  profile(name: string, rules: Rule[]): this {
    const key = `Profile ${name}`;
    this.state.profiles.set(name, {
      name, inbound: named(key, "inbound", rules), outbound: named(key, "outbound", rules),
    });
    return this;
  }
  config(name: string, value: string): this {
    this.state.config.set(name, value);
    return this;
  }

  /** A new policy, in both directions alike; its key. */
  policy(rules: Rule[], more: { tier?: string; staged?: boolean } = {}): string {
    const name = `policy-${++this.policies}`;
    const kind = more.staged ? "StagedNetworkPolicy" : "NetworkPolicy";
    const key = policyKey(kind, "shop", name);
    this.state.policies.set(key, {
      kind, namespace: "shop", name, tier: more.tier ?? "default",
      inbound: named(key, "inbound", rules), outbound: named(key, "outbound", rules),
      ...(more.staged ? { staged: true } : {}),
    });
    return key;
  }
  private tier(
    direction: Direction, keys: string[], defaultAction: TierState["defaultAction"], name: string,
  ): TierState {
    return { name, defaultAction, ingress: [], egress: [], [direction]: keys };
  }

  /** Puts a tier with one policy of these rules behind a pod's tiers. */
  onPod(
    name: "a" | "b", direction: Direction, rules: Rule[],
    defaultAction: TierState["defaultAction"] = "deny", tier = "default",
  ): this {
    const key = this.policy(rules, { tier });
    this.pod(name).tiers.push(this.tier(direction, [key], defaultAction, tier));
    return this;
  }

  /** A host endpoint; nothing in it yet, so that it denies what is not forwarded. */
  hep(id = "hep-eth0", name = "eth0", expectedAddresses: string[] = []): this {
    const endpoint: HostEndpointState = {
      id, interface: name, expectedAddresses, tiers: [], untrackedTiers: [], preDnatTiers: [],
      forwardTiers: [], profiles: [],
    };
    this.state.hostEndpoints.set(id, endpoint);
    return this;
  }
  onHep(
    phase: Phase, direction: Direction, rules: Rule[],
    defaultAction: TierState["defaultAction"] = "deny", id = "hep-eth0",
  ): this {
    const endpoint = this.state.hostEndpoints.get(id)!;
    const key = this.policy(rules);
    const policy = this.state.policies.get(key)!;
    const raw = phase === "untrackedTiers" || phase === "preDnatTiers";
    if (phase === "untrackedTiers") policy.untracked = true;
    if (phase === "preDnatTiers") policy.preDnat = true;
    endpoint[phase].push(this.tier(direction, [key], raw ? "pass" : defaultAction, "default"));
    return this;
  }
  /** The VIP's only backend is b, port 8080. */
  service(port = 80): this {
    this.state.services.push({
      name: "shop/web", address: this.address("vip"), port, protocol: "tcp",
      backends: [{ name: "shop/b", address: this.address("b"), port: 8080 }],
    });
    return this;
  }
}

/** Rules that say where they stand, so that a verdict's rule can be told. */
function named(key: string, side: string, rules: Rule[]): Rule[] {
  return rules.map((rule, i) => ({ ...rule, origin: { path: `${key} ${side}[${i}]` } }));
}

export interface Sent {
  interface: string;
  bytes: Uint8Array;
}
/** A packet from one to another; "cali1" and the like where it comes in elsewhere. */
export function sent(
  cell: Cell, from: Name, to: Name, spec: Partial<Spec> = {}, at = INTERFACES[from],
): Sent {
  return {
    interface: at, bytes: packet({ from: cell.address(from), to: cell.address(to), ...spec }),
  };
}
export const ALLOW: Rule[] = [{ action: "allow" }];
export const DENY: Rule[] = [{ action: "deny" }];
export const PASS: Rule[] = [{ action: "pass" }];
