// The plugin in a real VPP: that it loads, what its commands answer, and that nothing passes where
// no program is. What the program decides, and that VPP's packets are equal to the other engines',
// is tested on all engines elsewhere.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import binaryen from "binaryen";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Reason, Stage, Verdict } from "../assembly/layout.ts";
import { openingPacket } from "../examples/capture/opening.ts";
import { ABI_SECTION, ABI_USER } from "../host/compile/policy.ts";
import { Compiler, bindRecords } from "../host/compile/program.ts";
import { configureRecord, endpointRecords } from "../host/compile/records.ts";
import { concat } from "../host/dataplane/record.ts";
import type { Program } from "../host/model/program.ts";
import { vppInstall } from "../host/vpp/install.ts";
import type { VppInstall } from "../host/vpp/install.ts";
import { VppProcess } from "../host/vpp/process.ts";
import { VppReplay } from "../host/replay/vpp.ts";
import { beforeForwarding, parseTrace } from "../host/vpp/text.ts";
import { checksumsRight } from "./packets.ts";
import { PROGRAM } from "./vpp-program.ts";

const found = vppInstall();
const skipped = typeof found === "string";
if (skipped) console.log(`VPP tests: skipped (${found})`);
const install = found as VppInstall;
const core = join(process.cwd(), "build/margay.wasm");

const BUDGETS = {
  workers: 1, sessions4Max: 1000, sessions6Max: 1000, endpointsMax: 16, servicesMax: 16,
};

/** A user's module whose evaluate is this expression. */
function userModule(expression: string): Uint8Array {
  const signature = "(param i32 i32 i64 i64 i64 i64 i32 i32 i32 i32) (result i32)";
  const module = binaryen.parseText(`
    (module (func (export "evaluate") ${signature} ${expression}))`);
  module.addCustomSection(ABI_SECTION, new TextEncoder().encode(ABI_USER));
  const wasm = module.emitBinary();
  module.dispose();
  return wasm;
}

const clock = { nowMs: 5000, nowSeconds: 1_700_000_000 };
function packet(port: number, destination = "10.96.0.1", number = 7) {
  const bytes = openingPacket({
    protocol: "tcp", source: destination.includes(":") ? "fd00::1" : "10.0.0.1", sourcePort: 4000,
    destination, destinationPort: port,
  });
  return { interface: number, bytes, clock };
}

