// One case, measured: first both sides are shown to do the same, then they take turns.
//
//   compare ─► establish ─► round: margay, peer ─► round: peer, margay ─► ... ─► medians
//                                  └ nodes' clocks, the yardstick, the machine's load
//
// The yardstick is ip4-input + ip4-lookup + ip4-rewrite: where it differs between the sides of a
// round, something else was on the processor. A row is refused, by name, where the comparison
// fails, where a packet is lost in a timed round, or where sessions are fewer than they must be.

import { loadavg } from "node:os";
import { CLIENTS_ALLOWED } from "./bed.ts";
import type { Case } from "./cases.ts";
import { proveEqual } from "./compare.ts";
import { icmpErrors, type Traffic, udpFlows } from "./packets.ts";
import { pause, type Rig, type Side, SIDES } from "./rig.ts";
import { costOf, median, type NodeCost, type PathCost } from "./runtime.ts";

const COMPARED = 1000;
const COMPARED_DENIED = 128;
const YARDSTICK = /^ip[46]-(input|lookup|rewrite)$/;
/** Where flows of `new` begin: behind those compared. */
const FRESH_FROM = 1024;
const RECLAIM_SECONDS_MAX = 15;

export interface Setting { rounds: number; ms: number; log: (text: string) => void }
export type Turn = Record<Side, { path: PathCost; yardstick: number }> & { load: number };
/** Figures of a case: of one turn each, or one for all. */
export interface Measured {
  margay: number;
  peer: number;
  ratio: number;
  compared: string;
  turns: Turn[];
  /** What else there is to say. */
  note?: string;
}

export const trafficOf = (rig: Rig): Traffic => udpFlows({
  family: rig.bed.family, who: rig.bed.services ? "vip" : "backend", services: rig.bed.services,
});

export function measureCase(rig: Rig, each: Case, setting: Setting): Promise<Measured> {
  switch (each.kind) {
    case "new": return openings(rig, each, setting);
    case "memory": return memory(rig, each);
    case "reclaim": return reclaim(rig, each);
    default: return established(rig, each, setting);
  }
}

/** Both sides pass the first flows alike, and deny those that no rule allows. */
async function compared(rig: Rig): Promise<string> {
  const traffic = trafficOf(rig);
  const { policy, services } = rig.bed;
  const translated = services > 0;
  if (!policy) {
    return proveEqual(rig, traffic, { count: COMPARED }, { passed: COMPARED, translated });
  }
  const allowed = policy.members.length || CLIENTS_ALLOWED;
  const flows = { from: allowed - COMPARED_DENIED, count: 2 * COMPARED_DENIED };
  const said = await proveEqual(rig, traffic, flows, { passed: COMPARED_DENIED, translated });
  return `${said}; ${COMPARED_DENIED} denied by both`;
}

/** Makes a session for each flow on a side. */
async function establish(rig: Rig, side: Side, flows: number): Promise<number> {
  const traffic = trafficOf(rig);
  await rig.flows(side, traffic, { count: flows });
  await rig.burst(side, traffic, flows);
  const sessions = await rig.sessions(side);
  if (sessions >= flows) return sessions;
  // A second time: some find both of their buckets full for a moment.
  await rig.burst(side, traffic, flows);
  return rig.sessions(side);
}

function turnOf(nodes: Record<Side, NodeCost[]>, rig: Rig): Turn {
  const side = (each: Side) => ({
    path: costOf(nodes[each], rig.nodesOf(each)),
    yardstick: costOf(nodes[each], YARDSTICK).clocks,
  });
  return { margay: side("margay"), peer: side("peer"), load: loadavg()[0]! };
}

/** Both sides once, in turns that swap: what one leaves in a cache is not always the other's. */
async function turn(rig: Rig, k: number, run: (side: Side) => Promise<NodeCost[]>): Promise<Turn> {
  const nodes: Partial<Record<Side, NodeCost[]>> = {};
  for (const side of k % 2 ? [...SIDES].reverse() : SIDES) nodes[side] = await run(side);
  return turnOf(nodes as Record<Side, NodeCost[]>, rig);
}

function summed(name: string, turns: Turn[], sentence: string, setting: Setting): Measured {
  for (const each of turns) {
    setting.log(`${name}: margay ${each.margay.path.clocks.toFixed(1)}, peer `
      + `${each.peer.path.clocks.toFixed(1)} (yardstick ${each.margay.yardstick.toFixed(1)}, `
      + `${each.peer.yardstick.toFixed(1)}; load ${each.load.toFixed(2)})`);
  }
  const middle = (side: Side) => median(turns.map((each) => each[side].path.clocks));
  return {
    margay: middle("margay"), peer: middle("peer"),
    ratio: median(turns.map((each) => each.margay.path.clocks / each.peer.path.clocks)),
    compared: sentence, turns,
  };
}

