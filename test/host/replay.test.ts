// A replay by itself: which packets of a capture reach the program, in which frames, at what time;
// what leaves; and what counts as a difference between two engines. The program here is one that
// only writes down what it is given.

import { describe, expect, it } from "vitest";
import { Reason, Verdict } from "../../assembly/layout.ts";
import { openingPacket } from "../../examples/capture/opening.ts";
import type { Clock, Dataplane, Packet, Result } from "../../host/dataplane/dataplane.ts";
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from "../../host/input/pcap.ts";
import type { Capture } from "../../host/input/pcap.ts";
import { differences, leavingPackets, readInput, replay } from "../../host/replay/replay.ts";
import type { Outcome } from "../../host/replay/replay.ts";

const MS = 1_000_000n;
const START_MS = 1_700_000_000_000n;
const ETHERNET = Buffer.from("ffffffffffff0200000000010800", "hex");
const ip = Buffer.from(openingPacket({
  protocol: "udp", source: "10.244.0.2", sourcePort: 1, destination: "10.244.0.3",
  destinationPort: 2,
}));
const arp = Buffer.from("ffffffffffff02000000000108060001", "hex");

function captureAt(...atMs: bigint[]): Capture {
  const bytes = Buffer.concat([ETHERNET, ip]);
  return {
    format: "pcapng", error: undefined,
    interfaces: [{ linkType: LINKTYPE_ETHERNET, snapLength: 0, name: "client" },
      { linkType: LINKTYPE_ETHERNET, snapLength: 0 }, { linkType: LINKTYPE_RAW, snapLength: 0 }],
    packets: atMs.map((ms) => ({
      timestampNs: (START_MS + ms) * MS, interface: 0, linkType: LINKTYPE_ETHERNET,
      originalLength: bytes.length, bytes,
    })),
  };
}

interface Seen { frames: { packets: number; clock: Clock }[]; aged: number[] }

function recorder(answer: (packet: Packet) => Result): Dataplane & { seen: Seen } {
  const seen: Seen = { frames: [], aged: [] };
  return {
    engine: "node", workers: 1, generation: 1, seen,
    stage: () => {}, push: () => {}, close: () => {},
    process: (_worker, packets, clock) => {
      seen.frames.push({ packets: packets.length, clock });
      return packets.map(answer);
    },
    age: (_worker, nowMs) => seen.aged.push(nowMs),
    counters: () => new Map([[Reason.Allowed, 3n]]),
    sessions: () => [], traps: () => [],
    saveSessions: () => new Uint8Array(), restoreSessions: () => 0,
  };
}

const passed = (packet: Packet): Result => ({
  verdict: Verdict.Pass, reason: Reason.Allowed, policySlot: 1, rule: 0, direction: 0,
  backend: undefined, bytes: packet.bytes,
});
const dropped = (): Result => ({
  verdict: Verdict.Drop, reason: Reason.PolicyDenied, policySlot: 1, rule: 0, direction: 0,
  backend: undefined, bytes: undefined,
});
const number = (name: string | undefined) => (name === "client" ? 5 : 9);

describe("a replay", () => {
  it("hands on IP packets from their L3 header, by interface name", () => {
    const capture = captureAt(0n, 1n);
    capture.packets[1]!.interface = 1;
    capture.packets.push({ ...capture.packets[0]!, bytes: arp });
    const input = readInput(capture, number);
    expect(input.others).toBe(1);
    expect(input.replayed.map(({ packet }) => packet.interface)).toEqual([5, 9]);
    expect(Buffer.compare(input.replayed[0]!.packet.bytes, ip)).toBe(0);
  });

  it("cuts frames at the millisecond, with the capture's clock", () => {
    const dataplane = recorder(passed);
    replay(dataplane, readInput(captureAt(0n, 0n, 1n, 2500n), number));
    const low = Number(START_MS & 0xffff_ffffn);
    expect(dataplane.seen.frames).toEqual([
      { packets: 2, clock: { nowMs: low, nowSeconds: 1_700_000_000 } },
      { packets: 1, clock: { nowMs: low + 1, nowSeconds: 1_700_000_000 } },
      { packets: 1, clock: { nowMs: low + 2500, nowSeconds: 1_700_000_002 } },
    ]);
    expect(dataplane.seen.aged).toEqual([low + 2500]);
  });

  it("never makes a frame of more than 256 packets", () => {
    const dataplane = recorder(passed);
    replay(dataplane, readInput(captureAt(...Array<bigint>(600).fill(7n)), number));
    expect(dataplane.seen.frames.map(({ packets }) => packets)).toEqual([256, 256, 88]);
  });

  it("what leaves has its link header and goes out where it is bound for", () => {
    const capture = captureAt(0n, 1n);
    const input = readInput(capture, number);
    const longer = Buffer.concat([ip, Buffer.from("1234")]);
    const results = [{ ...passed(input.replayed[0]!.packet), bytes: longer }, dropped()];
    const leave = (to: number | undefined) =>
      leavingPackets(input, results, () => to, capture.interfaces);
    expect(leave(1).length).toBe(1);
    expect(leave(1)[0]).toMatchObject({ interface: 1, originalLength: ETHERNET.length + 32 });
    expect(Buffer.compare(leave(1)[0]!.bytes, Buffer.concat([ETHERNET, longer]))).toBe(0);
    expect(leave(undefined)[0]!.interface).toBe(0);
    expect(leave(2)[0]!.interface).toBe(0); // another link type
  });

  it("replay-answers: an answer leaves where the packet came in, back to its sender", () => {
    const capture = captureAt(0n);
    const input = readInput(capture, number);
    const answer = { ...dropped(), verdict: Verdict.Reply, bytes: ip };
    const [back] = leavingPackets(input, [answer], () => 1, capture.interfaces);
    expect(back!.interface).toBe(0);
    expect(Buffer.from(back!.bytes).toString("hex")).toBe(
      `020000000001ffffffffffff0800${ip.toString("hex")}`);
  });

  it("two engines differ where packets, counters, sessions or traps do", () => {
    const input = readInput(captureAt(0n, 1n), number);
    const one = replay(recorder(passed), input);
    const other = (change: Partial<Outcome>): Outcome => ({ ...one, engine: "native", ...change });
    expect(differences(one, other({}))).toEqual([]);
    const bytes = Uint8Array.from(ip);
    bytes[27]! ^= 1;
    const [first, second] = one.results;
    const changed = differences(one, other({ results: [first!, { ...second!, bytes }] }));
    expect(changed.length).toBe(1);
    expect(changed[0]).toMatch(/^packet 2: node \{.*\}, native \{/);
    expect(differences(one, other({ counters: [[Reason.Allowed, 4n]] })))
      .toEqual([`counters: node [[${Reason.Allowed},"3"]], native [[${Reason.Allowed},"4"]]`]);
    expect(differences(one, other({ traps: 1 }))).toEqual(["traps: node 0, native 1"]);
    expect(differences(one, other({ results: [] }))[0]).toBe("packets: node 2, native 0");
  });
});
