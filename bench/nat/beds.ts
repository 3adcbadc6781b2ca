// What the rows are measured on: clients behind an uplink, a VIP, ten backends; by flows, by rules
// that the backends' policy has, by members of the set that a rule asks for, by Services.
import type {
  AddressSet, Endpoint, Program, ProgramRule, Service,
} from "../../host/model/program.ts";
import { place, TCP, UDP, type FlowPacket } from "./frames.ts";
import type { BedSpec, Traffic } from "./rows.ts";

export const UPLINK = 1;
const BACKENDS = 10;
const SETS = 64, SETS_OF_SOURCE = 8;
type Family = 4 | 6;

const vip = (family: Family): string => (family === 4 ? "10.96.0.10" : "fd00:96::10");
const pods = (family: Family, ingress?: string): Endpoint[] =>
  Array.from({ length: BACKENDS }, (_, i): Endpoint => ({
    name: `backend-${i}`, kind: "workload", interfaces: [2 + i],
    addresses: [family === 4 ? `10.1.0.${i + 1}` : `fd00:1::${(i + 1).toString(16)}`],
    ...(ingress === undefined ? {} : { ingress }),
  }));
const uplink: Endpoint = { name: "uplink", kind: "uplink", interfaces: [UPLINK], addresses: [] };

/** One Service, ten pods; every pod has the policy where there is one. */
export function oneService(
  family: Family, protocol: "tcp" | "udp", rules?: ProgramRule[], sets: AddressSet[] = [],
): Program {
  const backends = pods(family, rules && "p");
  const service: Service = {
    name: "vip", address: vip(family), port: 80, protocol,
    backends: backends.map(({ name, addresses }) => ({ name, address: addresses[0]!, port: 8080 })),
  };
  const policies = rules ? [{ name: "p", rules }] : [];
  return { endpoints: [uplink, ...backends], services: [service], policies, sets };
}

/** Clients of 198.18.0.0/15 or 2001:db8::/96, eight ports and more. */
export function clients(
  name: string, family: Family, flows: number, protocol: typeof TCP | typeof UDP = UDP,
): Traffic {
  const packet: FlowPacket = {
    source: place(family === 4 ? "198.18.0.0" : "2001:db8::"), destination: place(vip(family)),
    sourcePort: 0, port: 80,
  };
  const view = new DataView(packet.source.buffer);
  const base = view.getUint32(12);
  return {
    name, family, protocol, flows, from: UPLINK, opens: true,
    flow(n) {
      view.setUint32(12, base + (n & 0x1ffff));
      packet.sourcePort = 1024 + (n >>> 17);
      return packet;
    },
  };
}

/** Pages of a memory with so many sessions of one family, and `more` bytes of other tables. */
function pagesFor(family: Family, sessions: number, more = 0): number {
  const each = (family === 4 ? 64 : 128) + 18;
  return 512 + Math.ceil((sessions * each + more) / 65_536);
}
const sessionsFor = (flows: number): number => Math.ceil(flows * 1.25) + 1024;
function budgetsFor(family: Family, flows: number): BedSpec["budgets"] {
  const sessions = sessionsFor(flows);
  return {
    workers: 1, sessions4Max: family === 4 ? sessions : 16,
    sessions6Max: family === 6 ? sessions : 16, endpointsMax: 64, servicesMax: 64,
  };
}

const count = (n: number): string => n.toLocaleString("en");

export function bedsByFlows(flows: number[]): BedSpec[] {
  return flows.flatMap((each) => ([4, 6] as const).map((family): BedSpec => ({
    program: oneService(family, "udp"), budgets: budgetsFor(family, each),
    memoryPages: pagesFor(family, sessionsFor(each)), twin: family === 4,
    streams: [clients(`${count(each)} flows, IPv${family}`, family, each)],
  })));
}
export function bedsOfTcp(flows: number): BedSpec[] {
  return ([4, 6] as const).map((family): BedSpec => ({
    program: oneService(family, "tcp"), budgets: budgetsFor(family, flows),
    memoryPages: pagesFor(family, sessionsFor(flows)),
    streams: [clients(`${count(flows)} flows, TCP, IPv${family}`, family, flows, TCP)],
  }));
}

// ---- Rules: the first, the last, none matches ---------------------------------------------------

const CLIENT_PORTS = 65_536 - 1024;
/** 1,024 sources from a /22, so many ports. */
function sources(name: string, network: string, flows: number, opens: boolean): Traffic {
  const packet: FlowPacket = {
    source: place(network), destination: place(vip(4)), sourcePort: 0, port: 80,
  };
  const view = new DataView(packet.source.buffer);
  const base = view.getUint32(12);
  return {
    name, family: 4, protocol: UDP, flows, from: UPLINK, opens,
    flow(n) {
      view.setUint32(12, base + (n & 1023));
      packet.sourcePort = 1024 + ((n >>> 10) % CLIENT_PORTS);
      return packet;
    },
  };
}
const FIRST = "198.18.0.0", LAST = "198.18.4.0", NONE = "198.18.8.0";

/**
 * Every other rule asks for the packet's port and a set that no source is in, the others for one of
 * eight sets that all sources are in and another port: no one field settles it.
 */
