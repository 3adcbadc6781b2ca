// The packet sequences that every engine must treat alike: TCP and UDP to the VIP, pings, direct
// flows, denied ones, replies, resets and reuse, malformed ones, sources that lie; both families;
// two pushes. A step's replies are made from what the Node engine sent on, so that the flows are
// real; the packets themselves are then the same for all engines.
import { Verdict } from "../../assembly/layout.ts";
import type { Clock, Dataplane, Packet, Push, Result } from "../../host/dataplane/dataplane.ts";
import type { Compiler } from "../../host/compile/program.ts";
import { packet, type Spec } from "../packets.ts";
import {
  ALLOW, BACKEND1, BACKEND2, CLIENT, shop, STRANGER, UPLINK, VIP4, VIP6,
} from "../shop.ts";

export type Step =
  | { do: "send"; clock: Clock; packets: Packet[] }
  | { do: "push"; push: Push }
  | { do: "stage"; records: Uint8Array }
  | { do: "age"; nowMs: number; budget: number };

const START = { nowMs: 1_000_000, nowSeconds: 1_700_000_000 };

/** Breaks a good packet, by name: each must meet its own reason. */
export const BROKEN: [string, (bytes: Uint8Array) => Uint8Array][] = [
  ["cut in the header", (b) => b.slice(0, 12)],
  ["cut in TCP", (b) => b.slice(0, b[0]! >> 4 === 4 ? 30 : 50)],
  ["version 5", (b) => set(b, 0, 0x55)],
  ["header length 4 words", (b) => set(b, 0, 0x44, 4)],
  ["total length too long", (b) => set(b, b[0]! >> 4 === 4 ? 2 : 4, 0x40)],
  ["total length 10", (b) => set(set(b, 2, 0, 4), 3, 10, 4)],
  ["bad header checksum", (b) => set(b, 10, b[10]! ^ 0x55, 4)],
  ["TTL 0", (b) => fixed(set(b, b[0]! >> 4 === 4 ? 8 : 7, 0))],
  ["more fragments", (b) => fixed(set(b, 6, 0x20, 4))],
  ["a later fragment", (b) => fixed(set(b, 7, 9, 4))],
  ["protocol 132", (b) => fixed(set(b, b[0]! >> 4 === 4 ? 9 : 6, 132))],
  ["TCP offset 4 words", (b) => set(b, (b[0]! >> 4 === 4 ? 20 : 40) + 12, 0x40)],
  ["TCP offset beyond", (b) => set(b, (b[0]! >> 4 === 4 ? 20 : 40) + 12, 0xf0)],
  ["SYN and FIN", (b) => set(b, (b[0]! >> 4 === 4 ? 20 : 40) + 13, 3)],
  ["no TCP flag", (b) => set(b, (b[0]! >> 4 === 4 ? 20 : 40) + 13, 0)],
];

