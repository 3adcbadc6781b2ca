// A whole node, slowly: packet by packet, what must become of each, with sessions, Services, NAT,
// fragments, ICMP errors and answers. Sessions are a Map by their two keys' texts; policy is
// policy.ts', Services and source NAT nat.ts', the bytes rewrite.ts' and quoted.ts'.
//
//   arrive ─► later fragment? follow ─► untracked ─► ICMP error? by the session it quotes
//     ─► session: from its end? closed and a SYN? restored? ─► carried
//     ─► none: judged, backend, source ─► a session of it ─► carried
//
// Where a source port is the program's to choose, it is told what came out and says whether that
// was one to choose. Everything else it predicts, bytes and all.
// Source: RFC 9293, 5382, 4787, 5508, 791, 8200; calico.md 2.5; Linux' nf_conntrack.
import { Answers, answerTo } from "./answer.ts";
import { Fragments } from "./fragments.ts";
import { isRefused, Nat, tupleOf } from "./nat.ts";
import { Node, type Place } from "./node.ts";
import {
  featuresOfFlow, featuresOfRewrite, totalOf, type Arrival, type Flow, type Outcome, type Packet,
  type Told,
} from "./passage.ts";
import { Judge, type Asked, type Judgement } from "./policy.ts";
import { quotedBy, withQuotedEnds } from "./quoted.ts";
import { withEnds, type Ends } from "./rewrite.ts";
import type { Question } from "./rule.ts";
import {
  endsOf, isRewritten, keyOf, keyOfQuoted, Sessions, turned, type Key, type Session,
} from "./sessions.ts";
import { numberOf, wireOf, type Site } from "./site.ts";
import { choosePort, PORTED } from "./sourceport.ts";
import {
  answered, bitsOf, firstBits, idleMs, isClosed, isEstablished, opensFlow, RESTORED, tickOf,
} from "./tcp.ts";

export type { Arrival, Outcome } from "./passage.ts";

export class Tracker {
  readonly sessions = new Sessions();
  private readonly fragments = new Fragments();
  readonly nat: Nat;
  private node: Node;
  private generation = 0;
  private readonly answers = new Answers();
  private features: string[] = [];

  constructor(
    private site: Site, private readonly seed: bigint,
    private readonly timeoutsMs: readonly number[],
  ) {
    this.node = new Node(site.state, site.devices);
    this.nat = new Nat(site, seed);
    this.sessions.come(site.state);
  }

  /** Another state of the node, as the next generation. */
  push(site: Site, generation: number): void {
    this.nat.change(site);
    this.site = site;
    this.node = new Node(site.state, site.devices);
    this.generation = generation;
    this.sessions.come(site.state);
  }

  /** The node begun anew: what was learnt is gone, sessions are to be judged once more. */
  restarted(site: Site, generation: number): Tracker {
    const next = new Tracker(site, this.seed, this.timeoutsMs);
    next.generation = generation;
    next.sessions.restore(this.sessions, (backend) => next.nat.serves(backend));
    return next;
  }

  /** One sweep over all sessions; how many ended. */
  age(nowMs: number): number {
    let ended = 0;
    for (const one of this.sessions.all()) {
      const idle = (nowMs - one.seenMs) | 0;
      const gone = one.protocol === 17 && one.backend !== undefined &&
        !this.nat.serves(one.backend);
      const limit = idleMs(one.protocol, one.flags, this.timeoutsMs);
      if (!gone && this.sessions.isAlive(one) && idle <= limit) continue;
      this.sessions.end(one);
      ended++;
    }
    return ended;
  }

  // ---- A packet ---------------------------------------------------------------------------------

  run(arrival: Arrival, nowMs: number, told?: Told): Outcome {
    this.features = [];
    const tick = tickOf(nowMs);
    const flow: Flow = { served: { peer: 0, masquerade: false }, reject: false, midFlow: false };
    const judge = new Judge(this.node, { translate: (q, from) => this.serve(flow, q, from, tick) });
    const early = judge.arrive(arrival);
    if (early) return this.plain(early, arrival);
    const { headers, question: q, from } = judge;
    const end = this.sessions.endOf(from), key = keyOf(headers, q, end);
    flow.midFlow = headers.flags !== undefined && !opensFlow(headers);
    flow.key = key;
    const packet: Packet = { arrival, headers, q, from, end, key, judge, flow, tick, nowMs, told };
    if (packet.headers.laterFragment) return this.follow(packet);
    const outcome = this.whole(packet);
    if (packet.headers.firstFragment && outcome.verdict === "pass") {
      this.fragments.note(packet.headers, packet.end, outcome, tick);
      this.features.push("first fragment");
    }
    return outcome;
  }

