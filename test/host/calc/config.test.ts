// FelixConfiguration as Felix' parameters; ModulePolicy.
import { describe, expect, test } from "vitest";
import { parameterName } from "../../../host/calc/config.ts";
import { modulesOf } from "../../../host/calc/module.ts";
import {
  calico, calculated, findingTexts, manifest, members, node, object, pod, tierTexts,
} from "./snapshots.ts";

describe("calc-config: FelixConfiguration", () => {
  const felix = (name: string, spec: Record<string, unknown>) =>
    calico("FelixConfiguration", name, spec);
  const configOf = (...objects: Record<string, unknown>[]) => Object.fromEntries(calculated({
    nodes: [node("node1", "172.16.0.1", { rack: "7" })], objects,
  }).state.config);

  test.each([
    ["vxlanPort", "VXLANPort"], ["vxlanMTUV6", "VXLANMTUV6"], ["ipipEnabled", "IpInIpEnabled"],
    ["bpfEnabled", "BPFEnabled"], ["natOutgoingExclusions", "NATOutgoingExclusions"],
    ["defaultEndpointToHostAction", "DefaultEndpointToHostAction"], ["ipv6Support", "Ipv6Support"],
    ["nftablesMode", "NFTablesMode"], ["awsSrcDstCheck", "AWSSrcDstCheck"],
    ["ipv4NormalRoutePriority", "IPv4NormalRoutePriority"], ["xdpEnabled", "XDPEnabled"],
    ["reportingInterval", "ReportingIntervalSecs"], ["mtuIfacePattern", "MTUIfacePattern"],
    ["workloadSourceSpoofing", "WorkloadSourceSpoofing"], ["interfacePrefix", "InterfacePrefix"],
  ])("%s is %s", (field, name) => {
    expect(parameterName(field)).toBe(name);
  });

  test("values as Felix writes them", () => {
    expect(configOf(felix("default", {
      vxlanPort: 4790, allowVXLANPacketsFromWorkloads: true, iptablesRefreshInterval: "1m30s",
      iptablesLockProbeInterval: "50ms", interfaceExclude: "", logPrefix: "90s-no",
      externalNodesList: ["10.0.0.0/8", "fd00::/8"], routeTableRanges: [{ min: 1, max: 9 }],
      failsafeInboundHostPorts: [
        { protocol: "TCP", port: 22 }, { protocol: "udp", net: "10.0.0.0/8", port: 68 },
        { protocol: "sctp", net: "fd00::/8", port: 9 },
      ],
      failsafeOutboundHostPorts: [],
    }))).toEqual({
      VXLANPort: "4790", AllowVXLANPacketsFromWorkloads: "true", IptablesRefreshInterval: "90",
      IptablesLockProbeIntervalMillis: "50", LogPrefix: "90s-no",
      ExternalNodesCIDRList: "10.0.0.0/8,fd00::/8", RouteTableRanges: "1-9",
      FailsafeInboundHostPorts: "tcp:22,udp:10.0.0.0/8:68,sctp:[fd00::/8]:9",
      FailsafeOutboundHostPorts: "none",
    });
  });

  test("the node's own wins over what selects it, that over the default", () => {
    expect(configOf(
      felix("node.node1", { vxlanPort: 3 }), felix("node.node2", { vxlanVNI: 9 }),
      felix("default", { vxlanPort: 1, vxlanMTU: 1, vxlanVNI: 1 }),
      felix("racks", { nodeSelector: "rack == '7'", vxlanPort: 2, vxlanMTU: 2 }),
      felix("others", { nodeSelector: "rack == '8'", vxlanVNI: 8 }),
    )).toEqual({ VXLANPort: "3", VXLANMTU: "2", VXLANVNI: "1" });
  });

  test("pools say what encapsulation there is, where no parameter does", () => {
    const pool = (spec: Record<string, unknown>) => calico("IPPool", "p", spec);
    expect(configOf(pool({ vxlanMode: "CrossSubnet", ipipMode: "Never" })))
      .toEqual({ VXLANEnabled: "true" });
    expect(configOf(pool({ ipipMode: "Always" }))).toEqual({ IpInIpEnabled: "true" });
    expect(configOf(pool({ vxlanMode: "Always" }), felix("default", { vxlanEnabled: false })))
      .toEqual({ VXLANEnabled: "false" });
  });

  test("interfacePrefix names the interfaces of workloads", () => {
    const { state } = calculated({ pods: [pod("shop/a", "10.0.0.1")], objects: [
      felix("default", { interfacePrefix: "tap,cali" }),
    ] });
    expect(state.workloads.get("k8s/shop/a/eth0")!.interface).toBe("tap8c689ec8560");
  });
});

