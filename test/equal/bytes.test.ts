// Equal bytes: two packet sequences through Node, the native core and VPP come out the same:
// packets, verdicts, counters, session dump. What VPP's own ip4-input and ip6-input drop (bad
// checksum, version, length, TTL) is an equal drop outside Margay's
// counters.
import { createHash } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { Reason, Verdict } from "../../assembly/layout.ts";
import { configureRecord } from "../../host/compile/records.ts";
import { bindRecords, Compiler } from "../../host/compile/program.ts";
import { addonPath } from "../../host/dataplane/addon.ts";
import { coreFile } from "../../host/dataplane/core.ts";
import type {
  Dataplane, Push, Result, SessionView, VppResult,
} from "../../host/dataplane/dataplane.ts";
import { NativeDataplane } from "../../host/dataplane/native.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { VppReplay } from "../../host/replay/vpp.ts";
import { vppInstall } from "../../host/vpp/install.ts";
import { concat } from "../../host/dataplane/record.ts";
import { reasonText } from "../../host/model/names.ts";
import type { Program } from "../../host/model/program.ts";
import { BUDGETS, core, shop } from "../shop.ts";
import { makeSequence, type Step } from "./sequence.ts";
import { makeTranslations, market } from "./translations.ts";

const budgets = { ...BUDGETS, workers: 1 };
const hasNative = addonPath() !== undefined;
const vpp = vppInstall();
if (!hasNative) console.log("equal bytes: native skipped, not built (npm run build:native)");
if (typeof vpp === "string") console.log(`equal bytes: VPP skipped, ${vpp}`);

/** A sequence, and what the Node engine made of it. */
interface Played {
  configuration: Uint8Array;
  first: Push;
  steps: Step[];
  results: Result[];
  counters: Map<Reason, bigint>;
  sessions: SessionView[];
}

async function play(
  program: Program,
  make: (node: NodeDataplane, compiler: Compiler) => Promise<Pick<Played, "steps" | "results">
    & { push: Push }>,
): Promise<Played> {
  const configuration = concat([configureRecord(budgets), bindRecords(program)]);
  const node = new NodeDataplane(core);
  node.stage(configuration);
  const { push, steps, results } = await make(node, new Compiler(budgets));
  const { counters, sessions } = { counters: node.counters(), sessions: node.sessions() };
  expect(node.traps()).toEqual([]);
  return { configuration, first: push, steps, results, counters, sessions };
}
const PLAYS = {
  "of all kinds": () => play(shop(), async (node, compiler) => {
    const push = await compiler.compile(shop(), 1);
    node.push(push);
    return { push, ...await makeSequence(node, compiler) };
  }),
  translated: () => play(market(), (node, compiler) =>
    makeTranslations(node, compiler, market())),
};
const NAMES = ["of all kinds", "translated"] as const;
const played = {} as Record<(typeof NAMES)[number], Played>;

beforeAll(async () => {
  for (const name of NAMES) played[name] = await PLAYS[name]();
});

function run(dataplane: Dataplane, { configuration, first, steps }: Played): Result[] {
  dataplane.stage(configuration);
  dataplane.push(first);
  return steps.flatMap((step) => {
    if (step.do === "push") dataplane.push(step.push);
    if (step.do === "stage") dataplane.stage(step.records);
    if (step.do === "age") dataplane.age(0, step.nowMs, step.budget);
    return step.do === "send" ? dataplane.process(0, step.packets, step.clock) : [];
  });
}
const hash = (all: { bytes: Uint8Array | undefined }[]): string => {
  const sum = createHash("sha256");
  for (const each of all) sum.update(each.bytes ?? "-");
  return sum.digest("hex").slice(0, 12);
};

test("the sequences are worth comparing: every kind of outcome is in them", () => {
  const reasons = (name: (typeof NAMES)[number]): Set<string> =>
    new Set(played[name].results.map((each) => reasonText(each.reason)));
  const seen = reasons("of all kinds");
  for (const reason of [
    "established", "allowed", "policy-denied", "spoofed-source", "no-session", "truncated",
    "bad-version", "bad-header-length", "bad-total-length", "bad-checksum", "time-expired",
    "tiny-fragment", "later-fragment", "bad-tcp-flags",
  ]) expect(seen).toContain(reason);
  const { sessions, results } = played["of all kinds"];
  expect(sessions.length).toBeGreaterThan(50);
  expect(results.filter((each) => each.direction === 1).length).toBeGreaterThan(50);
  const translations = reasons("translated");
  for (const reason of [
    "established", "allowed", "related", "fragment", "later-fragment", "sctp-fragment",
    "no-backend", "policy-denied", "source-range", "unknown-service-port",
    "unknown-service-address", "nat-ports-exhausted",
  ]) expect(translations).toContain(reason);
  const answers = played.translated.results.filter((each) => each.verdict === Verdict.Reply);
  expect(answers.length).toBeGreaterThan(100);
});

test.each(NAMES)("counters-add-up: packets in are packets by reason, %s", (name) => {
  const { counters, results } = played[name];
  const sum = [...counters.values()].reduce((a, b) => a + b, 0n);
  expect(sum).toBe(BigInt(results.length));
  for (const [reason, packets] of counters) {
    const met = results.filter((each) => each.reason === reason).length;
    expect([reasonText(reason), packets]).toEqual([reasonText(reason), BigInt(met)]);
  }
});

describe.skipIf(!hasNative)("in the native core", () => {
  test.each(NAMES)(
    "equal-bytes-native: Node and native give equal packets, verdicts, counters, sessions; %s",
    (name) => {
      const native = new NativeDataplane(core);
      try {
        const theirs = run(native, played[name]);
        expect(theirs).toEqual(played[name].results);
        expect(native.counters()).toEqual(played[name].counters);
        expect(native.sessions()).toEqual(played[name].sessions);
        console.log(`equal bytes: native, ${theirs.length} packets, ${hash(theirs)}`);
      } finally {
        native.close();
      }
    });
});

describe.skipIf(typeof vpp === "string")("in VPP", () => {
  test.each(NAMES)(
    "equal-bytes-vpp: Node and VPP give equal packets, verdicts, counters and sessions; %s",
    async (name) => {
      if (typeof vpp === "string") return;
      const { results, counters, sessions } = played[name];
      const { theirs, theirCounters, theirSessions } = await runInVpp(vpp, played[name]);
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
      if (name === "of all kinds") expect(before).toBeGreaterThan(0);
      console.log(
        `equal bytes: VPP, ${theirs.length} packets, ${before} of them dropped alike before the ` +
          `plugin, ${hash(theirs)}`,
      );
    }, 120_000);
});

async function runInVpp(
  install: { prefix: string; plugin: string }, { configuration, first, steps }: Played,
): Promise<{
  theirs: VppResult[]; theirCounters: Map<Reason, bigint>; theirSessions: SessionView[];
}> {
  const engine = await VppReplay.start({ ...install, core: coreFile() });
  try {
    await engine.stage(configuration);
    await engine.push(first);
    const theirs: VppResult[] = [];
    for (const step of steps) {
      if (step.do === "push") await engine.push(step.push);
      if (step.do === "stage") await engine.stage(step.records);
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
