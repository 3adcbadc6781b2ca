// `npm start`: the capture of the shop goes through the program that its manifests make, on every
// engine that is here. What the servers really answered is in the capture, so each choice is judged
// by packets that were sent before this test was written.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MANIFESTS, readShop } from "../../examples/capture/choose.ts";
import { BLOCKED, NODE, plan, SPOOFED, VISITOR } from "../../examples/capture/visits.ts";
import { coreHash } from "../../host/dataplane/core.ts";
import { compileProgram, ENGINES, openNode } from "../../host/replay/engines.ts";
import type { CompiledProgram } from "../../host/replay/engines.ts";
import { readCaptureFile } from "../../host/input/pcap.ts";
import { FlowTable, isSourceHidden } from "../../host/observe/flow.ts";
import { conversations } from "../../host/observe/summary.ts";
import type { Conversation } from "../../host/observe/summary.ts";
import { printTuple, readTuple } from "../../host/observe/tuple.ts";
import { readInput, replay } from "../../host/replay/replay.ts";
import { authoredNames } from "../../host/replay/run.ts";
import { stateSource } from "../../host/replay/source.ts";
import type { Source } from "../../host/replay/source.ts";
import { buildCommand } from "../command.ts";
import type { Run } from "../command.ts";
import { BAD_CHECKSUM, GOOD_CHECKSUM, tsharkFilter, tsharkInstalled } from
  "../reference/tshark.ts";

const CAPTURE = "examples/capture/shop.pcapng";
if (!tsharkInstalled) console.log("skipped: rewritten capture judged by tshark (not installed)");
for (const engine of ENGINES) {
  const absent = engine.absent();
  if (absent !== undefined) console.log(`skipped: npm start on ${engine.name} (${absent})`);
}

const folder = mkdtempSync(join(tmpdir(), "margay-start-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("capture-real: the capture of the shop is judged as its programme says", () => {
  let source: Source;
  let compiled: CompiledProgram;
  const shop = readShop();
  const visits = plan(shop);
  const table = new FlowTable();
  let all: Conversation[];
  let answered: Map<string, string>;

  beforeAll(async () => {
    source = await stateSource([MANIFESTS], undefined);
    compiled = await compileProgram(source.program);
    const input = readInput(readCaptureFile(CAPTURE), (name) => source.interfaces.get(name!)!);
    const { results } = replay(openNode(compiled), input);
    input.replayed.forEach(({ packet }, index) => table.add(packet, results[index]!));
    all = conversations(table, authoredNames(source, compiled));
    // Which server a client's port was answered by, from the packets as they were captured.
    answered = new Map(input.replayed.map(({ packet }) => readTuple(packet.bytes)!)
      .map((tuple) => [`${tuple.destination} ${tuple.destinationPort}`, tuple.source]));
  });

  it("there is a flow for each visit, and no other", () => {
    const made = table.flows().map(({ tuple }) => [1, 58].includes(tuple.protocol)
      ? `${tuple.source} 0 ${tuple.destination} 0`
      : `${tuple.source} ${tuple.sourcePort} ${tuple.destination} ${tuple.destinationPort}`);
    expect(made.sort()).toEqual(visits.map((one) =>
      `${one.source} ${one.sourcePort} ${one.destination} ${one.destinationPort}`).sort());
    expect(table.nameless.size).toBe(0);
  });

  it("a visit to a Service went to the backend that the program chooses, and back", () => {
    const through = table.flows().filter(({ backend, drops }) =>
      backend !== undefined && drops.size === 0);
    expect(through.length).toBeGreaterThan(40);
    for (const { tuple, backend, return: back } of through) {
      // To a source that is hidden, servers answer at the node, at the same port.
      const server = answered.get(`${tuple.source} ${tuple.sourcePort}`) ??
        answered.get(`${NODE[tuple.family === 4 ? 0 : 1]} ${tuple.sourcePort}`);
      expect(server, printTuple(tuple)).toBe(compiled.compiler.backendAt(backend!)!.address);
      expect(back.packets).toBeGreaterThan(0);
    }
  });

  /** Conversations that were dropped: from, to, reason and the last rule that was asked. */
  const dropped = (): string[] => all.filter(({ verdict }) => verdict !== "pass")
    .map(({ from, to, verdict, stages }) =>
      `${from} ${to} ${verdict} ${stages.at(-1)?.join(" ") ?? "-"}`
        .replace(/\S+\/(?=\w+\.yaml)/, "").replace(/(yaml):\d+ /, "$1"));

  it("what is denied is denied by the rule that its author wrote, at the end that it says", () => {
    const isolated = (app: string) =>
      `isolated by NetworkPolicy shop/default-deny, NetworkPolicy shop/names, NetworkPolicy ${app}`;
    const denied = (flow: string, by: string) => `${flow} drop: policy-denied ${by}`;
    const payment = "egress payment.yaml NetworkPolicy shop/payment egress[2]";
    const api = "ingress isolated by NetworkPolicy shop/api, NetworkPolicy shop/default-deny";
    expect(dropped().sort()).toEqual([
      "10.65.0.199 shop/svc/cache:6379/tcp drop: spoofed-source -",
      denied("198.51.100.66 shop/svc/web:80/tcp",
        "pre-dnat host.yaml GlobalNetworkPolicy platform.blocklist ingress[0]"),
      "198.51.100.7 shop/svc/admin:80/tcp drop: source-range -",
      denied("198.51.100.7 shop/svc/api:80/tcp", api),
      denied("2001:db8:7::7 shop/svc/api:80/tcp", api),
      denied("guests/kiosk shop/svc/web:80/tcp",
        "ingress platform.yaml ClusterNetworkPolicy guests-stay-out ingress[0].from[0]"),
      denied("ops/toolbox shop/svc/payment:443/tcp",
        "ingress payment.yaml NetworkPolicy shop/payment ingress[1]"),
      "shop/api shop/svc/catalogue:81/tcp reject: unknown-service-port -",
      "shop/api shop/svc/gifts:80/tcp reject: no-backend -",
      denied("shop/blog kube-system/svc/kube-dns:53/udp",
        "egress platform.yaml GlobalNetworkPolicy platform.quarantine egress[0]"),
      denied("shop/payment 198.51.100.7:443/tcp", payment),
      denied("shop/payment [2001:db8:7::7]:443/tcp", payment),
      denied("shop/web 169.254.169.254:80/tcp",
        "egress platform.yaml GlobalNetworkPolicy platform.pods egress[0]"),
      denied("shop/web shop/svc/db:5432/tcp", `egress ${isolated("shop/web")}`),
    ]);
  });

  it("sources are hidden where they leave the pool, and at the office's way to the desk", () => {
    expect(all.filter(({ sources }) => sources.size > 0).map(({ from, to, sources }) =>
      [from, to, ...sources.keys()])).toEqual([
      ["shop/payment", "203.0.113.10:443/tcp", "node:node-1"],
      ["shop/mail", "192.0.2.25:25/tcp", "node:node-1"],
      ["192.168.10.50", "shop/svc/admin:80/tcp", "node:node-1"],
    ]);
    for (const { tuple, return: back } of table.flows().filter(isSourceHidden)) {
      expect(back.packets, printTuple(tuple)).toBeGreaterThan(1);
    }
  });

  it("a visitor has one pod of the pages, by both its ways", () => {
    for (const visitor of VISITOR) {
      const pages = all.filter(({ from, to, verdict }) =>
        from === visitor && /svc\/web|node-1/.test(to) && verdict === "pass");
      expect(pages).toHaveLength(2);
      expect(new Set(pages.flatMap(({ backends }) => [...backends.keys()])).size).toBe(1);
    }
  });

  it("sources that a pod may not have are dropped before any policy", () => {
    const spoofed = all.find(({ from }) => from === SPOOFED)!;
    expect(spoofed).toMatchObject({ verdict: "drop: spoofed-source", stages: [], flows: 1 });
    const blocked = all.find(({ from }) => from === BLOCKED)!;
    expect(blocked.stages).toMatchObject([["pre-dnat", expect.stringContaining("blocklist")]]);
    expect(all.some(({ from, verdict }) => from === VISITOR[0] && verdict === "pass")).toBe(true);
  });
});

