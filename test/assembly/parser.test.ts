// The parser: each reason by a packet made for it, and mutated packets by the thousand. Whatever
// comes in, there is no trap, every packet gets a verdict, the counters add up, and what passes is
// well formed by a slow twin and bears its sender's address. FUZZ_SEED repeats a run, FUZZ_RUNS
// lengthens it.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  FRAMES, FRAME_WINDOWS, Reason, SLOT_REASON, SLOT_VERDICT, SLOT_WINDOW_LENGTH, SlotFlag, Verdict,
} from "../../assembly/layout.ts";
import { addressText } from "../../host/model/address.ts";
import type { Packet } from "../../host/dataplane/dataplane.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { checksumsRight, packet, sum16, type Spec } from "../packets.ts";
import { malformed } from "../reference/wellformed.ts";
import { seedOf } from "../seed.ts";
import {
  BACKEND1, BUDGETS, CLIENT, core, shop, started, STRANGER, UPLINK, VIP4, VIP6,
} from "../shop.ts";

const seed = seedOf("FUZZ_SEED");
const numRuns = Number(process.env["FUZZ_RUNS"] ?? 400);
const clock = { nowMs: 9_000_000, nowSeconds: 1_700_000_000 };
const families = [
  { family: 4, client: "10.0.0.1", vip: VIP4, backend: "10.0.1.1", l4: 20 },
  { family: 6, client: "fd00::1", vip: VIP6, backend: "fd00:1::1", l4: 40 },
] as const;

const node = async (program = shop()): Promise<NodeDataplane> => {
  const dataplane = new NodeDataplane(core, { workers: BUDGETS.workers });
  await started(program, BUDGETS, dataplane);
  return dataplane;
};
/** Makes the IPv4 header checksum right again, in place. */
function fixed(bytes: Uint8Array): Uint8Array {
  if (bytes[0]! >> 4 !== 4 || bytes.length < 20) return bytes;
  bytes.fill(0, 10, 12);
  const sum = ~sum16(bytes.subarray(0, 20)) & 0xffff;
  new DataView(bytes.buffer, bytes.byteOffset).setUint16(10, sum);
  return bytes;
}
/** An IPv6 extension header of 8 bytes, padding in it (RFC 8200, 4.2: PadN). */
const extension = (number: number) => ({ number, body: Uint8Array.of(0, 1, 4, 0, 0, 0, 0) });

/** A packet with some bytes changed, its IPv4 checksum right again. */
function changed(spec: Spec, bytes: Record<number, number>): Uint8Array {
  const out = packet(spec);
  for (const [at, value] of Object.entries(bytes)) out[Number(at)] = value;
  return fixed(out);
}

