// Steps of a test, read: each does one thing to a cluster whose sessions live on.
//
//   open FLOW     send FLOW     reply FLOW     each with what to expect; allow when absent
//   apply FILES   delete "Kind namespace/name"   wait 90s
import { isAbsolute } from "node:path";
import type { Path } from "../input/place.ts";
import type { Place, Positions, Problem, Written } from "./place.ts";
import { ACTIONS, type ExpectationDocument, type StepDocument } from "./schema.ts";
import type { Expectation, FlowCase } from "./testfile.ts";

export type Step = { place: Place } & (
  | { kind: "open" | "send" | "reply"; flow: FlowCase; expected: Expectation }
  | { kind: "apply" | "delete"; what: Written[] }
  | { kind: "wait"; milliseconds: number }
);

/** A backend that is the one before's. */
export const SAME = "same";
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
/** The program's clock tells half of its numbers from the past. */
const WAIT_MS_MAX = 7 * 24 * 3_600_000;

/** What reading needs of the file around the steps. */
export interface StepReader {
  positions: Positions;
  problems: Problem[];
  /** Undefined where the text is no flow; its problem is put down then. */
  flowCase(text: string, path: Path): FlowCase | undefined;
}

/** What is wrong is among the reader's problems, and left out. */
export function readSteps(
  steps: readonly StepDocument[], path: Path, reader: StepReader,
): Step[] {
  const read = steps.flatMap((step, i): Step[] => {
    const one = readStep(step, [...path, i], reader);
    return one ? [one] : [];
  });
  const sends = (step: StepDocument): boolean =>
    step.open !== undefined || step.send !== undefined || step.reply !== undefined;
  if (!steps.some(sends)) {
    const message = "steps: none of them sends a packet, so nothing is tested";
    reader.problems.push({ ...reader.positions.key(path), message });
  }
  return read;
}

function readStep(step: StepDocument, path: Path, reader: StepReader): Step | undefined {
  const { positions } = reader;
  const problem = (at: Path, message: string): undefined => {
    reader.problems.push({ ...positions.key(at), message });
  };
  const actions = ACTIONS.filter((action) => step[action] !== undefined);
  const [kind] = actions;
  if (kind === undefined || actions.length > 1) {
    const which = kind === undefined ? "none" : actions.join(" and ");
    return problem(path, `a step is one of ${ACTIONS.join(", ")}; this one has ${which}`);
  }
  const place = positions.key([...path, kind]);
  if (kind === "open" || kind === "send" || kind === "reply") {
    const flow = reader.flowCase(step[kind]!, [...path, kind]);
    return flow && { kind, place, flow, expected: expectationOf(step.expect ?? "allow") };
  }
  if (step.expect !== undefined) {
    problem([...path, "expect"], `expect: goes with open, send and reply, not with ${kind}`);
  }
  if (kind === "wait") {
    const milliseconds = waitOf(step.wait!);
    if (milliseconds !== undefined) return { kind, place, milliseconds };
    reader.problems.push({ ...positions.value([...path, kind]), message: waitMessage(step.wait!) });
    return undefined;
  }
  const what = step[kind]!;
  const texts = typeof what === "string" ? [what] : what;
  return { kind, place, what: texts.map((text, i): Written => ({
    text,
    place: positions.value(typeof what === "string" ? [...path, kind] : [...path, kind, i]),
  })) };
}

export function expectationOf(expect: ExpectationDocument | Expectation["verdict"]): Expectation {
  return typeof expect === "string" ? { verdict: expect } : expect;
}

/** Milliseconds of "90s"; undefined where it is no such time. */
export function waitOf(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*$/.exec(text);
  if (!match) return undefined;
  const milliseconds = Math.round(Number(match[1]) * UNITS[match[2]!]!);
  return milliseconds <= WAIT_MS_MAX ? milliseconds : undefined;
}

export function waitMessage(text: string): string {
  return `"${text}": a wait is a number with its unit, 500ms, 90s, 5m or 2h, at most 7 days`;
}

/** Is it manifests, and not the name of a file of them? */
export function isManifest(text: string): boolean {
  return text.includes("\n") || (/[:{]\s/.test(text) && !isAbsolute(text));
}
