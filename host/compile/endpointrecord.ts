// Stage records of endpoints and of the further addresses that they own. All go into one buffer,
// without an object a record: the whole table is told with every push. Formats:
// assembly/formats.ts, "Endpoint", "Address".
import {
  ADDRESS_ADDRESS, ADDRESS_BYTES, ADDRESS_ENDPOINT, ENDPOINT_ADDRESS4, ENDPOINT_ADDRESS6,
  ENDPOINT_ALLOWED_SOURCES, ENDPOINT_BYTES, ENDPOINT_FLAGS, ENDPOINT_HOOKS, ENDPOINT_INCARNATION,
  ENDPOINT_INDEX, ENDPOINT_KIND, EndpointKind, RECORD_HEADER_BYTES, RecordKind,
} from "../../assembly/layout.ts";
import type { Endpoint, Hooks } from "../model/program.ts";
import { parseMember } from "./member.ts";

export type Slots = ReadonlyMap<string, number>;
/** Number of a set of addresses. Throws where there is none of the id. */
export type SetNumber = (id: string) => number;

const KINDS = {
  workload: EndpointKind.Workload, uplink: EndpointKind.Uplink, host: EndpointKind.Host,
};
/** Names of Hooks in the order of enum Hook. */
export const HOOK_NAMES: readonly (keyof Hooks)[] = [
  "egress", "ingress", "stagedEgress", "stagedIngress", "forwardEgress", "forwardIngress",
  "untrackedEgress", "untrackedIngress", "preDnat",
];

/** Records of all endpoints; the index is the position, a nameless place is vacant. */
export function endpointStream(
  endpoints: readonly Endpoint[], slots: Slots, set: SetNumber,
): Uint8Array {
  const addresses = endpoints.reduce((sum, each) => sum + each.addresses.length, 0);
  const most = endpoints.length * (RECORD_HEADER_BYTES + ENDPOINT_BYTES) +
    addresses * (RECORD_HEADER_BYTES + ADDRESS_BYTES);
  const out = new Writer(most);
  for (let index = 0; index < endpoints.length; index++) {
    const endpoint = endpoints[index]!;
    if (endpoint.name !== "") putEndpoint(out, endpoint, index, slots, set);
  }
  return out.written;
}

class Writer {
  readonly view: DataView;
  private at = 0;
  private readonly bytes: Uint8Array;

  constructor(most: number) {
    this.bytes = new Uint8Array(most);
    this.view = new DataView(this.bytes.buffer);
  }
  get written(): Uint8Array {
    return this.bytes.subarray(0, this.at);
  }
  /** Begins a record whose length is a multiple of 8; returns where its body lies. */
  begin(kind: RecordKind, bytes: number): number {
    this.view.setUint16(this.at, kind, true);
    this.view.setUint32(this.at + 4, bytes, true);
    const body = this.at + RECORD_HEADER_BYTES;
    this.at = body + bytes;
    return body;
  }
}

function putEndpoint(
  out: Writer, endpoint: Endpoint, index: number, slots: Slots, set: SetNumber,
): void {
  const { view } = out;
  const body = out.begin(RecordKind.Endpoint, ENDPOINT_BYTES);
  view.setUint32(body + ENDPOINT_INDEX, index, true);
  view.setUint16(body + ENDPOINT_INCARNATION, endpoint.incarnation ?? 0, true);
  view.setUint8(body + ENDPOINT_KIND, KINDS[endpoint.kind]);
  view.setUint8(body + ENDPOINT_FLAGS, endpoint.active === false ? 1 : 0);
  for (let i = 0; i < HOOK_NAMES.length; i++) {
    const hook = HOOK_NAMES[i]!;
    const policy = endpoint[hook];
    if (policy === undefined) continue;
    const slot = slots.get(policy);
    if (slot === undefined) {
      throw new Error(`endpoint ${endpoint.name}: ${hook}: no policy is named "${policy}"`);
    }
    view.setUint16(body + ENDPOINT_HOOKS + i * 2, slot, true);
  }
  const { allowedSources } = endpoint;
  if (allowedSources !== undefined) {
    view.setUint16(body + ENDPOINT_ALLOWED_SOURCES, set(allowedSources) + 1, true);
  }
  putAddresses(out, endpoint, index, body);
}

/** The first of each family goes into the endpoint's own record. */
function putAddresses(out: Writer, { addresses }: Endpoint, index: number, body: number): void {
  const { view } = out;
  let has4 = false, has6 = false;
  for (const text of addresses) {
    const { family, words } = parseMember(text, "net");
    if (family === 4 && !has4) {
      view.setInt32(body + ENDPOINT_ADDRESS4, words[0]!);
      has4 = true;
    } else if (family === 6 && !has6) {
      for (let i = 0; i < 4; i++) view.setInt32(body + ENDPOINT_ADDRESS6 + i * 4, words[i]!);
      has6 = true;
    } else {
      const further = out.begin(RecordKind.Address, ADDRESS_BYTES);
      putAddress(view, further + ADDRESS_ADDRESS, family, words);
      view.setUint32(further + ADDRESS_ENDPOINT, index, true);
    }
  }
}

/** 16 bytes, wire order, IPv4 as ::ffff:a.b.c.d. */
export function putAddress(view: DataView, at: number, family: 4 | 6, words: Int32Array): void {
  if (family === 4) {
    view.setUint16(at + 10, 0xffff);
    view.setInt32(at + 12, words[0]!);
  } else {
    for (let i = 0; i < 4; i++) view.setInt32(at + i * 4, words[i]!);
  }
}
