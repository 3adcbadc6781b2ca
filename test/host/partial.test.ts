// Partial checksums in a replay: which packets have them, that completing gives what the card would
// have sent, and that what is written is what whole packets would have become; and a replay that
// goes on from another one's sessions. Packets are real ones, of the shop's capture.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SlotFlag } from "../../assembly/layout.ts";
import { buildPacket } from "../../host/cluster/packet.ts";
import { networkLayer, readCaptureFile, writeCapture } from
  "../../host/input/pcap.ts";
import type { Capture, CapturedPacket } from "../../host/input/pcap.ts";
import { ENGINES } from "../../host/replay/engines.ts";
import { completed, hasPartialChecksum } from "../../host/replay/checksum.ts";
import { readInput } from "../../host/replay/replay.ts";
import { buildCommand, type Run } from "../command.ts";
import { BAD_CHECKSUM, tsharkFilter, tsharkInstalled } from "../reference/tshark.ts";

const CAPTURE = "examples/capture/shop.pcapng";
const FIELD: Record<number, number> = { 6: 16, 17: 6 };
const folder = mkdtempSync(join(tmpdir(), "margay-partial-"));
afterAll(() => rmSync(folder, { recursive: true }));
if (!tsharkInstalled) console.log("skipped: checksums judged by tshark (not installed)");

const offsetOf = ({ linkType, bytes }: CapturedPacket): number =>
  networkLayer(linkType, bytes)!.offset;

