// Random packets over time: flows are opened, go on, are answered, end; errors come about them,
// fragments of them, copies at wrong interfaces, and garbage. It knows what was let through and how
// it left, so that what comes back is what its receiver would send.
import { familyOf } from "../../host/model/address.ts";
import type { Service } from "../../host/model/program.ts";
import { packet, type Spec } from "../packets.ts";
import { FAULTS } from "../policy/flow.ts";
import type { Random } from "../policy/random.ts";
import type { Arrival, Outcome } from "../reference/conntrack.ts";
import { headersOf, isFault, type Headers } from "../reference/header.ts";
import { HOST, Node } from "../reference/node.ts";
import { numberOf, type Site } from "../reference/site.ts";
import { endsOf, errorAbout, fragmentsOf } from "./pieces.ts";
import {
  anyFlow, crowdedFlow, directFlow, echoFlow, flowsAhead, placesOf, sctpFlow, unservedFlow,
  type Flow,
} from "./openers.ts";
import { WORLD } from "./site.ts";

/** A packet that was let through, and how it left. */
interface Delivered {
  flow: Flow;
  bytes: Uint8Array;
  direction: 0 | 1;
}

/** How many flows and deliveries are remembered. */
const MOST = 40;
const TCP_ON = ["A", "A", "PA", "FA", "FA", "RA", "S"];
const TCP_BACK = ["SA", "SA", "SA", "A", "PA", "FA", "RA", "S"];

const KINDS = {
  open: 16, on: 14, back: 20, error: 7.5, fragments: 6, elsewhere: 5, garbage: 18.5, midFlow: 6,
  crossed: 5, direct: 11.5, behind: 2, crowd: 6, unserved: 2.2, again: 3, echo: 2, sums: 1.2,
  ahead: 2.8,
};
/** Faults by their shares; those of one family alone are made for its packets. */
const GARBAGE: Record<string, number> = {
  ...Object.fromEntries(Object.keys(FAULTS).map((name) => [name, 1])),
  SpoofedSource: 0.3, NoSession: 0.3, LaterFragment: 0.1, NeighbourDiscovery: 1.2,
  MappedAddress: 1.2,
};
const OF_ONE_FAMILY: Record<string, 4 | 6> = {
  BadChecksum: 4, ExtensionHeader: 6, RoutingHeader: 6, HeadersTooLong: 6, MappedAddress: 6,
};

export class Traffic {
  private readonly flows: Flow[] = [];
  private delivered: Delivered[] = [];
  private waiting: Arrival[] = [];
  private last: Flow | undefined;
  private identification = 0;
  private node!: Node;
  /** Services whose backends the last change made others. */
  private changed: Service[] = [];

  constructor(private readonly random: Random, private site: Site) {
    this.change(site);
  }
  change(site: Site): void {
    const before = new Set(this.site.services.map(({ backends }) => backends));
    const changed = site.services.filter(({ backends, protocol }) =>
      protocol === 6 && backends.length > 0 && !before.has(backends));
    if (changed.length) this.changed = changed;
    this.site = site;
    this.node = new Node(site.state, site.devices);
    // What was under way when the backends changed, its session being another node's.
    for (let i = changed.length ? 50 : 0; i > 0; i--) {
      const { interface: at, spec } = this.midFlow();
      this.waiting.push({ interface: at, bytes: packet(spec) });
    }
  }

  next(): Arrival {
    const { random } = this;
    this.last = undefined;
    if (this.waiting.length && random.chance(0.7)) {
      return this.waiting.splice(random.chance(0.8) ? 0 : random.below(2), 1)[0] ?? this.next();
    }
    const kind = this.flows.length < 3 || !this.delivered.length ? "open" : random.weighted(KINDS);
    switch (kind) {
      case "open": return this.send(anyFlow(random, this.site));
      case "midFlow": return this.send(this.midFlow());
      case "on": return this.on();
      case "back": return this.back();
      case "error": return this.error();
      case "fragments": return this.fragments();
      case "elsewhere": return this.elsewhere();
      case "crossed": return this.crossed();
      case "direct": return this.send(directFlow(random, this.site) ?? this.midFlow());
      case "behind": return this.behind();
      case "crowd": return this.send(crowdedFlow(random, this.site));
      case "again": return this.again();
      case "ahead": return this.ahead();
      case "sums": return this.sums();
      case "echo": return this.echo();
      case "unserved": return this.send(unservedFlow(random, this.site));
      default: return this.garbage();
    }
  }

  /** What became of the packet before. */
  learn({ verdict, bytes, direction, peer }: Outcome): void {
    const flow = this.last;
    if (!flow || verdict !== "pass" || !bytes || peer) return;
    this.delivered.push({ flow, bytes, direction });
    if (this.delivered.length > MOST) this.delivered.splice(this.random.below(MOST), 1);
  }

