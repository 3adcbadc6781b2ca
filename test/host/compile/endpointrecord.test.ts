// What the endpoint table is told: addresses, an uplink's source NAT, settings and the sets that
// they name.
import { describe, expect, test } from "vitest";
import {
  ADDRESS_ADDRESS, ADDRESS_ENDPOINT, ENDPOINT_ADDRESS4, ENDPOINT_ADDRESS6, ENDPOINT_FLAGS,
  ENDPOINTS_FLAGS, ENDPOINTS_IPIP_HOSTS, ENDPOINTS_NAT_EXCLUDED, ENDPOINTS_NAT_SOURCES,
  ENDPOINTS_PODS, ENDPOINTS_SERVICE_NETWORKS, ENDPOINTS_SNAT4, ENDPOINTS_SNAT6,
  ENDPOINTS_SNAT_FIRST, ENDPOINTS_SNAT_LAST, ENDPOINTS_VXLAN_HOSTS, EndpointFlag, GenerationFlag,
  RecordKind,
} from "../../../assembly/layout.ts";
import { endpointRecords } from "../../../host/compile/records.ts";
import { concat } from "../../../host/dataplane/record.ts";
import { addressText } from "../../../host/model/address.ts";
import type { Endpoint, Settings } from "../../../host/model/program.ts";
import { recordsOf } from "./told.ts";

const SETS = ["pods", "nat", "beyond", "services", "vteps", "ipip"];
const set = (id: string): number => SETS.indexOf(id);
const uplink = (more: Partial<Endpoint> = {}): Endpoint =>
  ({ name: "eth0", kind: "uplink", interfaces: [1], addresses: [], ...more });
function told(endpoints: Endpoint[], settings: Settings = {}) {
  const records = recordsOf(concat(endpointRecords(endpoints, new Map(), { settings, set })));
  const of = (kind: RecordKind): DataView[] =>
    records.filter((each) => each.kind === kind).map(({ body }) => body);
  return {
    table: of(RecordKind.Endpoints)[0]!, endpoints: of(RecordKind.Endpoint),
    addresses: of(RecordKind.Address),
  };
}
const text = (body: DataView, at: number, bytes: number): string =>
  addressText(new Uint8Array(body.buffer, body.byteOffset + at, bytes));

describe("endpoint records", () => {
  test("snat-records: settings name sets, source NAT's addresses and ports, and flags", () => {
    const { table } = told([uplink()], {
      podNetworks: "pods", natSources: "nat", natExcluded: "beyond", serviceNetworks: "services",
      vxlanHosts: "vteps", ipipHosts: "ipip", snatAddresses: ["2001:db8::1", "192.0.2.1"],
      snatPorts: [2000, 3000], masqueradeAll: true, rejectDenied: true, endpointToHost: "accept",
    });
    expect([
      ENDPOINTS_PODS, ENDPOINTS_NAT_SOURCES, ENDPOINTS_NAT_EXCLUDED, ENDPOINTS_SERVICE_NETWORKS,
      ENDPOINTS_VXLAN_HOSTS, ENDPOINTS_IPIP_HOSTS,
    ].map((at) => table.getUint16(at, true))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(text(table, ENDPOINTS_SNAT4, 4)).toBe("192.0.2.1");
    expect(text(table, ENDPOINTS_SNAT6, 16)).toBe("2001:db8::1");
    expect(table.getUint16(ENDPOINTS_SNAT_FIRST, true)).toBe(2000);
    expect(table.getUint16(ENDPOINTS_SNAT_LAST, true)).toBe(3000);
    expect(table.getUint32(ENDPOINTS_FLAGS, true)).toBe(GenerationFlag.ToHostAccept |
      GenerationFlag.MasqueradeAll | GenerationFlag.RejectDenied);
    const plain = told([uplink()]).table;
    expect(text(plain, ENDPOINTS_SNAT6, 16)).toBe("::");
    expect(plain.getUint16(ENDPOINTS_PODS, true)).toBe(0);
  });

  test("an uplink's record bears what SNAT puts in; its own addresses stand by themselves", () => {
    const pod: Endpoint = {
      name: "pod", kind: "workload", interfaces: [2], active: false,
      addresses: ["10.0.0.1", "fd00::1", "10.0.0.2"],
    };
    const { endpoints, addresses } = told([
      uplink({ snatAddresses: ["192.0.2.7"], addresses: ["192.0.2.1"], peer: true }), pod,
    ]);
    const [first, second] = endpoints;
    expect(text(first!, ENDPOINT_ADDRESS4, 4)).toBe("192.0.2.7");
    expect(text(first!, ENDPOINT_ADDRESS6, 16)).toBe("::");
    expect(first!.getUint8(ENDPOINT_FLAGS)).toBe(EndpointFlag.Peer);
    expect(text(second!, ENDPOINT_ADDRESS4, 4)).toBe("10.0.0.1");
    expect(text(second!, ENDPOINT_ADDRESS6, 16)).toBe("fd00::1");
    expect(second!.getUint8(ENDPOINT_FLAGS)).toBe(EndpointFlag.Inactive);
    expect(addresses.map((body) => [
      text(body, ADDRESS_ADDRESS + 12, 4), body.getUint32(ADDRESS_ENDPOINT, true),
    ])).toEqual([["192.0.2.1", 0], ["10.0.0.2", 1]]);
  });

  test.each([
    [[uplink({ snatAddresses: ["192.0.2.1", "192.0.2.2"] })], {},
      'eth0: snatAddresses: "192.0.2.2": a second of its family'],
    [[uplink({ kind: "workload", snatAddresses: ["192.0.2.1"] })], {},
      "endpoint eth0: snatAddresses: it is no uplink"],
    [[uplink({ kind: "host", peer: true })], {}, "endpoint eth0: peer: it is no uplink"],
    [[], { snatAddresses: ["0.0.0.0"] },
      'settings: snatAddresses: "0.0.0.0" is no address of a node'],
    [[], { snatAddresses: ["10.0.0.0/8"] }, 'settings: snatAddresses: "10.0.0.0/8" is no address'],
    [[], { snatPorts: [3, 2] }, "settings: snatPorts: 3 to 2: expected ports, the lower one first"],
    [[], { snatPorts: [0, 2] }, "settings: snatPorts: 0 to 2: expected ports, the lower one first"],
  ] as [Endpoint[], Settings, string][])("what is wrong has a name, %#", (all, own, message) => {
    expect(() => told(all, own)).toThrow(message);
  });
});
