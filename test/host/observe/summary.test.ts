// The summary of a replay: which flows are one conversation, and what stands below it.

import { describe, expect, it } from "vitest";
import { Reason, Stage, Verdict } from "../../../assembly/layout.ts";
import { openingPacket } from "../../../examples/capture/opening.ts";
import type { Packet, Result, StageRule } from "../../../host/dataplane/dataplane.ts";
import { FlowTable } from "../../../host/observe/flow.ts";
import { conversations, reportConversations } from "../../../host/observe/summary.ts";

const WEB = ["10.0.0.1", "10.0.0.2", "fd00::1"], VIP = "10.96.0.1", VIP6 = "fd00:96::1";
const names = {
  end: (address: string) =>
    WEB.includes(address) ? "shop/web" : [VIP, VIP6].includes(address) ? "shop/svc/api" : address,
  rule: ({ policySlot, rule }: StageRule) => policySlot === 9 ? "" : `rule ${policySlot}:${rule}`,
  reason: (reason: Result["reason"] | string) => `reason-${reason}`,
  backend: (id: number) => `api-${id}`,
  peer: (number: number) => `node-${number}`,
};
const packet = (source: string, destination: string, sourcePort: number, port = 80): Packet => ({
  interface: 1,
  bytes: openingPacket({
    protocol: "tcp", source, sourcePort, destination, destinationPort: port,
  }),
});
const stages: StageRule[] = [
  { stage: Stage.Egress, policySlot: 1, rule: 4 },
  { stage: Stage.ForwardOut, policySlot: 9, rule: 0 },
  { stage: Stage.StagedIngress, policySlot: 2, rule: 0 },
];
const result = (of: Packet, more: Partial<Result> = {}): Result => ({
  verdict: Verdict.Pass, reason: Reason.Allowed, policySlot: 1, rule: 4, direction: 0,
  backend: undefined, stages, bytes: of.bytes, ...more,
});
const drop = { verdict: Verdict.Drop, reason: Reason.PolicyDenied, bytes: undefined };

describe("conversations", () => {
  const table = new FlowTable();
  for (const [source, destination, port] of [
    [WEB[0]!, VIP, 1000], [WEB[1]!, VIP, 1001], [WEB[2]!, VIP6, 1002],
  ] as const) {
    const one = packet(source, destination, port);
    table.add(one, result(one, port === 1002 ? {} : { backend: port - 996 }));
    table.add(one, result(one, { reason: Reason.Established, stages: [] }));
  }
  const denied = packet(WEB[0]!, VIP, 1003, 22);
  table.add(denied, result(denied, { ...drop, stages: stages.slice(0, 1) }));
  const outside = packet(WEB[2]!, "2001:db8::1", 1004);
  table.add(outside, result(outside, { stages: [] }));
  const leaving = packet(WEB[1]!, "192.0.2.1", 1005);
  table.add(leaving, result(leaving, {
    stages: [], bytes: packet("192.168.0.1", "192.0.2.1", 1005).bytes, peer: 2,
  }));
  const all = conversations(table, names);

  it("flows of the same ends, port, verdict and rules are one, over both families", () => {
    expect(all[0]).toEqual({
      from: "shop/web", to: "shop/svc/api:80/tcp", verdict: "pass",
      stages: [["egress", "rule 1:4"], ["staged ingress", "rule 2:0"]],
      flows: 3, forward: 6, return: 0,
      backends: new Map([["api-4", 1], ["api-5", 1]]), sources: new Map(), peers: new Map(),
    });
    expect(all).toHaveLength(4);
  });

  it("another port, verdict or end is another conversation; bare IPv6 stands in brackets", () => {
    expect(all[1]).toMatchObject({
      to: "shop/svc/api:22/tcp", verdict: `drop: reason-${Reason.PolicyDenied}`, flows: 1,
    });
    expect(all[2]).toMatchObject({ to: "[2001:db8::1]:80/tcp", stages: [] });
  });

  it("is printed in columns, rules below", () => {
    const lines = reportConversations(all).replace(/\u001b\[\d+m/g, "").split("\n");
    expect(lines).toEqual([
      "flows  packets  from      to                    verdict",
      "    3      6/0  shop/web  shop/svc/api:80/tcp   pass",
      "                egress          rule 1:4",
      "                staged ingress  rule 2:0",
      "                backend         api-4 1, api-5 1",
      `    1      1/0  shop/web  shop/svc/api:22/tcp   drop: reason-${Reason.PolicyDenied}`,
      "                egress          rule 1:4",
      "    1      1/0  shop/web  [2001:db8::1]:80/tcp  pass",
      "    1      1/0  shop/web  192.0.2.1:80/tcp      pass",
      "                source          192.168.0.1",
      "                passed on       node-2",
    ]);
  });
});
