// `margay test` on the session's manifests, every flow through the packet program: what it prints,
// and how it ends.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CommandError } from "../../../host/command-error.ts";
import { coreFile } from "../../../host/dataplane/core.ts";
import { Session, steady } from "./session.ts";

let good: Session, bad: Session;
beforeAll(() => [good, bad] = [new Session(), new Session(true)]);
afterAll(() => [good, bad].forEach((session) => session.remove()));

describe("what margay test prints", () => {
  test("test-session: tests that pass, a line a file", async () => {
    const { status, text } = await good.run(["k8s"]);
    expect(steady(text)).toBe(`\
 ✓ k8s/db.test.yaml    3 tests, 11 flows  N ms
 ✓ k8s/shop.test.yaml  9 tests, 540 flows (471 exhaustive)  N ms
 12 tests, 12 passed · 551 flows · N s · core 0000000 (the bytes that VPP runs)`);
    expect(status).toBe(0);
  });

  test("test-failure: both ends, their rules as written, the line to paste", async () => {
    const { status, text } = await bad.run(["k8s/db.test.yaml"]);
    expect(steady(text).replace(/ +egress .*\n/, "")).toBe(`\
 ✗ k8s/db.test.yaml  3 tests, 11 flows, 1 failed
   db.test.yaml:9  only the API reaches the database
     shop/web (1 of 2 pods) -> shop/db:5432/tcp     expected deny, got ALLOW
       ingress  shop/db-0              allow  k8s/db.yaml:14  NetworkPolicy shop/db  \
ingress[0].from[1]
                                              tier in (api, web)   it has tier=web
     margay verdict --state k8s "shop/web-6f9c7d-4x2lp -> shop/db:5432/tcp"
 3 tests, 2 passed, 1 failed · 11 flows · N s · core 0000000 (the bytes that VPP runs)`);
    expect(text).toMatch(/ {7}egress {3}shop\/web-6f9c7d-4x2lp {2}allow /);
    expect(status).toBe(1);
  });

  test("the hash is of the packet program's bytes", async () => {
    const hash = createHash("sha256").update(readFileSync(coreFile())).digest("hex");
    const { text } = await good.run(["k8s/db.test.yaml"]);
    expect(text).toContain(`core ${hash.slice(0, 7)} (the bytes`);
  });

  test("a flow that only the test has is pasted as the test", async () => {
    const file = good.write("k8s/own.test.yaml", `kind: PolicyTest
endpoints: { stranger: { namespace: other } }
tests:
- name: strangers (all of them) get in
  to: shop/db:5432
  allow: [stranger]
`);
    const { text, status } = await good.run(["k8s/own.test.yaml"]);
    rmSync(file);
    expect(status).toBe(1);
    expect(text).toContain("stranger -> shop/db:5432/tcp");
    expect(text).toContain(
      'margay test k8s/own.test.yaml -t "^strangers \\\\(all of them\\\\) get in\\$"');
  });

  test("stages and policies that are others than expected", async () => {
    const file = good.write("k8s/by.test.yaml", `kind: PolicyTest
tests:
- name: a
  flow: shop/api -> internet:443
  expect: { verdict: deny, at: ingress }
- name: b
  flow: shop/web-6f9c7d-4x2lp -> shop/db:23
  expect: { verdict: deny, by: NetworkPolicy shop/api }
- name: c
  flow: ops/toolbox -> shop/db:22
  expect: { verdict: allow, by: "NetworkPolicy shop/db ingress[0]" }
- name: d
  flow: shop/web-6f9c7d-4x2lp -> shop/db:23
  expect: { verdict: deny, at: ingress, by: NetworkPolicy shop/db }
- name: e
  flow: ops/toolbox -> shop/db:22
  expect: { verdict: allow, by: "NetworkPolicy shop/db ingress[1].from[0]" }
- name: f
  flow: ops/toolbox -> shop/db:22
  expect: { verdict: allow, by: "NetworkPolicy shop/db ingress[1].from[1]" }
`);
    const { lines } = await good.run(["k8s/by.test.yaml"]);
    rmSync(file);
    expect(lines.filter((line) => line.includes("expected")).map((line) =>
      line.replace(/^.* {2,}expected/, "expected"))).toEqual([
      "expected deny at ingress, got DENY at egress by NetworkPolicy shop/api",
      "expected deny by NetworkPolicy shop/api, got DENY at ingress by NetworkPolicy shop/db, " +
        "NetworkPolicy shop/default-deny",
      "expected allow by NetworkPolicy shop/db ingress[0], got ALLOW by NetworkPolicy shop/db " +
        "ingress[1]",
      "expected allow by NetworkPolicy shop/db ingress[1].from[1], got ALLOW by NetworkPolicy " +
        "shop/db ingress[1]",
    ]);
  });
});

