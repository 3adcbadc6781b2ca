// `only` is exhaustive: whatever hole is cut into a policy, at any port, protocol, ICMP type or
// address, one of the packets finds it, and the report says which class of traffic it was.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Ground } from "../../../host/testing/ground.ts";
import { flowText } from "../../../host/testing/report/lines.ts";
import { judge, isolatingOf, plan, runPlanned } from "../../../host/testing/runner.ts";
import { parseTestFile } from "../../../host/testing/testfile.ts";

const folder = mkdtempSync(join(tmpdir(), "margay-only-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const pod = (namespace: string, name: string, more = ""): string => `apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, labels: { app: ${name} } }
spec:
  nodeName: ${name === "far" ? "node-2" : "node-1"}
  containers: [{ name: a, image: a, ports: [{ name: http, containerPort: 8080 }] }]
status: { phase: Running, podIPs: [${more}] }
---
`;
const PODS = [
  pod("shop", "db", "{ ip: 10.65.0.2 }, { ip: 'fd00:65::2' }"),
  pod("shop", "api", "{ ip: 10.65.0.3 }, { ip: 'fd00:65::3' }"),
  pod("shop", "far", "{ ip: 10.65.1.4 }, { ip: 'fd00:65::1:4' }"),
  pod("ops", "toolbox", "{ ip: 10.65.0.5 }"),
].join("");
const POOLS = `apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: four }
spec: { cidr: 10.65.0.0/16 }
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: six }
spec: { cidr: "fd00:65::/64" }
---
`;

/** A Calico policy of shop/db that lets the API in at 5432, and whatever `more` says. */
function policy(more: string, kind = "NetworkPolicy"): string {
  return `apiVersion: projectcalico.org/v3
kind: ${kind}
metadata: { name: db, namespace: shop }
spec:
  selector: app == 'db'
  types: [Ingress]
  ingress:
  - { action: Allow, protocol: TCP, source: { selector: app == 'api' }, ` +
    `destination: { ports: [5432] } }
