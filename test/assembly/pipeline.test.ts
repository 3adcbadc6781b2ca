// The packet program on packets: policy, Service, session, rewrite, one flow at a time, both
// families.
import { describe, expect, test } from "vitest";
import { Reason, Verdict } from "../../assembly/layout.ts";
import { addressBytes, addressText } from "../../host/model/address.ts";
import type { Dataplane, Result } from "../../host/dataplane/dataplane.ts";
import { checksumsRight, packet, type Spec } from "../packets.ts";
import {
  BACKEND1, BACKEND2, CLIENT, started, STRANGER, VIP4, VIP6,
} from "../shop.ts";

const clock = { nowMs: 1_000_000, nowSeconds: 1_700_000_000 };
const send = (dataplane: Dataplane, from: number, ...specs: Spec[]): Result[] =>
  dataplane.process(0, specs.map((spec) => ({ interface: from, bytes: packet(spec) })), clock);

const families = [
  { family: 4, client: "10.0.0.1", stranger: "10.0.0.9", vip: VIP4, net: "10.0.1." },
  { family: 6, client: "fd00::1", stranger: "fd00::9", vip: VIP6, net: "fd00:1::" },
] as const;

function ends(family: 4 | 6, bytes: Uint8Array): [string, string] {
  const [from, to, size] = family === 4 ? [12, 16, 4] : [8, 24, 16];
  const text = (at: number): string => addressText(bytes.slice(at, at + size));
  return [text(from), text(to)];
}

describe.each(families)("IPv$family", ({ family, client, stranger, vip, net }) => {
  test("dnat-to-backend: a SYN to the VIP meets a backend, the reply bears the VIP", async () => {
    const { dataplane } = await started();
    const [syn] = send(dataplane, CLIENT, { from: client, to: vip, port: 80, flags: "S" });
    expect(syn).toMatchObject({ verdict: Verdict.Pass, reason: Reason.Allowed, rule: 1 });
    const [source, backend] = ends(family, syn!.bytes!);
    expect(source).toBe(client);
    expect([`${net}1`, `${net}2`]).toContain(backend);
    expect(checksumsRight(syn!.bytes!)).toBe(true);

    const from = backend === `${net}1` ? BACKEND1 : BACKEND2;
    const [reply] = send(dataplane, from, {
      from: backend, to: client, sourcePort: 8080, port: 40000, flags: "SA",
    });
    expect(reply).toMatchObject({
      verdict: Verdict.Pass, reason: Reason.Established, direction: 1,
    });
    expect(ends(family, reply!.bytes!)).toEqual([vip, client]);
    expect(checksumsRight(reply!.bytes!)).toBe(true);
  });

  test("deny-makes-no-session: a denied SYN is dropped by its rule, leaving nothing", async () => {
    const { dataplane } = await started();
    const [syn] = send(dataplane, STRANGER, { from: stranger, to: vip, port: 80 });
    expect(syn).toMatchObject({
      verdict: Verdict.Drop, reason: Reason.PolicyDenied, policySlot: 1, rule: 0,
    });
    expect(dataplane.sessions()).toEqual([]);
  });

  test("UDP keeps its backend, and a zero checksum stays zero in IPv4", async () => {
    const { dataplane } = await started();
    const ask: Spec = {
      from: client, to: vip, protocol: "udp", port: 53, noChecksum: family === 4,
    };
    const results = send(dataplane, CLIENT, ask, ask, ask);
    expect(results.map((each) => each.reason)).toEqual([
      Reason.Allowed, Reason.Established, Reason.Established,
    ]);
    expect(new Set(results.map((each) => each.backend)).size).toBe(1);
    for (const each of results) expect(checksumsRight(each.bytes!)).toBe(true);
    if (family === 4) expect(results[0]!.bytes!.subarray(26, 28)).toEqual(new Uint8Array(2));
  });

  test("source-check: a workload may send from its own addresses alone", async () => {
    const { dataplane } = await started();
    const [spoofed] = send(dataplane, CLIENT, { from: stranger, to: vip });
    expect(spoofed!.reason).toBe(Reason.SpoofedSource);
    if (family === 6) return;
    const [second] = send(dataplane, CLIENT, { from: "10.0.0.101", to: vip });
    expect(second!.reason).toBe(Reason.Allowed);
  });

  test("a ping and its reply pass; a reply that nobody asked for is judged by itself", async () => {
    const { dataplane } = await started();
    const replyType = family === 4 ? 0 : 129;
    const reply: Spec = {
      from: `${net}1`, to: client, protocol: "icmp", icmpType: replyType, sourcePort: 9,
    };
    expect(send(dataplane, BACKEND1, reply)[0]!.reason).toBe(Reason.Allowed);
    expect(dataplane.sessions()).toEqual([]);
    const [request] = send(dataplane, CLIENT, {
      from: client, to: `${net}1`, protocol: "icmp", sourcePort: 9,
    });
    expect(request!.reason).toBe(Reason.Allowed);
    expect(send(dataplane, BACKEND1, reply)[0]!.reason).toBe(Reason.Established);
  });
});

test("an address prints and parses to the same bytes", () => {
  for (const text of ["::", "::1", "fd00:96::80", "1:2:3:4:5:6:7:8", "fe80::1:0:0:1"]) {
    expect(addressText(addressBytes(text))).toBe(text);
  }
  expect(addressBytes("::ffff:1.2.3.4")).toEqual(addressBytes("1.2.3.4"));
});