/** As the sending host's capture has it: the pseudo-header's sum, word by word. */
function partial(whole: Uint8Array): Uint8Array {
  const is4 = whole[0]! >> 4 === 4;
  const l4 = is4 ? (whole[0]! & 15) * 4 : 40, protocol = is4 ? whole[9]! : whole[6]!;
  const end = is4 ? (whole[2]! << 8) | whole[3]! : 40 + ((whole[4]! << 8) | whole[5]!);
  let sum = protocol + end - l4;
  for (let i = is4 ? 12 : 8; i < (is4 ? 20 : 40); i += 2) sum += (whole[i]! << 8) | whole[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  const bytes = Uint8Array.from(whole);
  const at = l4 + FIELD[protocol]!;
  [bytes[at], bytes[at + 1]] = [sum >> 8, sum & 0xff];
  return bytes;
}

const capture = readCaptureFile(CAPTURE);
const packets = capture.packets.map((each) => each.bytes.subarray(offsetOf(each)));
const offloaded = packets.filter((bytes) =>
  FIELD[bytes[0]! >> 4 === 4 ? bytes[9]! : bytes[6]!] !== undefined);

describe("replay-partial: packets with partial checksums", () => {
  test("are told from whole ones, TCP and UDP of both families", () => {
    expect(offloaded.length).toBeGreaterThan(400);
    expect(packets.filter(hasPartialChecksum)).toEqual([]);
    for (const whole of offloaded) {
      const bytes = partial(whole);
      expect(hasPartialChecksum(bytes)).toBe(true);
      expect(completed(bytes)).toEqual(Uint8Array.from(whole));
    }
  });

  test("SCTP's is 0, completed with its CRC32c", () => {
    const whole = buildPacket({
      source: "10.0.0.1", destination: "10.0.0.2", protocol: 132, sourcePort: 7, port: 8,
    });
    expect(hasPartialChecksum(whole)).toBe(false);
    const bytes = Uint8Array.from(whole).fill(0, 28, 32);
    expect(hasPartialChecksum(bytes)).toBe(true);
    expect(completed(bytes)).toEqual(whole);
  });

  test("wrong checksums, fragments and what was cut short are left alone", () => {
    const [whole] = offloaded as [Uint8Array];
    const bytes = partial(whole);
    const wrong = Uint8Array.from(bytes);
    wrong[36]! ^= 1; // of the field or behind it: no longer the pseudo-header's sum
    wrong[37]! ^= 1;
    const fragment = Uint8Array.from(bytes);
    fragment[6] = 0x20;
    const cut = bytes.subarray(0, bytes.length - 1);
    const udp = offloaded.find((each) => each[0] === 0x45 && each[9] === 17)!;
    const without = Uint8Array.from(udp).fill(0, 26, 28); // UDP without a checksum
    expect([fragment, cut, without].map(hasPartialChecksum)).toEqual([false, false, false]);
    expect(completed(fragment)).toBe(fragment);
    expect(wrong).not.toEqual(bytes);
  });

  test("are flagged to the program", () => {
    const [first, second] = capture.packets as [CapturedPacket, CapturedPacket];
    const off = offsetOf(first);
    const bytes = Buffer.concat([first.bytes.subarray(0, off),
      partial(first.bytes.subarray(off))]);
    const input = readInput({ ...capture, packets: [{ ...first, bytes }, second] }, () => 1);
    expect(input.partial).toBe(1);
    expect(input.replayed.map(({ packet }) => packet.flags)).toEqual(
      [SlotFlag.PartialChecksum, undefined]);
  });
});

describe("replay-out: what leaves is written, rewritten, with whole checksums", () => {
  let margay: (...args: string[]) => Run;
  beforeAll(async () => {
    margay = await buildCommand("partial");
  });
  const path = (name: string): string => join(folder, name);
  /** Every other packet of the capture as its sending host has it. */
  const mixed: Capture = { ...capture, packets: capture.packets.map((each, i) => {
    const off = offsetOf(each);
    const bytes = each.bytes.subarray(off);
    if (i % 2 === 1 || !offloaded.some((one) => one === packets[i])) return each;
    return { ...each, bytes: Buffer.concat([each.bytes.subarray(0, off), partial(bytes)]) };
  }) };
  const partials = mixed.packets.filter((each, i) => each !== capture.packets[i]).length;
  const replay = (from: string, out: string): Run =>
    margay("replay", from, "--state", "examples/shop", "--engine", "node", "--out", path(out));

  test("the same as of whole packets, and says how many were completed", () => {
    writeFileSync(path("mixed.pcapng"), writeCapture("pcapng", mixed.interfaces, mixed.packets));
    const run = replay(path("mixed.pcapng"), "mixed-out.pcapng");
    expect(run.error).toBe("");
    expect(partials).toBeGreaterThan(200);
    expect(run.lines).toContain(`${partials} packets had partial checksums: completed`);
    const whole = replay(CAPTURE, "whole-out.pcapng");
    expect(whole.text).not.toContain("partial checksums");
    expect(readFileSync(path("mixed-out.pcapng")).equals(readFileSync(path("whole-out.pcapng"))))
      .toBe(true);
  });

  test("every engine that is here makes the same of them", () => {
    const run = margay("replay", path("mixed.pcapng"), "--state", "examples/shop");
    expect([run.error, run.status]).toEqual(["", 0]);
    const others = ENGINES.slice(1).filter((engine) => engine.absent() === undefined);
    expect(run.lines.filter((line) => line.includes(": equal: "))).toHaveLength(others.length);
  }, 120_000);

  test("a pcap by its name, of the same packets", () => {
    const run = replay(path("mixed.pcapng"), "out.pcap");
    expect(run.text).toMatch(/out\.pcap: pcap, \d+ packets that leave.* rewritten$/m);
    const pcap = readCaptureFile(path("out.pcap"));
    const pcapng = readCaptureFile(path("mixed-out.pcapng"));
    expect([pcap.format, pcap.error]).toEqual(["pcap", undefined]);
    expect(pcap.packets.map(({ bytes }) => Buffer.from(bytes).toString("hex")))
      .toEqual(pcapng.packets.map(({ bytes }) => Buffer.from(bytes).toString("hex")));
    expect(pcap.packets.length).toBeGreaterThan(400);
  });

  test.skipIf(!tsharkInstalled)("no checksum of them is wrong, says tshark", () => {
    expect(tsharkFilter(path("mixed.pcapng"), BAD_CHECKSUM).length).toBeGreaterThan(200);
    expect(tsharkFilter(path("mixed-out.pcapng"), BAD_CHECKSUM)).toEqual([]);
    expect(tsharkFilter(path("out.pcap"), BAD_CHECKSUM)).toEqual([]);
  });
});

describe("replay-checkpoint: a capture in two parts, with the sessions of the first", () => {
  let margay: (...args: string[]) => Run;
  beforeAll(async () => {
    margay = await buildCommand("checkpoint");
  });
  const count = ({ text }: Run, reason: string): number =>
    Number(new RegExp(`^ {2}${reason} +(\\d+)$`, "m").exec(text)?.[1] ?? 0);

  test("what was open goes on, judged once more; without them it is no session's", () => {
    // Behind a visitor's SYN: its answer comes in the second part.
    const middle = 1 + packets.findIndex((bytes) =>
      bytes[0] === 0x45 && bytes[9] === 6 && bytes[12] === 198 && bytes[33] === 0x02);
    expect(middle).toBeGreaterThan(1);
    const part = (name: string, from: number, to?: number): string => {
      const file = join(folder, name);
      writeFileSync(file, writeCapture("pcapng", capture.interfaces,
        capture.packets.slice(from, to)));
      return file;
    };
    const one = part("one.pcapng", 0, middle), two = part("two.pcapng", middle);
    const asked = ["--state", "examples/shop", "--engine", "node"];
    const kept = ["--checkpoint", join(folder, "sessions")];
    const whole = margay("replay", CAPTURE, ...asked);
    const first = margay("replay", one, ...asked, ...kept);
    expect(first.text).toMatch(/sessions: \d+ sessions left$/m);
    const second = margay("replay", two, ...asked, ...kept);
    expect(second.error).toBe("");
    expect(second.text).toMatch(/sessions: \d+ sessions came back$/m);
    expect(count(first, "policy-denied") + count(second, "policy-denied"))
      .toBe(count(whole, "policy-denied"));
    expect(count(second, "no-session")).toBe(0);
    expect(count(margay("replay", two, ...asked), "no-session")).toBe(1);
  });

  test("a file that is none is named", () => {
    const run = margay("replay", CAPTURE, "--state", "examples/shop", "--engine", "node",
      "--checkpoint", CAPTURE);
    expect(run.error).toContain("--checkpoint: this is no checkpoint");
    expect(run.status).toBe(2);
  });
});