  private midFlow(): Flow {
    return anyFlow(this.random, this.site, { changed: this.changed });
  }
  private send(flow: Flow): Arrival {
    this.last = flow;
    this.flows.push(flow);
    if (this.flows.length > MOST) this.flows.splice(this.random.below(MOST), 1);
    return this.dressed({ interface: flow.interface, bytes: packet(flow.spec) }, flow.spec);
  }
  /** As offloads hand packets on: the transport's checksum left to the device. */
  private dressed(arrival: Arrival, { protocol }: Spec): Arrival {
    const { random } = this;
    const bytes = arrival.bytes, at = bytes[0]! >> 4 === 4 ? 20 : 40;
    const sum = { 6: at + 16, 17: at + 6, 132: at + 8 }[Number(protocol)];
    if (sum === undefined || !random.chance(0.06)) return arrival;
    if (protocol !== 132) pseudoSumInto(bytes, at, sum, Number(protocol));
    return { ...arrival, partial: true };
  }

  // ---- Flows ------------------------------------------------------------------------------------

  /** To a Service's backends, then from the same port to it: its reply's tuple is taken. */
  private ahead(): Arrival {
    const flows = flowsAhead(this.random, this.site);
    if (flows.length === 0) return this.send(crowdedFlow(this.random, this.site));
    const arrivals = flows.map(({ interface: at, spec }): Arrival =>
      ({ interface: at, bytes: packet(spec) }));
    this.waiting.unshift(...arrivals.slice(1));
    return arrivals[0]!;
  }

  /** A TCP flow is reset, and opened once more. */
  private again(): Arrival {
    const { random } = this;
    const own = this.delivered.filter(({ flow, direction }) =>
      flow.spec.protocol === 6 && direction === 0);
    if (own.length === 0) return this.on();
    const { flow } = random.pick(own);
    const of = (flags: string): Arrival =>
      ({ interface: flow.interface, bytes: packet({ ...flow.spec, flags }) });
    this.waiting.unshift(of("S"));
    return of("RA");
  }

  /** UDP without a checksum, where it is rewritten. */
  private sums(): Arrival {
    const { random } = this;
    const own = this.delivered.filter(({ flow, direction }) => direction === 0 &&
      flow.spec.protocol === 17 && familyOf(flow.spec.from) === 4);
    if (own.length === 0) return this.on();
    const { flow } = random.pick(own);
    const spec: Spec = { ...flow.spec, payload: random.below(40), noChecksum: true };
    return { interface: flow.interface, bytes: packet(spec) };
  }

  /** A request that is masqueraded, or that its answer has to find. */
  private echo(): Arrival {
    const { random } = this;
    const echoes = this.delivered.filter(({ flow }) => flow.spec.protocol === "icmp");
    if (echoes.length && random.chance(0.5)) return this.back(random.pick(echoes));
    return this.send(echoFlow(random, this.site));
  }

  /** From a Service's client to the backend that it has: the reply's tuple is taken. */
  private behind(): Arrival {
    const { random } = this;
    const own = this.delivered.filter(({ flow: { spec }, bytes, direction }) => {
      const { from, to } = endsOf(bytes);
      return direction === 0 && spec.to !== to && spec.from === from;
    });
    if (own.length === 0) return this.on();
    const { flow, bytes } = random.pick(own);
    const headers = headersOf(bytes);
    if (isFault(headers) || headers.port === undefined) return this.on();
    const { to } = endsOf(bytes);
    return this.send({ ...flow, spec: { ...flow.spec, to, port: headers.port } });
  }

  /** The next packet of a flow's opener. */
  private on(): Arrival {
    const { random } = this;
    const flow = random.pick(this.flows);
    this.last = flow;
    const { spec } = flow;
    const flags = spec.protocol === 6 ? { flags: random.pick(TCP_ON) } : {};
    const one: Spec = { ...spec, ...flags, payload: random.below(60) };
    return this.dressed({ interface: flow.interface, bytes: packet(one) }, one);
  }

  /** What the receiver of a packet sends back. */
  private back(to = this.random.pick(this.delivered)): Arrival {
    const { random } = this;
    const { flow, bytes } = to;
    const headers = headersOf(bytes);
    if (isFault(headers) || headers.laterFragment) return this.on();
    const { from, to: by, family } = endsOf(bytes);
    const spec = answerSpec(random, headers, from, by);
    this.last = flow;
    const interfaceOf = this.interfaceOf(by, family);
    return this.dressed({ interface: interfaceOf, bytes: packet(spec) }, spec);
  }
  /** Where packets from an address come in. */
  private interfaceOf(address: string, family: 4 | 6): string {
    const place = this.node.route(family, numberOf(address));
    if (place?.kind === "workload") return place.workload.interface;
    return place?.kind === "host" ? HOST : place?.name ?? "eth0";
  }

