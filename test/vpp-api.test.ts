// The binary API of the plugin in a real VPP: a push by messages, its refusal, uploads and their
// bounds, what is read, the flow log, sessions saved and restored, and another core beside.

import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LAYOUT_VERSION, Reason, Verdict } from "../assembly/layout.ts";
import { openingPacket } from "../examples/capture/opening.ts";
import { Compiler, bindRecords } from "../host/compile/program.ts";
import { configureRecord } from "../host/compile/records.ts";
import { concat } from "../host/dataplane/record.ts";
import { restoreChunks, savedRecords } from "../host/dataplane/savedsessions.ts";
import { StatsSegment, VppCallError, total } from "../host/vpp/api/index.ts";
import type { VppClient } from "../host/vpp/api/index.ts";
import { vppInstall } from "../host/vpp/install.ts";
import type { VppInstall } from "../host/vpp/install.ts";
import { VppProcess } from "../host/vpp/process.ts";
import { VppReplay } from "../host/replay/vpp.ts";
import { Messages, clientOf, sha256 } from "./vpp-messages.ts";
import { PROGRAM } from "./vpp-program.ts";

const found = vppInstall();
const skipped = typeof found === "string";
if (skipped) console.log(`VPP API tests: skipped (${found})`);
const install = found as VppInstall;
const coreFile = join(process.cwd(), "build/margay.wasm");

const BUDGETS = {
  workers: 2, sessions4Max: 1000, sessions6Max: 1000, endpointsMax: 16, servicesMax: 16,
};

const clock = { nowMs: 5000, nowSeconds: 1_700_000_000 };
function packet(port: number, destination = "10.96.0.1") {
  const source = destination.includes(":") ? "fd00::1" : "10.0.0.1";
  const bytes = openingPacket({
    protocol: "tcp", source, sourcePort: 4000, destination, destinationPort: port,
  });
  return { interface: 7, bytes, clock };
}

/** The sentence of a refusal. */
async function refusal(call: Promise<unknown>): Promise<VppCallError> {
  const error = await call.then(() => undefined, (each: unknown) => each);
  expect(error).toBeInstanceOf(VppCallError);
  return error as VppCallError;
}
async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const each of stream) list.push(each);
  return list;
}
const hex = (value: unknown) => Buffer.from(value as Uint8Array).toString("hex");
const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

