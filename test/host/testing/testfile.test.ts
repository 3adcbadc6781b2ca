// *.test.yaml as it is read: what is there, and what is wrong with its place.
import { describe, expect, test } from "vitest";
import { FileError } from "../../../host/testing/place.ts";
import { parseTestFile, placeOf, type TestFile } from "../../../host/testing/testfile.ts";

const FILE = "k8s/shop.test.yaml";
const HEAD = "kind: PolicyTest\ntests:\n";

function read(text: string): TestFile {
  return parseTestFile(text, FILE);
}
/** "12:9 message", in the file's order. */
function problems(text: string): string[] {
  try {
    read(text);
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    return error.message.split("\n").map((line) => line.replace(`${FILE}:`, ""));
  }
  return [];
}

describe("what a test file says", () => {
  const shop = read(`kind: PolicyTest
manifests: [., ../base]
endpoints:
  stranger: { namespace: other, labels: { app: curl }, ports: [{ port: 80 }] }
  partner: { net: 203.0.113.0/24 }
tests:
- name: only the API reaches the database
  to: shop/db:5432
  allow: [shop/api]
  deny: [shop/web, stranger, partner, internet]
- name: telnet dies at the default deny
  flow: shop/web -> shop/db:23
  expect: { verdict: deny, at: ingress, by: NetworkPolicy shop/default-deny }
- name: nobody else, on any port
  to: shop/db
  only: [shop/api -> 5432/tcp, ops/* -> 22/tcp, "* -> 53/udp", "*"]
- name: what web may do at night
  from: shop/web
  allow: ["shop/api:8080"]
  time: 2026-01-31T02:00:00Z
`);

  test("manifests are paths from where the command runs; the file's folder when absent", () => {
    expect(shop.manifests).toEqual(["k8s", "base"]);
    expect(read(`${HEAD}- { name: a, to: a/b, only: [] }`).manifests).toEqual(["k8s"]);
  });

  test("endpoints are pods or nets", () => {
    expect(shop.endpoints.map(({ name, pod, net }) => ({ name, pod, net }))).toEqual([
      { name: "stranger", net: undefined, pod: {
        namespace: "other", labels: { app: "curl" }, serviceAccount: "default",
        ports: [{ name: "", port: 80, protocol: "TCP" }] } },
      { name: "partner", net: "203.0.113.0/24", pod: undefined },
    ]);
  });

  test("lists are flows to `to`, or from `from`, each text with its place", () => {
    const [first, , , last] = shop.tests;
    expect(first!.listed.map(({ flow, expected }) => [flow.text, expected])).toEqual([
      ["shop/api -> shop/db:5432", "allow"], ["shop/web -> shop/db:5432", "deny"],
      ["stranger -> shop/db:5432", "deny"], ["partner -> shop/db:5432", "deny"],
      ["internet -> shop/db:5432", "deny"],
    ]);
    const { parts, flow } = first!.listed[1]!;
    expect(placeOf(parts, flow.from.offset)).toEqual({ file: FILE, line: 10, column: 10 });
    expect(placeOf(parts, flow.to.offset)).toEqual({ file: FILE, line: 8, column: 7 });
    expect(last!.listed[0]!.flow.text).toBe("shop/web -> shop/api:8080");
    expect(last!.nowSeconds).toBe(Date.UTC(2026, 0, 31, 2) / 1000);
  });

  test("flow and expect", () => {
    expect(shop.tests[1]!.flow).toMatchObject({
      flow: { text: "shop/web -> shop/db:23" },
      expected: { verdict: "deny", at: "ingress", by: "NetworkPolicy shop/default-deny" },
    });
    const [short] = read(`${HEAD}- { name: a, flow: a/b -> c/d:1, expect: deny }`).tests;
    expect(short!.flow!.expected).toEqual({ verdict: "deny" });
  });

  test("entries of only, * among them", () => {
    expect(shop.tests[2]!.only!.entries.map(({ entry: { from, ports, protocol } }) =>
      [from.end, ports, protocol?.name])).toEqual([
      [{ kind: "name", namespace: "shop", name: "api" }, { first: 5432, last: 5432 }, "tcp"],
      [{ kind: "namespace", namespace: "ops" }, { first: 22, last: 22 }, "tcp"],
      [{ kind: "word", name: "everyone" }, { first: 53, last: 53 }, "udp"],
      [{ kind: "word", name: "everyone" }, undefined, undefined],
    ]);
  });
});

