// A node as its policies see it, worked out slowly: Felix' parameters with their defaults, which
// host endpoint an interface has, who owns an address, by which uplink a packet leaves.
// Source: projectcalico felix/docs/config-params.md, felix/dataplane/linux/endpoint_mgr.go.
import { addressBytes, addressNumber } from "../../host/model/address.ts";
import type { EndpointToHost } from "../../host/model/program.ts";
import type {
  HostEndpointState, NodeDevices, NodeState, WorkloadState,
} from "../../host/model/state.ts";
import { inPrefix, prefixOf } from "./rule.ts";

/** The interface of the node's own processes. */
export const HOST = "(host)";

export type Place =
  | { kind: "workload"; workload: WorkloadState }
  | { kind: "host" }
  | { kind: "uplink"; name: string };

export interface Failsafe {
  protocol: number;
  port: number;
  prefix: string | undefined;
}
const INBOUND = "tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667";
const OUTBOUND =
  "udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667";

export class Node {
  constructor(readonly state: NodeState, readonly devices: NodeDevices) {}

  private text(name: string, absent: string): string {
    return this.state.config.get(name) ?? absent;
  }
  private isOn(name: string): boolean {
    return this.text(name, "false").toLowerCase() === "true";
  }
  get endpointToHost(): EndpointToHost {
    return this.text("DefaultEndpointToHostAction", "DROP").toLowerCase() as EndpointToHost;
  }
  get vxlanPort(): number {
    return Number(this.text("VXLANPort", "4789"));
  }
  get vxlanInUse(): boolean {
    return this.isOn("VXLANEnabled");
  }
  get ipipInUse(): boolean {
    return this.isOn("IpInIpEnabled");
  }
  get workloadsMayVxlan(): boolean {
    return this.isOn("AllowVXLANPacketsFromWorkloads");
  }
  get workloadsMayIpip(): boolean {
    return this.isOn("AllowIPIPPacketsFromWorkloads");
  }
  get anySource(): boolean {
    return this.text("WorkloadSourceSpoofing", "Disabled").toLowerCase() === "any";
  }
  get inbound(): Failsafe[] {
    return failsafes(this.text("FailsafeInboundHostPorts", INBOUND));
  }
  get outbound(): Failsafe[] {
    return failsafes(this.text("FailsafeOutboundHostPorts", OUTBOUND));
  }

  /** Whose interface is it? Undefined: nobody's. */
  at(name: string): Place | undefined {
    if (name === HOST) return { kind: "host" };
    if (this.devices.uplinks.some((each) => each.name === name)) return { kind: "uplink", name };
    const workload = [...this.state.workloads.values()].find((each) => each.interface === name);
    return workload && { kind: "workload", workload };
  }

  /** The host endpoint of an uplink: of all that name or expect it, the first; then "*". */
  hostEndpoint(uplink: string): HostEndpointState | undefined {
    const device = this.devices.uplinks.find((each) => each.name === uplink)!;
    const own = (each: HostEndpointState): boolean => each.interface === ""
      ? each.expectedAddresses.some((one) => device.addresses.some((two) => same(one, two)))
      : each.interface === uplink;
    return first([...this.state.hostEndpoints.values()].filter(own)) ?? this.allInterfaces();
  }
  /** The host endpoint of "*". */
  allInterfaces(): HostEndpointState | undefined {
    return first([...this.state.hostEndpoints.values()].filter((each) => each.interface === "*"));
  }

  isHost(address: bigint): boolean {
    return this.devices.uplinks.some((each) =>
      each.addresses.some((text) => numberOf(text) === address));
  }
  isKnownHost(address: bigint): boolean {
    return [...this.state.hosts.values()].some((texts) =>
      texts.some((text) => numberOf(text.split("/")[0]!) === address));
  }

  /** Where a packet to an address goes; undefined: nowhere. */
  route(family: 4 | 6, address: bigint): Place | undefined {
    for (const workload of this.state.workloads.values()) {
      if (workload.addresses.some((text) => inPrefix(text, family, address))) {
        return { kind: "workload", workload };
      }
    }
    if (this.isHost(address)) return { kind: "host" };
    let best: { length: number; name: string } | undefined;
    for (const { name, routes } of this.devices.uplinks) {
      for (const text of routes.filter((each) => inPrefix(each, family, address))) {
        const length = prefixOf(text).mask.toString(2).replaceAll("0", "").length;
        if (!best || length > best.length) best = { length, name };
      }
    }
    return best && { kind: "uplink", name: best.name };
  }
}

function first(endpoints: HostEndpointState[]): HostEndpointState | undefined {
  return endpoints.sort((a, b) => (a.id < b.id ? -1 : 1))[0];
}
const numbers = new Map<string, bigint>();
function numberOf(text: string): bigint {
  let known = numbers.get(text);
  if (known === undefined) numbers.set(text, known = addressNumber(addressBytes(text)));
  return known;
}
const same = (one: string, two: string): boolean => numberOf(one) === numberOf(two);

/** "tcp:22,udp:10.0.0.0/8:68,tcp:[fd00::/8]:22"; a port alone is TCP; "none" is none. */
function failsafes(text: string): Failsafe[] {
  if (text === "none" || text === "") return [];
  return text.split(",").map((each) => {
    const parts = /^(?:([a-z]+):)?(?:\[?([0-9a-fA-F.:]+\/\d+)\]?:)?(\d+)$/.exec(each.trim());
    if (!parts) throw new Error(`failsafe "${each}"`);
    const protocol = { tcp: 6, udp: 17, sctp: 132 }[parts[1] ?? "tcp"]!;
    return { protocol, port: Number(parts[3]), prefix: parts[2] };
  });
}
