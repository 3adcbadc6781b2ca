// A cluster whose sessions live: connections are opened, carry packets both ways, and grow old,
// while manifests change around them. For tests with steps; of a cluster that nobody else asks.
//
//   open   SYN ─► …nodes… ─► far end        of TCP, if it got there: SYN, ACK ◄─ and ACK ─►
//   send   ACK, datagram ─► the same way    reply  what the far end got, turned round ─► back
//   wait   the clock moves on, and what is idle for too long ends
//
// A connection is one packet's: a Service leads it to one backend, whichever it chooses. Nothing
// here judges: results are what process() of each node said.
import { addressBytes, addressNumber } from "../model/address.ts";
import { FlowError } from "./flow.ts";
import { carry } from "./journey.ts";
import { addressAt, judgement, portAt } from "./judgement.ts";
import type { NodeRun } from "./node.ts";
import { entryFrom, entryOf, type Entry, type Trip } from "./path.ts";
import { ACK, buildPacket, SYN, type PacketFields } from "./packet.ts";
import type { Cluster } from "./cluster.ts";
import type { Flow, FlowEnd, FlowResult } from "./types.ts";
import { protocolName } from "./world.ts";

const TCP = 6, ICMP = 1, ICMP6 = 58;
/** Linux' range of source ports for clients. */
const PORT_FIRST = 32_768, PORT_LAST = 60_999;
/** The same of an echo's identifiers. */
const ECHO_REPLY: Readonly<Record<number, Readonly<Record<number, number>>>> = {
  [ICMP]: { 8: 0 }, [ICMP6]: { 128: 129 },
};
const ECHO: Readonly<Record<number, number>> = { [ICMP]: 8, [ICMP6]: 128 };
const U32 = 2 ** 32;
const SECOND_MS = 1_000;
/** The core compares times by their difference, so that half of the numbers are ahead. */
const WAIT_MS_MAX = 7 * 24 * 3_600 * SECOND_MS;

/** One flow under way: a packet from one address to another, and those that follow it. */
export interface Connection {
  /** With its source port. */
  flow: Flow;
  /** The last packet that got to the far end, as it came there, and the last node on its way. */
  far?: { bytes: Uint8Array; node: NodeRun };
}

/** What became of one packet of a connection. */
export interface Sent {
  connection: Connection;
  result: FlowResult;
}

export class Living {
  private readonly connections = new Map<string, Connection[]>();
  private nowMs = SECOND_MS;
  private port = PORT_FIRST;
  private readonly startSeconds: number;

  constructor(readonly cluster: Cluster, nowSeconds = Math.floor(Date.now() / SECOND_MS)) {
    this.startSeconds = nowSeconds - 1;
  }

  /** Opens a connection for each pair of addresses of the flows. Throws NoPath. */
  open(flows: readonly Flow[]): Sent[] {
    return distinct(flows).map((flow) => {
      const connection = this.begin(flow);
      return { connection, result: this.opening(connection) };
    });
  }

  /** One more packet from the opener of each; of what was never opened, one that comes unasked. */
  send(flows: readonly Flow[]): Sent[] {
    return this.known(flows).map((connection) => this.sendOn(connection));
  }

  /** One packet back from the far end of each. Throws FlowError where there can't be one. */
  reply(flows: readonly Flow[]): Sent[] {
    return this.known(flows).map((connection) => this.replyOn(connection));
  }

  sendOn(connection: Connection): Sent {
    return { connection, result: this.forward(connection, ACK) };
  }
  replyOn(connection: Connection): Sent {
    return { connection, result: this.backward(connection, ACK) };
  }

  /** Throws RangeError. */
  wait(milliseconds: number): void {
    if (!(milliseconds >= 0 && milliseconds <= WAIT_MS_MAX)) {
      throw new RangeError(`a wait of ${milliseconds} ms: 0 to ${WAIT_MS_MAX} (7 days)`);
    }
    this.nowMs += Math.floor(milliseconds);
    for (const node of this.cluster.nodes.values()) node.endSessions(this.nowMs % U32);
  }

  private begin(flow: Flow): Connection {
    const connection = { flow: { ...flow, sourcePort: flow.sourcePort ?? this.freshPort() } };
    const key = endsOf(flow);
    this.connections.set(key, [...this.connections.get(key) ?? [], connection]);
    return connection;
  }

  /** The newest of the same ends, and of the source port where the flow has one. */
  private known(flows: readonly Flow[]): Connection[] {
    return distinct(flows).map((flow) => {
      const { sourcePort } = flow;
      return this.connections.get(endsOf(flow))?.findLast((one) =>
        sourcePort === undefined || one.flow.sourcePort === sourcePort) ?? this.begin(flow);
    });
  }

  private freshPort(): number {
    this.port = this.port === PORT_LAST ? PORT_FIRST : this.port + 1;
    return this.port;
  }

  /** TCP is open when its handshake is through; what stopped it is told. */
  private opening(connection: Connection): FlowResult {
    const first = this.forward(connection, SYN);
    if (first.verdict !== "allow" || connection.flow.protocol !== TCP) return first;
    const answer = this.backward(connection, SYN | ACK);
    if (answer.verdict !== "allow") {
      return { ...answer, note: "the SYN got there; this is its answer, SYN and ACK" };
    }
    const last = this.forward(connection, ACK);
    if (last.verdict === "allow") return first;
    return { ...last, note: "SYN and its answer got through; this is the handshake's last ACK" };
  }

