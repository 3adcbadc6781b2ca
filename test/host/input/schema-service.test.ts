// Services, their slices, ServiceCIDRs and hostPorts in manifests: what an API server would refuse
// is told at its place, and defaults are filled in.
import { describe, expect, test } from "vitest";
import { snapshotOf } from "../../../host/input/snapshot.ts";

type Fields = Record<string, unknown>;
const service = (spec: Fields, more: Fields = {}): Fields => ({
  apiVersion: "v1", kind: "Service", metadata: { name: "db", namespace: "shop" }, spec, ...more,
});
const faults = (...objects: Fields[]): string[] =>
  snapshotOf(objects).findings.map(({ field, message }) => `${field}: ${message}`);

describe("schema-services:", () => {
  test.each([
    [{ externalTrafficPolicy: "local" },
      'spec.externalTrafficPolicy: must be Cluster or Local, is "local"; did you mean Local?'],
    [{ internalTrafficPolicy: "Node" },
      'spec.internalTrafficPolicy: must be Cluster or Local, is "Node"'],
    [{ sessionAffinity: "Client" },
      'spec.sessionAffinity: must be None or ClientIP, is "Client"; did you mean ClientIP?'],
    [{ sessionAffinityConfig: { clientIP: { timeoutSeconds: 86_401 } } },
      "spec.sessionAffinityConfig.clientIP.timeoutSeconds: must be at most 86400, is 86401"],
    [{ loadBalancerSourceRanges: ["10.0.0.1"] },
      'spec.loadBalancerSourceRanges[0]: "10.0.0.1" needs a prefix length: 10.0.0.1/32'],
    [{ externalIPs: ["example.com"] }, /^spec\.externalIPs\[0\]: "example\.com" is no IP address/],
    [{ trafficDistribution: "PreferNode" },
      /^spec\.trafficDistribution: must be PreferClose, PreferSameZone or PreferSameNode/],
    [{ ports: [{ port: 80, nodePort: 70_000 }] },
      "spec.ports[0].nodePort: must be at most 65535, is 70000"],
  ])("%j", (spec, expected) => {
    const [first, ...others] = faults(service(spec));
    expect(others).toEqual([]);
    expect(first).toMatch(typeof expected === "string" ? new RegExp(`^${escaped(expected)}$`)
      : expected);
  });

  test("spaces around a range, a targetPort that is 0 or empty, words that are empty", () => {
    const { snapshot, findings } = snapshotOf([service({
      loadBalancerSourceRanges: [" 10.0.0.0/8 "], externalTrafficPolicy: "",
      ports: [{ port: 80, targetPort: 0 }, { name: "b", port: 81, targetPort: "" }],
    }, { status: { loadBalancer: {} } })]);
    expect(findings).toEqual([]);
    expect(snapshot.services[0]!.value["spec"]).toMatchObject({
      loadBalancerSourceRanges: ["10.0.0.0/8"],
      ports: [{ port: 80, targetPort: 80 }, { port: 81, targetPort: 81 }],
    });
  });

  test("a load balancer's address, ServiceCIDRs and hints must be what they are", () => {
    expect(faults(service({}, { status: { loadBalancer: { ingress: [
      { ip: "1.2.3", ipMode: "Both" },
    ] } } }))).toHaveLength(2);
    expect(faults({
      apiVersion: "networking.k8s.io/v1", kind: "ServiceCIDR", metadata: { name: "k" },
      spec: { cidrs: ["10.96.0.0"] },
    })).toEqual(['spec.cidrs[0]: "10.96.0.0" needs a prefix length: 10.96.0.0/32']);
    expect(faults({
      apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
      metadata: { name: "s", namespace: "shop" },
      endpoints: [{ addresses: ["10.0.0.1"], hints: { forZones: ["a"] } }],
    })[0]).toMatch(/^endpoints\[0\]\.hints\.forZones\[0\]: must be an object/);
  });

  test("a container's hostPort and hostIP are in the snapshot, a slip in them is told", () => {
    const pod = (port: Fields): Fields => ({
      apiVersion: "v1", kind: "Pod", metadata: { name: "web", namespace: "shop" },
      spec: { containers: [{ name: "c", ports: [{ containerPort: 80, ...port }] }] },
    });
    expect(snapshotOf([pod({ hostPort: 8080, hostIP: "192.0.2.1" })]).snapshot.pods[0]!.ports)
      .toEqual([{ name: "", port: 80, protocol: "TCP", hostPort: 8080, hostIP: "192.0.2.1" }]);
    expect(snapshotOf([pod({ hostPort: 0 })]).snapshot.pods[0]!.ports)
      .toEqual([{ name: "", port: 80, protocol: "TCP" }]);
    expect(faults(pod({ hostIP: "eth0" }))[0])
      .toMatch(/^spec\.containers\[0\]\.ports\[0\]\.hostIP: "eth0" is no IP address/);
  });

  test("FelixConfiguration: words that bear on NAT are checked", () => {
    const of = (spec: Fields): string[] => faults({
      apiVersion: "projectcalico.org/v3", kind: "FelixConfiguration",
      metadata: { name: "default" }, spec,
    });
    expect(of({ natOutgoingExclusions: "Hosts", iptablesFilterDenyAction: "No",
      serviceLoopPrevention: "Off", bpfExternalServiceMode: "x",
      bpfMaglevMaxEndpointsPerService: 0 })).toHaveLength(5);
    expect(of({ natOutgoingExclusions: "IPPoolsAndHostIPs", iptablesFilterDenyAction: "Reject",
      serviceLoopPrevention: "Disabled", bpfExternalServiceMode: "DSR" })).toEqual([]);
  });
});

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
