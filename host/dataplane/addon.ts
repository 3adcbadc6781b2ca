// The Node addon (native/addon.cc): where it is found, and its types. It is built by
// `npm run build:native` into build/native/margay.node of this package; nothing builds it unasked.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export interface AddonOptions {
  core: Uint8Array;
  /** 64 KiB each; 0 or absent = 1,024. */
  memoryPages?: number;
  workers?: number;
  prefetch?: boolean;
  hugePages?: boolean;
  /** The core was built with a private memory; one worker. For benches. */
  privateMemory?: boolean;
}

export interface AddonTrap {
  worker: number;
  policySlot: number;
  message: string;
}

export interface AddonStatistics {
  pushes: number;
  rebuilds: number;
  frames: number;
  policyTraps: number;
  coreTraps: number;
  trapsLost: number;
  /** Modules added to a store since it was made, most of any store. */
  instancesAdded: number;
  /** The kernel took the advice. */
  hugePages: boolean;
}

/** A frame that a traffic thread runs again and again. */
export interface TrafficFrame {
  count: number;
  /** count x 32 bytes, as they go in. */
  slots: Uint8Array;
  /** count x 128 bytes, as they go in. */
  windows: Uint8Array;
  /** A mask for each packet: bit v is set where verdict v is right. */
  allowed: Uint8Array;
  /** count x 128 bytes: the windows of passed packets as they should come out. */
  expected?: Uint8Array;
  /** Every packet is a new IPv4 flow each time: the low 24 bits of its source are counted up. */
  fresh?: boolean;
}

export interface TrafficPlan {
  worker: number;
  frames: TrafficFrame[];
  nowMs?: number;
  nowSeconds?: number;
  /** Added to nowMs after every frame. */
  stepMs?: number;
  /** nowMs and real milliseconds since the start, instead of stepMs. */
  realClock?: boolean;
  /** Calls age with this budget after every frame; 0 or absent = never. */
  ageBudget?: number;
  /** 0 or absent = until stopped. */
  framesMax?: number;
}

export interface TrafficCount {
  worker: number;
  frames: number;
  packets: number;
  passed: number;
  dropped: number;
  replied: number;
  /** Packets without a verdict. */
  missing: number;
  wrongVerdicts: number;
  wrongWindows: number;
  /** Frames that ended in a trap of the core. */
  coreTraps: number;
  /** Frames that were refused. */
  refused: number;
  aged: number;
  /** Spent inside margay_process. */
  nanoseconds: number;
  worstNanoseconds: number;
  /** The first packet found wrong. */
  first?: { frame: number; packet: number; verdict: string; reason: string };
}

export interface Addon {
  stage(records: Uint8Array): void;
  module(slot: number, kind: number, wasm: Uint8Array): void;
  publish(generation: number): void;
  /** 0, or -4 where the core trapped: then every slot says drop. */
  process(worker: number, count: number, nowMs: number, nowSeconds: number): number;
  age(worker: number, nowMs: number, budget: number): number;
  /** Session records of a family as saved, 32 KiB at most; returns how many were taken. */
  restore(worker: number, family: number, records: Uint8Array): number;
  /** The linear memory itself; detached by close(). */
  memory(): ArrayBuffer;
  counter(reason: number): bigint;
  traps(): AddonTrap[];
  stats(): AddonStatistics;
  generation(): number;
  trafficStart(plans: TrafficPlan[]): void;
  trafficRead(): TrafficCount[];
  trafficStop(): TrafficCount[];
  close(): void;
}

export type AddonConstructor = new (options: AddonOptions) => Addon;

/** What the addon throws. */
export interface AddonError extends Error {
  /** margay_error: -1 refused by the core, -2 by the engine, -3 bad argument. */
  code: number;
  reason: string;
  record: number;
  detail: number;
}

/** Path of the addon, undefined where it is not built. */
export function addonPath(): string | undefined {
  // The sources and the bundle lie at different depths below package.json.
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at)) {
    if (existsSync(join(at, "package.json"))) {
      const path = join(at, "build/native/margay.node");
      return existsSync(path) ? path : undefined;
    }
    if (dirname(at) === at) return undefined;
  }
}

export function loadAddon(): AddonConstructor {
  const path = addonPath();
  if (!path) throw new Error("native engine not built: npm run build:native");
  return (createRequire(import.meta.url)(path) as { Native: AddonConstructor }).Native;
}
