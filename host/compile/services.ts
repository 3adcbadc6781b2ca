// Services to records: what changed since the change before, and nothing else. They act at once, in
// place, not by generation.
//
//   a program's Services ─ update ─┐                      ┌► backends that serve again
//   some Services by name ─ alter ─┴► frontends, groups ──┼► groups ─► frontends ─► those removed
//                                                         └► groups removed ─► backends gone
//
// A Service object is taken as it stands when it is first seen: a changed one is another object. A
// frontend whose group changes keeps the one before as well, so that TCP that is under way finds
// its backend: until it changes again, a minute later or more; changes within a minute count as
// one. Where groups run short, the oldest of those before go first.
//
// Refused records, or a change that threw half-way, are told again with the next change (`again`),
// from the state that is wanted by then. Limits: the budgets of frontends, groups and backends.
import { BackendState } from "../../assembly/layout.ts";
import { RecordWriter } from "../dataplane/record.ts";
import type { Backend, Budgets, Service } from "../model/program.ts";
import { Backends } from "./backends.ts";
import { groupsMaxOf } from "./budgets.ts";
import type { SetNumber } from "./endpointrecord.ts";
import {
  Reading, wantedOf, type Frontend, type Role, type ServicePort, type Wanted,
} from "./frontend.ts";
import { Groups, type Content } from "./groups.ts";
import {
  GROUP_BACKENDS_MAX, putFrontend, putFrontendRemoval, putGroup, putGroupRemoval, putStates,
} from "./servicerecord.ts";

/** From this share of all groups that is spare on, groups of before are given up. */
const SPARE_SHARE = 8;

/** Changes closer together than this are one to flows in the middle of their lives. */
const SETTLED_MS = 60_000;

export class Services {
  private readonly backends: Backends;
  private readonly groups: Groups;
  private readonly frontends = new Map<string, Frontend>();
  private readonly bySource = new Map<Service, Frontend>();
  private readonly ports = new Map<string, ServicePort>();
  /** Those with a group of before, the oldest first. */
  private readonly holders = new Set<Frontend>();
  private readonly put = new Set<Frontend>();
  private readonly removed = new Map<string, Frontend>();
  private peers: readonly string[] = [];
  private nextPort = 1;
  private mark = 0;
  private isOpen = false;
  private readonly groupsMax: number;

  /** `clock`: milliseconds; only its differences are asked for. */
  constructor(
    private readonly budgets: Partial<Budgets> = {},
    private readonly clock: () => number = Date.now,
  ) {
    this.groupsMax = groupsMaxOf(budgets);
    this.backends = new Backends(budgets.backendsMax || undefined);
    this.groups = new Groups(this.groupsMax, this.backends);
  }

  /** A backend by its id, as results bear it. */
  backendAt(id: number): Backend | undefined {
    return this.backends.at(id);
  }

  backendId(backend: Backend): number | undefined {
    return this.backends.idOf(backend);
  }

  /** Before each change; `again`: what was told last may not have come about. */
  begin(again: boolean): void {
    const still = again || this.isOpen;
    this.isOpen = true;
    this.backends.begin(still);
    this.groups.begin(still);
    if (still) return;
    this.put.clear();
    this.removed.clear();
  }

  /** All Services of a program. Throws with what is wrong, before anything has changed. */
  update(services: readonly Service[], peers: readonly string[], set: SetNumber): void {
    const isSame = samePeers(peers, this.peers);
    const mark = ++this.mark;
    const reading = new Reading(this.backends, peers, set, GROUP_BACKENDS_MAX);
    const wanted: Wanted[] = [];
    for (const service of services) {
      const known = isSame ? this.bySource.get(service) : undefined;
      if (!known || known.mark === mark) wanted.push(wantedOf(service, reading));
      else this.keep(known, mark, set);
    }
    this.checkTwice(wanted, mark);
    for (const each of wanted) this.take(each, mark);
    this.peers = [...peers]; // at last: a change that throws half-way is to look at all again
    for (const frontend of [...this.frontends.values()]) {
      if (frontend.mark !== mark) this.remove(frontend);
    }
  }

