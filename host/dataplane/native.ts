// The native engine: the packet program in Wasmtime, through the Node addon (native/addon.cc). What
// stands in the linear memory is read by the same views as the Node engine's; the addon stages,
// publishes and runs frames. Every worker has two stores, so that a push changes modules and tables
// at a frame boundary, while the addon's traffic threads go on.
//
// Limits: a push blocks this thread, never the workers. A worker belongs to one thread: while the
// addon's traffic runs on it, process() and age() refuse it.
import { FRAME_PACKETS_MAX, SlotState } from "../../assembly/layout.ts";
import type { Reason } from "../../assembly/layout.ts";
import { loadAddon, type Addon, type AddonError, type AddonStatistics } from "./addon.ts";
import {
  PushRefused, type Clock, type Dataplane, type Packet, type Push, type Result, type SessionView,
  type Trap,
} from "./dataplane.ts";
import { Memory } from "./memory.ts";
import { restoreChunks, saveSessions } from "./savedsessions.ts";

export interface NativeOptions {
  /** Workers, each with a frame region and two stores. Default 1. */
  workers?: number;
  /** 64 KiB pages, fixed for life. Default 1,024. */
  memoryPages?: number;
  /** Off, the prefetch import does nothing. Default on. */
  prefetch?: boolean;
  /** Advise the kernel to back the linear memory with 2 MB pages. Default off. */
  hugePages?: boolean;
  /** The core was built with a memory of its own; one worker. Default off. */
  privateMemory?: boolean;
}

export class NativeDataplane implements Dataplane {
  readonly engine = "native";
  readonly workers: number;
  readonly memory: Memory;
  /** For traffic threads and statistics. */
  readonly addon: Addon;

  constructor(core: Uint8Array, options: NativeOptions = {}) {
    const Native = loadAddon();
    this.workers = options.workers ?? 1;
    this.addon = new Native({ core, ...options });
    this.memory = new Memory(this.addon.memory());
  }

  get generation(): number {
    return this.addon.generation();
  }

  stage(records: Uint8Array): void {
    refusing("stage", () => this.addon.stage(records));
  }

  push(push: Push): void {
    for (const { slot, kind, wasm } of push.modules) {
      const state = kind === "user" ? SlotState.User : SlotState.Generated;
      refusing(`policy module for slot ${slot}`, () => this.addon.module(slot, state, wasm));
    }
    this.stage(push.records);
    refusing(`publish ${push.generation}`, () => this.addon.publish(push.generation));
  }

  process(worker: number, packets: Packet[], clock: Clock): Result[] {
    const results: Result[] = [];
    for (let from = 0; from < packets.length; from += FRAME_PACKETS_MAX) {
      const frame = packets.slice(from, from + FRAME_PACKETS_MAX);
      frame.forEach((packet, i) => this.memory.writePacket(worker, i, packet));
      this.addon.process(worker, frame.length, clock.nowMs >>> 0, clock.nowSeconds >>> 0);
      frame.forEach((packet, i) => results.push(this.memory.readResult(worker, i, packet)));
    }
    return results;
  }

  age(worker: number, nowMs: number, budget: number): number {
    return this.addon.age(worker, nowMs >>> 0, budget);
  }

  counters(): Map<Reason, bigint> {
    return this.memory.counters();
  }
  ruleHits(slot: number): bigint[] {
    return this.memory.ruleHits(slot);
  }
  sessions(): SessionView[] {
    return this.memory.sessions();
  }
  saveSessions(nowMs?: number): Uint8Array {
    return saveSessions(this.memory, nowMs);
  }
  restoreSessions(worker: number, saved: Uint8Array, nowMs: number): number {
    let taken = 0;
    for (const { family, records } of restoreChunks(saved, nowMs)) {
      taken += this.addon.restore(worker, family, records);
    }
    return taken;
  }
  /** Traps since the last call; the addon keeps 64. */
  traps(): Trap[] {
    return this.addon.traps();
  }
  stats(): AddonStatistics {
    return this.addon.stats();
  }
  /** Ends traffic, frees the memory; views of it have length 0 from then on. */
  close(): void {
    this.addon.close();
  }
}

/** Turns the addon's refusal into the dataplane's, said as the Node engine says it. */
function refusing(what: string, action: () => void): void {
  try {
    action();
  } catch (cause) {
    const { reason, record, detail, message } = cause as AddonError;
    if (reason === undefined) throw cause;
    const said = reason === "engine"
      ? `${what}: ${message}`
      : `${what}: ${reason} (record ${record}, detail ${detail})`;
    throw new PushRefused(reason, record, detail, said);
  }
}
