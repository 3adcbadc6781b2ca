// Order of tiers and policies with its ties, tiers that are not there, staged policies, the phases
// of host endpoints, and two policies of one name.
import { describe, expect, test } from "vitest";
import {
  calico, calculated, findingTexts, networkPolicy, pod, tierTexts,
} from "./snapshots.ts";

const PODS = [pod("shop/web", "10.0.0.1", { labels: { app: "web" } })];
const ALLOW = { ingress: [{ action: "Allow" }] };

/** Tiers of the one pod. */
function tiers(objects: Record<string, unknown>[]): string[] {
  const { state } = calculated({ pods: PODS, objects });
  return tierTexts(state.workloads.get("k8s/shop/web/eth0")!.tiers);
}
const gnp = (name: string, spec: Record<string, unknown> = {}) =>
  calico("GlobalNetworkPolicy", name, { ...ALLOW, ...spec });
const tier = (name: string, spec: Record<string, unknown>) => calico("Tier", name, spec);

describe("calc-tiers: order", () => {
  test("tiers by order, none last, then by name; their own default action", () => {
    expect(tiers([
      tier("z", { order: 5, defaultAction: "Pass" }), tier("a", { order: 5 }),
      tier("last", {}), tier("first", { order: -1 }), tier("lost", {}),
      ...["last", "z", "a", "first", "lost", "default"].map((name) => {
        return gnp(`in-${name}`, { tier: name });
      }),
    ]).map((text) => text.split(":")[0])).toEqual([
      "first deny", "a deny", "z pass", "default deny", "last deny", "lost deny",
    ]);
  });

  test("a manifest of the default tier changes what it says and no more", () => {
    expect(tiers([
      tier("default", { defaultAction: "Pass" }), tier("late", { order: 2_000_000 }),
      gnp("a", { tier: "late" }), gnp("b"),
    ]).map((text) => text.split(":")[0])).toEqual(["default pass", "late deny"]);
  });

  test("policies by order, none last; ties by name, then namespace, then kind", () => {
    expect(tiers([
      gnp("none"), gnp("ten", { order: 10 }), gnp("b", { order: 2.5 }), gnp("a", { order: 2.5 }),
      calico("NetworkPolicy", "shop/a", { order: 2.5, ...ALLOW }),
      networkPolicy("shop/k", { podSelector: {} }), gnp("after", { order: 1001 }),
      gnp("a.b", { order: 2.5 }),
    ])).toEqual([
      // "a.b//…" comes before "a//…", as Felix compares texts.
      "default deny: GlobalNetworkPolicy a.b, GlobalNetworkPolicy a, NetworkPolicy shop/a, " +
        "GlobalNetworkPolicy b, GlobalNetworkPolicy ten, NetworkPolicy shop/k, " +
        "GlobalNetworkPolicy after, GlobalNetworkPolicy none | ",
    ]);
  });

  test("the order of manifests changes nothing", () => {
    const objects = [
      tier("t", { order: 1 }), gnp("x", { tier: "t" }), gnp("a"), gnp("b", { order: 1 }),
      networkPolicy("shop/k", { podSelector: {} }),
    ];
    expect(tiers([...objects].reverse())).toEqual(tiers(objects));
  });

  test("a policy of a tier that is not there never applies, and is warned of", () => {
    const { state, findings } = calculated({ pods: PODS, objects: [
      tier("platform", { order: 1 }), gnp("x", { tier: "platfrom" }),
    ] });
    expect(state.policies.size).toBe(0);
    expect(findingTexts(findings)).toEqual(['warning GlobalNetworkPolicy x spec.tier: ' +
      'tier "platfrom" does not exist; it would never run. ' +
      "Tiers: platform, kube-admin, default, kube-baseline"]);
  });

  test("of two with one kind and name the later stands", () => {
    const { state } = calculated({ pods: PODS, objects: [gnp("x"), gnp("x", {
      ingress: [{ action: "Deny" }],
    })] });
    const rules = state.policies.get("GlobalNetworkPolicy x")!.inbound;
    expect(rules.map(({ action }) => action)).toEqual(["deny"]);
  });

  test("Kubernetes' and Calico's NetworkPolicy of one name are told apart", () => {
    const calicos = calico("NetworkPolicy", "shop/p", { order: 1, ...ALLOW });
    const kubernetes = networkPolicy("shop/p", { podSelector: {} });
    for (const objects of [[calicos, kubernetes], [kubernetes, calicos]]) {
      expect(tiers(objects)).toEqual([
        "default deny: NetworkPolicy.projectcalico.org shop/p, NetworkPolicy shop/p | ",
      ]);
      const { state } = calculated({ pods: PODS, objects });
      expect([...state.policies.values()].map(({ kind, name }) => `${kind} ${name}`))
        .toEqual(["NetworkPolicy p", "NetworkPolicy p"]);
    }
    expect(tiers([calicos])).toEqual(["default deny: NetworkPolicy shop/p | "]);
  });
});

test("calc-tiers: what Calico's API shows of a Kubernetes policy is not a second one", () => {
  const kubernetes = networkPolicy("shop/p", { podSelector: {} });
  const shown = calico("NetworkPolicy", "shop/knp.default.p", { order: 1000 });
  expect(tiers([kubernetes, shown])).toEqual(["default deny: NetworkPolicy shop/p | "]);
  expect(tiers([shown])).toEqual(["default deny: NetworkPolicy shop/knp.default.p | "]);
});

