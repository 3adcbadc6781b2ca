// Calico's kinds: what its validator refuses, in which words, and what is filled in.
import { describe, expect, test } from "vitest";
import { object, read } from "./files.ts";

const V3 = "projectcalico.org/v3";
const CRD = "crd.projectcalico.org/v1";
const global = (spec: string): string => object(V3, "GlobalNetworkPolicy", "", spec);
const faults = (text: string): string[] => read({ "p.yaml": text }).lines
  .map((line) => line.replace(/^p\.yaml:\d+:\d+ \w+ (default\/)?x /, ""));

describe("schema-calico:", () => {
  test("a policy of every field is read; types and tier are filled in", () => {
    const { lines, snapshot } = read({
      "p.yaml": global(`
order: 10.5
selector: app == 'x'
namespaceSelector: all()
serviceAccountSelector: has(a)
performanceHints: [AssumeNeededOnEveryNode]
applyOnForward: true
ingress:
- action: Allow
  ipVersion: 4
  protocol: "6"
  notProtocol: UDPLite
  source: {nets: [10.0.0.0/8], notNets: [10.1.0.0/16], selector: a == 'b', notSelector: c == 'd'}
  destination: {ports: [80, "8000:8080", http, "443"], notPorts: [81]}
  http: {methods: [GET], paths: [{exact: /a}, {prefix: /b}]}
  metadata: {annotations: {a: b}}
- {action: Deny, protocol: ICMP, icmp: {type: 8, code: 0}, notICMP: {type: 3}}
- {action: Log, source: {namespaceSelector: global()}}
- {action: Pass, source: {services: {name: s, namespace: ns}}}
- {action: Pass, source: {serviceAccounts: {names: [a], selector: b == 'c'}}}
`),
    });
    expect(lines).toEqual([]);
    expect(snapshot.policies[0]!.value["spec"]).toMatchObject({
      tier: "default", types: ["Ingress"],
      ingress: [
        { protocol: 6, destination: { ports: [80, "8000:8080", "http", 443] } }, {}, {}, {}, {},
      ],
    });
  });

  test.each([
    ["selecter: a == 'b'", "spec.selecter: unknown field; did you mean selector? The API server " +
      "would drop it: without selector the policy selects every endpoint"],
    ["ingress: [{action: Allow, sorce: {}}]", "spec.ingress[0].sorce: unknown field; did you " +
      "mean source? The API server would drop it: without source every sender matches"],
    ["ingress: [{action: Allow, source: {net: [10.0.0.0/8]}}]", "spec.ingress[0].source.net: " +
      "unknown field; did you mean nets? The API server would drop it: an empty side matches " +
      "everything"],
    ["ingress: [{action: allow}]", "spec.ingress[0].action: must be Allow, Deny, Log or Pass, is " +
      '"allow"; did you mean Allow?'],
    ["ingress: [{}]", "spec.ingress[0].action: missing: one of Allow, Deny, Log or Pass"],
    ["ingress: [{action: Allow, protocol: tcp}]", "spec.ingress[0].protocol: must be TCP, UDP, " +
      'ICMP, ICMPv6, SCTP or UDPLite, or 1 to 255, is "tcp"; did you mean TCP?'],
    ["ingress: [{action: Allow, protocol: 0}]", /protocol: must be .* is 0$/],
    ["ingress: [{action: Allow, destination: {ports: [80]}}]", "spec.ingress[0].destination." +
      "ports: ports need protocol TCP, UDP or SCTP; the rule has no protocol"],
    ["ingress: [{action: Allow, protocol: ICMP, source: {notPorts: [http]}}]", "spec.ingress[0]." +
      "source.notPorts: ports need protocol TCP, UDP or SCTP, the rule has ICMP"],
    ["ingress: [{action: Allow, protocol: TCP, destination: {ports: [80-90]}}]",
      'spec.ingress[0].destination.ports[0]: a range is written with a colon: "80:90"'],
    ["ingress: [{action: Allow, protocol: TCP, destination: {ports: ['90:80']}}]",
      "spec.ingress[0].destination.ports[0]: the range 90:80 ends before it begins"],
    ["ingress: [{action: Allow, protocol: TCP, destination: {ports: [70000]}}]", /, is 70000$/],
    ["ingress: [{action: Allow, icmp: {type: 8}}]",
      "spec.ingress[0].icmp: needs protocol ICMP or ICMPv6"],
    ["ingress: [{action: Allow, protocol: ICMP, icmp: {code: 8}}]",
      "spec.ingress[0].icmp: a code needs a type beside it"],
    ["ingress: [{action: Allow, protocol: ICMP, ipVersion: 6}]",
      "spec.ingress[0].ipVersion: ICMP needs ipVersion 4"],
    ["ingress: [{action: Allow, notProtocol: 58, ipVersion: 4}]",
      "spec.ingress[0].ipVersion: 58 needs ipVersion 6"],
    ["ingress: [{action: Allow, ipVersion: 5}]", "spec.ingress[0].ipVersion: must be 4 or 6"],
    ["ingress: [{action: Allow, source: {nets: [10.0.0.1/8]}}]", 'spec.ingress[0].source.nets' +
      '[0]: "10.0.0.1/8" has host bits set; the network is 10.0.0.0/8'],
    ["ingress: [{action: Allow, source: {nets: ['fd00::1/64']}}]", /the network is fd00::\/64$/],
    ["ingress: [{action: Allow, source: {nets: [10.0.0.1]}}]",
      'spec.ingress[0].source.nets[0]: "10.0.0.1" needs a prefix length: 10.0.0.1/32'],
    ["ingress: [{action: Allow, source: {nets: [10.0.0.0/8]}, destination: {nets: ['fd00::/8']}}]",
      "spec.ingress[0].destination.nets[0]: a rule's prefixes must be of one family: fd00::/8 is " +
      "IPv6, 10.0.0.0/8 is IPv4; make it two rules"],
    ["ingress: [{action: Allow, ipVersion: 6, source: {nets: [10.0.0.0/8]}}]",
      "spec.ingress[0].source.nets[0]: 10.0.0.0/8 is IPv4, the rule's ipVersion is 6"],
    ["ingress: [{action: Allow, source: {notNets: [0.0.0.0/0]}}]",
      "spec.ingress[0].source.notNets[0]: 0.0.0.0/0 leaves nothing that could match"],
    ["egress: [{action: Allow, source: {services: {name: a, namespace: b}}}]",
      "spec.egress[0].source.services: can stand in the destination of egress rules alone"],
    ["egress: [{action: Allow, destination: {services: {name: a}}}]", "spec.egress[0].destination" +
      ".services.namespace: missing: in a global policy services need a namespace"],
    ["egress: [{action: Allow, destination: {services: {name: a, namespace: b}, selector: all()}}]",
      "spec.egress[0].destination.selector: can't stand beside services"],
    ["egress: [{action: Allow, http: {methods: [GET]}}]",
      "spec.egress[0].http: can't stand in egress rules"],
    ["ingress: [{action: Deny, http: {methods: [GET]}}]",
      "spec.ingress[0].http: can stand in Allow rules alone"],
    ["ingress: [{action: Allow, protocol: UDP, http: {}}]",
      "spec.ingress[0].http: needs protocol TCP, or none"],
    ["ingress: [{action: Allow, http: {paths: [{exact: a}]}}]", /a must start with \//],
    ["selector: global()", "spec.selector: global() can stand in a rule's namespaceSelector alone"],
    ["ingress: [{action: Allow, source: {namespaceSelector: global() || all()}}]",
      /namespaceSelector: global\(\) can't be combined/],
    ["doNotTrack: true", "spec.doNotTrack: needs applyOnForward: true"],
    ["doNotTrack: true\npreDNAT: true\napplyOnForward: true",
      "spec.preDNAT: preDNAT and doNotTrack can't both be true"],
    ["preDNAT: true\napplyOnForward: true\negress: [{action: Allow}]",
      "spec.egress: preDNAT has no egress rules"],
    ["preDNAT: true\napplyOnForward: true\ntypes: [Egress]",
      "spec.types: preDNAT is of type Ingress alone"],
    ["types: [Ingress, Ingress]", "spec.types: a type is there twice"],
    ["types: [ingress]", /types\[0\]: must be Ingress or Egress, is "ingress"; did you mean Ing/],
    ["types: []", "spec.types: too few entries: at least 1, these are 0"],
    ["order: first", 'spec.order: must be a number, is "first"'],
    ["tier: my.tier", /tier: "my\.tier" is no tier's name/],
  ])("%s", (spec, expected) => {
    expect(faults(global(spec))).toEqual([
      typeof expected === "string" ? expected : expect.stringMatching(expected),
    ]);
  });

  test("names, tiers, sets, host endpoints, pools", () => {
    expect(faults(object(V3, "Tier", "", "order: 1\ndefaultAction: Allow"))).toEqual([
      'spec.defaultAction: must be Deny or Pass, is "Allow"',
    ]);
    const lines = read({
      "a.yaml": object(V3, "Tier", "", "order: 5").replace("name: x", "name: default"),
      "b.yaml": global("{}").replace("name: x", "name: a.b.c"),
      "c.yaml": object(V3, "GlobalNetworkSet", "", "nets: [10.0.0.1, 10.0.0.1/8, 10.0.0.300/8]"),
      "d.yaml": object(V3, "HostEndpoint", "", "node: m"),
      "e.yaml": object(V3, "IPPool", "", "cidr: 10.65.0.1/16"),
      "f.yaml": object(V3, "FelixConfiguration", "", "defaultEndpointToHostAction: drop\n" +
        "bpfEnabled: true\nvxlanPort: high"),
      "g.yaml": object(V3, "StagedGlobalNetworkPolicy", "", "stagedAction: Delete\norder: 3"),
      "h.yaml": object("margay.io/v1", "ModulePolicy", "", "selector: all()"),
      "i.yaml": object(V3, "HostEndpoint", "", "node: m\nexpectedIPs: [10.0.0.0/8]")
        .replace("name: x", "name: z"),
    }).lines;
    expect(lines).toEqual([
      "a.yaml:6:3 Tier default spec.order: of tier default it is 1000000",
      'b.yaml:4:3 GlobalNetworkPolicy a.b.c metadata.name: "a.b.c" is no name for a global ' +
      "policy: a-z, 0-9 and -, with one dot at most",
      expect.stringMatching(/^c\.yaml.*nets\[2\]: "10\.0\.0\.300" is no IP address/),
      "d.yaml:5:1 HostEndpoint x spec: needs interfaceName or expectedIPs",
      'e.yaml:6:3 IPPool x spec.cidr: "10.65.0.1/16" has host bits set; the network is ' +
      "10.65.0.0/16",
      'f.yaml:8:3 FelixConfiguration x spec.vxlanPort: must be a number, is "high"',
      "g.yaml:7:3 StagedGlobalNetworkPolicy x spec.order: can't stand with stagedAction: Delete",
      "h.yaml:5:1 ModulePolicy x spec.module: missing: the API server refuses the object " +
      "without it",
      'i.yaml:7:17 HostEndpoint z spec.expectedIPs[0]: "10.0.0.0/8" is a prefix, not an address',
    ]);
  });

  test("the form that lies in etcd is the same objects, under Calico's names", () => {
    const named = (name: string, spec: string, annotation = ""): string => {
      return object(CRD, "GlobalNetworkPolicy", annotation, spec)
        .replace("name: x", `name: ${name}`);
    };
    const { lines, snapshot } = read({
      "a.yaml": named("default.web", "ingress: []"),
      "b.yaml": named("platform.db", "tier: platform"),
      "c.yaml": named("default.c", "tier: default\ntypes: [Egress]",
        `annotations:\n  projectcalico.org/metadata: '{"name":"default.kept"}'`),
      "d.yaml": object(CRD, "NetworkPolicy", "namespace: shop", "order: 1")
        .replace("name: x", "name: default.d"),
      "e.yaml": object(V3, "NetworkPolicy", "namespace: shop", "tier: default")
        .replace("name: x", "name: default.e"),
    });
    expect(lines).toEqual([]);
    expect(snapshot.policies.map(({ name, value }) => {
      return [name, (value["spec"] as { types?: string[] } | undefined)?.types];
    })).toEqual([
      // types is what Calico's API server fills in; etcd holds what was written.
      ["web", undefined], ["platform.db", undefined], ["default.kept", ["Egress"]],
      ["d", undefined], ["default.e", ["Ingress"]],
    ]);
  });
});