const BOTH: [string, Reason, (spec: Spec, l4: number) => Uint8Array][] = [
  ["nothing", Reason.Truncated, () => new Uint8Array(0)],
  ["one byte", Reason.Truncated, (spec) => packet(spec).slice(0, 1)],
  ["all but a byte of the header", Reason.Truncated, (spec, l4) => packet(spec).slice(0, l4 - 1)],
  ["version 5", Reason.BadVersion, (spec) => changed(spec, { 0: 0x55 })],
  ["longer than it is", Reason.BadTotalLength, (spec) => packet(spec).slice(0, -1)],
  ["TCP offset of 4 words", Reason.BadHeaderLength, (spec, l4) =>
    changed(spec, { [l4 + 12]: 0x40 })],
  ["TCP offset beyond", Reason.BadHeaderLength, (spec, l4) => changed(spec, { [l4 + 12]: 0xf0 })],
  ["SYN FIN", Reason.BadTcpFlags, (spec, l4) => changed(spec, { [l4 + 13]: 3 })],
  ["SYN RST", Reason.BadTcpFlags, (spec, l4) => changed(spec, { [l4 + 13]: 6 })],
  ["FIN RST", Reason.BadTcpFlags, (spec, l4) => changed(spec, { [l4 + 13]: 5 })],
  ["no flag", Reason.BadTcpFlags, (spec, l4) => changed(spec, { [l4 + 13]: 0xe8 })],
  ["TTL 0", Reason.TimeExpired, (spec) => packet({ ...spec, ttl: 0 })],
  ["a later fragment", Reason.LaterFragment, (spec) =>
    packet({ ...spec, fragment: { offset: 3, more: false } })],
  ["a fragment that overlays the header", Reason.TinyFragment, (spec) =>
    packet({ ...spec, fragment: { offset: 1, more: true } })],
  ["UDP length 7", Reason.BadTotalLength, (spec, l4) =>
    changed({ ...spec, protocol: "udp" }, { [l4 + 4]: 0, [l4 + 5]: 7 })],
  ["UDP length beyond", Reason.BadTotalLength, (spec, l4) =>
    changed({ ...spec, protocol: "udp" }, { [l4 + 4]: 1 })],
];
const FOUR: typeof BOTH = [
  ["header of 4 words", Reason.BadHeaderLength, (spec) => changed(spec, { 0: 0x44 })],
  ["total length below the header", Reason.BadTotalLength, (spec) =>
    changed(spec, { 2: 0, 3: 19 })],
  ["no room for TCP", Reason.Truncated, (spec) => changed(spec, { 2: 0, 3: 39 })],
  ["no room for UDP", Reason.Truncated, (spec) =>
    changed({ ...spec, protocol: "udp" }, { 2: 0, 3: 27 })],
  ["a wrong sum", Reason.BadChecksum, (spec) => {
    const bytes = packet(spec);
    bytes[10]! ^= 1;
    return bytes;
  }],
  ["options beyond the window", Reason.BadTotalLength, (spec) =>
    changed(spec, { 0: 0x4f, 2: 0, 3: 40 })],
  ["a first fragment without its TCP header", Reason.TinyFragment, (spec) =>
    changed(spec, { 2: 0, 3: 36, 6: 0x20 })],
  ["a loose source route behind a record route", Reason.RoutingHeader, (spec) =>
    packet({ ...spec, options: Uint8Array.of(1, 7, 7, 4, 0, 0, 0, 0, 131, 7, 4, 0, 0, 0, 0, 0) })],
  ["a strict source route", Reason.RoutingHeader, (spec) =>
    packet({ ...spec, options: Uint8Array.of(137, 7, 4, 0, 0, 0, 0, 0) })],
  ["no room for SCTP", Reason.Truncated, (spec) =>
    changed({ ...spec, protocol: "sctp" }, { 2: 0, 3: 31 })],
];
const SIX: typeof BOTH = [
  ["no room for TCP", Reason.Truncated, (spec) => changed(spec, { 4: 0, 5: 19 })],
  ["no payload", Reason.Truncated, (spec) => changed(spec, { 4: 0, 5: 0 })],
  ["a second hop-by-hop header", Reason.ExtensionHeader, (spec) =>
    packet({ ...spec, extensions: [extension(60), extension(0)] })],
  ["nine extension headers", Reason.ExtensionHeader, (spec) =>
    packet({ ...spec, extensions: Array.from({ length: 9 }, () => extension(60)) })],
  ["a routing header of type 0", Reason.RoutingHeader, (spec) =>
    packet({ ...spec, extensions: [{ number: 43, body: new Uint8Array(7) }] })],
  ["an extension header that is cut", Reason.Truncated, (spec) =>
    changed(spec, { 4: 0, 5: 6, 6: 60 })],
];

