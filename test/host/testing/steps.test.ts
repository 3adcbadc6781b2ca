// Tests with steps: sessions that live while manifests change, in *.test.yaml and in vitest,
// through the packet program; and what is said where a step fails or can't be run.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cluster, type PolicyCluster } from "../../../host/testing/index.ts";
import { Session, steady } from "./session.ts";

let session: Session;
beforeAll(() => session = new Session());
afterAll(() => session.remove());

/** A file of one test with those steps, run. */
async function steps(text: string, file = "k8s/steps.test.yaml") {
  session.write(file, `kind: PolicyTest\ntests:\n- name: steps\n  steps:\n${text}`);
  return session.run([file]);
}

describe("test-steps: a session outlives what is applied", () => {
  // As a user writes it; lockdown.yaml lies beside the test, or where the command is run.
  const EXAMPLE = `\
kind: PolicyTest
tests:
- name: only the API reaches the database
  to: shop/db:5432
  allow: [shop/api]
- name: an open session outlives the lock-down
  steps:
  - open: shop/api:40000 -> shop/db:5432
    expect: allow
  - apply: lockdown.yaml
  - send: shop/api:40000 -> shop/db:5432
    expect: allow
  - open: shop/api -> shop/db:5432
    expect: deny
`;

  test("a file beside the test that a step applies is not there before", async () => {
    const own = new Session();
    own.write("k8s/lockdown.yaml", own.read("lockdown.yaml"));
    own.write("k8s/outlive.test.yaml", EXAMPLE);
    const { text, status } = await own.run(["k8s"]);
    own.remove();
    expect(steady(text)).toContain(" ✓ k8s/outlive.test.yaml  2 tests, 8 flows  N ms\n");
    expect(steady(text)).toContain(" ✓ k8s/db.test.yaml");
    expect(status).toBe(0);
  });

  test("a file that puts back what was changed is there from the beginning", async () => {
    const { text, status } = await steps(`\
  - open: shop/api -> shop/db:5432
  - apply: ../lockdown.yaml
  - open: shop/api -> shop/db:5432
    expect: { verdict: deny, at: ingress, by: NetworkPolicy shop/db }
  - apply: db.yaml
  - open: shop/api -> shop/db:5432
  - delete: NetworkPolicy shop/db
  - open: shop/api -> shop/db:5432
    expect: { verdict: deny, by: NetworkPolicy shop/default-deny }
  - delete: [default.yaml]
  - open: shop/api -> shop/db:5432
  - open: shop/web -> shop/db:5432
`);
    expect(text).toContain(" 1 test, 1 passed");
    expect(status).toBe(0);
  });

  test("manifests in the step itself, and names that they make", async () => {
    const { text } = await steps(`\
  - apply: |
      apiVersion: v1
      kind: Pod
      metadata: { name: probe, namespace: ops }
      spec: { containers: [{ name: probe, image: probe }] }
  - open: ops/probe -> shop/db:22
  - open: ops/probe -> shop/db:23
    expect: deny
`);
    expect(text).toContain(" 1 test, 1 passed");
  });
});

describe("test-steps-reply: packets both ways, and the clock", () => {
  test("replies go by the session; what nobody opened is judged", async () => {
    const { text } = await steps(`\
  - open: shop/api:40000 -> shop/db:5432
  - reply: shop/api:40000 -> shop/db:5432
  - reply: shop/api:40001 -> shop/db:5432
    expect: { verdict: deny, at: ingress, by: NetworkPolicy shop/api }
  - send: shop/web:40000 -> shop/db:5432
    expect: deny
  - open: shop/api:5353 -> kube-system/kube-dns:53/udp
  - reply: shop/api:5353 -> kube-system/kube-dns:53/udp
  - open: shop/web -> shop/api:http
  - send: shop/web -> shop/api:http
`);
    expect(text).toContain(" 1 test, 1 passed");
  });

  test("what is idle for too long has ended", async () => {
    const { text } = await steps(`\
  - open: shop/api:40000 -> shop/db:5432
  - open: shop/api:40000 -> kube-system/kube-dns:53/udp
  - wait: 30m
  - reply: shop/api:40000 -> shop/db:5432
  - reply: shop/api:40000 -> kube-system/kube-dns:53/udp
    expect: { verdict: deny, by: NetworkPolicy shop/api }
  - wait: 2h
  - reply: shop/api:40000 -> shop/db:5432
    expect: deny
`);
    expect(text).toContain(" 1 test, 1 passed");
  });

  test("no test sees what another one opened, applied or waited for", async () => {
    session.write("k8s/apart.test.yaml", `kind: PolicyTest
tests:
- name: one
  steps:
  - open: shop/api:40000 -> shop/db:5432
  - apply: ../lockdown.yaml
  - wait: 2h
- name: two
  steps:
  - send: shop/web:40000 -> shop/db:5432
    expect: deny
  - reply: shop/api:40000 -> shop/db:5432
    expect: deny
  - open: shop/api -> shop/db:5432
- name: three
  flow: shop/api:40000 -> shop/db:5432
  expect: allow
`);
    const { text } = await session.run(["k8s/apart.test.yaml"]);
    expect(text).toContain(" 3 tests, 3 passed");
  });
});

