// The engines under a bench, behind one face: Node's, the native one where it is built, and the C
// twin over a copy of the native one's memory where a compiler is there, too. Each runs the frames
// that it is given; only the program's own time counts, not the copying in.
//
//   start ─► push ─► round: age, copy to the twin ─► pass (opens flows) ─► pass (carries them) ─► …
import {
  FRAME_PACKETS_MAX, Reason, ROOT, ROOT_ARENA_NEXT, SLOT_REASON, SLOT_VERDICT,
} from "../../assembly/layout.ts";
import type { Push } from "../../host/dataplane/dataplane.ts";
import { addonPath } from "../../host/dataplane/addon.ts";
import { Memory } from "../../host/dataplane/memory.ts";
import { NativeDataplane } from "../../host/dataplane/native.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { reasonText } from "../../host/model/names.ts";
import { FRAME_IN, SLOTS_BYTES } from "./frames.ts";
import { copyMemory, openTwin, runTwin, twinMissing } from "./twin.ts";

export interface Engine {
  readonly name: "node" | "native" | "twin";
  readonly memory: Memory;
  stage(records: Uint8Array): void;
  push(push: Push): void;
  /** Runs the frame that stands in worker 0's slots and windows. */
  run(nowMs: number): void;
  age(nowMs: number, budget: number): number;
  close(): void;
}

/** What of an engine is its dataplane's own. */
abstract class OfDataplane<D extends NodeDataplane | NativeDataplane> {
  readonly memory: Memory;
  constructor(readonly dataplane: D) {
    this.memory = dataplane.memory;
  }
  stage(records: Uint8Array): void {
    this.dataplane.stage(records);
  }
  push(push: Push): void {
    this.dataplane.push(push);
  }
  age(nowMs: number, budget: number): number {
    return this.dataplane.age(0, nowMs, budget);
  }
  close(): void {
    this.dataplane.close();
  }
}

class Node extends OfDataplane<NodeDataplane> implements Engine {
  readonly name = "node";
  constructor(core: Uint8Array, memoryPages: number) {
    super(new NodeDataplane(core, { memoryPages }));
  }
  run(nowMs: number): void {
    this.dataplane.core.process(0, FRAME_PACKETS_MAX, nowMs, 0, this.dataplane.generation);
  }
}

class Native extends OfDataplane<NativeDataplane> implements Engine {
  readonly name = "native";
  constructor(core: Uint8Array, memoryPages: number) {
    super(new NativeDataplane(core, { memoryPages, hugePages: true }));
  }
  run(nowMs: number): void {
    this.dataplane.addon.process(0, FRAME_PACKETS_MAX, nowMs, 0);
  }
}

/** Takes over the native engine's memory before each round: it opens what that opens. */
class Twin implements Engine {
  readonly name = "twin";
  readonly memory: Memory;
  constructor(private readonly of: Native) {
    this.memory = new Memory(openTwin(of.memory.buffer as ArrayBuffer));
  }
  stage(): void {}
  push(): void {}
  run(nowMs: number): void {
    const left = runTwin(this.memory.buffer as ArrayBuffer, FRAME_PACKETS_MAX, nowMs,
      this.of.dataplane.generation);
    if (left) throw new Error(`bench: the twin left ${left} packets alone`);
  }
  age(): number {
    const used = this.of.memory.view.getUint32(ROOT + ROOT_ARENA_NEXT, true);
    copyMemory(this.memory.buffer as ArrayBuffer, this.of.memory.buffer as ArrayBuffer, used);
    return 0;
  }
  close(): void {}
}

/** Why there is no native half; undefined where there is one. */
export function nativeMissing(): string | undefined {
  return addonPath() ? undefined : "build/native/margay.node is not built: npm run build:native";
}

/** The engines there are; `twin`: the twin too, where it can be. */
export function engines(core: Uint8Array, memoryPages: number, twin: boolean): Engine[] {
  const all: Engine[] = [new Node(core, memoryPages)];
  if (nativeMissing()) return all;
  const native = new Native(core, memoryPages);
  all.push(native);
  if (twin && !twinMissing()) all.push(new Twin(native));
  return all;
}

/**
 * Runs frames one after the other, each copied into worker 0's frame first; nanoseconds a packet of
 * each frame, inside.
 */
export function pass(engine: Engine, frames: Uint8Array, nowMs: number): number[] {
  const { memory } = engine;
  const slots = memory.slotOf(0, 0), windows = memory.windowOf(0, 0);
  const spent: number[] = [];
  for (let from = 0; from < frames.length; from += FRAME_IN) {
    memory.bytes.set(frames.subarray(from, from + SLOTS_BYTES), slots);
    memory.bytes.set(frames.subarray(from + SLOTS_BYTES, from + FRAME_IN), windows);
    const start = performance.now();
    engine.run(nowMs);
    spent.push(((performance.now() - start) * 1e6) / FRAME_PACKETS_MAX);
  }
  return spent;
}

/** The same, to look at the results: their hash, and each packet's reason as `check` wants it. */
export function hashPass(
  engine: Engine, frames: Uint8Array, nowMs: number, allowed: ReadonlySet<Reason>,
): number {
  const { memory } = engine;
  const words = new Uint32Array(memory.buffer);
  let hash = 2166136261;
  const add = (from: number, count: number): void => {
    for (let k = from / 4; k < from / 4 + count; k++) {
      hash = Math.imul(hash ^ words[k]!, 16777619);
    }
  };
  for (let from = 0; from < frames.length; from += FRAME_IN) {
    pass(engine, frames.subarray(from, from + FRAME_IN), nowMs);
    for (let i = 0; i < FRAME_PACKETS_MAX; i++) {
      const slot = memory.slotOf(0, i);
      const reason: Reason = memory.bytes[slot + SLOT_REASON]!;
      if (!allowed.has(reason)) {
        throw new Error(`bench: ${engine.name}: frame ${from / FRAME_IN}, packet ${i} is `
          + `${reasonText(reason)}`);
      }
      add(slot + SLOT_VERDICT, 5);
      add(memory.windowOf(0, i), 16);
    }
  }
  return hash >>> 0;
}
