// What VPP is to have, from the agent's configuration and the node's program. No VPP is asked.
//
//   Config + Program ─► interfaces (owner, addresses, neighbours) · routes · tables · host stack
//
// Ours is known by tags: an interface's is "margay:<name>:<hash>", where the hash is of what can't
// be changed once it is made (its kind, sockets, table); another hash is another interface. A table
// of ours is named "margay:<id>". Routes are ours where they lead by an interface of ours alone.
//
// A pod's addresses are the program's: routes to them come by themselves, and so do static
// neighbours where the configuration names the pod's MAC.
import { createHash } from "node:crypto";
import type { Endpoint, Program } from "../model/program.ts";
import type { NodeDevices } from "../model/state.ts";
import { canonicalPrefix, plainAddress } from "./address.ts";
import type { Config, InterfaceConfig } from "./config.ts";

export const TAG = "margay:";

export interface DesiredNeighbour {
  address: string;
  mac: string;
}

export interface DesiredInterface {
  name: string;
  tag: string;
  config: InterfaceConfig;
  mac: string | undefined;
  mtu: number | undefined;
  table: number;
  /** With prefix lengths; the bits behind them stay. */
  addresses: string[];
  /** Name of the interface that lends its addresses. */
  unnumbered: string | undefined;
  neighbours: DesiredNeighbour[];
  /** Index in the program; absent: nobody's, nothing passes. */
  endpoint: number | undefined;
  /** Of the owner, for messages: "pod shop/web". */
  owner: string;
}

export interface DesiredRoute {
  table: number;
  prefix: string;
  /** Absent: attached to the interface. */
  via: string | undefined;
  /** Name of one of the interfaces. */
  interface: string;
}

export interface DesiredHostStack {
  table: number;
  interface: string;
  via: number;
}

export interface Desired {
  interfaces: DesiredInterface[];
  routes: DesiredRoute[];
  /** Beside 0, which is always there. */
  tables: number[];
  hostStack: DesiredHostStack[];
  /** Index of the node itself: local0 is bound to it. */
  host: number | undefined;
  /** What is configured and can't be, in sentences. */
  problems: string[];
}

export function desiredState(config: Config, program: Program): Desired {
  const problems: string[] = [];
  const index = endpointIndex(program);
  const interfaces = config.interfaces.map((each): DesiredInterface => {
    const owner = ownerOf(each);
    const endpoint = owner.key === undefined ? undefined : index.get(owner.key);
    if (owner.key !== undefined && endpoint === undefined) {
      problems.push(`interface ${each.name}: there is no ${owner.text} on node ${config.node}: ` +
        "nothing passes there");
    }
    return {
      name: each.name, tag: tagOf(each), config: each, mac: each.mac, mtu: each.mtu,
      table: each.table, addresses: each.addresses.map(plainAddress), unnumbered: each.unnumbered,
      neighbours: neighboursOf(each, endpoint === undefined ? undefined
        : program.endpoints[endpoint]),
      endpoint, owner: owner.text,
    };
  });
  const routes = [
    ...interfaces.flatMap(({ name, endpoint, config: { pod, table } }) =>
      pod === undefined || endpoint === undefined ? []
        : program.endpoints[endpoint]!.addresses.map((address): DesiredRoute =>
          ({ table, prefix: canonicalPrefix(address), via: undefined, interface: name }))),
    ...config.routes.map(({ table, prefix, via, interface: name }): DesiredRoute => ({
      table, prefix: canonicalPrefix(prefix), via: via && plainAddress(via), interface: name,
    })),
  ];
  const tables = new Set([
    ...config.interfaces.map(({ table }) => table), ...config.routes.map(({ table }) => table),
    ...config.hostStack.flatMap(({ table, via }) => [table, via]),
  ]);
  tables.delete(0);
  return {
    interfaces, routes: distinct(routes, problems), tables: [...tables].sort((a, b) => a - b),
    hostStack: config.hostStack, host: index.get("host"), problems,
  };
}

/** The node's uplinks, which manifests do not know: the configuration's, with what lies behind. */
export function devicesOf(config: Config): NodeDevices {
  return {
    uplinks: config.interfaces.flatMap((each) => each.uplink === undefined ? [] : [{
      name: each.uplink, addresses: each.addresses,
      routes: [
        ...each.addresses.map(canonicalPrefix),
        ...config.routes.filter((route) => route.interface === each.name)
          .map(({ prefix }) => canonicalPrefix(prefix)),
      ],
      ...(each.peer ? { peer: true } : {}),
    }]),
  };
}

/** Places by "pod namespace/name", "uplink eth0", "host". */
function endpointIndex(program: Program): Map<string, number> {
  const index = new Map<string, number>();
  program.endpoints.forEach(({ kind, name }, i) => {
    if (name === "") return;
    index.set(kind === "host" ? "host" : `${kind === "uplink" ? "uplink" : "pod"} ${name}`, i);
  });
  return index;
}

function ownerOf({ pod, uplink, host }: InterfaceConfig): { key?: string; text: string } {
  if (pod !== undefined) return { key: `pod ${pod}`, text: `pod ${pod}` };
  if (uplink !== undefined) return { key: `uplink ${uplink}`, text: `uplink ${uplink}` };
  return host ? { key: "host", text: "the host itself" } : { text: "nobody" };
}

function neighboursOf(each: InterfaceConfig, endpoint: Endpoint | undefined): DesiredNeighbour[] {
  return each.neighbours.flatMap(({ address, mac }): DesiredNeighbour[] =>
    address === undefined
      ? (endpoint?.addresses ?? []).map((own) => ({ address: plainAddress(own), mac }))
      : [{ address: plainAddress(address), mac }]);
}

/** What makes another interface of it. */
function tagOf({ name, afPacket, memif, tap, loopback, table }: InterfaceConfig): string {
  const made = JSON.stringify({ afPacket, memif, tap, loopback, table });
  return `${TAG}${name}:${createHash("sha256").update(made).digest("hex").slice(0, 8)}`;
}

/** One route a prefix: the first that is told. */
function distinct(routes: DesiredRoute[], problems: string[]): DesiredRoute[] {
  const seen = new Map<string, DesiredRoute>();
  for (const route of routes) {
    const key = `${route.table} ${route.prefix}`;
    const other = seen.get(key);
    if (!other) seen.set(key, route);
    else if (other.interface !== route.interface || other.via !== route.via) {
      problems.push(`route ${route.prefix} by ${route.interface}: it goes by ${other.interface}`);
    }
  }
  return [...seen.values()];
}
