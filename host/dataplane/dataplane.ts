// The dataplane as the agent sees it: one interface, three engines. An engine runs the very bytes
// of build/margay.wasm; it moves records, modules and frames, and decides nothing.
//
//   push({ generation, modules, records })  ->  admitted, compiled, staged, published: all or none
//   process(worker, packets, clock)         ->  a result for each packet, in order
//
// Errors: a refused push throws PushRefused with the core's reason; the generation before runs on.

import type { Reason, SlotHook, Stage, Verdict } from "../../assembly/layout.ts";

/** Time as an argument: the same input gives the same bytes on every engine. */
export interface Clock {
  /** Milliseconds, u32, wraps. */
  nowMs: number;
  /** Unix time in seconds. */
  nowSeconds: number;
}

/** A packet from its L3 header on, as it came in at an interface. */
export interface Packet {
  interface: number;
  /** Bytes from the L3 header to the packet's end; never changed: the result has its own. */
  bytes: Uint8Array;
  /** SlotFlag bits; none when absent. */
  flags?: number;
  /** Where it was met: Entering when absent. */
  hook?: SlotHook;
}

export interface Result {
  verdict: Verdict;
  reason: Reason;
  /** Policy slot of the deciding rule; 0 = no rule. */
  policySlot: number;
  /** Index of the deciding rule in its policy. */
  rule: number;
  /** 0 forward, 1 return. */
  direction: number;
  /** Id of the chosen backend, undefined where no Service was in play. */
  backend: number | undefined;
  /** Number of the node that the packet goes on to as it is (DSR); undefined for all others. */
  peer?: number;
  /**
   * What each policy stage that was asked said: the slot and the rule that decided there, by
   * layout.ts' Stage. Empty for packets of sessions and those that met no policy.
   */
  stages?: StageRule[];
  /** The packet as it leaves, or the answer (Verdict.Reply); undefined for a drop. */
  bytes: Uint8Array | undefined;
}

/** A stage of a judgement, and the rule that decided it. */
export interface StageRule {
  stage: Stage;
  policySlot: number;
  /** Beyond the policy's rules: none of them matched. */
  rule: number;
}

/** A result in VPP, which drops some packets before the plugin sees them, or behind it. */
export interface VppResult extends Omit<Result, "reason"> {
  reason: Reason | "vpp-input" | "vpp-forward";
}

export interface PolicyModule {
  /** 1..4095: the slot of the function table, and the policySlot of results. */
  slot: number;
  kind: "generated" | "user";
  wasm: Uint8Array;
}

export interface Push {
  generation: number;
  modules: PolicyModule[];
  /** Stage records, Begin first (host/compile/records.ts). */
  records: Uint8Array;
}

/** A live session as every engine must dump it: sorted by its text. Addresses are printed. */
export interface SessionView {
  family: 4 | 6;
  protocol: number;
  source: string;
  sourcePort: number;
  destination: string;
  destinationPort: number;
  toSource: string;
  toSourcePort: number;
  toDestination: string;
  toDestinationPort: number;
  /** SessionFlag bits. */
  flags: number;
  seenMs: number;
  rule: number;
  sourceEndpoint: number;
  destinationEndpoint: number;
  generation: number;
  backend: number;
  /** Number of the node that forward packets go on to (DSR), 0 = none. */
  peer: number;
}

export interface Trap {
  worker: number;
  /** 0 = the core itself trapped. */
  policySlot: number;
  message: string;
}

export interface Dataplane {
  readonly engine: "node" | "native";
  readonly workers: number;
  /** Immediate records: Configure (once, first) and Bind. Throws PushRefused. */
  stage(records: Uint8Array): void;
  push(push: Push): void;
  readonly generation: number;
  /** At most 256 packets at a time go into a frame; more are cut. */
  process(worker: number, packets: Packet[], clock: Clock): Result[];
  /** Visits at most `budget` session records, ends the idle ones, returns how many it ended. */
  age(worker: number, nowMs: number, budget: number): number;
  /** Packets by reason, all workers added up. */
  counters(): Map<Reason, bigint>;
  /** Hits by rule of a policy slot that has counters (host/compile); [] where none are kept. */
  ruleHits?(slot: number): bigint[];
  sessions(): SessionView[];
  /**
   * The sessions as bytes, and back: of the same layout version alone. Endpoints are those of the
   * indices and incarnations in the bytes (host/dataplane/checkpoint.ts renames them). Returns how
   * many were taken; those whose tuple is known already, or that find no room, are left out.
   * nowMs of saving: the time of the newest packet where absent.
   */
  saveSessions(nowMs?: number): Uint8Array;
  restoreSessions(worker: number, saved: Uint8Array, nowMs: number): number;
  traps(): Trap[];
  close(): void;
}

/** The core, the door or the engine refused what was pushed; the generation before runs on. */
export class PushRefused extends Error {
  constructor(
    /** A StageError's text in kebab case, or "engine". */
    readonly reason: string,
    /** Ordinal of the record in the stream, 0-based. */
    readonly record: number,
    readonly detail: number,
    message: string,
  ) {
    super(message);
    this.name = "PushRefused";
  }
}
