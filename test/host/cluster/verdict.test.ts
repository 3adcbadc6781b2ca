// `margay verdict`: its formats, its messages and its exit status, run as people run it.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildCommand, type Run } from "../../command.ts";

const folder = mkdtempSync(join(tmpdir(), "margay-verdict-"));
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const lines = (...objects: unknown[]): string =>
  objects.map((each) => JSON.stringify(each)).join("\n");
const answers = ({ text }: Run): unknown[] =>
  text.trim().split("\n").map((line) => JSON.parse(line) as unknown);
let margay: (...args: string[]) => Run;
beforeAll(async () => {
  margay = await buildCommand("verdict");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const pod = (name: string): string => `apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} } }
spec: { containers: [{ name: ${name}, image: ${name}, ports: [{ containerPort: 5432 }] }] }
---
`;
const MANIFESTS = `${["web", "api", "db"].map(pod).join("")}apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  ingress:
  - from:
    - podSelector: { matchLabels: { app: api } }
    ports: [{ port: 5433 }]
  - from:
    - podSelector: { matchLabels: { app: api } }
    ports: [{ port: 5432 }]
---
apiVersion: v1
kind: Service
metadata: { name: db-service, namespace: shop }
spec:
  clusterIP: 10.96.0.9
  selector: { app: db }
  ports: [{ port: 80, targetPort: 5432 }]
`;
const state = file("db.yaml", MANIFESTS);

describe("verdict-text: flows, and who decided", () => {
  test("allowed by a rule as its author wrote it", () => {
    const { status, lines: said } = margay("verdict", "--state", state, "shop/api -> shop/db:5432");
    const line = MANIFESTS.split("\n").lastIndexOf(
      "    - podSelector: { matchLabels: { app: api } }") + 1;
    expect(status).toBe(0);
    expect(said).toEqual([
      "shop/api -> shop/db:5432/tcp  allow",
      "  egress   shop/api  allow  no policy selects it for egress",
      `  ingress  shop/db   allow  ${state}:${line}  NetworkPolicy shop/db  ingress[1].from[0]`,
      "                            app=api   it has app=api",
      "",
    ]);
  });
  test("denied: isolated by whom, and the nearest rule with each condition", () => {
    const { status, text } = margay("verdict", "--state", state, "shop/api -> shop/db:5434");
    expect(status).toBe(0);
    expect(text).toMatch(/shop\/api -> shop\/db:5434\/tcp {2}DENY/);
    expect(text).toMatch(/DENY {3}isolated by NetworkPolicy shop\/db; nearest rule \S+db.yaml:\d+/);
    expect(text).toMatch(/ingress\[0\].from\[0\], 2 of 3 hold/);
    expect(text).toMatch(
      /✓ protocol TCP {3}✓ from app=api {3}✗ ports 5433, the packet has 5434/);
  });
  test("a Service says whom it chose", () => {
    const { text } = margay("verdict", "--state", state, "shop/api -> shop/svc/db-service:80");
    expect(text).toMatch(/service shop\/db-service 10.96.0.9:80 -> [\d.]+:5432 shop\/db/);
  });
  test("as JSON", () => {
    const run = margay("verdict", "--state", state, "--format", "json", "shop/web -> shop/db:1");
    expect(answers(run)).toEqual([{
      id: "shop/web -> shop/db:1/tcp", verdict: "deny", reason: "policy-denied",
      egress: { verdict: "allow", policy: "Profile kns.shop", rule: expect.any(String) },
      ingress: { verdict: "deny", tier: "default" },
    }]);
  });
});

describe("verdict-probes: a line in, a line out, in order", () => {
  test("answers and errors bear the ids", () => {
    const probes = file("probes.jsonl", lines(
      { id: 7, from: "shop/api", to: "shop/db", protocol: "tcp", port: 5432 },
      { id: "x", from: "shop/web", to: "shop/db", protocol: 6, port: 5432, side: "ingress" },
      { id: "y", from: "shop/web", to: "shop/db", protocol: "TCP", port: 5432, side: "egress" },
      { id: 8, from: "shop/nobody", to: "shop/db", protocol: "tcp", port: 1 },
      { id: 9, from: "shop/api", to: "shop/db", protocol: "tcp", port: "http" },
      { id: 10, from: "shop/api", to: "shop/db", protocol: "icmp", icmpType: 8, icmpCode: 0 },
      { id: 11, to: "shop/db", protocol: "tcp", port: 1 },
      { id: 12, from: "8.8.8.8", to: "9.9.9.9", protocol: "tcp", port: 1 },
      { id: 13, from: "shop/api", to: "shop/db-service", protocol: "tcp", port: 80 },
      { id: 14, from: "node:nowhere", to: "shop/db", protocol: "tcp", port: 80 },
    ));
    const run = margay("verdict", "--state", state, "--probes", probes);
    expect([run.status, run.error]).toEqual([0, ""]);
    expect(answers(run)).toEqual([
      expect.objectContaining({ id: 7, verdict: "allow", ingress: {
        verdict: "allow", tier: "default", policy: "NetworkPolicy shop/db", rule: "ingress[1]",
      } }),
      { id: "x", verdict: "deny", reason: "policy-denied",
        ingress: { verdict: "deny", tier: "default" } },
      expect.objectContaining({ id: "y", verdict: "allow" }),
      { id: 8, error: expect.stringMatching(/^"shop\/nobody": no pod, workload or Service/) },
      { id: 9, error: 'port: expected a number from 0 to 65535, not "http"' },
      expect.objectContaining({ id: 10, verdict: "deny" }),
      { id: 11, error: "from is missing: a text" },
      { id: 12, error: expect.stringMatching(/neither end is in the cluster/) },
      expect.objectContaining({ id: 13, verdict: "allow",
        destination: expect.stringMatching(/^[\d.]+:5432$/) }),
      { id: 14, error: expect.stringMatching(/no node of that name/) },
    ]);
    expect(answers(run)[1]).not.toHaveProperty("egress");
    expect(answers(run)[2]).not.toHaveProperty("ingress");
  });
  test("a Felix stream in place of manifests", () => {
    const id = { orchestrator_id: "k8s", workload_id: "shop/db", endpoint_id: "eth0" };
    const stream = file("felix.jsonl", [
      { active_policy_update: { id: { name: "shop/db", namespace: "shop",
        kind: "KubernetesNetworkPolicy" }, policy: { tier: "default", namespace: "shop",
        inbound_rules: [{ action: "allow", src_net: ["10.1.0.0/16"] }] } } },
      { workload_endpoint_update: { id, endpoint: { state: "active", name: "cali1",
        ipv4_nets: ["10.65.0.9/32"], tiers: [{ name: "default", default_action: "Deny",
          ingress_policies: [{ name: "shop/db", namespace: "shop",
            kind: "KubernetesNetworkPolicy" }] }] } } },
      { in_sync: {} },
    ].map((payload, i) => JSON.stringify(
      { ...(i === 0 ? {} : { sequence_number: String(i) }), ...payload })).join("\n"));
    const run = margay("verdict", "--state", stream, "10.1.2.3 -> shop/db:80",
      "10.2.2.3 -> shop/db:80");
    expect(run.error).toBe("");
    expect(run.lines.filter((line) => / -> /.test(line))).toEqual([
      "10.1.2.3 -> shop/db:80/tcp  allow", "10.2.2.3 -> shop/db:80/tcp  DENY",
    ]);
    expect(run.text).toMatch(/✗ from 10.1.0.0\/16, it is 10.2.2.3/);
  });
});

describe("verdict-programs: bare policy programs", () => {
  const packet = { protocol: 6, src_ip: "10.0.0.1", src_port: 1000, dst_ip: "10.0.0.2" };
  const rules = {
    tiers: [
      { name: "empty", end_action: "deny", policies: [] },
      { name: "first", end_action: "pass", policies: [{ name: "a", rules: [
        { action: "pass", protocol: { name: "udp" } },
        { action: "log" },
        { action: "deny", dst_ip_set_ids: ["bad"] },
        { action: "allow", dst_named_port_ip_set_ids: ["www"] },
      ] }] },
    ],
    profiles: [{ name: "prof", rules: [{ action: "allow", src_net: ["10.0.0.0/8", "fd00::/8"] }] }],
  };
  const ipsets = { bad: ["10.0.9.0/24"], www: ["10.0.0.2,tcp:80"] };

  test("tiers, profiles, sets, both families, packets of one tuple", () => {
    const programs = file("programs.jsonl", lines(
      { id: 1, ip_version: 4, rules, ipsets, unknown: true, packets: [
        { id: "a", ...packet, dst_port: 80 }, { id: "b", ...packet, dst_port: 80 },
        { id: "c", ...packet, dst_ip: "10.0.9.1", dst_port: 80 },
        { id: "d", ...packet, dst_port: 81 },
        { id: "e", ...packet, protocol: 17, dst_port: 80 },
        { id: "f", ...packet, src_ip: "11.0.0.1", dst_port: 81 },
        { id: "g", ...packet, protocol: 1, icmp_type: 0, icmp_code: 0 },
        { id: "h", ...packet, protocol: 89, dst_ip: "10.0.0.1" },
      ] },
      { id: 2, ip_version: 6, rules, ipsets: {}, packets: [{ id: 1, ...packet }] },
      { id: 3, ip_version: 6, ipsets: {}, rules: { tiers: [{ name: "t", end_action: "deny",
        policies: [{ name: "p", rules: [{ action: "allow", protocol: { name: "icmpv6" },
          icmp_type: 128 }] }] }] }, packets: [
        { id: 1, protocol: 58, src_ip: "fd00::1", dst_ip: "fd00::2", icmp_type: 128 },
        { id: 2, protocol: 58, src_ip: "fd00::1", dst_ip: "fd00::2", icmp_type: 129 },
        { id: 3, protocol: 6, src_ip: "fd00::1", dst_ip: "10.0.0.1" },
      ] },
    ));
    const run = margay("verdict", "--programs", programs);
    expect([run.status, run.error]).toEqual([0, ""]);
    const allow = { verdict: "allow", tier: "first", policy: "a", rule: 3 };
    const profile = { verdict: "allow", policy: "prof", rule: 0 };
    expect(answers(run)).toEqual([
      { program: 1, id: "a", ...allow }, { program: 1, id: "b", ...allow },
      { program: 1, id: "c", verdict: "deny", tier: "first", policy: "a", rule: 2 },
      { program: 1, id: "d", ...profile }, { program: 1, id: "e", ...profile },
      { program: 1, id: "f", verdict: "deny" },
      { program: 1, id: "g", ...profile }, { program: 1, id: "h", ...profile },
      { program: 2, id: 1, error: 'rules.tiers[1].policies[0].rules[2]: there is no ipset "bad"' },
      { program: 3, id: 1, verdict: "allow", tier: "t", policy: "p", rule: 0 },
      { program: 3, id: 2, verdict: "deny", tier: "t" },
      { program: 3, id: 3, error: "src_ip and dst_ip: two families" },
    ]);
  });
});

describe("verdict-lines: a line that is no JSON is answered in its place, the others too", () => {
  test("of probes, behind a byte order mark and with CRLF", () => {
    const good = '{"id": 1, "from": "shop/web", "to": "shop/db", "protocol": "tcp", "port": 5432}';
    const probes = file("some.jsonl", `\ufeff${good}\r\n\r\n{"id": \r\n${good}\r\n`);
    const run = margay("verdict", "--state", state, "--probes", probes);
    expect([run.status, answers(run)]).toEqual([0, [
      expect.objectContaining({ id: 1, verdict: "deny" }),
      { id: null, error: expect.stringMatching(/some\.jsonl:3: no JSON/) },
      expect.objectContaining({ id: 1, verdict: "deny" }),
    ]]);
  });

  test("of programs", () => {
    const good = '{"id": 1, "rules": {}, "packets": [{"id": 2, "protocol": 6, ' +
      '"src_ip": "10.0.0.1", "dst_ip": "10.0.0.2"}]}';
    const run = margay("verdict", "--programs", file("programs.jsonl", `${good}\n{\n${good}\n`));
    expect([run.status, answers(run)]).toEqual([0, [
      { program: 1, id: 2, verdict: "deny" },
      { program: null, id: null, error: expect.stringMatching(/programs\.jsonl:2: no JSON/) },
      { program: 1, id: 2, verdict: "deny" },
    ]]);
  });
});

describe("verdict-messages: what can't be used is exit 2, with file, line and field", () => {
  test.each<[string[], RegExp]>([
    [["shop/a -> shop/b:1"], /say --state PATH/],
    [["--state", state], /nothing is asked/],
    [["--state", state, "shop/web"], /"shop\/web": no -> in it/],
    [["--state", state, "shop/wep -> shop/db:1"], /"shop\/wep": no pod, workload or Service/],
    [["--state", join(folder, "absent"), "a/b -> c/d:1"], /absent/],
    [["--state", file("bad.yaml", "kind: Pod\napiVersion: v1\nmetadata: { nam: x }\n"),
      "a/b -> c/d:1"], /bad.yaml:3:\d+/],
    [["--state", file("empty.yaml", "\n"), "a/b -> c/d:1"], /no manifests in/],
    [["--state", state, "--node", "n9", "shop/web -> shop/db:1"], /--node n9: no node/],
    [["--state", state, "--probes", join(folder, "none")], /none: no such file/],
    [["--state", state, "--probes", file("bad.jsonl", '\n{"id": ')], /bad.jsonl:2: no JSON: /],
    [["--programs", state, "--node", "x"], /--programs and --node can't go together/],
    [["--programs", file("list.jsonl", "[]")], /list.jsonl:1: a program is a JSON object/],
    [["--engine", "node", "--state", state, "shop/web -> shop/db:1"], /--engine goes with/],
    [["--engine", "vpp"], /Allowed choices are node, native/],
  ])("%o", (args, message) => {
    const { status, error, text } = margay("verdict", ...args);
    expect(error).toMatch(message);
    expect([status, text]).toEqual([2, ""]);
  });
});
