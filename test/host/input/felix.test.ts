// The mirror of a Felix stream: order, sets and deltas, restarts, hosts, what authors call things.
import fc from "fast-check";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { FelixMirror, isFelix, readFelix, readFelixFile } from "../../../host/input/felix.ts";
import { frame, messageFromJson } from "../../../host/input/felixframe.ts";
import { seedOf } from "../../seed.ts";

/** A mirror that has been told these payloads, numbered from 0. */
function told(...payloads: object[]): FelixMirror {
  const mirror = new FelixMirror();
  tell(mirror, 0, ...payloads);
  return mirror;
}
function tell(mirror: FelixMirror, from: number, ...payloads: object[]): void {
  payloads.forEach((payload, index) =>
    mirror.apply(messageFromJson({ sequence_number: from + index, ...payload })));
}
const set = (id: string, members: string[], type = "NET"): object =>
  ({ ipset_update: { id, type, members } });
const delta = (id: string, added_members: string[], removed_members: string[] = []): object =>
  ({ ipset_delta_update: { id, added_members, removed_members } });
const policy = (kind: string, namespace: string, name: string, more: object = {}): object =>
  ({ active_policy_update: {
    id: { kind, namespace, name }, policy: { tier: "default", ...more },
  } });
const id = { orchestrator_id: "k8s", workload_id: "shop/db", endpoint_id: "eth0" };
const workload = (endpoint: object): object => ({ workload_endpoint_update: { id, endpoint } });
const inSync = { in_sync: {} };
const members = (mirror: FelixMirror, id: string): string[] | undefined => {
  const found = mirror.state().sets.get(id);
  return found && [...found.members].sort();
};

describe("felix-sequence:", () => {
  test("numbers go up by one from 0; the mirror stays as it was at another", () => {
    const mirror = told(set("a", ["10.0.0.1"]));
    const wrong = (number: number): void => {
      expect(() => tell(mirror, number, set("a", []))).toThrow(
        `sequence number ${number}, but 1 comes next`);
    };
    wrong(2);
    wrong(7);
    expect(members(mirror, "a")).toEqual(["10.0.0.1"]);
    tell(mirror, 1, set("b", []));
    expect(() => told().apply(messageFromJson({ sequence_number: 1, ...inSync })))
      .toThrow("sequence number 1, but 0 comes next");
  });

  test("a message that is refused leaves everything as it was", () => {
    const mirror = told(set("a", ["10.0.0.1"]), policy("GlobalNetworkPolicy", "", "p"));
    const before = mirror.state();
    for (const [payload, problem] of [
      [set("a", ["10.0.0.2", "10.0.0.300"]), 'ipset_update: a: members[1]: "10.0.0.300" is '],
      [delta("a", ["10.0.0.2", "x"], ["10.0.0.1"]), "ipset_delta_update: a: added_members[1]: "],
      [delta("b", ["10.0.0.2"]), "ipset_delta_update: b: there is no such set to change"],
      [set("a", ["10.0.0.1:80"], "IP_AND_PORT"), "members[0]"],
      [policy("GlobalNetworkPolicy", "", "p", { inbound_rules: [{ action: "no" }] }), "[0].action"],
      [policy("", "shop", "db"), 'active_policy_update: id "db": no kind'],
      [{ active_policy_update: { id: { kind: "K", name: "p" } } }, "K p: policy: missing"],
      [{ active_profile_update: {} }, "active_profile_update: id: missing"],
      [workload({ ipv4_nets: ["10.0.0.1/99"] }), "k8s/shop/db/eth0: ipv4_nets[0]"],
      [workload({ tiers: [{ default_action: "Log" }] }), 'tiers[0].default_action: "Log" is'],
      [{ host_endpoint_update: { id: { endpoint_id: "h" } } }, "h: endpoint: missing"],
    ] as const) {
      expect(() => tell(mirror, 2, payload)).toThrow(problem);
    }
    expect(mirror.state()).toEqual(before);
    tell(mirror, 2, inSync);
  });

  test("unknown payloads count in the sequence and change nothing", () => {
    const mirror = told(set("a", []), { licence_update: { valid: true } }, {}, inSync);
    expect([...mirror.state().sets.keys()]).toEqual(["a"]);
    expect(mirror.inSync).toBe(true);
  });
});

