// Packets of sequences, damaged: flows, replies, fragments, ICMP errors and garbage of a node with
// Services and NAT, each hurt in some bit, byte or length, with pushes and checkpoints in between.
// Nothing traps, every packet has a verdict and a counted reason, and what leaves is as well formed
// as it may be: headers whole, the IPv4 checksum right, an answer's sums right, addresses of the
// same family. FUZZ_SEED repeats a run; a tenth of FUZZ_PACKETS packets.
import { expect, test } from "vitest";
import { Reason, Verdict } from "../../assembly/layout.ts";
import type { Result } from "../../host/dataplane/dataplane.ts";
import { Random } from "../policy/random.ts";
import { sum16 } from "../packets.ts";
import type { Arrival } from "../reference/conntrack.ts";
import { headersOf, isFault } from "../reference/header.ts";
import { malformed } from "../reference/wellformed.ts";
import { seedOf } from "../seed.ts";
import { Engine } from "../sequence/engine.ts";
import { generate } from "../sequence/generate.ts";
import { Histogram } from "../sequence/histogram.ts";
import type { Step } from "../sequence/run.ts";
import { damaged, mended, summed } from "./mutate.ts";

const seed = seedOf("FUZZ_SEED");
const packets = Math.ceil(Number(process.env["FUZZ_PACKETS"] ?? 200_000) / 10);
/** Packets of one sequence, and how often each is sent, each time hurt otherwise. */
const OF_ONE = 250, TIMES = 8;

const PASSES = new Set([
  Reason.Established, Reason.Allowed, Reason.Untracked, Reason.NeighbourDiscovery, Reason.Related,
  Reason.Fragment, Reason.Forwarded,
]);
const ANSWERED = new Set([Reason.PolicyDenied, Reason.NoBackend, Reason.UnknownServicePort]);

/** What is wrong with a result; undefined: nothing. */
function wrong({ bytes }: Arrival, { verdict, reason, bytes: out }: Result): string | undefined {
  if (Reason[reason] === undefined || reason === Reason.None) return "no reason";
  if (verdict === Verdict.Drop) return PASSES.has(reason) || out ? "dropped and passes" : undefined;
  const answered = verdict === Verdict.Reply && ANSWERED.has(reason);
  if (!answered && !(verdict === Verdict.Pass && PASSES.has(reason))) return "verdict and reason";
  if (!out || out[0]! >> 4 !== bytes[0]! >> 4) return "no bytes, or of another family";
  const came = headersOf(bytes), left = headersOf(out);
  if (isFault(came)) return `let through: ${came.fault}`;
  if (isFault(left)) return `left as: ${left.fault}`;
  if (answered) return sumsWrong(out);
  if (out.length !== came.total || left.protocol !== came.protocol) return "another length";
  if (left.hopLimit !== came.hopLimit) return "another hop limit";
  if (reason === Reason.Fragment) return left.laterFragment ? undefined : "no later fragment";
  return malformed(out);
}
/** Of an answer: both checksums. */
function sumsWrong(out: Uint8Array): string | undefined {
  const four = out[0]! >> 4 === 4, at = four ? 20 : 40;
  if (four && sum16(out.subarray(0, 20)) !== 0xffff) return "IPv4 checksum of an answer";
  const protocol = out[four ? 9 : 6]!, length = out.length - at;
  const pseudo = protocol === 1 ? []
    : [...out.subarray(four ? 12 : 8, at), 0, 0, length >> 8, length & 255, 0, protocol];
  return sum16(Uint8Array.from(pseudo), out.subarray(at)) === 0xffff ? undefined
    : "checksum of an answer";
}

function hurt(random: Random, arrival: Arrival, other: Uint8Array): Arrival {
  if (random.chance(0.25)) return arrival;
  let bytes = damaged(random, arrival.bytes, other);
  if (random.chance(0.5)) bytes = summed(bytes);
  else if (random.chance(0.3)) bytes = mended(bytes);
  return { ...arrival, bytes };
}

/** Bits of saved sessions flipped, behind the header, which is checked by itself. */
function hurtSessions(random: Random, saved: Uint8Array): Uint8Array {
  const out = saved.slice();
  for (let i = Math.ceil((out.length - 32) / 40); i > 0; i--) {
    out[32 + random.below(out.length - 32)]! ^= 1 << random.below(8);
  }
  return out;
}

test("fuzz-checkpoint: damaged sessions are taken or left, and nothing traps", async () => {
  let taken = 0;
  for (let round = 0; round * 4000 < packets; round++) {
    const random = new Random(seed + round);
    const { steps } = await generate(seed + round, OF_ONE, new Histogram());
    const site = steps.flatMap((step) => (step.do === "push" ? [step.site] : [])).at(-1)!;
    const all = steps.flatMap((step) => (step.do === "packet" ? [step.arrival] : []));
    const engine = new Engine();
    await engine.push(site);
    engine.run(all, 1_000_000);
    const saved = engine.dataplane.saveSessions(1_000_000);
    for (let i = 0; i < 8; i++) {
      const next = new Engine();
      await next.push(site);
      taken += next.dataplane.restoreSessions(0, hurtSessions(random, saved), 1_000_000);
      for (const result of next.run(all, 1_000_000)) {
        expect(Reason[result.reason], `FUZZ_SEED=${seed + round}`).toBeDefined();
      }
      next.dataplane.age(0, 1_000_000, 1 << 20);
      expect(next.dataplane.traps(), `FUZZ_SEED=${seed + round}`).toEqual([]);
    }
  }
  expect(taken).toBeGreaterThan(0);
}, 3_600_000);

test("fuzz-sequences: damaged packets of flows never trap, and leave well formed", async () => {
  const met = new Map<string, number>();
  for (let done = 0, round = 0; done < packets; round++) {
    const random = new Random(seed + round);
    const { steps } = await generate(seed + round, OF_ONE, new Histogram());
    const engine = new Engine();
    let nowMs = 1_000_000, site: (Step & { do: "push" })["site"] | undefined;
    const all = steps.flatMap((step) => (step.do === "packet" ? [step.arrival] : []));
    for (const step of steps) {
      if (step.do === "clock") nowMs = step.nowMs;
      else if (step.do === "push") await engine.push(site = step.site);
      else if (step.do === "age") engine.dataplane.age(0, nowMs, 1 << 20);
      else if (step.do === "restart") await engine.restart(site!, nowMs);
      if (step.do !== "packet") continue;
      const frame = Array.from({ length: TIMES }, () =>
        hurt(random, step.arrival, random.pick(all).bytes));
      done += TIMES;
      const where = `FUZZ_SEED=${seed + round}`;
      const results = engine.run(frame, nowMs);
      expect(engine.dataplane.traps(), where).toEqual([]);
      for (const [i, result] of results.entries()) {
        const name = Reason[result.reason] ?? String(result.reason);
        met.set(name, (met.get(name) ?? 0) + 1);
        const why = wrong(frame[i]!, result);
        if (why === undefined) continue;
        const hex = Buffer.from(frame[i]!.bytes).toString("hex");
        expect.fail(`${where}: ${name}, ${why}: at ${frame[i]!.interface} ${hex}`);
      }
    }
  }
  const lines = [...met].sort((a, b) => b[1] - a[1]).map(([name, n]) => `${n} ${name}`);
  console.log(`FUZZ_SEED=${seed}: ${lines.join(", ")}`);
  for (const name of ["Established", "Related", "Fragment", "NoBackend", "SctpFragment"]) {
    expect([...met.keys()]).toContain(name);
  }
}, 3_600_000);