  private whole(packet: Packet): Outcome {
    const { judge, arrival, key } = packet;
    const raw = judge.untracked();
    if (raw) return this.plain(raw, arrival);
    const related = this.related(packet);
    if (related) return related;
    const found = key && this.sessions.find(packet.headers.family, packet.q.protocol, key);
    if (found) {
      const { session, direction } = found;
      if (this.sessions.isAlive(session)) return this.bySession(packet, session, direction);
      this.sessions.end(session);
    }
    return this.opens(packet);
  }

  private bySession(packet: Packet, session: Session, direction: 0 | 1): Outcome {
    const { headers, tick } = packet;
    if (session.keys[direction].end !== packet.end) return this.dropped("EndpointMismatch");
    const reopens = opensFlow(headers) && headers.flags !== undefined && isClosed(session.flags);
    if (reopens || this.isPassedOn(packet, session.peer, direction)) {
      return this.opens(packet, session);
    }
    let asked: Asked[] = [];
    if (session.flags & RESTORED) {
      const judged = this.again(packet, session, direction);
      if (!judged) return this.dropped("NoSession"); // its opener's next packet will tell
      if (judged.verdict === "drop") {
        this.sessions.end(session);
        return this.refused(packet, judged);
      }
      asked = judged.asked;
      session.flags &= ~RESTORED;
      session.generation = this.generation;
    }
    if (this.isNatedSctpPart(packet, session)) return this.dropped("SctpFragment");
    session.seenMs = tick;
    if (headers.flags !== undefined) {
      const opening = !isEstablished(session.flags);
      const { flags } = headers;
      const bits = session.flags | bitsOf(flags, direction);
      session.flags = answered(bits, flags, direction, session.peer !== 0);
      if (opening && isEstablished(session.flags) && opensFlow(headers)) {
        this.features.push("simultaneous open");
      }
      if (isClosed(session.flags)) this.features.push("closed");
    }
    return { ...this.carried(packet, session, direction, "Established"), asked };
  }
  /** Has another node passed it on, and would it be passed on again? Then this one has to serve. */
  private isPassedOn({ from }: Packet, peer: number, direction: 0 | 1): boolean {
    return peer !== 0 && direction === 0 && from.kind === "uplink" &&
      this.site.uplinks.get(from.name)?.peer === true;
  }
  private isNatedSctpPart({ headers }: Packet, session: Session): boolean {
    return headers.protocol === 132 && headers.firstFragment && session.peer === 0 &&
      isRewritten(session);
  }

  /**
   * A restored session, as its opener's packet would be judged today, its backend being known.
   * Undefined where nobody knows by which way its opener sends.
   */
  private again(
    { judge, flow, from }: Packet, session: Session, direction: 0 | 1,
  ): Judgement | undefined {
    const { family, protocol, backend, keys: [key] } = session;
    const { source, destination, sourcePort, port } = key;
    const opener = direction === 0 ? from : this.sessions.placeOf(key, family, this.node);
    if (!opener) return undefined;
    flow.known = session;
    this.features.push(`restored ${backend ? "with a backend" : "plain"}`);
    const q = { family, protocol, source, destination };
    // Only its Service can tell where the backend is that it goes on to.
    if (session.peer && !this.nat.leadsTo({ ...q, port }, backend, session.peer)) {
      return judge.drop("NoBackend");
    }
    return judge.open(opener, {
      ...q,
      ...(PORTED.includes(protocol) ? { sourcePort, port } : {}),
      ...(protocol === (family === 4 ? 1 : 58) ? { icmp: ECHO[family] } : {}),
    });
  }

