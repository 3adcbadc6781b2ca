// toBeAllowed, toBeDenied, toBeRejected, toBeDropped, toBeReachableOnlyBy: what vitest asks of
// flows. Messages are those of `margay test`: which flows, what each end said, by which rule of
// whom.
import { Explainer } from "../cluster/explain.ts";
import { Answer, End, unplacedNow } from "./answer.ts";
import type { Ground } from "./ground.ts";
import type { DeniedBy } from "./public.ts";
import { flowText } from "./report/lines.ts";
import { isolatingOf, judge, onlyChecks, resultsOf, type Finding, type PlannedTest } from
  "./runner.ts";
import { NOWHERE, onlyCase, type Expectation } from "./testfile.ts";

interface Match {
  pass: boolean;
  message: () => string;
}

/** Failures in one message; the others are counted. */
const SHOWN_MAX = 5;

function toBeAllowed(received: unknown): Match {
  return matchFlow(received, "toBeAllowed", { verdict: "allow" });
}

function toBeDenied(received: unknown, by: DeniedBy = {}): Match {
  return matchFlow(received, "toBeDenied", { verdict: "deny", ...by });
}

function toBeRejected(received: unknown, reason?: string): Match {
  return matchFlow(received, "toBeRejected", { verdict: "reject", reason });
}

function toBeDropped(received: unknown, reason?: string): Match {
  return matchFlow(received, "toBeDropped", { verdict: "drop", reason });
}

function matchFlow(received: unknown, name: string, expected: Expectation): Match {
  if (!(received instanceof Answer)) {
    throw new TypeError(`${name}: expect(cluster.flow('FROM -> TO')), as margay/testing has it`);
  }
  const { ground, results, text } = received;
  const checks = received.checks.map((check) => ({ ...check, expected }));
  const planned = { name: text, place: NOWHERE, checks };
  const findings = judge(planned, results, isolatingOf(ground.cluster));
  if (findings.length > 0) {
    return { pass: false, message: () => `${text}\n${findingsText(findings, ground)}` };
  }
  const wanted = `${text}: expected anything but ${name.slice("toBe".length).toLowerCase()}`;
  return { pass: true, message: () => `${wanted}\n${received.explain()}` };
}

function toBeReachableOnlyBy(received: unknown, entries: string[]): Match {
  if (!(received instanceof End)) {
    throw new TypeError("toBeReachableOnlyBy: expect(cluster.to('namespace/name')), as " +
      "margay/testing has it");
  }
  const { name, owner } = received;
  const { ground, words } = owner;
  return unplacedNow(() => {
    const planned: PlannedTest = { name, place: NOWHERE, checks: [] };
    planned.checks = onlyChecks(onlyCase(name, entries, words), ground, planned);
    const results = resultsOf(planned, ground.cluster);
    const findings = judge(planned, results, isolatingOf(ground.cluster));
    const { packets, sources, classes } = planned.exhaustive!;
    const tried = `${name}: ${packets} packets, ${sources} sources, ${classes} classes of traffic`;
    return findings.length === 0
      ? { pass: true, message: () => `${tried}: expected others to reach it too` }
      : { pass: false, message: () => `${tried}\n${findingsText(findings, ground)}` };
  });
}

function findingsText(findings: readonly Finding[], ground: Ground): string {
  const explainer = new Explainer(ground.cluster);
  const shown = findings.slice(0, SHOWN_MAX).flatMap((finding) => [
    `  ${flowText(finding)}   expected ${finding.expected}, got ${finding.got}`,
    ...explainer.lines(finding.example, "    "),
  ]);
  const more = findings.length - SHOWN_MAX;
  return [...shown, ...(more > 0 ? [`  and ${more} more like these`] : [])].join("\n");
}

export const matchers = {
  toBeAllowed, toBeDenied, toBeRejected, toBeDropped, toBeReachableOnlyBy,
};
