// Sessions that outlive a process: saved from one engine, restored into another whose numbers are
// others, and what is left out.
import { describe, expect, test } from "vitest";
import { LAYOUT_VERSION, Reason, SessionFlag, Verdict } from "../../../assembly/layout.ts";
import { restoreCheckpoint, saveCheckpoint } from "../../../host/dataplane/checkpoint.ts";
import { addonPath } from "../../../host/dataplane/addon.ts";
import type { Dataplane, Packet, Result } from "../../../host/dataplane/dataplane.ts";
import { NativeDataplane } from "../../../host/dataplane/native.ts";
import { NodeDataplane } from "../../../host/dataplane/node.ts";
import { SAVED_HEADER_BYTES, savedRecords } from "../../../host/dataplane/savedsessions.ts";
import { Compiler } from "../../../host/compile/program.ts";
import type { Program } from "../../../host/model/program.ts";
import { packet, type Spec } from "../../packets.ts";
import { BUDGETS, CLIENT, core, shop, started, STRANGER, UPLINK, VIP4, VIP6 } from "../../shop.ts";

const NOW = 5_000_000;
const clock = (nowMs: number) => ({ nowMs, nowSeconds: 1_700_000_000 });

type Running = Awaited<ReturnType<typeof started>>;

function send(dataplane: Dataplane, number: number, spec: Spec, nowMs = NOW): Result {
  return dataplane.process(0, [{ interface: number, bytes: packet(spec) }], clock(nowMs))[0]!;
}
const tcp4 = (flags: string, i = 0): Spec =>
  ({ from: "10.0.0.1", to: VIP4, port: 80, sourcePort: 4000 + i, flags });
const tcp6 = (flags: string): Spec =>
  ({ from: "fd00::1", to: VIP6, port: 80, sourcePort: 4000, flags });
const udp4: Spec = { from: "10.0.0.1", to: VIP4, protocol: "udp", port: 53, sourcePort: 5000 };
const ping: Spec = { from: "10.0.0.1", to: "10.0.1.2", protocol: "icmp", sourcePort: 77 };
const outside: Spec = { from: "10.0.0.1", to: "198.51.100.7", port: 443, sourcePort: 6000 };

/** A node with some sessions of all kinds. */
async function before(): Promise<Running & { program: Program }> {
  const program = shop();
  const running = await started(program);
  for (const spec of [tcp4("S"), tcp4("S", 1), tcp6("S"), udp4, ping, outside]) {
    expect(send(running.dataplane, CLIENT, spec).verdict).toBe(Verdict.Pass);
  }
  return { ...running, program };
}
const save = ({ dataplane, compiler, program }: Awaited<ReturnType<typeof before>>): Uint8Array =>
  saveCheckpoint(dataplane, {
    endpoints: program.endpoints, backendAt: (id) => compiler.backendAt(id),
  }, NOW + 1000);
const restore = (
  { dataplane, compiler }: Running, program: Program, checkpoint: Uint8Array, nowMs: number,
) => restoreCheckpoint(dataplane, 0, checkpoint, {
  endpoints: program.endpoints, backendId: (backend) => compiler.backendId(backend),
}, nowMs);

/** The same node with endpoints and Services in another order. */
function turned(): Program {
  const program = shop();
  program.endpoints.reverse();
  program.endpoints.forEach((each, i) => { each.incarnation = i + 3; });
  program.services.reverse();
  return program;
}
const nothing = { endpointGone: 0, peerGone: 0, backendGone: 0, refused: 0 };

