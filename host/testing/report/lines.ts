// The report that people read:
//
//    ✓ k8s/shop.test.yaml  9 tests, 212 flows  38 ms
//    ✗ k8s/db.test.yaml    3 tests, 61 flows, 1 failed
//      db.test.yaml:9  only the API reaches the database
//        shop/web (1 of 2 pods) -> shop/db:5432/tcp     expected deny, got ALLOW
//          egress   …  what each end said, and by which rule (host/cluster/explain.ts)
//        margay verdict …                               the same flow once more
//    12 tests, 11 passed, 1 failed · 273 flows · 0.6 s · core 4f1c9ab (the bytes that VPP runs)
import { basename } from "node:path";
import pc from "picocolors";
import type { Failure, FileOutcome, RunOutcome, TestOutcome } from "../outcome.ts";
import { totals } from "../outcome.ts";
import type { Finding } from "../runner.ts";
import { printProblem } from "../place.ts";

/** Failures printed of one test; the rest is counted. */
const FAILURES_MAX = 8;
/** Classes of traffic named in one failure. */
const TRAFFIC_MAX = 4;

/** A file's block; `width` aligns what stands behind the names. */
export function fileLines(file: FileOutcome, width: number): string[] {
  const name = file.file.padEnd(width);
  if (file.problems.length > 0) {
    return [
      ` ${pc.red("✗")} ${name}  ${pc.red("not run")}`,
      ...file.problems.map((problem) => `   ${printProblem(problem)}`),
    ];
  }
  const failed = file.tests.filter((test) => !test.passed);
  const counts = `${plural(file.tests.length, "test")}, ${flowCount(file.tests)}`;
  const blind = blindLines(file.tests);
  if (failed.length === 0) {
    return [` ${pc.green("✓")} ${name}  ${counts}  ${pc.dim(`${file.milliseconds} ms`)}`, ...blind];
  }
  return [
    ` ${pc.red("✗")} ${name}  ${counts}, ${pc.red(`${failed.length} failed`)}`, ...blind,
    ...failed.flatMap((test) => testLines(file, test)),
  ];
}

/** "212 flows", with how many of them were all that there are. */
function flowCount(tests: readonly TestOutcome[]): string {
  const flows = plural(tests.reduce((sum, test) => sum + test.flows, 0), "flow");
  const packets = tests.reduce((sum, test) => sum + (test.exhaustive?.packets ?? 0), 0);
  return packets === 0 ? flows : `${flows} (${packets} exhaustive)`;
}

/** A module's own boundaries are its secret: its classes may be finer than those tried. */
function blindLines(tests: readonly TestOutcome[]): string[] {
  const names = [...new Set(tests.flatMap((test) => test.exhaustive?.blind ?? []))];
  if (names.length === 0) return [];
  return [pc.yellow(`   only: ${names.join(", ")} ${names.length === 1 ? "is a module" :
    "are modules"}, whose own boundaries are not known; others were all tried`)];
}

function testLines(file: FileOutcome, test: TestOutcome): string[] {
  const { line } = test.place;
  const lines = [`   ${pc.bold(`${basename(file.file)}:${line}`)}  ${test.name}`];
  if (test.exhaustive) {
    const { packets, sources, classes } = test.exhaustive;
    lines.push(pc.dim(`     ${packets} packets: ${plural(sources, "source")}, ` +
      `${classes} classes of traffic`));
  }
  for (const failure of test.failures.slice(0, FAILURES_MAX)) {
    if (failure.step !== undefined) lines.push(`     ${failure.step}`);
    lines.push(
      `     ${failureHead(failure)}`,
      ...failure.explanation.map((each) => `       ${each}`),
      pc.dim(`     ${failure.paste}`),
    );
  }
  const more = test.failures.length - FAILURES_MAX;
  if (more > 0) lines.push(`     and ${more} more like these (--reporter json has them all)`);
  return lines;
}

const HEAD_WIDTH = 46;

/** "shop/web (1 of 2 pods) -> shop/db:5432/tcp     expected deny, got ALLOW". */
function failureHead(failure: Failure): string {
  const flow = flowText(failure).padEnd(HEAD_WIDTH);
  return `${flow} expected ${failure.expected}, got ${pc.red(failure.got)}`;
}

export function flowText({ from, fromPods, to, toPods, traffic }: Finding): string {
  const some = (pods: Finding["fromPods"]): string =>
    pods === undefined ? "" : ` (${pods.failing} of ${pods.all} pods)`;
  const [first, ...rest] = traffic.slice(0, TRAFFIC_MAX) as [string, ...string[]];
  const more = traffic.length - TRAFFIC_MAX;
  const where = [first, ...rest.map((each) => each.trim())].join(", ") +
    (more > 0 ? ` and ${more} more` : "");
  return `${from}${some(fromPods)} -> ${to}${some(toPods)}${where}`;
}

export function summaryLine({ files, milliseconds, core }: RunOutcome): string {
  const { tests, passed, failed, flows, problems } = totals(files);
  const counts = [plural(tests, "test"), pc.green(`${passed} passed`)];
  if (failed > 0) counts.push(pc.red(`${failed} failed`));
  if (problems > 0) {
    const notRun = files.filter((file) => file.problems.length > 0).length;
    counts.push(pc.red(`${plural(notRun, "file")} not run`));
  }
  const seconds = `${(milliseconds / 1000).toFixed(1)} s`;
  const hash = `core ${core} (the bytes that VPP runs)`;
  return ` ${counts.join(", ")} · ${plural(flows, "flow")} · ${seconds} · ${hash}`;
}

/** "1,764 flows". Intl would say so too, but loading it takes longer than a small run. */
export function plural(count: number, noun: string): string {
  const digits = String(count).replace(/\B(?=(\d{3})+$)/g, ",");
  return `${digits} ${noun}${count === 1 ? "" : "s"}`;
}
