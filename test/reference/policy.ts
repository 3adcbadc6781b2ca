// What policies must make of one packet: the slow twin of the whole judging part. Nothing is
// compiled, indexed or remembered: lists are walked, prefixes are compared, each question is asked
// where calico.md's table asks it. It shares no code with the program or its compilers.
//
//   arrive()     parse ─ ND and MLD ─ source
//   untracked()  doNotTrack
//   open()       opens a session? ─ tunnels ─ preDNAT ─ Service ─ route ─ egress ─ forward in, out
//                  ─ to the host: tunnels, endpoint to host ─ ingress
//
// judge() is all three, for a packet that meets no session; conntrack.ts stands between them where
// there are sessions, and hands in what Services do.
//
// Source: projectcalico felix/rules/{static,endpoints,policy}.go, felix/bpf/polprog.
import { addressBytes, addressNumber } from "../../host/model/address.ts";
import type { Backend, Service } from "../../host/model/program.ts";
import { protocolNumber } from "../../host/model/rule.ts";
import type {
  HostEndpointState, NodeDevices, NodeState, WorkloadState,
} from "../../host/model/state.ts";
import { headersOf, isFault, type Headers } from "./header.ts";
import { Node, type Failsafe, type Place } from "./node.ts";
import { inPrefix, type Question } from "./rule.ts";
import { askTiers, hasPolicies, type Answer, type Direction, type Watch } from "./tiers.ts";

export { HOST } from "./node.ts";

/** The names of layout.ts' enum Stage. */
export type StageName =
  | "Untracked" | "PreDnat" | "UntrackedOut" | "Egress" | "ForwardIn" | "ForwardOut" | "Ingress"
  | "StagedEgress" | "StagedIngress";

export interface Asked extends Answer {
  stage: StageName;
}
export interface Judgement {
  verdict: "pass" | "drop";
  /** A name of layout.ts' enum Reason. */
  reason: string;
  /** Stage, policy and rule index that decided last; absent where none was asked. */
  stage?: StageName;
  policy?: string;
  rule?: number;
  /** Every policy hook that was asked, in order. */
  asked: Asked[];
  /** What the packet is, where it could be read: as it came, and after DNAT. */
  arrived?: Question;
  question?: Question;
  /** Where it goes after DNAT, of what was judged to the end; absent: nowhere. */
  to?: Place;
}
export interface Ask {
  /** Name of the interface that the packet comes in at; HOST for the node's own. */
  interface: string;
  /** From the L3 header on. */
  bytes: Uint8Array;
  /** The adapter has checked TTL and IPv4 checksum. */
  checked?: boolean;
}
/** Picks a Service's backend; without it a Service may have one at most. */
export type Choose = (service: Service) => Backend | undefined;

/** What Services make of a packet: where it goes then, or the reason of its drop. */
export type Translate = (arrived: Question, from: Place) => Question | { drop: string };

export interface Hooks {
  choose?: Choose;
  translate?: Translate;
  watch?: Watch;
}

export function judge(
  state: NodeState, devices: NodeDevices, packet: Ask, hooks: Hooks = {},
): Judgement {
  const one = new Judge(new Node(state, devices), hooks);
  const early = one.arrive(packet);
  if (early) return early;
  if (one.headers.laterFragment) return one.drop("LaterFragment"); // its first is not known
  return one.untracked() ?? one.open(one.from);
}

function onlyOne(service: Service): Backend | undefined {
  if (service.backends.length > 1) throw new Error(`service ${service.name}: which backend?`);
  return service.backends[0];
}

export class Judge {
  private asked: Asked[] = [];
  private q!: Question;
  private arrived!: Question;
  private to: Place | undefined;
  from!: Place;
  headers!: Headers;

  constructor(readonly node: Node, private readonly hooks: Hooks = {}) {}

