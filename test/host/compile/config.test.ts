// Felix' parameters as texts: defaults, forms, and what is wrong told by name.
import { expect, test } from "vitest";
import { parseConfig } from "../../../host/compile/config.ts";

const parse = (fields: Record<string, string>): [ReturnType<typeof parseConfig>, string[]] => {
  const problems: string[] = [];
  return [parseConfig(new Map(Object.entries(fields)), problems), problems];
};
const ports = (list: { protocol: string; port: number; prefix?: string }[]): string =>
  list.map(({ protocol, port, prefix }) => [protocol, prefix, port].filter(Boolean).join(" "))
    .join(", ");

test("defaults are Felix'", () => {
  const [config, problems] = parse({});
  expect(problems).toEqual([]);
  expect(ports(config.failsafeInbound)).toBe(
    "tcp 22, udp 68, tcp 179, tcp 2379, tcp 2380, tcp 5473, tcp 6443, tcp 6666, tcp 6667",
  );
  expect(ports(config.failsafeOutbound)).toBe(
    "udp 53, udp 67, tcp 179, tcp 2379, tcp 2380, tcp 5473, tcp 6443, tcp 6666, tcp 6667",
  );
  expect({ ...config, failsafeInbound: [], failsafeOutbound: [] }).toEqual({
    failsafeInbound: [], failsafeOutbound: [], endpointToHost: "drop", vxlanPort: 4789,
    vxlanEnabled: false, ipipEnabled: false, allowVxlanFromWorkloads: false,
    allowIpipFromWorkloads: false, anySourceSpoofing: false,
  });
});

test("every parameter is read, names and values in any case", () => {
  const [config, problems] = parse({
    FailsafeInboundHostPorts: "tcp:22, UDP:10.0.0.0/8:68,tcp:[fd00::/8]:22,sctp:[fd00::]/64:1,443",
    failsafeoutboundhostports: "none", DefaultEndpointToHostAction: "Return", VXLANPort: "8472",
    VXLANEnabled: "true", IpInIpEnabled: "True", AllowVXLANPacketsFromWorkloads: "yes",
    AllowIPIPPacketsFromWorkloads: "1", WorkloadSourceSpoofing: "Any",
  });
  expect(problems).toEqual([]);
  expect(ports(config.failsafeInbound))
    .toBe("tcp 22, udp 10.0.0.0/8 68, tcp fd00::/8 22, sctp fd00::/64 1, tcp 443");
  expect({ ...config, failsafeInbound: [] }).toEqual({
    failsafeInbound: [], failsafeOutbound: [], endpointToHost: "return", vxlanPort: 8472,
    vxlanEnabled: true, ipipEnabled: true, allowVxlanFromWorkloads: true,
    allowIpipFromWorkloads: true, anySourceSpoofing: true,
  });
});

test.each([
  ["VXLANPort", "0", "expected a port, 1 to 65535"],
  ["VXLANPort", "http", "expected a port, 1 to 65535"],
  ["DefaultEndpointToHostAction", "REJECT", "expected drop, return, accept"],
  ["VXLANEnabled", "maybe", "expected true or false"],
  ["WorkloadSourceSpoofing", "All", "expected disabled, any"],
  ["FailsafeInboundHostPorts", "tcp:22,icmp:8", "expected tcp, udp, sctp"],
  ["FailsafeInboundHostPorts", "tcp:", '"tcp:": expected protocol:port'],
  ["FailsafeOutboundHostPorts", "tcp:10.0.0.0/40:22", "the prefix length must be 0 to 32"],
  ["FailsafeOutboundHostPorts", "tcp:70000", "expected a port, 0 to 65535"],
])("%s %s is told by name, and the default stands", (name, value, message) => {
  const [config, problems] = parse({ [name]: value });
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain(`${name} "${value}": `);
  expect(problems[0]).toContain(message);
  expect(config).toEqual(parse({})[0]);
});
