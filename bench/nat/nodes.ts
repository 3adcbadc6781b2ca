// Maglev across nodes: a packet program for each of several nodes behind a router that spreads
// flows over the living ones (ECMP), one Service with DSR, pods on every node.
//
//   client ─► ECMP(tuple, living nodes) ─► node: session, or Maglev ─┬─ pod here: DNAT, delivered
//                                                                    └─ Result.peer: as it is to
//                                              that node's peer uplink ─► pod there, never further
//
//   flows begin ─► one node's pods leave the set while a pod is added ─► other flows begin ─► the
//   node leaves the ECMP, so that flows come to nodes that never saw them ─► all send on
//
// A flow has moved when a packet of it reaches another pod than its SYN did. Counted apart: flows
// begun before the change, whose pod lives on, and flows begun after it.
import {
  FRAME_PACKETS_MAX, Rewritten, SLOT_PEER, SLOT_REASON, SLOT_REWRITTEN, SLOT_VERDICT, Verdict,
  type Reason,
} from "../../assembly/layout.ts";
import { bindRecords, Compiler } from "../../host/compile/program.ts";
import { configureRecord } from "../../host/compile/records.ts";
import type { Result } from "../../host/dataplane/dataplane.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import type { Backend, Budgets, Endpoint, Program, Service } from "../../host/model/program.ts";
import { ACK, place, putPacket, SLOTS_BYTES, TCP, type FlowPacket, type Stream } from "./frames.ts";

const WORLD = 1, PEERS = 2, FIRST_POD = 3;
export const VIP = "192.0.2.80", PORT = 80, TARGET = 8080;
/** What a packet reached instead of a pod. */
export const DROPPED = -1, WRONG = -2;

/** A pod of a node, by number. */
export interface Pod {
  node: string;
  number: number;
}
export const addressOf = (nodes: readonly string[], { node, number }: Pod): string =>
  `10.${nodes.indexOf(node) + 1}.${number >> 8}.${number & 255}`;

/** TCP flows of clients in 198.18.0.0/15. */
export function flowsToVip(flows: number): Stream {
  const packet: FlowPacket = {
    source: place("198.18.0.0"), destination: place(VIP), sourcePort: 0, port: PORT,
  };
  const view = new DataView(packet.source.buffer);
  return {
    family: 4, protocol: TCP, flows, from: WORLD,
    flow(n) {
      view.setUint32(12, 0xc6120000 + (n & 0x1ffff));
      packet.sourcePort = 1024 + (n >>> 17);
      return packet;
    },
  };
}

/** The router's choice: a hash of the tuple, over the living nodes. */
export function ecmp(flow: number, living: number): number {
  let x = Math.imul(flow ^ 0x5bd1e995, 0x9e3779b1);
  x = Math.imul(x ^ (x >>> 15), 0x85ebca6b);
  return ((x ^ (x >>> 13)) >>> 0) % living;
}

/** One node: its program, its pods, and packets through it. */
export class Balancer {
  private readonly dataplane: NodeDataplane;
  private readonly compiler: Compiler;
  private readonly others: string[];
  private readonly sessions: number;
  private nowMs = 1_000_000;

  constructor(
    core: Uint8Array, readonly name: string, private readonly nodes: readonly string[],
    budgets: Budgets,
  ) {
    const memoryPages = 1024 + Math.ceil((budgets.sessions4Max * 82) / 65_536);
    this.dataplane = new NodeDataplane(core, { memoryPages });
    this.compiler = new Compiler(budgets);
    this.sessions = budgets.sessions4Max;
    this.others = nodes.filter((each) => each !== name);
    this.dataplane.stage(configureRecord(budgets));
  }

  /** The Service over these pods, as this node knows it; its own are its endpoints. */
  async serve(pods: readonly Pod[]): Promise<void> {
    const own = pods.filter(({ node }) => node === this.name);
    const backends = pods.map((pod): Backend => ({
      name: `${pod.node}-${pod.number}`, address: addressOf(this.nodes, pod), port: TARGET,
      ...(pod.node === this.name ? {} : { node: pod.node }),
    }));
    const service: Service = {
      name: "web", address: VIP, port: PORT, protocol: "tcp", kind: "load-balancer", dsr: true,
      backends,
    };
    const endpoints: Endpoint[] = [
      { name: "world", kind: "uplink", interfaces: [WORLD], addresses: [] },
      { name: "peers", kind: "uplink", interfaces: [PEERS], addresses: [], peer: true },
      ...own.map((pod): Endpoint => ({
        name: `pod-${pod.number}`, kind: "workload", interfaces: [FIRST_POD + pod.number],
        addresses: [addressOf(this.nodes, pod)],
      })),
    ];
    const program: Program = { endpoints, services: [service], policies: [], peers: this.others };
    this.dataplane.push(await this.compiler.compile(program, this.dataplane.generation + 1));
    this.dataplane.stage(bindRecords(program));
  }

