// Views of the program's linear memory, for hosts: they write slots, windows and the staging
// buffer, and read results, counters and sessions. Offsets come from assembly/layout.ts alone.
import {
  COUNTERS, FRAMES, FRAME_BYTES, FRAME_SLOTS, FRAME_STAGES, FRAME_WINDOWS, KEY4_DESTINATION,
  KEY4_ENDPOINT, KEY4_PORTS, KEY4_SOURCE, KEY6_DESTINATION, KEY6_ENDPOINT, KEY6_PORTS, KEY6_SOURCE,
  LIFE_MASK, Life, Reason, Rewritten, ROOT, ROOT_ERROR, ROOT_ERROR_DETAIL, ROOT_ERROR_RECORD,
  ROOT_SESSIONS4, ROOT_SESSIONS6, ROOT_WORKERS, SESSION4_BACKEND, SESSION4_BYTES,
  SESSION4_GENERATION, SESSION4_KEY_STRIDE, SESSION4_PEER, SESSION4_PROTOCOL, SESSION6_BACKEND,
  SESSION6_BYTES, SESSION6_GENERATION, SESSION6_KEY_STRIDE, SESSION6_PEER, SESSION6_PROTOCOL,
  SESSION_KEYS, SESSION_RULE, SESSION_SEEN, SESSION_STATE, SLOT_BACKEND, SLOT_BYTES,
  SLOT_DIRECTION, SLOT_FLAGS, SLOT_HOOK, SLOT_INTERFACE, SLOT_NEW_LENGTH, SLOT_PACKET_LENGTH,
  SLOT_PEER, SLOT_REASON, SLOT_REWRITTEN, SLOT_RULE, SLOT_VERDICT, SLOT_WINDOW_LENGTH,
  SLOT_COUNTERS, SlotHook, STAGES, STAGES_BYTES, STAGING, STAGING_BYTES, StageError, TABLE_RECORDS,
  TABLE_UNUSED_NEXT, Verdict, WINDOW_BYTES, WORKERS, WORKER_BYTES, WORKER_COUNTERS,
} from "../../assembly/layout.ts";
import { addressText } from "../model/address.ts";
import { kebab } from "../model/names.ts";
import {
  PushRefused, type Packet, type Result, type SessionView, type StageRule,
} from "./dataplane.ts";

/** Where the fields of a session record lie, by family. */
const SESSION = {
  4: {
    table: ROOT_SESSIONS4, bytes: SESSION4_BYTES, address: 4, stride: SESSION4_KEY_STRIDE,
    source: KEY4_SOURCE, destination: KEY4_DESTINATION, ports: KEY4_PORTS,
    endpoint: KEY4_ENDPOINT, protocol: SESSION4_PROTOCOL, generation: SESSION4_GENERATION,
    backend: SESSION4_BACKEND, peer: SESSION4_PEER,
  },
  6: {
    table: ROOT_SESSIONS6, bytes: SESSION6_BYTES, address: 16, stride: SESSION6_KEY_STRIDE,
    source: KEY6_SOURCE, destination: KEY6_DESTINATION, ports: KEY6_PORTS,
    endpoint: KEY6_ENDPOINT, protocol: SESSION6_PROTOCOL, generation: SESSION6_GENERATION,
    backend: SESSION6_BACKEND, peer: SESSION6_PEER,
  },
} as const;

export class Memory {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(readonly buffer: ArrayBufferLike) {
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }

  /** Puts records into the staging buffer; returns their length. */
  writeStaging(records: Uint8Array): number {
    if (records.length > STAGING_BYTES) {
      const most = `the staging buffer holds ${STAGING_BYTES}`;
      throw new PushRefused("engine", 0, 0, `a stream of ${records.length} bytes: ${most}`);
    }
    this.bytes.set(records, STAGING);
    return records.length;
  }

