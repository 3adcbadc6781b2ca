// The side-by-side benchmark's own parts: what it reads off VPP, what it sends, what it takes for
// equal, and what it says where there is no VPP. Says nothing about speed.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checksumsHold, inOrder, onesSum, writeShuffled } from "../../bench/vpp-flows.ts";
import { compareRewrites } from "../../bench/vpp-peers.ts";
import { costOf, median, parseRuntime } from "../../bench/vpp-runtime.ts";
import { readCapture } from "../../host/input/pcap.ts";

const HEAD = "  Name   State   Calls   Vectors   Suspends   Packet-Clocks   Vectors/Call  ";
const RUNTIME = `Thread 0 vpp_main (lcore 0)
Time 1.0, 10.000000 sec internal node vector rate 0.00 loops/sec 2379597.53
  vector rates in 0.0000e0, out 0.0000e0, drop 0.0000e0, punt 0.0000e0
${HEAD}
margay-age               interrupt wa         97          0        0       1.26e4            0.00
unix-cli-process-0         "running"           0          0        1       2.71e7            0.00
---------------
Thread 1 vpp_wk_0 (lcore 1)
Time 1.0, 10.000000 sec internal node vector rate 256.00 loops/sec 38630.69
${HEAD}
ip4-input                   active           400     100000        0       2.00e1          250.00  
margay-age               interrupt wa         50          0        0       4.00e3            0.00
margay-ip4-input            active           400     100000        0       1.50e2          250.00
pg-input                   polling           400     100000        0       5.48e1          250.00
`;

function captured(flows: number, seed: number): Uint8Array[] {
  const folder = mkdtempSync(join(tmpdir(), "margay-bench-"));
  try {
    const file = join(folder, "shuffled.pcap");
    writeShuffled(file, flows, seed);
    return readCapture(readFileSync(file), file).packets.map((packet) => packet.bytes);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A packet of the benchmark as a right DNAT leaves it. */
function rewritten(packet: Uint8Array, backend: number[]): Uint8Array {
  const out = Uint8Array.from(packet);
  const view = new DataView(out.buffer);
  out.set(backend, 16);
  view.setUint16(22, 8080);
  view.setUint16(10, 0);
  view.setUint16(10, ~onesSum(out.subarray(0, 20)) & 0xffff);
  view.setUint16(26, 0);
  const udp = out.subarray(20);
  view.setUint16(26, ~onesSum(udp, onesSum(out.subarray(12, 20), 17 + udp.length)) & 0xffff);
  return out;
}

describe("bench-vpp: the plugin's clocks beside cnat's", () => {
  test("show runtime: the packet thread's nodes; aging counts for each packet", () => {
    const nodes = parseRuntime(RUNTIME);
    expect(nodes.map((node) => node.name)).toEqual([
      "ip4-input", "margay-age", "margay-ip4-input", "pg-input",
    ]);
    const cost = costOf(nodes, /^margay-/);
    expect(cost).toEqual({
      packets: 100_000, clocks: 152, vectorsPerCall: 250,
      nodes: { "margay-age": 2, "margay-ip4-input": 150 },
    });
    expect(() => costOf(nodes.slice(1), /^margay-/)).toThrow("no packet came to ip4-input");
  });

  test("median", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
  });

  test("the shuffled capture has each flow once, whole, in an order of the seed", () => {
    const packets = captured(70_000, 1);
    const clients = packets.map((packet) => new DataView(packet.buffer, packet.byteOffset)
      .getUint32(12));
    expect(new Set(clients).size).toBe(70_000);
    expect(Math.min(...clients)).toBe(0x0a000002);
    expect(Math.max(...clients)).toBe(0x0a000002 + 69_999);
    expect(clients).not.toEqual([...clients].sort((a, b) => a - b));
    expect(packets.slice(0, 100).every(checksumsHold)).toBe(true);
    expect(captured(100, 1)).toEqual(captured(100, 1));
    expect(captured(100, 1)).not.toEqual(captured(100, 2));
    expect(inOrder(70_000)).toContain("UDP: 10.0.0.2 - 10.1.17.113 -> 10.96.0.1");
  });

  test("both peers must rewrite the same packets to one of the backends", () => {
    const packets = captured(8, 3);
    const first = packets.map((packet) => rewritten(packet, [192, 168, 1, 5]));
    const mixed = packets.map((packet, i) => rewritten(packet, [192, 168, 1, i < 2 ? 6 : 5]));
    expect(compareRewrites(first, mixed)).toMatch(/^8 packets .* the same backend for 6 of them$/);
    expect(() => compareRewrites(packets, first)).toThrow("margay: not rewritten to a backend");
    expect(() => compareRewrites(first, packets)).toThrow("cnat: not rewritten to a backend");
    expect(() => compareRewrites(first, mixed.slice(1))).toThrow("no packet from");
    expect(() => compareRewrites([], [])).toThrow("margay sent 0 packets");
    const torn = first.map((packet) => Uint8Array.from(packet));
    torn[5]![40]! ^= 1;
    expect(() => compareRewrites(torn, mixed)).toThrow("margay: not rewritten");
  });

  test("without VPP: status 3 and one line that says what is missing", () => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath, ["bench/run.mjs", "vpp", "--quick", "--json"],
      { encoding: "utf8", env: { ...process.env, VPP_PREFIX: "/nowhere" } },
    );
    expect(stderr).toMatch(/^bench:vpp: no VPP with headers in \/nowhere .*\n$/);
    expect(stdout).toBe("");
    expect(status).toBe(3);
  });
});
