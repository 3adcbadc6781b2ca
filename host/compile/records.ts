// Stage records: the plain objects of host/model to the bytes that the core's stage() reads.
// Formats and offsets: assembly/layout.ts.
import {
  BACKEND_ADDRESS, BACKEND_BYTES, BACKEND_ID, BACKEND_PORT, BACKEND_WEIGHT, BEGIN_BYTES,
  BEGIN_GENERATION, BIND_BYTES, BIND_ENDPOINT, BIND_INTERFACE, CONFIGURE_BYTES,
  CONFIGURE_CLASSES_MAX, CONFIGURE_ENDPOINTS_MAX, CONFIGURE_MAGLEV_SEED, CONFIGURE_MEMBERS4_MAX,
  CONFIGURE_MEMBERS6_MAX, CONFIGURE_SEED0, CONFIGURE_SEED1, CONFIGURE_SERVICES_MAX,
  CONFIGURE_SESSIONS4_MAX, CONFIGURE_SESSIONS6_MAX, CONFIGURE_SETS_MAX, CONFIGURE_TIMEOUTS,
  CONFIGURE_WORKERS, ENDPOINTS_ADDRESSES, ENDPOINTS_BYTES, ENDPOINTS_CAPACITY, ENDPOINTS_FLAGS,
  ENDPOINTS_IPIP_HOSTS, ENDPOINTS_ROUTES, ENDPOINTS_VXLAN_HOSTS, ENDPOINTS_VXLAN_PORT,
  GenerationFlag, NO_ENDPOINT, ROUTE_BYTES, ROUTE_ENDPOINT, ROUTE_LENGTH, ROUTE_NETWORK, RecordKind,
  SERVICES_BYTES, SERVICES_CAPACITY, SERVICE_ADDRESS, SERVICE_BACKEND, SERVICE_BACKENDS,
  SERVICE_PORT, SERVICE_PROTOCOL, SERVICE_SLOTS,
} from "../../assembly/layout.ts";
import { putBytes, record } from "../dataplane/record.ts";
import { addressBytes } from "../model/address.ts";
import {
  protocolNumber, type Budgets, type Endpoint, type Program, type Route, type Service,
  type Settings,
} from "../model/program.ts";
import { endpointStream, putAddress, type SetNumber, type Slots } from "./endpointrecord.ts";
import { parseMember } from "./member.ts";

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
    body.setUint32(CONFIGURE_SETS_MAX, budgets.setsMax ?? 0, true);
    body.setUint32(CONFIGURE_CLASSES_MAX, budgets.classesMax ?? 0, true);
    body.setUint32(CONFIGURE_MEMBERS4_MAX, budgets.members4Max ?? 0, true);
    body.setUint32(CONFIGURE_MEMBERS6_MAX, budgets.members6Max ?? 0, true);
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
  const hostsOf = (id: string | undefined): number => (id === undefined ? 0 : set(id) + 1);
  const table = record(RecordKind.Endpoints, ENDPOINTS_BYTES, (body) => {
    body.setUint32(ENDPOINTS_CAPACITY, Math.max(endpoints.length, 1), true);
    body.setUint32(ENDPOINTS_ADDRESSES, addresses, true);
    body.setUint32(ENDPOINTS_ROUTES, routes.length, true);
    body.setUint32(ENDPOINTS_FLAGS, flagsOf(settings), true);
    body.setUint16(ENDPOINTS_VXLAN_PORT, settings.vxlanPort ?? VXLAN_PORT, true);
    body.setUint16(ENDPOINTS_VXLAN_HOSTS, hostsOf(settings.vxlanHosts), true);
    body.setUint16(ENDPOINTS_IPIP_HOSTS, hostsOf(settings.ipipHosts), true);
  });
  return [
    table,
    endpointStream(endpoints, slots, set),
    ...routeRecords(routes, endpoints),
  ];
}

const VXLAN_PORT = 4789;
const noSet: SetNumber = (id) => {
  throw new Error(`no set has the id "${id}"`);
};

function flagsOf(settings: Settings): number {
  const toHost = {
    drop: 0, return: GenerationFlag.ToHostReturn, accept: GenerationFlag.ToHostAccept,
  };
  return toHost[settings.endpointToHost ?? "drop"] |
    (settings.allowVxlanFromWorkloads ? GenerationFlag.AllowVxlan : 0) |
    (settings.allowIpipFromWorkloads ? GenerationFlag.AllowIpip : 0);
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

/** A fresh service table. Backend ids count through all services, in order. */
export function serviceRecords(services: Service[]): Uint8Array[] {
  const table = record(RecordKind.Services, SERVICES_BYTES, (body) => {
    body.setUint32(SERVICES_CAPACITY, services.length, true);
  });
  let id = 0;
  const each = services.map((service) => {
    const from = id;
    id += service.backends.length;
    return serviceRecord(service, from);
  });
  return [table, ...each];
}

function serviceRecord(service: Service, firstId: number): Uint8Array {
  const bytes = SERVICE_BACKEND + service.backends.length * BACKEND_BYTES;
  return record(RecordKind.Service, bytes, (body) => {
    putBytes(body, SERVICE_ADDRESS, addressBytes(service.address));
    body.setUint16(SERVICE_PORT, service.port, true);
    body.setUint8(SERVICE_PROTOCOL, protocolNumber(service.protocol));
    body.setUint32(SERVICE_SLOTS, service.maglevSlots ?? 0, true);
    body.setUint32(SERVICE_BACKENDS, service.backends.length, true);
    service.backends.forEach((backend, i) => {
      const at = SERVICE_BACKEND + i * BACKEND_BYTES;
      putBytes(body, at + BACKEND_ADDRESS, addressBytes(backend.address));
      body.setUint16(at + BACKEND_PORT, backend.port, true);
      body.setUint16(at + BACKEND_WEIGHT, backend.weight ?? 1, true);
      body.setUint32(at + BACKEND_ID, firstId + i, true);
    });
  });
}
