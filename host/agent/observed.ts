// What VPP has, asked for by its dumps. Of what is not ours only what the difference needs is kept.
//
//   sw_interface_dump ─ tag "margay:…" ─► ours ─► table, addresses, lender, static neighbours
//   margay_interface_dump ─► enabled, bound to whom      ip_route_v2_dump (source API) ─► routes
import { canonicalPrefix, plainAddress } from "./address.ts";
import { TAG } from "./desired.ts";

/** The part of VPP's API that is asked here; host/vpp/api's client has it. */
export interface Asking {
  call(message: string, fields?: Record<string, unknown>): Promise<Record<string, unknown>>;
  dump(message: string, fields?: Record<string, unknown>): AsyncIterable<Record<string, unknown>>;
}

export interface ObservedInterface {
  index: number;
  /** "" for another's. */
  tag: string;
  /** VPP's own name of it. */
  vppName: string;
  /** "af-packet", "memif", "Loopback" …: VPP's own word. */
  kind: string;
  mac: string;
  isUp: boolean;
  mtu: number;
  addresses: string[];
  /** Index of the lender. */
  unnumbered: number | undefined;
  /** Static ones. */
  neighbours: { address: string; mac: string }[];
  enabled: boolean;
  /** Bound to this index; undefined: to none. */
  endpoint: number | undefined;
}

export interface ObservedRoute {
  table: number;
  prefix: string;
  paths: { via: string | undefined; interface: number; isPlain: boolean }[];
}

export interface Observed {
  interfaces: ObservedInterface[];
  routes: ObservedRoute[];
  tables: { id: number; isIp6: boolean; name: string }[];
}

const LOCAL0 = 0;
const NOBODY = 0xffff_ffff;
const UP = "IF_STATUS_API_FLAG_ADMIN_UP";
const STATIC = "IP_API_NEIGHBOR_FLAG_STATIC";
const NORMAL = "FIB_API_PATH_TYPE_NORMAL";
const FAMILIES = ["ADDRESS_IP4", "ADDRESS_IP6"] as const;

type Fields = Record<string, unknown>;

export async function observe(vpp: Asking): Promise<Observed> {
  const bound = new Map<number, Fields>();
  for await (const each of vpp.dump("margay_interface_dump", {})) {
    bound.set(each["sw_if_index"] as number, each);
  }
  const interfaces: ObservedInterface[] = [];
  for await (const each of vpp.dump("sw_interface_dump", {})) {
    const index = each["sw_if_index"] as number;
    const tag = each["tag"] as string;
    const margay = bound.get(index);
    const endpoint = margay?.["bound"] ? margay["endpoint"] as number : NOBODY;
    interfaces.push({
      index, tag: tag.startsWith(TAG) ? tag : "", vppName: each["interface_name"] as string,
      kind: each["interface_dev_type"] as string, mac: String(each["l2_address"]),
      isUp: has(each["flags"], UP),
      mtu: (each["mtu"] as number[])[0]!, addresses: [], unnumbered: undefined, neighbours: [],
      enabled: margay?.["enabled"] === true,
      endpoint: endpoint === NOBODY ? undefined : endpoint,
    });
  }
  const ours = interfaces.filter(({ tag }) => tag !== "");
  for (const each of ours) {
    for (const isIp6 of [false, true]) {
      for await (const { prefix } of vpp.dump("ip_address_dump",
        { sw_if_index: each.index, is_ipv6: isIp6 })) {
        each.addresses.push(plainAddress(String(prefix)));
      }
    }
    for (const af of FAMILIES) {
      for await (const { neighbor } of vpp.dump("ip_neighbor_dump",
        { sw_if_index: each.index, af })) {
        const { flags, mac_address: mac, ip_address: address } = neighbor as Fields;
        if (!has(flags, STATIC)) continue;
        each.neighbours.push({ address: plainAddress(String(address)), mac: String(mac) });
      }
    }
  }
  const byIndex = new Map(ours.map((each) => [each.index, each]));
  for await (const each of vpp.dump("ip_unnumbered_dump", { sw_if_index: NOBODY })) {
    const borrower = byIndex.get(each["sw_if_index"] as number);
    if (borrower) borrower.unnumbered = each["ip_sw_if_index"] as number;
  }
  // What is borrowed is told as one's own.
  for (const each of ours) if (each.unnumbered !== undefined) each.addresses = [];
  const tables = await tablesOf(vpp);
  return { interfaces, tables, routes: await routesOf(vpp, tables) };
}

async function tablesOf(vpp: Asking): Promise<Observed["tables"]> {
  const tables: Observed["tables"] = [];
  for await (const { table } of vpp.dump("ip_table_dump", {})) {
    const { table_id: id, is_ip6: isIp6, name } = table as Fields;
    tables.push({ id: id as number, isIp6: isIp6 as boolean, name: name as string });
  }
  return tables;
}

/** Those that somebody asked for by the API: not what interfaces and neighbours bring. */
async function routesOf(vpp: Asking, tables: Observed["tables"]): Promise<ObservedRoute[]> {
  let source: number | undefined;
  for await (const { src } of vpp.dump("fib_source_dump", {})) {
    const { id, name } = src as Fields;
    if (name === "API") source = id as number;
  }
  if (source === undefined) throw new Error("VPP names no FIB source \"API\"");
  const routes: ObservedRoute[] = [];
  for (const { id, isIp6 } of tables) {
    const table = { table_id: id, is_ip6: isIp6, name: "" };
    for await (const { route } of vpp.dump("ip_route_v2_dump", { src: source, table })) {
      const { prefix, paths } = route as { prefix: string; paths: Fields[] };
      routes.push({
        table: id, prefix: canonicalPrefix(prefix),
        paths: paths.map((path) => ({
          via: viaOf(path, isIp6, canonicalPrefix(prefix)),
          interface: path["sw_if_index"] as number,
          isPlain: path["type"] === NORMAL || path["type"] === 0,
        })),
      });
    }
  }
  return routes;
}

/** Undefined where the path is attached: no next hop; a host's route tells the host itself. */
function viaOf(path: Fields, isIp6: boolean, prefix: string): string | undefined {
  const { address } = path["nh"] as { address: unknown };
  const text = plainAddress(typeof address === "string" ? address
    : String((address as Fields)[isIp6 ? "ip6" : "ip4"]));
  const isAttached = text === "0.0.0.0" || text === "::" || canonicalPrefix(text) === prefix;
  return isAttached ? undefined : text;
}

/** Flags come as names. */
function has(flags: unknown, name: string): boolean {
  return (flags as string[]).includes(name);
}

export function isLocal0({ index }: ObservedInterface): boolean {
  return index === LOCAL0;
}