  /** Frontends of some Services as they now are, by name; none: the Service is gone. */
  alter(changed: ReadonlyMap<string, readonly Service[]>, set: SetNumber): void {
    const reading = new Reading(this.backends, this.peers, set, GROUP_BACKENDS_MAX);
    const wanted: Wanted[] = [];
    for (const [name, services] of changed) {
      for (const service of services) {
        const own = service.name;
        if (own !== name) throw new Error(`service ${own}: it is told of as "${name}"`);
        wanted.push(wantedOf(service, reading));
      }
    }
    const mark = ++this.mark;
    const kept = this.checkTwice(wanted, mark);
    for (const { key, source } of wanted) {
      const other = this.frontends.get(key);
      if (other && !changed.has(other.service.name)) throw twice(source, other.source);
    }
    for (const name of changed.keys()) {
      for (const frontend of [...this.ports.get(name)?.frontends ?? []]) {
        if (!kept.has(frontend.key)) this.remove(frontend);
      }
    }
    for (const each of wanted) this.take(each, mark);
  }

  /** Is any frontend at two of them, or at one and one that is kept as it is? */
  private checkTwice(wanted: readonly Wanted[], mark: number): Map<string, Wanted> {
    const byKey = new Map<string, Wanted>();
    for (const each of wanted) {
      const known = this.frontends.get(each.key);
      const other = byKey.get(each.key) ?? (known?.mark === mark ? known : undefined);
      if (other) throw twice(each.source, other.source);
      byKey.set(each.key, each);
    }
    return byKey;
  }

  /** The same object as before; the number of its set may be another. */
  private keep(frontend: Frontend, mark: number, set: SetNumber): void {
    frontend.mark = mark;
    const { sourceRanges } = frontend.source;
    if (sourceRanges === undefined) return;
    const ranges = set(sourceRanges) + 1;
    if (ranges === frontend.ranges) return;
    frontend.ranges = ranges;
    this.put.add(frontend);
  }

  // ---- Frontends --------------------------------------------------------------------------------

  private take(wanted: Wanted, mark: number): void {
    const { key, source, flags, ranges, affinity } = wanted;
    let frontend = this.frontends.get(key);
    if (frontend && frontend.service.name !== source.name) {
      this.remove(frontend); // another Service's from now on: nothing of before is its own
      frontend = undefined;
    }
    frontend ??= this.make(wanted);
    frontend.mark = mark;
    // Those that drain serve before their group stops.
    const { draining } = frontend;
    frontend.draining = wanted.draining;
    for (const backend of frontend.draining) this.backends.serve(backend);
    this.lead(frontend, frontend.internal, wanted.internal);
    this.lead(frontend, frontend.external, wanted.external);
    for (const backend of draining) this.backends.stop(backend);
    const isOther = frontend.flags !== flags || frontend.ranges !== ranges ||
      frontend.affinity !== affinity;
    if (isOther) this.put.add(frontend);
    this.bySource.delete(frontend.source);
    this.bySource.set(source, frontend);
    frontend.source = source;
    frontend.flags = flags;
    frontend.ranges = ranges;
    frontend.affinity = affinity;
  }

  private make(wanted: Wanted): Frontend {
    const { family, words, port, key, protocol, source, flags, ranges, affinity } = wanted;
    const frontend: Frontend = {
      family, words, port, key, protocol, source, flags, ranges, affinity,
      service: this.port(source.name), mark: 0,
      internal: { now: undefined, before: undefined, since: 0 },
      external: { now: undefined, before: undefined, since: 0 },
      draining: [],
    };
    frontend.service.frontends.add(frontend);
    this.frontends.set(key, frontend);
    this.put.add(frontend);
    this.removed.delete(key);
    return frontend;
  }