  /** Both ends open at once: the same ports, the other way. */
  private crossed(): Arrival {
    const { random } = this;
    const { flow, bytes } = random.pick(this.delivered);
    const headers = headersOf(bytes);
    if (isFault(headers) || headers.protocol !== 6) return this.back();
    const { from, to, family } = endsOf(bytes);
    this.last = flow;
    return {
      interface: this.interfaceOf(to, family),
      bytes: packet({
        from: to, to: from, protocol: 6, flags: "S", sourcePort: headers.port!,
        port: headers.sourcePort!,
      }),
    };
  }

  private error(): Arrival {
    const { random } = this;
    const back = this.delivered.filter(({ direction }) => direction === 1);
    const { bytes } = random.pick(back.length && random.chance(0.4) ? back : this.delivered);
    const { to, family } = endsOf(bytes);
    const [kinds, quoted] = [ERRORS[family], random.pick([28, 36, 48, 68, 100, bytes.length])];
    const router = random.chance(0.3);
    const by = router ? WORLD[family][1]! : to;
    const at = router && random.chance(0.8) ? "eth0" : this.interfaceOf(by, family);
    const whole = Math.max(quoted, family === 4 ? 28 : 48);
    return { interface: at, bytes: errorAbout(bytes, by, random.pick(kinds), whole) };
  }

  private fragments(): Arrival {
    const { random } = this;
    const flow = random.chance(0.27) ? sctpFlow(random, this.site)
      : random.chance(0.5) ? random.pick(this.flows) : anyFlow(random, this.site);
    const one: Spec = {
      ...flow.spec, payload: random.between(60, 200),
      ...(flow.spec.protocol === 6 ? { flags: random.pick(["S", "A"]) } : {}),
    };
    const family = familyOf(one.from);
    const cuts = random.some([32, 48, 64, 96, 128], 1, 3);
    const id = random.chance(0.9) ? ++this.identification : 7;
    const number = family === 4 ? id & 0xffff : id;
    const parts = fragmentsOf(packet(one), cuts, number)
      .map((bytes): Arrival => ({ interface: flow.interface, bytes }));
    const [first, ...rest] = parts as [Arrival, ...Arrival[]];
    rest.sort(() => random.below(3) - 1);
    if (random.chance(0.1)) return this.wait([...rest, first]);
    if (random.chance(0.05)) return this.wait(rest.length ? rest : [first]);
    return this.wait([first, ...rest]);
  }
  private wait([first, ...rest]: Arrival[]): Arrival {
    this.waiting.push(...rest);
    return first!;
  }

  /** A flow's packet, where another sends from. */
  private elsewhere(): Arrival {
    const { random } = this;
    const { interface: at } = random.pick(placesOf(random, this.site));
    const { bytes } = random.chance(0.5) ? this.on() : this.back();
    return { interface: at, bytes };
  }

  private garbage(): Arrival {
    const { random } = this;
    const name = random.weighted(GARBAGE);
    let made = anyFlow(random, this.site);
    for (let i = 0; i < 6 && OF_ONE_FAMILY[name] === 10 - familyOf(made.spec.from); i++) {
      made = anyFlow(random, this.site);
    }
    const { interface: at, spec } = made;
    const { from, to } = spec;
    const flow = {
      interface: at, from, to, protocol: 6, sourcePort: spec.sourcePort!, port: spec.port!,
      icmp: { type: familyOf(from) === 4 ? 8 : 128, code: 0 },
    };
    const { interface: other, bytes } = FAULTS[name]!(random, flow);
    return { interface: other ?? at, bytes };
  }
}

const ERRORS: Record<4 | 6, (readonly [number, number])[]> = {
  4: [[3, 3], [3, 4], [11, 0], [12, 0], [4, 0], [5, 1]], 6: [[1, 4], [2, 0], [3, 0], [4, 1]],
};

/** The reply to a packet that its receiver has. */
function answerSpec(random: Random, headers: Headers, from: string, to: string): Spec {
  const { protocol, sourcePort = 0, port = 0, echo, family } = headers;
  const base: Spec = { from: to, to: from, protocol, payload: random.below(60) };
  if (echo) {
    const reply = family === 4 ? 0 : 129, request = family === 4 ? 8 : 128;
    return { ...base, icmpType: echo.isRequest ? reply : request, sourcePort: echo.identifier };
  }
  if (headers.icmp) return { ...base, icmpType: headers.icmp.type, icmpCode: headers.icmp.code };
  return {
    ...base, sourcePort: port, port: sourcePort,
    ...(protocol === 6 ? { flags: random.pick(TCP_BACK) } : {}),
    ...(protocol === 17 && family === 4 && random.chance(0.2) ? { noChecksum: true } : {}),
  };
}

/** Puts the pseudo-header's sum alone into a checksum field. */
function pseudoSumInto(bytes: Uint8Array, at: number, field: number, protocol: number): void {
  const four = at === 20;
  const addresses = bytes.subarray(four ? 12 : 8, at);
  let sum = protocol + bytes.length - at;
  for (let i = 0; i < addresses.length; i += 2) sum += (addresses[i]! << 8) | addresses[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  bytes[field] = sum >> 8;
  bytes[field + 1] = sum & 255;
}
