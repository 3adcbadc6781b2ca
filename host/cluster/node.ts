// One node of a cluster: its state, the program made of it, and an engine that runs the program.
// New states are pushed into the living engine; its sessions stay.
//
//   NodeState ─ nodeProgram ─► Program ─ Compiler ─► Push ─► engine.process(packets)
//
// An engine's tables have budgets for life; a state that outgrows them gets a new engine, whose
// sessions begin anew, and `outgrown` says so.
import { readFileSync } from "node:fs";
import { FRAME_PACKETS_MAX, INTERFACES_MAX } from "../../assembly/layout.ts";
import { budgetsFor, fitsBudgets } from "../compile/budgets.ts";
import { HOOK_NAMES } from "../compile/endpointrecord.ts";
import { NodeMemory, nodeProgram } from "../compile/node.ts";
import { bindRecords, Compiler } from "../compile/program.ts";
import { bindRecord, configureRecord } from "../compile/records.ts";
import { coreFile, coreModule } from "../dataplane/core.ts";
import { PushRefused, type Clock, type Packet, type Result } from "../dataplane/dataplane.ts";
import { concat } from "../dataplane/record.ts";
import { NodeDataplane } from "../dataplane/node.ts";
import type { NativeDataplane } from "../dataplane/native.ts";
import { addressBytes, addressNumber, familyOf } from "../model/address.ts";
import type { Backend, Budgets, Endpoint, Program, ProgramRule } from "../model/program.ts";
import type { NodeDevices, NodeState } from "../model/state.ts";
import type { Side } from "./types.ts";

export const SESSIONS_MAX = 4_096;
const SESSIONS = { sessions4Max: SESSIONS_MAX, sessions6Max: SESSIONS_MAX };
/** No program gives this number away: what comes in there is from an unknown endpoint. */
const NOBODY = INTERFACES_MAX - 1;
const PAGES_LEAST = 256;
const PAGES_MOST = 65_536;

export type EngineName = "node" | "native";

export interface NodeRunOptions {
  /** Only this side's policies are kept; both where absent. */
  side?: Side;
  /** "node" where absent. */
  engine?: EngineName;
}

export class NodeRun {
  program!: Program;
  /** How often a state did not fit, and the engine was made anew. */
  outgrown = 0;
  private engine!: NodeDataplane | NativeDataplane;
  private readonly memory = new NodeMemory();
  private compiler!: Compiler;
  private budgets!: Budgets;
  private pages = PAGES_LEAST;
  private generation = 0;
  private workloads = new Map<string, number>();
  private names = new Map<string, number>();
  private hostInterface = 0;
  private uplinks: { address: Set<string>; number: number; endpoint: Endpoint }[] = [];
  private peerNumber: number | undefined;
  private bound = new Set<number>();

  private constructor(
    readonly name: string,
    public state: NodeState,
    public devices: NodeDevices,
    private readonly options: NodeRunOptions,
  ) {}

  static async start(
    name: string, state: NodeState, devices: NodeDevices, options: NodeRunOptions = {},
  ): Promise<NodeRun> {
    const node = new NodeRun(name, state, devices, options);
    node.program = node.programOf(state, devices);
    await node.build();
    return node;
  }

  /** Pushes a new state into the living engine. Throws PushRefused: the state before runs on. */
  async push(state: NodeState, devices = this.devices): Promise<void> {
    const program = this.programOf(state, devices);
    const before = this.program;
    try {
      if (!fitsBudgets(program, this.budgets)) throw new PushRefused("table-full", 0, 0, "budgets");
      await this.publish(program);
    } catch (error) {
      if (!isFull(error)) throw error;
      this.program = program;
      try {
        await this.build();
      } catch (cause) {
        this.program = before;
        throw cause;
      }
      this.outgrown++;
    }
    [this.state, this.devices] = [state, devices];
  }

  private programOf(state: NodeState, devices: NodeDevices): Program {
    const program = nodeProgram(state, devices, this.memory);
    const { side } = this.options;
    return side === undefined ? program : oneSided(program, side);
  }

  /** A fresh engine; its memory grows until the program fits. */
  private async build(): Promise<void> {
    for (;; this.pages *= 2) {
      this.engine?.close();
      this.engine = await openEngine(this.options.engine ?? "node", this.pages);
      this.generation = 0;
      this.bound.clear();
      this.budgets = budgetsFor([this.program], SESSIONS);
      this.compiler = new Compiler(this.budgets);
      try {
        this.engine.stage(configureRecord(this.budgets));
        return await this.publish(this.program);
      } catch (error) {
        const more = error instanceof PushRefused && /arena-full|memory-too/.test(error.reason);
        if (!more || this.pages * 2 > PAGES_MOST) throw error;
      }
    }
  }

  private async publish(program: Program): Promise<void> {
    const push = await this.compiler.compile(program, this.generation + 1);
    this.engine.push(push);
    this.generation++;
    const now = new Set(program.endpoints.flatMap(({ interfaces }) => interfaces));
    const gone = [...this.bound].filter((number) => !now.has(number));
    if (gone.length) {
      this.engine.stage(concat(gone.map((number) => bindRecord(number, undefined))));
    }
    this.engine.stage(bindRecords(program));
    this.bound = now;
    this.program = program;
    this.index();
  }

