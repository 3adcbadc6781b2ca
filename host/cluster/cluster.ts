// A cluster that runs flows: an engine a node, each with its node's program. A flow becomes a
// packet, the packet takes its way (path.ts) through process() of one node or of two, and what
// stands in its slots then is the answer (judgement.ts).
//
//   Snapshot ─ calculate ─► NodeState ─► NodeRun (node.ts)   Flow ─► packet ─► hops ─► FlowResult
//
// Every flow is a new one: source ports are fresh, and where tables fill or a packet meets an older
// session, the clock moves on, sessions end and the packet runs again.
import { Reason } from "../../assembly/layout.ts";
import { Calculator } from "../calc/calculate.ts";
import type { ModuleSource } from "../calc/module.ts";
import { moduleSource } from "../module/source.ts";
import { PROTOCOL_NUMBERS } from "../model/rule.ts";
import type { Finding, NodeObject, Snapshot } from "../model/snapshot.ts";
import type { NodeDevices, NodeState } from "../model/state.ts";
import { parseFlow } from "./flow.ts";
import { judgement, type Hop } from "./judgement.ts";
import { stopAt } from "./fault.ts";
import { snapshotOfState } from "./mirror.ts";
import { FRAME, NodeRun, SESSIONS_MAX } from "./node.ts";
import { buildPacket } from "./packet.ts";
import { entryOf, NoPath, onward, type Entry, type Roads } from "./path.ts";
import { resolveFlow } from "./resolve.ts";
import type { Flow, FlowEnd, FlowResult, Side } from "./types.ts";
import { World } from "./world.ts";

export { NoPath } from "./path.ts";

export interface ClusterOptions {
  /** Only this node's program runs. */
  node?: string;
  /** Can flows ask for one side alone? Costs two more engines a node. */
  sides?: boolean;
  /** Endpoints that only a test has, by name; their pods are in the snapshot. */
  words?: ReadonlyMap<string, FlowEnd[]>;
  /** Unix time; now when absent. */
  nowSeconds?: number;
  /** What is found wrong in manifests is added here and left out; without it, errors are thrown. */
  findings?: Finding[];
  /** Reads the modules of ModulePolicies; where absent, from the files that they name. */
  module?: ModuleSource;
}

/** A flow on its way. */
interface Trip {
  flow: Flow;
  entry: Entry;
  bytes: Uint8Array;
  hops: Hop[];
  note?: string;
}

/** Beyond every timeout of a session. */
const LONG_MS = 24 * 3_600_000;
/** Linux' range of source ports for clients. */
const PORT_FIRST = 32_768, PORT_LAST = 60_999;
/** Rounds of fresh source ports before a backend is asked for by its own address. */
const ROUNDS_MAX = 768;
/** Reasons that tell of an older session, or of a table that older ones fill. */
const MET = new Set([
  Reason.Established, Reason.EndpointMismatch, Reason.TupleCollision, Reason.SessionTableFull,
]);
const SIDES: readonly Side[] = ["egress", "ingress"];

export class Cluster implements Roads {
  readonly nodes = new Map<string, NodeRun>();
  readonly oneSided = { egress: new Map<string, NodeRun>(), ingress: new Map<string, NodeRun>() };
  private current!: World;
  private nowMs = 1;
  private port = PORT_FIRST;
  private opened = 0;

  private constructor(private readonly options: ClusterOptions) {}

  /** Throws StateError for manifests, PushRefused or Error where a state makes no program. */
  static async fromSnapshot(snapshot: Snapshot, options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = new Cluster(options);
    await cluster.apply(snapshot);
    return cluster;
  }

  /** One node, as Felix tells it. */
  static async fromState(
    state: NodeState, devices: NodeDevices, options: ClusterOptions & { node: string },
  ): Promise<Cluster> {
    const cluster = new Cluster(options);
    await cluster.applyState(options.node, state, devices);
    return cluster;
  }

  get world(): World {
    return this.current;
  }
  get snapshot(): Snapshot {
    return this.current.snapshot;
  }
  get only(): string | undefined {
    return this.options.node;
  }