  /** The first packet of a flow; `closed`: of a tuple whose session is over. */
  private opens(packet: Packet, closed?: Session): Outcome {
    const { judge, from, headers, flow, key } = packet;
    const judged = judge.open(from);
    const source = judged.verdict === "pass"
      ? this.nat.sourceFor(judged.question!, judged.to, flow.served) : undefined;
    if (judged.verdict === "drop") return this.refused(packet, judged);
    if (typeof source === "object") return { ...this.dropped(source.drop), asked: judged.asked };
    const makesSession = key !== undefined && (!headers.icmp || opensFlow(headers));
    if (!makesSession && source !== undefined) {
      return { ...this.dropped("NoSession"), asked: judged.asked }; // nothing would turn it back
    }
    if (closed) {
      this.sessions.end(closed);
      this.features.push("reopened");
    }
    if (!makesSession) {
      return { ...this.alone(packet), asked: judged.asked };
    }
    return { ...this.open(packet, key, judged, source), asked: judged.asked };
  }

  private open(packet: Packet, key: Key, judged: Judgement, source?: bigint): Outcome {
    const { headers, flow, tick } = packet;
    const { served } = flow;
    const { family } = headers;
    const reply = turned(key);
    reply.end = this.sessions.endOf(judged.to);
    if (served.backend && !served.peer) {
      reply.source = judged.question!.destination;
      reply.sourcePort = served.backend.port;
    }
    if (source !== undefined) reply.destination = source;
    const session: Session = {
      family, protocol: headers.protocol, keys: [key, reply], flags: 0, seenMs: tick,
      generation: this.generation, backend: served.backend, peer: served.peer,
    };
    const isChanged = isRewritten(session);
    if (headers.firstFragment && headers.protocol === 132 && isChanged && !served.peer) {
      return this.dropped("SctpFragment");
    }
    const isServed = served.backend !== undefined && !served.peer;
    if (source !== undefined || isServed) {
      const { snatPorts } = this.site;
      const masked = source !== undefined;
      const port = choosePort(session, this.sessions, headers, snatPorts, masked, packet.told);
      if (port === "none") return this.dropped("NatPortsExhausted");
      if (port === "other") this.features.push(masked ? "another port" : "another port for DNAT");
    }
    if (this.sessions.isTaken(session)) return this.dropped("TupleCollision");
    if (this.sessions.isOwnReply(session)) {
      return isChanged ? this.dropped("TupleCollision") : this.alone(packet);
    }
    if (headers.flags !== undefined) session.flags = firstBits(headers.flags);
    this.sessions.add(session);
    this.nat.opened(served, tupleOf(packet.q, key), tick);
    this.features.push(...featuresOfFlow(served, source, packet));
    return this.carried(packet, session, 0, served.peer ? "Forwarded" : "Allowed");
  }

  // ---- Related, fragments -----------------------------------------------------------------------

  private related(packet: Packet): Outcome | undefined {
    const { headers, arrival, from, end, q } = packet;
    const quoted = quotedBy(headers, arrival.bytes);
    if (!quoted) return undefined;
    const sent = keyOfQuoted(quoted);
    const found = this.sessions.find(headers.family, quoted.protocol, turned(sent));
    if (!found || !this.sessions.isAlive(found.session)) return undefined;
    const { session, direction } = found;
    if (session.flags & RESTORED) return undefined;
    const key = session.keys[direction], other = session.keys[direction === 0 ? 1 : 0];
    if (from.kind !== "host" && key.end !== end) return undefined;
    if (q.destination !== key.destination) return undefined;
    if (this.isPassedOn(packet, session.peer, direction)) return undefined;
    const way = direction === 0 ? "forward" : "return";
    const base: Outcome = {
      verdict: "pass", reason: "Related", direction, backend: session.backend, asked: [],
      peer: 0, features: this.features, bytes: arrival.bytes.slice(0, headers.total),
    };
    this.features.push(`related ${way}`);
    if (session.peer) return { ...base, peer: direction === 0 ? session.peer : 0 };
    if (!isRewritten(session)) return base;
    this.features.push(`related rewritten ${way}`);
    const { family } = headers;
    const outer: Ends = {
      source: q.source === key.source ? wireOf(other.destination, family) : headers.source,
      destination: wireOf(other.source, family),
    };
    const inner = endsOf(other, family, quoted.protocol);
    const partial = arrival.partial === true;
    return {
      ...base, bytes: withQuotedEnds(arrival.bytes, headers, outer, quoted, inner, partial),
    };
  }

