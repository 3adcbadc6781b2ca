// Where frames are cut is no business of the result: the same packets in frames of 1, 7 and 256
// give the same verdicts, bytes, counters and sessions. Flows of both families are mixed with
// replies in the frame of their request, resets and reuse, denied, malformed and colliding packets,
// packets of a session from another interface, and a push that ends some sessions in the middle.
// What a former frame left in a worker's scratch is overwritten with 0xa5 in one run: nothing may
// read it. FUZZ_SEED repeats a run, FUZZ_RUNS lengthens it.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  FRAME_BYTES, FRAME_WINDOWS, FRAMES, Reason, SLOT_BYTES, SLOT_HOOK, Verdict,
} from "../../assembly/layout.ts";
import { Compiler } from "../../host/compile/program.ts";
import type { Packet, Push, Result } from "../../host/dataplane/dataplane.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { bindRecords } from "../../host/compile/program.ts";
import { configureRecord } from "../../host/compile/records.ts";
import { packet, type Spec } from "../packets.ts";
import { seedOf } from "../seed.ts";
import {
  ALLOW, BACKEND1, BACKEND2, BUDGETS, CLIENT, core, shop, STRANGER, UPLINK, VIP4, VIP6,
} from "../shop.ts";

const seed = seedOf("FUZZ_SEED");
const numRuns = Number(process.env["FUZZ_RUNS"] ?? 100);
const clock = { nowMs: 3_000_000, nowSeconds: 1_700_000_000 };

const NET = {
  4: {
    client: "10.0.0.1", stranger: "10.0.0.9", vip: VIP4, backend: "10.0.1.", far: "198.51.100.7",
  },
  6: {
    client: "fd00::1", stranger: "fd00::9", vip: VIP6, backend: "fd00:1::", far: "2001:db8::7",
  },
} as const;

/** Program of the second half: the stranger's rule is gone, backend 2 is another pod. */
const program = shop();
const later = shop(ALLOW.slice(1));
later.endpoints[3]!.incarnation = 1;
let pushes: Promise<[Push, Push]> | undefined;
async function compiled(): Promise<[Push, Push]> {
  const compiler = new Compiler();
  return [await compiler.compile(program, 1), await compiler.compile(later, 2)];
}

// ---- Packets ------------------------------------------------------------------------------------

type Role =
  | "to-vip" | "to-backend" | "reply" | "backend-opens" | "stranger" | "impostor" | "outside"
  | "broken";
