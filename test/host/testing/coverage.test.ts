// Coverage: rules that decided nothing, rules that no test would miss; both by running the tests'
// packets on clusters with and without the rule.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Session } from "./session.ts";

let session: Session;
beforeAll(() => {
  session = new Session();
  session.write("k8s/more.yaml", `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: more, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  policyTypes: [Ingress]
  ingress:
  - from: [{ podSelector: { matchLabels: { app: api } } }]
    ports: [{ port: 5432 }]
  - from: [{ podSelector: { matchLabels: { app: nobody } } }]
`);
});
afterAll(() => session.remove());

describe("test-coverage: what tests don't test", () => {
  test("rules that decided no flow, rules that are not missed", async () => {
    const { status, lines } = await session.run(["k8s"], { coverage: true });
    const from = lines.findIndex((line) => line.includes("policy rules"));
    // Of the two rules that let the API in, the first decides, and no test could tell.
    expect(lines.slice(from, -1)).toEqual([
      " policy rules decided by a test  6 of 8 (75 %)",
      "   k8s/more.yaml:8   NetworkPolicy shop/more ingress[0]  never decided a flow",
      "   k8s/more.yaml:10  NetworkPolicy shop/more ingress[1]  never decided a flow",
      "   k8s/db.yaml:10    NetworkPolicy shop/db ingress[0]    removing it fails no test",
    ]);
    expect(status).toBe(0);
  });

  test("below the threshold is a failure", async () => {
    const { status, complaint } = await session.run(["k8s/db.test.yaml"],
      { coverage: true, threshold: 90 });
    expect(status).toBe(1);
    expect(complaint).toMatch(/^margay: coverage is \d+\.\d %, the threshold 90 %$/);
  });

  test("in JSON too", async () => {
    const { text } = await session.run(["k8s/db.test.yaml"], { coverage: true, reporter: "json" });
    const { coverage } = JSON.parse(text) as { coverage: { rules: number; neverDecided: {
      policy: string; path: string; file: string; line: number }[] } };
    expect(coverage.rules).toBe(8);
    expect(coverage.neverDecided).toContainEqual({
      policy: "NetworkPolicy shop/db", path: "ingress[1]", file: "k8s/db.yaml",
      line: 15,
    });
  });
});

describe("rules of tiers", () => {
  test("a pass counts where flows go another way without it; log, staged don't", async () => {
    const tiers = new Session();
    try {
      tiers.write("k8s/tiers.yaml", `apiVersion: projectcalico.org/v3
kind: Tier
metadata: { name: platform }
spec: { order: 100 }
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: { name: platform.door }
spec:
  tier: platform
  selector: projectcalico.org/namespace == 'shop'
  types: [Ingress]
  ingress:
  - action: Log
  - action: Deny
    protocol: 47
  - action: Pass
    protocol: TCP
  - action: Pass
    protocol: UDP
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: { name: platform.later }
spec:
  tier: platform
  selector: all()
  types: [Ingress]
  ingress: [{ action: Deny }]
`);
      tiers.write("k8s/tcp.test.yaml", `kind: PolicyTest
tests:
- { name: a, to: "shop/web:8080", allow: [internet] }
`);
      const { text } = await tiers.run(["k8s/tcp.test.yaml"], { coverage: true, reporter: "json" });
      const { coverage } = JSON.parse(text) as {
        coverage: { neverDecided: { policy: string; path: string }[] };
      };
      const door = coverage.neverDecided.filter(({ policy }) => policy.includes("platform"));
      expect(door.map(({ policy, path }) => `${policy} ${path}`)).toEqual([
        "GlobalNetworkPolicy platform.door ingress[1]",
        "GlobalNetworkPolicy platform.door ingress[3]",
      ]);
    } finally {
      tiers.remove();
    }
  });
});
