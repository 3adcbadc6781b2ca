// Flows of a replay: which packets belong together, and what the report says of them.

import { describe, expect, it } from "vitest";
import { Reason, SessionFlag, Verdict } from "../../../assembly/layout.ts";
import { openingPacket } from "../../../examples/capture/opening.ts";
import type { Opening } from "../../../examples/capture/network.ts";
import type { Packet, Result, SessionView } from "../../../host/dataplane/dataplane.ts";
import { FlowTable, isSourceHidden } from "../../../host/observe/flow.ts";
import type { FlowReason } from "../../../host/observe/flow.ts";
import { reportBackends, reportCounters, reportFlows } from "../../../host/observe/report.ts";
import { reportNat, reportSessions } from "../../../host/observe/sessions.ts";
import { printTuple } from "../../../host/observe/tuple.ts";

const ask: Opening = {
  protocol: "udp", source: "10.244.0.2", sourcePort: 4000,
  destination: "10.96.0.53", destinationPort: 53,
};
const asked: Opening = { ...ask, destination: "10.244.0.21", destinationPort: 5353 };
const answer: Opening = {
  protocol: "udp", source: "10.244.0.21", sourcePort: 5353,
  destination: "10.244.0.2", destinationPort: 4000,
};
const answered: Opening = { ...answer, source: "10.96.0.53", sourcePort: 53 };

function packet(opening: Opening, number = 1): Packet {
  return { interface: number, bytes: openingPacket(opening) };
}

function pass(leaving: Opening, more: Partial<Result> = {}): Result {
  return {
    verdict: Verdict.Pass, reason: Reason.Established, policySlot: 0, rule: 0, direction: 0,
    backend: undefined, bytes: openingPacket(leaving), ...more,
  };
}

function drop(reason: Reason, more: Partial<Result> = {}): Result {
  return {
    verdict: Verdict.Drop, reason, policySlot: 0, rule: 0, direction: 0, backend: undefined,
    bytes: undefined, ...more,
  };
}

const names = {
  interface: (number: number) => `pod-${number}`,
  rule: (slot: number, rule: number) => `policy-${slot}/rule-${rule}`,
  backend: (id: number) => `backend-${id}`,
  reason: (reason: FlowReason) => `reason-${reason}`,
  peer: (number: number) => `node-${number}`,
};

describe("flows", () => {
  it("a request to a VIP and its reply are one flow, by the opener's tuple", () => {
    const table = new FlowTable();
    const decided = { policySlot: 2, rule: 1, backend: 7 };
    table.add(packet(ask), pass(asked, { ...decided, reason: Reason.Allowed }));
    table.add(packet(answer, 3), pass(answered, { direction: 1, backend: 7 }));
    table.add(packet(ask), pass(asked));
    const flows = table.flows();
    expect(flows.length).toBe(1);
    expect(flows[0]).toMatchObject({
      interface: 1, ...decided,
      forward: { packets: 2, bytes: 56 }, return: { packets: 1, bytes: 28 },
    });
    expect(printTuple(flows[0]!.tuple)).toBe("udp 10.244.0.2:4000 > 10.96.0.53:53");
    expect(reportFlows(table, names).split("\n")[1]).toBe("pod-1  udp 10.244.0.2:4000 > " +
      "10.96.0.53:53  backend-7 10.244.0.21:5353      2/1  56/28  pass     policy-2/rule-1");
    expect(reportBackends(table, names)).toBe("backend-7 1");
  });

  it("drops are counted by reason, beside what passed of the flow", () => {
    const table = new FlowTable();
    table.add(packet(ask), drop(Reason.PolicyDenied, { policySlot: 2, rule: 3 }));
    table.add(packet(ask), drop(Reason.PolicyDenied, { policySlot: 2, rule: 3 }));
    table.add(packet(answer, 3), drop(Reason.NoSession));
    table.add(packet(asked), pass(asked));
    table.add(packet(asked), drop(Reason.SessionTableFull));
    const [first, second, third] = reportFlows(table, names).split("\n").slice(1);
    expect(first).toContain(`drop: 2 reason-${Reason.PolicyDenied}`);
    expect(first).toContain("policy-2/rule-3");
    expect(second).toContain(`drop: 1 reason-${Reason.NoSession}`);
    expect(third).toContain(`pass, drop: 1 reason-${Reason.SessionTableFull}`);
    expect(third).toContain("as it came");
    expect(reportBackends(table, names)).toBe("none");
  });

  it("flows-nat: sources that NAT hides, nodes that packets are passed on to, answers", () => {
    const table = new FlowTable();
    const hidden = { ...asked, source: "192.168.0.1", sourcePort: 40001 };
    table.add(packet(ask), pass(hidden, { backend: 7 }));
    // Back to the node, which turns it back: still the opener's flow.
    table.add(packet({ ...answer, destination: "192.168.0.1", destinationPort: 40001 }, 3),
      pass(answered, { direction: 1, backend: 7 }));
    const other = { ...ask, sourcePort: 4001 };
    table.add(packet(other), pass(other, { reason: Reason.Forwarded, peer: 2, backend: 8 }));
    const refused = { ...ask, sourcePort: 4002 };
    table.add(packet(refused), {
      ...drop(Reason.NoBackend), verdict: Verdict.Reply, bytes: openingPacket(answered),
    });
    expect(table.flows().map(isSourceHidden)).toEqual([true, false, false]);
    const rows = reportFlows(table, names).split("\n").slice(1);
    expect(rows[0]).toContain("backend-7 10.244.0.21:5353 from 192.168.0.1:40001");
    expect(rows[0]).toMatch(/ 1\/1 .* pass/);
    expect(rows[1]).toContain("as it came, to node-2");
    expect(rows[2]).toMatch(new RegExp(` -  .*reject: 1 reason-${Reason.NoBackend}`));
    expect(reportNat(table)).toBe("flows rewritten: 2 to a Service's backend, " +
      "1 with another source, 1 passed on to another node");
  });

  it("flows-sessions: sessions by protocol, TCP's by what they have seen", () => {
    const session = (protocol: number, flags: number) => ({ protocol, flags }) as SessionView;
    const opening = SessionFlag.SynForward, both = opening | SessionFlag.SynReturn;
    expect(reportSessions([
      session(6, opening), session(6, both), session(17, 0),
      session(6, both | SessionFlag.FinReturn), session(6, 0),
      session(6, both | SessionFlag.FinReturn | SessionFlag.FinForward),
      session(6, opening | SessionFlag.Reset),
    ])).toBe("7 sessions live: 6 tcp (1 closed, 1 closing, 2 established, 1 opening, 1 reset), " +
      "1 udp");
    expect(reportSessions([])).toBe("0 sessions live");
    expect(reportNat(new FlowTable())).toBe("no flow was rewritten");
  });

  it("what has no tuple is counted apart; counters of 0 are left out", () => {
    const table = new FlowTable();
    table.add({ interface: 1, bytes: Uint8Array.of(0x45) }, drop(Reason.Truncated));
    expect(table.flows()).toEqual([]);
    expect([...table.nameless]).toEqual([[Reason.Truncated, 1]]);
    expect(reportCounters([[Reason.Allowed, 12n], [Reason.Truncated, 0n]], names))
      .toBe(`  reason-${Reason.Allowed}  12`);
  });
});
