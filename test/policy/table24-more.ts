// The sentences under the table: failsafes, preDNAT's own destination, which host endpoint an
// interface has, encapsulation, neighbour discovery, spoofing.
import type { Rule } from "../../host/model/rule.ts";
import { packet } from "../packets.ts";
import { ALLOW, DENY, sent, type Cell, type Name, type Sent } from "./cells.ts";
import type { Row } from "./table24.ts";

const INBOUND: [number, "tcp" | "udp"][] = [
  [22, "tcp"], [68, "udp"], [179, "tcp"], [2379, "tcp"], [2380, "tcp"], [5473, "tcp"],
  [6443, "tcp"], [6666, "tcp"], [6667, "tcp"],
];
const OUTBOUND: [number, "tcp" | "udp"][] =
  [[53, "udp"], [67, "udp"], ...INBOUND.filter(([port]) => port !== 22 && port !== 68)];

/** A host endpoint that denies in every phase. */
const closed = (cell: Cell): Cell => {
  cell.hep();
  for (const phase of ["tiers", "untrackedTiers"] as const) {
    cell.onHep(phase, "ingress", DENY).onHep(phase, "egress", DENY);
  }
  return cell.onHep("preDnatTiers", "ingress", DENY);
};

const FAILSAFES: Row[] = [
  ...INBOUND.map(([port, protocol]): Row => ({
    title: `failsafe in: ${protocol} ${port}, whatever untracked, preDNAT and normal policy say`,
    make: (cell) => sent(closed(cell), "world", "node", { port, protocol }),
    reason: "Allowed", at: "Ingress", by: "failsafe",
  })),
  ...OUTBOUND.map(([port, protocol]): Row => ({
    title: `failsafe out: ${protocol} ${port}, whatever untracked and normal policy say`,
    make: (cell) => sent(closed(cell), "node", "world", { port, protocol }),
    reason: "Allowed", at: "Egress", by: "failsafe",
  })),
  {
    title: "failsafe in: another port meets untracked policy",
    make: (cell) => sent(closed(cell), "world", "node", { port: 23 }),
    reason: "PolicyDenied", at: "Untracked",
  },
  {
    title: "failsafe out: tcp 22 is inbound alone",
    make: (cell) => sent(cell.hep(), "node", "world", { port: 22 }),
    reason: "PolicyDenied", at: "Egress",
  },
  {
    title: "failsafe in: tcp 22 is no udp 22",
    make: (cell) => sent(cell.hep(), "world", "node", { port: 22, protocol: "udp" }),
    reason: "PolicyDenied", at: "Ingress",
  },
  {
    title: "failsafes are not for forward policy",
    make: (cell) => sent(cell.hep().onHep("forwardTiers", "ingress", DENY), "world", "b",
      { port: 22 }),
    reason: "PolicyDenied", at: "ForwardIn",
  },
  {
    title: "failsafes end raw phases without allowing: forward policy still decides",
    make: (cell) => sent(closed(cell).onHep("forwardTiers", "ingress", DENY), "world", "b",
      { port: 22 }),
    reason: "PolicyDenied", at: "ForwardIn",
  },
  {
    title: "failsafes end raw phases with all their tiers",
    make: (cell) => {
      cell.hep().onHep("untrackedTiers", "ingress", tcpTo(443)).onHep("tiers", "ingress", DENY);
      cell.onHep("untrackedTiers", "ingress", DENY).onHep("preDnatTiers", "ingress", tcpTo(443));
      return sent(cell.onHep("preDnatTiers", "ingress", DENY), "world", "node", { port: 22 });
    },
    reason: "Allowed", at: "Ingress", by: "failsafe",
  },
  {
    title: "failsafes may name a prefix: inside it",
    make: (cell) => sent(closed(cell).config("FailsafeInboundHostPorts", ofWorld(cell, 9)),
      "world", "node", { port: 9 }),
    reason: "Allowed", at: "Ingress", by: "failsafe",
  },
  {
    title: "failsafes may name a prefix: outside it",
    make: (cell) => sent(closed(cell).config("FailsafeInboundHostPorts", ofWorld(cell, 9)),
      "peer", "node", { port: 9 }),
    reason: "PolicyDenied", at: "Untracked",
  },
  {
    title: "failsafes may be none",
    make: (cell) => sent(closed(cell).config("FailsafeInboundHostPorts", "none"), "world", "node",
      { port: 22 }),
    reason: "PolicyDenied", at: "Untracked",
  },
  {
    title: "failsafes let replies through untracked policy, by source port: to the normal policy",
    make: (cell) => sent(closed(cell), "world", "node", { protocol: "udp", sourcePort: 53 }),
    reason: "PolicyDenied", at: "PreDnat",
  },
  {
    title: "failsafes let replies of the host through untracked policy, by source port",
    make: (cell) => sent(closed(cell), "node", "world", { sourcePort: 22 }),
    reason: "PolicyDenied", at: "Egress",
  },
];
function tcpTo(port: number): Rule[] {
  return [{ action: "allow", protocol: "tcp", destinationPorts: [port] }];
}
function ofWorld(cell: Cell, port: number): string {
  return cell.family === 4 ? `tcp:203.0.113.0/24:${port}` : `tcp:[2001:db8:ffff::/48]:${port}`;
}

