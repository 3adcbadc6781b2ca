// Flows of a random node, and packets near them: most of what is asked must be near what rules
// name, or nothing but defaults would ever decide.
import { addressBytes, familyOf } from "../../host/model/address.ts";
import { packet, type Spec } from "../packets.ts";
import type { Random } from "./random.ts";

export interface Flow {
  /** Name of the interface that it comes in at. */
  interface: string;
  from: string;
  to: string;
  protocol: number;
  sourcePort: number;
  port: number;
  icmp: { type: number; code: number };
}
export const PORTED = [6, 17, 132];
/** Few ports, so that rules and packets meet; well-known ones are failsafes. */
export const PORTS = [22, 53, 80, 443, 5432, 6443, 8080, 8081, 30080];
export const SOURCE_PORTS = [53, 179, 1024, 40000, 40001, 65535];
const OTHERS = [2, 47, 50, 89, 136, 255];
const ICMPS: [number, number][] = [[8, 0], [8, 0], [3, 4], [0, 0], [11, 0], [13, 0]];
const ICMPS6: [number, number][] =
  [[128, 0], [128, 0], [1, 3], [129, 0], [137, 0], [143, 0], [135, 0]];

/** An address, and where packets from it come in. */
export interface Place {
  interface: string;
  address: string;
}

export function randomFlow(random: Random, sources: Place[], targets: string[]): Flow {
  const source = random.pick(sources);
  const family = familyOf(source.address);
  const to = random.pick(targets.filter((each) => familyOf(each) === family));
  const kind = random.weighted({ tcp: 40, udp: 20, sctp: 12, icmp: 23, other: 5 });
  const protocol = { tcp: 6, udp: 17, sctp: 132, icmp: family === 4 ? 1 : 58, other: 0 }[kind];
  const [type, code] = random.pick(family === 4 ? ICMPS : ICMPS6);
  return {
    interface: source.interface, from: source.address, to,
    protocol: protocol || random.pick(OTHERS),
    sourcePort: random.pick(SOURCE_PORTS), port: random.pick(PORTS), icmp: { type, code },
  };
}

/** The same flow but for one thing, so that a rule just fails or just holds. */
export function nearFlow(
  random: Random, flow: Flow, sources: Place[], targets: string[],
): Flow {
  const family = familyOf(flow.from);
  const like = <T>(list: T[], address: (each: T) => string): T[] =>
    list.filter((each) => familyOf(address(each)) === family);
  const ports = PORTED.includes(flow.protocol) ? 3 : 0;
  const icmp = flow.protocol === (family === 4 ? 1 : 58) ? 6 : 0;
  const weights = { source: 3, to: 3, protocol: 2, sourcePort: ports, port: ports, icmp };
  switch (random.weighted(weights)) {
    case "source": {
      const { interface: at, address } = random.pick(like(sources, (each) => each.address));
      return { ...flow, interface: at, from: address };
    }
    case "to": return { ...flow, to: random.pick(like(targets, (each) => each)) };
    case "protocol": return { ...flow, protocol: random.pick([6, 17, 132, family === 4 ? 1 : 58]) };
    case "sourcePort": {
      return { ...flow, sourcePort: random.pick([...SOURCE_PORTS, flow.sourcePort ^ 1]) };
    }
    case "port": return { ...flow, port: random.pick([...PORTS, flow.port ^ 1]) };
    case "icmp": {
      const [type, code] = random.pick(family === 4 ? ICMPS : ICMPS6);
      return { ...flow, icmp: { type, code: random.chance(0.7) ? code : code ^ 1 } };
    }
  }
}

/** The packet that opens a flow, plainly. */
export function specOf(flow: Flow): Spec {
  const { from, to, protocol, sourcePort, port, icmp } = flow;
  const isIcmp = protocol === (familyOf(from) === 4 ? 1 : 58);
  return {
    from, to, protocol, sourcePort, port, payload: 8,
    ...(isIcmp ? { icmpType: icmp.type, icmpCode: icmp.code } : {}),
  };
}

/** What headers may bear without being any less a packet: options, extensions, a fragment. */
export function dressed(random: Random, spec: Spec): Spec {
  const out: Spec = { ...spec };
  if (familyOf(spec.from) === 4) {
    if (random.chance(0.15)) {
      out.options = new Uint8Array(4 * random.between(1, 10)).fill(1);
      // a record route, padding, a loose source route: RFC 791
      if (out.options.length > 12 && random.chance(0.2)) {
        out.options.set([7, 7, 4, 0, 0, 0, 0, 1, random.chance(0.5) ? 131 : 137, 3, 4]);
      }
    }
  } else if (random.chance(0.25)) {
    const options = (): { number: number; body: Uint8Array } => {
      const body = new Uint8Array(7 + 8 * random.below(2));
      body[0] = (body.length - 7) / 8;
      body.set([1, body.length - 3], 1); // PadN over what is left
      return { number: 60, body };
    };
    out.extensions = Array.from({ length: random.between(1, 2) }, options);
    if (random.chance(0.4)) out.extensions[0]!.number = 0;
    // A route of another type than 0 is the end host's matter.
    if (random.chance(0.2)) {
      const type = random.pick([2, 4]);
      out.extensions.push({ number: 43, body: Uint8Array.of(0, type, 0, 0, 0, 0, 0) });
    }
    if (random.chance(0.2)) {
      out.extensions.push({ number: 51, body: Uint8Array.of(1, ...new Array<number>(10).fill(0)) });
    }
  }
  if (random.chance(0.04)) out.fragment = { offset: 0, more: random.chance(0.7) };
  if (spec.protocol === 6 && random.chance(0.1)) out.flags = random.pick(["A", "PA", "FA"]);
  return out;
}

