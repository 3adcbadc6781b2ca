// 1,000 flows of tests in a second, start included. On a busy machine a second is longer: by how
// much, the largest part of the start tells (loading binaryen), which needs two cores as the rest
// does; and there it may be half as long again.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { buildCommand } from "../../command.ts";

const SECOND_MS = 1000;
/** Loading binaryen on a machine at rest. */
const LOAD_MS = 330;
const BUSY_SLACK = 1.5;
const ROUNDS = 3;
const SERVICES = 17;

const folder = mkdtempSync(join(tmpdir(), "margay-speed-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function manifests(): object[] {
  return Array.from({ length: SERVICES }, (_, i) => [
    { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: `s${i}`, namespace: "shop" },
      spec: { replicas: 2, selector: { matchLabels: { app: `s${i}` } }, template: {
        metadata: { labels: { app: `s${i}` } },
        spec: { containers: [{ name: "a", image: "a", ports: [{ containerPort: 8080 }] }] } } } },
    { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy",
      metadata: { name: `s${i}`, namespace: "shop" },
      spec: { podSelector: { matchLabels: { app: `s${i}` } }, policyTypes: ["Ingress"], ingress: [{
        from: [{ podSelector: { matchLabels: { app: `s${(i + 1) % SERVICES}` } } }],
        ports: [{ port: 8080 }],
      }] } },
  ]).flat();
}

/** Each service to each other one, two pods to two pods. */
function tests(): object {
  const names = Array.from({ length: SERVICES }, (_, i) => `shop/s${i}`);
  return { kind: "PolicyTest", tests: names.map((to, i) => {
    const from = names[(i + 1) % SERVICES]!;
    return { name: `who asks ${to}`, to: `${to}:8080`, allow: [from],
      deny: names.filter((name) => name !== to && name !== from) };
  }) };
}

function milliseconds(run: () => void): number {
  const times = Array.from({ length: ROUNDS }, () => {
    const started = performance.now();
    run();
    return performance.now() - started;
  });
  return Math.min(...times);
}

test("test-speed: 1,000 flows of tests take a second, start included", async () => {
  writeFileSync(join(folder, "all.json"), JSON.stringify({ kind: "List", items: manifests() }));
  writeFileSync(join(folder, "shop.test.yaml"), JSON.stringify(tests()));
  const command = await buildCommand("speed");
  const runs: ReturnType<typeof command>[] = [];
  const taken = milliseconds(() => runs.push(command("test", folder)));
  const load = milliseconds(() => spawnSync(process.execPath, ["-e", "import('binaryen')"]));
  const [run] = runs;
  const flows = Number(/ ([\d,]+) flows/.exec(run!.text)![1]!.replace(",", ""));
  expect([run!.status, flows]).toEqual([0, SERVICES * (SERVICES - 1) * 4]);
  const busy = load / LOAD_MS;
  const most = SECOND_MS * (busy <= 1.1 ? 1 : busy * BUSY_SLACK);
  console.log(`${flows} flows in ${taken.toFixed(0)} ms; binaryen loads in ${load.toFixed(0)} ms`);
  expect(taken).toBeLessThan(most);
});
