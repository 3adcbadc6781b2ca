// Kubernetes' kinds: what is refused, in which words, and what is filled in.
import { describe, expect, test } from "vitest";
import { object, policy, read } from "./files.ts";

const faults = (spec: string): string[] => read({ "p.yaml": policy(spec) }).lines
  .map((line) => line.replace(/^p\.yaml:/, "").replace("NetworkPolicy shop/x ", ""));

describe("schema-networkpolicy:", () => {
  test("a misspelt field says what was meant and what its loss would mean", () => {
    expect(read({
      "k8s/db.yaml": policy("podSelector: {}\ningress:\n- from:\n  - podSelecter: {}\n"),
    }).lines).toEqual([
      "k8s/db.yaml:10:7 NetworkPolicy shop/x spec.ingress[0].from[0].podSelecter: unknown field; " +
      "did you mean podSelector? The API server would drop it: an empty peer is refused",
    ]);
  });

  test.each([
    ["ingress:\n- form: []", "8:5 spec.ingress[0].form: unknown field; did you mean from? The API" +
      " server would drop it: a rule without from allows every source"],
    ["egress:\n- to: []\n  port: [{port: 1}]", "9:5 spec.egress[0].port: unknown field; did you " +
      "mean ports? The API server would drop it: a rule without ports allows every port"],
    ["podSelecter: {}", "7:3 spec.podSelecter: unknown field; did you mean podSelector? The API " +
      "server would drop it: without podSelector the policy selects every pod of its namespace"],
    ["podSelector: {matchLabel: {a: b}}", "7:17 spec.podSelector.matchLabel: unknown field; did " +
      "you mean matchLabels? The API server would drop it: an empty selector picks everything"],
    ["tier: x", "7:3 spec.tier: unknown field; known here: podSelector, ingress, egress, " +
      "policyTypes. The API server would drop it"],
    ["ingress:\n- from:\n  - namespaceSelector: {}\n    podSelctor: {}", "10:7 spec.ingress[0]." +
      "from[0].podSelctor: unknown field; did you mean podSelector? The API server would drop " +
      "it: without podSelector all pods of those namespaces would match"],
    ["ingress:\n- from: [{ipBlock: {cidr: 10.0.0.0/8, excpt: [10.1.0.0/16]}}]", "8:41 spec." +
      "ingress[0].from[0].ipBlock.excpt: unknown field; did you mean except? The API server " +
      "would drop it: the whole block would match"],
    ["ingress:\n- from: [{}]", "8:12 spec.ingress[0].from[0]: empty peer: the API server refuses" +
      " it; podSelector: {} is every pod of this namespace, namespaceSelector: {} every pod"],
    ["ingress:\n- from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]", "8:30 spec.ingress[0]" +
      ".from[0].ipBlock: can't stand beside podSelector or namespaceSelector: the API server " +
      "refuses it; make it a peer of its own"],
    ["ingress:\n- from: [{ipBlock: {cidr: 10.0.0.0/33}}]", /cidr: "10\.0\.0\.0\/33": the prefix /],
    ["ingress:\n- from: [{ipBlock: {cidr: 10.0.0.1}}]", /needs a prefix length: 10\.0\.0\.1\/32/],
    ["ingress:\n- from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]",
      /except\[0\]: 11\.0\.0\.0\/16 must lie within 10\.0\.0\.0\/8, and be smaller/],
    ["ingress:\n- from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]", /be smaller/],
    ["ingress:\n- ports: [{port: 80, protocol: tcp}]", "8:24 spec.ingress[0].ports[0].protocol: " +
      'must be TCP, UDP or SCTP, is "tcp"; did you mean TCP?'],
    ["ingress:\n- ports: [{port: 90, endPort: 80}]", /endPort: 80 is below port 90/],
    ["ingress:\n- ports: [{port: http, endPort: 80}]", /endPort: needs a port that is a number/],
    ["ingress:\n- ports: [{port: 65536}]", /ports\[0\]\.port: must be a port \(1 to 65535\)/],
    ["ingress:\n- ports: [{port: '80'}]", /port: must be a number: 80 without quotes/],
    ["ingress:\n- ports: [{port: Http!}]", /"Http!" is no port name/],
    ["policyTypes: [ingress]", /policyTypes\[0\]: must be Ingress or Egress, is "ingress"; did /],
    ["ingress: {from: []}", "7:3 spec.ingress: must be a list, is an object"],
    ["podSelector: {matchLabels: {a: yes}}", "7:31 spec.podSelector.matchLabels.a: must be a " +
      "string, is true (kubectl reads yes, on and true so); quote it"],
    ["podSelector: {matchLabels: {a b: c}}", /"a b" is no label key/],
    ["podSelector: {matchLabels: {a: 'c d'}}", /"c d" is no label value/],
    ["podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}",
      /operator: must be In, NotIn, Exists or DoesNotExist, is "in"; did you mean In\?/],
    ["podSelector: {matchExpressions: [{key: a, operator: In}]}", /In needs at least one value/],
    ["podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}", /left out with/],
  ])("%s", (spec, expected) => {
    expect(faults(spec)).toEqual([
      typeof expected === "string" ? expected : expect.stringMatching(expected),
    ]);
  });

  test("what a server prints is read back, and its defaults are filled in", () => {
    const { lines, snapshot } = read({
      "p.yaml": policy("podSelector:\ningress:\n- from: null\n  ports: [{port: 80}]\negress: [{}]")
        .replace("  name: x", "  name: x\n  creationTimestamp: null\n  managedFields: [{a: 1}]\n" +
          "  resourceVersion: '3'\n  uid: u\n  generation: 1") + "status: {}\n",
    });
    expect(lines).toEqual([]);
    expect(snapshot.policies[0]!.value["spec"]).toEqual({
      podSelector: {}, ingress: [{ ports: [{ port: 80, protocol: "TCP" }] }], egress: [{}],
      policyTypes: ["Ingress", "Egress"],
    });
  });

  test("metadata is read strictly too, and names are checked", () => {
    const { lines } = read({
      "a.yaml": policy("{}").replace("namespace:", "namespce:"),
      "b.yaml": policy("{}").replace("name: x", "name: My_Policy"),
      "c.yaml": policy("{}").replace("name: x", "labels: {}"),
    });
    expect(lines).toEqual([
      expect.stringMatching(/^a\.yaml:5:3 .*metadata\.namespce: unknown field; did you mean name/),
      'b.yaml:4:9 NetworkPolicy shop/My_Policy metadata.name: "My_Policy" is no name: a-z, 0-9, ' +
      "- and .",
      "c.yaml:3:1 NetworkPolicy shop/ metadata.name: missing: every object has a name",
    ]);
  });
});