describe("test-steps-services: where a Service led to, from whom, and that nobody is there", () => {
  const web = "shop/web-6f9c7d-4x2lp";

  test("backends, sources and reasons are expected like verdicts", async () => {
    const { text } = await steps(`\
  - open: ${web}:40000 -> shop/svc/api:80
    expect: { verdict: allow, source: kept }
  - reply: ${web}:40000 -> shop/svc/api:80
  - send: ${web}:40000 -> shop/svc/api:80
    expect: { verdict: allow, backend: same }
  - delete: Deployment shop/api
  - open: ${web} -> shop/svc/api:80
    expect: { verdict: reject, reason: no-backend }
`);
    expect(text).toContain(" 1 test, 1 passed");
  });

  test("what was expected, and what there was", async () => {
    const { text } = await steps(`\
  - open: ${web}:40000 -> shop/svc/api:80
    expect: { verdict: allow, backend: shop/nobody, source: 192.168.0.1 }
`);
    expect(text).toMatch(new RegExp("expected allow backend shop/nobody source 192.168.0.1, " +
      "got ALLOW backend shop/api-[01] source kept"));
    const { text: other } = await steps(`\
  - open: ${web}:40000 -> shop/svc/api:80
    expect: { verdict: reject, reason: no-backend }
`);
    expect(other).toContain("expected reject (no-backend), got ALLOW");
    const { text: none, status } = await steps(`\
  - open: ${web}:40000 -> shop/svc/api:80
    expect: { verdict: allow, backend: same }
`);
    expect(none).toContain("5:5 backend: same, but no flow to that Service went before");
    expect(status).toBe(2);
  });
});

describe("test-steps-failure: which step, and why", () => {
  test("the first step that fails, with its line and both ends' rules", async () => {
    const { text, status } = await steps(`\
  - open: shop/api:40000 -> shop/db:5432
  - apply: ../lockdown.yaml
  - open: shop/api-0 -> shop/db:5432
    expect: allow
  - open: shop/web -> shop/db:5432
    expect: allow
`);
    expect(status).toBe(1);
    expect(steady(text)).toBe(`\
 ✗ k8s/steps.test.yaml  1 test, 3 flows, 1 failed
   steps.test.yaml:3  steps
     step 3 of 4, line 7: open shop/api-0 -> shop/db:5432
     shop/api -> shop/db:5432/tcp                   expected allow, got DENY
       egress   shop/api-0  allow  k8s/api.yaml:18  NetworkPolicy shop/api  egress[0].to[0]
                                   app=db   it has app=db
       ingress  shop/db-0   DENY   isolated by NetworkPolicy shop/db, NetworkPolicy \
shop/default-deny
     margay test k8s/steps.test.yaml -t "^steps\\$"
 1 test, 0 passed, 1 failed · 3 flows · N s · core 0000000 (the bytes that VPP runs)`);
  });

  test("a packet that follows its session says so", async () => {
    const { text } = await steps(`\
  - open: shop/api-0:40000 -> shop/db:5432
  - send: shop/api-0:40000 -> shop/db:5432
    expect: deny
`);
    expect(text).toContain("step 2 of 2, line 6: send shop/api-0:40000 -> shop/db:5432");
    expect(text).toContain("expected deny, got ALLOW");
    expect(text).toMatch(/it follows its session.*: no policy is asked/);
  });

  test.each<[string, string]>([
    ["  - open: shop/apo -> shop/db:5432\n", '5:11 "shop/apo": no pod, workload or Service'],
    ["  - open: shop/api -> shop/db:5432\n  - apply: lokdown.yaml\n",
      '6:12 "lokdown.yaml": no such file or folder in k8s or .'],
    ["  - delete: NetworkPolicy shop/dbb\n  - open: shop/api -> shop/db:5432\n",
      '5:13 "NetworkPolicy shop/dbb": there is no such object; did you mean NetworkPolicy ' +
        "shop/db?"],
    ["  - apply: |\n      kind: Pod\n      apiVersion: v1\n  - open: shop/api -> shop/db:5432\n",
      "line 1 of it: Pod"],
    ["  - send: a/b -> internet/icmp:3/0\n  - reply: a/b -> internet/icmp:3/0\n"
      .replaceAll("a/b", "ops/toolbox"),
      '"icmp:3/0": nothing answers that'],
  ])("%j", async (text, message) => {
    const { text: said, status } = await steps(text);
    expect(said).toContain(message);
    expect(status).toBe(2);
  });
});