async function established(rig: Rig, each: Case, setting: Setting): Promise<Measured> {
  let sentence = await compared(rig);
  for (const side of SIDES) {
    const sessions = await establish(rig, side, each.flows);
    setting.log(`${each.name}: ${side}: ${sessions} sessions`);
    if (!(sessions >= each.flows)) {
      throw new Error(`${side === "peer" ? rig.peer.name : side} has ${sessions} sessions, not `
        + `${each.flows}`);
    }
  }
  let traffic = trafficOf(rig);
  if (each.kind === "icmp") {
    traffic = icmpErrors();
    sentence = await proveEqual(rig, traffic, { count: COMPARED }, {
      passed: COMPARED, translated: true, icmp: true,
    });
  }
  const stream = each.name.replace(/[^\w]+/g, "-");
  for (const side of SIDES) {
    await rig.flows(side, traffic, { count: each.flows, random: each.random });
    await rig.stream(stream, side, traffic);
  }
  const turns: Turn[] = [];
  try {
    await rig.clearCounters();
    for (let k = 0; k < setting.rounds; k++) {
      turns.push(await turn(rig, k, (side) => rig.measure(stream, side, setting.ms)));
    }
    await pause(50);
    await nothingLost(rig);
  } finally {
    for (const side of SIDES) await rig.drop(stream, side);
  }
  return summed(each.name, turns, sentence, setting);
}

async function nothingLost(rig: Rig): Promise<void> {
  for (const side of SIDES) {
    const { in: came, out } = await rig.carried(side);
    if (came === out && came > 0) continue;
    const who = side === "peer" ? rig.peer.name : side;
    throw new Error(`${who}: ${came} packets came, ${out} left: ${
      (await rig.vpp.command(side === "peer" ? "show errors" : "show margay counters")).trim()}`);
  }
}

async function openings(rig: Rig, each: Case, setting: Setting): Promise<Measured> {
  const sentence = await compared(rig);
  const traffic = trafficOf(rig);
  const turns: Turn[] = [];
  await rig.clearCounters();
  // Flows that no case of this bed has opened: sessions tell how far they went.
  const before = { margay: await rig.sessions("margay"), peer: await rig.sessions("peer") };
  const opened = each.flows * (setting.rounds + 1);
  // Of a set the last members, which are found last by whoever looks at one after the other.
  const members = each.bed.policy?.members.length;
  let from = members ? members - COMPARED_DENIED - opened
    : Math.max(FRESH_FROM, each.bed.policy ? 0 : before.margay);
  // The first round is not counted: it faults memory in and fills the caches.
  for (let k = 0; k <= setting.rounds; k++, from += each.flows) {
    const made = await turn(rig, k, async (side) => {
      await rig.flows(side, traffic, { count: each.flows, from, random: each.random });
      return rig.burst(side, traffic, each.flows);
    });
    if (k) turns.push(made);
  }
  await nothingLost(rig);
  for (const side of SIDES) {
    const made = await rig.sessions(side) - before[side];
    if (made >= opened * 0.99) continue;
    throw new Error(`${side}: ${made} sessions were made of ${opened} new flows`);
  }
  return summed(each.name, turns, sentence, setting);
}

/** Bytes that VPP grew by, for each session that it then has. */
async function memory(rig: Rig, each: Case): Promise<Measured> {
  const start = rig.residentKilobytes();
  const live = await establish(rig, "margay", each.flows);
  const half = rig.residentKilobytes();
  const theirs = await establish(rig, "peer", each.flows);
  const end = rig.residentKilobytes();
  // The plugin's memory is there from its start on, and was touched then: all of it counts.
  const margay = ((half - start + rig.coreKilobytes) * 1024) / live;
  const peer = ((end - half) * 1024) / theirs;
  return {
    margay, peer, ratio: margay / peer, compared: await compared(rig), turns: [],
    note: `${live} and ${theirs} of ${each.flows} flows have a session; resident bytes, the `
      + "program's code and its other tables counted",
  };
}

/** Seconds from the first session that is due until none is left, for each of them. */
async function reclaim(rig: Rig, each: Case): Promise<Measured> {
  const sentence = await compared(rig);
  const idle = each.bed.idleSeconds! * 1000;
  const traffic = trafficOf(rig);
  const rate = async (side: Side): Promise<{ each: number; said: string }> => {
    await rig.flows(side, traffic, { count: each.flows });
    await rig.burst(side, traffic, each.flows);
    const made = Date.now(), most = await rig.sessions(side);
    await pause(idle);
    const start = Date.now(), before = await rig.sessions(side);
    let left = before, end = Date.now();
    while (left > most * 0.001 && Date.now() < start + RECLAIM_SECONDS_MAX * 1000) {
      await pause(20);
      left = await rig.sessions(side);
      end = Date.now();
    }
    const who = side === "peer" ? rig.peer.name : side;
    return {
      each: left <= most * 0.001
        ? ((end - made - idle) * 1000) / most : ((end - start) * 1000) / Math.max(before - left, 1),
      said: `${who}: ${most - left} of ${most} gone ${((end - made - idle) / 1000).toFixed(1)} s `
        + "after the last was due",
    };
  };
  const margay = await rate("margay"), peer = await rate("peer");
  return {
    margay: margay.each, peer: peer.each, ratio: margay.each / peer.each, compared: sentence,
    turns: [], note: `${margay.said}; ${peer.said}`,
  };
}