describe("a checkpoint", () => {
  test("checkpoint-restore: sessions come back under new numbers and a new clock, and go on",
    async () => {
      const old = await before();
      const ends = old.dataplane.sessions().map(({ toDestination }) => toDestination);
      const program = turned();
      const next = await started(program);
      expect(restore(next, program, save(old), 9000)).toEqual({ ...nothing, taken: 6 });
      const views = next.dataplane.sessions();
      expect(views.map(({ toDestination }) => toDestination)).toEqual(ends);
      for (const view of views) {
        expect(view.flags & SessionFlag.Restored).toBe(SessionFlag.Restored);
        // Idle for a second when it was saved, whatever the clock is now.
        expect(Math.abs(view.seenMs - 8000)).toBeLessThan(256);
        const client = program.endpoints.findIndex(({ name }) => name === "client");
        expect(view.sourceEndpoint).toBe(client | (client + 3) << 16);
        expect(view.rule).toBe(0);
      }
      // A reply, which no policy asks for, and a packet of the opener: both judged once more.
      const opened = views.find(({ sourcePort, family }) => sourcePort === 4001 && family === 4)!;
      const reply: Spec = {
        from: opened.toDestination, to: "10.0.0.1", sourcePort: 8080, port: 4001, flags: "SA",
      };
      const server = opened.toDestination.endsWith("1") ? 3 : 4;
      expect(send(next.dataplane, server, reply, 9100)).toMatchObject(
        { reason: Reason.Established });
      for (const spec of [tcp4("A"), tcp6("A"), udp4, ping]) {
        expect(send(next.dataplane, CLIENT, spec, 9100), JSON.stringify(spec))
          .toMatchObject({ reason: Reason.Established });
      }
      const judged = next.dataplane.sessions().filter(({ protocol }) => protocol === 17)[0]!;
      expect(judged).toMatchObject({ flags: 0, generation: 1 });
      const { name } = next.compiler.backendAt(judged.backend - 1)!;
      expect(`10.0.1.${name.slice(-1)}`).toBe(judged.toDestination);
    });

  test("what is denied by now ends at its next packet", async () => {
    const old = await before();
    const program = shop([{ name: "nobody", action: "deny" }]);
    const next = await started(program);
    expect(restore(next, program, save(old), NOW).taken).toBe(6);
    expect(send(next.dataplane, CLIENT, tcp4("A"))).toMatchObject(
      { verdict: Verdict.Drop, reason: Reason.PolicyDenied });
    expect(send(next.dataplane, CLIENT, outside)).toMatchObject({ reason: Reason.Established });
    expect(next.dataplane.sessions()).toHaveLength(5);
  });

  test("checkpoint-gone: sessions of endpoints that are gone, or of another pod of the name, stay "
    + "out; so does UDP to backends that are gone", async () => {
    const old = await before();
    const checkpoint = save(old);
    const without = shop();
    without.endpoints.shift();
    const none = await started(without);
    expect(restore(none, without, checkpoint, NOW)).toEqual(
      { ...nothing, taken: 0, endpointGone: 6 });

    const anew = shop();
    anew.endpoints[0]!.addresses = ["10.0.0.2", "fd00::2"];
    expect(restore(await started(anew), anew, checkpoint, NOW)).toMatchObject(
      { taken: 0, endpointGone: 6 });

    const others = shop();
    for (const each of others.services) each.backends = each.backends.map((b) =>
      ({ ...b, name: `${b.name}-new` }));
    const next = await started(others);
    expect(restore(next, others, checkpoint, NOW)).toEqual(
      { ...nothing, taken: 5, backendGone: 1 });
    expect(next.dataplane.sessions().every(({ backend }) => backend === 0)).toBe(true);
    // Once more: they are known.
    expect(restore(next, others, checkpoint, NOW)).toEqual(
      { ...nothing, taken: 0, backendGone: 1, refused: 5 });
  });

  test("checkpoint-peers: sessions that go on to another node keep it by name", async () => {
    const { dataplane, compiler, program } = await dsr(["far", "near"]);
    expect(send(dataplane, UPLINK, fromOutside)).toMatchObject(
      { reason: Reason.Forwarded, peer: 2 });
    const names = {
      endpoints: program.endpoints, peers: program.peers!,
      backendAt: (id: number) => compiler.backendAt(id),
    };
    const checkpoint = saveCheckpoint(dataplane, names, NOW);
    const next = await dsr(["near", "x", "y"]);
    const numbers = (peers: string[]) => ({
      endpoints: next.program.endpoints, peers,
      backendId: (b: Parameters<Compiler["backendId"]>[0]) => next.compiler.backendId(b),
    });
    expect(restoreCheckpoint(next.dataplane, 0, checkpoint, numbers(["x"]), NOW)).toMatchObject(
      { taken: 0, peerGone: 1 });
    expect(restoreCheckpoint(next.dataplane, 0, checkpoint, numbers(["near", "x", "y"]), NOW))
      .toMatchObject({ taken: 1 });
    expect(next.dataplane.sessions()).toMatchObject([{ peer: 1, destination: VIP4 }]);
  });

  test("another layout version, a cut file, or no checkpoint are refused by name", async () => {
    const old = await before();
    const good = save(old);
    const attempt = (bytes: Uint8Array) => () => restore(old, old.program, bytes, NOW);
    const other = good.slice();
    other[8] = LAYOUT_VERSION + 1;
    expect(attempt(other)).toThrow(
      `a checkpoint of layout version ${LAYOUT_VERSION + 1}; this program's is ${LAYOUT_VERSION}`);
    expect(attempt(good.subarray(0, 40))).toThrow("the checkpoint is cut: its names do not end");
    expect(attempt(good.subarray(0, good.length - 1))).toThrow(/^sessions: \d+ bytes instead of/);
    expect(attempt(new Uint8Array(100))).toThrow("this is no checkpoint");
    expect(() => old.dataplane.restoreSessions(0, new Uint8Array(SAVED_HEADER_BYTES), NOW)).toThrow(
      "sessions: these are none");
    const sessions = old.dataplane.saveSessions();
    sessions[4] = LAYOUT_VERSION + 1;
    expect(() => savedRecords(sessions)).toThrow("sessions of layout version");
    expect(old.dataplane.sessions()).toHaveLength(6);
  });
});

