// Every verdict that a command prints comes out of process(): under a core that says the opposite,
// each command says the opposite.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildCommand, type Run } from "../../command.ts";
import { flippedCore } from "../../flipped.ts";

const folder = mkdtempSync(join(tmpdir(), "margay-flipped-"));
const state = join(folder, "shop.yaml");
const core = join(folder, "flipped.wasm");
let command: (...args: string[]) => Run;

const pod = (name: string): string => `apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} } }
spec: { containers: [{ name: ${name}, image: ${name}, ports: [{ containerPort: 5432 }] }] }
`;
const policy = (name: string, spec: string): string => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: ${name}, namespace: shop }
spec: ${spec}
`;
const MANIFESTS = [
  ...["web", "api", "db"].map(pod),
  policy("db", "{ podSelector: { matchLabels: { app: db } }, policyTypes: [Ingress], ingress: " +
    "[{ from: [{ podSelector: { matchLabels: { app: api } } }], ports: [{ port: 5432 }] }] }"),
  policy("web", "{ podSelector: { matchLabels: { app: web } }, policyTypes: [Egress], egress: " +
    "[{ to: [{ podSelector: { matchLabels: { app: api } } }] }] }"),
].join("---\n");
const TESTS = `kind: PolicyTest
manifests: [shop.yaml]
tests:
- name: only the API reaches the database
  to: shop/db:5432
  allow: [shop/api]
  deny: [shop/web]
`;

beforeAll(async () => {
  writeFileSync(state, MANIFESTS);
  writeFileSync(join(folder, "shop.test.yaml"), TESTS);
  writeFileSync(core, flippedCore());
  command = await buildCommand("flipped");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The same command under the core as it is, and under the one that says the opposite. */
function both(...args: string[]): { straight: Run; flipped: Run } {
  const straight = command(...args);
  process.env["MARGAY_CORE"] = core;
  try {
    return { straight, flipped: command(...args) };
  } finally {
    delete process.env["MARGAY_CORE"];
  }
}

describe("verdicts-from-core: commands repeat what the packet program says", () => {
  test("verdict, of flows", () => {
    const { straight, flipped } = both(
      "verdict", "--state", state, "shop/api -> shop/db:5432", "shop/web -> shop/db:5432",
    );
    const verdicts = ({ lines }: Run): string[] => lines.filter((line) => line.startsWith("shop/"));
    expect([straight.status, flipped.status]).toEqual([0, 0]);
    expect([straight.error, flipped.error]).toEqual(["", ""]);
    expect(verdicts(straight)).toEqual(
      ["shop/api -> shop/db:5432/tcp  allow", "shop/web -> shop/db:5432/tcp  DENY"]);
    expect(verdicts(flipped)).toEqual(
      ["shop/api -> shop/db:5432/tcp  DENY", "shop/web -> shop/db:5432/tcp  allow"]);
  });

  test("verdict, of probes and of one side", () => {
    const probes = join(folder, "probes.jsonl");
    const probe = { from: "shop/api", to: "shop/db", protocol: "tcp" };
    writeFileSync(probes, [
      { id: 1, ...probe, port: 5432 }, { id: 2, ...probe, port: 5433 },
      { id: 3, ...probe, port: 5433, side: "egress" },
      { id: 4, ...probe, port: 5433, side: "ingress" },
    ].map((each) => JSON.stringify(each)).join("\n"));
    const { straight, flipped } = both("verdict", "--state", state, "--probes", probes);
    const verdicts = ({ text }: Run): string[] => text.trim().split("\n")
      .map((line) => (JSON.parse(line) as { verdict: string }).verdict);
    expect(verdicts(straight)).toEqual(["allow", "deny", "allow", "deny"]);
    expect(verdicts(flipped)).toEqual(["deny", "allow", "deny", "allow"]);
  });

  test("verdict, of bare programs", () => {
    const programs = join(folder, "programs.jsonl");
    const packet = { protocol: 6, src_ip: "10.0.0.1", src_port: 1, dst_ip: "10.0.0.2" };
    writeFileSync(programs, JSON.stringify({
      id: "p", ip_version: 4, ipsets: {},
      rules: { tiers: [{ name: "t", end_action: "deny", policies: [{ name: "a", rules: [
        { action: "allow", dst_ports: [{ first: 80, last: 80 }] },
      ] }] }], profiles: [] },
      packets: [{ id: 1, ...packet, dst_port: 80 }, { id: 2, ...packet, dst_port: 81 }],
    }));
    const { straight, flipped } = both("verdict", "--programs", programs);
    const verdicts = ({ text }: Run): string[] => text.trim().split("\n")
      .map((line) => (JSON.parse(line) as { verdict: string }).verdict);
    expect(verdicts(straight)).toEqual(["allow", "deny"]);
    expect(verdicts(flipped)).toEqual(["deny", "allow"]);
  });

  test("test", () => {
    const { straight, flipped } = both("test", folder);
    expect([straight.status, flipped.status]).toEqual([0, 1]);
    expect(flipped.text).toMatch(/shop\/api.*expected allow, got DENY/);
    expect(flipped.text).toMatch(/shop\/web.*expected deny, got ALLOW/);
  });

  test("check: who may not ask DNS", () => {
    const { straight, flipped } = both("check", state);
    expect(straight.text).toMatch(/shop\/web.*DNS/);
    expect(flipped.text).not.toMatch(/DNS/);
  });

  test("replay", () => {
    const { straight, flipped } = both(
      "replay", "examples/capture/shop.pcapng", "--state", "examples/shop", "--engine", "node",
    );
    expect(straight.text).toMatch(/allowed/);
    expect(straight.status).toBe(0);
    expect(flipped.text).not.toBe(straight.text);
  });
});
