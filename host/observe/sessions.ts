// What sessions and NAT a replay left and made, in a line each.
//
//   62 sessions live: 40 tcp (31 established, 9 closing), 20 udp, 2 icmp
//   48 flows to a Service's backend, 6 with another source, 2 passed on to another node
import { SessionFlag } from "../../assembly/layout.ts";
import type { SessionView } from "../dataplane/dataplane.ts";
import { isSourceHidden, type FlowTable } from "./flow.ts";
import { printProtocol } from "./tuple.ts";

const TCP = 6;

/** By protocol, of TCP by state. */
export function reportSessions(sessions: readonly SessionView[]): string {
  const byProtocol = new Map<number, SessionView[]>();
  for (const session of sessions) {
    const same = byProtocol.get(session.protocol);
    if (same) same.push(session);
    else byProtocol.set(session.protocol, [session]);
  }
  const parts = [...byProtocol].sort(([a], [b]) => a - b).map(([protocol, all]) =>
    `${all.length} ${printProtocol(protocol)}${protocol === TCP ? ` (${tcpStates(all)})` : ""}`);
  const which = parts.length === 0 ? "" : `: ${parts.join(", ")}`;
  return `${sessions.length} sessions live${which}`;
}

function tcpStates(sessions: readonly SessionView[]): string {
  const counts = new Map<string, number>();
  for (const { flags } of sessions) {
    const state = tcpState(flags);
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([state, count]) => `${count} ${state}`).join(", ");
}

/** What the flags that a session has seen make of it. */
function tcpState(flags: number): string {
  if ((flags & SessionFlag.Reset) !== 0) return "reset";
  const fins = flags & (SessionFlag.FinForward | SessionFlag.FinReturn);
  if (fins !== 0) {
    return fins === (SessionFlag.FinForward | SessionFlag.FinReturn) ? "closed" : "closing";
  }
  const syns = flags & (SessionFlag.SynForward | SessionFlag.SynReturn);
  return syns === SessionFlag.SynForward ? "opening" : "established";
}

/** How many of the flows went elsewhere than they were sent, and seem to come from elsewhere. */
export function reportNat(table: FlowTable): string {
  const flows = table.flows();
  const count = (is: (flow: (typeof flows)[number]) => boolean): number => flows.filter(is).length;
  const parts = [
    [count(({ backend, to }) => backend !== undefined && to !== undefined),
      "to a Service's backend"],
    [count(isSourceHidden), "with another source"],
    [count(({ peer }) => peer !== undefined), "passed on to another node"],
  ].filter(([flows]) => flows !== 0).map(([flows, what]) => `${flows} ${what}`);
  return parts.length === 0 ? "no flow was rewritten" : `flows rewritten: ${parts.join(", ")}`;
}