describe("what is wrong with a test file", () => {
  test("test-positions: fields that nobody knows, with what was meant", () => {
    const text = "kind: PolicyTest\nendpoint: {}\ntests:\n- name: a\n  to: a/b\n  alow: [c/d]\n";
    expect(problems(text)).toEqual([
      "2:1 endpoint: unknown field; did you mean endpoints?; there are kind, manifests, " +
        "endpoints, tests",
      "6:3 tests[0].alow: unknown field; did you mean allow?; there are name, to, from, allow, " +
        "deny, only, flow, expect, steps, time",
    ]);
  });

  test("inside expect, endpoints and ports", () => {
    expect(problems(`kind: PolicyTest
endpoints:
  a: { namespace: x, prots: [] }
  B: { namespace: x }
  c: { namespace: x, ports: [{ port: 70000 }] }
tests:
- { name: a, flow: a/b -> c/d:1, expect: { verdct: deny, at: ingres } }
- { name: b, flow: a/b -> c/d:1, expect: maybe }
`).map((line) => line.split(";")[0])).toEqual([
      "3:22 endpoints.a.prots: unknown field",
      "4:3 endpoints.B: a name is of a-z, 0-9 and -",
      "5:38 endpoints.c.ports[0].port: at most 65535",
      "7:42 tests[0].expect.verdict: expected allow, deny, reject or drop",
      "7:44 tests[0].expect.verdct: unknown field",
      "7:62 tests[0].expect.at: expected untracked, pre-dnat, egress, forward-in, forward-out, " +
        "ingress or host",
      "8:42 tests[1].expect: expected allow, deny, reject or drop, or a map with verdict, at, " +
        "by, reason, backend, source",
    ]);
  });

  test("what is missing, and what is no list", () => {
    expect(problems("kind: PolicyTest\ntests:\n- to: a/b\n  allow: shop/api\n")).toEqual([
      "3:3 tests[0].name: is missing; expected text",
      "4:10 tests[0].allow: expected a list, got string",
    ]);
    expect(problems("tests: []\n")).toEqual([
      "1:1 kind: expected PolicyTest", "1:8 tests: at least 1 must be there"]);
  });

  test("steps that do nothing, several things, or what does not go together", () => {
    expect(problems(`${HEAD}- name: a
  flow: a/b -> c/d:1
  steps:
  - open: a/b -> c/d:x_
    expect: maybe
  - {}
  - { open: a/b -> c/d:1, wait: 1s }
  - wait: 90
  - { apply: x.yaml, expect: allow }
  - { opn: a/b -> c/d:1 }
  - { apply: { a: b } }
`).map((line) => line.replace(/; there are .*/, ""))).toEqual([
      "7:13 tests[0].steps[0].expect: expected allow, deny, reject or drop, or a map with " +
        "verdict, at, by, reason, backend, source",
      "10:11 tests[0].steps[3].wait: expected text, got number",
      "12:7 tests[0].steps[5].opn: unknown field; did you mean open?",
      "13:14 tests[0].steps[6].apply: expected a text, or a list of texts",
    ]);
    expect(problems(`${HEAD}- name: a
  flow: a/b -> c/d:1
  steps:
  - open: a/b -> c/d:x_
  - {}
  - { open: a/b -> c/d:1, wait: 1s }
  - wait: 90
  - wait: 8000m
  - wait: 90 days
  - { apply: x.yaml, expect: allow }
- { name: b, steps: [{ wait: 1s }] }
`.replace("wait: 90\n", 'wait: "90"\n')).map((line) => line.replace(/; .*/, ""))).toEqual([
      "4:3 flow: does not go with steps",
      '6:18 "c/d:x_": "x_" is no port: a number or a port\'s name',
      "7:5 a step is one of open, send, reply, apply, delete, wait",
      "8:5 a step is one of open, send, reply, apply, delete, wait",
      '9:11 "90": a wait is a number with its unit, 500ms, 90s, 5m or 2h, at most 7 days',
      '11:11 "90 days": a wait is a number with its unit, 500ms, 90s, 5m or 2h, at most 7 days',
      "12:22 expect: goes with open, send and reply, not with apply",
      "13:14 steps: none of them sends a packet, so nothing is tested",
    ]);
  });

  test("steps, each with its line and what to expect", () => {
    const [only] = read(`${HEAD}- name: a
  steps:
  - open: a/b:1 -> c/d:1
  - apply: [x.yaml, y.yaml]
  - delete: NetworkPolicy a/b
  - wait: 1.5m
  - reply: a/b:1 -> c/d:1
    expect: { verdict: reject, reason: no-backend }
`).tests;
    expect(only!.steps!.map(({ place, ...step }) => [place.line, "flow" in step
      ? [step.kind, step.flow.flow.text, step.expected] : step])).toEqual([
      [5, ["open", "a/b:1 -> c/d:1", { verdict: "allow" }]],
      [6, { kind: "apply", what: [
        { text: "x.yaml", place: { file: FILE, line: 6, column: 13 } },
        { text: "y.yaml", place: { file: FILE, line: 6, column: 21 } }] }],
      [7, { kind: "delete", what: [
        { text: "NetworkPolicy a/b", place: { file: FILE, line: 7, column: 13 } }] }],
      [8, { kind: "wait", milliseconds: 90_000 }],
      [9, ["reply", "a/b:1 -> c/d:1", { verdict: "reject", reason: "no-backend" }]],
    ]);
  });

  test("fields that don't go together", () => {
    expect(problems(`${HEAD}- { name: a, to: a/b, from: c/d, allow: [e/f] }
- { name: b }
- { name: c, to: a/b }
- { name: d, from: a/b, only: [] }
- { name: e, flow: a/b -> c/d:1 }
- { name: f, flow: a/b -> c/d:1, expect: allow, deny: [a/b] }
- { name: g, to: a/b, allow: [c/d], expect: allow }
`)).toEqual([
      "3:11 a test has one of to, from, flow and steps; this one has to and from",
      "4:11 a test has one of to, from, flow and steps; this one has none",
      "5:14 to: expects nothing; say allow, deny or only",
      "6:25 only: who may reach `to`; it goes with to, not with from",
      "7:14 flow: expect is missing",
      "8:49 deny: goes with to, not with flow",
      "9:37 expect: goes with flow, not with to",
    ]);
  });

  test("texts of flows, at their own character", () => {
    expect(problems(`${HEAD}- name: a
  flow: shop/web -> shop/db:23/tpc
  expect: deny
- { name: b, to: "shop/db:54x_", allow: [shop/api] }
- { name: c, to: shop/db, only: [shop/web ->, "* -> 99999/tcp"] }
`).map((line) => line.split(";")[0])).toEqual([
      '4:21 "shop/db:23/tpc": no protocol "tpc"',
      '6:18 "shop/db:54x_": "54x_" is no port: a number or a port\'s name',
      '7:34 "shop/web ->": nothing behind ->: say PORT/PROTO there, or leave the arrow out',
      '7:47 "everyone -> 99999/tcp": port 99999: ports are 0 to 65535',
    ]);
  });

  test("endpoints that are neither pod nor net, or both", () => {
    expect(problems(`kind: PolicyTest
endpoints:
  a: { labels: {} }
  b: { net: 10.0.0.0/33 }
  c: { net: 10.0.0.0/8, labels: {} }
  internet: { namespace: x }
tests: [{ name: a, to: shop/b, only: [] }]
`)).toEqual([
      "3:3 endpoint a: say a namespace (a pod) or a net (addresses)",
      '4:13 "10.0.0.0/33": the prefix length must be 0 to 32',
      "5:25 endpoint c: a net has no labels",
      '6:3 "internet" is everyone\'s; name it otherwise',
    ]);
  });

  test("YAML that is none, nothing at all, a second document", () => {
    expect(problems("kind: [")[0]).toMatch(/^1:\d+ /);
    expect(problems("")).toEqual(["1:1 nothing in it: expected kind: PolicyTest"]);
    expect(problems(`${HEAD}- { name: a, to: a/b, only: [] }\n---\nkind: PolicyTest\n`)).toEqual([
      "4:1 a second document: one PolicyTest a file"]);
    expect(problems("kind: PolicyTest\nkind: PolicyTest\ntests: []\n")[0]).toMatch(/^2:1 /);
  });
});
