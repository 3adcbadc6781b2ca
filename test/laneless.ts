// A test-only copy of the core in which the fast lane carries nothing: every packet of a frame is
// listed as rest and takes the whole pipeline. Compiled in memory from assembly/, one function
// replaced. And the means to set the two beside each other, byte by byte.
import asc from "assemblyscript/asc";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  FRAMES, FRAME_SCRATCH, FRAME_WINDOWS, SLOT_BYTES, WINDOW_BYTES,
} from "../assembly/layout.ts";
import type { Clock, Packet } from "../host/dataplane/dataplane.ts";
import type { NodeDataplane } from "../host/dataplane/node.ts";

const LANE = /function runFastLane\([\s\S]*?\n\}\n/;
const NO_LANE = `import { REST } from "./packet";
function runFastLane(g: Generation, frame: usize, count: u32, tick: u32): u32 {
  for (let i: usize = 0; i < usize(count); i++) {
    store<u32>(frame + REST + (i << 2), u32(frame + FRAME_WINDOWS + i * ${WINDOW_BYTES}));
  }
  return count;
}
`;

export async function lanelessCore(): Promise<Uint8Array> {
  let wasm: Uint8Array | undefined;
  const { error, stderr } = await asc.main([
    "--config", "asconfig.json", "--target", "release", "--outFile", "laneless.wasm",
    "--textFile", "laneless.wat",
  ], {
    readFile(name: string, base: string) {
      const path = join(base, name);
      let text: string;
      try {
        text = readFileSync(path, "utf8");
      } catch {
        return null;
      }
      if (!path.endsWith("assembly/pipeline.ts")) return text;
      if (!LANE.test(text)) throw new Error("pipeline.ts: no function runFastLane to replace");
      return text.replace(LANE, NO_LANE);
    },
    writeFile(name: string, contents: string | Uint8Array) {
      if (name.endsWith(".wasm")) wasm = contents as Uint8Array;
    },
    listFiles: () => [],
  });
  if (error) throw new Error(stderr.toString(), { cause: error });
  if (!wasm) throw new Error("asc wrote no core");
  return wasm;
}

/** Runs a frame; how many packets went through the pipeline in full: working records written. */
export function runThrough(dataplane: NodeDataplane, frame: Packet[], clock: Clock): number {
  const { bytes } = dataplane.memory;
  const records = FRAMES + FRAME_SCRATCH;
  bytes.fill(0xa5, records, records + 256 * 64);
  dataplane.process(0, frame, clock);
  return frame.filter((_, i) => bytes[records + i * 64 + 8] !== 0xa5 ||
    bytes[records + i * 64 + 10] !== 0xa5).length;
}
/** Slots and windows of the frame that ran last. */
export function bytesOf(dataplane: NodeDataplane, count: number): Buffer[] {
  const at = (from: number, bytes: number): Buffer[] => Array.from({ length: count }, (_, i) =>
    Buffer.from(dataplane.memory.bytes.slice(from + i * bytes, from + (i + 1) * bytes)));
  return [...at(FRAMES, SLOT_BYTES), ...at(FRAMES + FRAME_WINDOWS, WINDOW_BYTES)];
}
