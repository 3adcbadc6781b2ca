// margay.yaml: what is taken, and that everything wrong in it is told at once, by place and field.
import { describe, expect, test } from "vitest";
import { parseConfigText } from "../../../host/agent/config.ts";

const HEAD = "node: a\nstate: s\nmanifests: [m]\nvpp: { socket: x }\n";
const faults = (text: string): string[] => {
  try {
    parseConfigText(text, "margay.yaml");
    return [];
  } catch (error) {
    return (error as Error).message.split("\n");
  }
};
const ofInterface = (fields: string): string[] => faults(`${HEAD}interfaces:\n- { ${fields} }\n`);

describe("agent-config: every fault is told by line and field", () => {
  test("what is right is taken, with its defaults", () => {
    const config = parseConfigText(`${HEAD}interfaces:
- { name: web, afPacket: { host: v0 }, pod: shop/web, mac: "02:FE:00:00:00:01" }
`, "margay.yaml");
    expect(config.interfaces[0]).toMatchObject({
      mac: "02:fe:00:00:00:01", table: 0, addresses: [], neighbours: [],
    });
    expect([config.checkpointSeconds, config.sessions.ipv4, config.vpp.hugePages])
      .toEqual([10, 65_536, false]);
  });

  test.each([
    ["name: a, pod: a/b", /interfaces\[0\]: one of afPacket, .* none is here/],
    ["name: a, pod: a/b, loopback: {}, memif: { socket: s, id: 1 }",
      /interfaces\[0\]: .*memif and loopback/],
    ["name: a, afPacket: { host: v }", /interfaces\[0\]: whose is it\?/],
    ["name: a, afPacket: { host: v }, pod: a/b, uplink: e", /pod's and uplink's at once/],
    ["name: a, afPacket: { host: v }, pod: web", /interfaces\[0\]\.pod: .*namespace\/name/],
    ["name: a, afPacket: { host: sixteen-letters- }, pod: a/b", /afPacket\.host: /],
    ["name: a, loopback: {}, mac: \"03:00:00:00:00:01\"", /interfaces\[0\]\.mac: a multicast MAC/],
    ["name: a, memif: { socket: s, id: 1, mode: ip }, host: true, mac: \"02:00:00:00:00:01\"",
      /interfaces\[0\]\.mac: .*without Ethernet/],
    ["name: a, loopback: {}, mtu: 10", /interfaces\[0\]\.mtu: /],
    ["name: a, loopback: {}, addresses: [10.0.0.1/33]", /addresses\[0\]: expected a prefix/],
    ["name: a, loopback: {}, unnumbered: b", /unnumbered: there is no interface "b"/],
    ["name: a, memif: { socket: s, id: 1, ringSize: 1000 }, host: true", /ringSize: .*of two/],
    ["name: a, loopback: {}, neighbours: [{ mac: \"02:00:00:00:00:01\" }]",
      /neighbours\[0\]\.address: needed/],
    ["name: a, loopback: {}, colour: red", /interfaces\[0\]\.colour: there is no such field/],
  ])("%s", (fields, message) => {
    const found = ofInterface(fields);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^margay\.yaml:6:\d+ /);
    expect(found[0]).toMatch(message);
  });

  test("names that two have, routes and host stacks that lead nowhere: all in one answer", () => {
    const found = faults(`${HEAD}interfaces:
- { name: a, loopback: {} }
- { name: a, loopback: {} }
routes: [{ prefix: 10.0.0.0/8, via: "fd00::1", interface: a }, { prefix: "::/0", interface: b }]
hostStack: [{ table: 2, interface: c, via: 2 }]
`);
    expect(found.map((line) => line.slice(0, line.indexOf(":", line.indexOf(" "))))).toEqual([
      "margay.yaml:8:37 routes[0].via", "margay.yaml:7:11 interfaces[1].name",
      "margay.yaml:8:93 routes[1].interface", "margay.yaml:9:36 hostStack[0].interface",
      "margay.yaml:9:44 hostStack[0].via",
    ]);
  });

  test("what is no YAML", () => {
    expect(faults("node: [a\n")[0]).toMatch(/^margay\.yaml:\d+:\d+ /);
  });
});
