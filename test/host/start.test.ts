// `npm start`: the capture of the shop goes through the program, on every engine that is here. What
// the servers really answered is in the capture, so each choice is judged by packets that were sent
// before this test was written.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Reason } from "../../assembly/layout.ts";
import { plan, SPOOFED } from "../../examples/capture/visits.ts";
import { compileProgram, coreHash, ENGINES, openNode } from "../../host/replay/engines.ts";
import { readCaptureFile, writeCapture } from "../../host/input/pcap.ts";
import { readSnapshot } from "../../host/input/snapshot.ts";
import { familyOf } from "../../host/model/address.ts";
import { FlowTable } from "../../host/observe/flow.ts";
import { printTuple, readTuple } from "../../host/observe/tuple.ts";
import { readInput, replay } from "../../host/replay/replay.ts";
import { BAD_CHECKSUM, GOOD_CHECKSUM, tsharkFilter, tsharkInstalled } from
  "../reference/tshark.ts";

const CAPTURE = "examples/capture/shop.pcapng";
const PROGRAM = "examples/shop.json";
const CLI = "build/test-cli/cli.js";
if (!tsharkInstalled) console.log("skipped: rewritten capture judged by tshark (not installed)");
for (const engine of ENGINES) {
  const absent = engine.absent();
  if (absent !== undefined) console.log(`skipped: npm start on ${engine.name} (${absent})`);
}

const folder = mkdtempSync(join(tmpdir(), "margay-start-"));
afterAll(() => rmSync(folder, { recursive: true }));

function margay(...args: string[]): { status: number | null; lines: string[]; error: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args],
    { encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } });
  return { status, lines: stdout.split("\n"), error: stderr };
}

beforeAll(async () => {
  await build({
    entryPoints: ["host/cli.ts"], outdir: "build/test-cli", bundle: true, splitting: true,
    format: "esm", platform: "node", packages: "external", logLevel: "silent",
  });
});

describe("capture-real: the capture of the shop is judged as its programme says", () => {
  const snapshot = readSnapshot(readFileSync(PROGRAM, "utf8"), PROGRAM);
  const { endpoints, services } = snapshot.program;
  const all = [...endpoints, ...services.map(({ name, address }) =>
    ({ name, addresses: [address] }))];
  const visits = plan({
    address: (name, family) => all.filter((one) => one.name === name)
      .flatMap(({ addresses }) => addresses).find((one) => familyOf(one) === family)!,
  });
  const table = new FlowTable();
  let ruleOf: (slot: number, rule: number) => string | undefined;
  let answered: Map<string, string>;

  beforeAll(async () => {
    const compiled = await compileProgram(snapshot.program);
    const input = readInput(readCaptureFile(CAPTURE), (name) => snapshot.interfaces.get(name!)!);
    const { results } = replay(openNode(compiled), input);
    input.replayed.forEach(({ packet }, index) => table.add(packet, results[index]!));
    ruleOf = (slot, rule) => compiled.compiler.ruleName(slot, rule);
    // Which server a client's port was answered by, from the packets as they were captured.
    answered = new Map(input.replayed.map(({ packet }) => readTuple(packet.bytes)!)
      .map((tuple) => [`${tuple.destination} ${tuple.destinationPort}`, tuple.source]));
  });

  it("there is a flow for each visit, and no other", () => {
    const made = table.flows().map(({ tuple }) => tuple.sourcePort >= 40_000 && tuple.sourcePort <
      40_000 + visits.length + 1 && ![1, 58].includes(tuple.protocol)
      ? `${tuple.source} ${tuple.sourcePort} ${tuple.destination} ${tuple.destinationPort}`
      : `${tuple.source} 0 ${tuple.destination} 0`);
    expect(made.sort()).toEqual(visits.map((one) =>
      `${one.source} ${one.sourcePort} ${one.destination} ${one.destinationPort}`).sort());
    expect(table.nameless.size).toBe(0);
  });

  it("a visit to a Service went to the backend that the program chooses, and back", () => {
    const backends = services.flatMap((service) => service.backends);
    const through = table.flows().filter(({ backend }) => backend !== undefined);
    expect(through.length).toBe(visits.filter((visit) => visit.source !== SPOOFED &&
      visit.pod !== "stranger" && [53, 80].includes(visit.destinationPort)).length);
    for (const { tuple, backend, drops, return: back } of through) {
      const server = answered.get(`${tuple.source} ${tuple.sourcePort}`);
      expect(server, printTuple(tuple)).toBe(backends[backend!]!.address);
      expect(drops.size).toBe(0);
      expect(back.packets).toBeGreaterThan(0);
    }
    // Every backend of every VIP was chosen by some visit.
    expect(new Set(through.map(({ backend }) => backend)).size).toBe(backends.length);
  });

  it("strangers, ports left out and spoofed sources are dropped, by rule", () => {
    const denied = table.flows().filter(({ drops }) => drops.size > 0).map((flow) => [
      flow.tuple.source, flow.tuple.destinationPort, [...flow.drops.keys()],
      ruleOf(flow.policySlot, flow.rule),
    ]);
    const by = (source: string, port: number, rule: string | undefined) =>
      [source, port, [rule === undefined ? Reason.SpoofedSource : Reason.PolicyDenied], rule];
    expect(denied).toEqual([
      by("10.244.0.3", 80, "http/no-strangers"), by("10.244.0.2", 9090, "http/default-deny"),
      by("fd00:244::3", 80, "http/no-strangers"), by("fd00:244::2", 9090, "http/default-deny"),
      by(SPOOFED, 80, undefined),
    ]);
  });
});