  private follow(packet: Packet): Outcome {
    const { headers, arrival, end, tick } = packet;
    const first = this.fragments.follow(headers, end, tick, ({ peer, direction, far }) =>
      this.sessions.isThere(far) && !this.isPassedOn(packet, peer, direction));
    if (!first) return this.dropped("LaterFragment");
    this.features.push("later fragment");
    if (first.ends) this.features.push("later fragment rewritten");
    const { direction, backend, peer, ends } = first;
    const bytes = ends ? withEnds(arrival.bytes, headers, ends)
      : arrival.bytes.slice(0, headers.total);
    return {
      verdict: "pass", reason: "Fragment", bytes, direction, backend, peer, asked: [],
      features: this.features,
    };
  }

  // ---- Services ---------------------------------------------------------------------------------

  private serve(flow: Flow, q: Question, from: Place, nowMs: number): Question | { drop: string } {
    const { known, key } = flow;
    if (known) {
      // What goes on to a peer bears its VIP still.
      const { backend, peer, keys: [, { source, sourcePort }] } = known;
      const [destination, port] = peer && backend
        ? [numberOf(backend.address), backend.port] : [source, sourcePort];
      return { ...q, destination, ...(q.port === undefined ? {} : { port }) };
    }
    const { sourcePort, port } = key ?? { sourcePort: 0, port: 0 };
    const opening = { tuple: tupleOf(q, { sourcePort, port }), midFlow: flow.midFlow };
    const served = this.nat.serve(q, from, opening, nowMs);
    if (isRefused(served)) {
      flow.reject = served.reject;
      return served;
    }
    flow.served = served;
    if (!served.backend) return q;
    return { ...q, destination: numberOf(served.backend.address), port: served.backend.port };
  }

  // ---- Ends -------------------------------------------------------------------------------------

  /** A packet that a session carries. */
  private carried(
    { arrival, headers }: Packet, session: Session, direction: 0 | 1, reason: string,
  ): Outcome {
    const { family, protocol, keys, backend } = session;
    const peer = direction === 0 ? session.peer : 0;
    const ends = endsOf(turned(keys[direction === 0 ? 1 : 0]), family, protocol);
    const changed = isRewritten(session);
    const bytes = changed ? withEnds(arrival.bytes, headers, ends, arrival.partial)
      : arrival.bytes.slice(0, headers.total);
    if (changed) this.features.push(...featuresOfRewrite(arrival, headers, direction));
    return {
      verdict: "pass", reason, bytes, direction, backend, peer, asked: [], features: this.features,
      far: keys[direction === 0 ? 1 : 0].end,
    };
  }

  /** Let through, with no session. */
  private alone({ arrival, headers }: Packet): Outcome {
    return {
      verdict: "pass", reason: "Allowed", bytes: arrival.bytes.slice(0, headers.total),
      direction: 0, backend: undefined, peer: 0, asked: [], features: this.features,
    };
  }
  /** What policies ended by themselves, with no session. */
  private plain({ verdict, reason, asked }: Judgement, { bytes }: Arrival): Outcome {
    const total = verdict === "pass" ? totalOf(bytes) : 0;
    return {
      verdict, reason, asked, direction: 0, peer: 0, features: this.features,
      ...(verdict === "pass" ? { bytes: bytes.slice(0, total) } : {}),
    };
  }
  private dropped(reason: string): Outcome {
    return { verdict: "drop", reason, direction: 0, peer: 0, asked: [], features: this.features };
  }

  /** Dropped by policy or for want of a backend; answered where it is to be. */
  private refused({ arrival, headers, flow, nowMs }: Packet, judged: Judgement): Outcome {
    const { reason, asked } = judged;
    const drop: Outcome = { ...this.dropped(reason), asked };
    if (!flow.reject && !(reason === "PolicyDenied" && this.site.rejectDenied)) return drop;
    const answer = answerTo(arrival.bytes, headers);
    if (!answer || !this.answers.spend(nowMs)) return drop;
    const { family, protocol } = headers;
    this.features.push(`answer ${protocol === 6 ? "reset" : `unreachable IPv${family}`}`);
    return { ...drop, verdict: "reply", bytes: answer };
  }
}

const ECHO = { 4: { type: 8, code: 0 }, 6: { type: 128, code: 0 } };
