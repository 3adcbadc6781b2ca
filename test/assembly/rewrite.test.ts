// The rewrite of every protocol in every way of translation, there and back, against checksums
// computed anew: ports, an echo's identifier, SCTP's CRC32c whatever follows the window, padding of
// the link layer, checksums that are left to the hardware.
import { describe, expect, test } from "vitest";
import { Reason, SlotFlag, Verdict } from "../../assembly/layout.ts";
import type { Dataplane, Result } from "../../host/dataplane/dataplane.ts";
import { packet, sum16, type Spec } from "../packets.ts";
import { judgedByTshark, tsharkInstalled } from "../reference/tshark.ts";
import { BUDGETS, started } from "../shop.ts";
import {
  ADDRESSES, answerTo, CASES, CLIENT, FAMILIES, OTHER, opening, pseudo, seen, sendBytes, setWord,
  TARGET, translated, UPLINK, wrongChecksum, type Family, type Opening, type Way,
} from "../translated.ts";

const open = async (): Promise<Dataplane> => (await started(translated(), BUDGETS)).dataplane;
const send = (dataplane: Dataplane, from: number, spec: Spec): Result =>
  sendBytes(dataplane, from, packet(spec));

/** What the far end sees of a flow's source and destination. */
function farEnds(family: Family, way: Way, { spec }: Opening): [string, string] {
  const { node, backend } = ADDRESSES[family];
  return [
    way === "snat" || way === "both" ? node : spec.from,
    way === "dnat" || way === "both" ? backend : spec.to,
  ];
}
const padded = (bytes: Uint8Array, by: number): Uint8Array =>
  Uint8Array.from([...bytes, ...new Uint8Array(by).fill(0x5a)]);

const rewritten: Uint8Array[] = [];

describe.each(CASES)("IPv$family $protocol $way", ({ family, protocol, way }) => {
  const isTranslated = way === "snat" || way === "both";

  test("rewrite-there-and-back: addresses, ports and checksums at both ends", async () => {
    const dataplane = await open();
    // With the identifier or port in use already, source NAT must choose another.
    const inUse = opening(family, way, protocol, { sourcePort: 1700 });
    if (way === "snat") {
      const { other } = ADDRESSES[family];
      expect(send(dataplane, OTHER, { ...inUse.spec, from: other }).verdict).toBe(Verdict.Pass);
    }
    for (const sourcePort of [1700, 700, 0, 0xffff]) {
      for (const payload of [0, 1, 8, 77, 78, 300, 1400]) {
        const { near, far, spec } = opening(family, way, protocol, { sourcePort, payload });
        const there = send(dataplane, near, spec);
        expect(there.verdict, `${sourcePort} ${payload} ${Reason[there.reason]}`)
          .toBe(Verdict.Pass);
        const out = seen(there.bytes!);
        expect([out.from, out.to]).toEqual(farEnds(family, way, { near, far, spec }));
        expect(out.port).toBe(protocol === "icmp" ? out.sourcePort : way === "snat" ? 80 : TARGET);
        if (!isTranslated) expect(out.sourcePort).toBe(sourcePort);
        expect(wrongChecksum(there.bytes!)).toBeUndefined();
        expect(there.bytes!.slice(out.l4 + 20)).toEqual(packet(spec).slice(out.l4 + 20));

        const answer = packet(answerTo(there.bytes!, { payload }));
        const back = sendBytes(dataplane, far, answer);
        expect([back.reason, back.direction]).toEqual([Reason.Established, 1]);
        const home = seen(back.bytes!);
        expect([home.from, home.to]).toEqual([spec.to, spec.from]);
        expect(home.port).toBe(sourcePort);
        if (protocol !== "icmp") expect(home.sourcePort).toBe(spec.port);
        expect(wrongChecksum(back.bytes!)).toBeUndefined();
        rewritten.push(there.bytes!, back.bytes!);
      }
    }
  });

  test("rewrite-padding: what the link layer put behind a packet changes no checksum", async () => {
    const dataplane = await open();
    const { near, far, spec } = opening(family, way, protocol, { payload: 3 });
    const there = sendBytes(dataplane, near, padded(packet(spec), 13));
    expect(there.verdict).toBe(Verdict.Pass);
    expect(there.bytes).toHaveLength(packet(spec).length);
    expect(wrongChecksum(there.bytes!)).toBeUndefined();
    const back = sendBytes(dataplane, far, padded(packet(answerTo(there.bytes!)), 40));
    expect(back.reason).toBe(Reason.Established);
    expect(wrongChecksum(back.bytes!)).toBeUndefined();
  });

  test("rewrite-partial: a checksum still to be summed bears the new addresses", async () => {
    const dataplane = await open();
    const { near, spec } = opening(family, way, protocol);
    const bytes = packet(spec);
    const { l4 } = seen(bytes);
    const at = l4 + { tcp: 16, udp: 6, sctp: 8, icmp: 2 }[protocol];
    if (protocol === "sctp") bytes.fill(0, at, at + 4);
    else setWord(bytes, at, sum16(pseudo(bytes)));
    const there = sendBytes(dataplane, near, bytes, { flags: SlotFlag.PartialChecksum });
    expect(there.verdict).toBe(Verdict.Pass);
    const out = there.bytes!;
    if (protocol === "sctp") {
      expect(out.subarray(at, at + 4)).toEqual(new Uint8Array(4));
    } else {
      // The hardware's part: the sum over all, with the field as it stands.
      setWord(out, at, ~sum16(out.subarray(l4)) & 0xffff);
      expect(wrongChecksum(out)).toBeUndefined();
    }
  });
});

test.each(FAMILIES)("rewrite-echo: IPv%s pings of one identifier are told apart", async (
  family,
) => {
  const dataplane = await open();
  const { client, other, outside } = ADDRESSES[family];
  const ping = (from: string, identifier: number): Spec =>
    ({ from, to: outside, protocol: "icmp", sourcePort: identifier });
  for (const identifier of [7, 0, 3, 0xffff]) {
    const [one, two] = [
      send(dataplane, CLIENT, ping(client, identifier)),
      send(dataplane, OTHER, ping(other, identifier)),
    ];
    const identifiers = [one, two].map((each) => seen(each.bytes!).sourcePort);
    expect(identifiers[0]).toBe(identifier);
    expect(identifiers[1]).not.toBe(identifier);
    for (const [result, home] of [[one, client], [two, other]] as const) {
      const back = send(dataplane, UPLINK, answerTo(result.bytes!));
      expect(back.reason).toBe(Reason.Established);
      expect(seen(back.bytes!)).toMatchObject({ from: outside, to: home, port: identifier });
      expect(wrongChecksum(back.bytes!)).toBeUndefined();
    }
  }
});

test.skipIf(!tsharkInstalled)("rewrite-tshark: tshark finds every checksum of them right", () => {
  expect(rewritten.length).toBeGreaterThan(1000);
  expect(judgedByTshark(rewritten)).toEqual({ bad: 0, good: rewritten.length });
});
if (!tsharkInstalled) console.log("skipped: rewritten packets judged by tshark (not installed)");
