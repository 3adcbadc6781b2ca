// What Felix tells about the network and the cluster around the policies: hosts, routes, tunnels,
// pools, Kubernetes objects. A mirror of the last message about each, by its key.
//
// A host's metadata has come in three forms, of which one Felix sends either the first alone or
// all:
//
//   14 / 18  host_metadata           IPv4 alone before v3.33; since then both families
//   35 / 36  host_metadata_v6        IPv6 alone, before v3.33
//   37 / 38  host_metadata_v4v6      both families, before v3.33
//
// Each is mirrored for itself, so that removing one form takes nothing from another; a host is
// there while any form tells of it, and the fullest form speaks.
// Source: projectcalico felix/proto/felixbackend.proto.
import { create } from "@bufbuild/protobuf";
import { HostMetadataUpdateSchema } from "./felixbackend_pb.ts";
import type {
  Encapsulation, GlobalBGPConfigUpdate, HostMetadataUpdate, HostMetadataV6Update, IPAMPool,
  RouteUpdate, ServiceUpdate, ToDataplane, VXLANTunnelEndpointUpdate, WireguardEndpointUpdate,
  WireguardEndpointV6Update,
} from "./felixbackend_pb.ts";

import { checkPrefix } from "./felixrule.ts";
import type { PoolState } from "../model/state.ts";

type Labels = Record<string, string>;

export class FelixNetwork {
  /** By destination prefix. */
  readonly routes = new Map<string, RouteUpdate>();
  /** By node. */
  readonly vteps = new Map<string, VXLANTunnelEndpointUpdate>();
  readonly wireguard = new Map<string, WireguardEndpointUpdate>();
  readonly wireguardV6 = new Map<string, WireguardEndpointV6Update>();
  /** By id: "10.0.0.0-16". */
  readonly pools = new Map<string, IPAMPool>();
  /** Labels by "namespace/name", and by name. */
  readonly serviceAccounts = new Map<string, Labels>();
  readonly namespaces = new Map<string, Labels>();
  /** By "namespace/name". */
  readonly services = new Map<string, ServiceUpdate>();
  encapsulation: Encapsulation | undefined;
  bgp: GlobalBGPConfigUpdate | undefined;
  private readonly hostsPlain = new Map<string, HostMetadataUpdate>();
  private readonly hostsV6 = new Map<string, HostMetadataV6Update>();
  private readonly hostsBoth = new Map<string, HostMetadataUpdate>();

  /** Takes the message in, where it is of these. */
  apply({ case: kind, value }: ToDataplane["payload"]): void {
    switch (kind) {
      case "routeUpdate": this.routes.set(value.dst, value); break;
      case "routeRemove": this.routes.delete(value.dst); break;
      case "vtepUpdate": this.vteps.set(value.node, value); break;
      case "vtepRemove": this.vteps.delete(value.node); break;
      case "wireguardEndpointUpdate": this.wireguard.set(value.hostname, value); break;
      case "wireguardEndpointRemove": this.wireguard.delete(value.hostname); break;
      case "wireguardEndpointV6Update": this.wireguardV6.set(value.hostname, value); break;
      case "wireguardEndpointV6Remove": this.wireguardV6.delete(value.hostname); break;
      case "ipamPoolUpdate":
        if (value.pool) this.pools.set(value.id, checkedPool(value.id, value.pool));
        break;
      case "ipamPoolRemove": this.pools.delete(value.id); break;
      case "serviceAccountUpdate": this.serviceAccounts.set(named(value.id), value.labels); break;
      case "serviceAccountRemove": this.serviceAccounts.delete(named(value.id)); break;
      case "namespaceUpdate": this.namespaces.set(value.id?.name ?? "", value.labels); break;
      case "namespaceRemove": this.namespaces.delete(value.id?.name ?? ""); break;
      case "serviceUpdate": this.services.set(named(value), value); break;
      case "serviceRemove": this.services.delete(named(value)); break;
      case "encapsulation": this.encapsulation = value; break;
      case "globalBgpConfigUpdate": this.bgp = checkedBgp(value); break;
      case "hostMetadataUpdate": this.hostsPlain.set(value.hostname, value); break;
      case "hostMetadataRemove": this.hostsPlain.delete(value.hostname); break;
      case "hostMetadataV6Update": this.hostsV6.set(value.hostname, value); break;
      case "hostMetadataV6Remove": this.hostsV6.delete(value.hostname); break;
      case "hostMetadataV4v6Update": this.hostsBoth.set(value.hostname, value); break;
      case "hostMetadataV4v6Remove": this.hostsBoth.delete(value.hostname); break;
    }
  }

  /** IP pools, in order of their ids. */
  poolStates(): PoolState[] {
    return [...this.pools].sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { cidr, masquerade }]) => ({ cidr, masquerade }));
  }

  /** Prefixes that BGP announces for Services: where addresses of no Service lead nowhere. */
  serviceNetworks(): string[] {
    const { bgp } = this;
    return [
      ...bgp?.serviceClusterCidrs ?? [], ...bgp?.serviceExternalCidrs ?? [],
      ...bgp?.serviceLoadbalancerCidrs ?? [],
    ];
  }

  /** Every host that any form tells of, by name. */
  hosts(): Map<string, HostMetadataUpdate> {
    const names = [...this.hostsPlain.keys(), ...this.hostsV6.keys(), ...this.hostsBoth.keys()];
    return new Map(names.map((hostname) => [hostname, this.host(hostname)]));
  }

  private host(hostname: string): HostMetadataUpdate {
    const both = this.hostsBoth.get(hostname);
    if (both) return both;
    const plain = this.hostsPlain.get(hostname), v6 = this.hostsV6.get(hostname);
    if (plain && !v6) return plain;
    const ipv6Addr = v6?.ipv6Addr || plain?.ipv6Addr;
    return create(HostMetadataUpdateSchema, { hostname, ipv4Addr: plain?.ipv4Addr, ipv6Addr });
  }
}

function named(id: { namespace: string; name: string } | undefined): string {
  return `${id?.namespace ?? ""}/${id?.name ?? ""}`;
}

/** What the packet program takes from them must be prefixes. */
function checkedPool(id: string, pool: IPAMPool): IPAMPool {
  checkPrefix(pool.cidr, `${id}: pool.cidr`);
  return pool;
}
function checkedBgp(bgp: GlobalBGPConfigUpdate): GlobalBGPConfigUpdate {
  const lists = {
    service_cluster_cidrs: bgp.serviceClusterCidrs,
    service_external_cidrs: bgp.serviceExternalCidrs,
    service_loadbalancer_cidrs: bgp.serviceLoadbalancerCidrs,
  };
  for (const [name, list] of Object.entries(lists)) {
    list.forEach((cidr, i) => checkPrefix(cidr, `${name}[${i}]`));
  }
  return bgp;
}