  /** What stands in front of all policy; a judgement where it ends there. */
  arrive(packet: Ask): Judgement | undefined {
    const from = this.node.at(packet.interface);
    if (!from) return this.drop("UnknownEndpoint");
    const headers = headersOf(packet.bytes, packet.checked);
    if (isFault(headers)) return this.drop(headers.fault);
    if (from.kind === "workload" && !from.workload.active) return this.drop("EndpointInactive");
    this.q = this.arrived = questionOf(headers);
    this.from = from;
    this.headers = headers;
    const stays = isLinkScope(headers.destination) || this.node.isHost(this.q.destination);
    if (isNeighbourDiscovery(headers) && stays) return this.pass("NeighbourDiscovery");
    if (from.kind === "workload" && !this.maySend(from.workload)) return this.drop("SpoofedSource");
    return undefined;
  }
  get question(): Question {
    return this.arrived;
  }

  /** A workload's source is its own, or a prefix that it may spoof where the node lets it. */
  private maySend(workload: WorkloadState): boolean {
    const { family, source } = this.q;
    const own = workload.addresses.some((text) => inPrefix(text, family, source));
    return own || (this.node.anySource &&
      workload.allowedSources.some((text) => inPrefix(text, family, source)));
  }

  private get isVxlan(): boolean {
    return this.q.protocol === 17 && this.q.port === this.node.vxlanPort;
  }
  private get isIpip(): boolean {
    return this.q.protocol === 4;
  }
  /** VXLAN and IPIP do not come from workloads unless the node lets them. */
  private isStoppedTunnel(): boolean {
    return (this.isVxlan && !this.node.workloadsMayVxlan) ||
      (this.isIpip && !this.node.workloadsMayIpip);
  }
  /** Does it come to the node through a tunnel that is in use there? */
  private isTunnel(): boolean {
    return (this.isVxlan && this.node.vxlanInUse) || (this.isIpip && this.node.ipipInUse);
  }

  /** doNotTrack, asked of every packet; undefined: it goes on to its session. */
  untracked(): Judgement | undefined {
    const { node, from } = this;
    if (from.kind === "workload") return undefined;
    const out = node.route(this.q.family, this.q.destination);
    const inward = from.kind === "uplink";
    const name = inward ? from.name : out?.kind === "uplink" ? out.name : undefined;
    const host = name === undefined ? undefined : node.hostEndpoint(name);
    if (!host) return undefined;
    const answer = inward
      ? this.raw("Untracked", host, "ingress") : this.raw("UntrackedOut", host, "egress");
    if (answer.action === "deny") return this.drop("PolicyDenied");
    if (answer.action !== "allow") return undefined;
    if (!inward) return this.pass("Untracked");
    if (out?.kind === "workload" && !out.workload.active) return this.drop("EndpointInactive");
    return this.alongTheWay(from, out, undefined) ?? this.pass("Untracked");
  }

  /** As the first packet of a flow. `question`: of a flow known before, not of a packet. */
  open(from: Place, question?: Question): Judgement {
    const { node } = this;
    if (question) this.q = this.arrived = question;
    else if (opensNothing(this.headers)) return this.drop("NoSession");
    if (from.kind === "workload" && this.isStoppedTunnel()) return this.drop("EncapFromWorkload");
    // The host endpoint that stands where the packet comes in; "*" stands at workloads as well.
    let incoming = from.kind === "uplink" ? node.hostEndpoint(from.name)
      : from.kind === "workload" ? node.allInterfaces() : undefined;
    if (incoming) {
      const answer = this.raw("PreDnat", incoming, "ingress");
      if (answer.action === "deny") return this.drop("PolicyDenied");
      if (answer.action === "allow") incoming = undefined;
    }
    const translated = this.translate(from);
    if ("drop" in translated) return this.drop(translated.drop);
    this.q = translated;
    if (from.kind === "workload" && this.isStoppedTunnel()) return this.drop("EncapFromWorkload");
    const to = this.to = node.route(this.q.family, this.q.destination);
    if (to?.kind === "workload" && !to.workload.active) return this.drop("EndpointInactive");
    return this.alongTheWay(from, to, incoming) ?? this.pass("Allowed");
  }

