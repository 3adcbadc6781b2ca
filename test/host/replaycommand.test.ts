// `margay replay` as a command: judged by a program file, and what it says of what is wrong.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCaptureFile, writeCapture } from "../../host/input/pcap.ts";
import { readTuple } from "../../host/observe/tuple.ts";
import { networkLayer } from "../../host/input/pcap.ts";
import { buildCommand } from "../command.ts";
import type { Run } from "../command.ts";

const CAPTURE = "examples/capture/shop.pcapng";
const PROGRAM = "examples/program.json";

const folder = mkdtempSync(join(tmpdir(), "margay-replay-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};
const node = ["--engine", "node"];
let margay: (...args: string[]) => Run;
beforeAll(async () => {
  margay = await buildCommand("replay");
});

describe("margay replay --program", () => {
  it("replay-program: judges by a program file: flows, rules by name, backends", () => {
    const run = margay("replay", CAPTURE, "--program", PROGRAM, ...node);
    expect(run.error).toBe("");
    expect(run.status).toBe(0);
    const rows = run.lines.filter((line) => / > 203\.0\.113\.80:80 .* web\/pages$/.test(line));
    expect(rows.length).toBeGreaterThanOrEqual(4);
    for (const row of rows) {
      expect(row).toMatch(/^eth0 .* web-[12] 10\.65\.0\.\d+:8080 .* pass +web\/pages$/);
    }
    expect(run.text).toMatch(/tcp 198\.51\.100\.66:\d+ .* drop: \d policy-denied +web\/no-blocked/);
    // The interfaces that this program does not know.
    expect(run.text).toMatch(/^ {2}unknown-endpoint +\d+$/m);
  });
});

describe("the command's errors", () => {
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
    expect(place.error).toContain("--interface eth9: the program knows cali");
    expect(place.status).toBe(2);
    const both = margay("replay", CAPTURE, "--program", PROGRAM, "--state", "examples/shop");
    for (const run of [both, margay("replay", CAPTURE)]) {
      expect(run.error).toContain("Either --state with manifests, or --program with a file");
      expect(run.status).toBe(2);
    }
    const out = join(CAPTURE, "below-a-file");
    const unwritable = margay("replay", CAPTURE, "--program", PROGRAM, "--out", out, ...node);
    expect(unwritable.error).toContain(`margay: ${out}: `);
    expect(unwritable.status).toBe(2);
  });

  it("manifests that are wrong, and a node that isn't there, are said with their places", () => {
    const wrong = file("wrong.yaml", "apiVersion: v1\nkind: Pod\nmetadata: { name: a }\n");
    const run = margay("replay", CAPTURE, "--state", wrong, ...node);
    expect(run.error).toMatch(/wrong\.yaml:1:\d+ Pod default\/a spec: missing/);
    expect(run.status).toBe(2);
    const shop = ["--state", "examples/shop"];
    const other = margay("replay", CAPTURE, ...shop, "--node", "node-9", ...node);
    expect(other.error).toContain("--node node-9: no such node; known: node-1");
    expect(other.status).toBe(2);
    const bare = mkdtempSync(join(folder, "empty-"));
    const empty = margay("replay", CAPTURE, "--state", bare, ...node);
    expect(empty.error).toMatch(/no manifests in .*empty-/);
    expect(empty.status).toBe(2);
  });

  it("a damaged capture is replayed up to the damage, with status 3", () => {
    const whole = readFileSync(CAPTURE);
    const count = readCaptureFile(CAPTURE).packets.length;
    const cut = file("cut.pcapng", whole.subarray(0, whole.length - 10));
    const run = margay("replay", cut, "--program", PROGRAM, ...node);
    expect(run.error).toMatch(/cut\.pcapng: byte \d+: cut short: a block of/);
    expect(run.text).toContain(`${count - 1} packets at `);
    expect(run.status).toBe(3);
    const none = margay("replay", file("none.pcap", "text"), "--program", PROGRAM, ...node);
    expect(none.error).toContain("none.pcap: byte 0: no capture");
    expect(none.status).toBe(3);
  });

  it("a capture without names needs --interface; a name nobody has is an unknown endpoint", () => {
    const capture = readCaptureFile(CAPTURE);
    const first = [capture.packets.find(({ linkType, bytes }) => {
      const tuple = readTuple(bytes.subarray(networkLayer(linkType, bytes)!.offset))!;
      return tuple.source === "198.51.100.7" && tuple.destination === "203.0.113.80";
    })!];
    const face = { linkType: 1, snapLength: 0 };
    const plain = file("plain.pcap", writeCapture("pcap", [face], first.map((packet) =>
      ({ ...packet, interface: 0 }))));
    const without = margay("replay", plain, "--program", PROGRAM, ...node);
    expect(without.error).toContain("interface 0 of the capture has no name: say --interface");
    expect(without.status).toBe(2);
    const given = margay("replay", plain, "--program", PROGRAM, "--interface", "eth0", ...node);
    expect(given.lines.some((line) => /^ {2}allowed +1$/.test(line))).toBe(true);
    const other = file("other.pcapng", writeCapture("pcapng", [{ ...face, name: "eth7" }],
      first.map((packet) => ({ ...packet, interface: 0 }))));
    const unknown = margay("replay", other, "--program", PROGRAM, ...node);
    expect(unknown.lines.some((line) => /^ {2}unknown-endpoint +1$/.test(line))).toBe(true);
    expect(unknown.status).toBe(0);
  });
});
