// Stage records: the plain objects of host/model to the bytes that the core's stage() reads.
// Formats and offsets: assembly/layout.ts.
import {
  BEGIN_BYTES, BEGIN_GENERATION, BIND_BYTES, BIND_ENDPOINT, BIND_INTERFACE, CONFIGURE_AFFINITY_MAX,
  CONFIGURE_BACKENDS_MAX, CONFIGURE_BYTES, CONFIGURE_CLASSES_MAX, CONFIGURE_ENDPOINTS_MAX,
  CONFIGURE_FRAGMENTS_MAX, CONFIGURE_GROUPS_MAX, CONFIGURE_MAGLEV_SEED, CONFIGURE_MEMBERS4_MAX,
  CONFIGURE_MEMBERS6_MAX, CONFIGURE_SEED0, CONFIGURE_SEED1, CONFIGURE_SERVICES_MAX,
  CONFIGURE_SESSIONS4_MAX, CONFIGURE_SESSIONS6_MAX, CONFIGURE_SETS_MAX, CONFIGURE_TIMEOUTS,
  CONFIGURE_WORKERS, ENDPOINTS_ADDRESSES, ENDPOINTS_BYTES, ENDPOINTS_CAPACITY, ENDPOINTS_FLAGS,
  ENDPOINTS_IPIP_HOSTS, ENDPOINTS_NAT_EXCLUDED, ENDPOINTS_NAT_SOURCES, ENDPOINTS_PODS,
  ENDPOINTS_ROUTES, ENDPOINTS_SERVICE_NETWORKS, ENDPOINTS_SNAT4, ENDPOINTS_SNAT6,
  ENDPOINTS_SNAT_FIRST, ENDPOINTS_SNAT_LAST, ENDPOINTS_VXLAN_HOSTS, ENDPOINTS_VXLAN_PORT,
  GenerationFlag, NO_ENDPOINT, ROUTE_BYTES, ROUTE_ENDPOINT, ROUTE_LENGTH, ROUTE_NETWORK, RecordKind,
} from "../../assembly/layout.ts";
import { record } from "../dataplane/record.ts";
import type { Budgets, Endpoint, Program, Route, Settings } from "../model/program.ts";
import { groupsMaxOf } from "./budgets.ts";
import {
  endpointStream, putAddress, putSnat, type SetNumber, type Slots,
} from "./endpointrecord.ts";
import { parseMember } from "./member.ts";

export { serviceRecords } from "./services.ts";

/** The first record of all. Sessions, endpoints, services: budgets for the dataplane's life. */
export function configureRecord(budgets: Budgets): Uint8Array {
  return record(RecordKind.Configure, CONFIGURE_BYTES, (body) => {
    body.setUint32(CONFIGURE_WORKERS, budgets.workers, true);
    body.setUint32(CONFIGURE_SESSIONS4_MAX, budgets.sessions4Max, true);
    body.setUint32(CONFIGURE_SESSIONS6_MAX, budgets.sessions6Max, true);
    body.setUint32(CONFIGURE_ENDPOINTS_MAX, budgets.endpointsMax, true);
    body.setUint32(CONFIGURE_SERVICES_MAX, budgets.servicesMax, true);
    body.setBigUint64(CONFIGURE_SEED0, budgets.seed0 ?? 0n, true);
    body.setBigUint64(CONFIGURE_SEED1, budgets.seed1 ?? 0n, true);
    body.setBigUint64(CONFIGURE_MAGLEV_SEED, budgets.maglevSeed ?? 0n, true);
    body.setUint32(CONFIGURE_SETS_MAX, budgets.setsMax ?? 0, true);
    body.setUint32(CONFIGURE_CLASSES_MAX, budgets.classesMax ?? 0, true);
    body.setUint32(CONFIGURE_MEMBERS4_MAX, budgets.members4Max ?? 0, true);
    body.setUint32(CONFIGURE_MEMBERS6_MAX, budgets.members6Max ?? 0, true);
    body.setUint32(CONFIGURE_GROUPS_MAX, groupsMaxOf(budgets), true);
    body.setUint32(CONFIGURE_BACKENDS_MAX, budgets.backendsMax ?? 0, true);
    body.setUint32(CONFIGURE_AFFINITY_MAX, budgets.affinityMax ?? 0, true);
    body.setUint32(CONFIGURE_FRAGMENTS_MAX, budgets.fragmentsMax ?? 0, true);
    budgets.timeoutsMs?.forEach((ms, i) => body.setUint32(CONFIGURE_TIMEOUTS + i * 4, ms, true));
  });
}

/** Binds an interface to an endpoint's index, or unbinds it. Takes effect at once. */
export function bindRecord(index: number, endpoint: number | undefined): Uint8Array {
  return record(RecordKind.Bind, BIND_BYTES, (body) => {
    body.setUint32(BIND_INTERFACE, index, true);
    body.setUint32(BIND_ENDPOINT, endpoint ?? NO_ENDPOINT, true);
  });
}

