// The cells of the table of which policies run where (calico.md 2.4), and the sentences under it:
// each a small node, one packet, and what must become of it.
import { ALLOW, DENY, PASS, sent, type Cell, type Sent } from "./cells.ts";
import type { Rule } from "../../host/model/rule.ts";
import type { StageName } from "../reference/policy.ts";

export interface Row {
  title: string;
  /** Sets the node up and makes the packet. */
  make: (cell: Cell) => Sent;
  reason: string;
  /** Stage of the policy that decided last; absent where none was asked. */
  at?: StageName;
  /** Whose word it was, as test/reference says it, where that is the point. */
  by?: string;
}
type Make = Row["make"];
const denied = (title: string, at: StageName, make: Make, by?: string): Row =>
  ({ title, make, reason: "PolicyDenied", at, ...(by === undefined ? {} : { by }) });
const allowed = (title: string, at: StageName | undefined, make: Make, by?: string): Row => ({
  title, make, reason: "Allowed", ...(at ? { at } : {}), ...(by === undefined ? {} : { by }),
});
const other = (title: string, reason: string, make: Make, at?: StageName): Row =>
  ({ title, make, reason, ...(at ? { at } : {}) });
const tcp = (port: number): Rule[] =>
  [{ action: "allow", protocol: "tcp", destinationPorts: [port] }];

const PODS: Row[] = [
  denied("pod→pod same node egress: the source's outbound tiers deny", "Egress", (cell) =>
    sent(cell.onPod("a", "egress", DENY).onPod("b", "ingress", ALLOW), "a", "b")),
  denied("pod→pod same node egress: the source's profiles, where its tiers pass", "Egress",
    (cell) => {
      cell.onPod("a", "egress", PASS).profile("closed", DENY).pod("a").profiles = ["closed"];
      return sent(cell, "a", "b");
    }, "Profile closed"),
  denied("pod→pod same node ingress: the destination's inbound tiers deny", "Ingress", (cell) =>
    sent(cell.onPod("a", "egress", ALLOW).onPod("b", "ingress", DENY), "a", "b")),
  allowed("pod→pod same node: both allow", "Ingress", (cell) =>
    sent(cell.onPod("a", "egress", ALLOW).onPod("b", "ingress", tcp(80)), "a", "b")),
  allowed("pod→pod same node: the source's inbound tiers do not matter", "Ingress", (cell) =>
    sent(cell.onPod("a", "ingress", DENY).onPod("b", "egress", DENY), "a", "b"),
  "Profile kns.shop"),

  denied("pod→remote egress: outbound tiers deny", "Egress", (cell) =>
    sent(cell.hep().onPod("a", "egress", DENY), "a", "remote")),
  denied("pod→remote egress: the outgoing host endpoint's forward tiers deny", "ForwardOut",
    (cell) => sent(cell.hep().onHep("forwardTiers", "egress", DENY), "a", "remote")),
  allowed("pod→remote egress: its normal tiers and profiles are not asked", "Egress", (cell) =>
    sent(cell.hep().onHep("tiers", "egress", DENY), "a", "remote")),
  allowed("pod→remote egress: outbound, then forward", "ForwardOut", (cell) => sent(
    cell.hep().onHep("forwardTiers", "egress", ALLOW).onPod("a", "egress", ALLOW), "a", "remote")),
  denied("pod→remote ingress: preDNAT of the incoming host endpoint denies", "PreDnat", (cell) =>
    sent(cell.hep().onHep("preDnatTiers", "ingress", DENY), "remote", "b")),
  denied("pod→remote ingress: forward of the incoming host endpoint denies", "ForwardIn", (cell) =>
    sent(cell.hep().onHep("forwardTiers", "ingress", DENY), "remote", "b")),
  denied("pod→remote ingress: the pod's inbound tiers deny", "Ingress", (cell) =>
    sent(cell.hep().onHep("forwardTiers", "ingress", ALLOW).onPod("b", "ingress", DENY),
      "remote", "b")),
  allowed("pod→remote ingress: all three allow", "Ingress", (cell) => {
    cell.hep().onHep("preDnatTiers", "ingress", [{ action: "pass" }]);
    cell.onHep("forwardTiers", "ingress", ALLOW).onPod("b", "ingress", ALLOW);
    return sent(cell, "remote", "b");
  }),
];