  /**
   * Flows' packets in at an interface; each is answered with the address that it leaves for (as a
   * number), or DROPPED, WRONG where it was changed and passed on, or the name of a peer.
   */
  carry(
    stream: Stream, flows: readonly number[], flags: number,
    answer: (flow: number, reached: number | string) => void,
  ): void {
    const { memory } = this.dataplane;
    const slots = memory.slotOf(0, 0);
    if (memory.windowOf(0, 0) !== slots + SLOTS_BYTES) throw new Error("windows follow slots");
    this.nowMs += 256;
    for (let from = 0; from < flows.length; from += FRAME_PACKETS_MAX) {
      const frame = flows.slice(from, from + FRAME_PACKETS_MAX);
      frame.forEach((flow, i) => putPacket(memory.bytes, slots, i, stream, flow, flags));
      this.dataplane.run(0, frame.length, { nowMs: this.nowMs, nowSeconds: 0 });
      frame.forEach((flow, i) => answer(flow, this.reached(i)));
    }
  }
  private reached(i: number): number | string {
    const { view, bytes } = this.dataplane.memory;
    const slot = this.dataplane.memory.slotOf(0, i), window = this.dataplane.memory.windowOf(0, i);
    if (bytes[slot + SLOT_VERDICT] !== Verdict.Pass) {
      const reason: Reason = bytes[slot + SLOT_REASON]!;
      this.drops.set(reason, (this.drops.get(reason) ?? 0) + 1);
      return DROPPED;
    }
    const address = view.getUint32(window + 16);
    if (!(bytes[slot + SLOT_REWRITTEN]! & Rewritten.ToPeer)) return address;
    const unchanged = address === VIP_NUMBER && view.getUint16(window + 22) === PORT;
    return unchanged ? this.others[view.getUint16(slot + SLOT_PEER, true) - 1]! : WRONG;
  }
  /** Why packets were dropped, all in all. */
  readonly drops = new Map<Reason, number>();

  /** Time goes by, and sessions that it is too long for end. */
  idle(ms: number): void {
    this.nowMs += ms;
    this.dataplane.age(0, this.nowMs, this.sessions);
  }
  /** What becomes of a packet that a pod of this node sends. */
  answer(pod: Pod, bytes: Uint8Array): Result {
    const clock = { nowMs: this.nowMs, nowSeconds: 0 };
    return this.dataplane.process(0, [{ interface: FIRST_POD + pod.number, bytes }], clock)[0]!;
  }
  close(): void {
    this.dataplane.close();
  }
}
const VIP_NUMBER = new DataView(place(VIP).buffer).getUint32(12);

/** Balancers of a cluster, and a router in front of them. */
export class Cluster {
  readonly balancers: Map<string, Balancer>;
  living: string[];

  constructor(core: Uint8Array, readonly nodes: readonly string[], sessions: number) {
    const budgets: Budgets = {
      workers: 1, sessions4Max: sessions, sessions6Max: 16, endpointsMax: 4096, servicesMax: 64,
    };
    this.balancers = new Map(nodes.map((name) => [name, new Balancer(core, name, nodes, budgets)]));
    this.living = [...nodes];
  }
  async serve(pods: readonly Pod[]): Promise<void> {
    for (const balancer of this.balancers.values()) await balancer.serve(pods);
  }
  idle(ms: number): void {
    for (const balancer of this.balancers.values()) balancer.idle(ms);
  }
  /** One packet of each flow; what it reached: a pod's address, DROPPED or WRONG. */
  send(stream: Stream, from: number, to: number, flags = ACK): Int32Array {
    const reached = new Int32Array(to - from);
    const queues = this.living.map((): number[] => []);
    for (let flow = from; flow < to; flow++) queues[ecmp(flow, this.living.length)]!.push(flow);
    const passedOn = new Map(this.nodes.map((name): [string, number[]] => [name, []]));
    this.living.forEach((name, n) => {
      this.balancers.get(name)!.carry(stream, queues[n]!, flags, (flow, at) => {
        if (typeof at === "string" && this.living.includes(at)) passedOn.get(at)!.push(flow);
        else reached[flow - from] = typeof at === "string" ? DROPPED : at | 0;
      });
    });
    const toPeers: Stream = { ...stream, from: PEERS };
    for (const [name, flows] of passedOn) {
      this.balancers.get(name)!.carry(toPeers, flows, flags, (flow, at) => {
        // Whoever gets a packet from a peer passes it on to nobody.
        reached[flow - from] = typeof at === "string" ? WRONG : at | 0;
      });
    }
    return reached;
  }
  close(): void {
    for (const balancer of this.balancers.values()) balancer.close();
  }
}