export function beginRecord(generation: number): Uint8Array {
  return record(RecordKind.Begin, BEGIN_BYTES, (body) => {
    body.setUint32(BEGIN_GENERATION, generation, true);
  });
}

/** What goes with the endpoint table. */
export interface Around extends Pick<Program, "routes" | "settings"> {
  set?: SetNumber;
}

/** A fresh endpoint table; the index is the position. `slots` names policies' slots. */
export function endpointRecords(
  endpoints: Endpoint[], slots: Slots, { routes = [], settings = {}, set = noSet }: Around = {},
): Uint8Array[] {
  const addresses = endpoints.reduce((sum, each) => sum + each.addresses.length, 0);
  const { snatAddresses = [] } = settings;
  const [first, last] = snatPortsOf(settings);
  const table = record(RecordKind.Endpoints, ENDPOINTS_BYTES, (body) => {
    body.setUint32(ENDPOINTS_CAPACITY, Math.max(endpoints.length, 1), true);
    body.setUint32(ENDPOINTS_ADDRESSES, addresses, true);
    body.setUint32(ENDPOINTS_ROUTES, routes.length, true);
    body.setUint32(ENDPOINTS_FLAGS, flagsOf(settings), true);
    body.setUint16(ENDPOINTS_VXLAN_PORT, settings.vxlanPort ?? VXLAN_PORT, true);
    for (const [name, at] of SETS) {
      const id = settings[name];
      if (id !== undefined) body.setUint16(at, set(id) + 1, true);
    }
    body.setUint16(ENDPOINTS_SNAT_FIRST, first, true);
    body.setUint16(ENDPOINTS_SNAT_LAST, last, true);
    putSnat(body, snatAddresses, ENDPOINTS_SNAT4, ENDPOINTS_SNAT6, "settings");
  });
  return [
    table,
    endpointStream(endpoints, slots, set),
    ...routeRecords(routes, endpoints),
  ];
}

const VXLAN_PORT = 4789;
/** Settings that name a set. */
const SETS = [
  ["vxlanHosts", ENDPOINTS_VXLAN_HOSTS], ["ipipHosts", ENDPOINTS_IPIP_HOSTS],
  ["podNetworks", ENDPOINTS_PODS], ["natSources", ENDPOINTS_NAT_SOURCES],
  ["natExcluded", ENDPOINTS_NAT_EXCLUDED], ["serviceNetworks", ENDPOINTS_SERVICE_NETWORKS],
] as const;
const noSet: SetNumber = (id) => {
  throw new Error(`no set has the id "${id}"`);
};

function flagsOf(settings: Settings): number {
  const toHost = {
    drop: 0, return: GenerationFlag.ToHostReturn, accept: GenerationFlag.ToHostAccept,
  };
  return toHost[settings.endpointToHost ?? "drop"] |
    (settings.allowVxlanFromWorkloads ? GenerationFlag.AllowVxlan : 0) |
    (settings.allowIpipFromWorkloads ? GenerationFlag.AllowIpip : 0) |
    (settings.masqueradeAll ? GenerationFlag.MasqueradeAll : 0) |
    (settings.rejectDenied ? GenerationFlag.RejectDenied : 0);
}

/** First and last; zeros take the core's defaults. */
function snatPortsOf({ snatPorts }: Settings): [number, number] {
  if (!snatPorts) return [0, 0];
  const [first, last] = snatPorts;
  const fits = (port: number): boolean => Number.isInteger(port) && port > 0 && port <= 0xffff;
  if (fits(first) && fits(last) && first <= last) return snatPorts;
  throw new Error(`settings: snatPorts: ${first} to ${last}: expected ports, the lower one first`);
}

/** Longest prefixes first: the core takes the first that holds an address. */
function routeRecords(routes: readonly Route[], endpoints: readonly Endpoint[]): Uint8Array[] {
  const each = routes.map(({ prefix, uplink }) => {
    const endpoint = endpoints.findIndex(({ name, kind }) => name === uplink && kind === "uplink");
    if (endpoint < 0) throw new Error(`route ${prefix}: no uplink is named "${uplink}"`);
    const { family, length, words } = parseMember(prefix, "net");
    return { family, words: words.slice(), length: family === 4 ? length + 96 : length, endpoint };
  });
  return each.sort((a, b) => b.length - a.length).map(({ family, words, length, endpoint }) =>
    record(RecordKind.Route, ROUTE_BYTES, (body) => {
      putAddress(body, ROUTE_NETWORK, family, words);
      body.setUint32(ROUTE_LENGTH, length, true);
      body.setUint32(ROUTE_ENDPOINT, endpoint, true);
    }));
}