  /** Pushes a new state into the living engines; sessions stay. */
  async apply(snapshot: Snapshot): Promise<void> {
    const nodes = snapshot.nodes.filter(({ name }) => (this.only ?? name) === name);
    if (nodes.length === 0) throw new NoPath(noNode(this.only, snapshot.nodes));
    const findings = this.options.findings ?? [];
    const module = this.options.module ?? await moduleSource(snapshot.policies);
    const calculator = new Calculator(snapshot, { findings, module });
    const states = nodes.map(({ name }) => calculator.state(name));
    if (!this.options.findings) stopAt(findings);
    for (const [i, node] of nodes.entries()) {
      await this.push(node.name, states[i]!, devicesOf(node));
    }
    for (const name of this.nodes.keys()) {
      if (!nodes.some((node) => node.name === name)) this.drop(name);
    }
    this.current = new World(snapshot, states[0]!.services, this.options.words);
  }

  /** The same for one node's state (fromState). */
  async applyState(name: string, state: NodeState, devices: NodeDevices): Promise<void> {
    await this.push(name, state, devices);
    const snapshot = snapshotOfState(state, name, devices);
    this.current = new World(snapshot, state.services, this.options.words);
  }

  private async push(name: string, state: NodeState, devices: NodeDevices): Promise<void> {
    await pushInto(this.nodes, name, state, devices);
    if (!this.options.sides) return;
    for (const side of SIDES) await pushInto(this.oneSided[side], name, state, devices, side);
  }

  private all(): ReadonlyMap<string, NodeRun>[] {
    return [this.nodes, this.oneSided.egress, this.oneSided.ingress];
  }

  private drop(name: string): void {
    for (const nodes of [this.nodes, this.oneSided.egress, this.oneSided.ingress]) {
      nodes.get(name)?.close();
      nodes.delete(name);
    }
  }

  /** The same cluster once more, without its sessions. */
  async fork(): Promise<Cluster> {
    const twin = new Cluster(this.options);
    for (const [name, { state, devices }] of this.nodes) await twin.push(name, state, devices);
    twin.current = this.current;
    return twin;
  }

  close(): void {
    for (const name of [...this.nodes.keys()]) this.drop(name);
  }

  /** The packets that a text stands for. Throws FlowError. */
  flows(text: string): Flow[] {
    return resolveFlow(parseFlow(text, this.current.words), this.current);
  }

  /** A result for each flow, in order. Throws NoPath. */
  run(flows: Flow[]): FlowResult[] {
    const results: FlowResult[] = [];
    for (let from = 0; from < flows.length;) {
      let to = from + 1;
      const { nowSeconds } = flows[from]!;
      while (to < flows.length && to - from < FRAME && flows[to]!.nowSeconds === nowSeconds) to++;
      const trips = flows.slice(from, to).map((flow) => this.trip(flow));
      this.judge(trips, nowSeconds);
      for (const { flow, hops, bytes, note } of trips) {
        const result = judgement(flow, hops, bytes);
        if (note !== undefined) result.note = note;
        results.push(result);
      }
      from = to;
    }
    return results;
  }

  private trip(flow: Flow): Trip {
    return { flow, entry: entryOf(flow, this), bytes: NOTHING, hops: [] };
  }

  private judge(trips: Trip[], nowSeconds: number | undefined): void {
    this.drive(trips, nowSeconds);
    for (const trip of trips) {
      if (!trip.hops.some(({ result }) => MET.has(result.reason))) continue;
      this.endSessions();
      this.drive([trip], nowSeconds);
    }
    let away = trips.filter(missesBackend);
    for (let round = 0; away.length && round < ROUNDS_MAX; round++) {
      const free = away.filter(({ flow }) => flow.sourcePort === undefined);
      if (free.length === 0) break;
      this.drive(free, nowSeconds);
      away = away.filter(missesBackend);
    }
    for (const trip of away) this.judgeDirectly(trip, nowSeconds);
  }

