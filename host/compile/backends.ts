// Backends by number: an id for reports, for sessions, and for what becomes of a session whose
// backend is gone. A backend is the same where address, port and name are; it keeps its id while a
// group names it, and after that until others need the id.
//
//   of(backend) ─► End, without an id ─ hold ─► id, named by groups ─ release ─► rests ─► reused,
//   first those never used, then the one that has rested longest; come back meanwhile, it has its
//   own id again.
//
// Serving: a frontend names a group of it now, or it drains. A backend that stops is told as gone.
// Limits: the budget of ids; an id rests for a change at least.
import type { Backend } from "../model/program.ts";
import { parseMember } from "./member.ts";

/** An address and port; one word or four, high word first, as member.ts makes them. */
export interface End {
  family: 4 | 6;
  words: readonly number[];
  port: number;
}
/** A backend's place in a group. */
export interface PlaceInGroup {
  backend: KnownBackend;
  weight: number;
  /** Number of the node that it is on, 0 = here, or routed to. */
  peer: number;
}
/** Itself its place in most groups: with weight 1, on no peer. */
export interface KnownBackend extends End, PlaceInGroup {
  /** Which, for keys of groups: never used for another. */
  readonly serial: number;
  readonly source: Backend;
  /** Another one of the same address. */
  next: KnownBackend | undefined;
  /** −1 while it has none. */
  id: number;
  /** Groups that it is in, and those of them that a frontend names now. */
  groups: number;
  serving: number;
  /** The change that it has rested since, where no group names it. */
  since: number;
}

const PORT_MAX = 0xffff;
const IDS_MAX = 65_536;

export class Backends {
  /** By address, a chain each. */
  private readonly known = new Map<string, KnownBackend>();
  private readonly byId: (KnownBackend | undefined)[] = [];
  private readonly resting: { backend: KnownBackend; since: number }[] = [];
  /** Told as gone. */
  private readonly gone = new Set<number>();
  private readonly changed = new Set<number>();
  private nextId = 0;
  private nextSerial = 0;
  private change = 0;

  constructor(private readonly idsMax = IDS_MAX) {}

  /** Before each change; `again`: what the change before told may not have come about. */
  begin(again: boolean): void {
    if (again) return;
    this.change++;
    this.changed.clear();
  }

  /** Throws with what is wrong: an address, a port. */
  of(source: Backend): KnownBackend {
    const { name, address, port } = source;
    const first = this.known.get(address);
    for (let each = first; each; each = each.next) {
      if (each.port === port && each.source.name === name) return each;
    }
    const { family, length, words } = parseMember(address, "net");
    if (length !== (family === 4 ? 32 : 128)) throw new Error(`"${address}" is no address`);
    if (!Number.isInteger(port) || port < 1 || port > PORT_MAX) {
      throw new Error(`port ${port}: expected 1 to ${PORT_MAX}`);
    }
    const known = {
      serial: this.nextSerial++, source, family, words: wordsOf(family, words), port,
      weight: 1, peer: 0, id: -1, groups: 0, serving: 0, since: 0, next: first,
    } as KnownBackend;
    known.backend = known;
    this.known.set(address, known);
    return known;
  }
  /** Of one that a frontend names now. */
  idOf({ name, address, port }: Backend): number | undefined {
    for (let each = this.known.get(address); each; each = each.next) {
      if (each.port === port && each.source.name === name && each.serving) return each.id;
    }
    return undefined;
  }
  at(id: number): Backend | undefined {
    return this.byId[id]?.source;
  }

  /** A group names it. */
  hold(backend: KnownBackend): void {
    if (backend.id < 0) {
      backend.id = this.freeId();
      this.byId[backend.id] = backend;
      this.remember(backend);
      // One that drains serves already, under no id or the one that others had.
      if (backend.serving > 0 && this.gone.delete(backend.id)) this.changed.add(backend.id);
    }
    backend.groups++;
  }
  release(backend: KnownBackend): void {
    if (--backend.groups > 0) return;
    backend.since = this.change;
    this.resting.push({ backend, since: backend.since });
  }

  private freeId(): number {
    if (this.nextId < this.idsMax) return this.nextId++;
    while (this.resting.length && this.resting[0]!.since < this.change) {
      const { backend, since } = this.resting.shift()!;
      // Come back, it is in use; come back and gone again, it rests once more, further behind.
      if (backend.groups > 0 || backend.id < 0 || backend.since !== since) continue;
      const { id } = backend;
      backend.id = -1;
      this.forget(backend);
      return id;
    }
    const { idsMax } = this;
    throw new Error(`more than ${idsMax} backends at a time; the budget backendsMax is ${idsMax}`);
  }

  /** Its id may have been taken, and it forgotten, since of() gave it. */
  private remember(backend: KnownBackend): void {
    const { address } = backend.source;
    const first = this.known.get(address);
    for (let each = first; each; each = each.next) if (each === backend) return;
    backend.next = first;
    this.known.set(address, backend);
  }
  private forget(backend: KnownBackend): void {
    const { address } = backend.source;
    let first = this.known.get(address);
    if (first === backend) first = backend.next;
    for (let each = first; each; each = each.next) {
      if (each.next === backend) each.next = backend.next;
    }
    if (first) this.known.set(address, first);
    else this.known.delete(address);
  }

  /** A frontend names a group of it now, or one less does. */
  serve(backend: KnownBackend): void {
    if (backend.serving++ > 0 || !this.gone.delete(backend.id)) return;
    this.changed.add(backend.id);
  }
  stop(backend: KnownBackend): void {
    if (--backend.serving > 0 || backend.id < 0) return;
    this.gone.add(backend.id);
    this.changed.add(backend.id);
  }

  /** Ids that serve again, and that are gone, since the last change. */
  states(): { serving: number[]; gone: number[] } {
    const states = { serving: [] as number[], gone: [] as number[] };
    for (const id of this.changed) (this.gone.has(id) ? states.gone : states.serving).push(id);
    return states;
  }
}

/** A copy of what member.ts keeps as scratch; typed arrays are too heavy for so many. */
export function wordsOf(family: 4 | 6, words: Int32Array): readonly number[] {
  return family === 4 ? [words[0]!] : [words[0]!, words[1]!, words[2]!, words[3]!];
}

/** The canonical order: by address, then port. 0: twins. */
export function compareEnds(a: End, b: End): number {
  for (let i = 0; i < a.words.length; i++) {
    const difference = (a.words[i]! >>> 0) - (b.words[i]! >>> 0);
    if (difference !== 0) return difference;
  }
  return a.port - b.port;
}
