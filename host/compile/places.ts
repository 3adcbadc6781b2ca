// What a node's program keeps from one state to the next: the index and the interface number of an
// endpoint, as long as it is there; units that did not change; numbers of other nodes; the API
// server's last backends.
//
//   a new endpoint takes the lowest free index, with the next incarnation: sessions of the one
//   that was there end
//
// Limits: 4,094 interfaces; 65,535 indices.
import { ENDPOINTS_MAX, INTERFACES_MAX, PEERS_MAX } from "../../assembly/layout.ts";
import type { Backend } from "../model/program.ts";
import type { Unit } from "./chain.ts";

export interface Place {
  index: number;
  incarnation: number;
}

export class NodeMemory {
  private readonly places = new Map<string, Place>();
  private readonly vacant: Place[] = [];
  private next = 0;
  private readonly numbers = new Map<string, number>();
  private readonly spareNumbers: number[] = [];
  private nextNumber = 1;
  private readonly identities = new WeakMap<object, number>();
  private lastIdentity = 0;
  private units = new Map<string, Unit>();
  private used = new Map<string, Unit>();
  private readonly lists = new Map<string, { text: string; members: string[] }>();
  private readonly peers = new Map<string, number>();
  private readonly backends = new Map<string, Backend[]>();
  /** What was wrong with the last state but did not stop it. */
  problems: string[] = [];

  /** Of endpoints that are there now: what is gone makes room. In the order given. */
  placesOf(ids: readonly string[]): Place[] {
    const now = new Set(ids);
    for (const [id, place] of this.places) {
      if (now.has(id)) continue;
      this.places.delete(id);
      this.vacant.push({ index: place.index, incarnation: (place.incarnation + 1) & 0xffff });
    }
    this.vacant.sort((a, b) => b.index - a.index);
    return ids.map((id) => {
      let place = this.places.get(id);
      if (place) return place;
      place = this.vacant.pop() ?? { index: this.next++, incarnation: 0 };
      if (place.index >= ENDPOINTS_MAX) throw new Error(`more than ${ENDPOINTS_MAX} endpoints`);
      this.places.set(id, place);
      return place;
    });
  }

  /** Numbers of interfaces, by name; likewise. */
  interfacesOf(names: readonly string[]): Map<string, number> {
    const now = new Set(names);
    for (const [name, number] of this.numbers) {
      if (now.has(name)) continue;
      this.numbers.delete(name);
      this.spareNumbers.push(number);
    }
    for (const name of names) {
      if (this.numbers.has(name)) continue;
      const number = this.spareNumbers.shift() ?? this.nextNumber++;
      // The last number is kept free, for what comes in at no interface of the program.
      const most = INTERFACES_MAX - 2;
      if (number > most) throw new Error(`more than ${most} interfaces`);
      this.numbers.set(name, number);
    }
    return this.numbers;
  }

  /** A number for an object, the same as long as it is the same object. */
  identity(object: object): number {
    let identity = this.identities.get(object);
    if (identity === undefined) this.identities.set(object, identity = ++this.lastIdentity);
    return identity;
  }

  /** A unit of before, or one made now. */
  unit(key: string, make: () => Unit): Unit {
    const unit = this.used.get(key) ?? this.units.get(key) ?? make();
    this.used.set(key, unit);
    return unit;
  }
  /** Units that were not asked for since the last call are forgotten. */
  forgetUnits(): void {
    this.units = this.used;
    this.used = new Map();
  }

  /** The same list object, of this name, while the members are the same. */
  sameList(name: string, members: string[]): string[] {
    const text = members.join(",");
    let list = this.lists.get(name);
    if (list?.text !== text) this.lists.set(name, list = { text, members });
    return list.members;
  }

  /**
   * Other nodes, in the order of their numbers: one that was numbered keeps its number, for
   * sessions bear it.
   */
  peersOf(names: readonly string[]): string[] {
    for (const name of names) {
      if (this.peers.has(name)) continue;
      if (this.peers.size >= PEERS_MAX) throw new Error(`more than ${PEERS_MAX} other nodes`);
      this.peers.set(name, this.peers.size);
    }
    return [...this.peers.keys()];
  }

  /** The backends that a frontend had last, where it has none now. */
  lastBackends(frontend: string, backends: Backend[]): Backend[] {
    if (backends.length > 0) this.backends.set(frontend, backends);
    return this.backends.get(frontend) ?? backends;
  }
}
