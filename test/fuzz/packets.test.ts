// Packets of every kind, damaged: whatever comes in, nothing traps, every packet gets a verdict and
// a counted reason, what passes is well formed by a slow twin and bears a source that its sender
// may have, and every drop reason of the judging part is reached. FUZZ_SEED repeats a run,
// FUZZ_PACKETS lengthens it (npm run fuzz:long: ten million).
import { expect, test } from "vitest";
import { Reason, Verdict } from "../../assembly/layout.ts";
import { generate, type Case, type Packet } from "../policy/generate.ts";
import { REASONS } from "../policy/histogram.ts";
import { Random } from "../policy/random.ts";
import { BUDGETS, Runner } from "../policy/runner.ts";
import { headersOf, isFault } from "../reference/header.ts";
import { Node } from "../reference/node.ts";
import { inPrefix } from "../reference/rule.ts";
import { malformed } from "../reference/wellformed.ts";
import { addressNumber } from "../../host/model/address.ts";
import { seedOf } from "../seed.ts";
import { damaged, mended, summed } from "./mutate.ts";

const seed = seedOf("FUZZ_SEED");
const packets = Number(process.env["FUZZ_PACKETS"] ?? 200_000);
const FRAME = 256;
/** Packets of one node's state: a new one costs as much as some thousand packets. */
const STATE_PACKETS = Math.max(8, Math.ceil(packets / FRAME / 500)) * FRAME;

const PASSES = new Set([
  Reason.Established, Reason.Allowed, Reason.Untracked, Reason.NeighbourDiscovery, Reason.Related,
  Reason.Fragment,
]);
const name = (reason: Reason): string => Reason[reason] ?? `reason ${reason}`;

/** May this interface's endpoint send from the packet's source? Neighbour discovery from any. */
function sourceIsFine({ state, devices }: Case, packet: Packet): boolean {
  const node = new Node(state, devices);
  const from = node.at(packet.interface);
  const headers = headersOf(packet.bytes);
  if (isFault(headers) || !from) return false;
  if (from.kind !== "workload") return true;
  const { family } = headers;
  const source = addressNumber(headers.source) | (family === 4 ? 0xffff_0000_0000n : 0n);
  const { addresses, allowedSources } = from.workload;
  return [...addresses, ...(node.anySource ? allowedSources : [])]
    .some((text) => inPrefix(text, family, source));
}

test("fuzz-packets: damaged packets never trap, and never pass malformed or spoofed", async () => {
  const met = new Map<Reason, number>();
  for (let done = 0, round = 0; done < packets; round++) {
    const one = generate(seed + round, 400);
    const runner = new Runner({ ...BUDGETS, sessions4Max: 256, sessions6Max: 256 });
    await runner.load(one.state, one.devices);
    const random = new Random(seed + round);
    const sum = (): bigint =>
      [...runner.dataplane.counters().values()].reduce((a, b) => a + b, 0n);
    for (let k = 0; k < STATE_PACKETS / FRAME && done < packets; k++, done += FRAME) {
      const frame = Array.from({ length: FRAME }, () => hurt(random, one.packets));
      const before = sum();
      const results = runner.raw(frame, k % 4 === 0);
      const where = `FUZZ_SEED=${seed} round ${round} frame ${k}`;
      expect(runner.dataplane.traps(), where).toEqual([]);
      expect(sum() - before, where).toBe(BigInt(FRAME));
      for (const [i, { reason, verdict }] of results.entries()) {
        met.set(reason, (met.get(reason) ?? 0) + 1);
        const passes = PASSES.has(reason);
        const { bytes } = frame[i]!;
        if (verdict !== (passes ? Verdict.Pass : Verdict.Drop) || reason === Reason.None ||
          Reason[reason] === undefined) expect.fail(`${where} ${i}: ${verdict} ${name(reason)}`);
        if (!passes) continue;
        // A first fragment may have passed before it.
        const start = reason === Reason.Fragment ? "a fragment without the start" : undefined;
        const found = malformed(bytes);
        const why = found === start ? undefined : found ?? "a whole packet";
        const fine = reason === Reason.NeighbourDiscovery || sourceIsFine(one, frame[i]!);
        if (why === undefined && fine) continue;
        const hex = Buffer.from(bytes).toString("hex");
        expect.fail(`${where} ${i}: ${name(reason)} at ${frame[i]!.interface}, ` +
          `${why ?? "a source that is not its own"}: ${hex}`);
      }
    }
  }
  const lines = [...met].sort((a, b) => b[1] - a[1]).map(([reason, n]) => `${n} ${name(reason)}`);
  console.log(`FUZZ_SEED=${seed}: ${lines.join(", ")}`);
  const reached = new Set([...met.keys()].map(name));
  expect(REASONS.filter((each) => !reached.has(each))).toEqual([]);
}, 3_600_000);

/** A packet of the case, whole or damaged. */
function hurt(random: Random, from: Packet[]): Packet {
  const { interface: at, bytes } = random.pick(from);
  if (random.chance(0.15)) return { interface: at, bytes };
  let out = damaged(random, bytes, random.pick(from).bytes);
  if (random.chance(0.5)) out = summed(out);
  else if (random.chance(0.3)) out = mended(out);
  return { interface: random.chance(0.05) ? random.pick(from).interface : at, bytes: out };
}
