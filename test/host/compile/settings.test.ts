// A node's settings: what pools, hosts, parameters and uplinks make of them, and the sets.
import { describe, expect, test } from "vitest";
import { NodeMemory, nodeProgram } from "../../../host/compile/node.ts";
import type { Program, Service } from "../../../host/model/program.ts";
import { emptyState, type NodeDevices, type NodeState } from "../../../host/model/state.ts";

const devices: NodeDevices = { uplinks: [
  { name: "eth0", addresses: ["fe80::1/64", "192.0.2.1/24", "192.0.2.9/24", "2001:db8::1/64"],
    routes: ["0.0.0.0/0"] },
  { name: "eth1", addresses: ["169.254.0.1/16", "198.51.100.1"], routes: [], peer: true },
] };
function stateOf(more: Partial<NodeState> & { parameters?: Record<string, string> }): NodeState {
  const { parameters = {}, ...rest } = more;
  return { ...emptyState(), config: new Map(Object.entries(parameters)), ...rest };
}
const members = (program: Program, id: string | undefined): string[] | undefined => {
  const set = program.sets!.find((each) => each.id === id);
  return set && [...set.members];
};
const POOLS = [
  { cidr: "10.1.0.0/16", masquerade: true }, { cidr: "10.2.0.0/16", masquerade: false },
  { cidr: "::/0", masquerade: false },
];

describe("node-settings:", () => {
  test("pools: pods' networks, whom natOutgoing masquerades, and to where it does not", () => {
    const program = nodeProgram(stateOf({ pools: POOLS }), devices);
    const { podNetworks, natSources, natExcluded } = program.settings!;
    const all = ["10.1.0.0/16", "10.2.0.0/16", "::/1", "8000::/1"];
    expect(members(program, podNetworks)).toEqual(all);
    expect(members(program, natSources)).toEqual(["10.1.0.0/16"]);
    expect(members(program, natExcluded)).toEqual(all);
  });

  test("hosts are no destinations to masquerade for with IPPoolsAndHostIPs", () => {
    const hosts = new Map([["n1", ["192.0.2.1/24"]], ["n2", ["192.0.2.2", "2001:db8::2"]]]);
    const program = nodeProgram(stateOf({
      hosts, pools: [POOLS[0]!], parameters: { NATOutgoingExclusions: "IPPoolsAndHostIPs" },
    }), devices);
    expect(members(program, program.settings!.natExcluded))
      .toEqual(["10.1.0.0/16", "192.0.2.1", "192.0.2.2", "2001:db8::2"]);
  });

  test("without a pool that masquerades, none is; clients inside are the node's workloads", () => {
    const program = nodeProgram(stateOf({ pools: [] }), devices);
    expect(program.settings).not.toHaveProperty("natSources");
    expect(program.settings).not.toHaveProperty("natExcluded");
    expect(members(program, program.settings!.podNetworks)).toEqual([]);
    const blind = nodeProgram(stateOf({ pools: POOLS, parameters: {
      KubeProxyDetectLocalMode: "None",
    } }), devices);
    expect(blind.settings).not.toHaveProperty("podNetworks");
  });

  test("addresses for SNAT: an uplink's first of each family, none that is link-local", () => {
    const program = nodeProgram(stateOf({}), devices);
    expect(program.settings!.snatAddresses).toEqual(["192.0.2.1", "2001:db8::1"]);
    const uplinks = program.endpoints.filter(({ kind }) => kind === "uplink");
    expect(uplinks.map(({ snatAddresses, peer }) => [snatAddresses, peer])).toEqual([
      [["192.0.2.1", "2001:db8::1"], undefined], [["198.51.100.1"], true],
    ]);
    const bare = nodeProgram(stateOf({}), { uplinks: [{ name: "eth0", addresses: [],
      routes: [] }] });
    expect(bare.settings).not.toHaveProperty("snatAddresses");
  });

  test.each([
    [{}, {}],
    [{ IptablesFilterDenyAction: "Reject" }, { rejectDenied: true }],
    [{ NFTablesFilterDenyAction: "REJECT" }, { rejectDenied: true }],
    [{ IptablesFilterDenyAction: "Drop", KubeProxyMasqueradeAll: "false" }, {}],
    [{ KubeProxyMasqueradeAll: "true" }, { masqueradeAll: true }],
    [{ NATPortRange: "40000:41000" }, { snatPorts: [40_000, 41_000] }],
    [{ NATPortRange: "40000" }, { snatPorts: [40_000, 40_000] }],
  ])("parameters %j", (parameters, expected) => {
    const { settings } = nodeProgram(stateOf({ parameters }), devices);
    const { rejectDenied, masqueradeAll, snatPorts } = settings!;
    expect(JSON.parse(JSON.stringify({ rejectDenied, masqueradeAll, snatPorts })))
      .toEqual(expected);
  });

  test("a value that is none is told, and the default stands", () => {
    const memory = new NodeMemory();
    const { settings } = nodeProgram(stateOf({ pools: POOLS, parameters: {
      NATOutgoingExclusions: "Hosts", NATPortRange: "5:4", IptablesFilterDenyAction: "no",
    } }), devices, memory);
    expect(settings).toMatchObject({ natExcluded: "margay:nat-excluded" });
    expect(settings).not.toHaveProperty("snatPorts");
    expect(memory.problems).toEqual([
      'IptablesFilterDenyAction "no": expected drop, reject',
      'NATOutgoingExclusions "Hosts": expected ippoolsonly, ippoolsandhostips',
      'NATPortRange "5:4": expected ports, first:last, 1 to 65535',
    ]);
  });

  test("Services' networks, unless loops are not to be prevented", () => {
    const serviceNetworks = ["10.96.0.0/12"];
    const program = nodeProgram(stateOf({ serviceNetworks }), devices);
    expect(members(program, program.settings!.serviceNetworks)).toEqual(serviceNetworks);
    const off = nodeProgram(stateOf({ serviceNetworks, parameters: {
      ServiceLoopPrevention: "Disabled",
    } }), devices);
    expect(off.settings).not.toHaveProperty("serviceNetworks");
  });

  test("a set's members are the same object while they are the same", () => {
    const memory = new NodeMemory();
    const [first, second] = [POOLS, [...POOLS]].map((pools) => {
      const program = nodeProgram(stateOf({ pools }), devices, memory);
      return program.sets!.map((set) => set.members);
    });
    expect(first!.length).toBe(3);
    first!.forEach((each, i) => expect(second![i]).toBe(each));
  });

  test("other nodes keep their numbers, whoever is there now", () => {
    const memory = new NodeMemory();
    const lead = (...nodes: string[]): Service => ({
      name: "a:80", address: "203.0.113.1", port: 80, protocol: "tcp", dsr: true,
      backends: nodes.map((node, i) => ({
        name: node, address: `10.0.0.${i + 1}`, port: 80, node,
      })),
    });
    const peers = (...nodes: string[]): string[] | undefined =>
      nodeProgram(stateOf({ services: [lead(...nodes)] }), devices, memory).peers;
    expect(peers()).toBeUndefined();
    expect(peers("n3", "n2")).toEqual(["n2", "n3"]);
    expect(peers("n1", "n3")).toEqual(["n2", "n3", "n1"]);
  });
});