  private port(name: string): ServicePort {
    let port = this.ports.get(name);
    if (!port) {
      port = { name, number: this.nextPort++, frontends: new Set() };
      this.ports.set(name, port);
    }
    return port;
  }

  private remove(frontend: Frontend): void {
    for (const role of [frontend.internal, frontend.external]) {
      this.forget(frontend, role);
      if (!role.now) continue;
      this.groups.retire(role.now);
      this.groups.drop(role.now);
      role.now = undefined;
    }
    for (const backend of frontend.draining) this.backends.stop(backend);
    const { service } = frontend;
    service.frontends.delete(frontend);
    if (service.frontends.size === 0) this.ports.delete(service.name);
    this.frontends.delete(frontend.key);
    this.bySource.delete(frontend.source);
    this.put.delete(frontend);
    this.removed.set(frontend.key, frontend);
  }

  /**
   * Leads a role to the group of a content; the one it had is the one before from now on. Where
   * changes follow each other closely (a backend comes, then a node's go), the one before the first
   * of them stays, and those between are forgotten: most flows began under it.
   */
  private lead(frontend: Frontend, role: Role, content: Content | undefined): void {
    const { now, before } = role;
    if (now?.key === content?.key) return;
    this.put.add(frontend);
    const next = content && this.groups.use(content);
    const time = this.clock();
    if (now && before && before.key !== content?.key && time - role.since < SETTLED_MS) {
      this.groups.retire(now);
      this.groups.drop(now);
    } else if (now) {
      this.forget(frontend, role);
      this.groups.retire(now);
      role.before = now;
      role.since = time;
      this.holders.delete(frontend);
      this.holders.add(frontend);
    }
    role.now = next;
  }

  private forget(frontend: Frontend, role: Role): void {
    const { before } = role;
    if (!before) return;
    role.before = undefined;
    this.groups.drop(before);
    if (!frontend.internal.before && !frontend.external.before) this.holders.delete(frontend);
  }

  // ---- Records ----------------------------------------------------------------------------------

  /** What to stage at once. */
  records(): Uint8Array {
    const { servicesMax = Infinity } = this.budgets;
    const { put, removed, frontends } = this;
    if (frontends.size > servicesMax) {
      const most = `the budget servicesMax is ${servicesMax}`;
      throw new Error(`${frontends.size} addresses and ports of services; ${most}`);
    }
    for (const holder of this.holders) {
      if (this.groups.spare >= this.groupsMax / SPARE_SHARE) break;
      for (const role of [holder.internal, holder.external]) this.forget(holder, role);
      put.add(holder);
    }
    const out = new RecordWriter(1 << 16);
    const groups = this.groups.told();
    const states = this.backends.states();
    // Frontends that go make room where the new ones would not fit beside them.
    const isTight = frontends.size + removed.size > servicesMax;
    const takeAway = (): void => {
      for (const frontend of removed.values()) putFrontendRemoval(out, frontend);
    };
    putStates(out, states.serving, BackendState.Serving);
    for (const group of groups.put) putGroup(out, group);
    if (isTight) takeAway();
    for (const frontend of put) putFrontend(out, frontend);
    if (!isTight) takeAway();
    for (const group of groups.removed) putGroupRemoval(out, group);
    putStates(out, states.gone, BackendState.Gone);
    this.isOpen = false;
    return out.written;
  }
}

function samePeers(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i]);
}

function twice(one: Service, other: Service): Error {
  const at = `${one.protocol} ${one.address} port ${one.port}`;
  return new Error(`service ${one.name}: ${at} is also service ${other.name}'s`);
}

/** Some Services for a core that has none. Ids of backends count up, by address in each Service. */
export function serviceRecords(services: readonly Service[]): Uint8Array[] {
  const all = new Services({ groupsMax: 2 * services.length + 1 });
  all.begin(false);
  all.update(services, [], (id) => {
    throw new Error(`no set has the id "${id}"`);
  });
  return [all.records()];
}
