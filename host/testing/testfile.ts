// A *.test.yaml file, read: its tests in plain objects, every text with its place. What is wrong is
// said with line and column, all of it at once; names of pods are looked up later, when the
// manifests are there (runner.ts).
//
//   to + allow/deny/only     from + allow/deny     flow + expect     steps (step.ts)
import { dirname, isAbsolute, join } from "node:path";
import { FlowError, parseFlow, parseOnly } from "../cluster/flow.ts";
import type { FlowText, OnlyText } from "../cluster/flow.ts";
import type { FlowVerdict, Stage } from "../cluster/types.ts";
import { parseSource } from "../input/place.ts";
import type { Path } from "../input/place.ts";
import { parsePrefix } from "../model/address.ts";
import type { ContainerPort } from "../model/snapshot.ts";
import { FileError, Positions } from "./place.ts";
import type { Place, Problem, Written } from "./place.ts";
import { PolicyTest } from "./schema.ts";
import { expectationOf, readSteps, SAME, type Step } from "./step.ts";
import type { EndpointDocument, PolicyTestDocument, TestDocument } from "./schema.ts";
import { readIssues } from "./issues.ts";

/** An end that exists in this test alone. */
export interface TestEndpoint {
  name: string;
  place: Place;
  pod?: {
    namespace: string;
    labels: Record<string, string>;
    serviceAccount: string;
    ports: ContainerPort[];
  };
  /** A prefix outside the cluster. */
  net?: string;
}

export interface Expectation {
  verdict: FlowVerdict;
  at?: Stage;
  /** "NetworkPolicy shop/db", perhaps with its "ingress[0]" behind it. */
  by?: string;
  /** Where the Service led to: "shop/web-0", "10.65.0.9:80"; in steps "same". */
  backend?: string;
  /** What the receiver sees as source: "kept", or the address that NAT put in. */
  source?: string;
  /** Of a drop or a reject: "no-backend". */
  reason?: string;
}

/** A flow, which the file may have in two places: "shop/web" of allow, "shop/db:5432" of to. */
export interface FlowCase {
  flow: FlowText;
  /** Where its text comes from: offsets in it, ascending, and their places. */
  parts: { from: number; place: Place }[];
}

export interface ListedFlow extends FlowCase {
  expected: "allow" | "deny";
}

/** Nobody but the entries may reach `to`; with its port or protocol, of that traffic alone. */
export interface OnlyCase {
  /** "internet -> TO": the test's `to`, as a flow's end. */
  to: FlowCase;
  entries: (Written & { entry: OnlyText })[];
}

/** `*` of an entry, as a word. */
export const EVERYONE = "everyone";

export interface TestCase {
  name: string;
  place: Place;
  /** What `allow`, `deny` and `flow` say, as flows. */
  listed: ListedFlow[];
  flow?: FlowCase & { expected: Expectation };
  only?: OnlyCase;
  steps?: Step[];
  /** Unix time in seconds. */
  nowSeconds?: number;
}

export interface TestFile {
  file: string;
  /** Files and folders, as a path from where the command runs. */
  manifests: string[];
  endpoints: TestEndpoint[];
  tests: TestCase[];
}

/** Throws FileError. */
export function parseTestFile(text: string, file: string): TestFile {
  const source = parseSource(text);
  const positions = new Positions(file, source);
  const [document, second] = source.documents;
  const problems: Problem[] = source.documents.flatMap(({ errors }) =>
    errors.map(({ pos, message }) => ({ ...positions.at(pos[0]), message })));
  if (!document || (document.contents === null && problems.length === 0)) {
    problems.push({ ...positions.at(0), message: "nothing in it: expected kind: PolicyTest" });
  }
  if (second) {
    const message = "a second document: one PolicyTest a file";
    problems.push({ ...positions.at(second.range[0]), message });
  }
  if (problems.length > 0) throw new FileError(problems);
  const parsed = PolicyTest.safeParse(document!.toJS());
  if (!parsed.success) throw new FileError(readIssues(parsed.error.issues, positions));
  return new Reader(file, positions, parsed.data).read();
}

const ARROW = " -> ";

/** Where the character at an offset of a flow's text stands. */
export function placeOf(parts: FlowCase["parts"], offset: number): Place {
  const part = parts.findLast(({ from }) => from <= offset) ?? parts[0]!;
  const { place } = part;
  return { ...place, column: place.column + Math.max(0, offset - part.from) };
}

