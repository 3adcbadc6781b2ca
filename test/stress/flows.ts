// Flows for the stress: clients behind an uplink, a Service of each family and transport, backends
// on workload endpoints; every packet of a flow with the bytes it must come out with.
//
//   client ──request──► VIP          must leave as client ──► the flow's backend
//   backend ──reply──► client        must leave as VIP ──► client, or untouched: where no session
//                                    stood (any more), it has opened a flow of its own
//
// What a flow's request becomes is learnt from a private engine with room for all sessions; it is a
// pure function of the tuple. So any other address in a result is another flow's.
import { NodeDataplane } from "../../host/dataplane/node.ts";
import {
  beginRecord, bindRecord, configureRecord, endpointRecords, serviceRecords,
} from "../../host/compile/records.ts";
import { concat } from "../../host/dataplane/record.ts";
import { addressBytes, isMapped } from "../../host/model/address.ts";
import type { Budgets, Endpoint, Service } from "../../host/model/program.ts";
import { Verdict } from "../../assembly/layout.ts";

export interface StressPacket {
  interface: number;
  bytes: Uint8Array;
  /** What must leave when it passes: any of these. */
  leaves: Uint8Array[];
}
export interface Flow {
  /** Requests: the opener first, then what else the client sends. */
  requests: StressPacket[];
  replies: StressPacket[];
}

const UPLINK = 1;
const BACKENDS = 7;
const SYN = 2, ACK = 16, FIN = 1, RST = 4;

const services: Service[] = (["udp", "tcp"] as const).flatMap((protocol) => [
  service(protocol, "10.96.0.10", (i) => `10.1.0.${i + 1}`),
  service(protocol, "fd96::10", (i) => `fd01::${(i + 1).toString(16)}`),
]);
function service(
  protocol: "udp" | "tcp", address: string, backend: (i: number) => string,
): Service {
  const backends = Array.from({ length: BACKENDS }, (_, i) => ({
    name: `backend-${i}`, address: backend(i), port: 8000 + i,
  }));
  return { name: `${protocol}-${address}`, address, port: 80, protocol, backends };
}

/** Endpoints of a generation; the incarnation of every backend is the argument. */
export function endpoints(incarnation: number): Endpoint[] {
  const uplink: Endpoint = { name: "uplink", kind: "uplink", interfaces: [UPLINK], addresses: [] };
  const pods = Array.from({ length: BACKENDS }, (_, i): Endpoint => ({
    name: `backend-${i}`, kind: "workload", interfaces: [10 + i], incarnation,
    addresses: [`10.1.0.${i + 1}`, `fd01::${(i + 1).toString(16)}`],
  }));
  return [uplink, ...pods];
}

/** Configures an engine and publishes its first generation. */
export function start(engine: NodeDataplane, budgets: Budgets): void {
  engine.stage(configureRecord(budgets));
  engine.stage(concat(endpoints(0).flatMap(({ interfaces }, index) =>
    interfaces.map((each) => bindRecord(each, index)))));
  push(engine, 1, 0);
}
export function push(engine: NodeDataplane, generation: number, incarnation: number): void {
  const records = concat([
    beginRecord(generation), ...endpointRecords(endpoints(incarnation), new Map()),
    ...serviceRecords(services),
  ]);
  engine.push({ generation, modules: [], records });
}

/** n flows, a quarter of each family and transport. */
export function makeFlows(core: Uint8Array, n: number): Flow[] {
  const oracle = new NodeDataplane(core);
  start(oracle, {
    workers: 1, sessions4Max: 4 * n, sessions6Max: 4 * n, endpointsMax: 16, servicesMax: 16,
  });
  return Array.from({ length: n }, (_, i) => makeFlow(oracle, i));
}

