// Rejects: TCP resets and port unreachables, field by field from RFC 9293 and RFC 1122, 1812, 4443,
// their checksums computed anew (and by tshark where it is installed); what must never be answered;
// how many are.
import { describe, expect, test } from "vitest";
import { Reason, SlotFlag, Verdict } from "../../assembly/layout.ts";
import type { Dataplane, Result } from "../../host/dataplane/dataplane.ts";
import { fragmentsOf } from "../fragmented.ts";
import { packet, sum16, type Spec } from "../packets.ts";
import { judgedByTshark, tsharkInstalled } from "../reference/tshark.ts";
import { BUDGETS, started } from "../shop.ts";
import {
  ADDRESSES, CLIENT, clock, FAMILIES, icmpError, PORT, pseudo, seen, sendBytes, setWord, translated,
  UPLINK, wrongChecksum, type Family,
} from "../translated.ts";

const open = async (): Promise<Dataplane> => (await started(translated(), BUDGETS)).dataplane;
/** Everything is denied, and what is denied is told so. */
async function closed(): Promise<Dataplane> {
  const program = translated({ rejectDenied: true });
  program.policies = [{ name: "no-errors", rules: [{ name: "none", action: "deny" }] }];
  return (await started(program, BUDGETS)).dataplane;
}
const verdict = (result: Result): string => `${Verdict[result.verdict]} ${Reason[result.reason]}`;

