// The side-by-side benchmark's own parts: what it reads off VPP, what it sends, what it takes for
// equal, and what it says where there is no VPP. Says nothing about speed.
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { buffersUsed, wrongOf, type SoakFigures } from "../../bench/soak.ts";
import { setOf, worstRules } from "../../bench/vpp/bed.ts";
import { CASES } from "../../bench/vpp/cases.ts";
import { compare } from "../../bench/vpp/compare.ts";
import {
  checksumsHold, icmpErrors, onesSum, packetOf, type Traffic, udpFlows,
} from "../../bench/vpp/packets.ts";
import { longestCall } from "../../bench/vpp/push.ts";
import { jsonOf, plot, type Row } from "../../bench/vpp/report.ts";
import { costOf, median, parseRuntime } from "../../bench/vpp/runtime.ts";
import { parseSplit } from "../../bench/vpp/split.ts";
import { vppInstall } from "../../host/vpp/install.ts";

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

const TRAFFIC: Traffic = udpFlows({ family: 4, who: "vip", services: 1 });
const EXPECTED = { passed: 8, family: 4, translated: true, services: 1 } as const;

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
    expect(() => costOf(nodes.slice(1), /^margay-/)).toThrow("no packet came to ip4-input or");
  });

  test("median", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
  });

  test("a stream's packets: every flow whole, whatever fields its number is in", () => {
    const streams = [
      TRAFFIC, icmpErrors(), udpFlows({ family: 6, who: "vip", services: 1 }),
      udpFlows({ family: 4, who: "vip", services: 1000 }),
      udpFlows({ family: 4, who: "backend", services: 1 }),
    ];
    for (const stream of streams) {
      const packets = [0, 1, 255, 65_536, 9_999_999].map((n) => packetOf(stream, n));
      expect(packets.every(checksumsHold)).toBe(true);
      expect(new Set(packets.map((packet) => packet.join())).size).toBe(packets.length);
    }
  });

  test("both sides must rewrite the same packets to one of the backends", () => {
    const packets = Array.from({ length: 8 }, (_, n) => packetOf(TRAFFIC, n));
    const first = packets.map((packet) => rewritten(packet, [192, 168, 0, 0]));
    const mixed = packets.map((packet, i) => rewritten(packet, [192, 168, 0, i < 2 ? 1 : 0]));
    const sides = (margay: Uint8Array[], peer: Uint8Array[]) =>
      () => compare(margay, peer, "cnat", EXPECTED);
    expect(sides(first, mixed)()).toMatch(/^8 packets .* the same backend for 6 of them$/);
    expect(sides(packets, first)).toThrow("margay: not rewritten to a backend");
    expect(sides(first, packets)).toThrow("cnat: not rewritten to a backend");
    expect(sides(first, mixed.slice(1))).toThrow("no packet from");
    expect(sides(first.slice(1), mixed)).toThrow("8 packets expected: margay passed 7, cnat 8");
    expect(sides([], [])).toThrow("8 packets expected: margay passed 0, cnat 0");
    const torn = first.map((packet) => Uint8Array.from(packet));
    torn[5]![40]! ^= 1;
    expect(sides(torn, mixed)).toThrow("margay: a checksum is wrong");
  });

  test("cases: names are told apart, worst positions are last", () => {
    expect(new Set(CASES.map(({ name }) => name)).size).toBe(CASES.length);
    const { rules } = worstRules(1000);
    expect(rules).toHaveLength(1000);
    expect(new Set(rules.map(({ source }) => source)).size).toBe(1000);
    expect(rules.at(-1)).toEqual({ source: "11.0.0.0/9" });
    expect(setOf(300).members.at(-1)).toBe("11.0.1.43");
  });

  test("what is printed: rows of four, a plot of all of them", () => {
    const row: Row = {
      case: "a < b", margayClocks: 45, peerClocks: 138, target: 0.33, peer: "cnat", ratio: 0.326,
    };
    expect(JSON.parse(jsonOf([row]))).toEqual({
      rows: [{ case: "a < b", margayClocks: 45, peerClocks: 138, target: 0.33 }],
    });
    const drawn = plot([row, { ...row, case: "none", margayClocks: null }], "title");
    expect(drawn).toMatch(/^<svg [^]*a &#60; b[^]*138 {2}cnat[^]*<\/svg>\n$/);
    expect(drawn).not.toContain("none");
  });

  test("VPP's texts: the longest call, buffers in use, the parts of a packet", () => {
    const max = "margay-ip4-input      4.69e4    256    1.82e2    8.74e1    2.56e2\n";
    expect(longestCall(max.repeat(2), "margay-ip4-input")).toBe(46_900);
    expect(buffersUsed([
      "Pool Name            Index NUMA  Size  Data Size  Total  Avail  Cached   Used  ",
      "default-numa-0         0     0   2496     2048    14336  14000    80      256  ",
    ].join("\n"))).toBe(256);
    expect(parseSplit("thread 0 packets 5 frames 1\nfill 9.00\n"
      + "thread 1 packets 512 frames 2\nfill 1.25\nparse 20.00\n")).toEqual({
      fill: 1.25, parse: 20,
    });
  });

  test("a soak names what does not add up", () => {
    const figures: SoakFigures = {
      seconds: 60, packetsIn: 100, packetsOut: 90,
      reasons: { established: 80, allowed: 10, "policy-denied": 10 }, pushes: 4,
      inForceMs: { median: 1, p99: 2 }, interfaces: 1, sessionsMost: 10, sessionsLeft: 0,
      buffersBefore: 0, buffersAfter: 0, residentMb: { early: 200, end: 201 },
      samples: [], wrong: [],
    };
    expect(wrongOf(figures)).toEqual([]);
    expect(wrongOf({ ...figures, packetsIn: 101, sessionsLeft: 1, buffersAfter: 3 })).toEqual([
      "101 packets came, 90 left and 10 were dropped", "1 sessions are left",
      "3 buffers in use, 0 before",
    ]);
    expect(wrongOf({ ...figures, residentMb: { early: 200, end: 300 } })).toHaveLength(1);
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

describe.skipIf(typeof vppInstall() === "string")("with VPP", () => {
  test("bench-vpp: a row and its JSON come of a real run at a small size [vpp]", () => {
    const run = (...args: string[]) => spawnSync(
      process.execPath, ["bench/run.mjs", ...args], { encoding: "utf8", timeout: 170_000 },
    );
    const { status, stdout, stderr } = run(
      "vpp", "--json", "--rounds", "1", "--ms", "50", "--case", "established, 1,000 flows",
    );
    expect(status, stderr).toBe(0);
    const { rows } = JSON.parse(stdout) as { rows: Record<string, unknown>[] };
    expect(rows.map((row) => row["case"])).toEqual([
      "established, 1,000 flows", "established, 1,000 flows, IPv6",
    ]);
    for (const row of rows) {
      expect(Object.keys(row)).toEqual(["case", "margayClocks", "peerClocks", "target"]);
      expect(row["margayClocks"]).toBeGreaterThan(0);
      expect(row["peerClocks"]).toBeGreaterThan(0);
    }
    expect(stderr).toContain("established, 1,000 flows: peer: ");
  }, 180_000);
});
