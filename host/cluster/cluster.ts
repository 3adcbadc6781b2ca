// A cluster that runs flows: an engine a node, each with its node's program. A flow becomes a
// packet, the packet takes its way (path.ts) through process() of one node or of two, and what
// stands in its slots then is the answer (judgement.ts).
//
//   Snapshot ─ calculate ─► NodeState ─► NodeRun (node.ts)   Flow ─► packet ─► hops ─► FlowResult
//
// Every flow is a new one: source ports are fresh, and where tables fill or a packet meets an older
// session, the clock moves on, sessions end and the packet runs again.
import { Reason, Verdict } from "../../assembly/layout.ts";
import { Calculator } from "../calc/calculate.ts";
import type { ModuleSource } from "../calc/module.ts";
import { moduleSource } from "../module/source.ts";
import { PROTOCOL_NUMBERS } from "../model/rule.ts";
import type { Finding, NodeObject, Snapshot } from "../model/snapshot.ts";
import type { NodeDevices, NodeState } from "../model/state.ts";
import { parseFlow } from "./flow.ts";
import { judgement } from "./judgement.ts";
import { stopAt } from "./fault.ts";
import { snapshotOfState } from "./mirror.ts";
import { FRAME, NodeRun, SESSIONS_MAX } from "./node.ts";
import { buildPacket } from "./packet.ts";
import { carry } from "./journey.ts";
import { entryOf, NoPath, type Roads, type Trip } from "./path.ts";
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
  words?: ReadonlyMap<string, FlowEnd[]> | undefined;
  /** Unix time; now when absent. */
  nowSeconds?: number;
  /** What is found wrong in manifests is added here and left out; without it, errors are thrown. */
  findings?: Finding[];
  /** Reads the modules of ModulePolicies; where absent, from the files that they name. */
  module?: ModuleSource;
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
/** Reasons that may be told to the sender. */
const ANSWERED = new Set([Reason.NoBackend, Reason.UnknownServicePort]);
/** By then another answer may be given. */
const ANSWER_MS = 1_000;
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
      await this.push(node.name, states[i]!, devicesOf(node, states[i]!));
    }
    for (const name of this.nodes.keys()) {
      if (!nodes.some((node) => node.name === name)) this.drop(name);
    }
    this.settle(snapshot);
  }

  /** The same for one node's state (fromState). */
  async applyState(name: string, state: NodeState, devices: NodeDevices): Promise<void> {
    await this.push(name, state, devices);
    this.settle(snapshotOfState(state, name, devices));
  }

  private async push(name: string, state: NodeState, devices: NodeDevices): Promise<void> {
    await pushInto(this.nodes, name, state, devices);
    if (!this.options.sides) return;
    for (const side of SIDES) await pushInto(this.oneSided[side], name, state, devices, side);
  }

  /** The nodes have their states: what names stand for, in them. */
  private settle(snapshot: Snapshot): void {
    const states = [...this.nodes].map(([name, { state }]) => [name, state] as const);
    const services = states.map(([name, state]) => [name, state.services] as const);
    this.current = new World(snapshot, new Map(services), this.words);
    this.current.arePodsTold = states.every(([, { config }]) =>
      config.get("KubeProxyDetectLocalMode")?.toLowerCase() !== "none");
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

  private get words(): ReadonlyMap<string, FlowEnd[]> | undefined {
    return this.options.words;
  }

  /** The same cluster once more, without its sessions; with a test's endpoints of its own. */
  async fork(words = this.words): Promise<Cluster> {
    const twin = new Cluster({ ...this.options, words });
    for (const [name, { state, devices }] of this.nodes) await twin.push(name, state, devices);
    if (words === this.words) twin.current = this.current;
    else twin.settle(this.snapshot);
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
    this.answerLimited(trips, nowSeconds);
    let away = trips.filter(missesBackend);
    for (let round = 0; away.length && round < ROUNDS_MAX; round++) {
      const free = away.filter(({ flow }) => flow.sourcePort === undefined && !this.keeps(flow));
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
    const owner = this.current.ownerOf(address);
    const asked = { ...flow, to: owner ?? { kind: "address" as const, address }, port };
    // What is nobody's of the cluster is asked for where the Service was.
    const direct = owner ? this.trip(asked) : { ...trip, flow: asked };
    this.drive([direct], nowSeconds);
    [trip.hops, trip.bytes] = [direct.hops, direct.bytes];
    const why = this.keeps(flow) ? `keeps this client at another backend than ${name} (affinity)`
      : `did not choose ${name} from the ports that were tried`;
    trip.note = `${flow.to.service} ${why}; judged at the backend's own address`;
  }

  /** Does the Service choose by the client's address alone (sessionAffinity)? */
  private keeps({ to, protocol, port }: Flow): boolean {
    if (to.kind !== "service") return false;
    return this.current.service(to.address, protocol, port ?? 0)?.affinitySeconds !== undefined;
  }

  /** Answers are limited, so that a flood earns none: those that were not given are asked again. */
  private answerLimited(trips: Trip[], nowSeconds: number | undefined): void {
    for (const trip of trips) {
      const { node, result: { verdict, reason } } = trip.hops[trip.hops.length - 1]!;
      const isTold = ANSWERED.has(reason) || (reason === Reason.PolicyDenied &&
        node.program.settings?.rejectDenied === true);
      if (verdict !== Verdict.Drop || !isTold) continue;
      this.nowMs = (this.nowMs + ANSWER_MS) >>> 0;
      this.drive([trip], nowSeconds);
    }
  }

  /** Runs packets from their entries to where they end. */
  private drive(trips: Trip[], nowSeconds = this.nowSeconds): void {
    if (this.opened + 2 * trips.length > SESSIONS_MAX / 2) this.endSessions();
    for (const trip of trips) trip.bytes = this.bytes(trip.flow);
    this.opened += carry(trips, this, { nowMs: this.nowMs, nowSeconds });
  }

  private get nowSeconds(): number {
    return this.options.nowSeconds ?? Math.floor(Date.now() / 1000);
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

/** Of an uplink that bears what other nodes pass on. */
const PEER_INTERFACE = "margay-peers";

function devicesOf(node: NodeObject, { services }: NodeState): NodeDevices {
  const uplink = {
    name: node.interface, addresses: node.addresses, routes: ["0.0.0.0/0", "::/0"],
  };
  const peers = { name: PEER_INTERFACE, addresses: [], routes: [], peer: true };
  return { uplinks: services.some(({ dsr }) => dsr) ? [uplink, peers] : [uplink] };
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
