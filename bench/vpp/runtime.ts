// `show runtime` of VPP, read: what each node of a thread cost.
//
//   Name          State    Calls  Vectors  Suspends  Packet-Clocks  Vectors/Call
//   ip4-input     active   37283  9544448         0         2.24e1        256.00
//
// Clocks are ticks of the time-stamp counter, preemption included, printed with three digits. For a
// node without vectors they are clocks a call.

export interface NodeCost {
  name: string;
  calls: number;
  vectors: number;
  /** All the clocks that the node took. */
  clocks: number;
}

/** The nodes of the thread that took packets: the one whose nodes have the most vectors. */
export function parseRuntime(text: string): NodeCost[] {
  const threads = text.split(/^Thread \d+ .*$/m).map(parseThread);
  const vectors = (nodes: NodeCost[]) => Math.max(0, ...nodes.map((node) => node.vectors));
  return threads.reduce((best, each) => (vectors(each) > vectors(best) ? each : best));
}

function parseThread(text: string): NodeCost[] {
  const row = /^(\S+)\s+(\S.*?)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S+)\s*$/;
  return text.split("\n").flatMap((line) => {
    const match = row.exec(line);
    if (!match) return [];
    const [calls, vectors, suspends] = match.slice(3, 6).map(Number) as [number, number, number];
    const each = Number(match[6]);
    return [{ name: match[1]!, calls, vectors, clocks: each * (vectors || calls || suspends) }];
  });
}

export interface PathCost {
  packets: number;
  /** Clocks a packet of the nodes of a family, summed. */
  clocks: number;
  /** Of each node of the family that took packets. */
  nodes: Record<string, number>;
  vectorsPerCall: number;
}

const inputOf = (nodes: NodeCost[]): NodeCost | undefined =>
  nodes.find(({ name, vectors }) => vectors > 0 && /^ip[46]-input$/.test(name));

/** Packets that came to an IP input node. */
export function packetsIn(nodes: NodeCost[]): number {
  return inputOf(nodes)?.vectors ?? 0;
}

/**
 * What the nodes whose names match cost for each packet that came in. Nodes that take no packets
 * (aging) count with all their clocks.
 */
export function costOf(nodes: NodeCost[], names: RegExp): PathCost {
  const input = inputOf(nodes);
  if (!input?.vectors) throw new Error("show runtime: no packet came to ip4-input or ip6-input");
  const mine = nodes.filter((node) => names.test(node.name) && node.clocks > 0);
  const perPacket = (node: NodeCost) => node.clocks / input.vectors;
  return {
    packets: input.vectors,
    clocks: mine.reduce((sum, node) => sum + perPacket(node), 0),
    nodes: Object.fromEntries(mine.map((node) => [node.name, perPacket(node)])),
    vectorsPerCall: input.vectors / input.calls,
  };
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