describe("schema-loose:", () => {
  test("pods and workloads may hold what doesn't concern us, but what does must be right", () => {
    const { lines, snapshot } = read({
      "a.yaml": object("v1", "Pod", "", "tolerations: 7\ncontainers:\n- {image: x, ports: " +
        "[{containerPort: 80, hostname: z}]}"),
      "b.yaml": object("apps/v1", "Deployment", "", "replicas: two\ntemplate: {}"),
      "c.yaml": object("v1", "Pod", "", "containers: [{ports: [{containerPort: http}]}]"),
    });
    expect(lines).toEqual([
      'b.yaml:6:3 Deployment default/x spec.replicas: must be a number, is "two"',
      "c.yaml:6:26 Pod default/x spec.containers[0].ports[0].containerPort: must be a " +
      'number, is "http"',
    ]);
    expect(snapshot.pods).toMatchObject([
      { namespace: "default", ports: [{ name: "", port: 80, protocol: "TCP" }] },
    ]);
  });

  test("other kinds are no business of ours", () => {
    const { lines, objects } = read({
      "a.yaml": object("networking.k8s.io/v1", "Ingress", "", "rules: 1"),
      "b.yaml": object("v1", "ConfigMap", "", ""),
      "c.yaml": object("projectcalico.org/v3", "BGPConfiguration", "", "x: 1"),
      "d.yaml": object("crd.antrea.io/v1beta1", "NetworkPolicy", "", "x: 1"),
      "e.yaml": object("serving.knative.dev/v1", "Service", "", "x: 1"),
    });
    expect([lines, objects]).toEqual([[], []]);
  });

  test("a kind or an API misspelt is told", () => {
    expect(read({
      "a.yaml": object("networking.k8s.io/v1", "NetworkPolcy", "", ""),
      "b.yaml": object("networking.k8s.io/v1beta1", "NetworkPolicy", "", ""),
      "c.yaml": object("extensions/v1beta1", "NetworkPolicy", "", ""),
      "d.yaml": "kind: NetworkPolicy\nmetadata: {name: x}\n",
      "e.yaml": object("projectcalico.org/v2", "GlobalNetworkPolicy", "", ""),
    }).lines).toEqual([
      "a.yaml:2:7 NetworkPolcy x kind: no kind NetworkPolcy in networking.k8s.io; did you mean " +
      "NetworkPolicy?",
      "b.yaml:1:13 NetworkPolicy x apiVersion: no API serves NetworkPolicy as " +
      "networking.k8s.io/v1beta1; it is networking.k8s.io/v1",
      expect.stringMatching(/as extensions\/v1beta1; it is networking\.k8s\.io\/v1$/),
      "d.yaml:1:1 NetworkPolicy x: no apiVersion; of a NetworkPolicy it is networking.k8s.io/v1, " +
      "projectcalico.org/v3 or crd.projectcalico.org/v1",
      expect.stringMatching(/as projectcalico\.org\/v2; it is projectcalico\.org\/v3$/),
    ]);
  });
});

