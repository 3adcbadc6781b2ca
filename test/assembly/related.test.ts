// ICMP errors by the session that they quote, over every protocol and way of translation, about
// packets of both directions. Policy denies all errors, so what passes passes by its session. What
// its receiver reads in it must be the very packet that it sent.
import { describe, expect, test } from "vitest";
import { Reason, SLOT_WINDOW_LENGTH, SlotFlag, Verdict } from "../../assembly/layout.ts";
import type { Dataplane, Result } from "../../host/dataplane/dataplane.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { packet, sum16 } from "../packets.ts";
import { judgedByTshark, tsharkInstalled } from "../reference/tshark.ts";
import { BUDGETS, started } from "../shop.ts";
import {
  ADDRESSES, answerTo, BACKEND, CASES, CLIENT, clock, FAMILIES, icmpError, OTHER, opening, pseudo,
  sealIcmp, seen, sendBytes, setWord, translated, UPLINK, wrongChecksum, type Opening,
} from "../translated.ts";

const open = async (): Promise<Dataplane> => (await started(translated(), BUDGETS)).dataplane;

/** A flow's first packet and its answer: as each was sent, and as it left. */
interface Exchange extends Opening {
  sent: Uint8Array;
  left: Uint8Array;
  answered: Uint8Array;
  returned: Uint8Array;
}
function exchange(dataplane: Dataplane, of: Opening): Exchange {
  const sent = packet(of.spec);
  const left = sendBytes(dataplane, of.near, sent).bytes!;
  const answered = packet(answerTo(left, { payload: of.spec.payload ?? 8 }));
  const returned = sendBytes(dataplane, of.far, answered).bytes!;
  return { ...of, sent, left, answered, returned };
}
const quotedIn = (bytes: Uint8Array): Uint8Array => bytes.slice(seen(bytes).l4 + 8);
const denied = (result: Result): void => {
  expect([Verdict[result.verdict], Reason[result.reason]]).toEqual(["Drop", "PolicyDenied"]);
};

const errors: Uint8Array[] = [];

