// A replay: a capture goes through the program on one engine, frame by frame, and what leaves
// becomes a capture again.
//
//   captured packet ─► interface by its name, L3 bytes ─► frames of one millisecond ─► results
//   results ─► leaving packets with the link header they came with ─► a pcapng
//
// The clock is the capture's: nowMs and nowSeconds follow its timestamps, and idle sessions are
// ended as time passes, so that the same capture gives the same bytes on every engine.
//
// What is answered (Reply) leaves where it came in, with the link addresses turned round. Partial
// checksums (checksum.ts) are told to the program and completed in what leaves.
//
// Limits: packets that carry no IP never reach the program: they are counted and left out. A packet
// that the capture cut short has fewer bytes than its header says, which the program drops by
// reason.

import { SlotFlag, Verdict } from "../../assembly/layout.ts";
import type { Reason } from "../../assembly/layout.ts";
import type { Restored } from "../dataplane/checkpoint.ts";
import type {
  Clock, Dataplane, Packet, Result, SessionView, VppResult,
} from "../dataplane/dataplane.ts";
import { LINKTYPE_ETHERNET, networkLayer } from "../input/pcap.ts";
import type { Capture, CapturedPacket, CaptureInterface } from "../input/pcap.ts";
import { completed, hasPartialChecksum } from "./checksum.ts";

const NS_PER_MS = 1_000_000n;
const MS_PER_SECOND = 1000n;
const U32 = 0xffff_ffffn;
const FRAME_PACKETS = 256;
/** How often idle sessions are looked for, in the capture's time, and how many records at most. */
const AGE_EVERY_MS = 1000n;
const AGE_BUDGET = 1 << 20;
const WORKER = 0;

/** A captured packet as the program gets it. */
export interface Replayed {
  captured: CapturedPacket;
  /** Where the IP header starts in the captured bytes. */
  offset: number;
  packet: Packet;
}

export interface ReplayInput {
  replayed: Replayed[];
  /** Packets of the capture that carry no IP. */
  others: number;
  /** Packets with partial checksums. */
  partial: number;
}

/**
 * The program's number for an interface of the capture, by name or, where it has none, its index.
 */
export type InterfaceNumber = (name: string | undefined, index: number) => number;

export function readInput(capture: Capture, interfaceNumber: InterfaceNumber): ReplayInput {
  const numbers = capture.interfaces.map(({ name }, index) => interfaceNumber(name, index));
  const replayed: Replayed[] = [];
  for (const captured of capture.packets) {
    const layer = networkLayer(captured.linkType, captured.bytes);
    if (layer === undefined) continue;
    const packet: Packet = {
      interface: numbers[captured.interface]!, bytes: captured.bytes.subarray(layer.offset),
    };
    if (hasPartialChecksum(packet.bytes)) packet.flags = SlotFlag.PartialChecksum;
    replayed.push({ captured, offset: layer.offset, packet });
  }
  const partial = replayed.filter(({ packet }) => isPartial(packet)).length;
  return { replayed, others: capture.packets.length - replayed.length, partial };
}

function isPartial({ flags = 0 }: Packet): boolean {
  return (flags & SlotFlag.PartialChecksum) !== 0;
}

/** As it would have left the host that sent it: for an engine that can't be told. */
export function whole(packet: Packet): Packet {
  if (!isPartial(packet)) return packet;
  return { interface: packet.interface, bytes: completed(packet.bytes) };
}

/** What one engine made of the input: everything that has to be equal on all of them. */
export interface Outcome {
  engine: string;
  /** VPP's have reasons of their own for packets that it drops beside the program. */
  results: VppResult[];
  /** Packets by reason, in the order of the reasons' numbers. */
  counters: [Reason, bigint][];
  sessions: SessionView[];
  traps: number;
  /** The sessions as a checkpoint, and what came of the one that it began with; where asked for. */
  checkpoint?: Uint8Array;
  restored?: Restored;
}

/** The clock, nowMs, at the first packet and at the last. */
export function clocksOf({ replayed }: ReplayInput): [number, number] {
  const at = (packet: Replayed | undefined): number =>
    packet === undefined ? 0 : Number((packet.captured.timestampNs / NS_PER_MS) & U32);
  return [at(replayed[0]), at(replayed.at(-1))];
}

/** What an engine does next: a frame of packets that share a clock, or ending idle sessions. */
export type Step =
  | { packets: Packet[]; clock: Clock }
  | { age: number; budget: number };

export function replay(dataplane: Dataplane, input: ReplayInput): Outcome {
  const results: VppResult[] = [];
  for (const step of steps(input)) {
    if ("age" in step) dataplane.age(WORKER, step.age, step.budget);
    else {
      const done = dataplane.process(WORKER, step.packets, step.clock);
      results.push(...done.map((result, i) => complete(step.packets[i]!, result)));
    }
  }
  return {
    engine: dataplane.engine,
    results,
    counters: byReason(dataplane.counters()),
    sessions: dataplane.sessions(),
    traps: dataplane.traps().length,
  };
}

/** An answer's checksum is whole; what passes bears the checksum that it came with, rewritten. */
function complete(packet: Packet, result: Result): Result {
  const { verdict, bytes } = result;
  if (!isPartial(packet) || verdict !== Verdict.Pass || bytes === undefined) return result;
  return { ...result, bytes: completed(bytes) };
}

