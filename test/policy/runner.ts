// The program on a node's state: state, program, push, process(), and what each stage said in the
// author's terms. One engine takes many states one after the other, as a node does; every packet
// meets no session, for between two frames time passes and all sessions end.
import { Reason, Stage, Verdict } from "../../assembly/layout.ts";
import { NodeMemory, nodeProgram } from "../../host/compile/node.ts";
import { bindRecords, Compiler } from "../../host/compile/program.ts";
import { configureRecord } from "../../host/compile/records.ts";
import { coreModule } from "../../host/dataplane/core.ts";
import type { Result } from "../../host/dataplane/dataplane.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import type { Budgets, Program } from "../../host/model/program.ts";
import type { NodeDevices, NodeState } from "../../host/model/state.ts";
import { HOST } from "../reference/policy.ts";
import type { Packet } from "./generate.ts";

export const BUDGETS: Budgets = {
  workers: 1, sessions4Max: 1024, sessions6Max: 1024, endpointsMax: 64, servicesMax: 64,
};
const DAY_MS = 86_400_000;
/** Interface numbers that no endpoint has. */
const NOBODY = 4000;

export interface StageOutcome {
  stage: string;
  by: string;
  rule: number;
}
export interface Outcome {
  verdict: "pass" | "drop";
  reason: string;
  stages: StageOutcome[];
}

export class Runner {
  readonly dataplane: NodeDataplane;
  readonly compiler: Compiler;
  program!: Program;
  private readonly places = new NodeMemory();
  private readonly interfaces = new Map<string, number>();
  private generation = 0;
  private nowMs = 1_000_000;

  constructor(budgets: Budgets = BUDGETS, memoryPages = 1024) {
    this.dataplane = new NodeDataplane(coreModule(), { workers: 1, memoryPages });
    this.compiler = new Compiler(budgets);
    this.dataplane.stage(configureRecord(budgets));
  }

  /** Pushes a state as the next generation. */
  async load(state: NodeState, devices: NodeDevices): Promise<void> {
    const program = nodeProgram(state, devices, this.places);
    this.dataplane.push(await this.compiler.compile(program, ++this.generation));
    this.dataplane.stage(bindRecords(program));
    this.adopt(program, state, devices);
  }
  /** Takes a program that was pushed by other hands: which interface is whose. */
  adopt(program: Program, state: NodeState, devices: NodeDevices): void {
    this.program = program;
    this.interfaces.clear();
    for (const { name } of devices.uplinks) this.bind(name, name, "uplink");
    for (const one of state.workloads.values()) this.bind(one.interface, one.workload, "workload");
    this.bind(HOST, undefined, "host");
  }
  private bind(key: string, name: string | undefined, kind: string): void {
    const found = this.program.endpoints.filter((each) => each.kind === kind)
      .find((each) => name === undefined || each.name === name);
    const number = found?.interfaces[0];
    if (number === undefined) throw new Error(`the program has no ${kind} ${name ?? ""}`);
    this.interfaces.set(key, number);
  }

  /** Packets that must not meet each other's sessions, in one frame. */
  frame(packets: readonly Packet[]): Outcome[] {
    return this.raw(packets).map((result) => this.outcome(result));
  }
  /** `afresh`: sessions of frames before have ended. */
  raw(packets: readonly Packet[], afresh = true): Result[] {
    if (afresh) this.nowMs = (this.nowMs + DAY_MS) >>> 0;
    while (afresh && this.dataplane.age(0, this.nowMs, 4096) > 0);
    return this.dataplane.process(0, packets.map((each) => ({
      interface: this.interfaces.get(each.interface) ?? NOBODY, bytes: each.bytes,
    })), { nowMs: this.nowMs, nowSeconds: 1_700_000_000 });
  }

  private outcome(result: Result): Outcome {
    return {
      verdict: result.verdict === Verdict.Pass ? "pass" : "drop",
      reason: Reason[result.reason] ?? String(result.reason),
      stages: (result.stages ?? []).flatMap(({ stage, policySlot, rule }) => {
        const author = this.author(policySlot, rule);
        return author ? [{ stage: STAGES[stage]!, ...author }] : [];
      }),
    };
  }

  /**
   * The author's policy and rule, by the origin that tests give their rules, in the twin's words;
   * undefined where nothing decided.
   */
  author(slot: number, index: number): { by: string; rule: number } | undefined {
    const rule = this.compiler.ruleAt(slot, index);
    const path = rule?.origin?.path;
    if (!rule || path === undefined || path === "no forward policy decided") return undefined;
    const own = /^(.*) (?:inbound|outbound)\[(\d+)\]$/.exec(path);
    if (own) return { by: own[1]!, rule: Number(own[2]) };
    const end = /^(tier .*): default action$/.exec(path)?.[1];
    if (end) return { by: end, rule: -1 };
    if (path === "no profile matched") return { by: "profiles", rule: -1 };
    return { by: path.startsWith("failsafe ") ? "failsafe" : rule.policy ?? path, rule: -1 };
  }
}

/** Names of layout.ts' enum Stage, which is a constant one. */
const STAGES: Record<number, string> = {
  [Stage.Untracked]: "Untracked", [Stage.PreDnat]: "PreDnat",
  [Stage.UntrackedOut]: "UntrackedOut", [Stage.Egress]: "Egress",
  [Stage.ForwardIn]: "ForwardIn", [Stage.ForwardOut]: "ForwardOut", [Stage.Ingress]: "Ingress",
  [Stage.StagedEgress]: "StagedEgress", [Stage.StagedIngress]: "StagedIngress",
};