describe("felix-sets:", () => {
  test("three types; both families; replaced, changed, removed", () => {
    const mirror = told(
      set("net", ["10.0.0.0/8", "fd00::/64"]), set("ip", ["10.0.0.1"], "IP"),
      set("port", ["10.0.0.1,tcp:80", "fd00::1,sctp:7"], "IP_AND_PORT"),
    );
    expect([...mirror.state().sets.values()].map(({ id, type }) => [id, type]))
      .toEqual([["net", "net"], ["ip", "ip"], ["port", "ip-port"]]);
    tell(mirror, 3, set("net", ["::/0"]), delta("port", ["10.0.0.1,udp:80"], ["fd00::1,sctp:7"]));
    expect(members(mirror, "net")).toEqual(["::/0"]);
    expect(members(mirror, "port")).toEqual(["10.0.0.1,tcp:80", "10.0.0.1,udp:80"]);
    tell(mirror, 5, { ipset_remove: { id: "net" } });
    expect(members(mirror, "net")).toBeUndefined();
  });

  test("deltas agree with sets copied whole, and no state that was given out changes", () => {
    const pool = Array.from({ length: 12 }, (_, i) => `10.0.0.${i}/32`);
    const step = fc.record({
      id: fc.constantFrom("a", "b"), whole: fc.boolean(), look: fc.boolean(),
      added: fc.subarray(pool), removed: fc.subarray(pool),
    });
    fc.assert(fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const mirror = told(set("a", []), set("b", []));
      const model = new Map<string, string[]>([["a", []], ["b", []]]);
      const looks: { state: ReturnType<FelixMirror["state"]>; was: string }[] = [];
      const text = (): string => JSON.stringify([...model]);
      steps.forEach(({ id, whole, look, added, removed }, index) => {
        const gone = removed.filter((one) => !added.includes(one));
        tell(mirror, 2 + index, whole ? set(id, added) : delta(id, added, gone));
        const kept = whole ? [] : model.get(id)!.filter((one) => !gone.includes(one));
        model.set(id, [...new Set([...kept, ...added])].sort());
        if (look) looks.push({ state: mirror.state(), was: text() });
      });
      looks.push({ state: mirror.state(), was: text() });
      for (const { state, was } of looks) {
        const is = [...state.sets].map(([id, { members }]) => [id, [...members].sort()]);
        expect(JSON.stringify(is)).toBe(was);
      }
    }), { seed: seedOf("FUZZ_SEED") });
  });

  test("an object that did not change is the same object in the next state", () => {
    const mirror = told(set("a", ["10.0.0.1"]), set("b", ["10.0.0.1"]), workload({}),
      policy("GlobalNetworkPolicy", "", "p"));
    const before = mirror.state();
    tell(mirror, 4, delta("b", ["10.0.0.2"]));
    const after = mirror.state();
    expect(after.sets.get("a")).toBe(before.sets.get("a"));
    expect(after.sets.get("b")).not.toBe(before.sets.get("b"));
    expect(after.workloads.get("k8s/shop/db/eth0")).toBe(before.workloads.get("k8s/shop/db/eth0"));
    expect(after.policies.get("GlobalNetworkPolicy p"))
      .toBe(before.policies.get("GlobalNetworkPolicy p"));
  });
});

describe("felix-restart:", () => {
  const first = [{ config_update: { config: { VXLANPort: "1" } } }, set("a", ["10.0.0.1"]),
    set("b", ["10.0.0.2"]), { namespace_update: { id: { name: "shop" }, labels: { a: "b" } } },
    inSync];

  test.each([["a new number 0", false], ["restart()", true]])(
    "after %s the old state goes on until in_sync, and is swept then", (_, told0) => {
      const mirror = told(...first);
      const old = mirror.state();
      if (told0) mirror.restart();
      tell(mirror, 0, { config_update: { config: { VXLANPort: "2" } } }, set("a", ["10.0.0.9"]),
        set("c", []));
      expect(mirror.state()).toEqual(old);
      expect(mirror.network.namespaces.get("shop")).toEqual({ a: "b" });
      expect(mirror.inSync).toBe(true);
      tell(mirror, 3, inSync);
      expect([...mirror.state().sets.keys()]).toEqual(["a", "c"]);
      expect(members(mirror, "a")).toEqual(["10.0.0.9"]);
      expect(mirror.state().config).toEqual(new Map([["VXLANPort", "2"]]));
      expect(mirror.network.namespaces.size).toBe(0);
      tell(mirror, 4, delta("c", ["10.0.0.3"]));
      expect(members(mirror, "c")).toEqual(["10.0.0.3"]);
    });

  test("a stream that breaks off before in_sync leaves nothing behind", () => {
    const mirror = told(...first);
    tell(mirror, 0, set("x", []));
    mirror.restart();
    tell(mirror, 0, set("y", []), inSync);
    expect([...mirror.state().sets.keys()]).toEqual(["y"]);
    const early = told(set("x", []));
    expect(early.inSync).toBe(false);
    tell(early, 0, set("y", []));
    expect([...early.state().sets.keys()]).toEqual(["x"]);
    tell(early, 1, inSync);
    expect([...early.state().sets.keys()]).toEqual(["y"]);
  });
});