function ruleList(rules: number): ProgramRule[] {
  const own = (name: string): ProgramRule =>
    ({ name, action: "allow", protocol: "udp", sourceSets: [name], destinationPorts: [8080] });
  const between = Array.from({ length: Math.max(rules - 2, 0) }, (_, i): ProgramRule => {
    const served = i % 2 === 0;
    const set = served ? SETS_OF_SOURCE + (i % (SETS - SETS_OF_SOURCE)) : i % SETS_OF_SOURCE;
    return {
      name: `r${i}`, action: "allow", protocol: "udp", sourceSets: [`s${set}`],
      destinationPorts: [served ? 8080 : 1000 + (i % 7000)],
    };
  });
  return [own("first"), ...between, own("last")];
}
function ruleSets(): AddressSet[] {
  const set = (id: string, members: string[]): AddressSet =>
    ({ id, type: "net", version: 1, members });
  return [
    set("first", [`${FIRST}/22`]), set("last", [`${LAST}/22`]),
    ...Array.from({ length: SETS }, (_, s) => set(`s${s}`, s < SETS_OF_SOURCE
      ? [`${FIRST}/22`, `${LAST}/22`, `${NONE}/22`] : [`100.64.${s}.0/24`])),
  ];
}
export function bedsByRules(rules: number[], flows: number): BedSpec[] {
  return rules.map((each): BedSpec => ({
    program: each === 0 ? oneService(4, "udp") : oneService(4, "udp", ruleList(each), ruleSets()),
    budgets: budgetsFor(4, flows), memoryPages: pagesFor(4, sessionsFor(flows), each * 4096),
    streams: each === 0
      ? [sources("no policy", FIRST, flows, true)]
      : [
        sources(`${count(each)} rules, the first matches`, FIRST, flows, true),
        sources(`${count(each)} rules, the last matches`, LAST, flows, true),
        sources(`${count(each)} rules, none matches`, NONE, flows, false),
      ],
  }));
}

// ---- Members, Services --------------------------------------------------------------------------

const memberAt = (n: number): string => `11.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;

/** A rule that asks for a set of exact addresses; clients are members of it, at random. */
export function bedsByMembers(sizes: number[], flows: number): BedSpec[] {
  return sizes.map((size): BedSpec => {
    const members = Array.from({ length: size }, (_, n) => memberAt(n));
    const set: AddressSet = { id: "s", type: "ip", version: 1, members };
    const rule: ProgramRule = { name: "r", action: "allow", sourceSets: ["s"] };
    const packet: FlowPacket = {
      source: place("11.0.0.0"), destination: place(vip(4)), sourcePort: 0, port: 80,
    };
    const view = new DataView(packet.source.buffer);
    return {
      program: oneService(4, "udp", [rule], [set]),
      budgets: { ...budgetsFor(4, flows), members4Max: Math.max(size + 1024, 65_536) },
      memoryPages: pagesFor(4, sessionsFor(flows), size * 64),
      streams: [{
        name: `a set of ${count(size)}`, family: 4, protocol: UDP, flows, from: UPLINK, opens: true,
        flow(n) {
          // Scattered over the set; the port tells apart what falls on the same member.
          view.setUint32(12, (11 << 24) + ((Math.imul(n + 1, 0x9e3779b1) >>> 0) % size));
          packet.sourcePort = 1024 + n % CLIENT_PORTS;
          return packet;
        },
      }],
    };
  });
}

/** Services of ten backends each, all different; the backends lie beyond the uplink. */
export function manyServices(services: number): Program {
  return {
    endpoints: [uplink], policies: [],
    services: Array.from({ length: services }, (_, s) => serviceAt(s)),
  };
}
/** The s-th of many; another version has one backend of its own. */
export function serviceAt(s: number, version = 0): Service {
  const address = (i: number): string =>
    i === 0 && version > 0
      ? `10.200.${(version >> 8) & 255}.${version & 255}`
      : `10.${128 + (s >> 12)}.${(s >> 4) & 255}.${((s & 15) << 4) + i}`;
  return {
    name: `s${s}`, address: `10.96.${s >> 8}.${s & 255}`, port: 80, protocol: "udp",
    backends: Array.from({ length: BACKENDS }, (_, i) => ({
      name: `s${s}-${i}`, address: address(i), port: 8080,
    })),
  };
}
export function bedsByServices(sizes: number[], flows: number): BedSpec[] {
  return sizes.map((size): BedSpec => {
    const of = clients(`${count(size)} services`, 4, flows);
    const vipOf = new DataView(new ArrayBuffer(4));
    return {
      program: manyServices(size), twin: true,
      budgets: { ...budgetsFor(4, flows), servicesMax: size + 64, backendsMax: size * 16 + 65_536 },
      memoryPages: pagesFor(4, sessionsFor(flows), size * 4096),
      streams: [{
        ...of,
        flow(n) {
          const packet = of.flow(n);
          const s = (Math.imul(n + 1, 0x9e3779b1) >>> 0) % size;
          vipOf.setUint32(0, ((10 << 24) | (96 << 16)) + s);
          packet.destination.set(new Uint8Array(vipOf.buffer), 12);
          return packet;
        },
      }],
    };
  });
}