describe.skipIf(skipped)("messages, from a VPP without a core on", () => {
  let vpp: VppProcess;
  let client: VppClient;
  let messages: Messages;
  const compiler = new Compiler();
  const core = readFileSync(coreFile);
  beforeAll(async () => {
    vpp = await VppProcess.start({ ...install, sections: { margay: "manual cores 0" } });
    client = await clientOf(vpp);
    messages = new Messages(client);
  });
  afterAll(async () => {
    client?.close();
    await vpp?.close();
  });

  test("plugin-no-core: without a core every message says so", async () => {
    expect((await refusal(client.call("margay_status_get", { beside: false }))).retval).toBe(-6);
    const { retval, reply } = await refusal(client.call("margay_publish", { generation: 1 }));
    expect(retval).toBe(-6);
    expect(reply["why"]).toBe("no core is loaded: margay core <file>");
    expect((await refusal(client.call("margay_save", { family: 4, cursor: 0 }))).retval).toBe(-6);
    expect(await all(client.dump("margay_counter_dump"))).toEqual([]);
    expect((await refusal(client.call("margay_swap"))).reply["why"]).toMatch(/none is open beside/);
  });

  test("plugin-push: core, records, modules and a generation come by messages", async () => {
    await messages.open(core, { pages: 128 });
    const configure = configureRecord(BUDGETS);
    await messages.stage(configure);
    await messages.push(await compiler.compile(PROGRAM, 1));
    const status = await client.call("margay_status_get", { beside: false });
    expect(status).toMatchObject({
      generation: 1, workers: 1, pages: 128, pushes: 1n, sessions4_max: 1000, fail_closed: false,
      beside: false, layout_version: LAYOUT_VERSION, pid: client.pid,
    });
    expect(hex(status["core_sha256"])).toBe(hex(sha256(core)));
    expect(hex(status["staged_sha256"])).toBe(hex(messages.staged.hash));
    const shown = await vpp.command("show margay");
    expect(shown).toContain(`staged=${hex(messages.staged.hash)}`);
    expect(shown).toContain("control-cores=0 ");
    const again = await refusal(messages.open(core));
    expect(again.retval).toBe(-81);
    expect(again.reply["why"]).toMatch(/a core is loaded already/);
  });

  test("plugin-refused: a refused push says why and leaves the generation alone", async () => {
    const generation = async () =>
      (await client.call("margay_status_get", { beside: false }))["generation"];
    const short = await refusal(messages.stage(configureRecord(BUDGETS)));
    messages.staged.refused();
    expect(short).toMatchObject({ retval: -1, reply: { error: 1, record: 0 } });
    expect(short.reply["why"]).toMatch(/^stage: already-configured \(record 0, detail \d+\)$/);
    const upload = await messages.upload(new TextEncoder().encode("no wasm"));
    const module = await refusal(client.call("margay_module", { slot: 5, kind: 2, ...upload }));
    messages.staged.refused();
    expect(module.reply["why"]).toMatch(/^slot 5: stage: module-malformed/);
    const nowhere = await messages.upload(new Uint8Array(100));
    expect((await refusal(client.call("margay_module", { slot: 0, kind: 2, ...nowhere })))
      .reply["why"]).toBe("slot 0: from 1 to 4095");
    expect((await refusal(client.call("margay_publish", { generation: 2 }))).reply["why"])
      .toMatch(/^generation 2: publish: nothing-staged/);
    messages.staged.refused();
    const wrong = await messages.upload(configureRecord(BUDGETS));
    wrong.sha256[0]! ^= 1;
    const hash = await refusal(client.call("margay_stage", wrong));
    expect(hash).toMatchObject({ retval: -7 });
    expect(hash.reply["why"]).toMatch(/^sha256: the bytes have another than /);
    expect((await refusal(client.call("margay_stage", { upload: 77 }))).reply["why"])
      .toBe("upload 77: there is none of this number");
    expect(await generation()).toBe(1);
    const status = await client.call("margay_status_get", { beside: false });
    expect(hex(status["staged_sha256"])).toBe(hex(messages.staged.hash));
    await messages.push(await compiler.compile(PROGRAM, 2));
    expect(await generation()).toBe(2);
  });

  test("plugin-uploads: uploads are bounded, and go with their client", async () => {
    const other = await clientOf(vpp, "other");
    const piece = (upload: number, offset: number, total: number, bytes: number) =>
      other.call("margay_upload", { upload, offset, total, data: new Uint8Array(bytes) });
    const why = async (call: Promise<unknown>) => (await refusal(call)).reply["why"];
    for (let upload = 1; upload <= 8; upload++) {
      expect(await piece(upload, 0, 100, 60)).toMatchObject({ received: 60 });
    }
    expect(await why(piece(9, 0, 100, 60))).toMatch(/there are 8 of this client \(at most 8\)/);
    expect(await why(piece(1, 70, 100, 30))).toBe("upload 1: 30 bytes at 70 of 100, where 60 of "
      + "100 are there");
    expect(await why(piece(1, 60, 100, 41))).toMatch(/41 bytes at 60 of 100/);
    expect(await why(piece(1, 60, 101, 40))).toMatch(/of 101, where/);
    expect(await why(other.call("margay_stage", { upload: 1 }))).toMatch(/60 of 100 bytes are/);
    await other.call("margay_abandon_uploads");
    expect(await why(piece(1, 0, 100, 65537))).toMatch(/a piece of 65537 bytes; from 1 to 65536/);
    expect(await why(piece(1, 0, (64 << 20) + 1, 1))).toMatch(/from 1 to 67108864/);
    await piece(1, 0, 64 << 20, 65536);
    await piece(2, 0, 64 << 20, 65536);
    expect(await why(piece(3, 0, 1, 1))).toMatch(/with 134217728 bytes \(134217728\)$/);
    expect(await vpp.command("show margay uploads")).toMatch(/^uploads 2 bytes=134217728 /);
    other.close();
    await expect.poll(() => vpp.command("show margay uploads")).toMatch(/^uploads 0 bytes=0 /);
  });

  test("plugin-interfaces: interfaces are bound and told; a deleted one is nobody's", async () => {
    await vpp.command("create loopback interface instance 5");
    const names = await all(client.dump("sw_interface_dump", { sw_if_index: 0xffffffff }));
    const { sw_if_index } = names.find((each) => each["interface_name"] === "loop5")!;
    const told = async () => (await all(client.dump("margay_interface_dump")))
      .find((each) => each["sw_if_index"] === sw_if_index);
    expect(await told()).toMatchObject({ enabled: false, bound: false, endpoint: 0xffffffff });
    await client.call("margay_interface_set", { sw_if_index, enable: true });
    await client.call("margay_bind", { sw_if_index, endpoint: 1 });
    expect(await told()).toMatchObject({ enabled: true, bound: true, endpoint: 1 });
    expect(await vpp.command("show margay interfaces"))
      .toMatch(/^loop5 sw-if-index=\d+ enabled=1 bound=1 endpoint=1$/m);
    await client.call("margay_bind", { sw_if_index, endpoint: 0xffffffff });
    expect(await told()).toMatchObject({ bound: false, endpoint: 0xffffffff });
    await client.call("margay_bind", { sw_if_index, endpoint: 1 });
    await vpp.command("delete loopback interface intfc loop5");
    expect(await told()).toBeUndefined();
    const gone = await refusal(client.call("margay_bind", { sw_if_index, endpoint: 1 }));
    expect(gone).toMatchObject({ retval: -2 });
    await vpp.command("create loopback interface instance 6");
    expect(await told()).toMatchObject({ bound: false });
    await client.call("margay_mode_set", { fail_closed: true });
    expect(await told()).toMatchObject({ enabled: true });
    await client.call("margay_mode_set", { fail_closed: false });
  });
});

