// Services and source NAT, slowly: which backend a packet that opens a flow gets, whether its
// client is inside, whether its source is masqueraded and by what. Frontends are a list that is
// walked; Maglev tables are maglev.ts'.
//
//   client \ frontend   ClusterIP      external, Cluster       external, Local
//   pod                 inside         inside, masqueraded     inside
//   this node           inside, masq.  inside, masqueraded     inside, masqueraded
//   beyond              inside, masq.  inside, masqueraded     the local ones, source kept
//
// Source: kube-proxy pkg/proxy (iptables, nftables), calico.md section 4; host/model/program.ts.
import type { Backend, Service } from "../../host/model/program.ts";
import {
  classicOrder, classicSlot, classicTable, maglev, slotOfClient, slotOfFlow, slotsFor, sorted,
  type Tuple,
} from "./maglev.ts";
import type { Place } from "./node.ts";
import type { Question } from "./rule.ts";
import {
  isIn, isOfFamily, keyOfService, numberOf, serviceAt, wildcardAt, wireOf, type Site,
} from "./site.ts";

/** What Services make of a packet. */
export interface Served {
  service?: Service;
  backend?: Backend;
  /** Number of the node that it goes on to as it is, 0 = none. */
  peer: number;
  masquerade: boolean;
  /** What led to the backend, for reports of tests. */
  by?: "table" | "kept" | "previous" | "local-slot";
}
export interface Refused {
  drop: string;
  /** It is answered. */
  reject: boolean;
}
export const isRefused = (each: Served | Refused): each is Refused => "drop" in each;

/** A flow's first packet, for the choice of a backend. */
export interface Opening {
  tuple: Tuple;
  /** A TCP segment that opens nothing, of a connection that began elsewhere. */
  midFlow: boolean;
}

/** Backends and the kind and size of their table: what a frontend leads to. */
interface Group {
  backends: Backend[];
  classic: boolean;
  slots: number;
}
interface Groups {
  internal: Group | undefined;
  external: Group | undefined;
}
function groupOf(service: Service, backends: Backend[]): Group {
  const classic = service.maglev === "calico";
  const slots = service.maglevSlots ?? (classic ? 503 : slotsFor(backends.length));
  return { backends, classic, slots };
}
const NOBODY: Served = { peer: 0, masquerade: false };
const textOf = ({ address, port, name }: Backend): string =>
  `${numberOf(address)} ${port} ${name}`;

/** Equal for groups that are one. */
function textOfGroup({ backends, classic, slots }: Group): string {
  const each = backends.map((one) =>
    `${textOf(one)} ${classic ? 1 : one.weight ?? 1} ${one.node ?? ""}`);
  return [classic, slots, ...each.sort()].join("|");
}

interface Table {
  order: Backend[];
  table: number[];
}
const tables = new WeakMap<Backend[], Map<string, Table>>();

export class Nat {
  /** Backends that clients keep, by Service port and client. */
  private readonly kept = new Map<string, { backend: string; seenMs: number }>();
  /** The groups before the last change, by frontend. */
  private previous = new Map<string, Groups>();

  constructor(private site: Site, private readonly seed: bigint) {}

  /** Another state of the node: groups that changed become the ones before. */
  change(site: Site): void {
    const previous = new Map<string, Groups>();
    for (const service of site.services) {
      const key = keyOfService(service);
      const old = this.site.services.find((each) => keyOfService(each) === key);
      if (!old || old.name !== service.name) continue;
      const before = this.previous.get(key);
      // Nobody was sent to a group without backends.
      type List = Backend[] | undefined;
      const of = (now: List, then: List, earlier: Group | undefined): Group | undefined => {
        if (!then?.length) return earlier;
        const was = groupOf(old, then);
        const same = now && textOfGroup(groupOf(service, now)) === textOfGroup(was);
        return same ? earlier : was;
      };
      previous.set(key, {
        internal: of(service.backends, old.backends, before?.internal),
        external: of(service.localBackends, old.localBackends, before?.external),
      });
    }
    this.previous = previous;
    this.site = site;
    for (const key of this.kept.keys()) {
      if (!site.services.some(({ name }) => key.startsWith(`${name} `))) this.kept.delete(key);
    }
  }