describe("felix-hosts:", () => {
  const hosts = (mirror: FelixMirror): unknown => Object.fromEntries(mirror.state().hosts);
  const v4 = (hostname: string, ipv4_addr: string, more: object = {}): object =>
    ({ host_metadata_update: { hostname, ipv4_addr, ...more } });

  test("the form of today: both families in 14, without their prefix lengths", () => {
    const mirror = told(v4("a", "192.168.56.11/24", { ipv6_addr: "fd00::1/64", asnumber: "64512" }),
      v4("b", "10.0.0.1"), v4("c", ""));
    expect(hosts(mirror)).toEqual({ a: ["192.168.56.11", "fd00::1"], b: ["10.0.0.1"], c: [] });
    tell(mirror, 3, v4("a", "192.168.56.12"), { host_metadata_remove: { hostname: "b" } });
    expect(hosts(mirror)).toEqual({ a: ["192.168.56.12"], c: [] });
  });

  test("the forms of before, 14, 35 and 37: each may come and go by itself", () => {
    const mirror = told(v4("a", "10.0.0.1"),
      { host_metadata_v6_update: { hostname: "a", ipv6_addr: "fd00::1" } });
    expect(hosts(mirror)).toEqual({ a: ["10.0.0.1", "fd00::1"] });
    tell(mirror, 2, { host_metadata_v4v6_update:
      { hostname: "a", ipv4_addr: "10.0.0.1/24", ipv6_addr: "fd00::1", labels: { rack: "1" } } });
    expect(hosts(mirror)).toEqual({ a: ["10.0.0.1", "fd00::1"] });
    expect(mirror.network.hosts().get("a")!.labels).toEqual({ rack: "1" });
    tell(mirror, 3, { host_metadata_v4v6_remove: { hostname: "a" } });
    expect(hosts(mirror)).toEqual({ a: ["10.0.0.1", "fd00::1"] });
    tell(mirror, 4, { host_metadata_v6_remove: { hostname: "a" } });
    expect(hosts(mirror)).toEqual({ a: ["10.0.0.1"] });
    tell(mirror, 5, { host_metadata_remove: { hostname: "a" } });
    expect(hosts(mirror)).toEqual({});
  });

  test("numbers on the wire: 14, 18, 35 to 38", () => {
    const number = (payload: object): number => {
      const bytes = frame(messageFromJson(payload));
      return (bytes[8]! & 0x7f | (bytes[9]! << 7)) >> 3 & 63;
    };
    expect(frame(messageFromJson(v4("a", "")))[8]).toBe((14 << 3) | 2);
    const form = (name: string): number => number({ [`host_metadata_${name}`]: { hostname: "a" } });
    expect(["remove", "v6_update", "v6_remove", "v4v6_update", "v4v6_remove"].map(form))
      .toEqual([18, 35, 36, 37, 38]);
  });
});

