// The program against its slow twin on random sequences of packets, pushes, checkpoints and clock
// jumps: verdict, reason, every byte that leaves, the backend, and the session table at the end;
// and the same packets in frames of other sizes. SEQUENCE_SEED repeats a run, SEQUENCE_PACKETS
// lengthens it (npm run sessions:long: a million).
import { expect, test } from "vitest";
import { Random } from "../policy/random.ts";
import { seedOf } from "../seed.ts";
import { generate, type Sequence } from "./generate.ts";
import { Histogram, LEAST, LEAST_PASSED } from "./histogram.ts";
import { runAll, runCut } from "./run.ts";
import { shortest, shortestCut, textOf } from "./shrink.ts";

const seed = seedOf("SEQUENCE_SEED");
const packets = Number(process.env["SEQUENCE_PACKETS"] ?? 20_000);
/** Of one node. */
const PACKETS = 500;

async function reportOf({ seed: own, steps, report }: Sequence): Promise<string> {
  const first = await runAll(steps);
  const short = first ? await shortest(steps.slice(0, first.at + 1)) : steps;
  const again = await runAll(short);
  return [
    `SEQUENCE_SEED=${own} SEQUENCE_PACKETS=${PACKETS}`, report, "shortened:", again?.report,
    textOf(short),
  ].join("\n");
}

async function cutReportOf({ seed: own, steps }: Sequence, report: string): Promise<string> {
  const { steps: short, size } = await shortestCut(steps);
  const both = await Promise.all([1, size].map((each) => runCut(short, () => each)));
  const [one, many] = both.map((each) => [...each.lines, ...each.sessions].join("\n"));
  return [
    `SEQUENCE_SEED=${own} SEQUENCE_PACKETS=${PACKETS}`, report, "shortened, in frames of 1:", one,
    `of ${size}:`, many, textOf(short),
  ].join("\n");
}

/** The first packet that comes out otherwise in frames of other sizes. */
async function differsCut(
  { steps, lines, sessions }: Sequence, cut: () => number, name: string,
): Promise<string | undefined> {
  const other = await runCut(steps, cut);
  const at = lines.findIndex((line, i) => line !== other.lines[i]);
  if (at >= 0) {
    return `packet ${at} of frames of 1 and of ${name}:\n  ${lines[at]}\n  ${other.lines[at]}`;
  }
  const session = [...sessions, ...other.sessions].find((line) =>
    !sessions.includes(line) || !other.sessions.includes(line));
  return session && `the session table behind frames of ${name}: ${session}`;
}

test("sequence-twin: the program and the twin agree on every packet of random sequences, and " +
  "sequence-cut: wherever frames are cut", async () => {
  const histogram = new Histogram();
  const random = new Random(seed);
  for (let n = 0; n * PACKETS < packets; n++) {
    const sequence = await generate(seed + n, Math.min(PACKETS, packets), histogram);
    if (sequence.report) expect.fail(await reportOf(sequence));
    const cuts: [string, () => number][] = [
      ["7", () => 7], ["256", () => 256],
      ["random sizes", () => random.between(1, random.pick([4, 40, 256]))],
    ];
    const [name, cut] = cuts[n % cuts.length]!;
    const report = await differsCut(sequence, cut, name);
    if (report) expect.fail(await cutReportOf(sequence, report));
  }
  console.log([`SEQUENCE_SEED=${seed}`, ...histogram.lines()].join("\n"));
  // A few packets repeat a report; they need not show everything.
  if (packets < 10_000) return;
  const rule = `under ${100 * LEAST} %, or under ${100 * LEAST_PASSED} % that pass`;
  expect(histogram.missing(), rule).toEqual([]);
}, 7_200_000);