describe.skipIf(skipped)("the plugin's commands", () => {
  let vpp: VppProcess;
  let directory: string;
  const file = (name: string, bytes: Uint8Array | string) => {
    writeFileSync(join(directory, name), bytes);
    return join(directory, name);
  };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "margay-test-"));
    vpp = await VppProcess.start(install);
  });
  afterAll(async () => {
    await vpp?.close();
    if (directory) rmSync(directory, { recursive: true });
  });

  test("vpp-plugin: is loaded, without a core", async () => {
    expect(await vpp.command("show plugins")).toMatch(/margay_plugin\.so\s+0\.1\.0/);
    expect(await vpp.command("show margay")).toContain("core none");
  });

  test("vpp-plugin: says what is missing or refused, and names the file", async () => {
    const answer = async (line: string) => (await vpp.command(line)).trim();
    const noCore = "no core is loaded: margay core <file>";
    expect(await answer("margay records /dev/null")).toBe(`margay records: ${noCore}`);
    expect(await answer("margay publish 1")).toBe(`margay publish: ${noCore}`);
    expect(await answer("show margay sessions")).toBe(noCore);
    expect(await answer(`margay core ${directory}/none.wasm`))
      .toMatch(/^margay core: .*\/none\.wasm: No such file or directory$/);
    expect(await answer(`margay core ${file("empty.wasm", "")}`)).toMatch(/the file is empty$/);
    expect(await answer(`margay core ${file("text.wasm", "(module)")}`)).toMatch(/text\.wasm: .+/);
    expect(await answer(`margay core ${core} pages 63`)).toMatch(/pages 63: from 64 to 65536/);
    expect(await answer(`margay core ${core} workers 99`)).toMatch(/workers 99: /);
    expect(await answer(`margay core ${core} bogus`)).toMatch(/unknown input `bogus/);
    expect(await answer("margay clock sometimes")).toMatch(/expected auto, or set <ms>/);
    expect(await answer("set margay input nowhere")).toMatch(/unknown interface `nowhere/);

    await vpp.expect(`margay core ${core} pages 128`, "core loaded");
    expect(await answer(`margay core ${core}`)).toMatch(/loaded already: .*\.wasm/);
    const server = endpointRecords(PROGRAM.endpoints.slice(1), new Map());
    const endpoints = file("endpoints", concat(server));
    expect(await answer(`margay records ${endpoints}`))
      .toMatch(/^margay records: .*\/endpoints: .*not-configured/);
    const configure = configureRecord(BUDGETS);
    await vpp.expect(`margay records ${file("configure", configure)}`, "records staged");
    expect(await answer(`margay records ${file("again", configure)}`))
      .toMatch(/already-configured/);
    expect(await answer(`margay records ${file("short", configure.subarray(0, 12))}`))
      .toMatch(/truncated-record/);
    expect(await answer("margay publish 1")).toMatch(/generation 1: .*nothing-staged/);
    expect(await answer("margay module 0 x")).toMatch(/policy slot from 1 to 4095/);
    expect(await answer(`margay module 5 ${file("bad.wasm", "no wasm")}`))
      .toMatch(/slot 5, .*bad\.wasm: .*module-malformed/);
    expect(await answer("margay bind nowhere 1")).toMatch(/unknown interface `nowhere/);
  });
});

describe.skipIf(skipped)("packets", () => {
  let replay: VppReplay;
  beforeAll(async () => {
    replay = await VppReplay.start({ ...install, core, pages: 128 });
  });
  afterAll(() => replay?.close());

  test("vpp-plugin: none passes until a generation is published", async () => {
    const drop = { verdict: Verdict.Drop, reason: Reason.NoGeneration, bytes: undefined };
    const before = await replay.process([packet(80), packet(80, "fd00::5")]);
    expect(before).toMatchObject([drop, drop]);

    await replay.stage(concat([configureRecord(BUDGETS), bindRecords(PROGRAM)]));
    expect(await replay.process([packet(80), packet(80, "fd00::5")])).toMatchObject([drop, drop]);

    await replay.push(await new Compiler().compile(PROGRAM, 1));
    const after = await replay.process([packet(80), packet(80, "fd00::5"), packet(23, "10.0.1.5")]);
    expect(after).toMatchObject([
      { verdict: Verdict.Pass, reason: Reason.Allowed, rule: 1, backend: 0 },
      { verdict: Verdict.Pass, reason: Reason.Allowed, rule: 1, backend: undefined },
      { verdict: Verdict.Drop, reason: Reason.PolicyDenied, rule: 0, bytes: undefined },
    ]);
  });

  test("vpp-drop-reasons: a drop is counted under its reason, as VPP's error too", async () => {
    const counters = await replay.counters();
    // VPP counts all; the program's own counters begin with its Configure record.
    expect(counters.get(Reason.NoGeneration)).toBe(2n);
    expect(counters.get(Reason.PolicyDenied)).toBe(1n);
    const errors = await replay.vpp.command("show errors");
    expect(errors).toMatch(/\b2\s+margay-ip4-input\s+no-generation\b/);
    expect(errors).toMatch(/\b2\s+margay-ip6-input\s+no-generation\b/);
    expect(errors).toMatch(/\b1\s+margay-ip4-input\s+policy-denied\b/);
  });

  test("vpp-outside: what VPP drops by itself, or can't forward, is said as such", async () => {
    const bytes = packet(81).bytes;
    const counted = await replay.counters();
    const bad = Uint8Array.from(bytes);
    bad[11]! ^= 1;
    const results = await replay.process([
      { interface: 7, bytes: bad, clock },
      { interface: 7, bytes: bytes.subarray(0, 10), clock },
    ]);
    expect(results).toMatchObject([{ reason: "vpp-input" }, { reason: "vpp-input" }]);
    expect(await replay.counters()).toEqual(counted);
  });

  test("vpp-sessions: sessions are shown whole and end by age", async () => {
    const sessions = await replay.sessions();
    expect(sessions).toMatchObject([
      {
        family: 4, source: "10.0.0.1", sourcePort: 4000, destination: "10.96.0.1",
        destinationPort: 80, toDestination: "10.0.1.5", toDestinationPort: 8080, generation: 1,
      },
      { family: 6, source: "fd00::1", destination: "fd00::5", destinationPort: 80 },
    ]);
    expect(await replay.age(clock.nowMs + 1, 1000)).toBe(0);
    expect(await replay.age(clock.nowMs + 3_600_000, 1000)).toBe(2);
    expect(await replay.sessions()).toEqual([]);
  });
});

describe.skipIf(skipped)("what is neither passed nor dropped", () => {
  let replay: VppReplay;
  const none = { name: "none", port: 80, whenEmpty: "reject" as const, backends: [] };
  const program: Program = {
    ...PROGRAM, peers: ["node-2"],
    endpoints: [...PROGRAM.endpoints,
      { name: "uplink", kind: "uplink", interfaces: [9], addresses: [] }],
    services: [
      { ...none, address: "10.96.0.9", protocol: "tcp" },
      { ...none, address: "fd00:96::9", protocol: "udp" },
      { name: "far", address: "203.0.113.1", port: 80, protocol: "tcp", kind: "load-balancer",
        dsr: true, backends: [{ name: "far", address: "10.9.0.1", port: 80, node: "node-2" }] },
    ],
  };
  beforeAll(async () => {
    replay = await VppReplay.start({ ...install, core, pages: 128 });
    await replay.stage(concat([configureRecord(BUDGETS), bindRecords(program)]));
    await replay.push(await new Compiler(BUDGETS).compile(program, 1));
  });
  afterAll(() => replay?.close());

  test("vpp-reject: an answer is sent back, whole, and counted under its reason", async () => {
    const asked = openingPacket({
      protocol: "udp", source: "fd00::1", sourcePort: 4000, destination: "fd00:96::9",
      destinationPort: 80,
    });
    const [reset, unreachable] = await replay.process([
      packet(80, "10.96.0.9"), { interface: 7, bytes: asked, clock },
    ]);
    expect(reset).toMatchObject({ verdict: Verdict.Reply, reason: Reason.NoBackend });
    const tcp = reset!.bytes!;
    // From the address that was asked, TTL 64, a reset that acknowledges the SYN.
    expect(tcp).toHaveLength(40);
    expect([tcp[8], ...tcp.subarray(12, 20), tcp[33]]).toEqual(
      [64, 10, 96, 0, 9, 10, 0, 0, 1, 0x14]);
    expect(checksumsRight(tcp)).toBe(true);
    expect(unreachable).toMatchObject({ verdict: Verdict.Reply, reason: Reason.NoBackend });
    const icmp = unreachable!.bytes!;
    expect([icmp[7], ...icmp.subarray(40, 42)]).toEqual([64, 1, 4]);
    expect([...icmp.subarray(48)]).toEqual([...asked.subarray(0, 64)]);
    expect(checksumsRight(icmp)).toBe(true);
    const errors = await replay.vpp.command("show errors");
    expect(errors).toMatch(/\b1\s+margay-ip4-input\s+no-backend\b/);
    expect(errors).toMatch(/\b1\s+margay-ip6-input\s+no-backend\b/);
    expect(await replay.sessions()).toEqual([]);
  });

  test("vpp-peer: what is to go on to another node is dropped by name: there is no tunnel",
    async () => {
      const bytes = openingPacket({
        protocol: "tcp", source: "198.51.100.7", sourcePort: 4000, destination: "203.0.113.1",
        destinationPort: 80,
      });
      expect(await replay.process([{ interface: 9, bytes, clock }])).toMatchObject([
        { verdict: Verdict.Drop, reason: "vpp-forward", peer: 1, bytes: undefined },
      ]);
      const errors = await replay.vpp.command("show errors");
      expect(errors).toMatch(/\b1\s+margay-ip4-input\s+no-tunnel-to-peer\b/);
      expect(await replay.sessions()).toMatchObject([{ destination: "203.0.113.1", peer: 1 }]);
      expect((await replay.counters()).get(Reason.Forwarded)).toBe(1n);
    });
});

describe.skipIf(skipped)("by itself", () => {
  let replay: VppReplay;
  beforeAll(async () => {
    replay = await VppReplay.start({ ...install, core, pages: 128 });
    const configure = configureRecord({ ...BUDGETS, timeoutsMs: Array(6).fill(300) });
    await replay.stage(concat([configure, bindRecords(PROGRAM)]));
  });
  afterAll(() => replay?.close());

  test("vpp-policy-trap: a policy that traps denies, and VPP's log says which", async () => {
    const push = await new Compiler().compile(PROGRAM, 1);
    const { slot } = push.modules[0]!;
    const wasm = userModule("(unreachable)");
    await replay.push({ ...push, modules: [{ slot, kind: "user", wasm }] });
    const drop = { verdict: Verdict.Drop, reason: Reason.PolicyTrapped };
    expect(await replay.process([packet(80), packet(81)])).toMatchObject([drop, drop]);
    await expect.poll(() => replay.vpp.command("show log"))
      .toMatch(new RegExp(`policy slot ${slot} trapped and denies from now on`));
    expect(await replay.vpp.command("show margay")).toMatch(/policy-traps=1 core-traps=0/);
  });

  test("vpp-push-refused: a refused push throws the core's reason", async () => {
    const push = await new Compiler().compile(PROGRAM, 2);
    const wasm = userModule("(loop (result i32) (i32.const 1))");
    const refused = replay.push({ ...push, modules: [{ slot: 9, kind: "user", wasm }] });
    await expect(refused).rejects.toMatchObject({ name: "PushRefused", reason: "module-loop" });
    expect(await replay.vpp.command("show margay")).toMatch(/generation=1$/m);
  });

  test("vpp-ages: sessions age without traffic, unless the clock is fixed", async () => {
    await replay.push(await new Compiler().compile({ ...PROGRAM, policies: [], endpoints:
      PROGRAM.endpoints.map(({ egress: _, ...endpoint }) => endpoint) }, 2));
    const young = { nowMs: 0, nowSeconds: 0 };
    expect(await replay.process([{ ...packet(80), clock: young }]))
      .toMatchObject([{ verdict: Verdict.Pass }]);
    await new Promise((done) => setTimeout(done, 500));
    expect(await replay.sessions()).toHaveLength(1);
    await replay.vpp.expect("margay clock auto", "clock auto");
    await expect.poll(() => replay.sessions(), { timeout: 5000 }).toEqual([]);
    expect(await replay.vpp.command("show margay")).toMatch(/clock auto .* aged=1$/m);
  });
});

describe.skipIf(skipped)("the process", () => {
  test("vpp-ends: is always ended, also by a failed start", async () => {
    const vpp = await VppProcess.start(install);
    const directory = vpp.directory;
    await vpp.close();
    await expect(vpp.command("show version")).rejects.toThrow(/VPP is gone/);
    const sections = { buffers: "no-such-option" };
    await expect(VppProcess.start({ ...install, sections })).rejects
      .toThrow(/VPP ended at its start/);
    const missing = `${directory}/none.so`;
    await expect(VppProcess.start({ ...install, plugin: missing })).rejects.toThrow(/not there/);
  });
});

describe("what comes out of VPP", () => {
  test("vpp-before-forwarding: TTL and checksum are undone exactly, whatever they are", () => {
    const wrong: number[] = [];
    for (let checksum = 0; checksum < 0xffff; checksum++) {
      const header = new Uint8Array(20);
      header[0] = 0x45;
      header[8] = 9;
      // As VPP does it: one less, and 0x0100 more with end-around carry.
      const sum = checksum + 0x0100;
      const after = (sum + (sum >= 0xffff ? 1 : 0)) & 0xffff;
      header.set([after >> 8, after & 0xff], 10);
      const packet = beforeForwarding(header);
      const undone = (packet[10]! << 8) | packet[11]!;
      if (undone !== checksum || packet[8] !== 10 || header[8] !== 9) wrong.push(checksum);
    }
    expect(wrong).toEqual([]);
  });

  test("vpp-trace-names: an unknown name in a trace is an error, not a pass", () => {
    const block = (verdict: string) => `Packet 1

00:00:00:092807: ethernet-input
  IP4: 02:00:00:00:01:02 -> 02:fe:00:00:00:00
00:00:00:092843: margay-ip4-input
  margay: verdict=${verdict} reason=allowed rule=3:7 direction=return backend=12 ` +
`stages=egress:2:0,ingress:3:7 sw-if-index=3 length=40 protocol=6 ` +
`packet=10.0.0.1:1>10.0.1.5:2 rewrite=none
00:00:00:092871: pg100-tx
`;
    expect(parseTrace(block("pass"))).toEqual([{
      ordinal: 258, sentBy: 100,
      judged: {
        verdict: Verdict.Pass, reason: Reason.Allowed, policySlot: 3, rule: 7, direction: 1,
        backend: 12, tuple: "10.0.0.1:1>10.0.1.5:2",
        stages: [{ stage: Stage.Egress, policySlot: 2, rule: 0 },
          { stage: Stage.Ingress, policySlot: 3, rule: 7 }],
      },
    }]);
    expect(() => parseTrace(block("perhaps"))).toThrow(/unknown name "perhaps"/);
  });
});