describe("test-steps-vitest: the same in TypeScript", () => {
  let shop: PolicyCluster;
  beforeAll(async () => {
    shop = await cluster(session.path("k8s"), {
      endpoints: { stranger: { namespace: "other", labels: { app: "curl" } } },
    });
  });
  afterAll(() => shop.close());

  test("a session outlives a lock-down", async () => {
    const s = await shop.fork();
    const opened = s.open("shop/api:40000 -> shop/db:5432");
    expect(opened).toBeAllowed();
    await s.apply("../lockdown.yaml");
    expect(opened.send()).toBeAllowed();
    expect(opened.reply()).toBeAllowed();
    expect(opened.send().packets[0]).toMatchObject({ reason: "established", stages: [] });
    expect(s.flow("shop/api -> shop/db:5432")).toBeDenied();
    expect(s.open("shop/api -> shop/db:5432")).toBeDenied({ at: "ingress" });
    expect(shop.flow("shop/api -> shop/db:5432")).toBeAllowed();
    s.wait("2h");
    expect(opened.send()).toBeDenied();
    await s.delete("NetworkPolicy shop/db", "NetworkPolicy shop/default-deny");
    expect(opened.send()).toBeAllowed();
    expect(s.open("stranger -> shop/db:9")).toBeAllowed();
    s.close();
  });

  test("asking every class of flows beside them disturbs no session", async () => {
    const s = await shop.fork();
    const opened = s.open("shop/api:40000 -> shop/db:5432");
    expect(s.to("shop/db")).toBeReachableOnlyBy(["shop/api -> 5432/tcp", "ops/* -> 22/tcp"]);
    await s.apply("../lockdown.yaml");
    expect(opened.send()).toBeAllowed();
    s.close();
  });

  test("rejects and drops, with their reasons", async () => {
    const s = await shop.fork();
    await s.delete("Deployment shop/api");
    const web = "shop/web-6f9c7d-4x2lp";
    expect(s.open(`${web} -> shop/svc/api:80`)).toBeRejected("no-backend");
    expect(s.flow(`${web} -> shop/svc/api:80`)).toBeRejected();
    expect(s.flow(`${web} -> shop/svc/api:80`)).not.toBeDropped();
    expect(() => expect(s.flow(`${web} -> shop/svc/api:80`)).toBeRejected("source-range"))
      .toThrow("expected reject (source-range), got REJECT (no-backend)");
    expect(s.flow(`${web} -> node:node-1:22`)).toBeDropped("endpoint-to-host");
    s.close();
  });

  test("what sessions need, and times that are none", async () => {
    expect(() => shop.open("shop/api -> shop/db:5432")).toThrow(
      "open(): sessions are a fork's own: const s = await cluster.fork()");
    const s = await shop.fork();
    expect(() => s.wait("soon")).toThrow('"soon": a wait is a number with its unit');
    expect(() => s.open("shop/apo -> shop/db:1")).toThrow('"shop/apo": no pod');
    await expect(s.apply("nowhere.yaml")).rejects.toThrow('"nowhere.yaml": no such file');
    expect(() => expect(s.open("shop/api -> shop/db:5432")).toBeDenied()).toThrow(
      "expected deny, got ALLOW");
    s.close();
  });
});
