// The Node engine: the packet program in V8, through @assemblyscript/loader. One instance a worker
// over one shared memory; other threads attach to the same memory (attach). In Node there is no
// prefetch, and modules change between frames, so one table an instance serves.
//
// A trap comes back as an exception: recover() says whose it was. A policy's: its slot denies from
// now on and the frame is run again. The core's own: the frame is dropped and counted.
import { instantiateSync } from "@assemblyscript/loader";
import { POLICY_SLOTS_MAX, SlotState, FRAME_PACKETS_MAX } from "../../assembly/layout.ts";
import {
  PushRefused, type Clock, type Dataplane, type Packet, type PolicyModule, type Push, type Result,
  type SessionView, type Trap,
} from "./dataplane.ts";
import { Memory } from "./memory.ts";
import { moduleRecord, streams } from "./record.ts";
import { restoreChunks, saveSessions } from "./savedsessions.ts";
import type { Reason } from "../../assembly/layout.ts";

export interface CoreExports extends Record<string, unknown> {
  stage(length: number): number;
  publish(generation: number): number;
  process(
    worker: number, count: number, nowMs: number, nowSeconds: number, generation: number,
  ): number;
  age(worker: number, nowMs: number, budget: number): number;
  recover(worker: number): number;
  restore(worker: number, family: number, count: number): number;
  member(packet: number, set: number, side: number): number;
}

export interface NodeOptions {
  /** Workers that this process drives; each has a frame region of its own. Default 1. */
  workers?: number;
  /** 64 KiB pages, fixed for life. Default 1,024. */
  memoryPages?: number;
  /** A memory that already holds a running program: this engine joins it. */
  attach?: WebAssembly.Memory;
}

export class NodeDataplane implements Dataplane {
  readonly engine = "node";
  readonly workers: number;
  readonly shared: WebAssembly.Memory;
  readonly memory: Memory;
  readonly core: CoreExports;
  private readonly table: WebAssembly.Table;
  private readonly trapped: Trap[] = [];
  private current = 0;

  constructor(core: Uint8Array | WebAssembly.Module, options: NodeOptions = {}) {
    this.workers = options.workers ?? 1;
    const pages = options.memoryPages ?? 1024;
    this.shared = options.attach ??
      new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.table = new WebAssembly.Table({ initial: POLICY_SLOTS_MAX, element: "anyfunc" });
    const { exports } = instantiateSync<CoreExports>(core as Uint8Array<ArrayBuffer>, {
      env: { memory: this.shared, table: this.table },
      host: { prefetch: () => {} },
    });
    this.core = exports as unknown as CoreExports;
    this.memory = new Memory(this.shared.buffer);
  }

  get generation(): number {
    return this.current;
  }

  stage(records: Uint8Array): void {
    for (const part of streams(records)) {
      const error = this.core.stage(this.memory.writeStaging(part));
      if (error) throw this.memory.refusal(error, "stage");
    }
  }

  push(push: Push): void {
    const functions = push.modules.map((module) => [module.slot, this.admit(module)] as const);
    this.stage(push.records);
    const error = this.core.publish(push.generation);
    if (error) throw this.memory.refusal(error, `publish ${push.generation}`);
    for (const [slot, evaluate] of functions) this.table.set(slot, evaluate);
    this.current = push.generation;
  }

  /** The core reads the module first; only what it admits is compiled. */
  private admit(module: PolicyModule): Function {
    const kind = module.kind === "user" ? SlotState.User : SlotState.Generated;
    const length = this.memory.writeStaging(moduleRecord(module.slot, kind, module.wasm));
    const error = this.core.stage(length);
    if (error) throw this.memory.refusal(error, `policy module for slot ${module.slot}`);
    return this.instantiate(module.wasm, module.slot);
  }

  /** Puts an admitted module into this instance's table: what an attached thread does at a push. */
  install(slot: number, wasm: Uint8Array | WebAssembly.Module): void {
    this.table.set(slot, this.instantiate(wasm, slot));
  }
  /** What an attached thread does last at a push: its next frame runs under this generation. */
  changeOver(generation: number): void {
    this.current = generation;
  }

  private instantiate(wasm: Uint8Array | WebAssembly.Module, slot: number): Function {
    try {
      const module = wasm instanceof WebAssembly.Module
        ? wasm
        : new WebAssembly.Module(wasm as Uint8Array<ArrayBuffer>);
      const instance = new WebAssembly.Instance(module, {
        env: { memory: this.shared }, margay: { member: this.core.member },
      });
      return instance.exports["evaluate"] as Function;
    } catch (cause) {
      throw new PushRefused("engine", 0, 0, `policy module for slot ${slot}: ${String(cause)}`);
    }
  }

  process(worker: number, packets: Packet[], clock: Clock): Result[] {
    const results: Result[] = [];
    for (let from = 0; from < packets.length; from += FRAME_PACKETS_MAX) {
      const frame = packets.slice(from, from + FRAME_PACKETS_MAX);
      frame.forEach((packet, i) => this.memory.writePacket(worker, i, packet));
      this.run(worker, frame.length, clock);
      frame.forEach((packet, i) => results.push(this.memory.readResult(worker, i, packet)));
    }
    return results;
  }

  /** Runs the frame that stands in the worker's slots and windows. */
  run(worker: number, count: number, clock: Clock): void {
    while (true) {
      try {
        const answer = this.core.process(
          worker, count, clock.nowMs, clock.nowSeconds, this.current,
        );
        if (answer) throw new RangeError(`process: worker ${worker} or count ${count}`);
        return;
      } catch (cause) {
        if (cause instanceof RangeError && !/stack/.test(cause.message)) throw cause;
        if (!this.recovered(worker, cause)) return;
      }
    }
  }

  /** Handles a trap; true when the frame may be run again. */
  private recovered(worker: number, cause: unknown): boolean {
    const policySlot = this.core.recover(worker);
    if (policySlot < 0) throw cause;
    this.trapped.push({ worker, policySlot, message: String(cause) });
    return policySlot > 0;
  }

  age(worker: number, nowMs: number, budget: number): number {
    try {
      return this.core.age(worker, nowMs, budget);
    } catch (cause) {
      this.recovered(worker, cause);
      return 0;
    }
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
    for (const { family, records, count } of restoreChunks(saved, nowMs)) {
      this.memory.bytes.set(records, this.memory.windowOf(worker, 0));
      taken += this.restore(worker, family, count);
    }
    return taken;
  }
  private restore(worker: number, family: number, count: number): number {
    let taken: number;
    try {
      taken = this.core.restore(worker, family, count);
    } catch (cause) {
      this.recovered(worker, cause);
      return 0;
    }
    if (taken < 0) throw new RangeError(`restoreSessions: worker ${worker}`);
    return taken;
  }
  /** Traps since the last call. */
  traps(): Trap[] {
    return this.trapped.splice(0);
  }
  close(): void {}
}
