// The pipeline bench at a small size, so that it does not rot: every engine's results are equal,
// and each variant gives a figure. Says nothing about speed.
import { describe, expect, it } from "vitest";
import { pipeline } from "../../bench/pipeline.ts";
import { makeFrames, FRAME_IN } from "../../bench/traffic.ts";

describe("bench-small: the benches run at a small size with equal result hashes", () => {
  it("pipeline: Node; native and twin where the native library is", async () => {
    const { rows, skipped } = await pipeline({
      flows: [1, 700], rounds: 2, packets: 2048, core: "build/margay.wasm",
    });
    if (skipped) console.log(`bench: native and twin skipped: ${skipped}`);
    expect(rows.map(({ flows }) => flows)).toEqual([1, 700]);
    for (const { nanoseconds, hashes, ratio } of rows) {
      expect(new Set(Object.values(hashes)).size).toBe(1);
      expect(Object.keys(nanoseconds).sort()).toEqual(Object.keys(hashes).sort());
      expect(Object.keys(hashes)).toHaveLength(skipped ? 1 : 8);
      for (const ns of Object.values(nanoseconds)) expect(ns).toBeGreaterThan(0);
      expect(ratio === undefined).toBe(skipped !== undefined);
    }
    expect(rows[0]!.hashes["node"]).not.toBe(rows[1]!.hashes["node"]);
  }, 120_000);

  it("traffic: every flow is in the frames, and the last frame is full", () => {
    const frames = makeFrames(700, 1);
    expect(frames.length).toBe(3 * FRAME_IN);
    const flows = new Set<string>();
    for (let n = 0; n < 3 * 256; n++) {
      const window = Math.floor(n / 256) * FRAME_IN + 256 * 32 + (n % 256) * 128;
      flows.add(Buffer.from(frames.subarray(window + 12, window + 24)).toString("hex"));
    }
    expect(flows.size).toBe(700);
  });
});
