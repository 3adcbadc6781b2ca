// How a packet's clocks split: the plugin with stop-watches (split.c) at 10,000 and a million
// flows, beside the same rounds without them.

import type { Bed } from "./bed.ts";
import { buildTimedPlugin } from "./build.ts";
import { trafficOf } from "./measure.ts";
import { type Install, pause, Rig } from "./rig.ts";
import { costOf, median } from "./runtime.ts";

const ROUNDS = 5, ROUND_MS = 500;
const bedOf = (sessions: number): Bed => ({ family: 4, peer: "cnat", services: 1, sessions });
const FLOWS = [10_000, 1_000_000];

export interface Split {
  flows: number;
  /** Clocks a packet of the node as it is, and with the watches in it. */
  plain: number;
  watched: number;
  parts: Record<string, number>;
}

/** Clocks a packet by part, of the thread that took the most packets. */
export function parseSplit(text: string): Record<string, number> {
  const threads = text.split(/^thread \d+ packets /m).slice(1);
  const most = threads.reduce((best, each) => (parseInt(each) > parseInt(best) ? each : best), "0");
  return Object.fromEntries([...most.matchAll(/^([a-z]+) ([\d.]+)\s*$/gm)]
    .map(([, part, clocks]) => [part!, Number(clocks)]));
}

async function rounds(
  install: Install, flows: number, plugin: string, watched: boolean,
): Promise<{ clocks: number; parts: Record<string, number> }> {
  const rig = await Rig.start({ ...install, plugin }, bedOf(Math.max(flows, 20_000)));
  try {
    const traffic = trafficOf(rig);
    await rig.flows("margay", traffic, { count: flows });
    await rig.burst("margay", traffic, flows);
    await rig.flows("margay", traffic, { count: flows, random: true });
    await rig.stream("split", "margay", traffic);
    const clocks: number[] = [], parts: Record<string, number>[] = [];
    for (let k = 0; k < ROUNDS; k++) {
      // No enabled stream: nobody writes the watches meanwhile.
      if (watched) await rig.vpp.quietly("bench split clear");
      const nodes = await rig.measure("split", "margay", ROUND_MS);
      await pause(20);
      clocks.push(costOf(nodes, /^margay-/).clocks);
      if (watched) parts.push(parseSplit(await rig.vpp.command("bench split")));
    }
    const names = Object.keys(parts[0] ?? {});
    return {
      clocks: median(clocks),
      parts: Object.fromEntries(names.map((name) =>
        [name, median(parts.map((each) => each[name] ?? 0))])),
    };
  } finally {
    await rig.close();
  }
}

export async function splitUp(install: Install, log: (text: string) => void): Promise<Split[]> {
  const made: Split[] = [];
  const timed = buildTimedPlugin(install);
  for (const flows of FLOWS) {
    const plain = await rounds(install, flows, install.plugin, false);
    const { clocks, parts } = await rounds(install, flows, timed, true);
    if (!Object.keys(parts).length) throw new Error("the stop-watches said nothing");
    made.push({ flows, plain: plain.clocks, watched: clocks, parts });
    log(`split, ${flows} flows: ${plain.clocks.toFixed(1)}, watched ${clocks.toFixed(1)}: ${
      Object.entries(parts).map(([part, value]) => `${part} ${value}`).join(", ")}`);
  }
  return made;
}

const MEANS: Record<string, string> = {
  fill: "headers copied into windows, slots filled",
  parse: "into Wasm; parse, source check, hash, to the first prefetch",
  match: "Wasm: buckets' tags compared",
  carry: "Wasm: keys compared, rewriting, counters",
  prefetch: "the import's own calls",
  apply: "verdicts read, windows copied back",
  enqueue: "packets handed to the next nodes",
};

export function splitSection(splits: Split[]): string {
  const line = (cells: (string | number)[]): string => `| ${cells.join(" | ")} |`;
  const heads = splits.map(({ flows }) => `${flows.toLocaleString("en")} flows`);
  return [
    "## how the figure splits", "",
    "Clocks a packet of established flows, by stop-watches in a build for the benches (split.c):",
    "", line(["part", ...heads, "what it is"]), line(Array(heads.length + 2).fill("---")),
    ...Object.entries(MEANS).map(([part, means]) =>
      line([part, ...splits.map(({ parts }) => (parts[part] ?? 0).toFixed(1)), means])),
    line(["node, watched", ...splits.map(({ watched }) => watched.toFixed(1)), "`show runtime`"]),
    line(["node, as it is", ...splits.map(({ plain }) => plain.toFixed(1)), "`show runtime`"]), "",
  ].join("\n");
}
