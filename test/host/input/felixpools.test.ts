// What Felix tells of pools and Services' networks, in a node's state.
import { describe, expect, test } from "vitest";
import { FelixMirror } from "../../../host/input/felix.ts";
import { messageFromJson } from "../../../host/input/felixframe.ts";

function mirrorOf(...payloads: object[]): FelixMirror {
  const mirror = new FelixMirror();
  payloads.forEach((payload, i) => mirror.apply(messageFromJson({
    ...i > 0 && { sequence_number: String(i) }, ...payload,
  })));
  return mirror;
}
const pool = (id: string, cidr: string, masquerade: boolean): object =>
  ({ ipam_pool_update: { id, pool: { cidr, masquerade } } });

describe("felix-pools:", () => {
  test("pools by id, as they now are", () => {
    const mirror = mirrorOf(
      pool("10.2.0.0-16", "10.2.0.0/16", false), pool("10.1.0.0-16", "10.1.0.0/16", false),
      pool("fd00---64", "fd00::/64", true), pool("10.1.0.0-16", "10.1.0.0/16", true),
      { ipam_pool_remove: { id: "10.2.0.0-16" } },
    );
    expect(mirror.state().pools).toEqual([
      { cidr: "10.1.0.0/16", masquerade: true }, { cidr: "fd00::/64", masquerade: true },
    ]);
  });

  test("networks that BGP announces for Services, of all three kinds", () => {
    const bgp = { service_cluster_cidrs: ["10.96.0.0/12"], service_external_cidrs: ["192.0.2.0/24"],
      service_loadbalancer_cidrs: ["2001:db8::/64"] };
    expect(mirrorOf({ global_bgp_config_update: bgp }).state().serviceNetworks)
      .toEqual(["10.96.0.0/12", "192.0.2.0/24", "2001:db8::/64"]);
    expect(mirrorOf().state().serviceNetworks).toEqual([]);
  });

  test("what is no prefix is refused by name, and the mirror stays as it was", () => {
    const mirror = mirrorOf(pool("a", "10.1.0.0/16", true));
    const next = (payload: object): void =>
      mirror.apply(messageFromJson({ sequence_number: "1", ...payload }));
    expect(() => next(pool("b", "10.1.0.0/40", true)))
      .toThrow('ipam_pool_update: b: pool.cidr: "10.1.0.0/40" is neither');
    expect(() => next({ global_bgp_config_update: { service_external_cidrs: ["x"] } }))
      .toThrow('global_bgp_config_update: service_external_cidrs[0]: "x" is neither');
    expect(mirror.state().pools).toHaveLength(1);
  });
});
