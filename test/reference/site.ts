// What one node is told, all of it: policies and endpoints as a state, and what Services and NAT
// need beside them, in plain lists. The slow twins read it as it stands; nothing is compiled.
import { addressBytes, addressNumber } from "../../host/model/address.ts";
import type { Service } from "../../host/model/program.ts";
import { protocolNumber } from "../../host/model/rule.ts";
import type { NodeDevices, NodeState } from "../../host/model/state.ts";
import { inPrefix, type Question } from "./rule.ts";

export interface Site {
  state: NodeState;
  devices: NodeDevices;
  /** Frontends; the state's own list is empty. */
  services: Service[];
  /** Prefixes by the id that a Service's sourceRanges names. */
  ranges: Map<string, string[]>;
  /** Networks of pods, of natOutgoing, of Services; absent: not known. */
  pods?: string[];
  natSources?: string[];
  natExcluded?: string[];
  serviceNetworks?: string[];
  masqueradeAll: boolean;
  rejectDenied: boolean;
  snatAddresses: string[];
  snatPorts: [number, number];
  /** By name of the uplink. */
  uplinks: Map<string, { snatAddresses: string[]; peer: boolean }>;
  /** The other nodes' names. */
  peers: string[];
}

export function isIn(prefixes: string[] | undefined, family: 4 | 6, address: bigint): boolean {
  return !!prefixes?.some((text) => inPrefix(text, family, address));
}
const numbers = new Map<string, bigint>();
/** An address as a number, IPv4 under ::ffff:0:0/96. */
export function numberOf(text: string): bigint {
  let known = numbers.get(text);
  if (known === undefined) numbers.set(text, known = addressNumber(addressBytes(text)));
  return known;
}
/** Its bytes in a packet: 4 or 16. */
export function wireOf(address: bigint, family: 4 | 6): Uint8Array {
  const bytes = Uint8Array.from({ length: family === 4 ? 4 : 16 }, () => 0);
  for (let i = bytes.length - 1, rest = address; i >= 0; i--, rest >>= 8n) {
    bytes[i] = Number(rest & 0xffn);
  }
  return bytes;
}
export function isOfFamily(text: string, family: 4 | 6): boolean {
  return text.includes(":") === (family === 6);
}

/** A frontend's place: equal for what replaces it. */
export function keyOfService({ address, port, protocol }: Service): string {
  return `${numberOf(address)} ${port} ${protocolNumber(protocol)}`;
}
/** The frontend that a packet is sent to. */
export function serviceAt(
  site: Site, { destination, port, protocol }: Question,
): Service | undefined {
  return site.services.find((each) => numberOf(each.address) === destination &&
    each.port === (port ?? 0) && protocolNumber(each.protocol) === protocol);
}
/** The frontend that stands for the rest of an address. */
export function wildcardAt(site: Site, { destination }: Question): Service | undefined {
  return site.services.find((each) => numberOf(each.address) === destination &&
    each.port === 0 && protocolNumber(each.protocol) === 0);
}