describe.each(families)("IPv$family", ({ family, client, vip, backend, l4 }) => {
  const cases = [...BOTH, ...(family === 4 ? FOUR : SIX)];
  const good: Spec = { from: client, to: vip, port: 80, flags: "S" };

  test.each(cases)("parser-drops-by-name: %s", async (_, reason, damage) => {
    const dataplane = await node();
    const [result] = dataplane.process(
      0, [{ interface: CLIENT, bytes: damage(good, l4) }], clock,
    );
    expect(result).toMatchObject({ verdict: Verdict.Drop, reason, bytes: undefined });
    expect(dataplane.counters()).toEqual(new Map([[reason, 1n]]));
    expect(dataplane.sessions()).toEqual([]);
  });

  test("parser-judges: what bears options, extension headers, other protocols", async () => {
    const dataplane = await node();
    const reasonOf = (more: Partial<Spec>) => dataplane.process(
      0, [{ interface: CLIENT, bytes: packet({ ...good, to: backend, port: 8080, ...more }) }],
      clock,
    )[0]!.reason;
    const longer = family === 4
      ? [{ options: Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0) }, { options: new Uint8Array(40) }]
      : [[0], [60, 43, 60], [51], [0, 60, 60, 60, 60, 60, 60]].map((numbers) => ({
        extensions: numbers.map((n) => n === 43
          ? { number: 43, body: Uint8Array.of(0, 4, 0, 0, 0, 0, 0) }
          : n === 51 ? { number: 51, body: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) }
          : extension(n)),
      }));
    longer.forEach((more, i) => {
      expect(reasonOf({ ...more, sourcePort: 50_000 + i }), JSON.stringify(more))
        .toBe(Reason.Allowed);
      expect(reasonOf({ ...more, sourcePort: 50_000 + i, port: 1 })).toBe(Reason.PolicyDenied);
    });
    expect(reasonOf({ fragment: { offset: 0, more: true }, sourcePort: 51_000 }))
      .toBe(Reason.Allowed);
    for (const protocol of ["sctp", 47, 136, 4, 41] as const) {
      expect(reasonOf({ protocol }), String(protocol)).toBe(
        protocol === 4 ? Reason.EncapFromWorkload : Reason.PolicyDenied,
      );
    }
    for (const icmpType of family === 4 ? [3, 11, 13, 0] : [1, 3, 4, 129]) {
      expect(reasonOf({ protocol: "icmp", icmpType }), `ICMP ${icmpType}`).toBe(Reason.Allowed);
    }
    const held = dataplane.sessions().length;
    expect(reasonOf({ protocol: "icmp", icmpCode: 1 })).toBe(Reason.Allowed);
    expect(dataplane.sessions().length).toBe(held); // no echo: no session
  });

  test("parser-drops-by-name: L4 headers that the adapter did not copy", async () => {
    const dataplane = await node();
    const headers = [["tcp", 20], ["udp", 8], ["icmp", 8], ["sctp", 12]] as const;
    for (const [protocol, header] of headers) {
      const bytes = packet({ ...good, protocol });
      const slot = dataplane.memory.slotOf(0, 0);
      dataplane.memory.writePacket(0, 0, { interface: CLIENT, bytes });
      dataplane.memory.view.setUint16(slot + SLOT_WINDOW_LENGTH, l4 + header - 1, true);
      dataplane.run(0, 1, clock);
      expect(dataplane.memory.bytes[slot + SLOT_REASON]).toBe(Reason.HeadersTooLong);
      expect(dataplane.memory.bytes[slot + SLOT_VERDICT]).toBe(Verdict.Drop);
    }
  });

  test("an adapter's Checked skips TTL and header checksum, nothing else", async () => {
    const dataplane = await node();
    const bytes = packet({ ...good, ttl: 0 });
    if (family === 4) bytes[10]! ^= 1;
    const send = (one: Uint8Array) => dataplane.process(
      0, [{ interface: CLIENT, bytes: one, flags: SlotFlag.Checked }], clock,
    )[0]!.reason;
    expect(send(bytes)).toBe(Reason.Allowed);
    expect(send(bytes.slice(0, -1))).toBe(Reason.BadTotalLength);
  });

  test("source-check: an endpoint without an address of a family sends nothing in it", async () => {
    const program = shop();
    const lone = program.endpoints[1]!;
    lone.addresses = [family === 4 ? "fd00::9" : "10.0.0.9"];
    const dataplane = await node(program);
    const [result] = dataplane.process(0, [{
      interface: STRANGER, bytes: packet({ ...good, from: family === 4 ? "0.0.0.0" : "::" }),
    }], clock);
    expect(result!.reason).toBe(Reason.SpoofedSource);
  });

  test("an echo request does not pass as the reply of another's ping", async () => {
    // ALLOW lets pings into the backend; the client's own ingress denies everything.
    const program = shop();
    program.policies.push({ name: "closed", rules: [{ name: "none", action: "deny" }] });
    program.endpoints[0]!.ingress = "closed";
    const dataplane = await node(program);
    const ping: Spec = { from: client, to: backend, protocol: "icmp", sourcePort: 7 };
    const back: Spec = { from: backend, to: client, protocol: "icmp", sourcePort: 7 };
    const reasonOf = (from: number, spec: Spec) =>
      dataplane.process(0, [{ interface: from, bytes: packet(spec) }], clock)[0]!.reason;
    expect(reasonOf(BACKEND1, back)).toBe(Reason.PolicyDenied);
    expect(reasonOf(CLIENT, ping)).toBe(Reason.Allowed);
    expect(reasonOf(BACKEND1, { ...back, icmpType: family === 4 ? 0 : 129 }))
      .toBe(Reason.Established);
    expect(reasonOf(BACKEND1, back)).not.toBe(Reason.Established);
  });
});