export function byReason(counters: Map<Reason, bigint>): [Reason, bigint][] {
  return [...counters].sort(([a], [b]) => a - b);
}

export function* steps(input: ReplayInput): Generator<Step> {
  let agedMs: bigint | undefined;
  for (const { tickMs, packets } of frames(input.replayed)) {
    const nowMs = Number(tickMs & U32);
    agedMs ??= tickMs;
    if (tickMs - agedMs >= AGE_EVERY_MS) {
      yield { age: nowMs, budget: AGE_BUDGET };
      agedMs = tickMs;
    }
    yield { packets, clock: { nowMs, nowSeconds: Number((tickMs / MS_PER_SECOND) & U32) } };
  }
}

/** Neighbouring packets of one millisecond. */
function* frames(replayed: Replayed[]): Generator<{ tickMs: bigint; packets: Packet[] }> {
  let packets: Packet[] = [];
  let tickMs = 0n;
  for (const { captured, packet } of replayed) {
    const ms = captured.timestampNs / NS_PER_MS;
    if (packets.length > 0 && (ms !== tickMs || packets.length === FRAME_PACKETS)) {
      yield { tickMs, packets };
      packets = [];
    }
    tickMs = ms;
    packets.push(packet);
  }
  if (packets.length > 0) yield { tickMs, packets };
}

/** Where a leaving packet goes out: an index into `interfaces`, by its bytes. */
export type OutgoingInterface = (bytes: Uint8Array) => number | undefined;

/**
 * The packets that leave, each at the interface that it goes to, with the link header it came
 * with.
 */
export function leavingPackets(
  input: ReplayInput,
  results: VppResult[],
  outgoing: OutgoingInterface,
  interfaces: CaptureInterface[],
): CapturedPacket[] {
  const leaving: CapturedPacket[] = [];
  input.replayed.forEach(({ captured, offset }, index) => {
    const { verdict, bytes } = results[index]!;
    if (verdict === Verdict.Drop || bytes === undefined) return;
    const isAnswer = verdict === Verdict.Reply;
    const link = captured.bytes.subarray(0, offset);
    const frame = Buffer.concat([isAnswer ? turned(link, captured.linkType) : link, bytes]);
    // A link type belongs to an interface: where the other one has another, the packet stays.
    const to = isAnswer ? captured.interface : outgoing(bytes);
    const fits = to !== undefined && interfaces[to]?.linkType === captured.linkType;
    leaving.push({
      ...captured, interface: fits ? to : captured.interface, bytes: frame,
      originalLength: captured.originalLength + frame.length - captured.bytes.length,
    });
  });
  return leaving;
}

const ETHERNET_ADDRESS_BYTES = 6;

/** A link header back to its sender. */
function turned(link: Uint8Array, linkType: number): Uint8Array {
  if (linkType !== LINKTYPE_ETHERNET) return link;
  const back = Uint8Array.from(link);
  back.set(link.subarray(ETHERNET_ADDRESS_BYTES, 2 * ETHERNET_ADDRESS_BYTES), 0);
  back.set(link.subarray(0, ETHERNET_ADDRESS_BYTES), ETHERNET_ADDRESS_BYTES);
  return back;
}

/**
 * Where an engine's outcome differs from the first one's, a sentence each; empty when they are
 * equal. What VPP drops before the program sees it has to be a drop of the first engine too, and is
 * taken out of its counters; what VPP can't forward has to be one that passes.
 */
export function differences(first: Outcome, other: Outcome, limit = 10): string[] {
  const found: string[] = [];
  const compare = (what: string, a: unknown, b: unknown) => {
    const [left, right] = [print(a), print(b)];
    if (left !== right) found.push(`${what}: ${first.engine} ${left}, ${other.engine} ${right}`);
  };
  const counters = new Map(first.counters);
  compare("packets", first.results.length, other.results.length);
  first.results.slice(0, other.results.length).forEach((mine, index) => {
    const theirs = other.results[index]!;
    if (theirs.reason === "vpp-input" && mine.verdict === Verdict.Drop) {
      const reason = mine.reason as Reason;
      counters.set(reason, counters.get(reason)! - 1n);
    } else if (theirs.reason !== "vpp-forward" || mine.verdict !== Verdict.Pass) {
      compare(`packet ${index + 1}`, mine, theirs);
    }
  });
  const counted = byReason(counters).filter(([, packets]) => packets > 0n);
  compare("counters", counted, other.counters.filter(([, packets]) => packets > 0n));
  compare("traps", first.traps, other.traps);
  const mine = new Set(first.sessions.map(print)), theirs = new Set(other.sessions.map(print));
  for (const text of mine) if (!theirs.has(text)) found.push(`session of ${first.engine}: ${text}`);
  for (const text of theirs) if (!mine.has(text)) found.push(`session of ${other.engine}: ${text}`);
  const more = found.length - limit;
  return more > 0 ? [...found.slice(0, limit), `and ${more} more`] : found;
}

/** The same text for the same value, whatever the order of an object's fields. */
function print(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner === "bigint") return inner.toString();
    if (inner instanceof Uint8Array) return Buffer.from(inner).toString("hex");
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  }) ?? "none";
}
