// A snapshot of what one node's state tells by name: its workloads are pods, its hosts are nodes.
// For flows against a Felix stream, which knows other nodes' pods by address alone.
import type { NodeObject, PodObject, Snapshot } from "../model/snapshot.ts";
import type { NodeDevices, NodeState } from "../model/state.ts";

export function snapshotOfState(
  state: NodeState, local: string, devices: NodeDevices,
): Snapshot {
  const nodes = new Map<string, NodeObject>();
  const eth = devices.uplinks[0]?.name ?? "eth0";
  for (const [name, addresses] of state.hosts) {
    nodes.set(name, { name, labels: {}, addresses, interface: eth });
  }
  if (!nodes.has(local)) {
    const addresses = devices.uplinks.flatMap((uplink) => uplink.addresses);
    nodes.set(local, { name: local, labels: {}, addresses, interface: eth });
  }
  const pods = [...state.workloads.values()].map(({ workload, addresses }): PodObject => {
    const slash = workload.indexOf("/");
    return {
      namespace: workload.slice(0, Math.max(0, slash)), name: workload.slice(slash + 1),
      labels: {}, annotations: {}, serviceAccount: "", node: local, hostNetwork: false,
      ready: true, ports: [], addresses: addresses.map((each) => each.split("/")[0]!),
    };
  });
  return {
    namespaces: new Map(), serviceAccounts: new Map(), nodes: [...nodes.values()], pods,
    services: [], endpointSlices: [], policies: [], tiers: [], networkSets: [],
    globalNetworkSets: [], hostEndpoints: [], profiles: [], ipPools: [], felixConfigurations: [],
    serviceCIDRs: [],
  };
}

/** Felix tells no interfaces of its host: those that host endpoints name, or one "eth0". */
export function devicesOfState(state: NodeState, local: string): NodeDevices {
  const named = [...state.hostEndpoints.values()].map((each) => each.interface)
    .filter((name) => name !== "" && name !== "*");
  const names = [...new Set(named)].sort();
  const addresses = state.hosts.get(local) ?? [];
  return { uplinks: (names.length ? names : ["eth0"]).map((name, i) => ({
    name, addresses: i === 0 ? addresses : [], routes: i === 0 ? ["0.0.0.0/0", "::/0"] : [],
  })) };
}