describe("calc-module: ModulePolicy", () => {
  const PODS = [
    pod("shop/web", "10.0.0.1", { labels: { app: "web" } }), pod("ops/web", "10.0.0.2"),
  ];
  const WASM = new Uint8Array([0, 97, 115, 109]);
  const policy = (name: string, spec: Record<string, unknown>) =>
    object("margay.io/v1", "ModulePolicy", name, { module: "window.wasm", ...spec });
  const under = (...objects: Record<string, unknown>[]) => calculated(
    { pods: PODS, objects }, "node1", { module: (path, { name }) => {
      if (path !== "window.wasm") throw new Error(`${path} of ${name} can't be read`);
      return WASM;
    } },
  );

  test("stands in its tier like any policy, its sets in their order", () => {
    const { state, findings } = under(
      policy("m", { tier: "t", order: 2, selector: "app == 'web'", types: ["Ingress", "Egress"],
        sets: ["has(app)", "all()"] }),
      calico("Tier", "t", { order: 1, defaultAction: "Pass" }),
      calico("GlobalNetworkPolicy", "before", {
        tier: "t", order: 1, egress: [{ action: "Deny" }],
      }),
    );
    expect(findings).toEqual([]);
    expect(tierTexts(state.workloads.get("k8s/shop/web/eth0")!.tiers))
      .toEqual(["t pass: ModulePolicy m | GlobalNetworkPolicy before, ModulePolicy m"]);
    const { module, inbound, outbound, kind, origin } = state.policies.get("ModulePolicy m")!;
    expect([kind, inbound, outbound, origin!.file]).toEqual(["ModulePolicy", [], [], "m.yaml"]);
    expect(module!.wasm).toBe(WASM);
    expect(module!.sets.map((id) => members(state, id)))
      .toEqual([["10.0.0.1/32"], ["10.0.0.1/32", "10.0.0.2/32"]]);
  });

  test("in a namespace it and its sets select of that namespace; ingress if not said", () => {
    const { state } = under(policy("ops/m", { sets: ["all()"] }));
    expect(state.workloads.get("k8s/shop/web/eth0")!.tiers).toEqual([]);
    expect(tierTexts(state.workloads.get("k8s/ops/web/eth0")!.tiers))
      .toEqual(["default deny: ModulePolicy ops/m | "]);
    expect(members(state)).toEqual(["10.0.0.2/32"]);
  });

  test("what is wrong with it is said, and it is left out", () => {
    const { state, findings } = under(
      policy("a", { module: "gone.wasm" }), policy("b", { sets: ["a = 'b'"] }),
    );
    expect(findingTexts(findings)).toEqual([
      "error ModulePolicy a spec.module: gone.wasm of a can't be read",
      "error ModulePolicy b spec.sets[0]: expected == or in after 'a' (column 3): a = 'b'; " +
        "Calico wants ==",
    ]);
    expect(state.policies.size).toBe(0);
    expect(findingTexts(calculated({ pods: PODS, objects: [policy("c", {})] }).findings)).toEqual([
      'error ModulePolicy c spec.module: module: nothing here reads "window.wasm"',
    ]);
  });

  test("what modules a calculation will ask for is known before", () => {
    const manifests = [policy("a", {}), calico("GlobalNetworkPolicy", "b", {})]
      .map((each) => manifest(each));
    expect(modulesOf(manifests)).toEqual([{ path: "window.wasm", manifest: manifests[0] }]);
  });
});