describe.each(CASES)("IPv$family $protocol $way", ({ family, protocol, way }) => {
  const l4 = family === 4 ? 20 : 40;
  const { router } = ADDRESSES[family];
  const types = family === 4 ? [[3, 3], [3, 4], [4, 0], [11, 0], [12, 0]]
    : [[1, 4], [2, 0], [3, 0], [4, 1]];

  test("icmp-error-forward: its receiver reads the packet that it sent", async () => {
    const dataplane = await open();
    for (const payload of [8, 60, 300]) {
      const each = exchange(dataplane, opening(family, way, protocol, { payload }));
      for (const [type, code] of types as [number, number][]) {
        for (const bytes of [8, 9, 16, 20, 21, 1000]) {
          const quoted = each.left.slice(0, l4 + bytes);
          // From the far end itself, and from a router before it.
          const { to } = seen(each.left);
          const routers = each.far === UPLINK ? [to, router] : [to];
          for (const from of routers) {
            const error = icmpError({ from, to: seen(each.left).from, type, code, quoted });
            const result = sendBytes(dataplane, each.far, error);
            expect([Verdict[result.verdict], Reason[result.reason], result.direction])
              .toEqual(["Pass", "Related", 1]);
            expect(result.stages).toEqual([]); // no policy is asked
            const got = seen(result.bytes!);
            expect(got.to).toBe(each.spec.from);
            expect(got.from).toBe(from === to ? each.spec.to : router);
            // A checksum that is cut in two is nobody's: it stays as it is.
            const whole = protocol === "sctp" && bytes === 9 ? 8 : bytes;
            expect(quotedIn(result.bytes!).slice(0, l4 + whole))
              .toEqual(each.sent.slice(0, l4 + whole));
            expect(wrongChecksum(result.bytes!)).toBeUndefined();
            expect(result.bytes!.slice(l4, l4 + 2)).toEqual(error.slice(l4, l4 + 2));
            // tshark sums what is left of a TCP segment that is quoted in part.
            if (bytes === 1000) errors.push(result.bytes!);
          }
        }
      }
    }
  });

  test("icmp-error-return: an error about an answer reaches who answered", async () => {
    const dataplane = await open();
    const each = exchange(dataplane, opening(family, way, protocol, { payload: 200 }));
    for (const bytes of [8, 20, 30, 1000]) {
      const quoted = each.returned.slice(0, l4 + bytes);
      const { from: server, to: client } = seen(each.returned);
      const routers = each.near === UPLINK ? [client, router] : [client];
      for (const from of routers) {
        const error = icmpError({ from, to: server, quoted });
        const result = sendBytes(dataplane, each.near, error);
        expect([Reason[result.reason], result.direction]).toEqual(["Related", 0]);
        const got = seen(result.bytes!);
        expect(got.to).toBe(seen(each.answered).from);
        expect(got.from).toBe(from === client ? seen(each.left).from : router);
        expect(quotedIn(result.bytes!)).toEqual(each.answered.slice(0, l4 + bytes));
        expect(wrongChecksum(result.bytes!)).toBeUndefined();
      }
    }
  });

  test("icmp-error-checksums: padding, partial sums, wrong ones", async () => {
    const dataplane = await open();
    const each = exchange(dataplane, opening(family, way, protocol, { payload: 31 }));
    const { from: to, to: from } = seen(each.left);
    const error = icmpError({ from, to, quoted: each.left });
    const right = sendBytes(dataplane, each.far, Uint8Array.from([...error, 1, 2, 3])).bytes!;
    expect(right).toHaveLength(error.length);
    expect(wrongChecksum(right)).toBeUndefined();
    const short = icmpError({ from, to, quoted: each.left.slice(0, l4 + 8) });
    const long = Uint8Array.from([...short, ...new Uint8Array(20).fill(7)]);
    const cut = sendBytes(dataplane, each.far, long).bytes!;
    expect(wrongChecksum(cut)).toBeUndefined();
    expect(quotedIn(cut)).toEqual(each.sent.slice(0, l4 + 8));

    if (family === 6) { // ICMP's over IPv4 has no pseudo-header to be left with
      const partial = error.slice();
      setWord(partial, l4 + 2, sum16(pseudo(partial)));
      const out = sendBytes(dataplane, each.far, partial, { flags: SlotFlag.PartialChecksum });
      setWord(out.bytes!, l4 + 2, ~sum16(out.bytes!.subarray(l4)) & 0xffff);
      expect(wrongChecksum(out.bytes!)).toBeUndefined();
    }

    // Wrong by so much when it comes, wrong by so much when it goes; what is quoted likewise.
    const off = (bytes: Uint8Array, good: Uint8Array, at: number): number =>
      ((bytes[at]! - good[at]!) * 256 + bytes[at + 1]! - good[at + 1]! + 0x1fffe) % 0xffff;
    error[l4 + 2]! ^= 1;
    const wrong = sendBytes(dataplane, each.far, error).bytes!;
    const good = icmpError({ from, to, quoted: each.left });
    expect(wrongChecksum(wrong)).toBeDefined();
    expect(off(wrong, right, l4 + 2)).toBe(off(error, good, l4 + 2));
    const field = l4 + { tcp: 16, udp: 6, sctp: 8, icmp: 2 }[protocol];
    const [sent, left] = [each.sent.slice(), each.left.slice()];
    for (const bytes of [sent, left]) bytes[field]! ^= 4;
    const home = sendBytes(dataplane, each.far, icmpError({ from, to, quoted: left }));
    const was = quotedIn(home.bytes!);
    if (protocol === "sctp") expect(was).toEqual(sent);
    else expect(off(was, each.sent, field)).toBe(off(left, each.left, field));
    expect(wrongChecksum(home.bytes!)).toBeUndefined();
  });

  test("icmp-error-foreign: what is not the session's is for policy to judge", async () => {
    const dataplane = await open();
    const each = exchange(dataplane, opening(family, way, protocol));
    const { from: to, to: from } = seen(each.left);
    const quoted = each.left;
    const { other, outside } = ADDRESSES[family];
    // another workload; another destination; a later fragment; cut short; a redirect; another port
    const others = icmpError({ from: other, to, quoted });
    denied(sendBytes(dataplane, OTHER, others));
    const { memory } = dataplane as NodeDataplane;
    const window = memory.windowOf(0, 0);
    expect(memory.bytes.slice(window, window + others.length)).toEqual(others);
    denied(sendBytes(dataplane, each.far, icmpError({ from, to: other, quoted })));
    const short = quoted.slice(0, l4 + 7);
    denied(sendBytes(dataplane, each.far, icmpError({ from, to, quoted: short })));
    const redirect = icmpError({ from, to, quoted, type: family === 4 ? 5 : 137, code: 0 });
    denied(sendBytes(dataplane, each.far, redirect));
    const strange = quoted.slice();
    strange[l4 + (protocol === "icmp" ? 5 : 1)]! ^= 1;
    denied(sendBytes(dataplane, each.far, icmpError({ from, to, quoted: strange })));
    // the packet as it was sent, not as it left: nobody behind the translation has seen that
    if (way !== "plain") {
      denied(sendBytes(dataplane, each.far, icmpError({ from, to, quoted: each.sent })));
    }
    denied(sendBytes(dataplane, UPLINK, icmpError({ from: outside, to: other, quoted })));
    if (protocol === "icmp") {
      const notEcho = quoted.slice();
      notEcho[l4] = family === 4 ? 13 : 144;
      denied(sendBytes(dataplane, each.far, icmpError({ from, to, quoted: notEcho })));
    }
  });

  test("icmp-error-fragment: a quoted first one names its session, a later one none", async () => {
    const dataplane = await open();
    const each = exchange(dataplane, opening(family, way, protocol));
    const { from: to, to: from, protocol: number } = seen(each.left);
    const cut = (bytes: Uint8Array, offset: number): Uint8Array => {
      if (family === 4) {
        const out = bytes.slice();
        setWord(out, 6, offset | 0x2000);
        setWord(out, 10, 0);
        setWord(out, 10, ~sum16(out.subarray(0, 20)) & 0xffff);
        return out;
      }
      const header = Uint8Array.of(number, 0, 0, (offset << 3) | 1, 1, 2, 3, 4);
      const out = Uint8Array.from([...bytes.slice(0, 40), ...header, ...bytes.slice(40)]);
      out[6] = 44;
      return out;
    };
    const about = (offset: number): Uint8Array =>
      icmpError({ from, to, quoted: cut(each.left, offset) });
    const first = sendBytes(dataplane, each.far, about(0));
    expect(Reason[first.reason]).toBe("Related");
    expect(wrongChecksum(first.bytes!)).toBeUndefined();
    const said = quotedIn(first.bytes!), sent = cut(each.sent, 0);
    // SCTP's checksum is over what the fragment does not hold: it is left.
    if (protocol === "sctp") {
      const [at, end] = [sent.length - 12, sent.length - 8];
      said.set(sent.subarray(at, end), at);
    }
    expect(said).toEqual(sent);
    denied(sendBytes(dataplane, each.far, about(3)));
  });
});