  /** The refusal that the core noted, as an error. */
  refusal(error: StageError, what: string): PushRefused {
    const record = this.view.getUint32(ROOT + ROOT_ERROR_RECORD, true);
    const detail = this.view.getUint32(ROOT + ROOT_ERROR_DETAIL, true);
    const reason = kebab(StageError[error] ?? `error-${error}`);
    return new PushRefused(
      reason, record, detail, `${what}: ${reason} (record ${record}, detail ${detail})`,
    );
  }
  get noted(): StageError {
    return this.view.getUint32(ROOT + ROOT_ERROR, true);
  }

  slotOf(worker: number, i: number): number {
    return FRAMES + worker * FRAME_BYTES + FRAME_SLOTS + i * SLOT_BYTES;
  }
  windowOf(worker: number, i: number): number {
    return FRAMES + worker * FRAME_BYTES + FRAME_WINDOWS + i * WINDOW_BYTES;
  }

  /** Puts packet i of the worker's next frame into its slot and window. */
  writePacket(worker: number, i: number, packet: Packet): void {
    const slot = this.slotOf(worker, i);
    const window = Math.min(packet.bytes.length, WINDOW_BYTES);
    this.bytes.fill(0, slot, slot + SLOT_BYTES);
    this.view.setUint32(slot + SLOT_INTERFACE, packet.interface, true);
    this.view.setUint32(slot + SLOT_PACKET_LENGTH, packet.bytes.length, true);
    this.view.setUint16(slot + SLOT_WINDOW_LENGTH, window, true);
    this.view.setUint8(slot + SLOT_FLAGS, packet.flags ?? 0);
    this.view.setUint8(slot + SLOT_HOOK, packet.hook ?? SlotHook.Entering);
    this.bytes.set(packet.bytes.subarray(0, window), this.windowOf(worker, i));
  }

  readResult(worker: number, i: number, packet: Packet): Result {
    const slot = this.slotOf(worker, i);
    const rule = this.view.getUint32(slot + SLOT_RULE, true);
    const backend = this.view.getUint32(slot + SLOT_BACKEND, true);
    const verdict: Verdict = this.view.getUint8(slot + SLOT_VERDICT);
    const rewritten = this.view.getUint8(slot + SLOT_REWRITTEN);
    const result: Result = {
      verdict,
      reason: this.view.getUint8(slot + SLOT_REASON),
      policySlot: rule >>> 16,
      rule: rule & 0xffff,
      direction: this.view.getUint8(slot + SLOT_DIRECTION),
      backend: backend === 0 ? undefined : backend - 1,
      stages: this.stages(worker, i),
      bytes: this.output(worker, i, packet, verdict),
    };
    if (verdict === Verdict.Pass && rewritten & Rewritten.ToPeer) {
      result.peer = this.view.getUint16(slot + SLOT_PEER, true);
    }
    return result;
  }

  /** Which stages were asked, in their order; none where a session carried the packet. */
  private stages(worker: number, i: number): StageRule[] {
    const slot = this.slotOf(worker, i);
    const stages: StageRule[] = [];
    if (this.view.getUint8(slot + SLOT_REASON) === Reason.Established) return stages;
    const at = FRAMES + worker * FRAME_BYTES + FRAME_STAGES + i * STAGES_BYTES;
    for (let stage = 0; stage < STAGES; stage++) {
      const rule = this.view.getUint32(at + stage * 4, true);
      if (rule) stages.push({ stage, policySlot: rule >>> 16, rule: rule & 0xffff });
    }
    return stages;
  }

  /** Hits by rule of a slot, the last for what no rule matched; []: none are counted. */
  ruleHits(slot: number): bigint[] {
    const block = this.view.getUint32(SLOT_COUNTERS + slot * 4, true);
    if (!block) return [];
    const rules = this.view.getUint32(block, true);
    return Array.from({ length: rules + 1 }, (_, i) =>
      this.view.getBigUint64(block + 8 + i * 8, true));
  }