const fromOutside: Spec = {
  from: "198.51.100.7", to: VIP4, port: 80, sourcePort: 7000, flags: "S",
};
/** A Service with one backend, on another node. */
async function dsr(peers: string[]): Promise<Running & { program: Program }> {
  const program: Program = { ...shop(), peers };
  program.services = [{
    name: "web", address: VIP4, port: 80, protocol: "tcp", kind: "load-balancer", dsr: true,
    backends: [{ name: "web-1", address: "10.9.0.1", port: 8080, node: "near" }],
  }];
  return { ...await started(program), program };
}

describe("saved sessions", () => {
  test.skipIf(!addonPath())("sessions-saved: they are the same bytes from every engine, and some "
    + "thousand go through the windows in parts", async () => {
    const budgets = { ...BUDGETS, workers: 2 };
    const node = await started(shop(), budgets);
    const native = await started(shop(), budgets, new NativeDataplane(core, { workers: 2 }));
    const packets = Array.from({ length: 1500 }, (_, i): Packet => ({
      interface: CLIENT,
      bytes: packet(i % 3 ? tcp4("S", i) : { ...tcp6("S"), sourcePort: 4000 + i }),
    }));
    try {
      for (const { dataplane } of [node, native]) dataplane.process(1, packets, clock(NOW));
      const saved = node.dataplane.saveSessions(NOW);
      expect(savedRecords(saved)).toHaveLength(1500);
      expect(Buffer.from(native.dataplane.saveSessions(NOW)).equals(saved)).toBe(true);
      const [one, two] = [await started(shop(), budgets),
        await started(shop(), budgets, new NativeDataplane(core, { workers: 2 }))];
      for (const { dataplane } of [one, two]) {
        expect(dataplane.restoreSessions(1, saved, NOW + 60_000)).toBe(1500);
        expect(dataplane.restoreSessions(0, saved, NOW)).toBe(0);
      }
      expect(two.dataplane.sessions()).toEqual(one.dataplane.sessions());
      two.dataplane.close();
    } finally {
      native.dataplane.close();
    }
  });

  test("a table without room takes what fits", async () => {
    const old = await before();
    const saved = old.dataplane.saveSessions();
    const small = await started(shop(), { ...BUDGETS, sessions4Max: 3 });
    expect(small.dataplane.restoreSessions(0, saved, NOW)).toBe(4);
    expect(() => small.dataplane.restoreSessions(9, saved, NOW)).toThrow(
      "restoreSessions: worker 9");
    expect(send(small.dataplane, STRANGER, { ...tcp4("S"), from: "10.0.0.9" }).verdict).toBe(
      Verdict.Drop);
  });
});

test("an answer is the window's bytes, whatever packet it answers", async () => {
  const program = shop();
  program.services.push({
    name: "none", address: "10.96.0.99", port: 80, protocol: "tcp", whenEmpty: "reject",
    backends: [],
  });
  const { dataplane } = await started(program, BUDGETS, new NodeDataplane(core, { workers: 2 }));
  const asked = packet({ ...tcp4("S"), to: "10.96.0.99", payload: 600 });
  const result = dataplane.process(0, [{ interface: CLIENT, bytes: asked }], clock(NOW))[0]!;
  expect(result).toMatchObject({ verdict: Verdict.Reply, reason: Reason.NoBackend });
  // A reset of 40 bytes from the address that was asked.
  expect(result.bytes).toHaveLength(40);
  expect([...result.bytes!.subarray(12, 20)]).toEqual([10, 96, 0, 99, 10, 0, 0, 1]);
  expect(result.bytes![33]).toBe(0x14);
  expect(dataplane.sessions()).toEqual([]);
});