describe("start-report: npm start", () => {
  const out = join(folder, "out.pcapng");
  let margay: (...args: string[]) => Run;
  let run: Run;
  beforeAll(async () => {
    margay = await buildCommand("start");
    run = margay("replay", CAPTURE, "--state", MANIFESTS, "--out", out);
  }, 120_000);

  it("shop-checked: margay check finds nothing wrong in the shop", () => {
    const checked = margay("check", MANIFESTS);
    expect(checked.error + checked.text).not.toMatch(/\berror\b {2}/);
    expect(checked.status).toBe(0);
  });

  it("shop-tested: every test of the shop passes", () => {
    const tested = margay("test", MANIFESTS);
    expect(tested.text).toMatch(/\d+ tests, (\d+ passed, )?.*flows/);
    expect(tested.status, tested.text + tested.error).toBe(0);
  });

  it("reports conversations, verdicts, rules as their authors wrote them, and the core", () => {
    expect(run.error).toBe("");
    expect(run.status).toBe(0);
    expect(run.lines).toContain(`core ${coreHash()} (build/margay.wasm, the bytes that VPP runs)`);
    const at = run.lines.findIndex((line) => /shop\/web +shop\/svc\/api:80\/tcp +pass$/.test(line));
    expect(at).toBeGreaterThan(0);
    expect(run.lines[at + 1]).toMatch(
      /^ +egress +examples\/shop\/web\.yaml:\d+ {2}NetworkPolicy shop\/web egress\[0\]/);
    expect(run.lines[at + 2]).toMatch(
      /^ +ingress +examples\/shop\/api\.yaml:\d+ {2}NetworkPolicy shop\/api ingress\[0\]/);
    expect(run.text).toMatch(/^ {2}policy-denied +\d+$/m);
    expect(run.text).toMatch(/^ {2}spoofed-source +\d+$/m);
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
    expect(names.size).toBeGreaterThan(12);
    if (!tsharkInstalled) return;
    expect(tsharkFilter(out, BAD_CHECKSUM)).toEqual([]);
    expect(tsharkFilter(out, GOOD_CHECKSUM).length).toBe(packets.length);
    expect(tsharkFilter(out, "ip.src == 203.0.113.80 && tcp.srcport == 80").length)
      .toBeGreaterThan(10);
    expect(tsharkFilter(out, "ip.dst == 203.0.113.80 || ipv6.dst == 2001:db8:80::80")).toEqual([]);
    // Resets to those who asked where nobody is.
    expect(tsharkFilter(out, "tcp.flags.reset == 1 && tcp.srcport in {80, 81}").length).toBe(4);
  });
});