describe("calc-staged: staged policies", () => {
  test.each([
    ["Set", true], ["Learn", true], ["Ignore", true], ["Delete", false], [undefined, true],
  ])("stagedAction %s: there is %s", (stagedAction, there) => {
    const spec = { order: 1, ...ALLOW, ...(stagedAction ? { stagedAction } : {}) };
    const { state } = calculated({ pods: PODS, objects: [
      calico("StagedNetworkPolicy", "shop/s", spec), calico("StagedGlobalNetworkPolicy", "g", spec),
      gnp("real"),
    ] });
    const staged = ["StagedGlobalNetworkPolicy g", "StagedNetworkPolicy shop/s"];
    const names = [...(there ? staged : []), "GlobalNetworkPolicy real"];
    expect(tierTexts(state.workloads.get("k8s/shop/web/eth0")!.tiers))
      .toEqual([`default deny: ${names.join(", ")} | `]);
    for (const [key, policy] of state.policies) {
      expect(policy.staged ?? false).toBe(key.startsWith("Staged"));
    }
  });
});

describe("calc-host-endpoints: phases", () => {
  const BOTH = { ingress: [{ action: "Allow" }], egress: [{ action: "Deny" }] };
  const HOST = calico("HostEndpoint", "h", {
    node: "node1", interfaceName: "eth0", expectedIPs: ["172.16.0.1", "FD00::1"],
    profiles: ["projectcalico-default-allow", "gone"],
  }, { host: "yes" });

  test("each policy stands in the phases that it is for", () => {
    const { state, findings } = calculated({ pods: PODS, objects: [
      HOST, tier("t", { order: 1 }), gnp("normal", BOTH),
      gnp("forward", { ...BOTH, applyOnForward: true }),
      gnp("untracked", { ...BOTH, doNotTrack: true, applyOnForward: true, tier: "t" }),
      gnp("before", { ...BOTH, preDNAT: true, applyOnForward: true }),
      gnp("others", { ...BOTH, selector: "!has(host)" }),
    ] });
    const host = state.hostEndpoints.get("h")!;
    const names = (list: string) => list.split(" ").map((name) => `GlobalNetworkPolicy ${name}`)
      .join(", ");
    const both = (list: string) => `${names(list)} | ${names(list)}`;
    expect(tierTexts(host.tiers)).toEqual([`default deny: ${both("forward normal")}`]);
    expect(tierTexts(host.forwardTiers)).toEqual([`default deny: ${both("forward")}`]);
    expect(tierTexts(host.untrackedTiers)).toEqual([`t pass: ${both("untracked")}`]);
    expect(tierTexts(host.preDnatTiers)).toEqual([`default pass: ${names("before")} | `]);
    expect(state.policies.get("GlobalNetworkPolicy untracked")!.untracked).toBe(true);
    expect(state.policies.get("GlobalNetworkPolicy before")!.preDnat).toBe(true);
    expect(findingTexts(findings)).toEqual(["warning GlobalNetworkPolicy before spec.egress: " +
      "preDNAT: egress rules never run in that phase"]);
    // A workload has the normal phase alone.
    expect(tierTexts(state.workloads.get("k8s/shop/web/eth0")!.tiers))
      .toEqual([`default deny: ${both("forward normal others")}`]);
  });

  test("its interface, addresses, profiles; one that is missing denies", () => {
    const { state } = calculated({ objects: [HOST] });
    expect(state.hostEndpoints.get("h")).toMatchObject({
      id: "h", interface: "eth0", expectedAddresses: ["172.16.0.1", "fd00::1"], tiers: [],
      profiles: ["projectcalico-default-allow", "gone"],
    });
    const actions = (name: string) => {
      const { inbound, outbound } = state.profiles.get(name)!;
      return [...inbound, ...outbound].map(({ action }) => action);
    };
    expect(actions("projectcalico-default-allow")).toEqual(["allow", "allow"]);
    expect(actions("gone")).toEqual(["deny", "deny"]);
  });

  test("a wildcard, one without an interface, and another node's", () => {
    const { state } = calculated({ objects: [
      calico("HostEndpoint", "all", { node: "node1", interfaceName: "*" }),
      calico("HostEndpoint", "by-address", { node: "node1", expectedIPs: ["172.16.0.1"] }),
      calico("HostEndpoint", "elsewhere", { node: "node2", interfaceName: "*" }),
    ] });
    expect([...state.hostEndpoints.values()].map(({ id, interface: on }) => [id, on]))
      .toEqual([["all", "*"], ["by-address", ""]]);
  });

  test("doNotTrack without applyOnForward is warned of", () => {
    const { findings } = calculated({ objects: [HOST, gnp("u", { doNotTrack: true })] });
    expect(findingTexts(findings)).toEqual(["warning GlobalNetworkPolicy u spec.doNotTrack: " +
      "doNotTrack: applyOnForward must be true with it; Calico refuses"]);
  });

  test("a policy that is wanted on every node is there, selecting nothing", () => {
    const { state } = calculated({ objects: [gnp("hint", {
      selector: "app == 'none'", performanceHints: ["AssumeNeededOnEveryNode"],
    }), gnp("plain", { selector: "app == 'none'" })] });
    expect([...state.policies.keys()]).toEqual(["GlobalNetworkPolicy hint"]);
  });
});
