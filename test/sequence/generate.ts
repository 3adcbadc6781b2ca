// A random sequence, made while the program and the twin run it, for what is sent back depends on
// what came out. Returned as plain steps, which other runs repeat.
import { Random } from "../policy/random.ts";
import { dumpOfEngine } from "./dump.ts";
import type { Histogram } from "./histogram.ts";
import { Pair, type Step } from "./run.ts";
import { changedSite, randomSite } from "./site.ts";
import { Traffic } from "./traffic.ts";

export interface Sequence {
  seed: number;
  steps: Step[];
  /** What the program said of each packet, one packet a frame. */
  lines: string[];
  /** Its session table at the end. */
  sessions: string[];
  /** Where it disagrees with the twin. */
  report?: string;
}
/** From a moment to a day. */
const JUMPS_MS = [7, 300, 300, 1000, 6000, 21_000, 45_000, 70_000, 700_000, 4_000_000];

export async function generate(
  seed: number, packets: number, histogram: Histogram,
): Promise<Sequence> {
  const random = new Random(seed);
  const pair = new Pair();
  const steps: Step[] = [];
  let site = randomSite(random.fork());
  const traffic = new Traffic(random.fork(), site);
  const take = async (step: Step): Promise<string | undefined> => {
    steps.push(step);
    return pair.step(step);
  };
  const end = (report?: string): Sequence => {
    const sessions = dumpOfEngine(pair.engine);
    return { seed, steps, lines: pair.lines, sessions, ...(report ? { report } : {}) };
  };
  let report = await take({ do: "clock", nowMs: random.pick([1_000_000, 0xffff_0000]) }) ??
    await take({ do: "push", site });
  for (let i = 0; i < packets && !report; i++) {
    const arrival = traffic.next();
    steps.push({ do: "packet", arrival });
    const { outcome, report: wrong } = pair.packet(arrival);
    histogram.add(outcome);
    if (wrong) return end(wrong);
    traffic.learn(outcome);
    if (random.chance(0.015)) {
      const nowMs = (pair.nowMs + random.pick(JUMPS_MS)) >>> 0;
      report ??= await take({ do: "clock", nowMs });
    }
    if (random.chance(0.006)) report ??= await take({ do: "age" });
    if (random.chance(0.012)) {
      site = changedSite(random.fork(), site);
      traffic.change(site);
      report ??= await take({ do: "push", site });
    }
    if (random.chance(0.003)) report ??= await take({ do: "restart" });
  }
  return end(report ?? await take({ do: "look" }));
}