  /** A backend that the Service did not choose, asked for by its own address. */
  private judgeDirectly(trip: Trip, nowSeconds: number | undefined): void {
    const { flow } = trip;
    if (flow.to.kind !== "service" || !flow.to.backend) return;
    const { name, address, port } = flow.to.backend;
    const to = this.current.ownerOf(address) ?? { kind: "address" as const, address };
    const direct = this.trip({ ...flow, to, port });
    this.drive([direct], nowSeconds);
    [trip.hops, trip.bytes] = [direct.hops, direct.bytes];
    trip.note = `${flow.to.service} did not choose ${name} from the ports that were tried; ` +
      "judged at the backend's own address";
  }

  /** Runs packets from their entries to where they end. */
  private drive(trips: Trip[], nowSeconds: number | undefined): void {
    if (this.opened + 2 * trips.length > SESSIONS_MAX / 2) this.endSessions();
    for (const trip of trips) {
      trip.hops = [];
      trip.bytes = this.bytes(trip.flow);
    }
    this.frame(trips.map((trip) => ({ trip, entry: trip.entry, bytes: trip.bytes })), nowSeconds);
    const second = trips.flatMap((trip) => {
      const { node, result } = trip.hops[0]!;
      const entry = onward(trip.flow, node, result, this);
      return entry ? [{ trip, entry, bytes: result.bytes! }] : [];
    });
    this.frame(second, nowSeconds);
  }

  /** One frame of packets into each node that they stand at. */
  private frame(
    packets: { trip: Trip; entry: Entry; bytes: Uint8Array }[],
    nowSeconds = this.options.nowSeconds ?? Math.floor(Date.now() / 1000),
  ): void {
    const byNode = new Map<NodeRun, typeof packets>();
    for (const packet of packets) {
      const same = byNode.get(packet.entry.node);
      if (same) same.push(packet);
      else byNode.set(packet.entry.node, [packet]);
    }
    for (const [node, all] of byNode) {
      const results = node.process(
        all.map(({ entry, bytes }) => ({ interface: entry.at, bytes })),
        { nowMs: this.nowMs, nowSeconds },
      );
      results.forEach((result, i) => all[i]!.trip.hops.push({ node, result }));
      this.opened += all.length;
    }
  }

  private bytes(flow: Flow): Uint8Array {
    return buildPacket({
      source: flow.from.address, destination: flow.to.address, protocol: flow.protocol,
      sourcePort: flow.sourcePort ?? this.freshPort(), port: flow.port,
      icmp: flow.icmp ?? ECHO[flow.protocol],
    });
  }

  private freshPort(): number {
    this.port = this.port === PORT_LAST ? PORT_FIRST : this.port + 1;
    return this.port;
  }

  private endSessions(): void {
    this.nowMs = (this.nowMs + LONG_MS) >>> 0;
    for (const nodes of this.all()) {
      for (const node of nodes.values()) node.endSessions(this.nowMs);
    }
    this.opened = 0;
  }
}

const NOTHING = new Uint8Array(0);
const ECHO: Record<number, { type: number; code: number }> = {
  [PROTOCOL_NUMBERS["icmp"]!]: { type: 8, code: 0 },
  [PROTOCOL_NUMBERS["icmp6"]!]: { type: 128, code: 0 },
};

function missesBackend({ flow: { to }, hops }: Trip): boolean {
  if (to.kind !== "service" || !to.backend) return false;
  const { address, port } = to.backend;
  const met = hops.flatMap(({ node, result }) =>
    result.backend === undefined ? [] : [node.backendAt(result.backend)]);
  return met.length > 0 && !met.some((each) => each?.address === address && each.port === port);
}

function devicesOf(node: NodeObject): NodeDevices {
  return { uplinks: [{
    name: node.interface, addresses: node.addresses, routes: ["0.0.0.0/0", "::/0"],
  }] };
}

async function pushInto(
  nodes: Map<string, NodeRun>, name: string, state: NodeState, devices: NodeDevices, side?: Side,
): Promise<void> {
  const node = nodes.get(name);
  if (node) await node.push(state, devices);
  else nodes.set(name, await NodeRun.start(name, state, devices, side ? { side } : {}));
}

function noNode(name: string | undefined, nodes: NodeObject[]): string {
  if (name === undefined) return "the manifests have no node and no pods: nothing to run";
  const known = nodes.map((node) => node.name).join(", ");
  return `--node ${name}: no node of that name; there are ${known}`;
}