  /** Everything behind the look-ups; a judgement where it ends, undefined where all allow. */
  private alongTheWay(
    from: Place, to: Place | undefined, incoming: HostEndpointState | undefined,
  ): Judgement | undefined {
    const { node } = this;
    const outgoing = to?.kind === "uplink" ? node.hostEndpoint(to.name)
      : to?.kind === "workload" ? node.allInterfaces() : undefined;
    const denies = (answer: Answer): boolean => answer.action === "deny";

    if (from.kind === "workload") {
      if (denies(this.workload("Egress", from.workload, "egress"))) return this.denied();
    }
    if (from.kind === "host") {
      // The node's own processes meet a host endpoint's normal policies where they leave it; its
      // own workloads they always reach.
      if (to?.kind === "uplink" && outgoing) {
        if (denies(this.normal("Egress", outgoing, "egress"))) return this.denied();
      }
      return undefined;
    }
    if (to?.kind === "host") {
      if (from.kind === "workload") {
        if (node.endpointToHost === "drop") return this.drop("EndpointToHost");
        if (node.endpointToHost === "accept") return undefined;
      } else if (this.isTunnel()) {
        // From the cluster's nodes before any normal policy; from others not at all.
        return node.isKnownHost(this.q.source) ? undefined : this.drop("EncapFromUnknownHost");
      }
      if (incoming && denies(this.normal("Ingress", incoming, "ingress"))) return this.denied();
      return undefined;
    }
    if (incoming && denies(this.forward("ForwardIn", incoming, "ingress"))) return this.denied();
    if (outgoing && denies(this.forward("ForwardOut", outgoing, "egress"))) return this.denied();
    if (to?.kind === "workload") {
      if (denies(this.workload("Ingress", to.workload, "ingress"))) return this.denied();
    }
    return undefined;
  }

  // ---- What is asked where ----------------------------------------------------------------------

  private ask(stage: StageName, answer: Answer): Answer {
    if (answer.by !== "" || answer.action !== "allow") this.asked.push({ stage, ...answer });
    return answer;
  }
  private workload(stage: StageName, one: WorkloadState, direction: Direction): Answer {
    this.staged(one.tiers, one.profiles, direction);
    return this.ask(stage, askTiers(this.node.state, one.tiers, direction, this.q, {
      end: { profiles: one.profiles }, watch: this.hooks.watch,
    }));
  }
  /** What would be if staged policies were enforced: asked for counting alone. */
  private staged(tiers: WorkloadState["tiers"], profiles: string[], direction: Direction): void {
    const { state } = this.node;
    const has = (all: boolean): number => tiers.flatMap((tier) => tier[direction])
      .filter((key) => all || !state.policies.get(key)!.staged).length;
    if (has(true) === has(false)) return;
    const stage = direction === "egress" ? "StagedEgress" : "StagedIngress";
    this.ask(stage, askTiers(state, tiers, direction, this.q, { staged: true, end: { profiles } }));
  }
  private normal(stage: StageName, one: HostEndpointState, direction: Direction): Answer {
    if (this.isFailsafe(direction)) return this.ask(stage, FAILSAFE);
    return this.ask(stage, askTiers(this.node.state, one.tiers, direction, this.q, {
      end: { profiles: one.profiles }, watch: this.hooks.watch,
    }));
  }
  private forward(stage: StageName, one: HostEndpointState, direction: Direction): Answer {
    const { state } = this.node;
    if (!hasPolicies(state, one.forwardTiers, direction)) return { ...FAILSAFE, by: "" };
    return this.ask(stage, askTiers(state, one.forwardTiers, direction, this.q, {
      end: "allow", watch: this.hooks.watch,
    }));
  }
  /** Untracked and preDNAT policies: failsafes go on to what is behind, as does no match. */
  private raw(
    stage: "Untracked" | "UntrackedOut" | "PreDnat", one: HostEndpointState, direction: Direction,
  ): Answer {
    const tiers = stage === "PreDnat" ? one.preDnatTiers : one.untrackedTiers;
    if (!hasPolicies(this.node.state, tiers, direction)) return NOTHING;
    const reply = stage !== "PreDnat";
    if (this.isFailsafe(direction) || (reply && this.isFailsafeReply(direction))) return NOTHING;
    const answer = askTiers(this.node.state, tiers, direction, this.q, {
      end: "none", watch: this.hooks.watch,
    });
    return answer.action === "none" ? answer : this.ask(stage, answer);
  }