describe("start-report: npm start", () => {
  const out = join(folder, "out.pcapng");
  let run: ReturnType<typeof margay>;
  beforeAll(() => {
    run = margay("replay", CAPTURE, "--program", PROGRAM, "--out", out);
  }, 120_000);

  it("reports flows, verdicts with rule, backends, counters and the core", () => {
    expect(run.error).toBe("");
    expect(run.status).toBe(0);
    expect(run.lines).toContain(`core ${coreHash()} (build/margay.wasm, the bytes that VPP runs)`);
    const row = (start: string) => run.lines.find((line) => line.startsWith(start))!;
    expect(row("client    tcp 10.244.0.2:40002 > 10.96.0.80:80 "))
      .toMatch(/ http-[123] 10\.244\.0\.1[123]:8080 +6\/4 +\d+\/\d+ +pass +http\/shop-pages$/);
    expect(row("stranger  tcp 10.244.0.3:")).toMatch(/ drop: 2 policy-denied +http\/no-strangers$/);
    expect(row("77 flows; by backend: dns-1 ")).toBeDefined();
    expect(row("  policy-denied ")).toMatch(/ 8$/);
    expect(row("  spoofed-source ")).toMatch(/ 2$/);
  });

  it("says of every engine that it is equal, or why it didn't run", () => {
    for (const engine of ENGINES.slice(1)) {
      const absent = engine.absent();
      const expected = absent === undefined ? `node and ${engine.name}: equal: `
        : `engine ${engine.name}: skipped: ${absent}`;
      expect(run.lines.some((line) => line.startsWith(expected)), expected).toBe(true);
    }
  });

  it("replay-checksums: it writes VIP replies, backend requests, right checksums", () => {
    const { packets, interfaces, error } = readCaptureFile(out);
    expect(error).toBeUndefined();
    const names = new Set(packets.map((packet) => interfaces[packet.interface]!.name));
    expect([...names].sort()).toEqual(["client", "dns-1", "dns-2", "http-1", "http-2", "http-3"]);
    if (!tsharkInstalled) return;
    expect(tsharkFilter(out, BAD_CHECKSUM)).toEqual([]);
    expect(tsharkFilter(out, GOOD_CHECKSUM).length).toBe(packets.length);
    expect(tsharkFilter(out, "ip.src == 10.96.0.80 && tcp.srcport == 80").length)
      .toBeGreaterThan(50);
    expect(tsharkFilter(out, "ip.dst == 10.96.0.80 || ipv6.dst == fd00:96::80")).toEqual([]);
  });
});

describe("the command's errors", () => {
  const file = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const node = ["--engine", "node"];

  it("name what is wrong, with status 2", () => {
    const missing = margay("replay", "no.pcap", "--program", PROGRAM);
    expect(missing.error).toMatch(/^margay: no\.pcap: ENOENT/);
    expect(missing.status).toBe(2);
    const bad = file("bad.json", '{"endpoints": [], "polices": []}');
    const program = margay("replay", CAPTURE, "--program", bad);
    expect(program.error).toContain(`${bad}: file.polices: unknown field`);
    expect(program.status).toBe(2);
    const engine = margay("replay", CAPTURE, "--program", PROGRAM, "--engine", "dpdk");
    expect(engine.error).toContain('There is no engine "dpdk"; known are node, native, vpp.');
    expect(engine.status).toBe(2);
    const place = margay("replay", CAPTURE, "--program", PROGRAM, "--interface", "eth9", ...node);
    expect(place.error).toContain("--interface eth9: the program knows client, stranger");
    expect(place.status).toBe(2);
    expect(margay("replay", CAPTURE).status).toBe(2);
    const out = join(CAPTURE, "below-a-file");
    const unwritable = margay("replay", CAPTURE, "--program", PROGRAM, "--out", out, ...node);
    expect(unwritable.error).toContain(`margay: ${out}: `);
    expect(unwritable.status).toBe(2);
  });

  it("a damaged capture is replayed up to the damage, with status 3", () => {
    const whole = readFileSync(CAPTURE);
    const cut = file("cut.pcapng", whole.subarray(0, whole.length - 10));
    const run = margay("replay", cut, "--program", PROGRAM, ...node);
    expect(run.error).toMatch(/cut\.pcapng: byte \d+: cut short: a block of/);
    expect(run.lines.some((line) => line.includes("505 packets at 7 interfaces"))).toBe(true);
    expect(run.status).toBe(3);
    const none = margay("replay", file("none.pcap", "text"), "--program", PROGRAM, ...node);
    expect(none.error).toContain("none.pcap: byte 0: no capture");
    expect(none.status).toBe(3);
  });

  it("a capture without names needs --interface; a name nobody has is an unknown endpoint", () => {
    const capture = readCaptureFile(CAPTURE);
    const first = capture.packets.slice(0, 1);
    const face = { linkType: 1, snapLength: 0 };
    const plain = file("plain.pcap", writeCapture("pcap", [face], first));
    const without = margay("replay", plain, "--program", PROGRAM, ...node);
    expect(without.error).toContain("interface 0 of the capture has no name: say --interface");
    expect(without.status).toBe(2);
    const given = margay("replay", plain, "--program", PROGRAM, "--interface", "client", ...node);
    expect(given.lines.some((line) => /^ {2}allowed +1$/.test(line))).toBe(true);
    const other = file("other.pcapng", writeCapture("pcapng", [{ ...face, name: "eth7" }], first));
    const unknown = margay("replay", other, "--program", PROGRAM, ...node);
    expect(unknown.lines.some((line) => /^ {2}unknown-endpoint +1$/.test(line))).toBe(true);
    expect(unknown.status).toBe(0);
  });
});
