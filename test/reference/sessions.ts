// Sessions, slowly: a list, found by the text of either key. A key is what packets of a direction
// bear, and the end that they come from.
import type { Backend } from "../../host/model/program.ts";
import type { NodeState } from "../../host/model/state.ts";
import type { Headers } from "./header.ts";
import type { Node, Place } from "./node.ts";
import type { Quoted } from "./quoted.ts";
import type { Ends } from "./rewrite.ts";
import type { Question } from "./rule.ts";
import { wireOf } from "./site.ts";
import { RESTORED } from "./tcp.ts";

export interface Key {
  source: bigint;
  destination: bigint;
  /** An echo request bears its identifier as source port, a reply as port. */
  sourcePort: number;
  port: number;
  /** A workload and its birth, the host, or what is beyond. */
  end: string;
}
export interface Session {
  family: 4 | 6;
  protocol: number;
  /** The opener's, the reply's. */
  keys: [Key, Key];
  flags: number;
  seenMs: number;
  generation: number;
  backend?: Backend | undefined;
  peer: number;
}
export interface Found {
  session: Session;
  direction: 0 | 1;
}

export function turned({ source, destination, sourcePort, port }: Key): Key {
  return {
    source: destination, destination: source, sourcePort: port, port: sourcePort, end: BEYOND,
  };
}
/** Do its packets leave with other addresses or ports than they came with? */
export function isRewritten({ keys: [forward, reply], peer }: Session): boolean {
  return peer === 0 && textOf(turned(reply)) !== textOf(forward);
}
const textOf = ({ source, destination, sourcePort, port }: Key): string =>
  `${source} ${destination} ${sourcePort} ${port}`;
const BEYOND = "beyond";

/** An echo with identifier 0, whose request and reply would have one key. */
const NO_IDENTIFIER = [256, 512] as const;

/** The key that a packet bears; undefined for ICMP messages that belong to no session. */
export function keyOf(headers: Headers, q: Question, end: string): Key | undefined {
  const { source, destination } = q;
  const { sourcePort = 0, port = 0, echo } = headers;
  if (headers.icmp && !echo) return undefined;
  if (!echo) return { source, destination, sourcePort, port, end };
  return { source, destination, end, ...echoPorts(echo.identifier, echo.isRequest) };
}
export function echoPorts(
  identifier: number, isRequest: boolean,
): { sourcePort: number; port: number } {
  const [sourcePort, port] = identifier === 0 ? NO_IDENTIFIER : [identifier, 0];
  return isRequest ? { sourcePort, port } : { sourcePort: port, port: sourcePort };
}
/** The identifier that a key's ports stand for. */
export function identifierOf({ sourcePort, port }: Pick<Key, "sourcePort" | "port">): number {
  const both = [sourcePort, port].sort((a, b) => a - b);
  return both[0] === NO_IDENTIFIER[0] && both[1] === NO_IDENTIFIER[1] ? 0 : sourcePort | port;
}

export class Sessions {
  private readonly list = new Set<Session>();
  private readonly byKey = new Map<string, Found>();
  /** How often each workload has come; absent while it is not there. */
  private readonly births = new Map<string, number>();
  private readonly here = new Set<string>();
  private readonly active = new Set<string>();

  /** The workloads that are there now. One that comes back is another one. */
  come(state: NodeState): void {
    for (const id of this.here) if (!state.workloads.has(id)) this.here.delete(id);
    this.active.clear();
    for (const [id, { active }] of state.workloads) if (active) this.active.add(id);
    for (const id of state.workloads.keys()) {
      if (this.here.has(id)) continue;
      this.here.add(id);
      this.births.set(id, (this.births.get(id) ?? 0) + 1);
    }
  }
  endOf(place: Place | undefined): string {
    if (place?.kind === "host") return "host";
    if (place?.kind !== "workload") return BEYOND;
    const { id } = place.workload;
    return `${id}#${this.births.get(id)}`;
  }
  private isKnown(end: string): boolean {
    if (end === "host" || end === BEYOND) return true;
    const [id, birth] = end.split("#") as [string, string];
    return this.here.has(id) && this.births.get(id) === Number(birth);
  }
  /** An inactive workload is as good as gone, while it is. */
  isThere(end: string): boolean {
    return this.isKnown(end) && (!end.includes("#") || this.active.has(end.split("#")[0]!));
  }
  isAlive({ keys }: Session): boolean {
    return keys.every(({ end }) => this.isThere(end));
  }
  /** Where a session's opener sends from; undefined: nobody knows. */
  placeOf({ source, end }: Key, family: 4 | 6, node: Node): Place | undefined {
    if (end === "host") return { kind: "host" };
    const way = node.route(family, source);
    if (end === BEYOND) return way?.kind === "uplink" ? way : undefined;
    const workload = node.state.workloads.get(end.split("#")[0]!)!;
    return { kind: "workload", workload };
  }

  find(family: 4 | 6, protocol: number, key: Key): Found | undefined {
    return this.byKey.get(`${family} ${protocol} ${textOf(key)}`);
  }
  /** Does another session bear its reply's key? */
  isTaken({ family, protocol, keys }: Session): boolean {
    return this.find(family, protocol, keys[1]) !== undefined;
  }
  /** From an address and port to the same. */
  isOwnReply({ keys: [forward, reply] }: Session): boolean {
    return textOf(forward) === textOf(reply);
  }
  add(session: Session): void {
    this.list.add(session);
    for (const direction of [0, 1] as const) {
      const { family, protocol, keys } = session;
      this.byKey.set(`${family} ${protocol} ${textOf(keys[direction])}`, { session, direction });
    }
  }
  end(session: Session): void {
    const { family, protocol, keys } = session;
    this.list.delete(session);
    for (const key of keys) this.byKey.delete(`${family} ${protocol} ${textOf(key)}`);
  }
  /**
   * Takes another table's sessions as a checkpoint's, and what it knows of workloads. UDP to a
   * backend that no Service has is left out: nothing else would ever end it.
   */
  restore(other: Sessions, serves: (backend: Backend) => boolean): void {
    for (const [id, birth] of other.births) this.births.set(id, birth);
    for (const old of other.list) {
      const gone = old.backend !== undefined && !serves(old.backend);
      const known = old.keys.every(({ end }) => this.isKnown(end));
      if (!known || (gone && old.protocol === 17)) continue;
      const backend = gone ? undefined : old.backend;
      this.add({ ...old, backend, flags: old.flags | RESTORED, generation: 0 });
    }
  }
  all(): Session[] {
    return [...this.list];
  }
}

/** What packets bear that bear a key. */
export function endsOf(key: Key, family: 4 | 6, protocol: number): Ends {
  const ends = { source: wireOf(key.source, family), destination: wireOf(key.destination, family) };
  if ([6, 17, 132].includes(protocol)) {
    return { ...ends, sourcePort: key.sourcePort, port: key.port };
  }
  return protocol === (family === 4 ? 1 : 58) ? { ...ends, sourcePort: identifierOf(key) } : ends;
}
/** The key that a quoted packet bears. */
export function keyOfQuoted(quoted: Quoted): Key {
  const { sourcePort, port, identifier, isRequest } = quoted;
  const ports = identifier === undefined ? { sourcePort, port }
    : echoPorts(identifier, isRequest!);
  return {
    source: addressOf(quoted.source), destination: addressOf(quoted.destination), ...ports, end: "",
  };
}
const addressOf = (address: Uint8Array): bigint =>
  address.reduce((sum, byte) => (sum << 8n) | BigInt(byte), address.length === 4 ? 0xffffn : 0n);