  /** What leaves: the packet, its headers from the window; of an answer, all from the window. */
  private output(
    worker: number, i: number, packet: Packet, verdict: Verdict,
  ): Uint8Array | undefined {
    if (verdict !== Verdict.Pass && verdict !== Verdict.Reply) return undefined;
    const slot = this.slotOf(worker, i);
    const length = this.view.getUint32(slot + SLOT_NEW_LENGTH, true);
    const at = this.windowOf(worker, i);
    if (verdict === Verdict.Reply) {
      if (length > WINDOW_BYTES) throw new RangeError(`an answer of ${length} bytes`);
      return this.bytes.slice(at, at + length);
    }
    // Not slice(): a Node Buffer's shares memory, and the caller's packet must stay as it was.
    const out = Uint8Array.from(packet.bytes.subarray(0, length));
    if (this.view.getUint8(slot + SLOT_REWRITTEN) & Rewritten.Header) {
      const window = Math.min(out.length, WINDOW_BYTES);
      out.set(this.bytes.subarray(at, at + window));
    }
    return out;
  }

  get workers(): number {
    return this.view.getUint32(ROOT + ROOT_WORKERS, true);
  }

  /** Packets by reason, all workers added up; reasons that met none are left out. */
  counters(): Map<Reason, bigint> {
    const counters = new Map<Reason, bigint>();
    for (let reason = 0; reason < COUNTERS; reason++) {
      let sum = 0n;
      for (let w = 0; w < this.workers; w++) {
        const at = WORKERS + w * WORKER_BYTES + WORKER_COUNTERS + reason * 8;
        sum += this.view.getBigUint64(at, true);
      }
      if (sum) counters.set(reason as Reason, sum);
    }
    return counters;
  }

  /** The live sessions of both families, sorted by their text. Workers may go on meanwhile. */
  sessions(): SessionView[] {
    const all = [...this.sessionsOf(4), ...this.sessionsOf(6)];
    const key = new Map(all.map((session) => [session, JSON.stringify(session)]));
    return all.sort((a, b) => (key.get(a)! < key.get(b)! ? -1 : 1));
  }

  private *sessionsOf(family: 4 | 6): Generator<SessionView> {
    const f = SESSION[family];
    const table = ROOT + f.table;
    const records = this.view.getUint32(table + TABLE_RECORDS, true);
    const next = this.view.getUint32(table + TABLE_UNUSED_NEXT, true);
    for (let n = 1; n < next; n++) {
      const r = records + n * f.bytes;
      const state = this.view.getUint32(r + SESSION_STATE, true);
      if ((state & LIFE_MASK) === Life.Live) yield this.sessionAt(family, r, state);
    }
  }

  private sessionAt(family: 4 | 6, r: number, state: number): SessionView {
    const f = SESSION[family];
    const forward = r + SESSION_KEYS, reply = forward + f.stride;
    const text = (at: number): string => addressText(this.bytes.slice(at, at + f.address));
    const word = (at: number): number => this.view.getUint32(at, true);
    const port = (at: number): number => this.view.getUint16(at, false);
    return {
      family,
      protocol: this.view.getUint8(r + f.protocol),
      source: text(forward + f.source),
      sourcePort: port(forward + f.ports),
      destination: text(forward + f.destination),
      destinationPort: port(forward + f.ports + 2),
      toSource: text(reply + f.destination),
      toSourcePort: port(reply + f.ports + 2),
      toDestination: text(reply + f.source),
      toDestinationPort: port(reply + f.ports),
      flags: state & ~LIFE_MASK,
      seenMs: word(r + SESSION_SEEN),
      rule: word(r + SESSION_RULE),
      sourceEndpoint: word(forward + f.endpoint),
      destinationEndpoint: word(reply + f.endpoint),
      generation: word(r + f.generation),
      backend: word(r + f.backend),
      peer: this.view.getUint16(r + f.peer, true),
    };
  }
}
