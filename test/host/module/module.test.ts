// A policy that a user wrote: from its source to the door, what the door refuses and why, and the
// worked example, examples/policies/office-hours, beside generated policies in process().
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Reason, Verdict } from "../../../assembly/layout.ts";
import { openingPacket } from "../../../examples/capture/opening.ts";
import { bindRecords, Compiler } from "../../../host/compile/program.ts";
import { configureRecord } from "../../../host/compile/records.ts";
import { addonPath } from "../../../host/dataplane/addon.ts";
import type { Dataplane, VppResult } from "../../../host/dataplane/dataplane.ts";
import { NativeDataplane } from "../../../host/dataplane/native.ts";
import { concat } from "../../../host/dataplane/record.ts";
import { askDoor, buildModule, nameAbi, SourceError } from "../../../host/module/build.ts";
import { runModule } from "../../../host/module/run.ts";
import { replayInVpp } from "../../../host/replay/vpp.ts";
import { vppInstall } from "../../../host/vpp/install.ts";
import type { Program } from "../../../host/model/program.ts";
import { buildCommand } from "../../command.ts";
import { BUDGETS, CLIENT, core, shop, started, STRANGER } from "../../shop.ts";

const SOURCE = "examples/policies/office-hours/office-hours.ts";
const EVALUATE = `export function evaluate(
  packet: i32, protocol: i32, sourceHi: u64, sourceLo: u64, destinationHi: u64, destinationLo: u64,
  sourcePort: i32, destinationPort: i32, icmp: i32, nowSeconds: i32,
): i32`;