function makeFlow(oracle: NodeDataplane, i: number): Flow {
  const { address, port, protocol } = services[i % services.length]!;
  const v4 = isMapped(addressBytes(address));
  const client = v4 ? `192.0.2.${i % 250}` : `2001:db8::${(i % 65521).toString(16)}`;
  const clientPort = 1024 + i;
  const tcp = protocol === "tcp";
  const sent = (flags: number): Uint8Array =>
    packet(client, clientPort, address, port, tcp ? flags : undefined);
  const leaves = (bytes: Uint8Array, from: number): Uint8Array => {
    const [result] = oracle.process(0, [{ interface: from, bytes }], { nowMs: 0, nowSeconds: 0 });
    if (result!.verdict !== Verdict.Pass || result!.bytes === undefined) {
      throw new Error(`flow ${i}: the private engine gives verdict ${result!.verdict}`);
    }
    return result!.bytes;
  };
  const request = (flags: number): StressPacket => {
    const bytes = sent(flags);
    return { interface: UPLINK, bytes, leaves: [leaves(bytes, UPLINK)] };
  };
  const requests = tcp ? [SYN, ACK, FIN | ACK].map(request) : [request(0)];
  const [backend, backendPort, at] = destination(requests[0]!.leaves[0]!, v4);
  const reply = (flags: number): StressPacket => {
    const bytes = packet(backend, backendPort, client, clientPort, tcp ? flags : undefined);
    const out = leaves(bytes, 10 + at);
    return { interface: 10 + at, bytes, leaves: [out, bytes] };
  };
  const replies = tcp ? [SYN | ACK, ACK, FIN | ACK].map(reply) : [reply(0)];
  if (tcp) requests.push(request(RST | ACK));
  return { requests, replies };
}

/** Address, port and number of the backend that a packet is sent to. */
function destination(bytes: Uint8Array, v4: boolean): [string, number, number] {
  const all = services[v4 ? 0 : 1]!.backends;
  const header = v4 ? 20 : 40;
  const to = bytes.subarray(header - (v4 ? 4 : 16), header);
  const at = all.findIndex(({ address }) =>
    Buffer.compare(addressBytes(address).subarray(v4 ? 12 : 0), to) === 0);
  if (at < 0) throw new Error("the private engine chose an address that is no backend's");
  return [all[at]!.address, (bytes[header + 2]! << 8) | bytes[header + 3]!, at];
}

/** A TCP segment (flags given) or UDP datagram of 4 bytes, checksums right. */
function packet(
  from: string, fromPort: number, to: string, toPort: number, flags: number | undefined,
): Uint8Array {
  const v4 = isMapped(addressBytes(from));
  const source = addressBytes(from).subarray(v4 ? 12 : 0);
  const target = addressBytes(to).subarray(v4 ? 12 : 0);
  const header = v4 ? 20 : 40;
  const l4 = flags === undefined ? 8 : 20;
  const out = new Uint8Array(header + l4 + 4).fill(0);
  const view = new DataView(out.buffer);
  const protocol = flags === undefined ? 17 : 6;
  if (v4) {
    out.set([0x45, 0, 0, out.length, 0, 0, 0x40, 0, 64, protocol]);
    out.set(source, 12);
    out.set(target, 16);
    view.setUint16(10, checksum(out.subarray(0, 20)));
  } else {
    out.set([0x60, 0, 0, 0, 0, l4 + 4, protocol, 64]);
    out.set(source, 8);
    out.set(target, 24);
  }
  view.setUint16(header, fromPort);
  view.setUint16(header + 2, toPort);
  if (flags === undefined) view.setUint16(header + 4, l4 + 4);
  else out.set([0x50, flags], header + 12);
  out.set([1, 2, 3, 4], header + l4);
  const pseudo = [...source, ...target, 0, protocol, 0, l4 + 4];
  const sum = checksum(Uint8Array.from([...pseudo, ...out.subarray(header)]));
  view.setUint16(header + (flags === undefined ? 6 : 16), sum || 0xffff);
  return out;
}
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