class Reader {
  private readonly problems: Problem[] = [];
  private readonly words: Set<string>;

  constructor(
    private readonly file: string, private readonly positions: Positions,
    private readonly document: PolicyTestDocument,
  ) {
    this.words = new Set(Object.keys(document.endpoints ?? {}));
  }

  read(): TestFile {
    const folder = dirname(this.file);
    const manifests = (this.document.manifests ?? ["."])
      .map((path) => isAbsolute(path) ? path : join(folder, path));
    const endpoints = Object.entries(this.document.endpoints ?? {})
      .map(([name, endpoint]) => this.endpoint(name, endpoint));
    const tests = this.document.tests.map((test, i) => this.test(test, i));
    if (this.problems.length > 0) throw new FileError(this.problems);
    return { file: this.file, manifests, endpoints, tests };
  }

  private endpoint(name: string, endpoint: EndpointDocument): TestEndpoint {
    const path = ["endpoints", name];
    const place = this.positions.key(path);
    const { namespace, net, labels, serviceAccount, ports } = endpoint;
    const inCluster = { labels, serviceAccount, ports };
    if (name === "internet") this.problem(place, '"internet" is everyone\'s; name it otherwise');
    if ((namespace === undefined) === (net === undefined)) {
      this.problem(place, `endpoint ${name}: say a namespace (a pod) or a net (addresses)`);
    } else if (net !== undefined) {
      for (const [field, value] of Object.entries(inCluster)) {
        if (value === undefined) continue;
        const at = this.positions.key([...path, field]);
        this.problem(at, `endpoint ${name}: a net has no ${field}`);
      }
      this.net(net, [...path, "net"]);
      return { name, place, net };
    }
    return {
      name, place,
      pod: {
        namespace: namespace ?? "", labels: labels ?? {},
        serviceAccount: serviceAccount ?? "default",
        ports: (ports ?? []).map((port) => ({
          name: port.name ?? "", port: port.port, protocol: port.protocol ?? "TCP",
        })),
      },
    };
  }

  private net(net: string, path: Path): void {
    try {
      parsePrefix(net);
    } catch (error) {
      this.problem(this.positions.value(path), (error as Error).message);
    }
  }

  private test(test: TestDocument, index: number): TestCase {
    const path = ["tests", index];
    const at = (field: string): Path => [...path, field];
    const key = (field: string): Place => this.positions.key([...path, field]);
    const place = this.positions.value(at("name"));
    const read: TestCase = { name: test.name, place, listed: [] };
    if (test.time !== undefined) read.nowSeconds = Math.floor(Date.parse(test.time) / 1000);
    if (test.steps !== undefined) {
      this.alone(test, key);
      const flowCase = (text: string, path: Path): FlowCase | undefined => {
        const parts = [{ from: 0, place: this.positions.value(path) }];
        const flow = this.flowText(text, parts);
        return flow && { flow, parts };
      };
      const reader = { positions: this.positions, problems: this.problems, flowCase };
      read.steps = readSteps(test.steps, at("steps"), reader);
      return read;
    }
    this.shape(test, place, key);
    for (const expected of ["allow", "deny"] as const) {
      (test[expected] ?? []).forEach((text, i) => {
        this.listed(test, expected, text, [...at(expected), i], read);
      });
    }
    if (test.flow !== undefined) this.flow(test, test.flow, at("flow"), read);
    if (test.only !== undefined && test.to !== undefined) {
      this.only(test.to, test.only, at("to"), at("only"), read);
    }
    return read;
  }

  /** Steps say all that they expect themselves. */
  private alone(test: TestDocument, key: (field: string) => Place): void {
    for (const field of ["to", "from", "flow", "allow", "deny", "only", "expect"] as const) {
      if (test[field] !== undefined) this.problem(key(field), `${field}: does not go with steps`);
    }
  }

