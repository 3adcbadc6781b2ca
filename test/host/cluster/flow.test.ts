// The grammar of flows: what can be written, what it means, and what is said of the rest.
import { describe, expect, test } from "vitest";
import { parseEnd, parseFlow, parseOnly } from "../../../host/cluster/flow.ts";

describe("flow-grammar: ends, ports and protocols", () => {
  test.each([
    ["shop/web -> shop/db:5432", { kind: "name", namespace: "shop", name: "db" }, 5432, "tcp"],
    ["shop/web->shop/db:pg", { kind: "name", namespace: "shop", name: "db" }, "pg", "tcp"],
    ["a/b -> shop/deploy/web:80/udp",
      { kind: "object", namespace: "shop", object: "Deployment", name: "web" }, 80, "udp"],
    ["a/b -> shop/svc/web:http",
      { kind: "object", namespace: "shop", object: "Service", name: "web" }, "http", "tcp"],
    ["a/b -> shop/svc/web/sctp",
      { kind: "object", namespace: "shop", object: "Service", name: "web" }, undefined, "sctp"],
    ["a/b -> shop/*:53/UDP", { kind: "namespace", namespace: "shop" }, 53, "udp"],
    ["a/b -> node:worker-1.lan:22", { kind: "node", name: "worker-1.lan" }, 22, "tcp"],
    ["a/b -> 10.0.0.1:80", { kind: "address", address: "10.0.0.1" }, 80, "tcp"],
    ["a/b -> 10.0.0.0/8:80/udp",
      { kind: "address", address: "10.0.0.0", prefix: "10.0.0.0/8" }, 80, "udp"],
    ["a/b -> 10.0.0.1/32", { kind: "address", address: "10.0.0.1", prefix: "10.0.0.1/32" },
      undefined, "tcp"],
    ["a/b -> [10.0.0.1]/47", { kind: "address", address: "10.0.0.1" }, undefined, "47"],
    ["a/b -> fd00::1", { kind: "address", address: "fd00::1" }, undefined, "tcp"],
    ["a/b -> fd00::1/udp", { kind: "address", address: "fd00::1" }, undefined, "udp"],
    ["a/b -> [fd00::1]:80", { kind: "address", address: "fd00::1" }, 80, "tcp"],
    ["a/b -> [fd00::/64]:80/sctp",
      { kind: "address", address: "fd00::", prefix: "fd00::/64" }, 80, "sctp"],
    ["a/b -> internet:443", { kind: "internet" }, 443, "tcp"],
    ["a/b -> internet/icmp", { kind: "internet" }, undefined, "icmp"],
    ["a/b -> shop/tcp", { kind: "name", namespace: "shop", name: "tcp" }, undefined, "tcp"],
    ["a/b -> shop/db/47", { kind: "name", namespace: "shop", name: "db" }, undefined, "47"],
    ["a/b -> stranger/udp", { kind: "word", name: "stranger" }, undefined, "udp"],
  ])("%s", (text, end, port, protocol) => {
    const flow = parseFlow(text, new Set(["stranger"]));
    expect(flow.to.end).toEqual(end);
    expect(flow.to.port).toBe(port);
    expect(flow.protocol.name).toBe(protocol);
  });

  test("icmp has a type and a code, and an echo request where none is written", () => {
    expect(parseFlow("a/b -> c/d/icmp:3/4").protocol)
      .toEqual({ number: 1, name: "icmp", icmp: { type: 3, code: 4 }, written: true });
    expect(parseFlow("a/b -> c/d/icmp6:128/0").protocol)
      .toMatchObject({ number: 58, icmp: { type: 128, code: 0 } });
    expect(parseFlow("a/b -> c/d/icmp").protocol.icmp).toEqual({ type: 8, code: 0 });
    expect(parseFlow("a/b -> c/d/icmpv6").protocol.icmp).toEqual({ type: 128, code: 0 });
    expect(parseFlow("a/b -> [fd00::1]/icmp6:1/2").to.end)
      .toEqual({ kind: "address", address: "fd00::1" });
  });

  test("a source port, and where the text's parts stand", () => {
    const flow = parseFlow("shop/api:40000 ->  shop/db:5432");
    expect(flow.from.port).toBe(40_000);
    expect(flow.to.offset).toBe(19);
    expect(parseFlow("[fd00::2]:1 -> [fd00::1]:2").from.port).toBe(1);
  });

  test.each([
    ["shop/web", /no -> in it; a flow is FROM/],
    ["a/b -> c/d -> e/f", /more than one ->/],
    ["-> shop/db:1", /an end is missing/],
    ["a/b -> c/d:70000", /port 70000: ports are 0 to 65535/],
    ["a/b -> c/d:", /nothing behind the colon/],
    ["a/b -> c/d:8_0", /"8_0" is no port/],
    ["a/b -> c/d:80/tpc", /no protocol "tpc"; did you mean tcp\?/],
    ["a/b -> c/d:80/256", /no protocol "256"/],
    ["a/b -> shop/depl/web", /no protocol "web".* Nor is depl a kind: pod/],
    ["a/b -> shop/depoy/web:80", /no kind "depoy"; did you mean deploy\?/],
    ["a/b -> node::80", /say which node/],
    ["a/b -> 10.0.0.0/33", /prefix length must be 0 to 32/],
    ["a/b -> [shop/db]:80", /brackets hold an address/],
    ["a/b -> c//d:1", /an object is/],
  ])("refused: %s", (text, message) => {
    expect(() => parseFlow(text)).toThrow(message);
  });
});

describe("only-grammar: entries of only", () => {
  test.each([
    ["shop/api -> 5432/tcp", { first: 5432, last: 5432 }, "tcp"],
    ["shop/api -> 5432", { first: 5432, last: 5432 }, "tcp"],
    ["shop/api -> 8000-8080/udp", { first: 8000, last: 8080 }, "udp"],
    ["shop/api -> pg", "pg", "tcp"],
    ["shop/api -> sctp", undefined, "sctp"],
    ["shop/api -> */udp", undefined, "udp"],
    ["shop/api -> icmp:8/0", undefined, "icmp"],
    ["ops/*", undefined, undefined],
  ])("%s", (text, ports, protocol) => {
    const only = parseOnly(text);
    expect(only.ports).toEqual(ports);
    expect(only.protocol?.name).toBe(protocol);
  });
  test("a port 47 is a port, not a protocol", () => {
    expect(parseOnly("a/b -> 47").ports).toEqual({ first: 47, last: 47 });
  });
  test.each([
    ["shop/api -> ", /nothing behind ->/],
    ["shop/api -> 9-1/tcp", /9-1 is no range/],
    ["shop/api -> 5432/tpc", /did you mean tcp/],
  ])("refused: %s", (text, message) => {
    expect(() => parseOnly(text)).toThrow(message);
  });
});

test("an end alone", () => {
  expect(parseEnd("shop/db:5432")).toMatchObject({ text: "shop/db", port: 5432 });
});