/** Sets a byte, in a copy; only in packets of `family` when given. */
function set(bytes: Uint8Array, at: number, value: number, family?: number): Uint8Array {
  if (family !== undefined && bytes[0]! >> 4 !== family) return bytes;
  const copy = bytes.slice();
  copy[at] = value;
  return copy;
}
/** Makes the IPv4 header checksum right again. */
function fixed(bytes: Uint8Array): Uint8Array {
  if (bytes[0]! >> 4 !== 4) return bytes;
  const copy = bytes.slice();
  copy.fill(0, 10, 12);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += (copy[i]! << 8) | copy[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  copy[10] = (~sum & 0xffff) >> 8;
  copy[11] = ~sum & 0xff;
  return copy;
}

const SIDES = [
  {
    client: "10.0.0.1", stranger: "10.0.0.9", vip: VIP4, backend: "10.0.1.1",
    outside: "198.51.100.7",
  },
  {
    client: "fd00::1", stranger: "fd00::9", vip: VIP6, backend: "fd00:1::1",
    outside: "2001:db8::7",
  },
];

/** What clients send first. */
function openings(): Packet[] {
  const list: Packet[] = [];
  const add = (from: number, spec: Spec): void => {
    list.push({ interface: from, bytes: packet(spec) });
  };
  for (const { client, stranger, vip, backend, outside } of SIDES) {
    for (let i = 0; i < 24; i++) {
      add(CLIENT, { from: client, to: vip, port: 80, sourcePort: 30000 + i, flags: "S" });
      add(CLIENT, { from: client, to: vip, protocol: "udp", port: 53, sourcePort: 31000 + i });
      if (i % 6 === 0) {
        add(CLIENT, {
          from: client, to: vip, protocol: "udp", port: 53, sourcePort: 31500 + i,
          noChecksum: vip === VIP4,
        });
        add(STRANGER, { from: stranger, to: vip, port: 80, sourcePort: 32000 + i });
        add(STRANGER, {
          from: stranger, to: vip, protocol: "udp", port: 53, sourcePort: 32500 + i,
        });
      }
    }
    add(CLIENT, { from: client, to: backend, port: 8080, sourcePort: 33000, flags: "S" });
    add(CLIENT, { from: client, to: backend, port: 22, sourcePort: 33001, flags: "S" });
    add(CLIENT, { from: client, to: backend, protocol: "icmp", sourcePort: 77 });
    add(CLIENT, { from: client, to: vip, port: 81, sourcePort: 33002, flags: "S" });
    add(CLIENT, { from: client, to: outside, port: 443, sourcePort: 33003, flags: "S" });
    add(CLIENT, { from: stranger, to: vip, port: 80, sourcePort: 33004 });
    add(UPLINK, { from: outside, to: vip, port: 80, sourcePort: 34000, flags: "S" });
    add(UPLINK, { from: outside, to: backend, port: 8080, sourcePort: 34001, flags: "S" });
    add(CLIENT, { from: client, to: vip, port: 80, sourcePort: 35000, flags: "SA" });
    add(CLIENT, { from: client, to: vip, port: 80, sourcePort: 35001, flags: "R" });
    add(CLIENT, { from: client, to: vip, port: 80, sourcePort: 35002, flags: "A" });
    unusual(client, vip, backend, outside).forEach((spec) => add(CLIENT, spec));
    for (const [, damage] of BROKEN) {
      const good = packet({ from: client, to: vip, port: 80, sourcePort: 36000, flags: "S" });
      list.push({ interface: CLIENT, bytes: damage(good) });
    }
  }
  return list;
}

/** Protocols by number, parts of datagrams, headers between IP and TCP. */
function unusual(client: string, vip: string, backend: string, outside: string): Spec[] {
  const four = !client.includes(":");
  const toVip = { from: client, to: vip, port: 80, flags: "S" };
  const direct = [outside, backend].flatMap((to): Spec[] => [
    { from: client, to, protocol: "sctp", port: 9, sourcePort: 37000 },
    { from: client, to, protocol: 47 },
    { from: client, to, protocol: "icmp", icmpType: four ? 3 : 1, icmpCode: 1 },
  ]);
  return [
    ...direct,
    { ...toVip, sourcePort: 37001, fragment: { offset: 0, more: true } },
    { ...toVip, sourcePort: 37002, fragment: { offset: 1, more: false } },
    { ...toVip, sourcePort: 37003, fragment: { offset: 90, more: true } },
    // Of no first one that came: other ends.
    { from: client, to: outside, sourcePort: 37005, fragment: { offset: 90, more: true } },
    ...four ? [{ from: client, to: backend, port: 22, options: new Uint8Array(4).fill(1) }]
      : [{ ...toVip, sourcePort: 37004,
        extensions: [{ number: 60, body: Uint8Array.of(0, 1, 4, 0, 0, 0, 0) }] }],
  ];
}

/** The replies to what passed: addresses and ports turned round, from the interface it went to. */
function replies(results: Result[], flags: string): Packet[] {
  const list: Packet[] = [];
  for (const { verdict, bytes } of results) {
    if (verdict !== Verdict.Pass || !bytes) continue;
    const four = bytes[0]! >> 4 === 4;
    const l4 = four ? 20 : 40;
    const number = bytes[four ? 9 : 6]!;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const text = (at: number): string => four
      ? bytes.slice(at, at + 4).join(".")
      : Array.from({ length: 8 }, (_, i) => view.getUint16(at + i * 2).toString(16)).join(":");
    const from = text(four ? 16 : 24);
    const interfaces: Record<string, number> = {
      "10.0.1.1": BACKEND1, "10.0.1.2": BACKEND2, "fd00:1:0:0:0:0:0:1": BACKEND1,
      "fd00:1:0:0:0:0:0:2": BACKEND2,
    };
    const protocol = number === 6 ? "tcp" : number === 17 ? "udp" : "icmp";
    list.push({
      interface: interfaces[from] ?? UPLINK,
      bytes: packet({
        from, to: text(four ? 12 : 8), protocol,
        sourcePort: protocol === "icmp" ? view.getUint16(l4 + 4) : view.getUint16(l4 + 2),
        port: protocol === "icmp" ? 0 : view.getUint16(l4),
        flags, icmpType: four ? 0 : 129,
      }),
    });
  }
  return list.sort((a, b) => a.interface - b.interface);
}

/** Later packets of the clients' TCP flows. */
function later(flags: string, count = 24): Packet[] {
  return SIDES.flatMap(({ client, vip }) => Array.from({ length: count }, (_, i) => ({
    interface: CLIENT,
    bytes: packet({
      from: client, to: vip, port: 80, sourcePort: 30000 + i, flags, payload: 100 + i,
    }),
  })));
}

/** Runs the sequence on a first engine while it is made; the steps serve the others. */
export async function makeSequence(
  first: Dataplane, compiler: Compiler,
): Promise<{ steps: Step[]; results: Result[] }> {
  const steps: Step[] = [];
  const results: Result[] = [];
  let nowMs = START.nowMs;
  const send = (packets: Packet[]): Result[] => {
    const clock = { nowMs: nowMs += 500, nowSeconds: START.nowSeconds };
    steps.push({ do: "send", clock, packets });
    const each = first.process(0, packets, clock);
    results.push(...each);
    return each;
  };
  const push = async (generation: number, rules = ALLOW): Promise<void> => {
    const made = await compiler.compile(shop(rules), generation);
    steps.push({ do: "push", push: made });
    first.push(made);
  };
  const opened = send(openings());
  send(replies(opened, "SA"));
  send(later("A"));
  await push(2, [{ name: "nobody", action: "deny" }]);
  send(later("PA"));
  send(openings());
  send(later("R", 8));
  send(later("S", 12));
  await push(3);
  send(later("S", 12));
  send(later("FA"));
  nowMs += 70_000;
  for (let round = 0; round < 3; round++) {
    steps.push({ do: "age", nowMs, budget: 100_000 });
    first.age(0, nowMs, 100_000);
  }
  send(openings());
  return { steps, results };
}