describe("felix-policies:", () => {
  const tier = (...of: object[]): object =>
    workload({ tiers: [{ name: "default", ingress_policies: of, egress_policies: [] }] });
  const ingress = (mirror: FelixMirror): string[] =>
    mirror.state().workloads.get("k8s/shop/db/eth0")!.tiers[0]!.ingress;

  test("kinds are the author's; staged ones and flags are told", () => {
    const mirror = told(
      policy("KubernetesNetworkPolicy", "shop", "db"),
      policy("KubernetesClusterNetworkPolicy", "", "admin", { tier: "kube-admin" }),
      policy("GlobalNetworkPolicy", "", "g", { untracked: true }),
      policy("NetworkPolicy", "shop", "n", { pre_dnat: true }),
      policy("StagedKubernetesNetworkPolicy", "shop", "s"),
      policy("StagedGlobalNetworkPolicy", "", "s"),
    );
    const flags = [...mirror.state().policies].map(([key, { kind, tier, ...one }]) =>
      [key, kind, tier, ...(["untracked", "preDnat", "staged"] as const).filter((f) => one[f])]);
    expect(flags).toEqual([
      ["NetworkPolicy shop/db", "NetworkPolicy", "default"],
      ["ClusterNetworkPolicy admin", "ClusterNetworkPolicy", "kube-admin"],
      ["GlobalNetworkPolicy g", "GlobalNetworkPolicy", "default", "untracked"],
      ["NetworkPolicy shop/n", "NetworkPolicy", "default", "preDnat"],
      ["StagedKubernetesNetworkPolicy shop/s", "StagedKubernetesNetworkPolicy", "default",
        "staged"],
      ["StagedGlobalNetworkPolicy s", "StagedGlobalNetworkPolicy", "default", "staged"],
    ]);
    const gone = { kind: "StagedGlobalNetworkPolicy", name: "s" };
    tell(mirror, 6, { active_policy_remove: { id: gone } });
    expect(mirror.state().policies.size).toBe(5);
  });

  test("Kubernetes' and Calico's NetworkPolicy of one name stay two", () => {
    const k8s = { kind: "KubernetesNetworkPolicy", namespace: "shop", name: "db" };
    const calico = { ...k8s, kind: "NetworkPolicy" };
    const mirror = told(policy("KubernetesNetworkPolicy", "shop", "db"), tier(k8s));
    expect(ingress(mirror)).toEqual(["NetworkPolicy shop/db"]);
    const other = policy("NetworkPolicy", "shop", "db", { inbound_rules: [{}] });
    tell(mirror, 2, other, tier(calico, k8s));
    const [first, second] = ingress(mirror);
    const { policies } = mirror.state();
    expect(first).toBe("NetworkPolicy.projectcalico.org shop/db");
    expect(second).toBe("NetworkPolicy shop/db");
    expect(policies.get(first!)!.inbound).toHaveLength(1);
    expect(policies.get(second!)!.inbound).toHaveLength(0);
    expect(policies.get(second!)).toMatchObject({ kind: "NetworkPolicy", namespace: "shop" });
    tell(mirror, 4, tier(k8s), { active_policy_remove: { id: calico } });
    expect(ingress(mirror)).toEqual(["NetworkPolicy shop/db"]);
  });

  test("http_match is warned of while its policy is there", () => {
    const http = { inbound_rules: [{}, { http_match: { methods: ["GET"] } }] };
    const profile = { outbound_rules: [{ http_match: {} }] };
    const mirror = told(policy("GlobalNetworkPolicy", "", "web", http),
      { active_profile_update: { id: { name: "p" }, profile } });
    expect(mirror.warnings).toEqual([
      "GlobalNetworkPolicy web ingress[1]: http_match is not enforced: the rule holds for every "
        + "request",
      "Profile p egress[0]: http_match is not enforced: the rule holds for every request",
    ]);
    tell(mirror, 2, policy("GlobalNetworkPolicy", "", "web"),
      { active_profile_remove: { id: { name: "p" } } });
    expect(mirror.warnings).toEqual([]);
    expect(mirror.state().profiles.size).toBe(0);
  });
});

