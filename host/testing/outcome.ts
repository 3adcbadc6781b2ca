// What came of tests: for reporters, in plain objects.
//
//   RunOutcome ─ FileOutcome ─ TestOutcome ─ Failure: flows that went wrong in the same way
import type { FlowResult } from "../cluster/types.ts";
import type { Problem, Place } from "./place.ts";

/** Flows of one source and one target that went wrong by the same rules. */
export interface Failure {
  /** Of a test with steps: "step 3 of 4, line 25: send shop/api:40000 -> shop/db:5432". */
  step?: string;
  /** "shop/web", "internet (93.184.215.14)". */
  from: string;
  /** How many of the pods of that name, where not all. */
  fromPods?: { failing: number; all: number };
  /** "shop/db". */
  to: string;
  toPods?: { failing: number; all: number };
  /** ":5432/tcp", ":1-79/tcp", " icmp:8/0": classes of traffic, each once. */
  traffic: string[];
  /** "deny", "deny at ingress by NetworkPolicy shop/db". */
  expected: string;
  /** "ALLOW", "DENY", "DROP (spoofed-source)". */
  got: string;
  /** One of the flows. */
  example: FlowResult;
  /** How many went wrong so. */
  flows: number;
  /** What each end said to the example, and by which rule. */
  explanation: string[];
  /** The command that runs the example once more. */
  paste: string;
}

export interface Exhaustive {
  packets: number;
  sources: number;
  classes: number;
  /** Users' modules, whose own boundaries are not known. */
  blind: string[];
}

export interface TestOutcome {
  name: string;
  place: Place;
  passed: boolean;
  flows: number;
  failures: Failure[];
  exhaustive?: Exhaustive;
}

export interface FileOutcome {
  file: string;
  tests: TestOutcome[];
  milliseconds: number;
  /** Why nothing of it could be run; messages say the place. */
  problems: Problem[];
}

export interface RunOutcome {
  files: FileOutcome[];
  milliseconds: number;
  /** First 7 hex digits of the sha256 of the packet program. */
  core: string;
}

export interface Totals {
  tests: number;
  passed: number;
  failed: number;
  flows: number;
  problems: number;
}

export function totals(files: readonly FileOutcome[]): Totals {
  const tests = files.flatMap((file) => file.tests);
  const passed = tests.filter((test) => test.passed).length;
  return {
    tests: tests.length, passed, failed: tests.length - passed,
    flows: tests.reduce((sum, test) => sum + test.flows, 0),
    problems: files.reduce((sum, file) => sum + file.problems.length, 0),
  };
}
