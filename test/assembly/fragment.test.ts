// Fragments: what the first of a packet's decides holds for the others, in any order behind it,
// whichever worker they come to, and for nobody else's; what they make together is the packet,
// translated, its checksum right.
import { describe, expect, test } from "vitest";
import { Reason, Verdict } from "../../assembly/layout.ts";
import type { Dataplane, Result } from "../../host/dataplane/dataplane.ts";
import { fragment, fragmentsOf, reassembled } from "../fragmented.ts";
import { packet, type Spec } from "../packets.ts";
import { BUDGETS, started } from "../shop.ts";
import {
  ADDRESSES, answerTo, BACKEND, CASES, CLIENT, clock, FAMILIES, OTHER, opening, seen, sendBytes,
  TARGET, translated, UPLINK, wrongChecksum,
} from "../translated.ts";

const open = async (budgets = BUDGETS): Promise<Dataplane> =>
  (await started(translated(), budgets)).dataplane;
const reasons = (results: Result[]): string[] => results.map((each) => Reason[each.reason]!);
const sendAll = (dataplane: Dataplane, from: number, all: Uint8Array[], worker = 0): Result[] =>
  dataplane.process(worker, all.map((bytes) => ({ interface: from, bytes })), clock);
const late = (ms: number): typeof clock => ({ ...clock, nowMs: clock.nowMs + ms });

/** Every order of the later fragments behind the first. */
const ORDERS = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];

describe.each(CASES)("IPv$family $protocol $way", ({ family, protocol, way }) => {
  const cut = (spec: Spec, identification: number): Uint8Array[] =>
    fragmentsOf(packet({ ...spec, payload: 100 }), 32, identification).slice(0, 4);

  if (protocol === "sctp" && way !== "plain") {
    test("fragment-sctp: a checksum over what is elsewhere can't be kept: dropped", async () => {
      const dataplane = await open();
      const { near, far, spec } = opening(family, way, protocol);
      const parts = fragmentsOf(packet({ ...spec, payload: 100 }), 32, 1);
      expect(new Set(reasons(sendAll(dataplane, near, parts.slice(0, 1)))))
        .toEqual(new Set(["SctpFragment"]));
      expect(reasons(sendAll(dataplane, near, parts.slice(1)))).not.toContain("Fragment");
      const there = sendBytes(dataplane, near, packet(spec));
      const answer = packet(answerTo(there.bytes!, { payload: 100 }));
      const [back] = sendAll(dataplane, far, fragmentsOf(answer, 32, 2));
      expect(Reason[back!.reason]).toBe("SctpFragment");
    });
    return;
  }

  test("fragment-follows: later ones in any order, there and back, make the packet", async () => {
    const dataplane = await open();
    for (const [n, order] of ORDERS.entries()) {
      for (const frames of ["one", "many"]) {
        const { near, far, spec } = opening(family, way, protocol, {
          payload: 100, sourcePort: 2000 + 2 * n + (frames === "one" ? 1 : 0),
        });
        const whole = packet(spec);
        const parts = fragmentsOf(whole, 32, 77 + n);
        const shuffled = [parts[0]!, ...order.map((at) => parts[at]!), ...parts.slice(4)];
        const through = (from: number, all: Uint8Array[]): Result[] => frames === "one"
          ? sendAll(dataplane, from, all)
          : all.flatMap((bytes, i) => sendAll(dataplane, from, [bytes], i % 2));
        const there = through(near, shuffled);
        expect(reasons(there)).toEqual(["Allowed", ...shuffled.slice(1).map(() => "Fragment")]);
        const out = reassembled(there.map((each) => each.bytes!));
        expect(wrongChecksum(out)).toBeUndefined();
        expect(seen(out).to).toBe(way === "dnat" || way === "both"
          ? ADDRESSES[family].backend : spec.to);

        const answer = packet(answerTo(out, { payload: 100 }));
        const back = through(far, fragmentsOf(answer, 40, 99));
        expect(reasons(back)).toEqual(["Established", ...back.slice(1).map(() => "Fragment")]);
        const home = reassembled(back.map((each) => each.bytes!));
        expect(wrongChecksum(home)).toBeUndefined();
        expect([seen(home).from, seen(home).to]).toEqual([spec.to, spec.from]);
        expect(back.map((each) => each.direction)).toEqual(back.map(() => 1));
        expect(new Set(back.map((each) => `${each.policySlot} ${each.rule} ${each.backend}`)).size)
          .toBe(1);
      }
    }
  });

  test("fragment-unknown: none before its first, after a denied one, of another", async () => {
    const dataplane = await open();
    const { near, spec } = opening(family, way, protocol);
    const parts = cut(spec, 5);
    expect(reasons(sendAll(dataplane, near, [parts[1]!, parts[0]!, parts[2]!])))
      .toEqual(["LaterFragment", "Allowed", "Fragment"]);
    // another identification, another destination, another sender
    expect(reasons(sendAll(dataplane, near, cut(spec, 6).slice(1)))).not.toContain("Fragment");
    const elsewhere = cut({ ...spec, to: ADDRESSES[family].other }, 5);
    expect(reasons(sendAll(dataplane, near, elsewhere.slice(1)))).not.toContain("Fragment");
    if (near === UPLINK) {
      expect(reasons(sendAll(dataplane, CLIENT, parts.slice(1)))).not.toContain("Fragment");
    } else {
      expect(reasons(sendAll(dataplane, UPLINK, parts.slice(1)))).not.toContain("Fragment");
    }
  });
});

