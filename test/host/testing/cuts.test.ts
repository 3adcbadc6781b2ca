// Classes of traffic: cut at every boundary that rules name, one packet for each.
import { describe, expect, test } from "vitest";
import { Cuts, icmpOf, icmpRange, portOf, TrafficCuts, trafficText } from
  "../../../host/testing/cuts.ts";
import type { Rule } from "../../../host/model/rule.ts";

function texts(rules: Rule[], family: 4 | 6 = 4): string[] {
  const cuts = new TrafficCuts();
  for (const rule of rules) cuts.addRule(rule);
  return cuts.classes(family).map(trafficText);
}
const WITHOUT_RULES = ["any port/tcp", "any port/udp", "any port/sctp", "icmp",
  "any other protocol"];

describe("classes of traffic", () => {
  test("without any rule there is one class a protocol", () => {
    expect(texts([])).toEqual(WITHOUT_RULES);
    expect(texts([], 6)).toEqual(WITHOUT_RULES.with(3, "icmp6"));
  });

  test("a port and a range cut their own protocol alone", () => {
    expect(texts([{ action: "allow", protocol: "tcp", destinationPorts: [80, "8000-8080"] }]))
      .toEqual(["0-79/tcp", "80/tcp", "81-7999/tcp", "8000-8080/tcp", "8081-65535/tcp",
        ...WITHOUT_RULES.slice(1)]);
  });

  test("negated ports cut too, and without a protocol all that have ports", () => {
    expect(texts([{ action: "deny", notDestinationPorts: [443] }]).slice(0, 9)).toEqual(
      ["tcp", "udp", "sctp"].flatMap((name) => [`0-442/${name}`, `443/${name}`,
        `444-65535/${name}`]));
  });

  test("source ports make a class with each destination port", () => {
    expect(texts([{ action: "allow", protocol: "udp", sourcePorts: [68], destinationPorts: [67] }])
      .filter((text) => text.includes("/udp"))).toEqual(
      ["0-66/udp", "67/udp", "68-65535/udp"].flatMap((port) => [`${port} from port 0-67`,
        `${port} from port 68`, `${port} from port 69-65535`]));
  });

  test("ICMP by type and code; errors and neighbour discovery are no classes", () => {
    expect(texts([{ action: "allow", protocol: "icmp", icmp: { type: 8, code: 0 } }])).toContain(
      "icmp:8/0");
    expect(texts([{ action: "allow", protocol: "icmp", icmp: { type: 3 } }])
      .filter((text) => text.startsWith("icmp"))).toEqual(
      ["icmp:0/0 and what else no rule names", "icmp:8/0 and what else no rule names"]);
    expect(icmpOf(58, icmpRange(135))).toBeUndefined();
    expect(icmpOf(1, { first: 0, last: 0xffff })).toEqual({ type: 8, code: 0 });
    expect(icmpOf(1, { first: (8 << 8) | 1, last: 0xffff })).toEqual({ type: 8, code: 1 });
  });

  test("protocols by number, and one that no rule names", () => {
    const rules: Rule[] = [{ action: "allow", protocol: 47 }, { action: "deny", notProtocol: 253 }];
    expect(texts(rules).slice(4)).toEqual(["protocol 47", "protocol 253", "any other protocol"]);
    const cuts = new TrafficCuts();
    for (const rule of rules) cuts.addRule(rule);
    expect(cuts.classes(4).at(-1)).toEqual({ protocol: 254, unnamed: true });
  });

  test("an extension header of IPv6 is no protocol there", () => {
    expect(texts([{ action: "allow", protocol: 43 }], 6)).not.toContain("protocol 43");
    expect(texts([{ action: "allow", protocol: 43 }], 4)).toContain("protocol 43");
  });

  test("cuts of several policies are united", () => {
    const one = new TrafficCuts(), other = new TrafficCuts();
    one.addRule({ action: "allow", protocol: "tcp", destinationPorts: [1] });
    other.addRule({ action: "allow", protocol: "tcp", destinationPorts: ["0-0", "65535"] });
    one.addAll(other);
    expect(one.ports.get(6)!.ranges()).toEqual([{ first: 0, last: 0 }, { first: 1, last: 1 },
      { first: 2, last: 65_534 }, { first: 65_535, last: 65_535 }]);
  });

  test("ranges leave no value out and none twice", () => {
    const cuts = new Cuts(99);
    for (const range of [[3, 9], [9, 9], [50, 99], [0, 0]]) {
      cuts.add({ first: range[0]!, last: range[1]! });
    }
    const all = cuts.ranges().flatMap(({ first, last }) =>
      Array.from({ length: last - first + 1 }, (_, i) => first + i));
    expect(all).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  test("port 0 stands for a class only where it is all of it", () => {
    expect([portOf({ first: 0, last: 79 }), portOf({ first: 0, last: 0 })]).toEqual([1, 0]);
  });
});
