// A node's settings: what Felix' parameters, IP pools and the node's addresses say for all of its
// packets, and the sets that this takes.
//
//   podNetworks      IP pools: who is a client inside, beside this node's own workloads
//   natSources       pools with natOutgoing (masquerade)
//   natExcluded      all pools, and with NATOutgoingExclusions=IPPoolsAndHostIPs every host
//   serviceNetworks  where Services' addresses are from, unless ServiceLoopPrevention is Disabled
//   snatAddresses    the first address of each family on an uplink; none of them link-local
//
// kube-proxy's own parameters stand beside Felix' as KubeProxyMasqueradeAll (true) and
// KubeProxyDetectLocalMode ("None": nobody can tell clients inside from those outside).
// Limits: NATOutgoingAddress is not heeded, for masqueraded packets bear their uplink's address.
// Source: felix/docs/config-params.md, felix/dataplane/linux/masq_mgr.go, service_loop_mgr.go;
// kubernetes pkg/proxy/apis/config.
import { familyOf, parsePrefix } from "../model/address.ts";
import type { AddressSet, Settings } from "../model/program.ts";
import type { NodeConfig, NodeDevices, NodeState } from "../model/state.ts";
import { isYes, oneOf, parameterReader } from "./config.ts";
import type { NodeMemory } from "./places.ts";

const HOSTS = "margay:hosts";
const POD_NETWORKS = "margay:pod-networks";
const NAT_SOURCES = "margay:nat-sources";
const NAT_EXCLUDED = "margay:nat-excluded";
const SERVICE_NETWORKS = "margay:service-networks";
const PORT_MAX = 65_535;

/** What is wrong in a parameter is among `memory.problems`. */
export function nodeSettings(
  state: NodeState, devices: NodeDevices, config: NodeConfig, memory: NodeMemory,
): { settings: Settings; sets: AddressSet[] } {
  const read = parameterReader(state.config, memory.problems);
  const sets: AddressSet[] = [];
  const set = (id: string, type: "ip" | "net", members: string[]): string => {
    sets.push({ id, type, members: memory.sameList(id, [...new Set(members)]) });
    return id;
  };
  const settings: Settings = {
    endpointToHost: config.endpointToHost, vxlanPort: config.vxlanPort,
    allowVxlanFromWorkloads: config.allowVxlanFromWorkloads,
    allowIpipFromWorkloads: config.allowIpipFromWorkloads,
  };
  const hosts = [...state.hosts.values()].flat().map((text) => text.split("/")[0]!);
  if (config.vxlanEnabled || config.ipipEnabled) set(HOSTS, "ip", hosts);
  if (config.vxlanEnabled) settings.vxlanHosts = HOSTS;
  if (config.ipipEnabled) settings.ipipHosts = HOSTS;

  if (isRejecting(read)) settings.rejectDenied = true;
  if (read("KubeProxyMasqueradeAll", false, isYes)) settings.masqueradeAll = true;
  const pools = state.pools.map(({ cidr }) => cidr);
  if (read("KubeProxyDetectLocalMode", true, (text) => text.toLowerCase() !== "none")) {
    settings.podNetworks = set(POD_NETWORKS, "net", pools.flatMap(halves));
  }
  const sources = state.pools.filter(({ masquerade }) => masquerade).map(({ cidr }) => cidr);
  const exclusions = read("NATOutgoingExclusions", "ippoolsonly", (text) =>
    oneOf(text, ["ippoolsonly", "ippoolsandhostips"]));
  if (sources.length > 0) {
    settings.natSources = set(NAT_SOURCES, "net", sources.flatMap(halves));
    const more = exclusions === "ippoolsonly" ? [] : hosts;
    settings.natExcluded = set(NAT_EXCLUDED, "net", [...pools.flatMap(halves), ...more]);
  }
  const loops = read("ServiceLoopPrevention", "drop", (text) =>
    oneOf(text, ["drop", "reject", "disabled"]));
  if (state.serviceNetworks.length > 0 && loops !== "disabled") {
    settings.serviceNetworks =
      set(SERVICE_NETWORKS, "net", state.serviceNetworks.flatMap(halves));
  }
  const own = snatAddresses(devices.uplinks.flatMap(({ addresses }) => addresses));
  if (own.length > 0) settings.snatAddresses = own;
  const ports = read<[number, number] | undefined>("NATPortRange", undefined, portRange);
  if (ports) settings.snatPorts = ports;
  return { settings, sets };
}

/** The first of each family that packets to the world can bear. */
export function snatAddresses(addresses: readonly string[]): string[] {
  const plain = addresses.map((text) => text.split("/")[0]!).filter((text) => !isNear(text));
  return ([4, 6] as const).flatMap((family) =>
    plain.find((text) => familyOf(text) === family) ?? []);
}

const NEAR = ["127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10"].map(parsePrefix);

/** Loopback and link-local. */
function isNear(address: string): boolean {
  const { family, network } = parsePrefix(address);
  return NEAR.some((each) => each.family === family && (network & each.mask) === each.network);
}

function isRejecting(read: ReturnType<typeof parameterReader>): boolean {
  const action = (name: string): string => read(name, "drop", (text) =>
    oneOf(text, ["drop", "reject"]));
  return [action("IptablesFilterDenyAction"), action("NFTablesFilterDenyAction")]
    .includes("reject");
}

/** A set holds no prefix of length 0. */
function halves(prefix: string): string[] {
  if (!/\/0+$/.test(prefix)) return [prefix];
  const is4 = familyOf(prefix.split("/")[0]!) === 4;
  return is4 ? ["0.0.0.0/1", "128.0.0.0/1"] : ["::/1", "8000::/1"];
}

/** "32768:65535", "32768-65535". */
function portRange(text: string): [number, number] | undefined {
  if (text === "") return undefined;
  const [, first, last] = /^(\d+)(?:[:-](\d+))?$/.exec(text) ?? [];
  const range = [Number(first), Number(last ?? first)] as [number, number];
  if (!(range[0] >= 1 && range[1] <= PORT_MAX && range[0] <= range[1])) {
    throw new Error(`expected ports, first:last, 1 to ${PORT_MAX}`);
  }
  return range;
}
