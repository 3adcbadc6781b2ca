// What an explanation says beside its stages: which backend a Service led to, what NAT made of the
// source, that a session was followed, and what a drop or an answer means, in a sentence each.
//
//   service shop/db 10.96.4.7:5432 -> 10.65.0.9:5432 shop/db-0
//   source 203.0.113.7:40000 -> 192.168.0.1:40000
//   reject: no-backend on node-1: the Service has no ready endpoint; answered with a TCP reset
//
// Source: Reason of assembly/layout.ts; docs/services.md and docs/sessions.md say more.
import { PROTOCOL_NUMBERS } from "../model/rule.ts";
import { socket } from "./judgement.ts";
import type { FlowResult } from "./types.ts";
import { endName } from "./world.ts";

/** What a drop that is no policy's means. */
const REASONS: Readonly<Record<string, string>> = {
  "no-generation": "the node has no program yet",
  "endpoint-to-host": "a pod's packet to its own node, and DefaultEndpointToHostAction is Drop",
  "spoofed-source": "the sender has no such address",
  "unknown-endpoint": "the node knows no workload at the interface where it came in",
  "endpoint-inactive": "the workload is not active",
  "endpoint-mismatch": "a session of these addresses and ports is another endpoint's",
  "encap-from-workload": "pods may not send VXLAN or IPIP (AllowVXLANPacketsFromWorkloads)",
  "encap-from-unknown-host": "VXLAN or IPIP from an address that no node has",
  "policy-trapped": "the policy module trapped; its slot denies until it is pushed again",
  "no-backend": "the Service has no ready endpoint that this client may have",
  "unknown-service-port": "the address is a Service's, but none of its ports is this one",
  "unknown-service-address": "an address of the cluster's Services that no Service has",
  "source-range": "the client is in none of the Service's loadBalancerSourceRanges",
  "no-nat-address": "its source would have to become the node's, which has none of this family",
  "nat-ports-exhausted": "every port that the node could lend it is in use with this destination",
  "tuple-collision": "another session has the addresses and ports that this one would have",
  "session-table-full": "the table of sessions is full",
  "no-session": "it belongs to no session, and opens none",
  "later-fragment": "a fragment whose first one did not come before it, or was not let through",
  "sctp-fragment": "SCTP's checksum can't be put right over fragments: they get no NAT",
  "tiny-fragment": "a first fragment without its ports",
};

/** What the packet met on its way besides policies. */
export function remarksOf(result: FlowResult): string[] {
  const { flow, destination, source, backend, followed, nodes, note } = result;
  const remarks: string[] = [];
  if (destination !== undefined && !flow.isReply) {
    const { to } = flow;
    const name = to.kind === "service" ? to.service : endName(to);
    const vip = socket(to.address, flow.port ?? 0);
    remarks.push(`service ${name} ${vip} -> ${destination} ${backend ?? ""}`.trimEnd());
  }
  if (source !== undefined) {
    const { address } = flow.from;
    const port = flow.sourcePort !== undefined && WITH_PORTS.has(flow.protocol)
      ? socket(address, flow.sourcePort) : address;
    remarks.push(`source ${port} -> ${source}`);
  }
  if (destination !== undefined && flow.isReply) remarks.push(`destination -> ${destination}`);
  if (followed) {
    const where = followed.length === nodes.length && nodes.length === 1 ? ""
      : ` on ${followed.join(", ")}`;
    remarks.push(`it follows its session${where}: no policy is asked`);
  }
  if (result.verdict === "drop" || result.verdict === "reject") remarks.push(dropRemark(result));
  if (note !== undefined) remarks.push(note);
  return remarks;
}

function dropRemark({ verdict, reason, nodes, answer }: FlowResult): string {
  const why = REASONS[reason];
  const meaning = why === undefined ? "" : `: ${why}`;
  const answered = answer === undefined ? "" : `; answered with ${answer}`;
  return `${verdict}: ${reason} on ${nodes.at(-1)}${meaning}${answered}`;
}

const WITH_PORTS: ReadonlySet<number> = new Set(
  ["tcp", "udp", "sctp", "udplite"].map((name) => PROTOCOL_NUMBERS[name]!));
