// A frontend: one address, port and protocol that leads to backends. What a program says of it, all
// checked and parsed, before anything is changed by it.
//
//   Service ─ wantedOf ─► Wanted: address, flags, contents of its groups
//
//   kind          flags                      Local where localBackends are there
//   cluster-ip    none                       clients outside get those, their source kept
//   node-port, load-balancer, external-ip: External
//   host-port     External, KeepSource
//
// Limits: port 0 with protocol 0 is all that the address serves else not: it has no backends.
import { FrontendFlag } from "../../assembly/layout.ts";
import { protocolNumber, type Backend, type Service } from "../model/program.ts";
import {
  wordsOf, type Backends, type End, type KnownBackend, type PlaceInGroup,
} from "./backends.ts";
import { CALICO_SLOTS } from "./calicomaglev.ts";
import type { SetNumber } from "./endpointrecord.ts";
import { contentOf, type Content, type Group } from "./groups.ts";
import { parseMember } from "./member.ts";

/** A Service port: what its frontends share. */
export interface ServicePort {
  name: string;
  number: number;
  frontends: Set<Frontend>;
}
/** A frontend's groups for one kind of clients: now, and before. */
export interface Role {
  now: Group | undefined;
  before: Group | undefined;
  /** When the one before was left, by the clock of Services. */
  since: number;
}
export interface Frontend extends End {
  key: string;
  protocol: number;
  source: Service;
  flags: number;
  /** Number of a set + 1. */
  ranges: number;
  affinity: number;
  service: ServicePort;
  internal: Role;
  external: Role;
  /** They serve on what they have begun. */
  draining: KnownBackend[];
  /** The pass over a program that met it last. */
  mark: number;
}

export interface Wanted extends End {
  key: string;
  protocol: number;
  source: Service;
  flags: number;
  ranges: number;
  affinity: number;
  internal: Content | undefined;
  external: Content | undefined;
  draining: KnownBackend[];
}

/** Kubernetes' own limit (sessionAffinityConfig.clientIP.timeoutSeconds): a day. */
const AFFINITY_SECONDS_MAX = 86_400;
const SLOTS_MAX = 655_373;
/** A lightest backend's turn comes once in so many rounds. */
const WEIGHT_MAX = 1000;
const FLAGS: Record<NonNullable<Service["kind"]>, number> = {
  "cluster-ip": 0, "node-port": FrontendFlag.External, "load-balancer": FrontendFlag.External,
  "external-ip": FrontendFlag.External,
  "host-port": FrontendFlag.External | FrontendFlag.KeepSource,
};

interface Made {
  family: 4 | 6;
  slots: number;
  isCalico: boolean;
  content: Content | undefined;
}

/** What is known besides a Service, and what is worked out once for lists that Services share. */
export class Reading {
  /** Of each list of backends what was made of it last. */
  private readonly contents = new Map<Backend[], Made>();
  private readonly numbers: Map<string, number>;

  /** `peers`: names of other nodes, in the order of their numbers. */
  constructor(
    private readonly backends: Backends, peers: readonly string[],
    readonly set: SetNumber, private readonly backendsMax: number,
  ) {
    this.numbers = new Map(peers.map((name, i) => [name, i + 1]));
  }

  content(list: Backend[], service: Service, family: 4 | 6): Content | undefined {
    const isCalico = service.maglev === "calico";
    const slots = service.maglevSlots ?? (isCalico ? CALICO_SLOTS : 0);
    let made = this.contents.get(list);
    if (made?.family !== family || made.slots !== slots || made.isCalico !== isCalico) {
      made = { family, slots, isCalico, content: this.contentOf(list, slots, isCalico, family) };
      this.contents.set(list, made);
    }
    return made.content;
  }

  private contentOf(
    list: Backend[], slots: number, isCalico: boolean, family: 4 | 6,
  ): Content | undefined {
    if (list.length === 0) return undefined;
    const least = isCalico ? 2 : list.length; // some of Calico's may have no slot
    if (slots && !(isPrime(slots) && isBetween(slots, least, SLOTS_MAX))) {
      throw new Error(`maglevSlots ${slots}: expected a prime of ${least} to ${SLOTS_MAX}`);
    }
    const most = this.backendsMax;
    if (list.length > most) throw new Error(`${list.length} backends: at most ${most}`);
    return contentOf(list.map((each) => this.place(each, family)), slots, isCalico);
  }

