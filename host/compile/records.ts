// Stage records: the plain objects of host/model to the bytes that the core's stage() reads.
// Formats and offsets: assembly/layout.ts.
import {
  BACKEND_ADDRESS, BACKEND_BYTES, BACKEND_ID, BACKEND_PORT, BACKEND_WEIGHT, BEGIN_BYTES,
  BEGIN_GENERATION, BIND_BYTES, BIND_ENDPOINT, BIND_INTERFACE, CONFIGURE_BYTES,
  CONFIGURE_ENDPOINTS_MAX, CONFIGURE_MAGLEV_SEED, CONFIGURE_SEED0, CONFIGURE_SEED1,
  CONFIGURE_SERVICES_MAX, CONFIGURE_SESSIONS4_MAX, CONFIGURE_SESSIONS6_MAX, CONFIGURE_TIMEOUTS,
  CONFIGURE_WORKERS, ADDRESS_ADDRESS, ADDRESS_BYTES, ADDRESS_ENDPOINT, ENDPOINTS_ADDRESSES,
  ENDPOINTS_BYTES, ENDPOINTS_CAPACITY, ENDPOINT_ADDRESS4, ENDPOINT_ADDRESS6, ENDPOINT_BYTES,
  ENDPOINT_EGRESS_SLOT, ENDPOINT_INCARNATION, ENDPOINT_INDEX, ENDPOINT_INGRESS_SLOT, ENDPOINT_KIND,
  EndpointKind, NO_ENDPOINT, RecordKind,
  SERVICES_BYTES, SERVICES_CAPACITY, SERVICE_ADDRESS, SERVICE_BACKEND, SERVICE_BACKENDS,
  SERVICE_PORT, SERVICE_PROTOCOL, SERVICE_SLOTS,
} from "../../assembly/layout.ts";
import { putBytes, record } from "../dataplane/record.ts";
import { addressBytes, isMapped } from "../model/address.ts";
import { protocolNumber, type Budgets, type Endpoint, type Service } from "../model/program.ts";

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

/** A fresh endpoint table; the index is the position. `slots` names policies' slots. */
export function endpointRecords(
  endpoints: Endpoint[], slots: ReadonlyMap<string, number>,
): Uint8Array[] {
  const addresses = endpoints.reduce((sum, each) => sum + each.addresses.length, 0);
  const table = record(RecordKind.Endpoints, ENDPOINTS_BYTES, (body) => {
    body.setUint32(ENDPOINTS_CAPACITY, Math.max(endpoints.length, 1), true);
    body.setUint32(ENDPOINTS_ADDRESSES, addresses, true);
  });
  return [table, ...endpoints.flatMap((endpoint, i) => endpointRecord(endpoint, i, slots))];
}

function endpointRecord(
  endpoint: Endpoint, index: number, slots: ReadonlyMap<string, number>,
): Uint8Array[] {
  const slotOf = (policy: string | undefined, side: string): number => {
    if (policy === undefined) return 0;
    const slot = slots.get(policy);
    if (slot === undefined) {
      throw new Error(`endpoint ${endpoint.name}: ${side}: no policy is named "${policy}"`);
    }
    return slot;
  };
  const all = endpoint.addresses.map(addressBytes);
  const own4 = all.find(isMapped);
  const own6 = all.find((each) => !isMapped(each));
  const first = record(RecordKind.Endpoint, ENDPOINT_BYTES, (body) => {
    body.setUint32(ENDPOINT_INDEX, index, true);
    body.setUint16(ENDPOINT_INCARNATION, endpoint.incarnation ?? 0, true);
    const kind = endpoint.kind === "uplink" ? EndpointKind.Uplink : EndpointKind.Workload;
    body.setUint8(ENDPOINT_KIND, kind);
    body.setUint16(ENDPOINT_EGRESS_SLOT, slotOf(endpoint.egress, "egress"), true);
    body.setUint16(ENDPOINT_INGRESS_SLOT, slotOf(endpoint.ingress, "ingress"), true);
    if (own4) putBytes(body, ENDPOINT_ADDRESS4, own4.subarray(12));
    if (own6) putBytes(body, ENDPOINT_ADDRESS6, own6);
  });
  const further = all.filter((each) => each !== own4 && each !== own6);
  return [first, ...further.map((address) => addressRecord(address, index))];
}

function addressRecord(address: Uint8Array, endpoint: number): Uint8Array {
  return record(RecordKind.Address, ADDRESS_BYTES, (body) => {
    putBytes(body, ADDRESS_ADDRESS, address);
    body.setUint32(ADDRESS_ENDPOINT, endpoint, true);
  });
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