test.each(FAMILIES)("icmp-error-headers: IPv%s options and extension headers quoted", async (
  family,
) => {
  const dataplane = await open();
  const padding = { number: 60, body: Uint8Array.of(0, 1, 4, 0, 0, 0, 0) };
  const longer = family === 4 ? { options: Uint8Array.of(1, 1, 1, 1) }
    : { extensions: [padding, padding] };
  const each = opening(family, "dnat", "udp", longer);
  const sent = packet(each.spec);
  const left = sendBytes(dataplane, CLIENT, sent).bytes!;
  const { backend, client, vip } = ADDRESSES[family];
  const headers = family === 4 ? 32 : 64;
  const error = icmpError({ from: backend, to: client, quoted: left.slice(0, headers) });
  const result = sendBytes(dataplane, BACKEND, error);
  expect(Reason[result.reason]).toBe("Related");
  expect(seen(result.bytes!)).toMatchObject({ from: vip, to: client });
  expect(quotedIn(result.bytes!)).toEqual(sent.slice(0, headers));
  expect(wrongChecksum(result.bytes!)).toBeUndefined();
});

test.each(FAMILIES)("icmp-error-zero: IPv%s UDP quoted without a checksum stays without", async (
  family,
) => {
  const dataplane = await open();
  const each = opening(family, "dnat", "udp", { noChecksum: true });
  const sent = packet(each.spec);
  const left = sendBytes(dataplane, CLIENT, sent).bytes!;
  const { backend, client } = ADDRESSES[family];
  const error = icmpError({ from: backend, to: client, quoted: left });
  const result = sendBytes(dataplane, BACKEND, error);
  expect(quotedIn(result.bytes!)).toEqual(sent);
});

