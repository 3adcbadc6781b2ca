// Flows of a replay: packets and what the program said of them, put together by conversation.
//
//   client ──► VIP          key: the tuple as its opener sent it
//   client ◄── VIP          a passed return packet, as it leaves, is the key's other direction
//
// What is denied is a flow of its own by the tuple as it came, so a conversation that is let
// through and later dropped shows both its packets that passed and its drops by reason.
//
// Limits: a table in memory for reports of captures, never on a packet's path in a dataplane.

import { Verdict } from "../../assembly/layout.ts";
import type { Packet, StageRule, VppResult } from "../dataplane/dataplane.ts";
import { printTuple, readTuple, reversed } from "./tuple.ts";
import type { Tuple } from "./tuple.ts";

const DIRECTION_FORWARD = 0;

/** A reason of the program, or of VPP beside it. */
export type FlowReason = VppResult["reason"];

export interface Traffic {
  packets: number;
  /** From the IP header on. */
  bytes: number;
}

export interface Flow {
  tuple: Tuple;
  /** Interface of its first packet. */
  interface: number;
  /** As it came in, with what was dropped. */
  forward: Traffic;
  return: Traffic;
  /** Packets by reason for those that the program dropped. */
  drops: Map<FlowReason, number>;
  /** Likewise for those that it answered. */
  answers: Map<FlowReason, number>;
  /** Where the opener's packets go after the rewrite. */
  to: Tuple | undefined;
  /** Of the first packet that a rule decided; policySlot 0 = no rule was asked. */
  policySlot: number;
  rule: number;
  /** What each policy stage said of its first packet that met any. */
  stages: StageRule[];
  backend: number | undefined;
  /** The node that its opener's packets were passed on to as they were (DSR). */
  peer: number | undefined;
}

export class FlowTable {
  private readonly byKey = new Map<string, Flow>();
  /** Packets too short or too odd to have a tuple, by reason. */
  readonly nameless = new Map<FlowReason, number>();

  add(packet: Packet, result: VppResult): void {
    const tuple = readTuple(packet.bytes);
    if (tuple === undefined) {
      count(this.nameless, result.reason);
      return;
    }
    // An answer to the packet is no packet of the flow.
    const passed = result.verdict === Verdict.Pass;
    const leaving = passed && result.bytes !== undefined ? readTuple(result.bytes) : undefined;
    const isReturn = leaving !== undefined && result.direction !== DIRECTION_FORWARD;
    const flow = this.flow(isReturn ? reversed(leaving) : tuple, packet.interface);
    addTraffic(isReturn ? flow.return : flow.forward, packet);
    if (result.verdict === Verdict.Reply) count(flow.answers, result.reason);
    else if (!passed) count(flow.drops, result.reason);
    else if (!isReturn) flow.to ??= leaving;
    if (flow.policySlot === 0 && result.policySlot !== 0) {
      flow.policySlot = result.policySlot;
      flow.rule = result.rule;
    }
    if (flow.stages.length === 0) flow.stages = result.stages ?? [];
    flow.backend ??= result.backend;
    flow.peer ??= result.peer;
  }

  private flow(tuple: Tuple, arrival: number): Flow {
    const key = printTuple(tuple);
    let flow = this.byKey.get(key);
    if (flow === undefined) {
      flow = {
        tuple, interface: arrival,
        forward: { packets: 0, bytes: 0 }, return: { packets: 0, bytes: 0 },
        drops: new Map(), answers: new Map(), to: undefined, policySlot: 0, rule: 0, stages: [],
        backend: undefined, peer: undefined,
      };
      this.byKey.set(key, flow);
    }
    return flow;
  }

  /** In the order of their first packets. */
  flows(): Flow[] {
    return [...this.byKey.values()];
  }
}

function count(by: Map<FlowReason, number>, reason: FlowReason): void {
  by.set(reason, (by.get(reason) ?? 0) + 1);
}

function addTraffic(traffic: Traffic, packet: Packet): void {
  traffic.packets += 1;
  traffic.bytes += packet.bytes.length;
}

/** Does source NAT hide the opener? */
export function isSourceHidden({ tuple, to }: Flow): boolean {
  return to !== undefined &&
    (to.source !== tuple.source || to.sourcePort !== tuple.sourcePort);
}

/** "pass", "pass, drop: …", "reject: …": what became of a flow's packets. */
export function flowVerdict(
  { forward, drops, answers }: Flow, text: (reason: FlowReason, packets: number) => string,
): string {
  const total = (by: Map<FlowReason, number>): number =>
    [...by.values()].reduce((sum, packets) => sum + packets, 0);
  const said = (word: string, by: Map<FlowReason, number>): string[] => by.size === 0 ? []
    : [`${word}: ${[...by].map(([reason, packets]) => text(reason, packets)).join(", ")}`];
  const stopped = [...said("drop", drops), ...said("reject", answers)];
  const isPassed = forward.packets > total(drops) + total(answers);
  return [...(isPassed || stopped.length === 0 ? ["pass"] : []), ...stopped].join(", ");
}
