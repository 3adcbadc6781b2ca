// Equal bytes: one set of packet sequences through Node, the native core and VPP comes out the
// same: packets, verdicts, counters, session dump. What VPP's own ip4-input and ip6-input drop (bad
// checksum, version, length, TTL; options take another way) is an equal drop outside Margay's
// counters.
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { Reason, Verdict } from "../../assembly/layout.ts";
import { configureRecord } from "../../host/compile/records.ts";
import { bindRecords, Compiler } from "../../host/compile/program.ts";
import { addonPath } from "../../host/dataplane/addon.ts";
import type {
  Dataplane, Push, Result, SessionView, VppResult,
} from "../../host/dataplane/dataplane.ts";
import { NativeDataplane } from "../../host/dataplane/native.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { VppReplay } from "../../host/replay/vpp.ts";
import { vppInstall } from "../../host/vpp/install.ts";
import { concat } from "../../host/dataplane/record.ts";
import { reasonText } from "../../host/model/names.ts";
import { BUDGETS, core, shop } from "../shop.ts";
import { makeSequence, type Step } from "./sequence.ts";

const budgets = { ...BUDGETS, workers: 1 };
const configuration = concat([configureRecord(budgets), bindRecords(shop())]);
const hasNative = addonPath() !== undefined;
const vpp = vppInstall();
if (!hasNative) console.log("equal bytes: native skipped, not built (npm run build:native)");
if (typeof vpp === "string") console.log(`equal bytes: VPP skipped, ${vpp}`);

let steps: Step[] = [];
let results: Result[] = [];
let first: Push;
let counters: Map<Reason, bigint>;
let sessions: SessionView[];

beforeAll(async () => {
  const compiler = new Compiler();
  first = await compiler.compile(shop(), 1);
  const node = new NodeDataplane(core);
  node.stage(configuration);
  node.push(first);
  ({ steps, results } = await makeSequence(node, compiler));
  counters = node.counters();
  sessions = node.sessions();
});

function run(dataplane: Dataplane): Result[] {
  dataplane.stage(configuration);
  dataplane.push(first);
  return steps.flatMap((step) => {
    if (step.do === "push") dataplane.push(step.push);
    if (step.do === "age") dataplane.age(0, step.nowMs, step.budget);
    return step.do === "send" ? dataplane.process(0, step.packets, step.clock) : [];
  });
}
const hash = (all: { bytes: Uint8Array | undefined }[]): string => {
  const sum = createHash("sha256");
  for (const each of all) sum.update(each.bytes ?? "-");
  return sum.digest("hex").slice(0, 12);
};

test("the sequence is worth comparing: every kind of outcome is in it", () => {
  const seen = new Set(results.map((each) => reasonText(each.reason)));
  for (const reason of [
    "established", "allowed", "policy-denied", "spoofed-source", "no-session", "truncated",
    "bad-version", "bad-header-length", "bad-total-length", "bad-checksum", "time-expired",
    "tiny-fragment", "later-fragment", "bad-tcp-flags",
  ]) expect(seen).toContain(reason);
  expect(sessions.length).toBeGreaterThan(50);
  expect(results.filter((each) => each.direction === 1).length).toBeGreaterThan(50);
});

test("counters-add-up: packets in are packets by reason", () => {
  const sum = [...counters.values()].reduce((a, b) => a + b, 0n);
  expect(sum).toBe(BigInt(results.length));
  for (const [reason, packets] of counters) {
    const met = results.filter((each) => each.reason === reason).length;
    expect([reasonText(reason), packets]).toEqual([reasonText(reason), BigInt(met)]);
  }
});

test.skipIf(!hasNative)(
  "equal-bytes-native: Node and native give equal packets, verdicts, counters and sessions",
  () => {
    const native = new NativeDataplane(core);
    try {
      const theirs = run(native);
      expect(theirs).toEqual(results);
      expect(native.counters()).toEqual(counters);
      expect(native.sessions()).toEqual(sessions);
      console.log(`equal bytes: native, ${theirs.length} packets, ${hash(theirs)}`);
    } finally {
      native.close();
    }
  },
);

describe.skipIf(typeof vpp === "string")("in VPP", () => {
  test("equal-bytes-vpp: Node and VPP give equal packets, verdicts, counters and sessions",
    async () => {
      if (typeof vpp === "string") return;
      const { theirs, theirCounters, theirSessions } = await runInVpp(vpp);
      const counted = new Map(counters);
      let before = 0;
      theirs.forEach((each, i) => {
        const ours = results[i]!;
        if (each.reason === "vpp-input") {
          expect([i, ours.verdict]).toEqual([i, Verdict.Drop]);
          counted.set(ours.reason, counted.get(ours.reason)! - 1n);
          before++;
        } else {
          expect([i, each]).toEqual([i, ours]);
        }
      });
      for (const [reason, packets] of counted) if (packets === 0n) counted.delete(reason);
      expect(theirCounters).toEqual(counted);
      expect(theirSessions).toEqual(sessions);
      expect(before).toBeGreaterThan(0);
      console.log(
        `equal bytes: VPP, ${theirs.length} packets, ${before} of them dropped alike before the ` +
          `plugin, ${hash(theirs)}`,
      );
    }, 120_000);
});

async function runInVpp(install: { prefix: string; plugin: string }): Promise<{
  theirs: VppResult[]; theirCounters: Map<Reason, bigint>; theirSessions: SessionView[];
}> {
  const engine = await VppReplay.start({ ...install, core: resolve("build/margay.wasm") });
  try {
    await engine.stage(configuration);
    await engine.push(first);
    const theirs: VppResult[] = [];
    for (const step of steps) {
      if (step.do === "push") await engine.push(step.push);
      if (step.do === "age") await engine.age(step.nowMs, step.budget);
      if (step.do === "send") {
        theirs.push(...await engine.process(
          step.packets.map((each) => ({ ...each, clock: step.clock })),
        ));
      }
    }
    return {
      theirs, theirCounters: await engine.counters(), theirSessions: await engine.sessions(),
    };
  } finally {
    await engine.close();
  }
}
