// What other dataplanes get wrong, each as a test that shows it right here: manifests in, packets
// through the node's program, a verdict out. docs/semantics.md is the page of them; each row names
// the test by its id.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { Cluster } from "../../host/cluster/cluster.ts";
import type { FlowResult } from "../../host/cluster/types.ts";
import { snapshotOf } from "../../host/input/snapshot.ts";
import type { Snapshot } from "../../host/model/snapshot.ts";

/** A server with the policies that a test gives, a client, a second client. */
const PODS = `
kind: Namespace
apiVersion: v1
metadata: { name: a }
---
kind: Namespace
apiVersion: v1
metadata: { name: b, labels: { team: b } }
---
kind: Pod
apiVersion: v1
metadata: { name: server, namespace: a, labels: { app: server } }
spec:
  nodeName: node-1
  containers:
  - name: server
    ports:
    - { name: http, containerPort: 8080 }
    - { name: signal, containerPort: 9899, protocol: SCTP }
status: { podIPs: [{ ip: 10.1.0.1 }, { ip: "fd00:1::1" }] }
---
kind: Pod
apiVersion: v1
metadata: { name: client, namespace: a, labels: { app: client } }
spec: { nodeName: node-1, containers: [{ name: client }] }
status: { podIPs: [{ ip: 10.1.0.2 }, { ip: "fd00:1::2" }] }
---
kind: Pod
apiVersion: v1
metadata: { name: other, namespace: b, labels: { app: other } }
spec: { nodeName: node-1, containers: [{ name: other }] }
status: { podIPs: [{ ip: 10.1.0.3 }, { ip: "fd00:1::3" }] }
`;
const NODE = `
kind: Node
apiVersion: v1
metadata: { name: node-1 }
status: { addresses: [{ type: InternalIP, address: 192.168.0.1 }] }
---
kind: HostEndpoint
apiVersion: projectcalico.org/v3
metadata: { name: eth0, labels: { role: node } }
spec: { node: node-1, interfaceName: eth0, expectedIPs: [192.168.0.1] }
`;

function snapshot(...texts: string[]): Snapshot {
  const values = [PODS, ...texts].flatMap((text) =>
    parseAllDocuments(text).map((document) => document.toJS() as unknown));
  const read = snapshotOf(values);
  expect(read.findings.filter(({ severity }) => severity === "error")).toEqual([]);
  return read.snapshot;
}
const cluster = (...texts: string[]): Promise<Cluster> =>
  Cluster.fromSnapshot(snapshot(...texts));
/** One result for both families, which have to agree. */
function verdict(of: Cluster, flow: string): FlowResult["verdict"] {
  const results = of.run(of.flows(flow));
  const verdicts = new Set(results.map((each) => each.verdict));
  expect([...verdicts], flow).toHaveLength(1);
  return results[0]!.verdict;
}
function verdicts(of: Cluster, ...flows: string[]): string[] {
  return flows.map((flow) => verdict(of, flow));
}

/** A Calico policy of the server's ingress. */
const policy = (name: string, rules: string, more = "", kind = "NetworkPolicy"): string => `
kind: ${kind}
apiVersion: projectcalico.org/v3
metadata: { name: ${name}${/^Global/.test(kind) ? "" : ", namespace: a"} }
spec: { selector: app == 'server', types: [Ingress], ingress: [${rules}]${more} }
`;
const FIRST = `
kind: Tier
apiVersion: projectcalico.org/v3
metadata: { name: first }
spec: { order: 10 }
`;
const TO_SERVER = "a/client -> a/server:8080";