describe("how it ends", () => {
  test("test-nothing: nothing tested is status 2, never green", async () => {
    mkdirSync(good.path("empty"), { recursive: true });
    const { status, complaint } = await good.run(["empty"]);
    expect([status, complaint]).toEqual([2, "margay: nothing was tested: 0 *.test.yaml under " +
      "empty (margay test --init writes one from what is allowed today)"]);
  });

  test("-t chooses tests by name, and must choose some", async () => {
    const { status, text } = await good.run(["k8s"], { testName: /^telnet/ });
    expect(status).toBe(0);
    expect(text).toMatch(/^ ✓ k8s\/db.test.yaml {4}1 test, 2 flows {2}\d+ ms\n 1 test, 1 passed/);
    const none = await good.run(["k8s"], { testName: /telegraph/ });
    expect([none.status, none.lines, none.complaint]).toEqual([2, [],
      "margay: nothing was tested: no test's name matches /telegraph/ in 2 files"]);
  });

  test("test-names: a name that nobody has, with its place and what there is", async () => {
    const file = good.write("k8s/typo.test.yaml", `kind: PolicyTest
tests:
- name: a
  to: shop/db:5432
  allow: [shop/apo, shop/api]
- name: b
  to: shop/dbb:5432
  deny: [internet, ops/toolbox]
- name: c
  flow: shop/api -> shop/web:http
  expect: allow
- name: d
  to: shop/db
  only: [shop/pi -> 5432/tcp, shop/api -> http]
`);
    const { status, lines } = await good.run(["k8s/typo.test.yaml"]);
    rmSync(file);
    expect(status).toBe(2);
    const missing = "no pod, workload or Service of that name in shop; there are " +
      "api (Deployment), db (StatefulSet), web (Deployment)";
    expect(lines.slice(0, -1)).toEqual([
      " ✗ k8s/typo.test.yaml  not run",
      `   k8s/typo.test.yaml:5:11 "shop/apo": ${missing}`,
      `   k8s/typo.test.yaml:7:7 "shop/dbb": ${missing}`,
      '   k8s/typo.test.yaml:10:21 "shop/web:http": no container port named http; ' +
        "ports of shop/web: web (8080/tcp)",
      `   k8s/typo.test.yaml:14:10 "shop/pi": ${missing}`,
      '   k8s/typo.test.yaml:14:31 "shop/api -> http": no container port named http; ' +
        "ports of shop/db-0: postgres (5432/tcp)",
    ]);
    expect(lines.at(-1)).toMatch(/^ 0 tests, 0 passed, 1 file not run · 0 flows · /);
  });

  test("manifests that are wrong, and none at all", async () => {
    const file = good.write("k8s/wrong.yaml", "apiVersion: networking.k8s.io/v1\n" +
      "kind: NetworkPolicy\nmetadata: { name: x, namespace: shop }\n" +
      "spec: { podSelecter: {} }\n");
    const wrong = await good.run(["k8s/db.test.yaml"]);
    rmSync(file);
    expect(wrong.status).toBe(2);
    expect(wrong.text).toContain("k8s/wrong.yaml:4:9 NetworkPolicy shop/x spec.podSelecter: " +
      "unknown field; did you mean podSelector?");
    mkdirSync(good.path("bare"), { recursive: true });
    good.write("bare/a.test.yaml", "kind: PolicyTest\ntests: [{ name: a, to: a/b, only: [] }]\n");
    good.write("bare/x.tpl", "");
    const bare = await good.run(["bare"]);
    expect(bare.status).toBe(2);
    expect(bare.text).toContain("no manifests in bare (0 YAML files; 1 *.tpl: render Helm first: " +
      "helm template . | margay test -)");
  });

  test("paths that are not there, and options that don't go together", async () => {
    await expect(good.run(["nowhere"])).rejects.toThrow(CommandError);
    await expect(good.run(["k8s"], { threshold: 90 })).rejects.toThrow("--coverage");
  });

  test("without a packet program it is status 3", async () => {
    process.env["MARGAY_CORE"] = "/nonexistent/margay.wasm";
    try {
      const { status, complaint } = await good.run(["k8s"]);
      expect(status).toBe(3);
      expect(complaint).toContain("/nonexistent/margay.wasm: no packet program there");
    } finally {
      delete process.env["MARGAY_CORE"];
    }
  });
});
