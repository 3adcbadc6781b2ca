// Reports for machines: JUnit, GitHub, JSON, of a real run with a failure and a file not run.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Session } from "./session.ts";

let session: Session;
beforeAll(() => {
  session = new Session(true);
  session.write("k8s/odd.test.yaml", 'kind: PolicyTest\ntests:\n- { name: "a <b> & \'c\'", ' +
    "to: shop/nobody, only: [] }\n");
});
afterAll(() => session.remove());
const paths = ["k8s/db.test.yaml", "k8s/odd.test.yaml"];

describe("test-reporters: what machines read", () => {
  test("junit", async () => {
    const { status, text } = await session.run(paths, { reporter: "junit" });
    expect(status).toBe(2);
    const shape = text.replace(/time="[\d.]+"/g, 'time="T"');
    expect(shape).toMatch(/^<\?xml version="1.0" encoding="UTF-8"\?>\n<testsuites /);
    expect(shape).toContain(
      '<testsuites name="margay test" tests="3" failures="1" errors="1" time="T">');
    expect(shape).toContain('<testsuite name="k8s/db.test.yaml" tests="3" failures="1" ' +
      'errors="0" time="T">');
    expect(shape).toContain('name="only the API reaches the database" file="k8s/db.test.yaml" ' +
      'line="9">\n      <failure message="shop/web (1 of 2 pods) -&gt; shop/db:5432/tcp: ' +
      'expected deny, got ALLOW">');
    expect(shape).toContain("&#10;margay verdict --state k8s &quot;shop/web-6f9c7d-4x2lp -&gt; ");
    expect(shape).toMatch(/<error message="&quot;shop\/nobody&quot;: no pod, workload or Service/);
    // Every tag that is opened is closed.
    const depth = [...shape.matchAll(/<(\/?)[a-z]+[^>]*?(\/?)>/g)]
      .reduce((sum, [, close, empty]) => sum + (close ? -1 : empty ? 0 : 1), 0);
    expect(depth).toBe(0);
  });

  test("github: annotations at the test's line, behind what people read", async () => {
    const { lines } = await session.run(paths, { reporter: "github" });
    expect(lines[0]).toMatch(/^ ✗ k8s\/db.test.yaml {3}3 tests, 11 flows, 1 failed$/);
    const notes = lines.filter((line) => line.startsWith("::error "));
    expect(notes).toHaveLength(2);
    expect(notes[0]).toMatch(/^::error file=k8s\/db.test.yaml,line=9,col=9,title=only the API /);
    expect(notes[0]).toContain("expected deny, got ALLOW%0A  egress ");
    expect(notes[1]).toMatch(/^::error file=k8s\/odd.test.yaml,line=3,col=\d+,title=policy test /);
  });

  test("json", async () => {
    const { lines, text } = await session.run(paths, { reporter: "json" });
    expect(lines[0]).toBe("{");
    const report = JSON.parse(text) as {
      tests: number; failed: number; flows: number; core: string;
      files: { file: string; problems: { line: number; message: string }[]; tests: {
        name: string; passed: boolean; failures: {
          from: string; fromPods: object; expected: string; verdict: string; paste: string;
          stages: { stage: string; policy?: string; file?: string; line?: number }[];
        }[];
      }[] }[];
    };
    expect(report).toMatchObject({ tests: 3, failed: 1, flows: 11 });
    const [db, odd] = report.files;
    expect(odd!.problems[0]).toMatchObject({ line: 3 });
    const [failure] = db!.tests.find(({ passed }) => !passed)!.failures;
    expect(failure).toMatchObject({
      from: "shop/web", fromPods: { failing: 1, all: 2 }, expected: "deny", verdict: "allow",
    });
    expect(failure!.stages.at(-1)).toMatchObject({
      stage: "ingress", policy: "NetworkPolicy shop/db", file: "k8s/db.yaml", line: 14,
    });
  });
});
