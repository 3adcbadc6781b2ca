// Fragments, slowly: what became of the first, for those behind it.
// Source: RFC 791 3.2, RFC 8200 4.5; half a minute without another one ends it, as does more than
// one datagram can hold.
import type { Backend } from "../../host/model/program.ts";
import type { Headers } from "./header.ts";
import type { Ends } from "./rewrite.ts";

const IDLE_MS = 30_000;
const BYTES_MAX = 65_536;

export interface Followed {
  /** The addresses that they get; undefined: they keep theirs. */
  ends: Ends | undefined;
  direction: 0 | 1;
  backend: Backend | undefined;
  peer: number;
  /** Who they go to, as keys know it. */
  far: string;
  seenMs: number;
  bytes: number;
}
interface First {
  direction: 0 | 1;
  backend?: Backend | undefined;
  peer: number;
  bytes?: Uint8Array | undefined;
  far?: string | undefined;
}

function keyOf({ family, source, destination, protocol, identification }: Headers, end: string):
  string {
  // IPv6's later fragments name the first header behind, which need not be the transport's.
  return [source, destination, family === 4 ? protocol : "", identification, end].join(" ");
}

export class Fragments {
  private readonly firsts = new Map<string, Followed>();

  /** A first one that passes, and how it leaves. */
  note(headers: Headers, end: string, first: First, tick: number): void {
    const { direction, backend, peer, bytes, far = "beyond" } = first;
    const { family } = headers;
    const [from, to, length] = family === 4 ? [12, 16, 4] : [8, 24, 16];
    const source = bytes!.slice(from, from + length), destination = bytes!.slice(to, to + length);
    const same = `${source} ${destination}` === `${headers.source} ${headers.destination}`;
    this.firsts.set(keyOf(headers, end), {
      ends: same ? undefined : { source, destination }, direction, backend, peer, far, seenMs: tick,
      bytes: 0,
    });
  }

  follow(
    headers: Headers, end: string, tick: number, may: (first: Followed) => boolean,
  ): Followed | undefined {
    const first = this.firsts.get(keyOf(headers, end));
    if (!first || ((tick - first.seenMs) | 0) > IDLE_MS || !may(first)) return undefined;
    const bytes = Math.max(8, Math.ceil((headers.total - headers.at) / 8) * 8);
    if (first.bytes + bytes > BYTES_MAX) return undefined;
    first.bytes += bytes;
    first.seenMs = tick;
    return first;
  }
}
