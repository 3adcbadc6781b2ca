// CRC32c by itself: the source compiled alone, against published vectors and against a computation
// bit by bit; and its change by a change of four bytes, wherever they stand.
import fc from "fast-check";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { crc32c as slowly } from "../packets.ts";
import { seedOf } from "../seed.ts";

const seed = seedOf("FUZZ_SEED");
const numRuns = Number(process.env["FUZZ_RUNS"] ?? 400);

interface Exports {
  memory: WebAssembly.Memory;
  crc32c(at: number, bytes: number): number;
  crcChange(difference: number, after: number): number;
}
let core: Exports;

beforeAll(async () => {
  const { default: asc } = await import("assemblyscript/asc");
  const folder = mkdtempSync(join(tmpdir(), "margay-"));
  const out = join(folder, "crc32c.wasm");
  try {
    const { error, stderr } = await asc.main([
      "assembly/crc32c.ts", "--outFile", out, "--runtime", "stub", "--use", "abort=",
      "--initialMemory", "2", "--noAssert", "-O3", "--config", "none",
    ]);
    expect(error, stderr.toString()).toBeNull();
    const module = new WebAssembly.Module(readFileSync(out));
    core = new WebAssembly.Instance(module).exports as unknown as Exports;
  } finally {
    rmSync(folder, { recursive: true });
  }
});

function crcOf(bytes: Uint8Array): number {
  new Uint8Array(core.memory.buffer).set(bytes);
  return core.crc32c(0, bytes.length) >>> 0;
}
const run = (from: number, step: number): Uint8Array =>
  Uint8Array.from({ length: 32 }, (_, i) => from + step * i);

describe("crc32c", () => {
  // RFC 3720, B.4, and the check value of the catalogue of parametrised CRCs.
  test.each([
    ["123456789", new TextEncoder().encode("123456789"), 0xe3069283],
    ["32 zeros", new Uint8Array(32), 0x8a9136aa],
    ["32 ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ["ascending", run(0, 1), 0x46dd794e],
    ["descending", run(31, -1), 0x113fdb5c],
  ])("crc32c-vectors: %s", (_, bytes, crc) => {
    expect(crcOf(bytes)).toBe(crc);
    expect(slowly(bytes)).toBe(crc);
  });

  test("crc32c-change: four bytes anywhere, in a packet of any length", () => {
    console.log(`FUZZ_SEED=${seed}`);
    const packet = fc.oneof(fc.integer({ min: 4, max: 200 }), fc.integer({ min: 4, max: 65_535 }))
      .chain((length) => fc.record({
        length: fc.constant(length), at: fc.integer({ min: 0, max: length - 4 }),
        difference: fc.nat(0xffffffff), fill: fc.nat(255),
      }));
    fc.assert(fc.property(packet, ({ length, at, difference, fill }) => {
      const bytes = Uint8Array.from({ length }, (_, i) => (i * 31 + fill) & 0xff);
      const before = crcOf(bytes);
      const view = new DataView(bytes.buffer);
      view.setUint32(at, view.getUint32(at, true) ^ difference, true);
      const change = core.crcChange(difference, length - at - 4) >>> 0;
      expect((before ^ change) >>> 0).toBe(crcOf(bytes));
    }), { seed, numRuns });
  });

  test("crc32c-change: right by any place in the longest packet", () => {
    const bytes = new Uint8Array(65_535).fill(0xa5);
    const before = slowly(bytes);
    for (const at of [0, 1, 32_767, 65_530, 65_531]) {
      const changed = bytes.slice();
      changed[at]! ^= 1;
      expect((before ^ core.crcChange(1, bytes.length - at - 4)) >>> 0).toBe(slowly(changed));
    }
  });
});
