// Felix's rules as Margay's: every field, every spelling, and what is refused.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { messageFromJson } from "../../../host/input/felixframe.ts";
import { FelixMirror } from "../../../host/input/felix.ts";
import { checkIpPort, checkPrefix } from "../../../host/input/felixrule.ts";
import { addressBytes, parsePrefix } from "../../../host/model/address.ts";
import { PROTOCOL_NUMBERS } from "../../../host/model/rule.ts";
import type { Rule } from "../../../host/model/rule.ts";
import { seedOf } from "../../seed.ts";

/** The rules that a policy with these inbound (and outbound) ones has. */
function mirrored(inbound: object[], outbound: object[] = []): { in: Rule[]; out: Rule[] } {
  const mirror = new FelixMirror();
  mirror.apply(messageFromJson({ active_policy_update: {
    id: { kind: "GlobalNetworkPolicy", name: "p" },
    policy: { tier: "default", inbound_rules: inbound, outbound_rules: outbound },
  } }));
  const policy = mirror.state().policies.get("GlobalNetworkPolicy p")!;
  return { in: policy.inbound, out: policy.outbound };
}
const one = (rule: object): Rule => mirrored([rule]).in[0]!;
const plain = { action: "allow", origin: { path: "ingress[0]" } };

describe("felix-rules:", () => {
  test("a rule without anything allows everything, and says where it stands", () => {
    expect(mirrored([{}, { action: "deny" }], [{ action: "log" }])).toStrictEqual({
      in: [plain, { action: "deny", origin: { path: "ingress[1]" } }],
      out: [{ action: "log", origin: { path: "egress[0]" } }],
    });
  });

  test("every field of a match has its place", () => {
    expect(one({
      action: "allow", ip_version: "IPV6", protocol: { name: "tcp" }, not_protocol: { number: 17 },
      src_net: ["10.0.0.0/8"], src_ports: [{ first: 80, last: 80 }, { last: 9 }],
      src_ip_set_ids: ["s:a", "s:b"], src_named_port_ip_set_ids: ["n:a"],
      not_src_net: ["fd00::/64"], not_src_ports: [{ first: 1, last: 2 }],
      not_src_ip_set_ids: ["s:c"], not_src_named_port_ip_set_ids: ["n:b"],
      dst_net: ["1.2.3.4/32"], dst_ports: [{ first: 8000, last: 65535 }],
      dst_ip_set_ids: ["s:d"], dst_named_port_ip_set_ids: ["n:c"], dst_ip_port_set_ids: ["svc:a"],
      not_dst_net: ["0.0.0.0/0"], not_dst_ports: [{ first: 7, last: 7 }],
      not_dst_ip_set_ids: ["s:e"], not_dst_named_port_ip_set_ids: ["n:d"],
      icmp_type_code: { type: 3, code: 0 }, not_icmp_type: 0,
      original_src_selector: "a == 'b'", rule_id: "x",
    })).toStrictEqual({
      action: "allow", ipVersion: 6, protocol: "tcp", notProtocol: 17,
      source: ["10.0.0.0/8"], sourcePorts: [80, "0-9"],
      sourceSets: ["s:a", "s:b"], sourceNamedPorts: ["n:a"],
      notSource: ["fd00::/64"], notSourcePorts: ["1-2"],
      notSourceSets: ["s:c"], notSourceNamedPorts: ["n:b"],
      destination: ["1.2.3.4/32"], destinationPorts: ["8000-65535"],
      destinationSets: ["s:d"], destinationNamedPorts: ["n:c"], destinationPortSets: ["svc:a"],
      notDestination: ["0.0.0.0/0"], notDestinationPorts: [7],
      notDestinationSets: ["s:e"], notDestinationNamedPorts: ["n:d"],
      icmp: { type: 3, code: 0 }, notIcmp: { type: 0 },
      origin: { path: "ingress[0]" },
    } satisfies Rule);
  });

  test("ICMP by type alone, or by type and code", () => {
    expect(one({ icmp_type: 0 }).icmp).toStrictEqual({ type: 0 });
    expect(one({ not_icmp_type_code: { type: 8 } }).notIcmp).toStrictEqual({ type: 8, code: 0 });
    expect(one({}).icmp).toBeUndefined();
  });

  test.each([
    ["", "allow"], ["allow", "allow"], ["Allow", "allow"], ["deny", "deny"], ["Deny", "deny"],
    ["next-tier", "pass"], ["pass", "pass"], ["Pass", "pass"], ["Log", "log"],
  ])('action "%s" is %s', (felix, action) => {
    expect(one({ action: felix }).action).toBe(action);
  });

  test.each([
    [{ name: "tcp" }, "tcp"], [{ name: "TCP" }, "tcp"], [{ name: "UDPLite" }, "udplite"],
    [{ name: "ICMPv6" }, "icmpv6"], [{ name: "icmp" }, "icmp"], [{ name: "SCTP" }, "sctp"],
    [{ name: "47" }, 47], [{ number: 6 }, 6], [{ number: 0 }, 0], [{ number: 255 }, 255],
  ])("protocol %o is %s", (felix, protocol) => {
    expect(one({ protocol: felix }).protocol).toBe(protocol);
    expect(one({ not_protocol: felix }).notProtocol).toBe(protocol);
  });

  test("ip_version ANY is none", () => {
    expect(one({ ip_version: "ANY" })).toStrictEqual(plain);
    expect(one({ ip_version: 4 }).ipVersion).toBe(4);
  });

  test.each<[string, object, string]>([
    ["an action", { action: "accept" }, 'action: unknown action "accept"'],
    ["a protocol's name", { protocol: { name: "tpc" } }, 'protocol: unknown protocol "tpc"'],
    ["an inherited name", { protocol: { name: "toString" } }, "protocol: unknown protocol"],
    ["a protocol's number", { protocol: { number: 256 } }, "protocol: 256 is not from 0 to 255"],
    ["a protocol of nothing", { not_protocol: {} }, "not_protocol: neither a number nor a name"],
    ["an IP version", { ip_version: 5 }, "ip_version: 5 is no IP version"],
    ["a prefix", { dst_net: ["::/0", "10.0.0.0/33"] }, 'dst_net[1]: "10.0.0.0/33" is neither'],
    ["a port", { src_ports: [{ first: 1, last: 65536 }] }, "src_ports[0]: 65536 is not from 0"],
    ["a range", { dst_ports: [{ first: 2, last: 1 }] }, "dst_ports[0]: 2 to 1 is no range"],
    ["an ICMP type", { icmp_type: 256 }, "icmp: 256 is not from 0 to 255"],
    ["an ICMP code", { not_icmp_type_code: { code: -1 } }, "not_icmp: -1 is not from 0 to 255"],
  ])("%s that is none is refused by its place", (_, rule, problem) => {
    const place = "active_policy_update: GlobalNetworkPolicy p: inbound_rules[1].";
    expect(() => mirrored([{}, rule])).toThrow(place + problem);
    expect(() => mirrored([], [rule])).toThrow(
      `active_policy_update: GlobalNetworkPolicy p: outbound_rules[0].${problem}`);
  });
});