  place(source: Backend, family: 4 | 6): PlaceInGroup {
    const { name, weight = 1, node } = source;
    try {
      const backend = this.backends.of(source);
      if (backend.family !== family) throw new Error(`${source.address} is not IPv${family}`);
      if (!isBetween(weight, 1, WEIGHT_MAX)) {
        throw new Error(`weight ${weight}: expected 1 to ${WEIGHT_MAX}`);
      }
      const peer = node === undefined ? 0 : this.numbers.get(node) ?? 0;
      return weight === 1 && peer === 0 ? backend : { backend, weight, peer };
    } catch (cause) {
      throw new Error(`backend ${name}: ${(cause as Error).message}`);
    }
  }
}

/** Which frontend a Service is: addresses as texts may differ and be one. */
function keyOf(words: readonly number[], port: number, protocol: number): string {
  return words.length === 1
    ? `${protocol} ${port} ${words[0]!}`
    : `${protocol} ${port} ${words.join(" ")}`;
}

/** Throws with the Service's name and what is wrong. */
export function wantedOf(service: Service, reading: Reading): Wanted {
  try {
    return read(service, reading);
  } catch (cause) {
    throw new Error(`service ${service.name}: ${(cause as Error).message}`);
  }
}

function read(source: Service, reading: Reading): Wanted {
  const { address, port, kind = "cluster-ip", backends, localBackends } = source;
  const parsed = parseMember(address, "net");
  const { family } = parsed;
  if (parsed.length !== (family === 4 ? 32 : 128)) throw new Error(`"${address}" is no address`);
  const words = wordsOf(family, parsed.words);
  const protocol = protocolNumber(source.protocol);
  if (!isBetween(protocol, 0, 255)) throw new Error(`protocol ${source.protocol}: there is none`);
  if (!isBetween(port, protocol ? 1 : 0, protocol ? 0xffff : 0)) {
    throw new Error(`port ${port}, protocol ${source.protocol}: expected 1 to 65535, or 0 and 0`);
  }
  if (protocol === 0 && (backends.length || localBackends?.length)) {
    throw new Error("port 0, protocol 0: what nothing serves has no backends");
  }
  const affinity = source.affinitySeconds ?? 0;
  if (!isBetween(affinity, 0, AFFINITY_SECONDS_MAX)) {
    throw new Error(`affinitySeconds ${affinity}: expected 0 to ${AFFINITY_SECONDS_MAX}`);
  }
  return {
    family, words, port, key: keyOf(words, port, protocol), protocol, source, affinity,
    flags: FLAGS[kind] | flagsOf(source),
    ranges: source.sourceRanges === undefined ? 0 : reading.set(source.sourceRanges) + 1,
    internal: reading.content(backends, source, family),
    external: localBackends && reading.content(localBackends, source, family),
    draining: (source.draining ?? []).map((each) => reading.place(each, family).backend),
  };
}

function flagsOf(service: Service): number {
  const { localBackends, whenEmpty = "drop", whenLocalEmpty = "drop" } = service;
  const outside = localBackends ? whenLocalEmpty : whenEmpty;
  return (localBackends ? FrontendFlag.Local : 0) |
    (whenEmpty === "reject" ? FrontendFlag.RejectInternal : 0) |
    (outside === "reject" ? FrontendFlag.RejectExternal : 0) |
    (service.dsr ? FrontendFlag.Dsr : 0) |
    (service.maglev === "calico" ? FrontendFlag.Hashword : 0) |
    (service.addressAsSource ? FrontendFlag.AddressAsSource : 0);
}

function isPrime(number: number): boolean {
  for (let d = 2; d * d <= number; d++) if (number % d === 0) return false;
  return Number.isInteger(number) && number > 2;
}
function isBetween(number: number, least: number, most: number): boolean {
  return Number.isInteger(number) && number >= least && number <= most;
}