test.each([
  ["source", "::ffff:10.0.0.1", "fd00:1::1", 8080],
  ["destination", "fd00::1", `::ffff:${VIP4}`, 80],
])("an IPv6 packet with an IPv4-mapped %s is dropped, not judged as IPv4", async (
  _, from, to, port,
) => {
  const dataplane = await node();
  const [result] = dataplane.process(
    0, [{ interface: CLIENT, bytes: packet({ from, to, port }) }], clock,
  );
  expect(result!.verdict).toBe(Verdict.Drop);
});

test("UDP over IPv6 without a checksum does not leave with a wrong one", async () => {
  const dataplane = await node();
  const [result] = dataplane.process(0, [{
    interface: CLIENT,
    bytes: packet({ from: "fd00::1", to: VIP6, protocol: "udp", port: 53, noChecksum: true }),
  }], clock);
  if (result!.verdict !== Verdict.Pass) return;
  const field = result!.bytes!.subarray(46, 48);
  expect(checksumsRight(result!.bytes!) || (field[0] === 0 && field[1] === 0)).toBe(true);
});

// ---- Mutations ---------------------------------------------------------------------------------

type Damage = { at: number; value: number } | { cut: number } | { grow: number } | { fix: true };
const damage = fc.oneof<fc.Arbitrary<Damage>[]>(
  fc.record({ at: fc.nat(63), value: fc.nat(255) }),
  fc.record({ cut: fc.nat(140) }),
  fc.record({ grow: fc.nat(200) }),
  fc.constant({ fix: true as const }),
);
const spec = fc.record({
  four: fc.boolean(),
  from: fc.constantFrom(0, 0, 0, 1, 2, 3),
  to: fc.constantFrom(0, 0, 1, 2, 3),
  protocol: fc.constantFrom<Spec["protocol"][]>("tcp", "tcp", "udp", "icmp", 132, 4),
  port: fc.constantFrom(80, 53, 8080, 5353, 0, 65535),
  sourcePort: fc.integer({ min: 40000, max: 40004 }),
  flags: fc.constantFrom("S", "A", "SA", "R", "F", "FA", "", "SF", "PA"),
  payload: fc.nat(120),
});
const NAMES = {
  4: ["10.0.0.1", VIP4, "10.0.1.1", "198.51.100.7"],
  6: ["fd00::1", VIP6, "fd00:1::1", "2001:db8::7"],
} as const;
const hurt = fc.record({
  spec, damages: fc.array(damage, { maxLength: 3 }),
  interface: fc.constantFrom(CLIENT, CLIENT, STRANGER, BACKEND1, UPLINK, 9, 5000, 0xffffffff),
  flags: fc.constantFrom(0, 0, 0, SlotFlag.PartialChecksum, SlotFlag.Checked, 0xff),
}).map(({ spec: { four, from, to, ...rest }, damages, ...packetOf }): Packet => {
  const names = NAMES[four ? 4 : 6];
  let bytes = packet({ ...rest, from: names[from]!, to: names[to]! });
  for (const each of damages) {
    if ("cut" in each) bytes = bytes.slice(0, each.cut);
    else if ("grow" in each) bytes = Uint8Array.from([...bytes, ...new Uint8Array(each.grow)]);
    else if ("fix" in each) bytes = fixed(bytes);
    else if (each.at < bytes.length) bytes[each.at] = each.value;
  }
  return { ...packetOf, bytes };
});
const noise = fc.record({
  interface: fc.constantFrom(CLIENT, UPLINK),
  bytes: fc.uint8Array({ maxLength: 160 }),
});