describe("tiers and actions", () => {
  test("field-pass: pass goes on to the next tier, not to the profiles", async () => {
    const of = await cluster(FIRST,
      policy("first.pass", "{ action: Pass }", ", tier: first", "GlobalNetworkPolicy"),
      policy("web", "{ action: Deny, source: { selector: app == 'client' } }, { action: Allow }"));
    expect(verdicts(of, TO_SERVER, "b/other -> a/server:8080")).toEqual(["deny", "allow"]);
  });

  test("field-staged: a staged policy decides nothing", async () => {
    const of = await cluster(policy("no", "{ action: Deny }", "", "StagedNetworkPolicy"));
    expect(verdict(of, TO_SERVER)).toBe("allow");
  });

  test("field-log: a Log rule does not end its policy", async () => {
    const of = await cluster(policy("log", "{ action: Log }, { action: Deny }"));
    expect(verdict(of, TO_SERVER)).toBe("deny");
  });

  test("field-profile-pass: a profile's pass lets nothing through", async () => {
    const of = await cluster(`
kind: Profile
apiVersion: projectcalico.org/v3
metadata: { name: waves-on }
spec: { ingress: [{ action: Pass }, { action: Allow }], egress: [{ action: Allow }] }
---
kind: HostEndpoint
apiVersion: projectcalico.org/v3
metadata: { name: eth0 }
spec: { node: node-1, interfaceName: eth0, expectedIPs: [192.168.0.1], profiles: [waves-on] }`);
    expect(verdict(of, "198.51.100.1 -> 192.168.0.1:80")).toBe("deny");
  });
});

describe("what a rule matches", () => {
  test("field-icmp: ICMP type and code are looked at", async () => {
    const of = await cluster(policy("ping",
      "{ action: Allow, protocol: ICMP, icmp: { type: 8, code: 0 } }, " +
      "{ action: Allow, protocol: ICMPv6, icmp: { type: 128 } }"));
    expect(verdicts(of, "a/client -> a/server/icmp:8/0", "a/client -> a/server/icmp:13/0",
      "a/client -> a/server/icmp6:128/0", "a/client -> a/server/icmp6:128/3",
      "a/client -> a/server/icmp6:1/0")).toEqual(["allow", "deny", "allow", "allow", "deny"]);
  });

  test("field-ip-version: ipVersion is looked at", async () => {
    const of = await cluster(policy("six", "{ action: Allow, ipVersion: 6 }"));
    expect(of.run(of.flows(TO_SERVER)).map(({ flow, verdict }) => [flow.to.address, verdict])
      .sort()).toEqual([["10.1.0.1", "deny"], ["fd00:1::1", "allow"]]);
  });

  test("field-protocols: every protocol is judged, those by number too", async () => {
    const of = await cluster(policy("gre", "{ action: Allow, protocol: 47 }"));
    expect(verdicts(of, "a/client -> a/server/47", "a/client -> a/server/50",
      "a/client -> a/server:9/sctp", "a/client -> a/server:9/udp"))
      .toEqual(["allow", "deny", "deny", "deny"]);
  });

  test("field-protocol-names: ICMPv6 and UDPLite are known by name, negated too", async () => {
    const by = (rule: string) => cluster(policy("named", rule));
    const six = "a/client -> a/server/icmp6:128/0";
    const lite = "a/client -> a/server:9/udplite";
    expect(verdicts(await by("{ action: Allow, protocol: ICMPv6 }"), six, lite))
      .toEqual(["allow", "deny"]);
    expect(verdicts(await by("{ action: Allow, protocol: UDPLite }"), six, lite))
      .toEqual(["deny", "allow"]);
    expect(verdicts(await by("{ action: Allow, notProtocol: ICMPv6 }"), six, lite))
      .toEqual(["deny", "allow"]);
  });

  test("field-sctp-named-port: a named port of SCTP is one", async () => {
    const of = await cluster(policy("signal",
      "{ action: Allow, protocol: SCTP, destination: { ports: [signal] } }"));
    expect(verdicts(of, "a/client -> a/server:9899/sctp", "a/client -> a/server:9898/sctp",
      "a/client -> a/server:9899/tcp")).toEqual(["allow", "deny", "deny"]);
  });

  test("field-named-port: a named port is an address, a protocol and a port", async () => {
    // The server's http is 8080; the same number of another pod or protocol is not it.
    const of = await cluster(`
kind: NetworkPolicy
apiVersion: projectcalico.org/v3
metadata: { name: out, namespace: a }
spec:
  selector: app == 'client'
  types: [Egress]
  egress: [{ action: Allow, protocol: TCP, destination: { ports: [http] } }]`);
    expect(verdicts(of, TO_SERVER, "a/client -> a/server:8080/udp", "a/client -> b/other:8080"))
      .toEqual(["allow", "deny", "deny"]);
  });

  test("field-empty-set: a selector that selects nobody matches nobody", async () => {
    const of = await cluster(policy("ghost",
      "{ action: Allow, source: { selector: app == 'ghost' } }"));
    expect(verdict(of, TO_SERVER)).toBe("deny");
  });
});

