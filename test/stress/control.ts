// What the stress's threads share besides the program's memory.
import type { Flow } from "./flows.ts";

/** Words of the control block. */
export const Control = {
  Stop: 0, Generation: 1, NowMs: 2,
  /** 1: every worker waits between two frames. */
  Pause: 3,
  /** A word for each worker: the generation it runs under, Waiting or Gone. */
  Seen: 4,
  Waiting: 0x7ffffffe,
  Gone: 0x7fffffff,
} as const;

export interface Job {
  core: Uint8Array;
  memory: WebAssembly.Memory;
  control: SharedArrayBuffer;
  worker: number;
  flows: Flow[];
  seed: number;
}
export interface Report {
  worker: number;
  frames: number;
  packets: number;
  passed: number;
  established: number;
  dropped: number;
  aged: number;
  violations: string[];
}
