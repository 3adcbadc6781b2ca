// A thousand pods under a thousand policies, from manifests to a node's state: the selectors are
// not asked of every pod one by one. The bound is generous; the line printed is the measurement.
import { expect, test } from "vitest";
import { Calculator } from "../../../host/calc/calculate.ts";
import { networkPolicy, pod, snapshot } from "./snapshots.ts";

const PODS = 1000;
const POLICIES = 1000;
const RULES = 10;
const NAMESPACES = 20;
const APPS = 100;
const LIMIT_MILLISECONDS = 6000;

test("calc-speed: 1,000 pods, 1,000 policies of 10 rules", () => {
  const world = snapshot({
    pods: Array.from({ length: PODS }, (_, i) => pod(
      `ns${i % NAMESPACES}/pod${i}`, `10.0.${i >> 8}.${i & 255}`,
      { labels: { app: `app${i % APPS}`, "statefulset.kubernetes.io/pod-name": `pod${i}` } },
    )),
    namespaces: Object.fromEntries(Array.from({ length: NAMESPACES }, (_, i) => [
      `ns${i}`, { team: `team${i % 5}` },
    ])),
    objects: Array.from({ length: POLICIES }, (_, i) => networkPolicy(
      `ns${i % NAMESPACES}/policy${i}`, {
        podSelector: { matchLabels: { app: `app${i % APPS}` } },
        policyTypes: ["Ingress"],
        ingress: Array.from({ length: RULES }, (_, rule) => ({
          from: [{
            namespaceSelector: { matchLabels: { team: `team${rule % 5}` } },
            podSelector: {
              matchExpressions: [
                { key: "app", operator: "In", values: [`app${(i + rule) % APPS}`, "app0"] },
              ],
            },
          }],
          ports: [{ port: 8000 + rule }],
        })),
      },
    )),
  });
  const start = performance.now();
  const calculator = new Calculator(world);
  const built = performance.now();
  const state = calculator.state("node1");
  const end = performance.now();
  expect(state.workloads.size).toBe(PODS);
  expect(state.policies.size).toBe(POLICIES);
  const web = state.workloads.get("k8s/ns0/pod0/eth0")!;
  expect(web.tiers[0]!.ingress).toHaveLength(POLICIES / APPS);
  console.log(`calc ${PODS} pods, ${POLICIES} policies of ${RULES} rules: ` +
    `${(built - start).toFixed(0)} ms + ${(end - built).toFixed(0)} ms a node, ` +
    `${state.sets.size} sets`);
  expect(end - start).toBeLessThan(LIMIT_MILLISECONDS);
});