${more}`;
}

/** The failures of `only: entries`, as text. */
function failures(
  more: string, entries = ["shop/api -> 5432/tcp"], extra = "", to = "shop/db",
): Promise<string[]> {
  return failuresOf({ to, only: entries }, more, extra);
}

async function failuresOf(asked: object, more: string, extra = ""): Promise<string[]> {
  const path = join(folder, "all.yaml");
  writeFileSync(path, PODS + POOLS + extra + policy(more));
  const file = parseTestFile(JSON.stringify({
    kind: "PolicyTest", endpoints: { partner: { net: "203.0.113.0/24" } },
    tests: [{ name: "a", ...asked }],
  }), "a.test.yaml");
  const ground = await Ground.open([path], file.endpoints);
  try {
    const isolating = isolatingOf(ground.cluster);
    return runPlanned(plan(file, ground), ground.cluster).flatMap(({ planned, results }) =>
      judge(planned, results, isolating).map((found) => `${flowText(found)} ${found.got}`));
  } finally {
    ground.close();
  }
}

const allow = (rule: string): string => `  - { action: Allow, ${rule} }\n`;

describe("test-only-exhaustive: every hole is found, in its class", () => {
  test("there is none in the policy as it is, of both families", async () => {
    expect(await failures("")).toEqual([]);
  });

  test.each<[string, string, string[]]>([
    ["a port", "protocol: TCP, source: { selector: app == 'far' }, destination: { ports: [6000] }",
      ["shop/far -> shop/db:6000/tcp ALLOW"]],
    ["a range of ports", "protocol: UDP, source: { selector: app == 'far' }, " +
      "destination: { ports: ['100:200'] }", ["shop/far -> shop/db:100-200/udp ALLOW"]],
    ["all but a port", "protocol: TCP, source: { selector: app == 'far' }, " +
      "destination: { notPorts: [22] }",
    ["shop/far -> shop/db:0-21/tcp, :23-5431/tcp, :5432/tcp, :5433-65535/tcp ALLOW"]],
    ["a named port", "protocol: TCP, source: { selector: app == 'far' }, " +
      "destination: { ports: [http] }", ["shop/far -> shop/db:8080/tcp ALLOW"]],
    ["a source port", "protocol: UDP, source: { selector: app == 'far', ports: [68] }",
      ["shop/far -> shop/db:any port/udp from port 68 ALLOW"]],
    ["SCTP", "protocol: SCTP, source: { selector: app == 'far' }",
      ["shop/far -> shop/db:any port/sctp ALLOW"]],
    ["a type of ICMP", "protocol: ICMP, source: { selector: app == 'far' }, " +
      "icmp: { type: 8, code: 0 }", ["shop/far -> shop/db icmp:8/0 ALLOW"]],
    ["a type of ICMPv6", "protocol: ICMPv6, source: { selector: app == 'far' }, " +
      "icmp: { type: 128 }", ["shop/far -> shop/db icmp6:128 ALLOW"]],
    ["a protocol by number", "protocol: 47, source: { selector: app == 'far' }",
      ["shop/far -> shop/db protocol 47 ALLOW"]],
    ["all protocols but two", "notProtocol: TCP, source: { selector: app == 'far' }",
      ["shop/far -> shop/db:any port/udp, :any port/sctp, icmp, any other protocol " +
        "and 1 more ALLOW"]],
    ["everything", "source: { selector: app == 'far' }",
      ["shop/far -> shop/db any traffic ALLOW"]],
    ["a pod of another namespace", "protocol: TCP, source: { namespaceSelector: all(), " +
      "selector: app == 'toolbox' }, destination: { ports: [5432] }",
    ["ops/toolbox -> shop/db:5432/tcp ALLOW"]],
    ["a prefix outside", "protocol: TCP, source: { nets: [198.51.100.0/24] }, " +
      "destination: { ports: [5432] }",
    ["198.51.100.0/24 (198.51.100.1) -> shop/db:5432/tcp ALLOW"]],
    ["half of the test's own net", "protocol: TCP, source: { nets: [203.0.113.128/25] }, " +
      "destination: { ports: [5432] }", ["partner (203.0.113.129) -> shop/db:5432/tcp ALLOW"]],
    ["one address", "protocol: TCP, source: { nets: [192.0.2.77/32] }, " +
      "destination: { ports: [5432] }",
    ["192.0.2.77/32 (192.0.2.77) -> shop/db:5432/tcp ALLOW"]],
    ["IPv6 alone", "protocol: TCP, source: { nets: ['2001:db8::/32'] }, " +
      "destination: { ports: [5432] }",
    ["2001:db8::/32 (2001:db8::1) -> shop/db:5432/tcp ALLOW"]],
  ])("%s", async (_, rule, expected) => {
    expect(await failures(allow(rule))).toEqual(expected);
  });

  const SERVICE = `apiVersion: v1
kind: Service
metadata: { name: front, namespace: shop }
spec:
  type: LoadBalancer
  selector: { app: db }
  clusterIP: 10.96.0.80
  ports: [{ name: sql, port: 80, targetPort: 5432 }]
  loadBalancerSourceRanges: [203.0.113.128/25]
status: { loadBalancer: { ingress: [{ ip: 192.0.2.80 }] } }
---
`;

  test("a Service's port is the one behind it", async () => {
    for (const to of ["shop/svc/front:80", "shop/svc/front:sql"]) {
      expect(await failures("", ["shop/api"], SERVICE, to)).toEqual([]);
      expect(await failures("", [], SERVICE, to)).toEqual(["shop/api -> shop/db:5432/tcp ALLOW"]);
    }
  });

  test("a Service's source ranges are boundaries too", async () => {
    const open = allow("protocol: TCP, destination: { ports: [5432] }");
    expect(await failuresOf({ to: "192.0.2.80:80", allow: ["partner"] }, open, SERVICE))
      .toEqual(["partner (203.0.113.1) -> 192.0.2.80:80/tcp DROP (source-range)"]);
  });

  test("a prefix in allow, deny and flow is each class of its addresses", async () => {
    const half = allow("protocol: TCP, source: { nets: [203.0.113.128/25] }, " +
      "destination: { ports: [5432] }");
    const whole = "203.0.113.0/24", to = "shop/db:5432";
    const open = "203.0.113.129 -> shop/db:5432/tcp ALLOW";
    expect(await failuresOf({ to, deny: [whole] }, half)).toEqual([open]);
    expect(await failuresOf({ flow: `${whole} -> ${to}`, expect: "deny" }, half)).toEqual([open]);
    expect(await failuresOf({ to, allow: [whole] }, half))
      .toEqual(["203.0.113.1 -> shop/db:5432/tcp DENY"]);
    expect(await failuresOf({ to, allow: ["203.0.113.192/26"] }, half)).toEqual([]);
  });

  test("all addresses but one: the internet, and what is private", async () => {
    const found = await failures(allow("protocol: TCP, source: { nets: [0.0.0.0/0], " +
      "notNets: [10.65.0.0/16] }, destination: { ports: [5432] }"));
    expect(found.map((each) => each.replace(/\d+\.\d+\.\d+\.\d+\)/, "ADDRESS)")).sort()).toEqual([
      "0.0.0.0/0 (ADDRESS) -> shop/db:5432/tcp ALLOW",
      "0.0.0.0/0 (ADDRESS) -> shop/db:5432/tcp ALLOW",
      "node:node-2 -> shop/db:5432/tcp ALLOW",
      "partner (ADDRESS) -> shop/db:5432/tcp ALLOW",
    ]);
  });

  test("a set of networks, by its members", async () => {
    const set = `apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: { name: office, labels: { role: office } }