  // ---- Services ---------------------------------------------------------------------------------

  serve(q: Question, from: Place, { tuple, midFlow }: Opening, nowMs: number): Served | Refused {
    const { site } = this;
    const service = serviceAt(site, q);
    if (!service) return this.unserved(q);
    const external = (service.kind ?? "cluster-ip") !== "cluster-ip";
    if (service.sourceRanges !== undefined) {
      const inside = isIn(site.ranges.get(service.sourceRanges), q.family, q.source);
      const itself = service.addressAsSource === true && q.source === q.destination;
      if (!inside && !itself) return { drop: "SourceRange", reject: false };
    }
    const pod = this.isPod(q, from), host = from.kind === "host";
    const outside = external && !pod && !host;
    const local = external && service.localBackends !== undefined;
    const localOnly = outside && local;
    const group = groupOf(service, localOnly ? service.localBackends! : service.backends);
    if (group.backends.length === 0) {
      const when = localOnly ? service.whenLocalEmpty : service.whenEmpty;
      return { drop: "NoBackend", reject: when === "reject" };
    }
    const dsr = outside && service.dsr === true;
    // What another node has passed on goes no further.
    const here = dsr && from.kind === "uplink" && site.uplinks.get(from.name)?.peer === true;
    const before = this.previous.get(keyOfService(service))?.[localOnly ? "external" : "internal"];
    const opening = { tuple, midFlow };
    const choice = this.choose(service, group, before, opening, here, nowMs);
    if (!choice) return { drop: "NoBackend", reject: false };
    const { backend, by } = choice;
    const peer = dsr && backend.node !== undefined ? site.peers.indexOf(backend.node) + 1 : 0;
    const itself = numberOf(backend.address) === q.source;
    const masquerade = !dsr && (itself || this.masquerades(service, external, local, pod, host));
    return { service, backend, peer, masquerade, by };
  }

  private isPod({ family, source }: Question, from: Place): boolean {
    if (!this.site.pods) return false;
    return from.kind === "workload" || isIn(this.site.pods, family, source);
  }
  private masquerades(
    { kind }: Service, external: boolean, local: boolean, pod: boolean, host: boolean,
  ): boolean {
    if (kind === "host-port") return false;
    if (external) return !local || host;
    return this.site.masqueradeAll || (this.site.pods !== undefined && !pod);
  }
  private unserved(q: Question): Served | Refused {
    if (wildcardAt(this.site, q)) return { drop: "UnknownServicePort", reject: true };
    return isIn(this.site.serviceNetworks, q.family, q.destination)
      ? { drop: "UnknownServiceAddress", reject: false } : NOBODY;
  }

  private choose(
    service: Service, group: Group, before: Group | undefined, { tuple, midFlow }: Opening,
    here: boolean, nowMs: number,
  ): { backend: Backend; by: NonNullable<Served["by"]> } | undefined {
    const may = (one: Backend | undefined): one is Backend =>
      one !== undefined && !(here && one.node !== undefined);
    const find = (text: string): Backend | undefined =>
      group.backends.find((each) => textOf(each) === text);
    // What is under way has its backend already: only flows that open are kept together.
    if (service.affinitySeconds && !midFlow) {
      const kept = this.kept.get(clientOf(service, tuple));
      const fresh = kept && (nowMs - kept.seenMs | 0) <= service.affinitySeconds * 1000;
      const backend = fresh ? find(kept.backend) : undefined;
      if (may(backend)) return { backend, by: "kept" };
    }
    if (before && midFlow) {
      const was = this.bySlot(service, before, tuple, here);
      const backend = was && find(textOf(was));
      if (may(backend)) return { backend, by: "previous" };
    }
    const backend = this.bySlot(service, group, tuple, here);
    const first = here ? this.bySlot(service, group, tuple, false) : backend;
    return backend && { backend, by: backend === first ? "table" : "local-slot" };
  }