const to = (cell: Cell, name: Name, port: number, action: Rule["action"]): Rule[] =>
  [{ action, protocol: "tcp", destination: [cell.address(name)], destinationPorts: [port] }];

const DNAT: Row[] = [
  {
    title: "preDNAT sees the destination before DNAT",
    make: (cell) => sent(cell.hep().service()
      .onHep("preDnatTiers", "ingress", to(cell, "vip", 80, "deny")), "world", "vip"),
    reason: "PolicyDenied", at: "PreDnat",
  },
  {
    title: "preDNAT does not see the backend",
    make: (cell) => sent(cell.hep().service()
      .onHep("preDnatTiers", "ingress", to(cell, "b", 8080, "deny")), "world", "vip"),
    reason: "Allowed", at: "Ingress",
  },
  {
    title: "forward and the pod's policy see the backend",
    make: (cell) => sent(cell.hep().service()
      .onHep("forwardTiers", "ingress", to(cell, "b", 8080, "allow"))
      .onPod("b", "ingress", to(cell, "b", 8080, "allow")), "world", "vip"),
    reason: "Allowed", at: "Ingress",
  },
  {
    title: "pod→service→pod: egress is matched on the backend",
    make: (cell) => sent(cell.service().onPod("a", "egress", to(cell, "b", 8080, "allow")),
      "a", "vip"),
    reason: "Allowed", at: "Ingress",
  },
  {
    title: "pod→service→pod: a rule for the VIP does not match",
    make: (cell) => sent(cell.service().onPod("a", "egress", to(cell, "vip", 80, "allow")),
      "a", "vip"),
    reason: "PolicyDenied", at: "Egress",
  },
  {
    title: "untracked policy sees the destination before DNAT, and is not translated",
    make: (cell) => sent(cell.hep().service()
      .onHep("untrackedTiers", "ingress", to(cell, "vip", 80, "deny")), "world", "vip"),
    reason: "PolicyDenied", at: "Untracked",
  },
];

const WHICH: Row[] = [
  {
    title: "of two host endpoints that match, the alphabetically first id wins",
    make: (cell) => sent(cell.hep("b-hep").hep("a-hep")
      .onHep("tiers", "ingress", DENY, "deny", "b-hep")
      .onHep("tiers", "ingress", ALLOW, "deny", "a-hep"), "world", "node"),
    reason: "Allowed", at: "Ingress",
  },
  {
    title: "a host endpoint without a name matches by an expected address",
    make: (cell) => sent(cell.hep("by-address", "", [cell.address("node")])
      .onHep("tiers", "ingress", ALLOW, "deny", "by-address"), "world", "node"),
    reason: "Allowed", at: "Ingress",
  },
  {
    title: "a host endpoint with a name does not match by address",
    make: (cell) => sent(cell.hep("named", "eth9", [cell.address("node")]), "world", "node"),
    reason: "Allowed",
  },
  {
    title: "\"*\" covers interfaces that no other host endpoint has",
    make: (cell) => sent(cell.hep("all", "*").onHep("tiers", "ingress", DENY, "deny", "all"),
      "world", "node"),
    reason: "PolicyDenied", at: "Ingress",
  },
  {
    title: "\"*\" gives way to a host endpoint of the interface, whatever its id",
    make: (cell) => sent(cell.hep("a-all", "*").hep("z-eth0")
      .onHep("tiers", "ingress", DENY, "deny", "a-all")
      .onHep("tiers", "ingress", ALLOW, "deny", "z-eth0"), "world", "node"),
    reason: "Allowed", at: "Ingress",
  },
  {
    title: "\"*\" has preDNAT policy at workload interfaces, too",
    make: (cell) => sent(cell.hep("all", "*").onHep("preDnatTiers", "ingress", DENY, "deny", "all"),
      "a", "b"),
    reason: "PolicyDenied", at: "PreDnat",
  },
  {
    title: "\"*\" has forward policy at workload interfaces, too: in",
    make: (cell) => sent(cell.hep("all", "*").onHep("forwardTiers", "ingress", DENY, "deny", "all"),
      "a", "b"),
    reason: "PolicyDenied", at: "ForwardIn",
  },
  {
    title: "\"*\" has forward policy at workload interfaces, too: out",
    make: (cell) => sent(cell.hep("all", "*").onHep("forwardTiers", "egress", DENY, "deny", "all"),
      "world", "b"),
    reason: "PolicyDenied", at: "ForwardOut",
  },
];