const TO_HOST: Row[] = [
  denied("pod→own host: outbound tiers deny first", "Egress", (cell) =>
    sent(cell.config("DefaultEndpointToHostAction", "ACCEPT").onPod("a", "egress", DENY),
      "a", "node")),
  other("pod→own host: then DROP, which is the default", "EndpointToHost", (cell) =>
    sent(cell, "a", "node"), "Egress"),
  other("pod→own host: DROP, though the host endpoint allows", "EndpointToHost", (cell) =>
    sent(cell.config("DefaultEndpointToHostAction", "Drop").hep("all", "*")
      .onHep("tiers", "ingress", ALLOW, "deny", "all"), "a", "node"), "Egress"),
  denied("pod→own host: RETURN asks the normal policy of \"*\", which denies", "Ingress", (cell) =>
    sent(cell.config("DefaultEndpointToHostAction", "RETURN").hep("all", "*")
      .onHep("tiers", "ingress", DENY, "deny", "all"), "a", "node")),
  allowed("pod→own host: RETURN asks the normal policy of \"*\", which allows", "Ingress",
    (cell) => sent(cell.config("DefaultEndpointToHostAction", "Return").hep("all", "*")
      .onHep("tiers", "ingress", tcp(80), "deny", "all"), "a", "node")),
  allowed("pod→own host: RETURN without a host endpoint is not policed further", "Egress",
    (cell) => sent(cell.config("DefaultEndpointToHostAction", "RETURN"), "a", "node")),
  allowed("pod→own host: ACCEPT passes by the host endpoint's policy", "Egress", (cell) =>
    sent(cell.config("DefaultEndpointToHostAction", "ACCEPT").hep("all", "*")
      .onHep("tiers", "ingress", DENY, "deny", "all"), "a", "node")),
  allowed("host→own pod: never policed, whatever the pod's inbound tiers", undefined, (cell) =>
    sent(cell.hep("all", "*").onPod("b", "ingress", DENY), "node", "b")),
  allowed("host→own pod: forward tiers of \"*\" are not for the host's own packets", undefined,
    (cell) => sent(cell.hep("all", "*").onHep("forwardTiers", "egress", DENY, "deny", "all"),
      "node", "b")),
];

const HOST: Row[] = [
  denied("external→host process: untracked denies first", "Untracked", (cell) =>
    sent(cell.hep().onHep("untrackedTiers", "ingress", DENY).onHep("tiers", "ingress", ALLOW),
      "world", "node")),
  denied("external→host process: then preDNAT denies", "PreDnat", (cell) =>
    sent(cell.hep().onHep("preDnatTiers", "ingress", DENY).onHep("tiers", "ingress", ALLOW),
      "world", "node")),
  denied("external→host process: then the normal tiers deny", "Ingress", (cell) =>
    sent(cell.hep().onHep("tiers", "ingress", tcp(443)), "world", "node")),
  allowed("external→host process: the normal tiers allow", "Ingress", (cell) =>
    sent(cell.hep().onHep("tiers", "ingress", tcp(80)), "world", "node")),
  allowed("external→host process: the host endpoint's profiles come last", "Ingress", (cell) => {
    cell.hep().onHep("tiers", "ingress", PASS).state.hostEndpoints.get("hep-eth0")!.profiles =
      ["kns.shop"];
    return sent(cell, "world", "node");
  }, "Profile kns.shop"),
  denied("external→host process: a host endpoint with nothing denies", "Ingress", (cell) =>
    sent(cell.hep(), "world", "node"), "profiles"),
  allowed("external→host process: no host endpoint, no policing", undefined, (cell) =>
    sent(cell, "world", "node")),
  other("external→host process: untracked allow skips preDNAT and normal policy", "Untracked",
    (cell) => sent(cell.hep().onHep("untrackedTiers", "ingress", ALLOW)
      .onHep("preDnatTiers", "ingress", DENY).onHep("tiers", "ingress", DENY), "world", "node"),
    "Untracked"),
  allowed("external→host process: preDNAT allow skips the normal policy", "PreDnat", (cell) =>
    sent(cell.hep().onHep("preDnatTiers", "ingress", ALLOW).onHep("tiers", "ingress", DENY),
      "world", "node")),
  denied("external→host process: untracked without a match goes on", "Ingress", (cell) =>
    sent(cell.hep().onHep("untrackedTiers", "ingress", tcp(443)).onHep("tiers", "ingress", DENY),
      "world", "node")),
  denied("external→host process: preDNAT without a match goes on", "Ingress", (cell) =>
    sent(cell.hep().onHep("preDnatTiers", "ingress", tcp(443)).onHep("tiers", "ingress", DENY),
      "world", "node")),

  denied("host process→external: untracked denies first", "UntrackedOut", (cell) =>
    sent(cell.hep().onHep("untrackedTiers", "egress", DENY).onHep("tiers", "egress", ALLOW),
      "node", "world")),
  other("host process→external: untracked allow skips the normal policy", "Untracked", (cell) =>
    sent(cell.hep().onHep("untrackedTiers", "egress", ALLOW).onHep("tiers", "egress", DENY),
      "node", "world"), "UntrackedOut"),
  denied("host process→external: the normal tiers deny", "Egress", (cell) =>
    sent(cell.hep().onHep("tiers", "egress", tcp(443)), "node", "world")),
  allowed("host process→external: the normal tiers allow", "Egress", (cell) =>
    sent(cell.hep().onHep("tiers", "egress", tcp(80)), "node", "world")),
  allowed("host process→external: the host endpoint's profiles come last", "Egress", (cell) => {
    cell.hep().state.hostEndpoints.get("hep-eth0")!.profiles = ["kns.shop"];
    return sent(cell, "node", "world");
  }, "Profile kns.shop"),
  denied("host process→external: a host endpoint with nothing denies", "Egress", (cell) =>
    sent(cell.hep(), "node", "world"), "profiles"),
  allowed("host process→external: no host endpoint, no policing", undefined, (cell) =>
    sent(cell.hep("hep-eth1", "eth1"), "node", "world")),
  allowed("host process→external: forward tiers are not asked", "Egress", (cell) =>
    sent(cell.hep().onHep("tiers", "egress", ALLOW).onHep("forwardTiers", "egress", DENY),
      "node", "world")),
];

