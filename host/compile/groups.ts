// Groups of backends by content: frontends whose backends, weights and table are equal share one,
// whatever Services they belong to. A group is kept while a frontend names it, as its own or as the
// one before.
//
//   content ─ use ─► Group, told once ─ unuse: no frontend names it ─► removed ─► its id rests
//
// A refused change is told again, whole: a group that was made in it and is no longer wanted is put
// once more and then removed, for nobody knows whether the core has it.
// Limits: the budget of groups; an id is used again the change after next.
import { GroupFlag } from "../../assembly/layout.ts";
import { compareEnds, type Backends, type PlaceInGroup } from "./backends.ts";
import { calicoName } from "./calicomaglev.ts";

/** What a group is made of; equal keys are equal contents. */
export interface Content {
  key: string;
  /** At least one, in canonical order, each address and port once. */
  places: readonly PlaceInGroup[];
  /** Of the Maglev table, 0 = by size class. */
  slots: number;
  flags: number;
}
export interface Group extends Content {
  id: number;
  /** Frontends that name it, each role counted; and those of them that do so now. */
  names: number;
  namesNow: number;
}

export class Groups {
  private readonly byKey = new Map<string, Group>();
  private readonly resting: { id: number; until: number }[] = [];
  private added = new Set<Group>();
  private removed = new Set<Group>();
  /** Those of a change that may not have come about. */
  private doubtful = new Set<Group>();
  private nextId = 1;
  private change = 0;

  constructor(private readonly idsMax: number, private readonly backends: Backends) {}

  /** Before each change; `again`: what the change before told may not have come about. */
  begin(again: boolean): void {
    if (again) {
      for (const group of [...this.added, ...this.removed]) this.doubtful.add(group);
      return;
    }
    this.change++;
    for (const { id } of this.removed) this.resting.push({ id, until: this.change });
    for (const each of [this.added, this.removed, this.doubtful]) each.clear();
  }

  /** Ids that may be given away, now or soon. */
  get spare(): number {
    return this.idsMax - this.nextId + 1 + this.resting.length + this.removed.size;
  }

  /** The group of a content, named once more; `now`: as a frontend's own. */
  use(content: Content): Group {
    let group = this.byKey.get(content.key);
    if (!group) {
      group = { ...content, id: this.freeId(), names: 0, namesNow: 0 };
      this.hold(group);
      this.byKey.set(content.key, group);
      this.added.add(group);
    }
    group.names++;
    if (group.namesNow++ > 0) return group;
    for (const { backend } of group.places) this.backends.serve(backend);
    return group;
  }
  /** All of its backends get ids, or none where there are too few: then it was never made. */
  private hold({ id, places }: Group): void {
    const held: PlaceInGroup["backend"][] = [];
    try {
      for (const { backend } of places) {
        this.backends.hold(backend);
        held.push(backend);
      }
    } catch (cause) {
      for (const backend of held) this.backends.release(backend);
      this.resting.push({ id, until: this.change });
      throw cause;
    }
  }
  /** A frontend's own group becomes the one before: its backends may be gone. */
  retire(group: Group): void {
    if (--group.namesNow > 0) return;
    for (const { backend } of group.places) this.backends.stop(backend);
  }
  /** A frontend names it no more. */
  drop(group: Group): void {
    if (--group.names > 0) return;
    this.byKey.delete(group.key);
    for (const { backend } of group.places) this.backends.release(backend);
    if (this.added.delete(group) && !this.doubtful.has(group)) {
      this.resting.push({ id: group.id, until: this.change });
    } else {
      this.removed.add(group);
    }
  }

  private freeId(): number {
    if (this.nextId <= this.idsMax) return this.nextId++;
    const [first] = this.resting; // the one that has rested longest
    if (first && first.until < this.change) return this.resting.shift()!.id;
    const { idsMax } = this;
    throw new Error(
      `more than ${idsMax} groups of backends at a time; the budget groupsMax is ${idsMax}`,
    );
  }

  /** To be put, before frontends; and to be removed behind them. */
  told(): { put: Group[]; removed: Group[] } {
    const doubted = [...this.removed].filter((group) => this.doubtful.has(group));
    return { put: [...doubted, ...this.added], removed: [...this.removed] };
  }
}

/** Content of backends that are all of one family; the key says all of it. */
export function contentOf(
  given: readonly PlaceInGroup[], slots: number, isCalico: boolean,
): Content {
  let places = given;
  if (!isSorted(given)) {
    const sorted = [...given].sort((a, b) => compareEnds(a.backend, b.backend) ||
      (a.backend.source.name < b.backend.source.name ? -1 : 1));
    // Twins, of two slices of one Service, say: one is enough.
    places = sorted.filter(({ backend }, i) =>
      i === 0 || compareEnds(sorted[i - 1]!.backend, backend) !== 0);
  }
  if (isCalico) places = byName(places);
  const flags = isCalico ? GroupFlag.Classic : 0;
  let key = `${slots} ${flags}`;
  for (const { backend, weight, peer } of places) {
    key += weight === 1 && peer === 0
      ? ` ${backend.serial}` : ` ${backend.serial}*${weight}@${peer}`;
  }
  return { key, places, slots, flags };
}

/** In canonical order, and without twins? */
function isSorted(places: readonly PlaceInGroup[]): boolean {
  for (let i = 1; i < places.length; i++) {
    if (compareEnds(places[i - 1]!.backend, places[i]!.backend) >= 0) return false;
  }
  return true;
}
/** Calico sorts texts, and knows no weights. */
function byName(places: readonly PlaceInGroup[]): PlaceInGroup[] {
  const named = places.map((place) => ({ name: calicoName(place.backend), place }));
  named.sort((a, b) => (a.name < b.name ? -1 : 1));
  return named.map(({ place }) => ({ ...place, weight: 1 }));
}
