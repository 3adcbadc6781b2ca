// A program whose flows are translated in every way, and its packets and ICMP errors.
//
//   plain  client ─────────────► backend          dnat  client ─► VIP ────► backend
//   snat   client ─► node ──┐                     both  outside ─► LB address, node ─► backend
//                  outside ◄┘ by the uplink
//
// and outside ─► direct, which goes on to another node as it is (DSR). Every policy denies ICMP
// errors: what passes of them passes by the session that it quotes.
import { addressBytes, addressText, familyOf } from "../host/model/address.ts";
import type { Program, ProgramRule, Service } from "../host/model/program.ts";
import type { Dataplane, Packet, Result } from "../host/dataplane/dataplane.ts";
import { crc32c, packet, sum16, type Spec } from "./packets.ts";

/** Interface numbers. */
export const CLIENT = 1, OTHER = 2, BACKEND = 3, UPLINK = 5;
export const ADDRESSES = {
  4: {
    client: "10.0.0.1", other: "10.0.0.2", backend: "10.0.1.1", outside: "198.51.100.7",
    vip: "10.96.0.80", balancer: "203.0.113.80", node: "192.0.2.1", router: "192.0.2.254",
    empty: "10.96.0.81", direct: "203.0.113.81",
  },
  6: {
    client: "fd00::1", other: "fd00::2", backend: "fd00:1::1", outside: "2001:db8::7",
    vip: "fd00:96::80", balancer: "2001:db8:80::80", node: "2001:db8:1::1",
    router: "2001:db8:1::fe", empty: "fd00:96::81", direct: "2001:db8:80::81",
  },
} as const;
/** A pod of the other node. */
const REMOTE = { 4: "10.0.9.1", 6: "fd00:9::1" } as const;
export const FAMILIES = [4, 6] as const;
export type Family = (typeof FAMILIES)[number];
export const WAYS = ["plain", "dnat", "snat", "both"] as const;
export type Way = (typeof WAYS)[number];
export const PROTOCOLS = ["tcp", "udp", "sctp", "icmp"] as const;
export type Protocol = (typeof PROTOCOLS)[number];
/** What a Service's port and its backend's are. */
export const PORT = 80, TARGET = 8080;

const deny = (protocol: "icmp" | "icmp6", types: number[]): ProgramRule[] => types.map((type) => ({
  name: `no-${protocol}-${type}`, action: "deny", protocol, icmp: { type },
}));

/** A Service of a protocol: its cluster address, a load balancer's, and one without backends. */
export function webServices(family: Family, protocol: Service["protocol"]): Service[] {
  const { vip, balancer, empty, backend } = ADDRESSES[family];
  const web: Service = {
    name: `web-${protocol}-${family}`, address: vip, port: PORT, protocol,
    backends: [{ name: "backend", address: backend, port: TARGET }],
  };
  return [
    web, { ...web, address: balancer, kind: "load-balancer" },
    { ...web, name: `none-${protocol}-${family}`, address: empty, backends: [],
      whenEmpty: "reject" },
  ];
}

/** What is not endpoints and Services: the policy "no-errors", the way out, source NAT. */
export function surroundings():
Required<Pick<Program, "policies" | "sets" | "routes" | "settings">> {
  return {
    policies: [{
      name: "no-errors",
      rules: [
        ...deny("icmp", [3, 4, 5, 11, 12]), ...deny("icmp6", [1, 2, 3, 4, 137]),
        { name: "closed", action: "deny", destinationPorts: [1] },
        { name: "all", action: "allow" },
      ],
    }],
    sets: [
      { id: "pods", type: "net", members: ["10.0.0.0/16", "fd00::/32"] },
      { id: "cluster", type: "net", members: ["10.0.0.0/8", "fd00::/8"] },
    ],
    routes: [{ prefix: "0.0.0.0/0", uplink: "uplink" }, { prefix: "::/0", uplink: "uplink" }],
    settings: {
      natSources: "pods", natExcluded: "cluster",
      snatAddresses: FAMILIES.map((family) => ADDRESSES[family].node),
    },
  };
}

export function translated(settings: Program["settings"] = {}): Program {
  const both = (name: "client" | "other" | "backend"): string[] =>
    FAMILIES.map((family) => ADDRESSES[family][name]);
  const workload = (name: "client" | "other" | "backend", at: number) => ({
    name, kind: "workload" as const, interfaces: [at], addresses: both(name),
    ingress: "no-errors", egress: "no-errors",
  });
  const services = FAMILIES.flatMap((family) =>
    (["tcp", "udp", "sctp"] as const).flatMap((protocol): Service[] => {
      const backend = { name: "backend", address: REMOTE[family], port: TARGET, node: "second" };
      return [...webServices(family, protocol), {
        name: `direct-${protocol}-${family}`, address: ADDRESSES[family].direct, port: PORT,
        protocol, kind: "load-balancer", dsr: true, backends: [backend],
      }];
    }));
  const around = surroundings();
  return {
    ...around,
    endpoints: [
      workload("client", CLIENT), workload("other", OTHER), workload("backend", BACKEND),
      {
        name: "uplink", kind: "uplink", interfaces: [UPLINK], addresses: [],
        forwardIngress: "no-errors",
      },
    ],
    services,
    peers: ["second"],
    settings: { ...around.settings, ...settings },
  };
}

