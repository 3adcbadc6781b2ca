// kube-proxy's packet flows once more, as probes of `margay verdict` ask them: by addresses alone,
// one packet for each backend that may be chosen.
//
//   set-up ─ objects ─ Cluster;  flow ─ probe ─► results: verdict, destinations, source
//
// Cases: ../shared/conformance/services/iptables-flows.jsonl; where it is not there, this says so.
import { describe, expect, test } from "vitest";
import { Cluster } from "../../host/cluster/cluster.ts";
import { ProbeReader } from "../../host/cluster/probe.ts";
import type { FlowResult } from "../../host/cluster/types.ts";
import { snapshotOf } from "../../host/input/snapshot.ts";
import { readSetUps, type Fields, type KubeProxyFlow, type SetUp } from "./kubeproxycases.ts";

const { there, setUps } = readSetUps("services-probes");

/** kube-proxy's configuration names pods' IPv4 alone; its IPv6 cases have pods here. */
const LOCALHOST = "127.0.0.1";
const PODS_6 = "fd00:10::/32";

function objects({ test: name, config, services, endpointSlices }: SetUp): Fields[] {
  const parameters = {
    KubeProxyNodePortAddresses: config.nodePortAddresses.replace(/[[\]]/g, "")
      .split(" ").join(),
    KubeProxyLocalhostNodePorts: String(!name.includes("localhost-nodeports_disabled")),
    KubeProxyMasqueradeAll: String(config.masqueradeAll),
    KubeProxyDetectLocalMode: config.localDetectorImplemented ? "ClusterCIDR" : "None",
  };
  const addresses = config.nodeIPs.map((address) => ({ type: "InternalIP", address }));
  return [
    { apiVersion: "v1", kind: "Node", metadata: { name: config.nodeName }, status: { addresses } },
    { apiVersion: "projectcalico.org/v3", kind: "FelixConfiguration",
      metadata: { name: "default", annotations: Object.fromEntries(Object.entries(parameters)
        .map(([parameter, value]) => [`config.projectcalico.org/${parameter}`, value])) },
      spec: {} },
    ...[config.podCIDR, PODS_6].map((cidr, i) => ({
      apiVersion: "projectcalico.org/v3", kind: "IPPool", metadata: { name: `pods-${i}` },
      spec: { cidr, natOutgoing: false },
    })),
    ...services.map((service) => ({ apiVersion: "v1", kind: "Service", ...service })),
    ...endpointSlices.map((slice) => (
      { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", ...slice })),
  ];
}

/** What the flow's packets do that they should not; "" where there is nothing. */
function fault(cluster: Cluster, { config }: SetUp, flow: KubeProxyFlow): string {
  const probe = new ProbeReader(cluster).read({
    id: 1, from: flow.sourceIP, to: flow.destIP, protocol: flow.protocol.toLowerCase(),
    port: flow.destPort,
  });
  if (!("flows" in probe)) return probe.error;
  const results = cluster.run(probe.flows);
  const verdicts = [...new Set(results.map(({ verdict }) => verdict))].join();
  const { expectOutput, expectMasq } = flow;
  const shall = { REJECT: "reject", DROP: "drop" }[expectOutput] ?? "allow";
  if (verdicts !== shall) return `${verdicts} (${results[0]!.reason}), not ${shall}`;
  if (shall !== "allow") return "";
  const reached = [...new Set(results.map(({ destination }) => destination ?? ""))].sort().join();
  const wanted = expectOutput === "ACCEPT" ? ""
    : expectOutput.split(",").map((text) => text.trim()).sort().join();
  if (reached !== wanted) return `reached ${reached}, not ${wanted}`;
  const chosen = results.filter(({ note }) => note === undefined);
  // What a node sends itself bears its address already.
  const isOwn = [...config.nodeIPs, LOCALHOST].includes(flow.sourceIP);
  if (isOwn) return "";
  const hidden = chosen.filter((result) => isHidden(result, config.nodeIPs));
  return hidden.length === (expectMasq ? chosen.length : 0) ? ""
    : `${hidden.length} of ${chosen.length} sources hidden`;
}

function isHidden({ source }: FlowResult, nodeIPs: string[]): boolean {
  return source !== undefined && nodeIPs.some((address) => source.includes(address));
}

describe.skipIf(!there)("services-probes: kube-proxy's flows as probes by address", () => {
  let judged = 0;
  test.each(setUps.map((setUp) => [`${setUp.test} ${setUp.line}`, setUp] as const))("%s",
    async (_, setUp) => {
      const { snapshot, findings } = snapshotOf(objects(setUp));
      expect(findings).toEqual([]);
      const cluster = await Cluster.fromSnapshot(snapshot);
      const wrong = setUp.flows.map((flow) => [flow.name, fault(cluster, setUp, flow)] as const)
        .filter(([, what]) => what !== "");
      judged += setUp.flows.length;
      cluster.close();
      expect(Object.fromEntries(wrong)).toEqual({});
    });
  test("every flow was asked", () => {
    console.log(`services-probes ${judged}/${judged}`);
    expect(judged).toBe(239);
  });
});