  private index(): void {
    this.workloads.clear();
    this.names.clear();
    this.uplinks = [];
    this.peerNumber = undefined;
    for (const endpoint of this.program.endpoints) {
      const number = endpoint.interfaces[0];
      if (number === undefined) continue;
      if (endpoint.kind === "host") this.hostInterface = number;
      if (endpoint.kind === "uplink" && endpoint.peer) this.peerNumber = number;
      else if (endpoint.kind === "uplink") {
        this.uplinks.push({ address: new Set(endpoint.addresses), number, endpoint });
      }
      if (endpoint.kind !== "workload") continue;
      this.names.set(endpoint.name, number);
      for (const address of endpoint.addresses) this.workloads.set(plain(address), number);
    }
  }

  /** Number of the interface that a local workload sends at; one of nobody's for others. */
  interfaceOf(address: string): number {
    return this.workloads.get(plain(address)) ?? NOBODY;
  }
  /** The same by the workload's name, "namespace/pod". */
  workload(name: string): number {
    return this.names.get(name) ?? NOBODY;
  }
  get host(): number {
    return this.hostInterface;
  }
  /** Where packets for `destination` come in from the world. */
  uplinkFor(destination: string): number {
    const own = this.uplinks.find(({ address }) => address.has(destination));
    return (own ?? this.uplinks[0])?.number ?? NOBODY;
  }

  /** Where what other nodes pass on (DSR) comes in. */
  get peerUplink(): number {
    return this.peerNumber ?? this.uplinks[0]?.number ?? NOBODY;
  }
  /** The node of a result's `peer`. */
  peerName(peer: number): string | undefined {
    return this.program.peers?.[peer - 1];
  }

  process(packets: Packet[], clock: Clock): Result[] {
    return this.engine.process(0, packets, clock);
  }

  /** Ends the sessions that are idle by then. */
  endSessions(nowMs: number): void {
    this.engine.age(0, nowMs, 2 * SESSIONS_MAX);
    this.engine.age(0, nowMs, 2 * SESSIONS_MAX);
  }

  /** What was doubtful in the state: "workload …: 10.0.0.1 is an address of host". */
  get problems(): readonly string[] {
    return this.memory.problems;
  }
  ruleAt(slot: number, index: number): ProgramRule | undefined {
    return this.compiler.ruleAt(slot, index);
  }
  /** "ModulePolicy shop/window", where a user's module is in the slot. */
  moduleAt(slot: number): string | undefined {
    const name = this.compiler.ruleName(slot, 0);
    const isModule = this.program.policies.some((each) => each.name === name && "wasm" in each);
    // Behind the author's name stands the content's hash.
    return isModule ? name!.slice(0, name!.lastIndexOf(" ")) : undefined;
  }
  backendAt(id: number): Backend | undefined {
    return this.compiler.backendAt(id);
  }
  /** Policy modules that trapped since the last call; 0 is the core itself. */
  traps(): number[] {
    return this.engine.traps().map(({ policySlot }) => policySlot);
  }
  close(): void {
    this.engine.close();
  }
}

async function openEngine(
  engine: EngineName, memoryPages: number,
): Promise<NodeDataplane | NativeDataplane> {
  if (engine === "node") return new NodeDataplane(coreModule(), { memoryPages });
  const { NativeDataplane: Native } = await import("../dataplane/native.ts");
  return new Native(readFileSync(coreFile()), { memoryPages });
}

export const FRAME = FRAME_PACKETS_MAX;

/** The program with the other side's policies taken away. */
function oneSided(program: Program, side: Side): Program {
  const endpoints = program.endpoints.map((endpoint): Endpoint => {
    if (endpoint.kind !== "workload") return endpoint;
    const kept = { ...endpoint };
    if (side === "egress") delete kept.ingress;
    else delete kept.egress;
    delete kept.stagedEgress;
    delete kept.stagedIngress;
    return kept;
  });
  return { ...program, endpoints, policies: named(program.policies, endpoints) };
}

/** Policies that a hook names, and the steps of chains among them. */
function named(policies: Program["policies"], endpoints: Endpoint[]): Program["policies"] {
  const names = new Set(endpoints.flatMap((endpoint) => HOOK_NAMES.map((hook) => endpoint[hook])));
  for (const policy of policies) {
    if (!("steps" in policy) || !names.has(policy.name)) continue;
    for (const step of policy.steps) names.add(step.policy);
  }
  return policies.filter(({ name }) => names.has(name));
}

/** The core's tables, or the compiler's numbers, which rest for some generations, are used up. */
function isFull(error: unknown): boolean {
  if (error instanceof PushRefused) {
    return /full|too-small|field-out-of-range/.test(error.reason);
  }
  return /^more than \d+ (sets|different policies|groups|backends)/.test((error as Error).message);
}

/** Two texts of one IPv6 address are one address; prefixes of full length are addresses. */
function plain(text: string): string {
  const address = text.split("/")[0]!;
  return familyOf(address) === 4 ? address : addressNumber(addressBytes(address)).toString(16);
}