  /** To a port that the node never loses: sources in the failsafe's prefix, or destinations. */
  private isFailsafe(direction: Direction): boolean {
    const { node, q } = this;
    return direction === "ingress"
      ? node.inbound.some((each) => hits(each, q, q.port, q.source))
      : node.outbound.some((each) => hits(each, q, q.port, q.destination));
  }
  /** And the way back, by source port: only raw policies see replies. */
  private isFailsafeReply(direction: Direction): boolean {
    const { node, q } = this;
    return direction === "ingress"
      ? node.outbound.some((each) => hits(each, q, q.sourcePort, q.source))
      : node.inbound.some((each) => hits(each, q, q.sourcePort, q.destination));
  }

  /** Behind DNAT; without a hook, to the one backend that a Service of the state may have. */
  private translate(from: Place): Question | { drop: string } {
    const { q } = this;
    if (this.hooks.translate) return this.hooks.translate(q, from);
    const service = this.node.state.services.find((each) =>
      protocolNumber(each.protocol) === q.protocol && each.port === (q.port ?? 0) &&
      addressNumber(addressBytes(each.address)) === q.destination);
    if (!service) return q;
    const backend = (this.hooks.choose ?? onlyOne)(service);
    if (!backend) return { drop: "NoBackend" };
    const destination = addressNumber(addressBytes(backend.address));
    return { ...q, destination, port: backend.port };
  }

  // ---- Ends -------------------------------------------------------------------------------------

  private denied(): Judgement {
    return this.drop("PolicyDenied");
  }
  drop(reason: string): Judgement {
    return { verdict: "drop", reason, ...this.last(), ...this.seen() };
  }
  private pass(reason: string): Judgement {
    return { verdict: "pass", reason, ...this.last(), ...this.seen() };
  }
  private seen(): Pick<Judgement, "asked" | "arrived" | "question" | "to"> {
    const { asked, arrived, q: question, to } = this;
    return { asked, ...(question ? { arrived, question } : {}), ...(to ? { to } : {}) };
  }
  private last(): Pick<Judgement, "stage" | "policy" | "rule"> {
    const last = this.asked.findLast((each) => !each.stage.startsWith("Staged"));
    return last ? { stage: last.stage, policy: last.by, rule: last.rule } : {};
  }
}

const FAILSAFE: Answer = { action: "allow", by: "failsafe", rule: -1 };
const NOTHING: Answer = { action: "none", by: "", rule: -1 };

function hits(
  each: Failsafe, q: Question, port: number | undefined, address: bigint,
): boolean {
  return each.protocol === q.protocol && each.port === port &&
    (each.prefix === undefined || inPrefix(each.prefix, q.family, address));
}

function questionOf(headers: Headers): Question {
  const number = (address: Uint8Array): bigint =>
    addressNumber(address) | (headers.family === 4 ? 0xffff_0000_0000n : 0n);
  const { family, protocol, sourcePort, port, icmp } = headers;
  return {
    family, protocol, source: number(headers.source), destination: number(headers.destination),
    ...(port === undefined ? {} : { sourcePort, port }), ...(icmp ? { icmp } : {}),
  } as Question;
}

/**
 * What links need to work at all: neighbour discovery (RFC 4861) never crosses a router, which its
 * hop limit of 255 shows; multicast listeners' messages (RFC 2710, 3810) have 1.
 */
function isNeighbourDiscovery({ icmp, family, hopLimit, firstFragment }: Headers): boolean {
  if (family !== 6 || !icmp || firstFragment) return false;
  if ([133, 134, 135, 136].includes(icmp.type)) return hopLimit === 255;
  return [130, 131, 132, 143].includes(icmp.type) && hopLimit === 1;
}

/** fe80::/10 and multicast: what the node does not forward. */
function isLinkScope([first, second]: Uint8Array): boolean {
  return first === 0xff || (first === 0xfe && (second! & 0xc0) === 0x80);
}

/** A reset, or the answer to a SYN that was never seen. */
function opensNothing({ flags }: Headers): boolean {
  if (flags === undefined) return false;
  const SYN = 2, RST = 4, ACK = 16;
  return (flags & RST) !== 0 || ((flags & SYN) !== 0 && (flags & ACK) !== 0);
}
