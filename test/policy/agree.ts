// A case through the program and through the slow twin; where they differ, a small case that still
// does, as text.
import type { NodeDevices, NodeState } from "../../host/model/state.ts";
import { judge, type Judgement } from "../reference/policy.ts";
import { prefixOf } from "../reference/rule.ts";
import type { Case, Packet } from "./generate.ts";
import { Histogram } from "./histogram.ts";
import { Random } from "./random.ts";
import { Runner, type Outcome } from "./runner.ts";
import { shrink, stateText } from "./shrink.ts";

/** What both must say of a packet: one line, equal or not. */
export function said({ verdict, reason, asked }: Judgement): string {
  const stages = asked.filter((each) => each.by !== "")
    .map(({ stage, by, rule }) => ({ stage, by, rule }));
  return lineOf({ verdict, reason, stages });
}
export function lineOf({ verdict, reason, stages }: Outcome): string {
  const order = (stage: string): number => ORDER.indexOf(stage);
  const words = [...stages].sort((a, b) => order(a.stage) - order(b.stage))
    .map(({ stage, by, rule }) => `${stage}=${by}${rule < 0 ? "" : `[${rule}]`}`);
  return [verdict, reason, ...words].join(" ");
}
const ORDER = [
  "Untracked", "PreDnat", "UntrackedOut", "StagedEgress", "Egress", "ForwardIn", "ForwardOut",
  "StagedIngress", "Ingress",
];

export class Agreement {
  readonly histogram = new Histogram();
  private runner = new Runner();
  private loaded = 0;

  /**
   * Runs a case, its second half behind changes of sets' members; a report where the two disagree.
   * Every 25 states the engine is a fresh one.
   */
  async run(one: Case): Promise<string | undefined> {
    if (++this.loaded % 25 === 0) this.runner = new Runner();
    try {
      await this.runner.load(one.state, one.devices);
    } catch (cause) {
      return `seed ${one.seed}: ${String(cause)}`;
    }
    const half = one.packets.length >> 1;
    const early = await this.half(one, one.packets.slice(0, half));
    if (early) return early;
    for (const { id, added, removed } of changeMembers(one)) {
      this.runner.dataplane.stage(this.runner.compiler.applyDelta(id, added, removed));
    }
    return this.half(one, one.packets.slice(half));
  }

  private async half(one: Case, packets: Packet[]): Promise<string | undefined> {
    for (const frame of frames({ ...one, packets }, this.histogram)) {
      const outcomes = this.runner.frame(frame.map((each) => each.packet));
      for (const [i, { packet, judged }] of frame.entries()) {
        if (lineOf(outcomes[i]!) !== said(judged)) return report(one, packet, outcomes[i]!, judged);
      }
      const traps = this.runner.dataplane.traps();
      if (traps.length) return `seed ${one.seed}: ${JSON.stringify(traps)}`;
    }
    return undefined;
  }
}

interface Delta {
  id: string;
  added: string[];
  removed: string[];
}
/** Members that come and go, in the state itself; one of two texts for one member stays. */
function* changeMembers({ seed, state }: Case): Generator<Delta> {
  const random = new Random(seed ^ 0x5e75);
  for (const { id, type, members } of state.sets.values()) {
    const texts = [...members];
    const removed = random.some(texts, 0, 3)
      .filter((text) => texts.filter((each) => canonical(each) === canonical(text)).length === 1);
    for (const text of removed) members.delete(text);
    const others = [...state.sets.values()].filter((each) => each.type === type)
      .flatMap((each) => [...each.members]);
    const added = random.some([...new Set(others)], 0, 3).filter((text) => !members.has(text));
    for (const text of added) members.add(text);
    if (added.length + removed.length) yield { id, added, removed };
  }
}
function canonical(member: string): string {
  const [address, service] = member.split(",");
  if (service) return member.replace("tcp", "6").replace("udp", "17").replace("sctp", "132");
  const { network, mask } = prefixOf(address!);
  return `${network}/${mask}`;
}

interface Judged {
  packet: Packet;
  judged: Judgement;
}
/** Cuts a case into frames in which no packet could meet a session of another's. */
function* frames(one: Case, histogram: Histogram): Generator<Judged[]> {
  let frame: Judged[] = [];
  let taken = new Set<string>();
  for (const packet of one.packets) {
    const judged = histogram.judge(one, packet);
    const { flows, meets, leaves } = keysOf(judged);
    if (frame.length === 256 || [...flows, ...meets].some((key) => taken.has(key))) {
      yield frame;
      frame = [];
      taken = new Set();
    }
    for (const key of [...flows, ...leaves]) taken.add(key);
    frame.push({ packet, judged });
  }
  yield frame;
}
interface Keys {
  flows: string[];
  /** What must not be in the frame, what it is in it. */
  meets: string[];
  leaves: string[];
}
/**
 * The flow as the packet bears it, and after DNAT: the same for both directions. To a Service its
 * source may be another, so that it goes with nothing else that its backend sends or gets.
 */
function keysOf({ arrived, question }: Judgement): Keys {
  if (!arrived || !question) return { flows: [], meets: [], leaves: [] };
  const ends = [arrived, question].map(({ source, destination, sourcePort = 0, port = 0 }) =>
    [`${source}:${sourcePort}`, `${destination}:${port}`] as const);
  const flows = ends.map((pair) => [arrived.protocol, ...[...pair].sort()].join(" "));
  const own = ends.flat().map((end) => `end ${arrived.protocol} ${end}`);
  const backend = `backend ${arrived.protocol} ${ends[1]![1]}`;
  const isServed = ends[0]![1] !== ends[1]![1];
  const others = ends.flat().map((end) => `backend ${arrived.protocol} ${end}`);
  return {
    flows, meets: isServed ? [...others, `end ${arrived.protocol} ${ends[1]![1]}`] : others,
    leaves: isServed ? [...own, backend] : own,
  };
}

async function lineOfProgram(
  state: NodeState, devices: NodeDevices, packet: Packet,
): Promise<Outcome> {
  const runner = new Runner();
  await runner.load(state, devices);
  return runner.frame([packet])[0]!;
}

async function report(
  { seed, state, devices }: Case, packet: Packet, outcome: Outcome, judged: Judgement,
): Promise<string> {
  const differs = async (next: NodeState): Promise<boolean> =>
    lineOf(await lineOfProgram(next, devices, packet)) !== said(judge(next, devices, packet));
  const head = `seed ${seed}\n  program ${lineOf(outcome)}\n  twin    ${said(judged)}`;
  if (!await differs(state)) {
    return `${head}\nonly behind other states: the engine has kept something of them`;
  }
  const small = await shrink(state, differs);
  const bytes = Buffer.from(packet.bytes).toString("hex");
  return [
    head, "shrunk:", `  program ${lineOf(await lineOfProgram(small, devices, packet))}`,
    `  twin    ${said(judge(small, devices, packet))}`,
    `  packet at ${packet.interface}: ${bytes}`, stateText(small, devices),
  ].join("\n");
}