  private forward(connection: Connection, flags: number): FlowResult {
    const { flow } = connection;
    const icmp = flow.icmp ?? echoOf(flow.protocol);
    const packet: PacketFields = {
      source: flow.from.address, destination: flow.to.address, protocol: flow.protocol,
      ...(flow.sourcePort === undefined ? {} : { sourcePort: flow.sourcePort }),
      ...(flow.port === undefined ? {} : { port: flow.port }),
      ...(icmp ? { icmp } : {}),
      ...(flags === SYN ? {} : { flags }),
    };
    const trip = this.carry(flow, entryOf(flow, this.cluster), packet);
    const { node, result } = trip.hops[trip.hops.length - 1]!;
    const judged = judgement(flow, trip.hops, trip.bytes);
    if (judged.verdict === "allow" && result.bytes) connection.far = { bytes: result.bytes, node };
    return judged;
  }

  private backward(connection: Connection, flags: number): FlowResult {
    const { flow, far } = connection;
    const icmp = flow.icmp ?? echoOf(flow.protocol);
    const type = icmp && ECHO_REPLY[flow.protocol]?.[icmp.type];
    const { protocol } = flow;
    if (icmp && type === undefined) {
      const name = `${protocolName(protocol)}:${icmp.type}/${icmp.code}`;
      throw new FlowError(name, "nothing answers that; echo requests are answered");
    }
    // What never got there is answered as it was sent: a packet that nobody asked for.
    const source = far ? addressAt(far.bytes, "destination") : flow.to.address;
    const destination = far ? addressAt(far.bytes, "source") : flow.from.address;
    const sourcePort = far ? portAt(far.bytes, "destination") : flow.port;
    const port = far ? portAt(far.bytes, "source") : flow.sourcePort;
    const back: Flow = {
      from: this.endAt(source, flow.to), to: flow.from, protocol, isReply: true,
      ...(icmp ? { icmp: { type: type!, code: 0 } } : {}),
    };
    if (!icmp && sourcePort !== undefined) back.sourcePort = sourcePort;
    if (!icmp && flow.sourcePort !== undefined && flow.port !== undefined) {
      back.port = flow.sourcePort;
    }
    const packet: PacketFields = {
      source, destination, protocol, flags,
      ...(icmp ? { icmp: back.icmp!, sourcePort: identifierOf(far?.bytes, flow) } : {}),
      ...(!icmp && sourcePort !== undefined ? { sourcePort } : {}),
      ...(!icmp && port !== undefined ? { port } : {}),
    };
    const entry = far ? entryFrom(source, destination, far.node, this.cluster)
      : entryOf(back, this.cluster);
    const trip = this.carry(back, entry, packet);
    const result = judgement(back, trip.hops, trip.bytes);
    const unknown = far && result.verdict === "allow" && strangeTo(flow, trip);
    return unknown ? { ...result, note: unknown } : result;
  }

  private endAt(address: string, asked: FlowEnd): FlowEnd {
    if (asked.address === address && asked.kind !== "service") return asked;
    return this.cluster.world.ownerOf(address) ?? { kind: "address", address };
  }

  private carry(flow: Flow, entry: Entry, fields: PacketFields): Trip {
    const trip: Trip = { flow, entry, bytes: buildPacket(fields), hops: [] };
    const nowSeconds = flow.nowSeconds ?? this.startSeconds + Math.floor(this.nowMs / SECOND_MS);
    carry([trip], this.cluster, { nowMs: this.nowMs % U32, nowSeconds });
    return trip;
  }
}

/** Where an answer's addresses are none that the opener sent to: its own system would drop it. */
function strangeTo(flow: Flow, { hops }: Trip): string | undefined {
  const bytes = hops[hops.length - 1]!.result.bytes!;
  const seen = [addressAt(bytes, "source"), portAt(bytes, "source")];
  const here = [addressAt(bytes, "destination"), portAt(bytes, "destination")];
  const asked = [flow.to.address, flow.port], own = [flow.from.address, flow.sourcePort];
  const isSame = (a: unknown[], b: unknown[]): boolean =>
    addressNumber(addressBytes(String(a[0]))) === addressNumber(addressBytes(String(b[0]))) &&
      (a[1] === undefined || b[1] === undefined || a[1] === b[1]);
  if (isSame(seen, asked) && isSame(here, own)) return undefined;
  return `it comes from ${seen.join(":")} to ${here.join(":")}: not where the opener sent to`;
}

/** Of an echo, as it came to the far end. */
function identifierOf(bytes: Uint8Array | undefined, { sourcePort }: Flow): number {
  if (bytes === undefined) return sourcePort ?? 1;
  const at = (bytes[0]! >> 4 === 4 ? (bytes[0]! & 15) * 4 : 40) + 4;
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function echoOf(protocol: number): Flow["icmp"] {
  const type = ECHO[protocol];
  return type === undefined ? undefined : { type, code: 0 };
}

/** Who speaks to whom, whatever the backend and the source port. */
function endsOf({ from, to, protocol, port, icmp }: Flow): string {
  const place = icmp ? `${icmp.type}/${icmp.code}` : port ?? "";
  return `${from.address} ${to.address} ${protocol} ${place}`;
}

/** A Service's backends are one flow here. */
function distinct(flows: readonly Flow[]): Flow[] {
  const found = new Map<string, Flow>();
  for (const flow of flows) {
    const key = `${endsOf(flow)} ${flow.sourcePort ?? ""}`;
    if (found.has(key)) continue;
    if (flow.to.kind !== "service") {
      found.set(key, flow);
      continue;
    }
    const { backend, ...to } = flow.to;
    found.set(key, { ...flow, to });
  }
  return [...found.values()];
}