const step = fc.record({
  family: fc.constantFrom<(4 | 6)[]>(4, 6),
  role: fc.constantFrom<Role[]>(
    "to-vip", "to-vip", "to-vip", "reply", "reply", "reply", "to-backend", "backend-opens",
    "stranger", "impostor", "outside", "broken",
  ),
  protocol: fc.constantFrom<("tcp" | "udp" | "icmp")[]>("tcp", "tcp", "tcp", "udp", "icmp"),
  flags: fc.constantFrom("S", "S", "SA", "A", "R", "RA", "FA", "F"),
  flow: fc.nat(2),
  backend: fc.constantFrom(1, 2),
  payload: fc.nat(80),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function packetOf(s: Step): Packet {
  const net = NET[s.family];
  const backend = `${net.backend}${s.backend}`;
  const port = s.protocol === "udp" ? 53 : 80;
  const target = s.protocol === "udp" ? 5353 : 8080;
  const from = 40000 + s.flow;
  const rest = { protocol: s.protocol, flags: s.flags, payload: s.payload };
  const send = (at: number, spec: Spec): Packet =>
    ({ interface: at, bytes: packet({ ...rest, ...spec }) });
  const backendAt = s.backend === 1 ? BACKEND1 : BACKEND2;
  const replyType = s.family === 4 ? 0 : 129;
  // An echo goes to a backend itself: a VIP has no ICMP.
  const direct: Spec = { from: net.client, to: backend, sourcePort: from, port: target };
  switch (s.role) {
    case "to-vip":
      return s.protocol === "icmp" ? send(CLIENT, direct) : send(CLIENT, {
        from: net.client, to: net.vip, sourcePort: from, port,
      });
    case "to-backend": return send(CLIENT, direct);
    case "reply":
      return send(backendAt, {
        from: backend, to: net.client, port: from, icmpType: replyType,
        sourcePort: s.protocol === "icmp" ? from : target,
      });
    case "backend-opens":
      return send(backendAt, { from: backend, to: net.vip, sourcePort: target, port });
    case "stranger":
      return send(STRANGER, { from: net.stranger, to: net.vip, sourcePort: from, port });
    case "impostor": // the client's tuples, but from beyond the node
      return send(UPLINK, { from: net.client, to: net.vip, sourcePort: from, port });
    case "outside":
      return send(UPLINK, { from: net.far, to: net.vip, sourcePort: from, port });
    case "broken": {
      const bytes = send(CLIENT, direct).bytes;
      return { interface: CLIENT, bytes: bytes.slice(0, bytes.length - 1 - s.payload) };
    }
  }
}

// ---- Runs ---------------------------------------------------------------------------------------

interface Outcome {
  results: Result[];
  counters: unknown;
  sessions: unknown;
}

/** Fills with 0xa5 what a frame may not read: slots' outputs, windows, scratch. */
function poison(dataplane: NodeDataplane, worker: number): void {
  const frame = FRAMES + worker * FRAME_BYTES;
  for (let slot = frame; slot < frame + FRAME_WINDOWS; slot += SLOT_BYTES) {
    dataplane.memory.bytes.fill(0xa5, slot + SLOT_HOOK + 1, slot + SLOT_BYTES);
  }
  dataplane.memory.bytes.fill(0xa5, frame + FRAME_WINDOWS, frame + FRAME_BYTES);
}

function run(
  halves: [Packet[], Packet[]], [first, second]: [Push, Push], cut: number, poisoned = false,
): Outcome {
  const dataplane = new NodeDataplane(core, { workers: BUDGETS.workers, memoryPages: 192 });
  dataplane.stage(configureRecord(BUDGETS));
  dataplane.push(first);
  dataplane.stage(bindRecords(program));
  const results: Result[] = [];
  halves.forEach((packets, half) => {
    if (half === 1) dataplane.push(second);
    for (let at = 0; at < packets.length; at += cut) {
      if (poisoned) poison(dataplane, 0);
      results.push(...dataplane.process(0, packets.slice(at, at + cut), clock));
    }
  });
  expect(dataplane.traps()).toEqual([]);
  return { results, counters: dataplane.counters(), sessions: dataplane.sessions() };
}

async function compare(halves: [Packet[], Packet[]]): Promise<Outcome> {
  pushes ??= compiled();
  const both = await pushes;
  const whole = run(halves, both, 256);
  for (const cut of [1, 7]) {
    const other = run(halves, both, cut, cut === 7);
    other.results.forEach((result, i) =>
      expect([cut, i, result]).toEqual([cut, i, whole.results[i]]));
    expect(other.counters).toEqual(whole.counters);
    expect(other.sessions).toEqual(whole.sessions);
  }
  return whole;
}

test("frame-cut: random flows in frames of 1, 7 and 256 give the same results", async () => {
  console.log(`FUZZ_SEED=${seed}`);
  const met = new Set<Reason>();
  const steps = fc.array(step, { minLength: 1, maxLength: 256, size: "max" });
  await fc.assert(fc.asyncProperty(steps, steps, async (a, b) => {
    const { results } = await compare([a.map(packetOf), b.map(packetOf)]);
    for (const { reason } of results) met.add(reason);
  }), { seed, numRuns });
  // The generator is worth something only while it reaches these.
  for (const reason of [
    Reason.Established, Reason.Allowed, Reason.PolicyDenied, Reason.NoSession,
    Reason.BadTotalLength,
    Reason.EndpointMismatch, Reason.TupleCollision,
  ]) expect(Reason[[...met].find((each) => each === reason)!]).toBe(Reason[reason]);
});

describe.each([4, 6] as const)("IPv%i", (family) => {
  const net = NET[family];
  const web: Spec = { from: net.client, to: net.vip, port: 80, flags: "S" };
  const at = (from: number, spec: Spec): Packet => ({ interface: from, bytes: packet(spec) });

  test("reply-in-frame: a reply in the frame of its request takes the new session", async () => {
    const replies = [1, 2].map((n) => at(n === 1 ? BACKEND1 : BACKEND2, {
      from: `${net.backend}${n}`, to: net.client, sourcePort: 8080, port: 40000, flags: "SA",
    }));
    const { results } = await compare([[at(CLIENT, web), ...replies], []]);
    expect(results[0]!.reason).toBe(Reason.Allowed);
    expect(results.slice(1).map((each) => each.reason).sort()).toEqual(
      [Reason.Established, Reason.NoSession].sort(),
    );
    const reply = results.find((each) => each.reason === Reason.Established)!;
    expect(reply).toMatchObject({ verdict: Verdict.Pass, direction: 1 });
  });

  test("frame-cut: RST then SYN on one tuple is a new session, judged", async () => {
    const { results } = await compare([
      ["S", "A", "R", "S", "A"].map((flags) => at(CLIENT, { ...web, flags })), [],
    ]);
    expect(results.map((each) => each.reason)).toEqual([
      Reason.Allowed, Reason.Established, Reason.Established, Reason.Allowed, Reason.Established,
    ]);
  });

  test("frame-cut: what trails behind a session that a SYN replaced has a reason", async () => {
    const opens = [1, 2].map((n) => at(n === 1 ? BACKEND1 : BACKEND2, {
      from: `${net.backend}${n}`, to: net.client, sourcePort: 8080, port: 40000, flags: "S",
    }));
    const trailing = ["A", "RA"].map((flags) => at(CLIENT, { ...web, flags }));
    const frame = [at(CLIENT, { ...web, flags: "R" }), ...opens, ...trailing];
    // The session must be known before the frame: in one of its own, of as many packets.
    const first = frame.map(() => at(CLIENT, web));
    for (const cut of [1, frame.length]) {
      pushes ??= compiled();
      const { results } = run([[...first, ...frame], []], await pushes, cut);
      expect(results.slice(-2).map((each) => Reason[each.reason])).toEqual([
        // Under another port: the backend's own flow has the tuple of this one's reply.
        "Allowed", "Established",
      ]);
    }
  });

  test("frame-cut: a SYN behind options or an extension header opens as any SYN", async () => {
    const direct: Spec = { from: net.client, to: `${net.backend}1`, port: 8080 };
    const longer = family === 4
      ? { options: Uint8Array.of(1, 1, 1, 1) }
      : { extensions: [{ number: 60, body: new Uint8Array(7) }] };
    const { results } = await compare([
      ["S", "A"].map((flags) => at(CLIENT, { ...direct, flags })),
      [
        at(CLIENT, { ...direct, flags: "R" }), at(CLIENT, { ...direct, ...longer, flags: "S" }),
        at(CLIENT, { ...direct, flags: "A" }),
      ],
    ]);
    expect(results.map((each) => each.reason)).toEqual([
      Reason.Allowed, Reason.Established, Reason.Established, Reason.Allowed, Reason.Established,
    ]);
    expect(results[4]!.rule).not.toBe(results[1]!.rule); // what trails has the new session's rule
  });

  test("frame-cut: a session's packet from another interface is dropped, by no rule", async () => {
    const { results } = await compare([
      [at(CLIENT, { ...web, protocol: "udp", port: 53 }),
        at(UPLINK, { ...web, protocol: "udp", port: 53 })], [],
    ]);
    expect(results[1]).toMatchObject({ reason: Reason.EndpointMismatch, policySlot: 0, rule: 0 });
  });
});
