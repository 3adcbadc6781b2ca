// Conditions of rules, ticked and crossed: each field of a rule that a packet can fail, with what
// the packet has instead; and what authors wrote, in a few words.
import { describe, expect, test } from "vitest";
import { Authors } from "../../../host/cluster/author.ts";
import { conditionsOf, type Facts } from "../../../host/cluster/condition.ts";
import type { Rule } from "../../../host/model/rule.ts";
import type { StateSet } from "../../../host/model/state.ts";
import { manifest, pod, smallSnapshot } from "./small.ts";

const facts: Facts = {
  source: "10.65.0.1", destination: "10.65.0.9", protocol: 6, sourcePort: 40_000, port: 5432,
};
const sets = new Map<string, StateSet>([
  ["in", { id: "in", type: "net", members: new Set(["10.65.0.0/24"]) }],
  ["out", { id: "out", type: "ip", members: new Set(["10.66.0.1"]) }],
  ["pg", { id: "pg", type: "ip-port", members: new Set(["10.65.0.9,tcp:5432"]) }],
  ["www", { id: "www", type: "ip-port", members: new Set(["10.65.0.9,tcp:80"]) }],
]);
const said = (rule: Partial<Rule>, more: Partial<Facts> = {}): string[] =>
  conditionsOf({ action: "allow", ...rule }, { ...facts, ...more }, sets)
    .map(({ holds, text, instead }) => `${holds ? "✓" : "✗"} ${text}` +
      (instead === undefined ? "" : `, ${instead}`));

describe("conditions: what holds of a rule and what doesn't", () => {
  test.each<[Partial<Rule>, string[]]>([
    [{ protocol: "tcp" }, ["✓ protocol TCP"]],
    [{ protocol: 17 }, ["✗ protocol UDP, the packet is TCP"]],
    [{ notProtocol: "tcp" }, ["✗ protocol not TCP, the packet is TCP"]],
    [{ ipVersion: 6 }, ["✗ IPv6, the packet is IPv4"]],
    [{ ipVersion: 4 }, []],
    [{ icmp: { type: 8 } }, ["✗ ICMP type 8, the packet is TCP"]],
    [{ source: ["10.0.0.0/8"] }, ["✓ from 10.0.0.0/8"]],
    [{ source: ["10.0.0.0/16", "fd00::/8"] }, ["✗ from 10.0.0.0/16 or fd00::/8, it is 10.65.0.1"]],
    [{ notSource: ["fd00::/8"] }, ["✗ IPv6 (from none of fd00::/8), the packet is IPv4",
      "✓ from none of fd00::/8"]],
    [{ notSource: ["fd00::/8", "10.66.0.0/16"] }, ["✓ from none of fd00::/8, 10.66.0.0/16"]],
    [{ notDestination: ["10.65.0.9"] }, ["✗ to none of 10.65.0.9, it is 10.65.0.9"]],
    [{ sourceSets: ["in", "out"] },
      ["✓ from set in", "✗ from set out, it is 10.65.0.1, not in it"]],
    [{ notSourceSets: ["in"] }, ["✗ from no set in, it is 10.65.0.1, in it"]],
    [{ destinationPortSets: ["pg"] }, ["✓ to service pg"]],
    [{ destinationPortSets: ["www"] }, ["✗ to service www, it is 10.65.0.9:5432"]],
    [{ destinationPorts: [5433] }, ["✗ ports 5433, the packet has 5432"]],
    [{ destinationPorts: ["5000-6000"] }, ["✓ ports 5000-6000"]],
    [{ destinationPorts: [1], destinationNamedPorts: ["pg"] }, ["✓ ports 1, 5432"]],
    [{ destinationNamedPorts: ["www"] }, ["✗ ports 80, the packet has 5432"]],
    [{ notDestinationPorts: [5432] }, ["✗ ports not 5432, the packet has 5432"]],
    [{ sourcePorts: ["1-1023"] }, ["✗ source ports 1-1023, the packet has 40000"]],
    [{ notSourcePorts: [1] }, ["✓ source ports not 1"]],
  ])("%o", (rule, lines) => {
    expect(said(rule)).toEqual(lines);
  });
  test("ICMP has types and no ports", () => {
    const icmp = { protocol: 1, icmp: { type: 3, code: 4 } };
    expect(said({ icmp: { type: 3, code: 4 } }, icmp)).toEqual(["✓ ICMP type 3 code 4"]);
    expect(said({ icmp: { type: 3, code: 1 } }, icmp))
      .toEqual(["✗ ICMP type 3 code 1, the packet has 3/4"]);
    expect(said({ notIcmp: { type: 3 } }, icmp))
      .toEqual(["✗ ICMP not type 3, the packet has 3/4"]);
    expect(said({ destinationPorts: [80] }, icmp)).toEqual(["✗ ports 80, the packet has none"]);
  });
});

describe("author-words: a peer as its author wrote it, and what the end has", () => {
  const policies = [
    manifest("NetworkPolicy", "shop", "db", { spec: { ingress: [{ from: [
      { podSelector: { matchLabels: { app: "api" },
        matchExpressions: [{ key: "tier", operator: "In", values: ["api", "web"] }] } },
      { namespaceSelector: { matchLabels: { team: "a" } }, podSelector: {} },
      { ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } },
    ] }] } }),
    manifest("GlobalNetworkPolicy", "", "gnp", { spec: { egress: [
      { source: { selector: "app == 'web'" }, destination: { nets: ["10.0.0.0/8"] } },
    ] } }),
  ];
  const authors = new Authors({ ...smallSnapshot(), policies });
  const web = pod("shop", "web-0", ["10.65.0.1"], { labels: { app: "web", tier: "web" } });
  const from = { kind: "pod" as const, pod: web, address: "10.65.0.1" };
  const to = { kind: "address" as const, address: "10.65.0.9" };

  test.each([
    ["from[0]", "app=api, tier in (api, web)", "app=web, tier=web"],
    ["from[1]", "namespace team=a and any", "app=web, tier=web, namespace shop"],
    ["from[2]", "10.0.0.0/8 except 10.1.0.0/16", "address 10.65.0.1"],
  ])("%s", (peer, text, has) => {
    const origin = { path: "ingress[0]", peer };
    expect(authors.words("NetworkPolicy shop/db", origin, from, to))
      .toEqual({ source: { text, has } });
  });
  test("both ends of Calico's rules; nothing where the policy is unknown", () => {
    const origin = { path: "egress[0]" };
    expect(authors.words("GlobalNetworkPolicy gnp", origin, from, to)).toEqual({
      source: { text: "app == 'web'", has: "app=web" },
      destination: { text: "10.0.0.0/8", has: "address 10.65.0.9" },
    });
    expect(authors.words("NetworkPolicy shop/none", origin, from, to)).toEqual({});
  });
});