describe("felix-endpoints:", () => {
  const policyId = { kind: "GlobalNetworkPolicy", name: "p" };

  test("a workload with all that bears on it", () => {
    const mirror = told(workload({
      state: "active", name: "cali1", mac: "01:02:03:04:05:06", profile_ids: ["kns.shop", "ksa"],
      ipv4_nets: ["10.0.0.1/32", "10.1.0.0/24"], ipv6_nets: ["fd00::1/128", "fd00::/64"],
      tiers: [{ name: "t", egress_policies: [policyId], default_action: "Pass" }, { name: "u" }],
      allow_spoofed_source_prefixes: ["8.8.8.8/32"], ipv4_nat: [{ ext_ip: "1.1.1.1" }],
    }));
    expect(mirror.state().workloads.get("k8s/shop/db/eth0")).toStrictEqual({
      id: "k8s/shop/db/eth0", workload: "shop/db", interface: "cali1", active: true,
      addresses: ["10.0.0.1", "10.1.0.0/24", "fd00::1", "fd00::/64"],
      tiers: [
        { name: "t", defaultAction: "pass", ingress: [], egress: ["GlobalNetworkPolicy p"] },
        { name: "u", defaultAction: "deny", ingress: [], egress: [] },
      ],
      profiles: ["kns.shop", "ksa"], allowedSources: ["8.8.8.8/32"],
    });
    expect(mirror.workloadEndpoints.get("k8s/shop/db/eth0")!.ipv4Nat[0]!.extIp).toBe("1.1.1.1");
    tell(mirror, 1, workload({ state: "inactive" }));
    expect(mirror.state().workloads.get("k8s/shop/db/eth0")!.active).toBe(false);
    tell(mirror, 2, { workload_endpoint_remove: { id } });
    expect(mirror.state().workloads.size).toBe(0);
  });

  test("a host endpoint with its four lists of tiers", () => {
    const tier = (name: string): object => ({ name, default_action: "Pass" });
    const mirror = told({ host_endpoint_update: { id: { endpoint_id: "eth" }, endpoint: {
      name: "*", profile_ids: ["p"], expected_ipv4_addrs: ["10.0.0.1"],
      expected_ipv6_addrs: ["fd00::1"], tiers: [tier("n")], untracked_tiers: [tier("u")],
      pre_dnat_tiers: [tier("d")], forward_tiers: [tier("f")],
    } } });
    const as = (name: string): object[] =>
      [{ name, defaultAction: "pass", ingress: [], egress: [] }];
    expect(mirror.state().hostEndpoints.get("eth")).toStrictEqual({
      id: "eth", interface: "*", expectedAddresses: ["10.0.0.1", "fd00::1"], tiers: as("n"),
      untrackedTiers: as("u"), preDnatTiers: as("d"), forwardTiers: as("f"), profiles: ["p"],
    });
    tell(mirror, 1, { host_endpoint_remove: { id: { endpoint_id: "eth" } } });
    expect(mirror.state().hostEndpoints.size).toBe(0);
  });

  test("what is not of policies is mirrored beside the state", () => {
    const { network } = told(
      { ipam_pool_update: { id: "p", pool: { cidr: "10.0.0.0/8", masquerade: true } } },
      { service_account_update: { id: { namespace: "shop", name: "db" }, labels: { a: "1" } } },
      { service_update: { namespace: "shop", name: "db", cluster_ips: ["10.96.0.1"] } },
      { global_bgp_config_update: { service_cluster_cidrs: ["10.96.0.0/12"] } },
      { encapsulation: { vxlan_enabled: true } },
      { route_update: { dst: "10.0.0.1/32", types: 5 } },
    );
    expect(network.pools.get("p")).toMatchObject({ cidr: "10.0.0.0/8", masquerade: true });
    expect(network.serviceAccounts.get("shop/db")).toEqual({ a: "1" });
    expect(network.services.get("shop/db")!.clusterIps).toEqual(["10.96.0.1"]);
    expect(network.bgp!.serviceClusterCidrs).toEqual(["10.96.0.0/12"]);
    expect(network.encapsulation).toMatchObject({ vxlanEnabled: true, ipipEnabled: false });
    expect(network.routes.get("10.0.0.1/32")!.types).toBe(5);
  });
});

describe("felix-file:", () => {
  const payloads = [set("a", ["10.0.0.1"]), delta("a", ["10.0.0.2"]), inSync];
  const framed = Buffer.concat(payloads.map((payload, index) =>
    frame(messageFromJson({ sequence_number: index, ...payload }))));
  const lines = Buffer.from(payloads.map((payload) => JSON.stringify(payload)).join("\n"));

  test("frames and JSON lines give the same state", () => {
    for (const bytes of [framed, lines]) {
      expect(isFelix(bytes)).toBe(true);
      const mirror = readFelix(bytes);
      expect(members(mirror, "a")).toEqual(["10.0.0.1", "10.0.0.2"]);
      expect(mirror.inSync).toBe(true);
    }
  });

  test("what is wrong names the file, and the frame or line", async () => {
    const folder = mkdtempSync(join(tmpdir(), "margay-felix-"));
    try {
      const file = (name: string, bytes: Uint8Array): Promise<FelixMirror> => {
        writeFileSync(join(folder, name), bytes);
        return readFelixFile(join(folder, name));
      };
      expect(members(await file("good.bin", framed), "a")).toHaveLength(2);
      await expect(file("cut.bin", framed.subarray(0, -1))).rejects
        .toThrow(/cut\.bin: frame 3 at byte \d+: the stream ends after/);
      await expect(file("text.bin", Buffer.from("kind: Pod\n"))).rejects
        .toThrow(/text\.bin: frame 1 at byte 0: a length of \d+ bytes/);
      await expect(file("empty.bin", Buffer.alloc(0))).rejects
        .toThrow("empty.bin: holds no message of Felix's");
      const bad = `${lines}\n{"ipset_delta_update":{"id":"b"}}`;
      await expect(file("bad.jsonl", Buffer.from(bad))).rejects
        .toThrow("bad.jsonl: line 4: ipset_delta_update: b: there is no such set to change");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