const vxlan = { protocol: "udp", port: 4789 } as const;
type Short = [title: string, reason: string, make: Row["make"], at?: Row["at"]];
const rows = (list: Short[]): Row[] => list.map(([title, reason, make, at]) =>
  ({ title, reason, make, ...(at ? { at } : {}) }));

const ENCAPSULATION: Row[] = rows([
  ["VXLAN from a pod is dropped", "EncapFromWorkload", (cell) => sent(cell, "a", "remote", vxlan)],
  ["VXLAN from a pod, to another pod as well", "EncapFromWorkload", (cell) =>
    sent(cell, "a", "b", vxlan)],
  ["VXLAN from a pod on the port that VXLANPort says", "EncapFromWorkload", (cell) =>
    sent(cell.config("VXLANPort", "4000"), "a", "remote", { ...vxlan, port: 4000 })],
  ["VXLAN from a pod, by a Service whose backend's port it is", "EncapFromWorkload", (cell) => {
    cell.service().state.services[0]!.protocol = "udp";
    return sent(cell.config("VXLANPort", "8080"), "a", "vip", { protocol: "udp", port: 80 });
  }],
  ["TCP to that port is no VXLAN", "Allowed", (cell) => sent(cell, "a", "remote", { port: 4789 })],
  ["VXLAN from a pod, allowed by AllowVXLANPacketsFromWorkloads", "Allowed", (cell) =>
    sent(cell.config("AllowVXLANPacketsFromWorkloads", "true"), "a", "remote", vxlan)],
  ["IPIP from a pod is dropped", "EncapFromWorkload", (cell) =>
    sent(cell, "a", "remote", { protocol: 4 })],
  ["IPIP from a pod, allowed by AllowIPIPPacketsFromWorkloads", "Allowed", (cell) =>
    sent(cell.config("AllowIPIPPacketsFromWorkloads", "true"), "a", "remote", { protocol: 4 })],
  ["VXLAN to the host from a node of the cluster passes before host endpoint policy", "Allowed",
    (cell) => sent(cell.hep().onHep("tiers", "ingress", DENY).config("VXLANEnabled", "true"),
      "peer", "node", vxlan)],
  ["VXLAN to the host from a stranger is dropped", "EncapFromUnknownHost", (cell) =>
    sent(cell.config("VXLANEnabled", "true"), "stranger", "node", vxlan)],
  ["IPIP to the host from a node of the cluster passes before host endpoint policy", "Allowed",
    (cell) => sent(cell.hep().onHep("tiers", "ingress", DENY).config("IpInIpEnabled", "true"),
      "peer", "node", { protocol: 4 })],
  ["VXLAN to the host from a stranger is dropped, whatever preDNAT allows", "EncapFromUnknownHost",
    (cell) => sent(cell.hep().onHep("preDnatTiers", "ingress", ALLOW)
      .config("VXLANEnabled", "true"), "stranger", "node", vxlan), "PreDnat"],
  ["VXLAN to the host from a stranger is dropped, whatever untracked policy allows",
    "EncapFromUnknownHost", (cell) => sent(cell.hep().onHep("untrackedTiers", "ingress", ALLOW)
      .config("VXLANEnabled", "true"), "stranger", "node", vxlan), "Untracked"],
  ["IPIP to the host from a stranger is dropped", "EncapFromUnknownHost", (cell) =>
    sent(cell.config("IpInIpEnabled", "true"), "stranger", "node", { protocol: 4 })],
  ["VXLAN that is not in use meets host endpoint policy", "PolicyDenied", (cell) =>
    sent(cell.hep(), "peer", "node", vxlan), "Ingress"],
]);