spec: { nets: [192.0.2.0/28, 198.51.100.9/32] }
---
`;
    expect(await failures(allow("protocol: TCP, source: { selector: role == 'office', " +
      "namespaceSelector: global() }, destination: { ports: [5432] }"), undefined, set)).toEqual([
      "192.0.2.0/28 (192.0.2.1) -> shop/db:5432/tcp ALLOW",
    ]);
  });

  test("what an entry lists must pass, at each of its own boundaries", async () => {
    expect(await failures("", ["shop/api -> 5430-5433/tcp", "ops/* -> icmp"])).toEqual([
      "ops/toolbox -> shop/db icmp DENY",
      "shop/api -> shop/db:5430-5431/tcp, :5433/tcp DENY",
    ]);
    expect(await failures("", ["shop/api -> http", "shop/api -> 5432"])).toEqual([
      "shop/api -> shop/db:8080/tcp DENY"]);
  });

  test("entries may be wide: *, a namespace, a prefix, internet, the test's own", async () => {
    const open = allow("protocol: TCP, destination: { ports: [80] }");
    expect(await failures(open, ["* -> 80/tcp", "shop/api -> 5432"])).toEqual([]);
    expect(await failures(open, ["shop/*  -> 80", "ops/* -> 80", "node:node-2 -> 80",
      "0.0.0.0/0 -> 80", "::/0 -> 80", "shop/api -> 5432"])).toEqual([]);
    const found = await failures(open, ["shop/* -> 80", "ops/* -> 80", "node:node-2 -> 80",
      "partner -> 80", "::/0 -> 80", "shop/api -> 5432"]);
    expect(found.map((each) => each.replace(/\(.*?\)/, ""))).toEqual([
      "internet  -> shop/db:80/tcp ALLOW", "private addresses  -> shop/db:80/tcp ALLOW"]);
  });

  test("what is dropped before any policy is asked does not get there either", async () => {
    // Workloads may not send IPIP, whatever their policies say.
    const rule = "protocol: 4, source: { selector: app == 'far' }";
    expect(await failures(allow(rule))).toEqual([]);
    expect(await failures(allow(rule), ["shop/api -> 5432/tcp", "shop/far -> /4"]))
      .toEqual([expect.stringMatching(/^shop\/far -> shop\/db protocol 4 DROP \(.*\)$/)]);
  });

  test("with a port, `to` is about that port alone", async () => {
    const hole = allow("protocol: TCP, source: { selector: app == 'far' }, " +
      "destination: { ports: [6000] }");
    expect(await failures(hole, ["shop/api"], "", "shop/db:5432")).toEqual([]);
    expect(await failures(hole, [], "", "shop/db:6000")).toEqual([
      "shop/far -> shop/db:6000/tcp ALLOW"]);
  });

  test("a node's packets to its own pods are never policed, and no failure", async () => {
    // node-1 is db's node; the other one's packets are judged, and denied.
    const found = await failures("", ["shop/api -> 5432/tcp", "node:node-2 -> 22/tcp"]);
    expect(found).toEqual(["node:node-2 -> shop/db:22/tcp DENY"]);
  });
});
