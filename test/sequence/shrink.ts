// From a sequence of steps that shows a disagreement to a short one that still does, and that as
// text: whole runs of steps are taken away, then single ones, as long as it shows.
import { stateText } from "../policy/shrink.ts";
import type { Site } from "../reference/site.ts";
import { runAll, runCut, type Step } from "./run.ts";

/** Do the steps show it? As a text that is equal for two shows of one fault; undefined: no. */
type Shows = (steps: readonly Step[]) => Promise<string | undefined>;

/** At most `tries` sequences are run. */
async function shrunk(steps: readonly Step[], shows: Shows, tries: number): Promise<Step[]> {
  const kind = await shows(steps);
  let best = [...steps];
  for (let part = Math.ceil(best.length / 2); part >= 1; part = part === 1 ? 0 : part >> 1) {
    for (let from = best.length - part; from >= 0; from -= part) {
      if (tries-- <= 0) return best;
      const next = [...best.slice(0, from), ...best.slice(from + part)];
      if (await shows(next).catch(() => undefined) === kind) best = next;
    }
  }
  return best;
}

/** The least steps on which program and twin disagree. */
export function shortest(steps: readonly Step[], tries = 400): Promise<Step[]> {
  return shrunk(steps, async (next) => {
    const found = await runAll(next);
    return found && found.at === next.length - 1 ? kindOf(found.report) : undefined;
  }, tries);
}
/** The least on which frames of one packet and of others do, and of how many. */
export async function shortestCut(
  steps: readonly Step[], tries = 400,
): Promise<{ steps: Step[]; size: number }> {
  for (const size of [256, 7, 2, 3, 5, 11, 16, 23, 40, 64]) {
    const shows: Shows = async (next) => {
      if (next.find((each) => each.do !== "clock")?.do !== "push") return undefined;
      const one = await runCut(next, () => 1), many = await runCut(next, () => size);
      const lines = [...one.lines, ...one.sessions], others = [...many.lines, ...many.sessions];
      return lines.some((line, i) => line !== others[i]) ? "differs" : undefined;
    };
    if (await shows(steps)) return { steps: await shrunk(steps, shows, tries), size };
  }
  return { steps: [...steps], size: 1 };
}
/** Without addresses and bytes: two reports of one fault. */
function kindOf(report: string): string {
  const [what = "", ...lines] = report.split("\n");
  if (!what.startsWith("packet")) return what;
  return lines.map((line) => line.trim().split(/ +/).slice(0, 3).join(" ")).join("|");
}

export function textOf(steps: readonly Step[]): string {
  return steps.map((step) => {
    if (step.do === "packet") {
      const { interface: at, bytes, partial } = step.arrival;
      const more = partial ? " partial" : "";
      return `packet at ${at}${more} ${Buffer.from(bytes).toString("hex")}`;
    }
    if (step.do === "clock") return `clock ${step.nowMs}`;
    return step.do === "push" ? `push\n${siteText(step.site)}` : step.do;
  }).join("\n");
}
function siteText({ state, devices, ...rest }: Site): string {
  const plain = (_: string, value: unknown): unknown =>
    value instanceof Map ? Object.fromEntries(value) : value;
  return `${stateText(state, devices)}\n${JSON.stringify(rest, plain)}`;
}