describe("hosts", () => {
  test("field-pre-dnat: preDNAT policy is asked before any Service is looked up", async () => {
    const of = await cluster(NODE, `
kind: Service
apiVersion: v1
metadata: { name: server, namespace: a }
spec: { selector: { app: server }, clusterIP: 10.96.0.1, ports: [{ port: 80, targetPort: http }] }
---
kind: GlobalNetworkPolicy
apiVersion: projectcalico.org/v3
metadata: { name: block }
spec:
  selector: role == 'node'
  preDNAT: true
  applyOnForward: true
  types: [Ingress]
  ingress:
  - action: Deny
    protocol: TCP
    source: { nets: [203.0.113.0/24] }
    destination: { ports: [80] }`);
    expect(verdicts(of, "203.0.113.9 -> 10.96.0.1:80", "198.51.100.9 -> 10.96.0.1:80",
      "203.0.113.9 -> 10.1.0.1:8080")).toEqual(["deny", "allow", "allow"]);
  });

  test("field-untracked: doNotTrack policy is asked first, and keeps no session", async () => {
    const of = await cluster(NODE, `
kind: GlobalNetworkPolicy
apiVersion: projectcalico.org/v3
metadata: { name: quick }
spec:
  selector: role == 'node'
  doNotTrack: true
  applyOnForward: true
  types: [Ingress]
  ingress:
  - { action: Allow, protocol: UDP, destination: { ports: [5353] } }
  - { action: Deny, protocol: UDP, destination: { ports: [5354] } }`);
    const [allowed, denied] = of.run([
      ...of.flows("198.51.100.9 -> 192.168.0.1:5353/udp"),
      ...of.flows("198.51.100.9 -> 192.168.0.1:5354/udp"),
    ]);
    expect(allowed).toMatchObject({ verdict: "allow", reason: "untracked" });
    expect(denied).toMatchObject({ verdict: "deny", at: "untracked" });
    // Stateless: what the host answers is judged by itself.
    expect(verdict(of, "192.168.0.1:5353 -> 198.51.100.9:40000/udp")).toBe("deny");
  });
});

describe("time", () => {
  test("field-retry: a flow that was denied passes once a policy allows it", async () => {
    const deny = policy("web", "{ action: Deny }"), allow = policy("web", "{ action: Allow }");
    const of = await cluster(deny);
    const flow = "a/client:40000 -> a/server:8080";
    expect(verdicts(of, flow, flow)).toEqual(["deny", "deny"]);
    await of.apply(snapshot(allow));
    expect(verdict(of, flow)).toBe("allow");
  });
});

test("field-page: each test that docs/semantics.md names is there", () => {
  const page = readFileSync("docs/semantics.md", "utf8");
  const named = [...page.matchAll(/`([a-z0-9]+(?:-[a-z0-9]+)+)` *\|$/gm)].map(([, id]) => id!);
  const demands = readFileSync("test/demands.txt", "utf8");
  const own = readFileSync("test/semantics/field.test.ts", "utf8");
  expect(named.length).toBeGreaterThan(15);
  for (const id of named) {
    const there = own.includes(`"${id}: `) || new RegExp(`^${id}\\s`, "m").test(demands);
    expect(there, `${id} is the id of a test`).toBe(true);
  }
});