  /** The backend of a flow's slot; `here`: of the first slot from there whose backend is local. */
  private bySlot(
    service: Service, group: Group, tuple: Tuple, here: boolean,
  ): Backend | undefined {
    const { slots } = group;
    const { order, table } = tableOf(group, this.seed);
    const slot = service.affinitySeconds ? slotOfClient(tuple.source, slots, this.seed)
      : service.maglev === "calico" ? classicSlot(tuple, slots)
        : slotOfFlow(tuple, slots, this.seed);
    for (let i = 0; i < slots; i++) {
      const backend = order[table[(slot + i) % slots]!]!;
      if (!here || backend.node === undefined) return backend;
    }
    return undefined;
  }

  /** A flow was opened: its client keeps the backend. */
  opened({ service, backend }: Served, tuple: Tuple, nowMs: number): void {
    if (!service?.affinitySeconds || !backend) return;
    this.kept.set(clientOf(service, tuple), { backend: textOf(backend), seenMs: nowMs });
  }

  /** Does the frontend that a packet came to still have this backend, on that node? */
  leadsTo(q: Question, backend: Backend | undefined, peer: number): boolean {
    const { backends = [], localBackends = [] } = serviceAt(this.site, q) ?? {};
    return backend !== undefined && [...backends, ...localBackends].some((each) =>
      textOf(each) === textOf(backend) && this.site.peers.indexOf(each.node ?? "") + 1 === peer);
  }
  /** Does any frontend still have this backend? */
  serves(backend: Backend): boolean {
    return this.site.services.some(({ backends, localBackends = [] }) =>
      [...backends, ...localBackends].some((each) => textOf(each) === textOf(backend)));
  }

  // ---- Source NAT -------------------------------------------------------------------------------

  /**
   * The source that a packet gets, by where it goes behind DNAT; undefined: its own.
   */
  sourceFor(
    q: Question, to: Place | undefined, served: Served,
  ): bigint | { drop: string } | undefined {
    const { site } = this;
    if (served.peer > 0) return undefined;
    const leaves = (!to || to.kind === "uplink") && isIn(site.natSources, q.family, q.source) &&
      !isIn(site.natExcluded, q.family, q.destination);
    if (!served.masquerade && !leaves) return undefined;
    if (!served.masquerade && !to) return { drop: "NoNatAddress" }; // nobody knows where it leaves
    const own = to?.kind === "uplink" ? site.uplinks.get(to.name)?.snatAddresses ?? [] : [];
    const address = [...own, ...site.snatAddresses].find((each) => isOfFamily(each, q.family));
    if (address === undefined) return { drop: "NoNatAddress" };
    return numberOf(address) === q.source ? undefined : numberOf(address);
  }
}

const clientOf = ({ name }: Service, { source }: Tuple): string => `${name} ${source.join(".")}`;

/** A table is a function of the list, which never changes. */
function tableOf({ backends, slots, classic }: Group, seed: bigint): Table {
  let own = tables.get(backends);
  if (!own) tables.set(backends, own = new Map());
  const key = `${classic} ${slots} ${seed}`;
  let known = own.get(key);
  if (!known) {
    const weighted = backends.map((each) => ({ ...each, weight: each.weight ?? 1 }));
    const order = classic ? classicOrder(backends) : sorted(weighted) as Backend[];
    const table = classic ? classicTable(backends, slots) : maglev(weighted, slots, seed);
    own.set(key, known = { order, table });
  }
  return known;
}

/** The two ports of a key as 4 bytes of a packet. */
export function portsOf(sourcePort: number, port: number): Uint8Array {
  return Uint8Array.of(sourcePort >> 8, sourcePort & 0xff, port >> 8, port & 0xff);
}
export function tupleOf(
  q: Question, { sourcePort, port }: { sourcePort: number; port: number },
): Tuple {
  return {
    source: wireOf(q.source, q.family), destination: wireOf(q.destination, q.family),
    ports: portsOf(sourcePort, port), protocol: q.protocol,
  };
}
