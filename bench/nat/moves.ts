// Which flows move when a node is removed while a pod is added: see nodes.ts. Its small size is a
// test (test/maglev-nodes.test.ts), a million flows are measured by bench/nat.ts.
import { maglev, sorted } from "../../test/reference/maglev.ts";
import { ACK, place, SYN } from "./frames.ts";
import { addressOf, Cluster, DROPPED, ecmp, flowsToVip, WRONG, type Pod } from "./nodes.ts";

export interface MovesOptions {
  core: Uint8Array;
  /** Flows begun before the change; as many begin after it. */
  flows: number;
  podsPerNode: number;
  /** The node that goes. */
  removed?: string;
  /** The pod comes and the node's pods go in one push, or one after the other. */
  pushes?: 1 | 2;
}
export interface Begun {
  flows: number;
  /** Of those, flows whose pod still serves. */
  living: number;
  /** Of those, flows that came to a node that never saw them: it is not their first, nor their
   * pod's. */
  unseen: number;
  moved: number;
  /** Dropped although their pod serves. */
  dropped: number;
  /** Of all: what came from a peer was passed on once more, or changed and passed on. */
  passedOnTwice: number;
}
export interface Moves {
  before: Begun;
  after: Begun;
  /** Shares of the slots of the Maglev table: of those whose pod serves on, and of all. */
  changedSlots: { living: number; all: number };
}
const NODES = ["a", "b", "c"];

const asNumber = (address: string): number =>
  new DataView(place(address).buffer).getInt32(12);

export async function moves(options: MovesOptions): Promise<Moves> {
  const { core, flows, podsPerNode, removed = "c", pushes = 1 } = options;
  const first = NODES.flatMap((node) =>
    Array.from({ length: podsPerNode }, (_, number): Pod => ({ node, number })));
  const added: Pod = { node: NODES.find((node) => node !== removed)!, number: podsPerNode };
  const last = [...first.filter(({ node }) => node !== removed), added];
  const cluster = new Cluster(core, NODES, Math.ceil(flows * 2.2) + 4096);
  try {
    const stream = flowsToVip(flows * 2);
    await cluster.serve(first);
    const old = cluster.send(stream, 0, flows, SYN);
    if (pushes === 2) await cluster.serve([...first, added]);
    await cluster.serve(last);
    const young = cluster.send(stream, flows, flows * 2, SYN);
    const started = [...cluster.living];
    cluster.living = cluster.living.filter((node) => node !== removed);
    const living = new Set(last.map((pod) => asNumber(addressOf(NODES, pod))));
    const count = (from: number, begun: Int32Array): Begun => {
      const now = cluster.send(stream, from, from + begun.length, ACK);
      return compared(from, begun, now, living, started, cluster.living);
    };
    return {
      before: count(0, old), after: count(flows, young), changedSlots: changed(first, last),
    };
  } finally {
    cluster.close();
  }
}

function compared(
  from: number, begun: Int32Array, now: Int32Array, living: ReadonlySet<number>,
  before: string[], after: string[],
): Begun {
  const out: Begun = {
    flows: begun.length, living: 0, unseen: 0, moved: 0, dropped: 0, passedOnTwice: 0,
  };
  begun.forEach((pod, i) => {
    if (pod === DROPPED || pod === WRONG) throw new Error(`flow ${from + i}: its SYN was lost`);
    if (now[i] === WRONG) out.passedOnTwice++;
    if (!living.has(pod)) return;
    out.living++;
    const node = after[ecmpNode(from + i, after)]!;
    const own = NODES[(pod >>> 16 & 255) - 1]!;
    if (node !== before[ecmpNode(from + i, before)] && node !== own) out.unseen++;
    if (now[i] === DROPPED) out.dropped++;
    else if (now[i] !== pod) out.moved++;
  });
  return out;
}
const ecmpNode = (flow: number, nodes: readonly string[]): number => ecmp(flow, nodes.length);

/** How many slots have another pod than before. */
function changed(first: readonly Pod[], last: readonly Pod[]): { living: number; all: number } {
  const tables = [first, last].map((pods) => {
    const set = sorted(pods.map((pod) =>
      ({ address: addressOf(NODES, pod), port: 8080, weight: 1 })));
    return maglev(set, slotsOf(pods.length), SEED).map((at) => set[at]!.address);
  });
  const [old, young] = tables as [string[], string[]];
  if (old.length !== young.length) return { living: 1, all: 1 };
  const serves = new Set(last.map((pod) => addressOf(NODES, pod)));
  const alive = old.filter((address) => serves.has(address)).length;
  const other = old.map((address, i) => address !== young[i]);
  return {
    living: other.filter((moved, i) => moved && serves.has(old[i]!)).length / alive,
    all: other.filter(Boolean).length / old.length,
  };
}
/** The core's size classes, and the seed that it takes where none is given. */
const slotsOf = (pods: number): number => (pods <= 20 ? 1999 : pods <= 160 ? 16_381 : 65_537);
const SEED = 0xa4093822299f31d0n;