describe.each(FAMILIES)("IPv%s", (family) => {
  const { client, other, backend } = ADDRESSES[family];
  const udp = (more: Partial<Spec> = {}): Spec =>
    ({ from: client, to: backend, protocol: "udp", port: TARGET, payload: 100, ...more });

  test("fragment-denied: a denied first fragment lets none follow", async () => {
    const dataplane = await open();
    const parts = fragmentsOf(packet(udp({ port: 1 })), 32, 9);
    expect(reasons(sendAll(dataplane, CLIENT, parts)))
      .toEqual(["PolicyDenied", ...parts.slice(1).map(() => "LaterFragment")]);
    // Nor does a later fragment overlay what was judged.
    const whole = packet(udp());
    sendAll(dataplane, CLIENT, fragmentsOf(whole, 32, 10).slice(0, 1));
    const overlay = fragment(whole, whole.slice(0, 16), 1, true, 10);
    expect(reasons(sendAll(dataplane, CLIENT, [overlay]))).toEqual(["TinyFragment"]);
  });

  test("fragment-idle: 30 s after the last of them nothing follows", async () => {
    const dataplane = await open();
    const parts = fragmentsOf(packet(udp()), 32, 9);
    sendAll(dataplane, CLIENT, parts.slice(0, 1));
    const follow = (ms: number): string =>
      Reason[sendBytes(dataplane, CLIENT, parts[1]!, {}, late(ms)).reason]!;
    // One worker's clock may be a little behind another's.
    expect([follow(29_000), follow(58_000), follow(89_000), follow(57_500)])
      .toEqual(["Fragment", "Fragment", "LaterFragment", "Fragment"]);
    expect(follow(25 * 86_400_000)).toBe("LaterFragment"); // where the clock has wrapped half
  });

  test("fragment-limit: no more follows than a datagram holds; a first begins anew", async () => {
    const dataplane = await open();
    const whole = packet(udp({ payload: 65_000 }));
    const parts = fragmentsOf(whole, 1400, 9);
    expect(new Set(reasons(sendAll(dataplane, CLIENT, parts)).slice(1)))
      .toEqual(new Set(["Fragment"]));
    const again = reasons(sendAll(dataplane, CLIENT, parts.slice(1)));
    expect(again.filter((each) => each === "Fragment")).toHaveLength(1);
    expect(new Set(again.slice(2))).toEqual(new Set(["LaterFragment"]));
    expect(reasons(sendAll(dataplane, CLIENT, parts)).filter((each) => each === "Fragment"))
      .toHaveLength(parts.length - 1);
    // Fragments without a payload use it up, too.
    sendAll(dataplane, CLIENT, fragmentsOf(whole, 1400, 10).slice(0, 1));
    const empty = fragment(whole, new Uint8Array(0), 100, true, 10);
    let followed = 0;
    for (let i = 0; i < 40; i++) {
      const results = sendAll(dataplane, CLIENT, Array.from({ length: 256 }, () => empty));
      followed += results.filter((each) => each.verdict === Verdict.Pass).length;
    }
    expect(followed).toBe(65_536 / 8);
  });

  test("fragment-budget: recent packets drive out older ones, and are followed", async () => {
    const dataplane = await open({ ...BUDGETS, fragmentsMax: 16 });
    const first = (n: number): Uint8Array[] => fragmentsOf(packet(udp()), 32, n);
    for (let n = 0; n < 400; n++) {
      expect(reasons(sendAll(dataplane, CLIENT, first(n)))).toEqual(
        [n ? "Established" : "Allowed", ...first(n).slice(1).map(() => "Fragment")],
      );
    }
    const known = Array.from({ length: 400 }, (_, n) => n).filter((n) =>
      Reason[sendAll(dataplane, CLIENT, first(n).slice(1, 2))[0]!.reason] === "Fragment");
    expect(known.length).toBeGreaterThan(24); // 8 buckets of 4 are the least
    expect(known.length).toBeLessThanOrEqual(32);
    expect(known).toContain(399);
  });

  test("fragment-sender: the entry of one workload is not another's", async () => {
    const dataplane = await open({ ...BUDGETS, fragmentsMax: 4 });
    const parts = fragmentsOf(packet(udp()), 32, 9);
    for (let n = 0; n < 64; n++) { // whatever the buckets
      const [first, later] = fragmentsOf(packet(udp()), 32, n);
      sendAll(dataplane, CLIENT, [first!]);
      // From the uplink any source may come: it is another sender all the same.
      expect(reasons(sendAll(dataplane, UPLINK, [later!]))).toEqual(["LaterFragment"]);
    }
    sendAll(dataplane, CLIENT, parts.slice(0, 1));
    expect(reasons(sendAll(dataplane, OTHER, parts.slice(1, 2)))).toEqual(["SpoofedSource"]);
    const others = fragmentsOf(packet(udp({ from: other })), 32, 9);
    expect(reasons(sendAll(dataplane, OTHER, others.slice(1, 2)))).toEqual(["LaterFragment"]);
    expect(reasons(sendAll(dataplane, CLIENT, parts.slice(1, 2)))).toEqual(["Fragment"]);
  });

  test("fragment-dsr: all parts go on to the node that answers, as they are", async () => {
    const dataplane = await open();
    const { outside, direct } = ADDRESSES[family];
    for (const protocol of ["udp", "sctp"] as const) {
      const whole = packet({ ...udp({ protocol }), from: outside, to: direct, port: 80 });
      const parts = fragmentsOf(whole, 32, 9);
      const results = sendAll(dataplane, UPLINK, parts);
      expect(reasons(results)).toEqual(["Forwarded", ...parts.slice(1).map(() => "Fragment")]);
      expect(results.map((each) => each.peer)).toEqual(parts.map(() => 1));
      expect(results.map((each) => each.bytes)).toEqual(parts);
    }
  });

  test("fragment-other: protocols without ports follow their first alike", async () => {
    const dataplane = await open();
    const gre: Spec = { from: client, to: backend, protocol: 47, payload: 100 };
    const parts = fragmentsOf(packet(gre), 32, 9);
    expect(reasons(sendAll(dataplane, CLIENT, [packet(gre), parts[1]!, parts[0]!, parts[1]!])))
      .toEqual(["Allowed", "LaterFragment", "Established", "Fragment"]);
    const answers = fragmentsOf(packet({ ...gre, from: backend, to: client }), 32, 9);
    expect(reasons(sendAll(dataplane, BACKEND, [answers[1]!, ...answers.slice(0, 2)])))
      .toEqual(["LaterFragment", "Established", "Fragment"]);
  });
});