  /** Which fields go together. */
  private shape(test: TestDocument, place: Place, key: (field: string) => Place): void {
    const has = (field: keyof TestDocument): boolean => test[field] !== undefined;
    const ends = (["to", "from", "flow"] as const).filter(has);
    if (ends.length !== 1) {
      const which = ends.length === 0 ? "none" : ends.join(" and ");
      this.problem(place, `a test has one of to, from, flow and steps; this one has ${which}`);
      return;
    }
    const [end] = ends as [string];
    const lists = (["allow", "deny", "only"] as const).filter(has);
    if (end === "flow") {
      for (const field of lists) this.problem(key(field), `${field}: goes with to, not with flow`);
      if (!has("expect")) this.problem(key("flow"), "flow: expect is missing");
      return;
    }
    if (has("expect")) this.problem(key("expect"), `expect: goes with flow, not with ${end}`);
    if (lists.length === 0) {
      const orOnly = end === "to" ? " or only" : "";
      this.problem(key(end), `${end}: expects nothing; say allow, deny${orOnly}`);
    }
    if (end === "from" && has("only")) {
      this.problem(key("only"), "only: who may reach `to`; it goes with to, not with from");
    }
  }

  private listed(
    test: TestDocument, expected: "allow" | "deny", text: string, path: Path, read: TestCase,
  ): void {
    const { to, from } = test;
    if (to === undefined && from === undefined) return;
    const field = [...path.slice(0, -2), to === undefined ? "from" : "to"];
    const [place, end] = [this.positions.value(path), this.positions.value(field)];
    const left = to === undefined ? from! : text;
    const parts = [
      { from: 0, place: to === undefined ? end : place },
      { from: left.length + ARROW.length, place: to === undefined ? place : end },
    ];
    const flow = this.flowText(left + ARROW + (to ?? text), parts);
    if (flow) read.listed.push({ flow, parts, expected });
  }

  private flow(test: TestDocument, text: string, path: Path, read: TestCase): void {
    const parts = [{ from: 0, place: this.positions.value(path) }];
    const flow = this.flowText(text, parts);
    const { expect } = test;
    if (flow === undefined || expect === undefined) return;
    const expected = expectationOf(expect);
    if (expected.backend === SAME) {
      this.problem(this.positions.key([...path.slice(0, -1), "expect", "backend"]),
        "backend: same is of steps; a flow alone has none before it");
    }
    read.flow = { flow, parts, expected };
  }

  private only(to: string, entries: string[], toPath: Path, path: Path, read: TestCase): void {
    const left = `internet${ARROW}`;
    const parts = [{ from: left.length, place: this.positions.value(toPath) }];
    const flow = this.flowText(left + to, parts);
    if (flow === undefined) return;
    read.only = { to: { flow, parts }, entries: [] };
    entries.forEach((text, i) => {
      const place = this.positions.value([...path, i]);
      const entry = this.parse([{ from: 0, place }], () => parseOnlyEntry(text));
      if (entry) read.only!.entries.push({ text, place, entry });
    });
  }

  private flowText(text: string, parts: FlowCase["parts"]): FlowText | undefined {
    return this.parse(parts, () => parseFlow(text, this.words), text);
  }

  private parse<T>(parts: FlowCase["parts"], parse: () => T, text = ""): T | undefined {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof FlowError)) throw error;
      const blanks = text.slice(error.offset).search(/\S/);
      this.problem(placeOf(parts, error.offset + Math.max(0, blanks)), error.message);
      return undefined;
    }
  }

  private problem(place: Place, message: string): void {
    this.problems.push({ ...place, message });
  }
}

/** An entry of `only`; in front of its arrow, or alone, "*" is everyone. Throws FlowError. */
export function parseOnlyEntry(text: string): OnlyText {
  if (!/^\s*\*\s*(->|$)/.test(text)) return parseOnly(text);
  return { ...parseOnly(text.replace("*", EVERYONE)), text };
}

/** Nowhere in a file: what a test says in TypeScript. */
export const NOWHERE: Place = { file: "", line: 1, column: 1 };

/** A flow that no file bears. Throws FlowError. */
export function flowCase(text: string, words: ReadonlySet<string>): FlowCase {
  return { flow: parseFlow(text, words), parts: [{ from: 0, place: NOWHERE }] };
}

/** `only` that no file bears. Throws FlowError. */
export function onlyCase(
  to: string, entries: readonly string[], words: ReadonlySet<string>,
): OnlyCase {
  return {
    to: flowCase(`internet${ARROW}${to}`, words),
    entries: entries.map((text) => ({ text, place: NOWHERE, entry: parseOnlyEntry(text) })),
  };
}