const vpp = vppInstall();
if (typeof vpp === "string") console.log(`skipped: a user's module in VPP (${vpp})`);
const folder = mkdtempSync(join(tmpdir(), "margay-module-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, text: string | Uint8Array): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const sourceOf = (name: string, body: string, before = ""): string =>
  file(`${name}.ts`, `${before}\n${EVALUATE} {\n${body}\n}\n`);

describe("the door, for users' modules", () => {
  const LOG = `@external("env", "log") declare function log(what: i32): void;`;
  const REFUSED: [string, string, string, string][] = [
    ["a loop", "module-loop", "let n = 0;\nfor (let i = 0; i < sourcePort; i++) n ^= i;\nreturn n;",
      ""],
    ["recursion", "module-recursion", "return down(sourcePort);",
      "function down(n: i32): i32 { return n == 0 ? 1 : down(n - 1) ^ n; }"],
    ["a foreign import", "module-foreign-import", "log(sourcePort); return 1;", LOG],
    ["a name of margay's that is none", "module-foreign-import", "return peek(sourcePort);",
      `@external("margay", "peek") declare function peek(at: i32): i32;`],
    ["state of its own", "module-forbidden-section", "count += 1; return count & 1;",
      "let count: i32 = 0;"],
    ["a table of numbers", "module-forbidden-section", "return PORTS[destinationPort & 3];",
      "const PORTS: StaticArray<i32> = [1, 2, 1, 2];"],
    ["a memory", "module-forbidden-instruction", "store<i32>(256, sourcePort); return 1;", ""],
  ];

  test.each(REFUSED)("user-module-refused: %s: %s", async (_what, reason, body, before) => {
    const wasm = await buildModule(sourceOf(`refused-${reason}`, body, before));
    expect(WebAssembly.validate(wasm as Uint8Array<ArrayBuffer>)).toBe(true);
    const answer = askDoor(wasm, core);
    expect(answer).toMatchObject({
      admitted: false, reason, advice: expect.stringMatching(/./),
    });
  });

  test("user-module-refused: another version of the ABI, and none", async () => {
    const wasm = await buildModule(sourceOf("allow", "return 1;"));
    expect(askDoor(wasm, core)).toEqual({ admitted: true });
    const { default: binaryen } = await import("binaryen");
    const bare = binaryen.parseText(`(module (func (export "evaluate")
      (param i32 i32 i64 i64 i64 i64 i32 i32 i32 i32) (result i32) (i32.const 1)))`).emitBinary();
    expect(askDoor(bare, core)).toMatchObject({ reason: "module-no-abi-version" });
    expect(askDoor(await nameAbi(bare, "evaluate/2"), core))
      .toMatchObject({ reason: "module-wrong-abi-version" });
    expect(askDoor(await nameAbi(bare), core)).toEqual({ admitted: true });
  });

  test("user-module-manifest: what the door refuses is an error of its manifest", async () => {
    const place = join(folder, "manifests");
    mkdirSync(place);
    const loop = "let n = 0;\nwhile (n < sourcePort) n += 3;\nreturn n;";
    writeFileSync(join(place, "loop.ts"), `${EVALUATE} {\n${loop}\n}\n`);
    writeFileSync(join(place, "policy.yaml"), `
apiVersion: margay.io/v1
kind: ModulePolicy
metadata: { name: loop }
spec:
  selector: all()
  types: [Ingress]
  module: loop.ts
`);
    const margay = await buildCommand("manifest");
    const said = /policy\.yaml:8:\d .*ModulePolicy loop [\s\S]*loop\.ts: .*module-loop at byte/;
    for (const run of [
      margay("check", place), margay("verdict", "--state", place, "--", "10.0.0.1 -> 10.0.0.2:80"),
    ]) {
      expect(run.text + run.error).toMatch(said);
      expect(run.status).toBeGreaterThan(0);
    }
  });

  test("user-module-tested: the example's own tests pass, through its manifest", async () => {
    const margay = await buildCommand("module");
    const run = margay("test", "examples/policies/office-hours");
    expect(run.text + run.error).toMatch(/5 tests, 5 passed/);
    expect(run.status).toBe(0);
  });

  test("what asc can't compile is said in asc's words", async () => {
    const broken = sourceOf("broken", "return nowhere;");
    await expect(buildModule(broken)).rejects.toThrow(/Cannot find name 'nowhere'/);
    await expect(buildModule(broken)).rejects.toThrow(SourceError);
  });

  test("user-module-command: margay module builds, asks and says", async () => {
    const said: string[] = [];
    const out = join(folder, "office-hours.wasm");
    expect(await runModule(SOURCE, { out }, (line) => said.push(line))).toBe(0);
    expect(said[0]).toMatch(/^office-hours\.wasm: \d+ bytes, ABI evaluate\/1: .*admitted.* by /);
    expect(readFileSync(out).subarray(0, 4)).toEqual(Buffer.from("\0asm"));
    expect(await runModule(out, {}, (line) => said.push(line))).toBe(0);
    const loop = sourceOf("loop", "let n = 0;\nwhile (n < sourcePort) n += 3;\nreturn n;");
    expect(await runModule(loop, {}, (line) => said.push(line))).toBe(1);
    expect(said.at(-1)).toMatch(/loop\.ts: .*refused.* by core .*: module-loop at byte \d+: /);
  });
});

describe("user-module: office hours beside generated policies", async () => {
  const wasm = await buildModule(SOURCE);
  /** Who calls on call, 10.0.0.9 and fd00::9, is test/shop.ts' stranger. */
  const program = (): Program => {
    const base = shop([
      { name: "web", action: "allow", protocol: "tcp", destinationPorts: [8080] },
    ]);
    for (const endpoint of base.endpoints) if (endpoint.ingress) endpoint.ingress = "desk";
    return {
      ...base,
      sets: [{ id: "on-call", type: "net", members: ["10.0.0.9", "fd00::9/128"] }],
      policies: [
        ...base.policies,
        { name: "office-hours", wasm, sets: ["on-call"] },
        {
          name: "desk",
          steps: [{ policy: "office-hours", onPass: 2 }, { policy: "web", onPass: 2 }],
        },
      ],
    };
  };
  const at = (text: string): number => Date.parse(text) / 1000;
  const MONDAY = "2026-11-23T", SATURDAY = "2026-11-28T", SUNDAY = "2026-11-29T";

  const packets = ([
    [CLIENT, "10.0.0.1", "10.0.1.1", 8080], [CLIENT, "fd00::1", "fd00:1::1", 8080],
    [STRANGER, "10.0.0.9", "10.0.1.1", 8080], [STRANGER, "fd00::9", "fd00:1::1", 8080],
    [CLIENT, "10.0.0.1", "10.0.1.1", 23], [STRANGER, "10.0.0.9", "10.0.1.1", 23],
  ] as const).map(([number, source, destination, destinationPort], i) => ({
    interface: number,
    bytes: openingPacket({
      protocol: "tcp", source, sourcePort: 4000 + i, destination, destinationPort,
    }),
  }));
  const said = (results: VppResult[]): string[] => results.map(({ verdict, reason }) => {
    if (verdict === Verdict.Pass) return "pass";
    if (typeof reason === "string") return reason;
    return reason === Reason.PolicyDenied ? "deny" : Reason[reason]!;
  });
  async function verdicts(nowSeconds: number, engine?: Dataplane): Promise<string[]> {
    const { dataplane } = await started(program(), BUDGETS, engine);
    const results = dataplane.process(0, packets, { nowMs: 1000, nowSeconds });
    dataplane.close();
    return said(results);
  }
  const OPEN = ["pass", "pass", "pass", "pass", "deny", "deny"];
  /** On call: the policy behind it is still asked, so the wrong port stays shut. */
  const SHUT = ["deny", "deny", "pass", "pass", "deny", "deny"];

  test.each([
    [`${MONDAY}07:00:00Z`, OPEN], [`${MONDAY}12:34:56Z`, OPEN], [`${MONDAY}17:59:59Z`, OPEN],
    [`${MONDAY}06:59:59Z`, SHUT], [`${MONDAY}18:00:00Z`, SHUT], ["2026-11-27T17:59:59Z", OPEN],
    [`${SATURDAY}12:00:00Z`, SHUT], [`${SUNDAY}12:00:00Z`, SHUT],
    ["1970-01-01T09:00:00Z", OPEN], ["2100-03-01T09:00:00Z", OPEN],
  ])("at %s", async (when, expected) => {
    expect(await verdicts(at(when))).toEqual(expected);
  });

  test.skipIf(addonPath() === undefined)("the same in the native engine", async () => {
    const native = () => new NativeDataplane(core, { workers: BUDGETS.workers });
    expect(await verdicts(at(`${MONDAY}12:34:56Z`), native())).toEqual(OPEN);
    expect(await verdicts(at(`${SATURDAY}12:00:00Z`), native())).toEqual(SHUT);
  });

  test.skipIf(typeof vpp === "string")("user-module-vpp: the same in VPP", async () => {
    if (typeof vpp === "string") return;
    for (const [when, expected] of [
      [`${MONDAY}12:34:56Z`, OPEN], [`${SATURDAY}12:00:00Z`, SHUT],
    ] as const) {
      const clock = { nowMs: 1000, nowSeconds: at(when) };
      const { results } = await replayInVpp({
        ...vpp, core: resolve("build/margay.wasm"),
        configuration: concat([
          configureRecord({ ...BUDGETS, workers: 1 }), bindRecords(program()),
        ]),
        pushes: [await new Compiler().compile(program(), 1)],
        packets: packets.map((packet) => ({ ...packet, clock })),
      });
      expect(said(results)).toEqual(expected);
    }
  }, 60_000);

  test("user-module-fresh: the module beside the example is its source's", () => {
    const committed = readFileSync("examples/policies/office-hours/office-hours.wasm");
    expect(Buffer.compare(committed, wasm)).toBe(0);
  });

  test("a connection opened in time outlives the hour", async () => {
    const { dataplane } = await started(program());
    const opening = { interface: CLIENT, bytes: openingPacket({
      protocol: "tcp", source: "10.0.0.1", sourcePort: 4000, destination: "10.0.1.1",
      destinationPort: 8080,
    }) };
    const noon = at(`${MONDAY}17:59:59Z`);
    const [first] = dataplane.process(0, [opening], { nowMs: 1000, nowSeconds: noon });
    const [again] = dataplane.process(0, [opening], { nowMs: 3000, nowSeconds: noon + 2 });
    expect([first!.verdict, again!.verdict]).toEqual([Verdict.Pass, Verdict.Pass]);
    dataplane.close();
  });
});