/** An ICMPv6 message of a pod between link-local addresses. */
function local(icmpType: number, ttl: number, at = "cali1"): Sent {
  return {
    interface: at, bytes: packet({ from: "fe80::1", to: "ff02::1", protocol: 58, icmpType, ttl }),
  };
}
const open = (cell: Cell): Cell => cell.onPod("a", "egress", DENY);
export const NEIGHBOURS: Row[] = [
  ...[133, 134, 135, 136].map((type): Row => ({
    title: `neighbour discovery: ICMPv6 ${type} of a pod passes before policy and source check`,
    make: (cell) => (open(cell), local(type, 255)), reason: "NeighbourDiscovery",
  })),
  ...[130, 131, 132, 143].map((type): Row => ({
    title: `multicast listeners: ICMPv6 ${type} of a pod passes before policy and source check`,
    make: (cell) => (open(cell), local(type, 1)), reason: "NeighbourDiscovery",
  })),
  {
    title: "neighbour discovery that crossed a router is judged as any packet",
    make: (cell) => (open(cell), local(135, 254)), reason: "SpoofedSource",
  },
  {
    title: "a listener's message that may cross a router is judged as any packet",
    make: (cell) => (open(cell), local(143, 255)), reason: "SpoofedSource",
  },
  {
    title: "neighbour discovery of the node's own address passes",
    make: (cell) => sent(open(cell), "a", "node", { protocol: 58, icmpType: 135, ttl: 255 }),
    reason: "NeighbourDiscovery",
  },
  {
    title: "neighbour discovery that the node would forward is judged as any packet",
    make: (cell) => sent(open(cell), "a", "remote", { protocol: 58, icmpType: 135, ttl: 255 }),
    reason: "PolicyDenied", at: "Egress",
  },
  {
    title: "a redirect is judged as any packet",
    make: (cell) => (open(cell), local(137, 255)), reason: "SpoofedSource",
  },
  {
    title: "an echo request is judged as any packet",
    make: (cell) => sent(open(cell), "a", "b", { protocol: "icmp", ttl: 255 }),
    reason: "PolicyDenied", at: "Egress",
  },
];

const spoofer = (cell: Cell, mode: string): Cell => {
  const bits = cell.family === 4 ? "/24" : "/48";
  cell.config("WorkloadSourceSpoofing", mode).pod("a").allowedSources =
    [cell.address("spoofed").replace(/99$/, cell.family === 4 ? "0" : "") + bits];
  return cell;
};
const SPOOFING: Row[] = rows([
  ["a pod's own source passes", "Allowed", (cell) => sent(cell, "a", "b")],
  ["another pod's source is dropped", "SpoofedSource", (cell) =>
    sent(cell, "b", "remote", {}, "cali1")],
  ["the world's source is dropped", "SpoofedSource", (cell) => sent(cell, "spoofed", "b")],
  ["an allowed prefix passes with WorkloadSourceSpoofing=Any", "Allowed", (cell) =>
    sent(spoofer(cell, "Any"), "spoofed", "b")],
  ["an allowed prefix alone is not enough", "SpoofedSource", (cell) =>
    sent(spoofer(cell, "Disabled"), "spoofed", "b")],
  ["what lies outside the allowed prefix is dropped", "SpoofedSource", (cell) => {
    const one = sent(spoofer(cell, "Any"), "spoofed", "b");
    const away = packet({ from: cell.address("other"), to: cell.address("b") });
    return { ...one, bytes: away };
  }],
  ["a zero source is dropped", "SpoofedSource", (cell) => ({
    interface: "cali1",
    bytes: packet({ from: cell.family === 4 ? "0.0.0.0" : "::", to: cell.address("b") }),
  })],
  ["an uplink's packets may bear any source", "Allowed", (cell) =>
    sent(cell, "spoofed", "b", {}, "eth0")],
  ["a pod that is not active sends nothing", "EndpointInactive", (cell) => {
    cell.pod("a").active = false;
    return sent(cell, "a", "b");
  }],
  ["a pod that is not active receives nothing", "EndpointInactive", (cell) => {
    cell.pod("b").active = false;
    return sent(cell, "world", "b");
  }],
  ["an interface that nobody has told of is closed", "UnknownEndpoint", (cell) =>
    sent(cell, "a", "b", {}, "cali9")],
]);

export const RULES: Row[] = [...FAILSAFES, ...DNAT, ...WHICH, ...ENCAPSULATION, ...SPOOFING];