const OWN = new Map([
  [CLIENT, ["10.0.0.1", "10.0.0.101", "fd00::1"]], [STRANGER, ["10.0.0.9", "fd00::9"]],
  [BACKEND1, ["10.0.1.1", "fd00:1::1"]],
]);
function sourceOf(bytes: Uint8Array): string {
  return addressText(bytes[0]! >> 4 === 4 ? bytes.slice(12, 16) : bytes.slice(8, 24));
}

test("frame-scratch: what lies behind a short window decides nothing", async () => {
  const dataplane = await node();
  const fragment = packet({
    from: "10.0.0.1", to: "10.0.1.1", port: 8080, options: new Uint8Array(40), payload: 20,
    fragment: { offset: 0, more: true },
  });
  const { memory } = dataplane;
  for (const stale of [0, 0x50, 0xf0]) { // a TCP data offset, where it is read
    memory.writePacket(0, 0, { interface: CLIENT, bytes: fragment });
    memory.view.setUint16(FRAMES + SLOT_WINDOW_LENGTH, 64, true);
    memory.bytes.fill(stale, FRAMES + FRAME_WINDOWS + 64, FRAMES + FRAME_WINDOWS + 128);
    dataplane.run(0, 1, clock);
    expect(Reason[memory.bytes[FRAMES + SLOT_REASON]!]).toBe("HeadersTooLong");
  }
});

const PASSING = new Set([Reason.Established, Reason.Allowed, Reason.Related, Reason.Fragment]);

test("counters-add-up: mutated packets get a verdict each, none malformed passes", async () => {
  console.log(`FUZZ_SEED=${seed}`);
  const dataplane = await node();
  const sum = (): bigint => [...dataplane.counters().values()].reduce((a, b) => a + b, 0n);
  fc.assert(fc.property(fc.array(fc.oneof({ weight: 9, arbitrary: hurt }, noise), {
    minLength: 1, maxLength: 64,
  }), (packets: Packet[]) => {
    const before = sum();
    const results = dataplane.process(0, packets, clock);
    expect(dataplane.traps()).toEqual([]);
    expect(sum() - before).toBe(BigInt(packets.length));
    results.forEach((result, i) => {
      const { bytes, flags, interface: from } = packets[i]!;
      const passes = PASSING.has(result.reason);
      expect(result.verdict).toBe(passes ? Verdict.Pass : Verdict.Drop);
      expect(Reason[result.reason]).toBeDefined();
      expect(result.reason).not.toBe(Reason.None);
      if (!passes) return;
      // A later fragment may follow a first one that another mutation left behind.
      const start = result.reason === Reason.Fragment ? "a fragment without the start" : undefined;
      expect(malformed(bytes, ((flags ?? 0) & SlotFlag.Checked) !== 0)).toBe(start);
      if (from !== UPLINK) expect(OWN.get(from)).toContain(sourceOf(bytes));
    });
  }), { seed, numRuns });
});