describe("schema-admin:", () => {
  const CNP = "policy.networking.k8s.io/v1alpha2";
  const ANP = "policy.networking.k8s.io/v1alpha1";
  const cluster = (spec: string): string[] => read({
    "p.yaml": object(CNP, "ClusterNetworkPolicy", "", `priority: 1\ntier: Admin\n${spec}`),
  }).lines.map((line) => line.replace("ClusterNetworkPolicy x ", ""));

  test("a whole ClusterNetworkPolicy is read, defaults of its selectors too", () => {
    const { lines, snapshot } = read({
      "p.yaml": object(CNP, "ClusterNetworkPolicy", "", `
tier: Baseline
priority: 1000
subject: {pods: {podSelector: {matchLabels: {app: db}}}}
ingress:
- name: a
  action: Accept
  from: [{namespaces: {}}]
  protocols: [{tcp: {destinationPort: {number: 80}}}]
egress:
- action: Pass
  to: [{networks: [10.0.0.0/8]}, {nodes: {}}, {domainNames: ['*.example.com']}]
  protocols: [{udp: {destinationPort: {range: {start: 1, end: 5}}}}]
- {action: Deny, to: [{namespaces: {}}], protocols: [{destinationNamedPort: http}]}
`),
    });
    expect(lines).toEqual([]);
    expect(snapshot.policies[0]).toMatchObject({
      namespace: "", value: { spec: { subject: { pods: { namespaceSelector: {} } } } },
    });
  });

  test.each([
    ["subject: {}", /spec\.subject: a subject needs one of namespaces or pods; the API server re/],
    ["subject: {namespace: {}}", /namespace: unknown field; did you mean namespaces\? .* empty/],
    ["subject: {namespaces: {}}\ningress: [{action: Allow, from: [{namespaces: {}}]}]",
      /action: must be Accept, Deny or Pass, is "Allow"/],
    ["subject: {namespaces: {}}\ningress: [{action: Deny, from: []}]", /from: too few entries: at/],
    ["subject: {namespaces: {}}\ningress: [{action: Deny}]", /from: missing/],
    ["subject: {namespaces: {}}\negress: [{action: Deny, to: [{namespaces: {}, nodes: {}}]}]",
      /to\[0\]: a peer takes one of namespaces, .* not namespaces and nodes/],
    ["subject: {namespaces: {}}\negress: [{action: Deny, to: [{networks: [10.0.0.0/8]}], " +
      "protocols: [{destinationNamedPort: http}]}]", /peers of networks have no named ports/],
    ["subject: {namespaces: {}}\ningress: [{action: Deny, from: [{namespaces: {}}], protocols: " +
      "[{tcp: {destinationPort: {range: {start: 9, end: 9}}}}]}]", /9 must be above start, 9/],
    ["subject: {namespaces: {}}\negres: []", /did you mean egress\? The API server would drop/],
  ])("%s", (spec, expected) => {
    expect(cluster(spec)).toEqual([expect.stringMatching(expected)]);
  });

  test("the elder kinds have their own actions, ports and names", () => {
    const rule = "{action: Allow, from: [{namespaces: {}}], ports: [{portNumber: {port: 80}}, " +
      "{namedPort: http}, {portRange: {start: 1, end: 2, protocol: UDP}}]}";
    const { lines, snapshot } = read({
      "a.yaml": object(ANP, "AdminNetworkPolicy", "", "priority: 5\nsubject: {namespaces: {}}\n" +
        `ingress: [${rule}]`),
      "b.yaml": object(ANP, "BaselineAdminNetworkPolicy", "", "subject: {namespaces: {}}\n" +
        "ingress: [{action: Pass, from: [{namespaces: {}}]}]"),
      "c.yaml": object(ANP, "BaselineAdminNetworkPolicy", "", "subject: {namespaces: {}}"),
    });
    expect(lines).toEqual([
      expect.stringMatching(/^b\.yaml.*action: must be Allow or Deny, is "Pass"/),
      "c.yaml:4:3 BaselineAdminNetworkPolicy x metadata.name: the one baseline policy must be " +
      "called default",
    ]);
    expect(snapshot.policies.map(({ value }) => value["spec"])).toMatchObject([
      { ingress: [{ ports: [{ portNumber: { port: 80, protocol: "TCP" } }, {}, {}] }] },
    ]);
  });
});
