// Reports for machines: JUnit XML, GitHub's annotations, JSON.
// Source: the JUnit schema of Apache Ant (testsuites, testsuite, testcase, failure, error); GitHub
// Actions' workflow commands (::error file=…,line=…,title=…::message).
import type { Coverage } from "../coverage.ts";
import type { Failure, FileOutcome, RunOutcome, TestOutcome } from "../outcome.ts";
import { totals } from "../outcome.ts";
import { flowText as printFlow } from "../../cluster/explain.ts";
import { flowText } from "./lines.ts";

/** A failure in plain text: what was expected, what each end said, the line to paste. */
function failureText(failure: Failure): string {
  return [
    ...(failure.step === undefined ? [] : [failure.step]),
    `${flowText(failure)}  expected ${failure.expected}, got ${failure.got}`,
    ...failure.explanation.map((line) => `  ${line}`),
    failure.paste,
  ].join("\n");
}

export function junit({ files, milliseconds }: RunOutcome): string {
  const { tests, failed, problems } = totals(files);
  const suites = files.map((file) => suite(file)).join("\n");
  return `<?xml version="1.0" encoding="UTF-8"?>\n` +
    `<testsuites name="margay test" tests="${tests}" failures="${failed}" errors="${problems}" ` +
    `time="${seconds(milliseconds)}">\n${suites}\n</testsuites>`;
}

function suite(file: FileOutcome): string {
  const failed = file.tests.filter((test) => !test.passed).length;
  const attributes = `name="${xml(file.file)}" tests="${file.tests.length}" ` +
    `failures="${failed}" errors="${file.problems.length}" time="${seconds(file.milliseconds)}"`;
  const cases = file.tests.map((test) => testCase(file, test));
  const problems = file.problems.map(({ line, column, message }) =>
    `    <testcase classname="${xml(file.file)}" name="${line}:${column}">\n` +
    `      <error message="${xml(message)}"/>\n    </testcase>`);
  return [`  <testsuite ${attributes}>`, ...cases, ...problems, "  </testsuite>"].join("\n");
}

function testCase(file: FileOutcome, test: TestOutcome): string {
  const head = `    <testcase classname="${xml(file.file)}" name="${xml(test.name)}" ` +
    `file="${xml(file.file)}" line="${test.place.line}"`;
  if (test.passed) return `${head}/>`;
  const failures = test.failures.map((failure) => {
    const step = failure.step === undefined ? "" : `${failure.step}: `;
    const message = `${step}${flowText(failure)}: expected ${failure.expected}, got ${failure.got}`;
    const text = failureText(failure);
    return `      <failure message="${xml(message)}">${xml(text)}</failure>`;
  });
  return [`${head}>`, ...failures, "    </testcase>"].join("\n");
}

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(3);
}

const XML: Record<string, string> = {
  "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;",
};

function xml(text: string): string {
  // XML 1.0 has no way to write most control characters.
  return text.replace(/[\0-\x08\x0b\x0c\x0e-\x1f]/g, "").replace(/[&<>"\n]/g, (c) => XML[c]!);
}

/** Lines that GitHub shows at the test's line of a pull request. */
export function github({ files }: RunOutcome): string[] {
  return files.flatMap((file) => [
    ...file.problems.map((problem) => annotation(file.file, problem.line, problem.column,
      "policy test not run", problem.message)),
    ...file.tests.flatMap((test) => test.failures.map((failure) => annotation(
      file.file, test.place.line, test.place.column, test.name, failureText(failure)))),
  ]);
}

function annotation(
  file: string, line: number, column: number, title: string, message: string,
): string {
  const data = (text: string): string =>
    text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
  const property = (text: string): string =>
    data(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
  return `::error file=${property(file)},line=${line},col=${column},` +
    `title=${property(title)}::${data(message)}`;
}

export function json(
  { files, milliseconds, core }: RunOutcome, coverage?: Coverage,
): string {
  const { tests, passed, failed, flows } = totals(files);
  return JSON.stringify({
    core, milliseconds, tests, passed, failed, flows,
    files: files.map((file) => ({
      file: file.file, milliseconds: file.milliseconds, problems: file.problems,
      tests: file.tests.map((test) => ({
        name: test.name, line: test.place.line, passed: test.passed, flows: test.flows,
        ...(test.exhaustive ? { exhaustive: test.exhaustive } : {}),
        failures: test.failures.map((failure) => failureObject(failure)),
      })),
    })),
    ...(coverage ? { coverage } : {}),
  }, null, 2);
}

function failureObject(failure: Failure): object {
  const { example, ...rest } = failure;
  return {
    ...rest, example: printFlow(example.flow), verdict: example.verdict, reason: example.reason,
    at: example.at, stages: example.stages.map(({ rule, ...stage }) => (
      { ...stage, file: rule?.origin?.file, line: rule?.origin?.line })),
  };
}
