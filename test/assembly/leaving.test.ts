// What an adapter shows as leaving: fragments, multicast copies and ICMP errors that the forwarder
// itself made of packets judged before, as they stand behind their translation. They pass by the
// session, unchanged; whole packets are the host's own, whatever tuple they bear.
import { describe, expect, test } from "vitest";
import { Reason, SlotHook, Verdict } from "../../assembly/layout.ts";
import type { Dataplane, Result } from "../../host/dataplane/dataplane.ts";
import { fragmentsOf } from "../fragmented.ts";
import { packet } from "../packets.ts";
import { BUDGETS, started } from "../shop.ts";
import {
  ADDRESSES, answerTo, CASES, CLIENT, clock, FAMILIES, icmpError, opening, seen, sendBytes,
  translated, UPLINK, wrongChecksum,
} from "../translated.ts";

const HOST = 0;
/** The program with the node itself, which may not open anything by the uplink. */
async function open(): Promise<Dataplane> {
  const program = translated();
  program.endpoints.push({
    name: "host", kind: "host", interfaces: [HOST],
    addresses: FAMILIES.map((family) => ADDRESSES[family].node),
  });
  program.endpoints.find((each) => each.name === "uplink")!.egress = "nothing";
  program.policies.push({ name: "nothing", rules: [{ name: "none", action: "deny" }] });
  return (await started(program, BUDGETS)).dataplane;
}
const leaveBy = (hook: SlotHook, dataplane: Dataplane, all: Uint8Array[]): Result[] =>
  dataplane.process(0, all.map((bytes) => ({ interface: HOST, hook, bytes })), clock);
const leave = (dataplane: Dataplane, ...all: Uint8Array[]): Result[] =>
  leaveBy(SlotHook.Leaving, dataplane, all);
const said = (results: Result[]): string[] =>
  results.map((each) => `${Verdict[each.verdict]} ${Reason[each.reason]}`);

describe.each(CASES)("IPv$family $protocol $way", ({ family, protocol, way }) => {
  test("leaving-fragments: fragments of what went in pass as they are, both ways", async () => {
    const dataplane = await open();
    const { near, far, spec } = opening(family, way, protocol, { payload: 100 });
    const out = sendBytes(dataplane, near, packet(spec)).bytes!;
    const back = sendBytes(dataplane, far, packet(answerTo(out, { payload: 100 }))).bytes!;
    for (const [n, whole] of [out, back].entries()) {
      for (const hook of [SlotHook.Leaving, SlotHook.Copied]) {
        const parts = fragmentsOf(whole, 48, 500 + 2 * n + hook);
        const results = leaveBy(hook, dataplane, parts);
        expect(said(results))
          .toEqual(["Pass Established", ...parts.slice(1).map(() => "Pass Fragment")]);
        expect(results.map((each) => each.bytes)).toEqual(parts);
        expect(results[0]!.direction).toBe(n);
      }
    }
  });

  test("leaving-whole: a whole packet of that tuple is the host's, not the session's", async () => {
    const dataplane = await open();
    const { near, spec } = opening(family, way, protocol);
    const out = sendBytes(dataplane, near, packet(spec)).bytes!;
    expect(said(leave(dataplane, out))[0]).not.toMatch(/Established/);
  });

  test("leaving-stranger: fragments of no session are judged as the host's own", async () => {
    const dataplane = await open();
    const { spec } = opening(family, way, protocol, { payload: 100 });
    const toOutside = { ...spec, from: ADDRESSES[family].node, to: ADDRESSES[family].outside };
    const parts = fragmentsOf(packet(toOutside), 48, 9);
    expect(said(leave(dataplane, ...parts)))
      .toEqual(["Drop PolicyDenied", ...parts.slice(1).map(() => "Drop LaterFragment")]);
  });
});

describe.each(FAMILIES)("IPv%i", (family) => {
  test("leaving-copied: what was made of an interface's packet opens nothing", async () => {
    const dataplane = await open();
    const { client, backend } = ADDRESSES[family];
    const whole = packet({ from: client, to: backend, protocol: "udp", port: 9, payload: 100 });
    const parts = fragmentsOf(whole, 48, 7);
    expect(said(leaveBy(SlotHook.Copied, dataplane, [whole, ...parts])))
      .toEqual(["Drop NoSession", "Drop NoSession", "Drop LaterFragment", "Drop LaterFragment"]);
    expect(said(leave(dataplane, whole))).toEqual(["Pass Allowed"]);
  });

  const { node, client, vip, outside } = ADDRESSES[family];
  const expired = family === 4 ? { type: 11, code: 0 } : { type: 3, code: 0 };

  test("leaving-error: its error about what it masqueraded gets to the sender", async () => {
    const dataplane = await open();
    const { near, spec } = opening(family, "snat", "udp", { payload: 60 });
    const sent = packet(spec);
    const left = sendBytes(dataplane, near, sent).bytes!;
    const error = icmpError({ from: node, to: seen(left).from, ...expired, quoted: left });
    const [result] = leave(dataplane, error);
    expect(said([result!])).toEqual(["Pass Related"]);
    expect(seen(result!.bytes!).to).toBe(client);
    expect(result!.bytes!.slice(seen(error).l4 + 8)).toEqual(sent);
    expect(wrongChecksum(result!.bytes!)).toBeUndefined();
  });

  test("leaving-untranslated: an error about a packet as it came goes back as it is", async () => {
    const dataplane = await open();
    const { near, spec } = opening(family, "dnat", "udp", { payload: 60 });
    const sent = packet(spec);
    sendBytes(dataplane, near, sent);
    const error = icmpError({ from: node, to: client, ...expired, quoted: sent });
    const [result] = leave(dataplane, error);
    expect(said([result!])).toEqual(["Pass Related"]);
    expect(result!.bytes).toEqual(error);
    // Not to somebody who did not send it, nor from an interface.
    const other = icmpError({ from: node, to: outside, ...expired, quoted: sent });
    expect(said(leave(dataplane, other))).toEqual(["Drop PolicyDenied"]);
    const entering = sendBytes(dataplane, UPLINK, icmpError({
      from: outside, to: client, ...expired, quoted: sent,
    }));
    expect(Reason[entering.reason]).not.toBe("Related");
    expect(seen(sent).to).toBe(vip);
  });

  test("leaving-copies: a multicast packet's copies pass by its session", async () => {
    const dataplane = await open();
    const group = family === 4 ? "239.1.2.3" : "ff05::1:3";
    const bytes = packet({
      from: client, to: group, protocol: "udp", sourcePort: 5000, port: 5001, payload: 20,
    });
    const sent = sendBytes(dataplane, CLIENT, bytes);
    expect(said([sent])).toEqual(["Pass Allowed"]);
    expect(said(leave(dataplane, sent.bytes!, sent.bytes!)))
      .toEqual(["Pass Established", "Pass Established"]);
  });
});