const FORWARD: Row[] = [
  allowed("forward: without a forward policy it allows", "Ingress", (cell) =>
    sent(cell.hep(), "world", "b"), "Profile kns.shop"),
  denied("forward: no match ends as the tier says, deny", "ForwardIn", (cell) =>
    sent(cell.hep().onHep("forwardTiers", "ingress", tcp(443)), "world", "b"), "tier default"),
  allowed("forward: no match ends as the tier says, pass, and no profile is asked", "Ingress",
    (cell) => sent(cell.hep().onHep("forwardTiers", "ingress", tcp(443), "pass"), "world", "b"),
    "Profile kns.shop"),
  denied("forward: of a packet between two uplinks, in and out are asked", "ForwardOut", (cell) => {
    cell.hep().onHep("forwardTiers", "ingress", ALLOW);
    cell.hep("hep-eth1", "eth1").onHep("forwardTiers", "egress", DENY, "deny", "hep-eth1");
    return sent(cell, "world", "other");
  }),
  denied("an untracked allow does not skip the outgoing host endpoint's forward policy",
    "ForwardOut", (cell) => {
      cell.hep().onHep("untrackedTiers", "ingress", ALLOW).onHep("forwardTiers", "ingress", DENY);
      cell.hep("hep-eth1", "eth1").onHep("forwardTiers", "egress", DENY, "deny", "hep-eth1");
      return sent(cell, "world", "other");
    }),
  denied("a preDNAT allow does not skip the outgoing host endpoint's forward policy",
    "ForwardOut", (cell) => {
      cell.hep().onHep("preDnatTiers", "ingress", ALLOW).onHep("forwardTiers", "ingress", DENY);
      cell.hep("hep-eth1", "eth1").onHep("forwardTiers", "egress", DENY, "deny", "hep-eth1");
      return sent(cell, "world", "other");
    }),
  denied("a preDNAT allow skips the incoming forward policy, not the pod's", "Ingress", (cell) =>
    sent(cell.hep().onHep("preDnatTiers", "ingress", ALLOW).onHep("forwardTiers", "ingress", DENY)
      .onPod("b", "ingress", DENY), "world", "b")),
  denied("an untracked allow skips the incoming forward policy, not the pod's", "Ingress",
    (cell) => sent(cell.hep().onHep("untrackedTiers", "ingress", ALLOW)
      .onHep("forwardTiers", "ingress", DENY).onPod("b", "ingress", DENY), "world", "b")),
];

export const TRAFFIC: Row[] = [...PODS, ...TO_HOST, ...HOST, ...FORWARD];