/** A flow's first packet, where it enters, and where its answers do. */
export interface Opening {
  near: number;
  far: number;
  spec: Spec;
}
export function opening(family: Family, way: Way, protocol: Protocol, more: Partial<Spec> = {}):
Opening {
  const { client, backend, outside, vip, balancer } = ADDRESSES[family];
  const [near, far, from, to] = ({
    plain: [CLIENT, BACKEND, client, backend],
    dnat: [CLIENT, BACKEND, client, vip],
    snat: [CLIENT, UPLINK, client, outside],
    both: [UPLINK, BACKEND, outside, balancer],
  } as const)[way];
  const port = way === "plain" ? TARGET : PORT;
  // Below 1,024 a port is not kept by source NAT.
  return { near, far, spec: { from, to, protocol, sourcePort: 700, port, flags: "S", ...more } };
}
/** Ways that a protocol can be translated in: there is no Service of echoes. */
export const waysOf = (protocol: Protocol): Way[] =>
  protocol === "icmp" ? ["plain", "snat"] : [...WAYS];
export const CASES = FAMILIES.flatMap((family) => PROTOCOLS.flatMap((protocol) =>
  waysOf(protocol).map((way) => ({ family, protocol, way }))));

/** What is read of a packet without extension headers. */
export interface Seen {
  from: string;
  to: string;
  protocol: number;
  /** An echo's identifier is both. */
  sourcePort: number;
  port: number;
  l4: number;
}
const word = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
export function setWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}
export function seen(bytes: Uint8Array): Seen {
  const four = bytes[0]! >> 4 === 4;
  const [at, size] = four ? [12, 4] : [8, 16];
  const l4 = four ? (bytes[0]! & 15) * 4 : 40;
  const protocol = bytes[four ? 9 : 6]!;
  const echo = protocol === 1 || protocol === 58;
  return {
    from: addressText(bytes.slice(at, at + size)),
    to: addressText(bytes.slice(at + size, at + 2 * size)),
    protocol, l4,
    sourcePort: word(bytes, l4 + (echo ? 4 : 0)), port: word(bytes, l4 + (echo ? 4 : 2)),
  };
}
/** The answer to a packet as it left, of the same protocol. */
export function answerTo(bytes: Uint8Array, more: Partial<Spec> = {}): Spec {
  const { from, to, protocol, sourcePort, port } = seen(bytes);
  const echo = protocol === 1 ? { protocol: "icmp" as const, icmpType: 0 }
    : protocol === 58 ? { protocol: "icmp" as const, icmpType: 129 } : {};
  const name = ({ 6: "tcp", 17: "udp", 132: "sctp" } as const)[protocol as 6];
  return {
    from: to, to: from, ...(name ? { protocol: name } : {}), ...echo,
    sourcePort: port, port: sourcePort, flags: "SA", ...more,
  };
}

export interface ErrorSpec {
  from: string;
  to: string;
  type?: number;
  code?: number;
  /** What of the packet it quotes. */
  quoted: Uint8Array;
}
/** An ICMP error, port unreachable when nothing else is said. */
export function icmpError({ from, to, type, code, quoted }: ErrorSpec): Uint8Array {
  const four = familyOf(from) === 4;
  const bytes = packet({
    from, to, protocol: "icmp", icmpType: type ?? (four ? 3 : 1), icmpCode: code ?? (four ? 3 : 4),
    payload: quoted.length,
  });
  const l4 = four ? 20 : 40;
  bytes.fill(0, l4 + 4, l4 + 8);
  bytes.set(quoted, l4 + 8);
  return sealIcmp(bytes);
}
/** Makes the ICMP checksum of a packet without options right, in place. */
export function sealIcmp(bytes: Uint8Array): Uint8Array {
  const l4 = seen(bytes).l4;
  setWord(bytes, l4 + 2, 0);
  setWord(bytes, l4 + 2, ~sum16(bytes.subarray(l4), pseudo(bytes)) & 0xffff);
  return bytes;
}
/** What a checksum covers beside the upper header and data; nothing for ICMP over IPv4. */
export function pseudo(bytes: Uint8Array): Uint8Array {
  const { from, to, protocol, l4 } = seen(bytes);
  if (protocol === 1) return new Uint8Array(0);
  const out = new Uint8Array(40);
  const pair = [from, to].map(addressBytes);
  if (bytes[0]! >> 4 === 4) pair.forEach((each) => each.fill(0, 0, 12));
  out.set(pair[0]!, 0);
  out.set(pair[1]!, 16);
  setWord(out, 34, bytes.length - l4);
  out[39] = protocol;
  return out;
}

/** Whatever checksums a whole packet without options has: are they right? Else which is not. */
export function wrongChecksum(bytes: Uint8Array): string | undefined {
  if (bytes[0]! >> 4 === 4 && sum16(bytes.subarray(0, (bytes[0]! & 15) * 4)) !== 0xffff) {
    return "IPv4";
  }
  const { protocol, l4 } = seen(bytes);
  const data = bytes.slice(l4);
  if (protocol === 132) {
    const view = new DataView(data.buffer);
    const said = view.getUint32(8, true);
    view.setUint32(8, 0);
    return said === crc32c(data) ? undefined : "SCTP";
  }
  if (protocol === 17 && word(data, 6) === 0) return bytes[0]! >> 4 === 4 ? undefined : "no UDP";
  if (![1, 6, 17, 58].includes(protocol)) return undefined;
  return sum16(data, pseudo(bytes)) === 0xffff ? undefined : `protocol ${protocol}`;
}

export const clock = { nowMs: 5_000_000, nowSeconds: 1_700_000_000 };
/** Sends bytes in at an interface. */
export function sendBytes(
  dataplane: Dataplane, from: number, bytes: Uint8Array, more: Partial<Packet> = {}, at = clock,
): Result {
  return dataplane.process(0, [{ interface: from, bytes, ...more }], at)[0]!;
}
