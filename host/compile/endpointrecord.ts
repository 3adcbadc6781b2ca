// Stage records of endpoints and of the further addresses that they own. All go into one buffer,
// without an object a record: the whole table is told with every push. Formats:
// assembly/formats.ts, "Endpoint", "Address".
import {
  ADDRESS_ADDRESS, ADDRESS_BYTES, ADDRESS_ENDPOINT, ENDPOINT_ADDRESS4, ENDPOINT_ADDRESS6,
  ENDPOINT_ALLOWED_SOURCES, ENDPOINT_BYTES, ENDPOINT_FLAGS, ENDPOINT_HOOKS, ENDPOINT_INCARNATION,
  ENDPOINT_INDEX, ENDPOINT_KIND, EndpointFlag, EndpointKind, RECORD_HEADER_BYTES, RecordKind,
} from "../../assembly/layout.ts";
import { RecordWriter } from "../dataplane/record.ts";
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
  const out = new RecordWriter(most);
  for (let index = 0; index < endpoints.length; index++) {
    const endpoint = endpoints[index]!;
    if (endpoint.name !== "") putEndpoint(out, endpoint, index, slots, set);
  }
  return out.written;
}

function putEndpoint(
  out: RecordWriter, endpoint: Endpoint, index: number, slots: Slots, set: SetNumber,
): void {
  const { view } = out;
  const body = out.begin(RecordKind.Endpoint, ENDPOINT_BYTES);
  view.setUint32(body + ENDPOINT_INDEX, index, true);
  view.setUint16(body + ENDPOINT_INCARNATION, endpoint.incarnation ?? 0, true);
  view.setUint8(body + ENDPOINT_KIND, KINDS[endpoint.kind]);
  view.setUint8(body + ENDPOINT_FLAGS, flagsOf(endpoint));
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

function flagsOf({ active, peer, kind, name }: Endpoint): number {
  if (peer && kind !== "uplink") throw new Error(`endpoint ${name}: peer: it is no uplink`);
  return (active === false ? EndpointFlag.Inactive : 0) | (peer ? EndpointFlag.Peer : 0);
}

/**
 * The first of each family goes into the endpoint's own record; of an uplink, whose record bears
 * what SNAT puts in, none does.
 */
function putAddresses(out: RecordWriter, endpoint: Endpoint, index: number, body: number): void {
  const { name, kind, addresses, snatAddresses = [] } = endpoint;
  const { view } = out;
  const own = { 4: kind === "uplink", 6: kind === "uplink" };
  if (snatAddresses.length) {
    if (kind !== "uplink") throw new Error(`endpoint ${name}: snatAddresses: it is no uplink`);
    putSnat(view, snatAddresses, body + ENDPOINT_ADDRESS4, body + ENDPOINT_ADDRESS6, name);
  }
  for (const text of addresses) {
    const { family, words } = parseMember(text, "net");
    if (!own[family]) {
      putWords(view, body + (family === 4 ? ENDPOINT_ADDRESS4 : ENDPOINT_ADDRESS6), family, words);
      own[family] = true;
    } else {
      const further = out.begin(RecordKind.Address, ADDRESS_BYTES);
      putAddress(view, further + ADDRESS_ADDRESS, family, words);
      view.setUint32(further + ADDRESS_ENDPOINT, index, true);
    }
  }
}

/** What SNAT puts in as source: at most one address of each family, 4 and 16 bytes. */
export function putSnat(
  view: DataView, addresses: readonly string[], at4: number, at6: number, who: string,
): void {
  const has = { 4: false, 6: false };
  for (const text of addresses) {
    const { family, length, words } = parseMember(text, "net");
    const used = words.subarray(0, family === 4 ? 1 : 4);
    if (length !== used.length * 32 || used.every((word) => word === 0)) {
      throw new Error(`${who}: snatAddresses: "${text}" is no address of a node`);
    }
    if (has[family]) throw new Error(`${who}: snatAddresses: "${text}": a second of its family`);
    has[family] = true;
    putWords(view, family === 4 ? at4 : at6, family, words);
  }
}

function putWords(
  view: DataView, at: number, family: 4 | 6, words: ArrayLike<number>,
): void {
  for (let i = 0; i < (family === 4 ? 1 : 4); i++) view.setInt32(at + i * 4, words[i]!);
}

/** 16 bytes, wire order, IPv4 as ::ffff:a.b.c.d. */
export function putAddress(
  view: DataView, at: number, family: 4 | 6, words: ArrayLike<number>,
): void {
  if (family === 4) view.setUint16(at + 10, 0xffff);
  putWords(view, family === 4 ? at + 12 : at, family, words);
}