/** TCP of a packet; the reset's fields are all here. */
function tcpOf(bytes: Uint8Array): Record<string, number> {
  const { l4, sourcePort, port } = seen(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset + l4);
  return {
    sourcePort, port, sequence: view.getUint32(4), acknowledgement: view.getUint32(8),
    words: view.getUint8(12) >> 4, flags: view.getUint8(13), window: view.getUint16(14),
    urgent: view.getUint16(18), length: bytes.length,
  };
}
const SEQUENCE = 0x01020304; // packets.ts'
const ACKNOWLEDGEMENT = 0xfffffff0;
/** A segment with an acknowledgement number, and the sequence number given. */
function segment(spec: Spec, sequence = SEQUENCE): Uint8Array {
  const bytes = packet(spec);
  const { l4 } = seen(bytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(l4 + 4, sequence);
  view.setUint32(l4 + 8, ACKNOWLEDGEMENT);
  setWord(bytes, l4 + 16, 0);
  setWord(bytes, l4 + 16, ~sum16(bytes.subarray(l4), pseudo(bytes)) & 0xffff);
  return bytes;
}
/** An ICMP port unreachable about a packet: how it must look. */
function expectUnreachable(family: Family, answer: Uint8Array, asked: Uint8Array): void {
  const l4 = family === 4 ? 20 : 40;
  const { from, to } = seen(asked);
  expect(seen(answer)).toMatchObject({ from: to, to: from, protocol: family === 4 ? 1 : 58, l4 });
  expect([...answer.subarray(l4, l4 + 2)]).toEqual(family === 4 ? [3, 3] : [1, 4]);
  expect([...answer.subarray(l4 + 4, l4 + 8)]).toEqual([0, 0, 0, 0]);
  expect(answer.slice(l4 + 8)).toEqual(asked.slice(0, 64)); // what every adapter has
  expect(wrongChecksum(answer)).toBeUndefined();
  const length = (answer[family === 4 ? 2 : 4]! << 8) | answer[family === 4 ? 3 : 5]!;
  expect(length).toBe(answer.length - (family === 4 ? 0 : 40));
}

const answers: Uint8Array[] = [];

describe.each(FAMILIES)("IPv%s", (family) => {
  const { client, empty, backend, outside } = ADDRESSES[family];
  const l4 = family === 4 ? 20 : 40;
  const ask = (more: Partial<Spec> = {}): Spec =>
    ({ from: client, to: empty, port: PORT, sourcePort: 700, flags: "S", payload: 0, ...more });

  test("reject-reset: sequence and acknowledgement as of a closed port", async () => {
    const dataplane = await open();
    const RST = 4, RST_ACK = 20;
    // flags, payload, sequence number ─► flags, sequence, acknowledgement
    const cases: [string, number, number, number, number, number][] = [
      ["S", 0, SEQUENCE, RST_ACK, 0, SEQUENCE + 1],
      ["S", 5, SEQUENCE, RST_ACK, 0, SEQUENCE + 6],
      ["S", 1000, 0xffffffff, RST_ACK, 0, 1000],
      ["F", 7, SEQUENCE, RST_ACK, 0, SEQUENCE + 8],
      ["A", 0, SEQUENCE, RST, ACKNOWLEDGEMENT, 0],
      ["PA", 300, SEQUENCE, RST, ACKNOWLEDGEMENT, 0],
      ["FA", 3, SEQUENCE, RST, ACKNOWLEDGEMENT, 0],
    ];
    for (const [letters, payload, start, flags, sequence, acknowledgement] of cases) {
      const bytes = segment(ask({ flags: letters, payload }), start);
      const result = sendBytes(dataplane, CLIENT, bytes);
      expect(verdict(result), letters).toBe("Reply NoBackend");
      expect(tcpOf(result.bytes!)).toEqual({
        sourcePort: PORT, port: 700, sequence, acknowledgement, words: 5, flags, window: 0,
        urgent: 0, length: l4 + 20,
      });
      expect(seen(result.bytes!)).toMatchObject({ from: empty, to: client, l4 });
      expect(wrongChecksum(result.bytes!)).toBeUndefined();
      answers.push(result.bytes!);
    }
    expect(dataplane.sessions()).toEqual([]);
  });

  test("reject-reset: behind options and extension headers, padded, partly summed", async () => {
    const dataplane = await open();
    const padding = { number: 60, body: Uint8Array.of(0, 1, 4, 0, 0, 0, 0) };
    const longer = family === 4 ? { options: Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0) }
      : { extensions: [padding, padding] };
    for (const more of [longer, {}]) {
      const bytes = Uint8Array.from([...packet(ask({ ...more, payload: 4 })), 9, 9, 9]);
      for (const flags of [0, SlotFlag.PartialChecksum]) {
        const result = sendBytes(dataplane, CLIENT, bytes, { flags });
        expect(verdict(result)).toBe("Reply NoBackend");
        expect(tcpOf(result.bytes!)).toMatchObject({
          acknowledgement: SEQUENCE + 5, flags: 20, length: l4 + 20,
        });
        expect(wrongChecksum(result.bytes!)).toBeUndefined();
      }
    }
  });

  test("reject-unreachable: quotes what was asked, its first 64 bytes", async () => {
    const dataplane = await open();
    for (const protocol of ["udp", "sctp"] as const) {
      for (const payload of [0, 1, 8, 41, 60, 200]) {
        const bytes = packet(ask({ protocol, payload }));
        const result = sendBytes(dataplane, CLIENT, bytes);
        expect(verdict(result)).toBe("Reply NoBackend");
        expectUnreachable(family, result.bytes!, bytes);
        answers.push(result.bytes!);
      }
    }
    const padded = Uint8Array.from([...packet(ask({ protocol: "udp" })), 1, 2, 3]);
    const result = sendBytes(dataplane, CLIENT, padded);
    expectUnreachable(family, result.bytes!, padded.slice(0, -3));
  });

  test("reject-denied: what policy denies is answered where the setting says so", async () => {
    const dataplane = await closed();
    const spec = ask({ to: backend, payload: 8 });
    const reset = sendBytes(dataplane, CLIENT, packet(spec));
    expect(verdict(reset)).toBe("Reply PolicyDenied");
    expect(tcpOf(reset.bytes!)).toMatchObject({ flags: 20, acknowledgement: SEQUENCE + 9 });
    for (const protocol of ["udp", "sctp", "icmp", 47] as const) {
      const bytes = packet({ ...spec, protocol });
      const result = sendBytes(dataplane, CLIENT, bytes);
      expect(verdict(result), String(protocol)).toBe("Reply PolicyDenied");
      expectUnreachable(family, result.bytes!, bytes);
    }
    const program = translated();
    const plain = (await started(program, BUDGETS)).dataplane;
    expect(verdict(sendBytes(plain, CLIENT, packet({ ...spec, port: 1 }))))
      .toBe("Drop PolicyDenied");
  });

  test("reject-never: resets, errors, replies, later fragments, what is no host", async () => {
    const dataplane = await closed();
    const spec = ask({ to: backend });
    const dropped = (bytes: Uint8Array, from = CLIENT): void => {
      const result = sendBytes(dataplane, from, bytes);
      expect(Verdict[result.verdict], verdict(result)).toBe("Drop");
      expect(result.bytes).toBeUndefined();
    };
    dropped(packet({ ...spec, flags: "R" }));
    dropped(packet({ ...spec, flags: "RA" }));
    dropped(icmpError({ from: client, to: backend, quoted: packet(spec) }));
    for (const icmpType of family === 4 ? [0, 5, 14] : [129, 137, 2]) {
      dropped(packet({ ...spec, protocol: "icmp", icmpType }));
    }
    const parts = fragmentsOf(packet({ ...spec, protocol: "udp", payload: 80 }), 32, 3);
    const first = sendBytes(dataplane, CLIENT, parts[0]!);
    expect(verdict(first)).toBe("Reply PolicyDenied");
    expect(wrongChecksum(first.bytes!)).toBeUndefined();
    dropped(parts[1]!);
    dropped(fragmentsOf(packet({ ...spec, payload: 80 }), 32, 4)[0]!);

    const udp = { ...spec, protocol: "udp" as const };
    const nobody = family === 4
      ? ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.1.1.1", "255.255.255.255"]
      : ["::", "::1", "ff02::1", "ff0e::5"];
    for (const address of nobody) {
      dropped(packet({ ...udp, to: address }));
      dropped(packet({ ...udp, from: address }), UPLINK);
      dropped(packet({ ...spec, from: address }), UPLINK);
    }
    const fine = sendBytes(dataplane, UPLINK, packet({ ...udp, from: outside }));
    expect(verdict(fine)).toBe("Reply PolicyDenied");
  });

  test("reject-limit: 128 at once, then one a millisecond, each worker by itself", async () => {
    const dataplane = await open();
    const syn = { interface: CLIENT, bytes: packet(ask()) };
    const answered = (worker: number, count: number, nowMs: number): number => {
      const results = dataplane.process(
        worker, Array.from({ length: count }, () => syn), { ...clock, nowMs },
      );
      expect(new Set(results.map((each) => each.reason))).toEqual(new Set([Reason.NoBackend]));
      return results.filter((each) => each.verdict === Verdict.Reply).length;
    };
    expect(answered(0, 200, 0xffffffc0)).toBe(128);
    expect(answered(0, 50, 0xffffffc0)).toBe(0);
    expect(answered(1, 200, 0xffffffc0)).toBe(128);
    expect(answered(0, 50, 0xfffffff0)).toBe(48); // the clock wraps
    expect(answered(0, 250, 0x10)).toBe(32);
    expect(answered(0, 250, 0x100000)).toBe(128);
    expect(dataplane.counters().get(Reason.NoBackend)).toBe(1000n);
  });
});

test.skipIf(!tsharkInstalled)("reject-tshark: tshark finds every checksum of them right", () => {
  expect(answers.length).toBeGreaterThan(30);
  expect(judgedByTshark(answers)).toEqual({ bad: 0, good: answers.length });
});
if (!tsharkInstalled) console.log("skipped: answers judged by tshark (not installed)");