test.each(FAMILIES)("icmp-error-idle: IPv%s errors keep no session alive", async (family) => {
  const dataplane = await open();
  const each = exchange(dataplane, opening(family, "dnat", "udp"));
  const { from: to, to: from } = seen(each.left);
  const error = sealIcmp(icmpError({ from, to, quoted: each.left }));
  const later = (ms: number): typeof clock => ({ ...clock, nowMs: clock.nowMs + ms });
  for (const ms of [20_000, 40_000, 59_000]) {
    expect(Reason[sendBytes(dataplane, each.far, error, {}, later(ms)).reason]).toBe("Related");
  }
  expect(dataplane.age(0, clock.nowMs + 61_000, 1000)).toBe(1);
  denied(sendBytes(dataplane, each.far, error, {}, later(61_000)));
});

test.each(FAMILIES)("icmp-error-dsr: IPv%s errors go on to the node that answers", async (
  family,
) => {
  const dataplane = await open();
  const { direct, outside, router } = ADDRESSES[family];
  for (const protocol of ["tcp", "udp", "sctp"] as const) {
    const spec = { from: outside, to: direct, protocol, port: 80, sourcePort: 700 };
    const there = sendBytes(dataplane, UPLINK, packet(spec));
    expect([Reason[there.reason], there.peer]).toEqual(["Forwarded", 1]);
    // The other node has answered the client directly; a router on that way complains.
    const quoted = packet(answerTo(packet(spec)));
    const error = icmpError({ from: router, to: direct, quoted });
    const result = sendBytes(dataplane, UPLINK, error);
    expect([Verdict[result.verdict], Reason[result.reason], result.peer])
      .toEqual(["Pass", "Related", 1]);
    expect(result.bytes).toEqual(error);
  }
});

test("icmp-error-restored: a session still to be judged anew vouches for no error", async () => {
  const before = await open();
  const each = exchange(before, opening(4, "both", "udp"));
  const dataplane = await open();
  expect(dataplane.restoreSessions(0, before.saveSessions(), clock.nowMs)).toBe(1);
  const { from: to, to: from } = seen(each.left);
  const error = icmpError({ from, to, quoted: each.left });
  denied(sendBytes(dataplane, each.far, error));
  expect(Reason[sendBytes(dataplane, each.near, each.sent).reason]).toBe("Established");
  expect(Reason[sendBytes(dataplane, each.far, error).reason]).toBe("Related");
});

test("icmp-error-window: what the adapter did not copy is neither read nor changed", async () => {
  const dataplane = await open() as NodeDataplane;
  const each = exchange(dataplane, opening(4, "both", "tcp", { payload: 60 }));
  const { from: to, to: from } = seen(each.left);
  const bytes = icmpError({ from, to, quoted: each.left });
  const { memory } = dataplane;
  const within = (window: number): Result => {
    memory.writePacket(0, 0, { interface: each.far, bytes });
    memory.view.setUint16(memory.slotOf(0, 0) + SLOT_WINDOW_LENGTH, window, true);
    dataplane.run(0, 1, clock);
    return memory.readResult(0, 0, { interface: each.far, bytes });
  };
  // 20 + 8 + 20 bytes of headers, 8 of TCP, its checksum behind 16
  for (const window of [56, 57, 64, 65]) {
    const result = within(window);
    expect(Reason[result.reason]).toBe("Related");
    expect(result.bytes!.slice(56)).toEqual(bytes.slice(56));
    expect(quotedIn(result.bytes!).slice(0, 28)).toEqual(each.sent.slice(0, 28));
    expect(wrongChecksum(result.bytes!)).toBeUndefined();
  }
  expect(quotedIn(within(66).bytes!)).toEqual(each.sent);
  expect(Reason[within(55).reason]).toBe("PolicyDenied");
});

test.skipIf(!tsharkInstalled)("icmp-error-tshark: tshark finds every checksum right", () => {
  expect(errors.length).toBeGreaterThan(400);
  expect(judgedByTshark(errors)).toEqual({ bad: 0, good: errors.length });
});
if (!tsharkInstalled) console.log("skipped: ICMP errors judged by tshark (not installed)");
