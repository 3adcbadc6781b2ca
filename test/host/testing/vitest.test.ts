// margay/testing as its users write it, and what its matchers say.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cluster, type PolicyCluster } from "../../../host/testing/index.ts";
import { Session } from "./session.ts";

const K8S = "test/fixtures/session/k8s";
let shop: PolicyCluster;
beforeAll(async () => {
  shop = await cluster(K8S, {
    endpoints: {
      stranger: { namespace: "other", labels: { app: "curl" } },
      partner: { net: "203.0.113.0/24" },
    },
  });
});
afterAll(() => shop.close());

/** What a matcher says where it fails. */
function complaint(assert: () => void): string {
  try {
    assert();
  } catch (error) {
    return (error as Error).message;
  }
  return "";
}

describe("test-vitest: a cluster in a test", () => {
  test("only the API reaches the database", () => {
    expect(shop.flow("shop/api -> shop/db:5432")).toBeAllowed();
    expect(shop.flow("stranger -> shop/db:5432"))
      .toBeDenied({ at: "ingress", by: "NetworkPolicy shop/default-deny" });
    expect(shop.to("shop/db")).toBeReachableOnlyBy(["shop/api -> 5432/tcp", "ops/* -> 22/tcp"]);
  });

  test("from, to, and negations", () => {
    expect(shop.to("shop/db:5432").from("partner")).toBeDenied();
    expect(shop.from("shop/api").to("internet:443")).toBeDenied({ at: "egress" });
    expect(shop.flow("shop/web -> shop/db:5432")).not.toBeAllowed();
    expect(shop.to("shop/db")).not.toBeReachableOnlyBy(["shop/api -> 5432/tcp"]);
  });

  test("an answer says what each packet met", () => {
    const answer = shop.flow("shop/api-0 -> shop/db:5432");
    expect(answer.verdict).toBe("allow");
    expect(answer.packets).toMatchObject([{
      flow: "shop/api-0 -> shop/db-0:5432/tcp", verdict: "allow",
      stages: [
        { stage: "egress", policy: "NetworkPolicy shop/api", rule: "egress[0]" },
        { stage: "ingress", policy: "NetworkPolicy shop/db", rule: "ingress[0]" },
      ],
    }]);
    expect(answer.explain()).toContain(`${K8S}/db.yaml:`);
    expect(shop.flow("shop/* -> shop/db:5432").verdict).toBe("mixed");
  });

  test("what is applied to a fork, the cluster does not see", async () => {
    const twin = await shop.fork();
    await twin.apply("test/fixtures/session/lockdown.yaml");
    expect(twin.flow("shop/api -> shop/db:5432")).toBeDenied();
    expect(shop.flow("shop/api -> shop/db:5432")).toBeAllowed();
    expect(twin.to("shop/db")).toBeReachableOnlyBy([]);
    expect(twin.flow("stranger -> shop/db:5432")).toBeDenied();
    twin.close();
  });

  test("files to apply are looked for beside the manifests too", async () => {
    const session = new Session();
    const own = await cluster(session.path("k8s"));
    await own.apply("../lockdown.yaml");
    expect(own.flow("shop/api -> shop/db:5432")).toBeDenied();
    await own.apply("db.yaml");
    expect(own.flow("shop/api -> shop/db:5432")).toBeAllowed();
    own.close();
    session.remove();
  });
});

describe("what the matchers say", () => {
  test("toBeAllowed: both ends and what was missing", () => {
    const text = complaint(() => expect(shop.flow("stranger -> shop/db:5432")).toBeAllowed());
    expect(text).toContain("stranger -> shop/db:5432\n");
    expect(text).toContain("other/stranger -> shop/db:5432/tcp   expected allow, got DENY");
    expect(text).toMatch(/ingress +shop\/db-0 +DENY +isolated by NetworkPolicy shop\/db, /);
    expect(text).toContain("nearest rule");
  });

  test("toBeDenied: where and by whom", () => {
    const text = complaint(() => expect(shop.flow("shop/api -> internet:443"))
      .toBeDenied({ at: "ingress", by: "NetworkPolicy shop/db" }));
    expect(text).toContain("expected deny at ingress by NetworkPolicy shop/db, got DENY at " +
      "egress by NetworkPolicy shop/api");
    expect(complaint(() => expect(shop.flow("shop/api -> shop/db:5432")).not.toBeAllowed()))
      .toContain("expected anything but allowed");
  });

  test("toBeReachableOnlyBy: how much was tried, and who else", () => {
    const text = complaint(() => expect(shop.to("shop/db"))
      .toBeReachableOnlyBy(["shop/api -> 5432/tcp"]));
    expect(text).toMatch(/^shop\/db: \d+ packets, \d+ sources, \d+ classes of traffic\n/);
    expect(text).toContain("ops/toolbox -> shop/db:22/tcp   expected deny, got ALLOW");
  });

  test("names that nobody has, and things that are no flows", () => {
    expect(() => shop.flow("shop/apo -> shop/db:1")).toThrow(
      '"shop/apo": no pod, workload or Service of that name in shop');
    expect(() => shop.flow("shop/api")).toThrow("no -> in it");
    expect(() => expect(shop.to("shop/db")).toBeReachableOnlyBy(["shop/x -> 1"])).toThrow(
      '"shop/x": no pod');
    expect(() => expect(5).toBeAllowed()).toThrow("cluster.flow(");
    expect(() => expect(shop.flow("shop/api -> shop/db:1")).toBeReachableOnlyBy([])).toThrow(
      "cluster.to(");
  });

  test("endpoints that are none", async () => {
    await expect(cluster(K8S, { endpoints: { a: { net: "10.0.0.0/99" } } })).rejects.toThrow(
      '"10.0.0.0/99": the prefix length must be 0 to 32');
    await expect(cluster("nowhere")).rejects.toThrow("nowhere");
  });
});
