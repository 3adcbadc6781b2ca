// The order of a judgement, where it is easy to let a packet by or to judge it twice: tunnels from
// workloads before and behind DNAT, an echo whose identifier is 0, discovery in fragments, whose
// rule a report names, addresses of uplinks, inactive uplinks. Where policies say what is expected
// in full: test/policy.
import { describe, expect, test } from "vitest";
import { Reason, Stage, Verdict } from "../../assembly/layout.ts";
import type { Packet, Result } from "../../host/dataplane/dataplane.ts";
import type { Endpoint, Policy, Program, ProgramRule } from "../../host/model/program.ts";
import { packet, type Spec } from "../packets.ts";
import { started } from "../shop.ts";

const POD = 1, OTHER = 2, UPLINK = 3, HOST = 4;
const clock = { nowMs: 1_000_000, nowSeconds: 1_700_000_000 };
const ANY: ProgramRule[] = [{ name: "any", action: "allow" }];
const NONE: ProgramRule[] = [{ name: "none", action: "deny" }];

function node(more: Partial<Program> = {}, hooks: Record<string, Partial<Endpoint>> = {}): Program {
  const endpoint = (
    name: string, kind: Endpoint["kind"], at: number, addresses: string[],
  ): Endpoint => ({ name, kind, interfaces: [at], addresses, ...hooks[name] });
  return {
    endpoints: [
      endpoint("pod", "workload", POD, ["10.0.0.1", "fd00::1"]),
      endpoint("other", "workload", OTHER, ["10.0.0.2", "fd00::2"]),
      endpoint("uplink", "uplink", UPLINK, []),
      endpoint("host", "host", HOST, ["192.0.2.1", "fd00:f::1"]),
    ],
    services: [],
    policies: [{ name: "any", rules: ANY }, { name: "none", rules: NONE }],
    routes: [{ prefix: "0.0.0.0/0", uplink: "uplink" }, { prefix: "::/0", uplink: "uplink" }],
    ...more,
  };
}
const at = (from: number, spec: Spec): Packet => ({ interface: from, bytes: packet(spec) });
/** The last packet's result, the packets in frames of `cut`. */
async function last(program: Program, packets: Packet[], cut = 1): Promise<Result> {
  const { dataplane } = await started(program);
  const results: Result[] = [];
  for (let i = 0; i < packets.length; i += cut) {
    results.push(...dataplane.process(0, packets.slice(i, i + cut), clock));
  }
  expect(dataplane.traps()).toEqual([]);
  return results.at(-1)!;
}

