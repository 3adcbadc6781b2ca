// Egress that forgets DNS, judged by the packet program.
import { describe, expect, test } from "vitest";
import { check } from "../../../host/check/check.ts";
import { folderOf, line, object, policy } from "../input/files.ts";

const STAND_IN = ", taken to be pods with k8s-app=kube-dns";
const DEPLOYMENT = (name: string, namespace = "shop"): string => object("apps/v1", "Deployment",
  `namespace: ${namespace}`, `template: {metadata: {labels: {app: ${name}}}}`, "---")
  .replace("name: x", `name: ${name}`);
const PODS = DEPLOYMENT("web") + DEPLOYMENT("api");
const KUBE_DNS = object("apps/v1", "Deployment", "namespace: kube-system",
  "template: {metadata: {labels: {k8s-app: kube-dns}}}").replace("name: x", "name: coredns");
const to = (where: string, ports = "[{port: 53, protocol: UDP}]"): string => {
  return `{to: [${where}], ports: ${ports}}`;
};
const EGRESS = (pods: string, rules: string): string => {
  return policy(`podSelector: ${pods}\npolicyTypes: [Egress]\negress: [${rules}]`);
};
const API = "{podSelector: {matchLabels: {app: api}}}";

/** What is said of DNS. */
async function said(files: Record<string, string>): Promise<string[]> {
  const folder = folderOf({ "pods.yaml": PODS, ...files });
  const { findings } = await check([folder]);
  return findings.map((each) => line(each, folder)).filter((each) => /DNS/.test(each));
}

describe("check-dns:", () => {
  test("a policy that lets nobody ask DNS is told, where it stands", async () => {
    const deny = object("projectcalico.org/v3", "GlobalNetworkPolicy", "", `
selector: has(app)
types: [Egress]`).replace("name: x", "name: deny-egress");
    expect(await said({ "k8s/deny.yaml": deny })).toEqual([
      "k8s/deny.yaml:1:1 GlobalNetworkPolicy deny-egress: no pod in shop may ask DNS " +
      `(kube-system/svc/kube-dns:53/udp${STAND_IN})`,
    ]);
    expect(await said({ "k8s/deny.yaml": deny, "dns.yaml": KUBE_DNS })).toEqual([
      "k8s/deny.yaml:1:1 GlobalNetworkPolicy deny-egress: no pod in shop may ask DNS " +
      "(kube-system/svc/kube-dns:53/udp)",
    ]);
  });

  test("pods that may send elsewhere are named by their workloads", async () => {
    expect(await said({ "a.yaml": EGRESS("{matchLabels: {app: web}}", to(API, "[{port: 80}]")) }))
      .toEqual([`a.yaml:1:1 NetworkPolicy shop/x: no pod of shop/web may ask DNS ` +
        `(kube-system/svc/kube-dns:53/udp${STAND_IN})`]);
  });

  test("a pod that may send nowhere at all is meant so, where others may", async () => {
    expect(await said({ "a.yaml": EGRESS("{matchLabels: {app: web}}", "") })).toEqual([]);
  });

  test("a quarantine is meant so; a denial behind rules that allow is not", async () => {
    const gnp = (egress: string, order: number): string => object("projectcalico.org/v3",
      "GlobalNetworkPolicy", "", `
order: ${order}
selector: app == 'web'
types: [Egress]
egress: [${egress}]`).replace("name: x", `name: x${order}`);
    expect(await said({ "a.yaml": gnp("{action: Deny}", 1), "b.yaml": gnp("{action: Allow}", 2) }))
      .toEqual([]);
    expect(await said({
      "a.yaml": gnp("{action: Allow, protocol: TCP}", 1), "b.yaml": gnp("{action: Deny}", 2),
    })).toEqual([expect.stringMatching(/^b\.yaml:1:1 .*no pod of shop\/web may ask DNS/)]);
  });

  test.each([
    ["anywhere", "{}"],
    ["to kube-dns' pods", to("{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: " +
      "kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}")],
    ["to port 53 of anyone", "{ports: [{port: 53, protocol: UDP}]}"],
    ["to its named port", to("{namespaceSelector: {}}", "[{port: dns, protocol: UDP}]")],
  ])("nothing is said where DNS is let through: %s", async (_what, rule) => {
    expect(await said({ "a.yaml": EGRESS("{}", rule) })).toEqual([]);
  });

  test.each([
    ["over TCP alone", "{ports: [{port: 53}]}"],
    ["to the wrong namespace", to("{namespaceSelector: {matchLabels: {a: b}}}")],
    ["at another port", "{ports: [{port: 5353, protocol: UDP}]}"],
  ])("it is said where DNS is let through, but %s", async (_what, rule) => {
    expect(await said({ "a.yaml": EGRESS("{}", rule) })).toEqual([
      expect.stringContaining("no pod in shop may ask DNS"),
    ]);
  });

  test("of several policies the one that denies is told, else what allows nothing", async () => {
    const all = EGRESS("{}", "").replace("name: x", "name: all");
    const web = EGRESS("{matchLabels: {app: web}}", to(API, "[{port: 80}]"));
    expect(await said({ "a.yaml": web, "b.yaml": all })).toEqual([
      expect.stringMatching(/^b\.yaml:1:1 NetworkPolicy shop\/all: no pod in shop may ask DNS/),
    ]);
    const gnp = object("projectcalico.org/v3", "GlobalNetworkPolicy", "", `
order: 1
types: [Egress]
egress: [{action: Deny, protocol: UDP}]`);
    expect(await said({ "b.yaml": all, "c.yaml": gnp })).toEqual([
      expect.stringMatching(/^c\.yaml:1:1 GlobalNetworkPolicy x: no pod in shop may ask DNS/),
    ]);
  });
});