describe("felix-members:", () => {
  const taken = (check: (text: string, place: string) => void, text: string): boolean => {
    try {
      check(text, "here");
      return true;
    } catch (error) {
      expect(String(error)).toContain(`here: "${text}" is `);
      return false;
    }
  };

  test("a prefix is what host/model/address.ts takes as one", () => {
    const none = fc.constantFrom("", "10.0.0", "::g", "1.2.3.4.5");
    const address = fc.oneof(fc.ipV4(), fc.ipV6(), none);
    const tail = fc.oneof(fc.nat(140).map((bits) => `/${bits}`),
      fc.constantFrom("", "/", "/-1", "/8/8", "/x", "/ 8", "/1e1", "/0x8"));
    fc.assert(fc.property(address, tail, (address, tail) => {
      let parsed = true;
      try { parsePrefix(address + tail); } catch { parsed = false; }
      expect(taken(checkPrefix, address + tail)).toBe(parsed);
    }), { seed: seedOf("FUZZ_SEED"), numRuns: 2000 });
  });

  test("an address and port: protocols by name or number, both families", () => {
    for (const address of ["10.0.0.1", "fd00::1"]) {
      for (const protocol of [...Object.keys(PROTOCOL_NUMBERS), "TCP", "0", "255"]) {
        for (const port of ["0", "80", "65535"]) {
          expect(taken(checkIpPort, `${address},${protocol}:${port}`)).toBe(true);
        }
      }
      expect(() => addressBytes(address)).not.toThrow();
    }
    for (const text of ["", "10.0.0.1", "10.0.0.1,tcp", "10.0.0.1,tcp:", "10.0.0.1,tcp:65536",
      "10.0.0.1,:80", "10.0.0.1,tpc:80", "10.0.0.1,256:80", "10.0.0.0/8,tcp:80", ",tcp:80",
      "10.0.0.1:80", "fd00::1,tcp:8x", "10.0.0.1,tcp:80:80", "10.0.0.1,constructor:1"]) {
      expect(taken(checkIpPort, text), text).toBe(false);
    }
  });
});
