// The pure difference: what VPP has against what it is to have, without a VPP.
import { describe, expect, test } from "vitest";
import { parseConfigText } from "../../../host/agent/config.ts";
import { desiredState, devicesOf, type Desired } from "../../../host/agent/desired.ts";
import { difference, type Operation } from "../../../host/agent/diff.ts";
import type { Observed, ObservedInterface } from "../../../host/agent/observed.ts";
import type { Program } from "../../../host/model/program.ts";

const config = (more = "", table = 0) => parseConfigText(`
node: n
state: s
manifests: [m]
vpp: { socket: x }
interfaces:
- { name: web, afPacket: { host: v0 }, pod: shop/web, neighbours: [{ mac: "02:00:00:00:00:09" }] }
- { name: wan, afPacket: { host: v1 }, uplink: eth0, table: ${table},
    addresses: [192.0.2.2/24, "2001:DB8::0:2/64"] }
${more}`, "margay.yaml");
const ROUTES = "routes: [{ prefix: 10.1.2.3/8, via: 192.0.2.1, interface: wan }]";

const PROGRAM: Program = {
  services: [], policies: [],
  endpoints: [
    { name: "host", kind: "host", interfaces: [], addresses: [] },
    { name: "eth0", kind: "uplink", interfaces: [], addresses: [] },
    { name: "shop/web", kind: "workload", interfaces: [], addresses: ["10.65.0.1", "fd00::0:1"] },
  ],
};

/** VPP as it is when all that is desired was done. */
function settled({ interfaces, routes, tables, host }: Desired): Observed {
  const local0 = bare(0, "", host);
  const ours = interfaces.map((each, i): ObservedInterface => ({
    ...bare(i + 1, each.tag, each.endpoint), addresses: [...each.addresses],
    neighbours: each.neighbours.map((one) => ({ ...one })),
  }));
  const index = new Map(interfaces.map(({ name }, i) => [name, i + 1]));
  return {
    interfaces: [local0, ...ours],
    routes: routes.map(({ table, prefix, via, interface: name }) =>
      ({ table, prefix, paths: [{ via, interface: index.get(name)!, isPlain: true }] })),
    tables: tables.flatMap((id) => [false, true].map((isIp6) =>
      ({ id, isIp6, name: `margay:${id}` }))),
  };
}
const bare = (index: number, tag: string, endpoint?: number): ObservedInterface => ({
  index, tag, vppName: `if${index}`, kind: "af-packet", mac: "02:00:00:00:00:00", isUp: true,
  mtu: 1500, addresses: [], unnumbered: undefined, neighbours: [], enabled: true, endpoint,
});
const all = (desired: Desired, observed: Observed): Operation[] => {
  const { prepare, bind, settle } = difference(desired, observed);
  return [...prepare, ...bind, ...settle];
};
const names = (operations: Operation[]): string[] => operations.map((each) => each.do);

describe("agent-diff: only what differs is done, in an order that opens nothing", () => {
  test("nothing, where all is there", () => {
    const desired = desiredState(config(ROUTES, 3), PROGRAM);
    expect(all(desired, settled(desired))).toEqual([]);
  });

  test("each thing that is missing, alone", () => {
    const desired = desiredState(config(ROUTES, 3), PROGRAM);
    const without = (change: (observed: Observed) => void): string[] => {
      const observed = settled(desired);
      change(observed);
      return names(all(desired, observed));
    };
    const wan = ({ interfaces }: Observed): ObservedInterface => interfaces[2]!;
    expect(without((o) => wan(o).addresses.pop())).toEqual(["address-add"]);
    expect(without((o) => wan(o).addresses.push("198.51.100.1/32"))).toEqual(["address-remove"]);
    expect(without((o) => o.interfaces[1]!.neighbours.pop())).toEqual(["neighbour-add"]);
    expect(without((o) => o.interfaces[1]!.neighbours[0]!.mac = "02:00:00:00:00:08"))
      .toEqual(["neighbour-add"]);
    expect(without((o) => o.routes.pop())).toEqual(["route-add"]);
    expect(without((o) => o.routes.at(-1)!.paths[0]!.via = "192.0.2.7")).toEqual(["route-add"]);
    expect(without((o) => wan(o).enabled = false)).toEqual(["enable"]);
    expect(without((o) => wan(o).endpoint = undefined)).toEqual(["bind"]);
    expect(without((o) => wan(o).endpoint = 9)).toEqual(["unbind", "bind"]);
    expect(without((o) => wan(o).isUp = false)).toEqual(["interface-up"]);
    expect(without((o) => o.interfaces[0]!.endpoint = undefined)).toEqual(["bind"]);
    expect(without((o) => o.tables.pop())).toEqual(["table-add"]);
    expect(without((o) => o.tables.push({ id: 8, isIp6: false, name: "margay:8" })))
      .toEqual(["table-remove"]);
  });

  test("others' interfaces, routes and tables stay; a route in the way is told", () => {
    const desired = desiredState(config(ROUTES), PROGRAM);
    const observed = settled(desired);
    observed.interfaces.push(bare(7, ""));
    observed.tables.push({ id: 9, isIp6: false, name: "somebody's" });
    observed.routes.push(
      { table: 0, prefix: "172.16.0.0/12",
        paths: [{ via: undefined, interface: 7, isPlain: true }] },
      { table: 0, prefix: "172.17.0.0/16", paths: [
        { via: undefined, interface: 7, isPlain: true },
        { via: undefined, interface: 1, isPlain: true },
      ] });
    observed.routes.find(({ prefix }) => prefix === "10.0.0.0/8")!.paths[0]!.interface = 7;
    expect(all(desired, observed)).toEqual([]);
    expect(difference(desired, observed).problems)
      .toEqual([expect.stringContaining("10.0.0.0/8 in table 0: somebody else has one")]);
  });

  test("an interface that is made otherwise is another; routes go before it, twins go too", () => {
    const desired = desiredState(config(ROUTES, 3), PROGRAM);
    const observed = settled(desiredState(config(ROUTES, 4), PROGRAM));
    observed.interfaces.push(bare(8, desired.interfaces[0]!.tag));
    const operations = all(desired, observed);
    const done = names(operations);
    expect(done.indexOf("route-remove")).toBeLessThan(done.indexOf("interface-delete"));
    expect(done.indexOf("interface-delete")).toBeLessThan(done.indexOf("interface-create"));
    expect(done.filter((each) => each === "interface-delete")).toHaveLength(2);
    expect(done.filter((each) => each === "table-remove")).toHaveLength(2);
    expect(done.at(-1)).toBe("table-remove");
  });

  test("whose pod is not there: nobody's, told, and without routes", () => {
    const without = { ...PROGRAM, endpoints: PROGRAM.endpoints.slice(0, 2) };
    const desired = desiredState(config(), without);
    expect(desired.problems[0]).toContain("interface web: there is no pod shop/web on node n");
    expect(desired.routes).toEqual([]);
    const before = settled(desiredState(config(), PROGRAM));
    expect(names(all(desired, before)))
      .toEqual(["unbind", "neighbour-remove", "neighbour-remove", "route-remove", "route-remove"]);
  });

  test("uplinks of the program: with what lies on them and behind them", () => {
    expect(devicesOf(config(ROUTES)).uplinks).toEqual([{
      name: "eth0", addresses: ["192.0.2.2/24", "2001:DB8::0:2/64"],
      routes: ["192.0.2.0/24", "2001:db8::/64", "10.0.0.0/8"],
    }]);
  });
});