describe.each([
  [4, "10.0.0.1", "10.0.0.2", "198.51.100.7", "192.0.2.1", "10.96.0.1", "fd00::2"],
  [6, "fd00::1", "fd00::2", "2001:db8::7", "fd00:f::1", "fd00:96::1", "10.0.0.2"],
] as const)("IPv%i", (family, pod, other, far, host, vip, alien) => {
  const udp = { protocol: "udp" } as const;

  test("frame-cut: a reply to port 4789 goes by its session, whatever else is in the frame",
    async () => {
      const opens = at(UPLINK, { ...udp, from: far, to: pod, sourcePort: 4789, port: 53 });
      const reply = at(POD, { ...udp, from: pod, to: far, sourcePort: 53, port: 4789 });
      const filler = at(OTHER, { ...udp, from: alien, to: alien.replace("2", "1") });
      expect(await last(node(), [opens, reply])).toMatchObject({ reason: Reason.Established });
      // A frame that begins with the other family takes that family's fast lane.
      const { dataplane } = await started(node());
      dataplane.process(0, [opens], clock);
      expect(dataplane.process(0, [filler, reply], clock)[1])
        .toMatchObject({ reason: Reason.Established });
    });

  test("encap-checks: a workload opens no tunnel, through a Service neither", async () => {
    const services = [{
      name: "s", address: vip, port: 80, protocol: "udp" as const,
      backends: [{ name: "b", address: far, port: 4789 }],
    }];
    const plain = at(POD, { ...udp, from: pod, to: far, port: 4789 });
    const through = at(POD, { ...udp, from: pod, to: vip, port: 80 });
    const ipip = at(POD, { protocol: 4, from: pod, to: far });
    for (const each of [plain, through, ipip]) {
      expect(await last(node({ services }), [each]))
        .toMatchObject({ reason: Reason.EncapFromWorkload, policySlot: 0 });
    }
    const settings = { allowVxlanFromWorkloads: true, allowIpipFromWorkloads: true };
    for (const each of [plain, through, ipip]) {
      expect(await last(node({ services, settings }), [each]))
        .toMatchObject({ reason: Reason.Allowed });
    }
  });

  test("encap-checks: from a host that is not known, through a Service neither", async () => {
    const services = [{
      name: "s", address: vip, port: 80, protocol: "udp" as const,
      backends: [{ name: "b", address: host, port: 4789 }],
    }];
    const known = family === 4 ? "203.0.113.9" : "2001:db8:9::9";
    const sets = [{ id: "hosts", type: "net" as const, members: [known] }];
    const program = node(
      { services, sets, settings: { vxlanHosts: "hosts" } }, { uplink: { ingress: "none" } },
    );
    for (const spec of [{ to: host, port: 4789 }, { to: vip, port: 80 }]) {
      expect(await last(program, [at(UPLINK, { ...udp, from: far, ...spec })]))
        .toMatchObject({ reason: Reason.EncapFromUnknownHost });
      expect(await last(program, [at(UPLINK, { ...udp, from: known, ...spec })]))
        .toMatchObject({ reason: Reason.Allowed });
    }
  });

  test("icmp-echo: with identifier 0 the other side may answer, not ask", async () => {
    const icmp = { protocol: "icmp", sourcePort: 0 } as const;
    const [request, reply] = family === 4 ? [8, 0] : [128, 129];
    const program = node({}, { pod: { ingress: "none" } });
    const asks = at(POD, { ...icmp, from: pod, to: other, icmpType: request });
    const answer = at(OTHER, { ...icmp, from: other, to: pod, icmpType: reply });
    const counter = at(OTHER, { ...icmp, from: other, to: pod, icmpType: request });
    const again = at(POD, { ...icmp, from: pod, to: other, icmpType: reply });
    expect(await last(program, [asks, answer]))
      .toMatchObject({ reason: Reason.Established, direction: 1 });
    expect(await last(program, [asks, counter])).toMatchObject({ reason: Reason.PolicyDenied });
    expect(await last(program, [asks, again])).toMatchObject({ reason: Reason.Allowed });
  });

  test("stage-rules: a preDNAT or untracked policy that says nothing is not the deciding rule",
    async () => {
      const rules: ProgramRule[] = [{ name: "tcp", action: "deny", protocol: 6 }];
      const quiet: Policy = { name: "quiet", rules };
      const sent = at(UPLINK, { ...udp, from: far, to: pod });
      for (const hook of ["preDnat", "untrackedIngress"] as const) {
        const program = node({ policies: [quiet] }, { uplink: { [hook]: "quiet" } });
        const result = await last(program, [sent]);
        expect(result).toMatchObject({ reason: Reason.Allowed, policySlot: 0, rule: 0 });
        expect(result.stages).toEqual([
          { stage: hook === "preDnat" ? Stage.PreDnat : Stage.Untracked, policySlot: 1, rule: 1 },
        ]);
      }
    });

  test("uplink-address: what an uplink owns is reached by its policies", async () => {
    const hooks = { uplink: { addresses: [far], egress: "none", forwardEgress: "none" } };
    const unrouted = node({ routes: [] }, hooks);
    for (const [from, source] of [[HOST, host], [POD, pod]] as const) {
      expect(await last(unrouted, [at(from, { ...udp, from: source, to: far })]))
        .toMatchObject({ reason: Reason.PolicyDenied });
    }
  });

  test("endpoint-inactive: nothing leaves by an uplink that is inactive", async () => {
    const program = node({}, { uplink: { active: false } });
    for (const [from, source] of [[HOST, host], [POD, pod]] as const) {
      expect(await last(program, [at(from, { ...udp, from: source, to: far })]))
        .toMatchObject({ reason: Reason.EndpointInactive, verdict: Verdict.Drop });
    }
  });
});

test("nd-exempt: discovery in a fragment is judged as any packet", async () => {
  const program = node({}, { pod: { egress: "none" } });
  const solicits: Spec = {
    from: "fd00::1", to: "ff02::1:ff00:2", protocol: "icmp", icmpType: 135, ttl: 255,
  };
  expect(await last(program, [at(POD, solicits)]))
    .toMatchObject({ reason: Reason.NeighbourDiscovery });
  expect(await last(program, [at(POD, { ...solicits, fragment: { offset: 0, more: true } })]))
    .toMatchObject({ reason: Reason.PolicyDenied });
});
