// What the names of a flow stand for, and what is said of names that stand for nothing.
import { describe, expect, test } from "vitest";
import { parseFlow } from "../../../host/cluster/flow.ts";
import { resolveFlow } from "../../../host/cluster/resolve.ts";
import type { Flow, FlowEnd } from "../../../host/cluster/types.ts";
import { endName, World } from "../../../host/cluster/world.ts";
import { smallServices, smallSnapshot } from "./small.ts";

const words = new Map<string, FlowEnd[]>([
  ["partner", [{ kind: "address", address: "203.0.113.7" }]],
]);
const world = new World(smallSnapshot(), new Map([["node1", smallServices]]), words);
const resolve = (text: string): Flow[] => resolveFlow(parseFlow(text, world.words), world);
const brief = (text: string): string[] => resolve(text).map((flow) =>
  `${endName(flow.from)} ${flow.from.address} > ${endName(flow.to)} ${flow.to.address} ` +
  `${flow.protocol}:${flow.port ?? "-"}`);

describe("flow-names: pods, workloads, Services, nodes, addresses", () => {
  test("a workload is all its pods", () => {
    expect(brief("shop/web -> shop/db:pg")).toEqual([
      "shop/web-0 10.65.0.1 > shop/db-0 10.65.0.9 6:5432",
      "shop/web-1 10.65.0.2 > shop/db-0 10.65.0.9 6:5432",
    ]);
    expect(brief("ops/shell -> shop/deploy/web:http")).toHaveLength(2);
    expect(brief("ops/shell -> shop/pod/web-1:http")).toHaveLength(1);
  });
  test("every family that both ends have", () => {
    expect(brief("ops/shell -> node:node1:22")).toEqual([
      "ops/shell 10.65.1.1 > node:node1 192.168.0.1 6:22",
      "ops/shell fd65::1:1 > node:node1 fd01::1 6:22",
    ]);
    expect(brief("ops/shell -> node:node1/icmp6")).toEqual([
      "ops/shell fd65::1:1 > node:node1 fd01::1 58:-",
    ]);
  });
  test("a Service is its VIP once for each ready backend", () => {
    const flows = resolve("ops/shell -> shop/front:http");
    expect(flows.map(({ to, port }) => [to, port])).toEqual(["0", "1"].map((n) => [{
      kind: "service", service: "shop/front", address: "10.96.0.4",
      backend: { name: `shop/web-${n}`, address: `10.65.0.${Number(n) + 1}`, port: 8080 },
    }, 80]));
    expect(resolve("ops/shell -> 10.96.0.4:80")).toEqual(flows);
  });
  test("a named port brings its protocol", () => {
    expect(brief("shop/web-0 -> shop/dns:dns")).toEqual([
      "shop/web-0 10.65.0.1 > shop/dns 10.65.0.53 17:53",
    ]);
  });
  test("the address of a pod is the pod, a prefix is its first address", () => {
    expect(brief("10.65.0.9 -> 10.65.0.0/16:80")).toEqual(
      ["shop/db-0 10.65.0.9 > 10.65.0.0 10.65.0.0 6:80"]);
    expect(brief("ops/shell -> fd65:0::6:80".replace("fd65:0::6:80", "[fd65:0::6]:80"))[0])
      .toContain("> shop/only6");
  });
  test("internet is outside of all pools", () => {
    expect(resolve("shop/web-0 -> internet:443")[0]!.to.address).toBe("8.8.4.4");
    expect(brief("ops/shell -> internet:443")).toHaveLength(2);
  });
  test("all pods of a namespace, without a pod to itself", () => {
    expect(brief("shop/* -> shop/web-0:80")).toHaveLength(3);
    expect(brief("shop/web-0 -> shop/web-0:80")).toHaveLength(1);
  });
  test("a test's own endpoints", () => {
    expect(brief("partner -> shop/web-0:http/tcp")[0]).toContain("203.0.113.7 > shop/web-0");
  });
});

describe("flow-messages: names that stand for nothing", () => {
  test.each([
    ["a/b -> shop/dbb:1",
      '"a/b": no namespace a; there are ops, shop'],
    ["ops/shell -> shop/dbb:1", '"shop/dbb": no pod, workload or Service of that name in shop; ' +
      "there are db (StatefulSet), web (Deployment), dns, only6, front (Service), quiet (Service)"],
    ["ops/shell -> shp/db:1",
      '"shp/db": no namespace shp; did you mean shop?; there are ops, shop'],
    ["ops/shell -> shop/web-0:htp", '"shop/web-0:htp": no container port named htp; did you mean ' +
      "http?; ports of shop/web-0: http (8080/tcp)"],
    ["ops/shell -> shop/web-0:http/udp",
      '"shop/web-0:http": no container port of udp named http; ' +
      "ports of shop/web-0: http (8080/tcp)"],
    ["ops/shell -> shop/web-0", '"shop/web-0": say which port: shop/web-0:PORT; ports of ' +
      "shop/web-0: http (8080/tcp)"],
    ["ops/shell -> shop/front:82", '"shop/front:82": the Service has no such port/tcp; ports of ' +
      "shop/front: http (80/tcp), admin (81/tcp)"],
    ["ops/shell -> node:node3:1", '"node:node3": no node of that name; did you mean node1?; ' +
      "nodes: node1, node2"],
    ["stranger -> shop/web:1", '"stranger": no endpoint of that name; endpoints of the test: ' +
      "partner; an object is NAMESPACE/NAME"],
    ["shell -> shop/web:1", '"shell": no endpoint of that name; did you mean ops/shell?; ' +
      "endpoints of the test: partner; an object is NAMESPACE/NAME"],
    ["shop/web -> shop/only6:1", '"shop/web -> shop/only6:1": shop/web has IPv4, shop/only6 has ' +
      "IPv6: no packet goes between them"],
    ["shop/web -> shop/sts/web:1",
      '"shop/sts/web": no StatefulSet of that name in shop; there are ' +
      "db (StatefulSet), web (Deployment), dns, only6, front (Service), quiet (Service)"],
    ["ops/shell -> shop/quiet:1", '"shop/quiet": a Service without an address (headless); ' +
      "name its pods or workload"],
    ["ops/shell -> shop/front:admin", '"shop/front": the packet program has no Service at ' +
      "10.96.0.4 for tcp; name its pods or workload"],
    ["ops/shell -> shop/web:80/icmp", '"shop/web": icmp has no ports'],
  ])("%s", (text, message) => {
    try {
      resolve(text);
    } catch (error) {
      const said = (error as Error).message;
      expect(said).toBe(message);
      return;
    }
    expect.unreachable();
  });
});