// With a worker thread, where there are two processors, packets are judged beside the main thread.
const twoThreads: Record<string, string> = availableParallelism() > 1
  ? { cpu: "main-core 0 corelist-workers 1" } : {};
describe.skipIf(skipped).each([
  ["in one thread", {}], ["beside a worker thread", twoThreads],
])("messages and packets, %s", (_, threads) => {
  let replay: VppReplay;
  let client: VppClient;
  let messages: Messages;
  beforeAll(async () => {
    // The segment is filled ten times a second, instead of every ten seconds.
    const statseg = "size 32M page-size 4k update-interval 0.1";
    replay = await VppReplay.start({
      ...install, core: coreFile, pages: 128, sections: { statseg, ...threads },
    });
    client = await clientOf(replay.vpp);
    messages = new Messages(client);
    await replay.stage(concat([configureRecord(BUDGETS), bindRecords(PROGRAM)]));
    await messages.push(await new Compiler().compile(PROGRAM, 1));
  });
  afterAll(async () => {
    client?.close();
    await replay?.close();
  });

  test("plugin-flows: new, denied and ended flows are told to who listens", async () => {
    const events = client.events("want_margay_flow_events", {});
    await events.ready;
    const flows: Record<string, unknown>[] = [];
    const listening = (async () => {
      for await (const event of events) {
        expect(event).toMatchObject({ lost: 0n, pid: process.pid });
        flows.push(...event["flows"] as Record<string, unknown>[]);
      }
    })();
    await replay.process([packet(80), packet(80), packet(23), packet(80, "fd00::5")]);
    await expect.poll(() => flows.length).toBe(3);
    expect(flows).toMatchObject([
      { kind: "MARGAY_API_FLOW_NEW", reason: Reason.Allowed, verdict: Verdict.Pass, protocol: 6,
        source_port: 4000, destination_port: 80, to_destination_port: 8080, backend: 0 },
      { kind: "MARGAY_API_FLOW_DENIED", reason: Reason.PolicyDenied, destination_port: 23,
        verdict: Verdict.Drop },
      { kind: "MARGAY_API_FLOW_NEW", destination_port: 80, backend: 0xffffffff },
    ]);
    expect(await replay.age(clock.nowMs + 3_600_000, 1000)).toBe(2);
    await expect.poll(() => flows.length).toBe(5);
    expect(flows.slice(3)).toEqual(expect.arrayContaining([
      expect.objectContaining({ kind: "MARGAY_API_FLOW_ENDED", to_destination_port: 8080 }),
    ]));
    events.close();
    await listening;
    await replay.process([packet(80)]);
    await pause(50);
    expect(flows).toHaveLength(5);
    expect(await replay.vpp.command("show margay flows")).toMatch(/^the flow log is off/);
    await replay.vpp.expect("margay flows on", "flow log on");
    await replay.process([packet(23)]);
    await expect.poll(() => replay.vpp.command("show margay flows")).toMatch(
      /^denied .* reason=policy-denied family=4 protocol=6 source=10\.0\.0\.1 .* backend=-1 /);
    await replay.vpp.expect("margay flows off", "flow log off");
    await replay.age(clock.nowMs + 3_600_000, 1000);
  });

  test("plugin-read: counters, sessions and the stats segment say the same", async () => {
    await replay.process([packet(80), packet(23), packet(80, "fd00::5")]);
    const counters = new Map((await all(client.dump("margay_counter_dump")))
      .map((each) => [each["reason"], each]));
    const told = await replay.counters();
    for (const [reason, packets] of told) expect(counters.get(reason)).toMatchObject({ packets });
    expect(counters.get(Reason.PolicyDenied)).toMatchObject({ name: "policy-denied" });
    const stats = StatsSegment.open(client.pid);
    const read = (name: string) => stats.read(`/net/margay/${name}`);
    await expect.poll(() => read("sessions6")).toMatchObject({ value: 1n });
    expect(read("generation")).toMatchObject({ value: 1n });
    await expect.poll(() => {
      const reasons = read("reasons");
      if (reasons.kind !== "counters") throw new Error(reasons.kind);
      return [...told.keys()].map((reason) =>
        reasons.threads.reduce((sum, thread) => sum + thread[reason]!, 0n));
    }).toEqual([...told.values()]);
    expect(total(read("reason/policy-denied"))).toBe(told.get(Reason.PolicyDenied)!);
    stats.close();
    const [session, ...more] = await all(client.dump("margay_session_get", { family: 4 }));
    expect(more).toEqual([]);
    expect(session).toMatchObject({
      protocol: 6, source_port: 4000, destination_port: 80, to_source_port: 4000,
      to_destination_port: 8080, generation: 1, peer: 0, seen_ms: 5000 & ~255,
    });
    expect(await all(client.dump("margay_session_get", { family: 6 }))).toHaveLength(1);
    expect((await refusal(client.get("margay_session_get", { family: 5 }))).retval).toBe(-7);
  });

  test("plugin-trace: the next packets that are judged are traced", async () => {
    const { vpp } = replay;
    await vpp.command("clear trace");
    await client.call("margay_trace_set", { packets: 1 });
    expect(await vpp.command("show trace")).toContain("No packets in trace buffer");
    await vpp.quietly("packet-generator new { name t limit 3 size 64-64 interface pg0 node "
      + "ip4-input data { UDP: 10.0.0.99 -> 10.0.1.5 UDP: 5000 -> 90 incrementing 8 } }",
    "packet-generator enable-stream t");
    await expect.poll(() => vpp.command("show trace")).toMatch(/margay: verdict=/);
    expect((await vpp.command("show trace")).match(/^Packet \d+$/mg)).toHaveLength(1);
    await vpp.command("clear trace");
    await vpp.quietly("packet-generator delete t");
  });

  /** The sessions by margay_save, as a file of sessions. */
  async function saved(): Promise<Map<number, Uint8Array[]>> {
    const pieces = new Map<number, Uint8Array[]>([[4, []], [6, []]]);
    for (const [family, list] of pieces) {
      for (let cursor = 0; cursor !== 0xffffffff;) {
        const reply = await client.call("margay_save", { family, cursor, records_max: 1 });
        list.push(Uint8Array.from(reply["records"] as Uint8Array));
        cursor = reply["next_cursor"] as number;
      }
    }
    return pieces;
  }
  const ack = () => {
    const each = packet(80);
    const bytes = Uint8Array.from(each.bytes);
    bytes[33] = 0x10; // TCP flags of an IPv4 packet without options: ACK
    return { ...each, bytes };
  };

  test("plugin-swap: another core beside takes the place of the running one, with its sessions",
    async () => {
      const before = await replay.sessions();
      expect(before.length).toBeGreaterThanOrEqual(2);
      const counted = (await replay.counters()).get(Reason.Allowed)!;
      const beside = new Messages(client);
      await beside.open(readFileSync(coreFile), { pages: 160, beside: true });
      expect((await refusal(client.call("margay_swap"))).reply["why"])
        .toMatch(/has published no generation/);
      await beside.stage(configureRecord(BUDGETS));
      await beside.push(await new Compiler().compile(PROGRAM, 7));
      for (const { sw_if_index, bound, endpoint } of
        await all(client.dump("margay_interface_dump"))) {
        if (bound) await client.call("margay_bind", { sw_if_index, endpoint });
      }
      for (const [family, list] of await saved()) {
        for (const records of list.filter((each) => each.length)) {
          const { taken } = await client.call("margay_restore", {
            family, layout_version: LAYOUT_VERSION, records,
          });
          expect(taken).toBe(1);
        }
      }
      const status = (of: boolean) => client.call("margay_status_get", { beside: of });
      expect(await status(true)).toMatchObject({ generation: 7, pages: 160, beside: true });
      expect(await status(false)).toMatchObject({ generation: 1, pages: 128 });
      await client.call("margay_swap");
      expect(await status(false)).toMatchObject({ generation: 7, pages: 160, beside: false });
      expect(hex((await status(false))["staged_sha256"])).toBe(hex(beside.staged.hash));
      expect(await replay.sessions()).toHaveLength(before.length);
      expect(await replay.process([ack()])).toMatchObject([
        { verdict: Verdict.Pass, reason: Reason.Established },
      ]);
      // What the one before has counted is not forgotten.
      expect((await replay.counters()).get(Reason.Allowed)).toBe(counted);
      expect((await refusal(client.call("margay_discard"))).retval).toBe(-6);
    });

  test("plugin-beside-gone: what a client opened beside goes with it", async () => {
    const other = await clientOf(replay.vpp, "other");
    await new Messages(other).open(readFileSync(coreFile), { beside: true });
    const beside = async () =>
      (await client.call("margay_status_get", { beside: false }))["beside"];
    expect(await beside()).toBe(true);
    other.close();
    await expect.poll(beside).toBe(false);
    expect(await client.call("margay_status_get", { beside: false }))
      .toMatchObject({ generation: 7 });
  });

  test("plugin-checkpoint: `margay save` and `restore` know the checkpoints of other engines",
    async () => {
      const { vpp } = replay;
      const path = vpp.path("sessions");
      const before = await replay.sessions();
      await vpp.expect(`margay save ${path}`, "sessions saved: ");
      const bytes = readFileSync(path);
      expect(savedRecords(bytes)).toHaveLength(before.length);
      const moved = [...restoreChunks(bytes, clock.nowMs)];
      expect(moved.reduce((sum, { count }) => sum + count, 0)).toBe(before.length);
      expect(await replay.age(clock.nowMs + 36_000_000, 100_000)).toBe(before.length);
      await vpp.expect(`margay restore ${path}`, `sessions restored: ${before.length} of `);
      const plain = ({ flags: _, seenMs: __, ...rest }: (typeof before)[number]) => rest;
      expect((await replay.sessions()).map(plain)).toEqual(before.map(plain));
      writeFileSync(path, bytes.subarray(0, bytes.length - 1));
      expect(await vpp.command(`margay restore ${path}`)).toMatch(/bytes instead of/);
      expect((await refusal(client.call("margay_restore", {
        family: 4, layout_version: LAYOUT_VERSION + 1, records: new Uint8Array(64),
      }))).reply["why"]).toMatch(/layout version/);
    });
});
