// Damaged streams of Felix's: whatever is in the bytes, the mirror takes messages whole or refuses
// them with a FelixError; nothing else is thrown, and a refused message changes nothing.
import fc from "fast-check";
import { expect, test } from "vitest";
import { FelixError, FelixMirror, FrameReader } from "../../../host/input/felix.ts";
import { frame, messageFromJson } from "../../../host/input/felixframe.ts";
import { seedOf } from "../../seed.ts";

const policyId = { kind: "KubernetesNetworkPolicy", namespace: "shop", name: "db" };
const tier = { name: "default", default_action: "Pass", ingress_policies: [policyId] };
const rule = {
  action: "next-tier", ip_version: "IPV4", protocol: { name: "tcp" }, src_net: ["10.0.0.0/8"],
  dst_ports: [{ first: 80, last: 90 }], src_ip_set_ids: ["s"], not_icmp_type_code: { type: 3 },
};
const frames = [
  { config_update: { config: { VXLANPort: "4789" } } },
  { ipset_update: { id: "s", type: "NET", members: ["10.0.0.1/32", "fd00::1/128"] } },
  { ipset_delta_update: { id: "s", added_members: ["10.0.0.2/32"], removed_members: ["x"] } },
  { active_policy_update: { id: policyId, policy: { tier: "t", inbound_rules: [rule, rule] } } },
  { active_profile_update: { id: { name: "p" }, profile: { outbound_rules: [rule] } } },
  { host_endpoint_update: { id: { endpoint_id: "h" }, endpoint: { name: "*", tiers: [tier] } } },
  { workload_endpoint_update: {
    id: { orchestrator_id: "k8s", workload_id: "shop/db", endpoint_id: "eth0" },
    endpoint: { state: "active", ipv4_nets: ["10.0.0.1/32"], tiers: [tier], profile_ids: ["p"] },
  } },
  { in_sync: {} },
  { service_account_update: { id: { namespace: "shop", name: "db" }, labels: { a: "b" } } },
  { route_update: { dst: "10.0.0.0/26", types: 5, tunnel_type: { vxlan: true } } },
  { host_metadata_update: { hostname: "a", ipv4_addr: "10.0.0.1/24" } },
  { ipam_pool_update: { id: "p", pool: { cidr: "10.0.0.0/8" } } },
  { active_policy_remove: { id: policyId } },
].map((payload, index) => frame(messageFromJson({ sequence_number: index, ...payload })));
const stream = Buffer.concat(frames);

test("felix-fuzz: damaged streams are refused by place, never by accident", () => {
  let refused = 0, passed = 0;
  const byte = fc.oneof(fc.nat(255), fc.integer({ min: 0x30, max: 0x7a }));
  const damage = fc.array(fc.record({ at: fc.nat(stream.length - 1), to: byte }), {
    minLength: 1, maxLength: 3,
  });
  fc.assert(fc.property(damage, (damage) => {
    const bytes = Buffer.from(stream);
    for (const { at, to } of damage) bytes[at] = to;
    const mirror = new FelixMirror();
    const reader = new FrameReader((message) => {
      const before = mirror.state();
      try {
        mirror.apply(message);
      } catch (error) {
        if (message.sequenceNumber !== 0n) expect(mirror.state()).toEqual(before);
        throw error;
      }
    });
    try {
      reader.push(bytes);
      reader.end();
      passed++;
    } catch (error) {
      expect(error).toBeInstanceOf(FelixError);
      expect((error as FelixError).message).toMatch(/^frame \d+ at byte \d+: /);
      refused++;
    }
  }), { seed: seedOf("FUZZ_SEED"), numRuns: 3000, unbiased: true });
  // Both are met often, or this shows nothing.
  expect([refused > 300, passed > 300], `${refused} ${passed}`).toEqual([true, true]);
});