// ---- Faults: one a packet
// ------------------------------------------------------------------------

type Fault = (random: Random, flow: Flow) => { interface?: string; bytes: Uint8Array };
const l4Of = (bytes: Uint8Array): number => (bytes[0]! >> 4 === 4 ? (bytes[0]! & 15) * 4 : 40);
const tcp = (flow: Flow): Flow => ({ ...flow, protocol: 6 });
const family = (flow: Flow): 4 | 6 => familyOf(flow.from);

/** By the reason that each is made for; a packet may meet another one before. */
export const FAULTS: Record<string, Fault> = {
  UnknownEndpoint: (_, flow) => ({ interface: "nobody0", bytes: packet(specOf(flow)) }),
  Truncated: (random, flow) => {
    const bytes = packet({ ...specOf(tcp(flow)), payload: 0 });
    const l4 = l4Of(bytes);
    if (random.chance(0.5)) return { bytes: bytes.slice(0, random.below(l4)) };
    return { bytes: resized(bytes.slice(0, l4 + random.below(20))) };
  },
  BadVersion: (random, flow) => {
    const bytes = packet(specOf(flow));
    bytes[0] = (random.pick([0, 5, 7, 15]) << 4) | (bytes[0]! & 15);
    return { bytes };
  },
  BadHeaderLength: (random, flow) => {
    const bytes = packet(specOf(tcp(flow)));
    const l4 = l4Of(bytes);
    bytes[l4 + 12] = random.pick([0, 4, 15]) << 4;
    return { bytes };
  },
  BadTotalLength: (_, flow) => ({ bytes: packet(specOf(flow)).slice(0, -1) }),
  BadChecksum: (random, flow) => {
    const bytes = packet(specOf(flow));
    if (family(flow) === 4) bytes[10 + random.below(2)]! ^= 1 << random.below(8);
    return { bytes };
  },
  TimeExpired: (_, flow) => ({ bytes: packet({ ...specOf(flow), ttl: 0 }) }),
  // Of a datagram whose first part never came.
  LaterFragment: (random, flow) => ({
    bytes: packet({
      ...specOf(flow), fragment: {
        offset: random.between(1, 8191), more: random.chance(0.5),
        identification: random.between(0x2000, 0xffff),
      },
    }),
  }),
  TinyFragment: (random, flow) => {
    const bytes = packet({ ...specOf(tcp(flow)), fragment: { offset: 0, more: true } });
    const l4 = family(flow) === 4 ? 20 : 48;
    return { bytes: resized(bytes.slice(0, l4 + 8 * random.below(2))) };
  },
  ExtensionHeader: (_, flow) => {
    const extensions = Array.from({ length: 9 }, () => ({ number: 60, body: new Uint8Array(7) }));
    return { bytes: packet({ ...specOf(flow), ...(family(flow) === 6 ? { extensions } : {}) }) };
  },
  RoutingHeader: (random, flow) => {
    const body = new Uint8Array(23);
    body.set([2, 0, random.below(2)]);
    const extensions = [{ number: 43, body }];
    return { bytes: packet({ ...specOf(flow), ...(family(flow) === 6 ? { extensions } : {}) }) };
  },
  HeadersTooLong: (random, flow) => {
    const body = new Uint8Array(79 + 8 * random.below(20));
    body[0] = (body.length - 7) / 8;
    const extensions = [{ number: 60, body }];
    return { bytes: packet({ ...specOf(flow), ...(family(flow) === 6 ? { extensions } : {}) }) };
  },
  MappedAddress: (random, flow) => {
    const bytes = packet(specOf(flow));
    if (family(flow) === 6) bytes.set(addressBytes("10.65.0.1"), random.pick([8, 24]));
    return { bytes };
  },
  BadTcpFlags: (random, flow) => ({
    bytes: packet({ ...specOf(tcp(flow)), flags: random.pick(["", "SF", "SR", "FR", "P"]) }),
  }),
  NoSession: (random, flow) => ({
    bytes: packet({ ...specOf(tcp(flow)), flags: random.pick(["R", "RA", "SA"]) }),
  }),
  SpoofedSource: (random, flow) => {
    const six = family(flow) === 6;
    const from = six ? "fd00:66::1" : `10.65.0.${random.between(1, 9)}`;
    if (from === flow.to) return { bytes: packet({ ...specOf(flow), from: "10.65.0.10" }) };
    return { bytes: packet({ ...specOf(flow), from }) };
  },
  NeighbourDiscovery: (random, flow) => {
    const icmpType = random.between(130, 136);
    const hops = icmpType < 133 ? 1 : 255;
    const from = random.pick(["fe80::1", "::"]);
    const ttl = random.chance(0.85) ? hops : 64;
    const to = random.pick(["ff02::1", "fe80::2"]);
    return { bytes: packet({ from, to, protocol: 58, icmpType, ttl }) };
  },
};

/** Makes the packet's length fields and the IPv4 checksum agree with its bytes. */
function resized(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer);
  if (bytes[0]! >> 4 === 6) {
    view.setUint16(4, bytes.length - 40);
    return bytes;
  }
  view.setUint16(2, bytes.length);
  view.setUint16(10, 0);
  let sum = 0;
  for (let at = 0; at < l4Of(bytes); at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(10, ~sum & 0xffff);
  return bytes;
}
