// Packets through the plugin in a real VPP, with the results of each: VPP runs as a process of its
// own, fed and read by packet-generator capture files.
//
//   packets ─► in.pcap ─► pg<i> ─► ethernet-input ─► ip4/ip6-input ─► margay ─► lookup ─► rewrite
//                                                                                          │
//   results ◄─ show trace (verdicts, by the number in the source MAC) + out*.pcap ◄───── pg100/101
//
// A packet's number stands in its Ethernet source address, for VPP's trace is not in packet order.
// Packets that pass leave in order, one interface for each family, without an Ethernet header.
//
// The clock is fixed for each run of packets with equal interface and clock; nothing ages by
// itself. What VPP does beside the plugin is taken out of the results: forwarding
// (beforeForwarding), and
//   vpp-input    ip4/ip6-input dropped it before the plugin saw it (bad checksum, version, TTL,
//                length): a drop, uncounted
//   vpp-forward  the plugin passed it, but VPP could not forward it: TTL 1
//
// Interfaces: the caller's number k is a pg interface of its own; Bind records for k become
// `margay bind` of that interface, all other records go in as they are.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { NO_ENDPOINT, RECORD_HEADER_BYTES, RecordKind, Verdict } from "../../assembly/layout.ts";
import type { Reason } from "../../assembly/layout.ts";
import { readCapture, writeCapture } from "../input/pcap.ts";
import { PushRefused } from "../dataplane/dataplane.ts";
import type { Clock, Push, SessionView, VppResult } from "../dataplane/dataplane.ts";
import { VppProcess } from "../vpp/process.ts";
import type { VppOptions } from "../vpp/process.ts";
import { beforeForwarding, parseCounters, parseSessions, parseTrace } from "../vpp/text.ts";
import type { TracedPacket } from "../vpp/text.ts";

/** Packets traced at a time. */
const BATCH_PACKETS = 1024;
const OUT4 = 100, OUT6 = 101;
const LINKTYPE_ETHERNET = 1;

export interface TimedPacket {
  interface: number;
  /** From the L3 header on. */
  bytes: Uint8Array;
  clock: Clock;
}

export interface ReplayOptions extends VppOptions {
  /** The file of the core, build/margay.wasm. */
  core: string;
  /** 64 KiB pages of linear memory; the engine's default when absent. */
  pages?: number;
}

export class VppReplay {
  private readonly interfaces = new Map<number, number>();
  private files = 0;
  private taken = { [OUT4]: 0, [OUT6]: 0 };

  private constructor(readonly vpp: VppProcess) {}

  static async start(options: ReplayOptions): Promise<VppReplay> {
    // Our own interfaces alone are judged, and fragments as they come: as on the other engines.
    const sections = { margay: "manual no-reassembly", ...options.sections };
    const replay = new VppReplay(await VppProcess.start({ ...options, sections }));
    try {
      await replay.open(options);
    } catch (error) {
      await replay.close();
      throw error;
    }
    return replay;
  }

  /** Immediate records: Configure and Bind. */
  async stage(records: Uint8Array): Promise<void> {
    for (const part of splitRecords(records)) {
      if (part.kind === "bind") await this.bind(part.interface, part.endpoint);
      else await this.pushing(`margay records ${this.write(part.bytes)}`, "records staged");
    }
  }

  async push(push: Push): Promise<void> {
    for (const { slot, kind, wasm } of push.modules) {
      const user = kind === "user" ? "user " : "";
      await this.pushing(`margay module ${slot} ${user}${this.write(wasm)}`, "module admitted");
    }
    await this.stage(push.records);
    await this.pushing(`margay publish ${push.generation}`, "generation published");
  }

  /** A result for each packet, in order. */
  async process(packets: TimedPacket[]): Promise<VppResult[]> {
    const results: VppResult[] = [];
    for (let from = 0; from < packets.length; from += BATCH_PACKETS) {
      results.push(...await this.batch(packets.slice(from, from + BATCH_PACKETS)));
    }
    return results;
  }

  async age(nowMs: number, budget: number): Promise<number> {
    const text = await this.vpp.expect(`margay age ${nowMs} ${budget}`, "sessions ended: ");
    return Number(text.split(": ")[1]);
  }

  async counters(): Promise<Map<Reason, bigint>> {
    return parseCounters(await this.vpp.command("show margay counters"));
  }

  async sessions(): Promise<SessionView[]> {
    return parseSessions(await this.vpp.command("show margay sessions max 4000000"));
  }

  async close(): Promise<void> {
    await this.vpp.close();
  }

  private async open(options: ReplayOptions): Promise<void> {
    const pages = options.pages === undefined ? "" : ` pages ${options.pages}`;
    await this.vpp.expect(`margay core ${options.core}${pages}`, "core loaded");
    await this.vpp.expect("margay clock set 0 seconds 0", "clock fixed");
    for (const [number, family] of [[OUT4, "ip4"], [OUT6, "ip6"]] as const) {
      await this.vpp.command(`create packet-generator interface pg${number} mode ${family}`);
      await this.vpp.quietly(
        `set interface state pg${number} up`,
        `enable ${family} interface pg${number}`,
        `ip route add ${family === "ip4" ? "0.0.0.0/0" : "::/0"} via pg${number}`,
        `packet-generator capture pg${number} pcap ${this.vpp.path(`out${number}.pcap`)}`,
      );
    }
  }

  /** The pg interface of a caller's interface number, made when it first comes up. */
  private async interfaceOf(number: number): Promise<number> {
    const made = this.interfaces.get(number);
    if (made !== undefined) return made;
    const pg = this.interfaces.size;
    if (pg >= OUT4) throw new Error(`more than ${OUT4} interfaces in a replay`);
    const address = macAddress(0xfe, pg).toString("hex").replace(/..(?!$)/g, "$&:");
    await this.vpp.command(`create packet-generator interface pg${pg} hw-addr ${address}`);
    await this.vpp.quietly(
      `set interface state pg${pg} up`,
      `enable ip4 interface pg${pg}`,
      `enable ip6 interface pg${pg}`,
    );
    await this.vpp.expect(`set margay input pg${pg}`, "input enabled");
    // VPP's own reports of multicast groups would be judged, and counted, as the host's.
    await this.vpp.quietly(
      `set interface feature pg${pg} margay-ip6-output arc ip6-output disable`);
    this.interfaces.set(number, pg);
    return pg;
  }

  private async bind(number: number, endpoint: number): Promise<void> {
    const pg = await this.interfaceOf(number);
    const name = endpoint === NO_ENDPOINT ? "none" : String(endpoint);
    await this.vpp.expect(`margay bind pg${pg} ${name}`, "interface bound");
  }

  /** A command of a push: where the core refuses, its reason is thrown as by every engine. */
  private async pushing(line: string, beginning: string): Promise<void> {
    try {
      await this.vpp.expect(line, beginning);
    } catch (error) {
      const noted = /: ([a-z-]+) \(record (\d+), detail (\d+)\)$/.exec((error as Error).message);
      if (!noted) throw error;
      const [, reason, record, detail] = noted;
      const { message } = error as Error;
      throw new PushRefused(reason!, Number(record), Number(detail), message);
    }
  }

  private write(bytes: Uint8Array): string {
    const path = this.vpp.path(`file-${this.files++}`);
    writeFileSync(path, bytes);
    return path;
  }

  private async batch(packets: TimedPacket[]): Promise<VppResult[]> {
    await this.vpp.command("clear trace");
    await this.vpp.quietly(`trace add pg-input ${packets.length}`);
    for (let from = 0; from < packets.length;) {
      let to = from + 1;
      while (to < packets.length && sameRun(packets[from]!, packets[to]!)) to += 1;
      await this.run(packets.slice(from, to), from);
      from = to;
    }
    const trace = await this.vpp.command(`show trace max ${packets.length}`);
    return this.match(packets.length, parseTrace(trace));
  }

  private async run(packets: TimedPacket[], ordinal: number): Promise<void> {
    const { clock, interface: number } = packets[0]!;
    const pg = await this.interfaceOf(number);
    const frames = packets.map(({ bytes }, index) => ethernetFrame(pg, ordinal + index, bytes));
    const file = this.write(writeCapture(
      "pcap",
      [{ linkType: LINKTYPE_ETHERNET, snapLength: 0 }],
      frames.map((bytes) => ({
        timestampNs: 0n, interface: 0, linkType: LINKTYPE_ETHERNET, originalLength: bytes.length,
        bytes,
      })),
      { microseconds: true },
    ));
    const { nowMs, nowSeconds } = clock;
    await this.vpp.expect(`margay clock set ${nowMs} seconds ${nowSeconds}`, "clock fixed");
    await this.vpp.quietly(
      `packet-generator new { name run source pg${pg} node ethernet-input pcap ${file} }`,
      "packet-generator enable-stream run",
    );
    // A stream disables itself behind its last packet; by then its frames have been through.
    const deadline = Date.now() + 30_000;
    while (/^run\s+Yes/m.test(await this.vpp.command("show packet-generator"))) {
      if (Date.now() > deadline) throw new Error(`VPP's packet generator did not send ${file}`);
    }
    await this.vpp.quietly("packet-generator delete run");
  }

  /** Puts traces and captured packets together. */
  private match(count: number, traced: TracedPacket[]): VppResult[] {
    const byOrdinal = new Map(traced.map((packet) => [packet.ordinal, packet]));
    const sent = { [OUT4]: this.captured(OUT4), [OUT6]: this.captured(OUT6) };
    const results: VppResult[] = [];
    for (let ordinal = 0; ordinal < count; ordinal++) {
      const packet = byOrdinal.get(ordinal);
      if (!packet) throw new Error(`VPP's trace lacks packet ${ordinal} of ${count}`);
      const { judged, sentBy } = packet;
      const bytes = sentBy === undefined ? undefined : sent[sentBy as 100 | 101].shift();
      if (sentBy !== undefined && !bytes) {
        throw new Error(`packet ${ordinal} left VPP by pg${sentBy}, but is not in its capture`);
      }
      results.push(resultOf(judged, bytes));
    }
    const extra = sent[OUT4].length + sent[OUT6].length;
    if (extra) throw new Error(`VPP sent ${extra} packets that are in no trace`);
    return results;
  }

  /** What an outgoing interface has sent since the last call. */
  private captured(number: 100 | 101): Uint8Array[] {
    const file = this.vpp.path(`out${number}.pcap`);
    if (!existsSync(file)) return [];
    const { packets, error } = readCapture(readFileSync(file), file);
    if (error) throw error;
    const fresh = packets.slice(this.taken[number]);
    this.taken[number] = packets.length;
    return fresh.map((packet) => packet.bytes);
  }
}

function resultOf(judged: TracedPacket["judged"], bytes: Uint8Array | undefined): VppResult {
  if (!judged) {
    return {
      verdict: Verdict.Drop, reason: "vpp-input", policySlot: 0, rule: 0, direction: 0,
      backend: undefined, stages: [], bytes: undefined,
    };
  }
  const { tuple: _, ...result } = judged;
  // An answer is VPP's own: its TTL is what the program gave it.
  if (judged.verdict === Verdict.Reply && bytes) return { ...result, bytes };
  if (judged.verdict === Verdict.Drop) return { ...result, bytes: undefined };
  if (!bytes) return { ...result, verdict: Verdict.Drop, reason: "vpp-forward", bytes: undefined };
  return { ...result, bytes: beforeForwarding(bytes) };
}

function sameRun(a: TimedPacket, b: TimedPacket): boolean {
  return a.interface === b.interface && a.clock.nowMs === b.clock.nowMs
    && a.clock.nowSeconds === b.clock.nowSeconds;
}

/** A locally administered address: 02, a kind, a number. */
function macAddress(kind: number, number: number): Buffer {
  const address = Buffer.from([2, kind, 0, 0, 0, 0]);
  address.writeUInt32BE(number, 2);
  return address;
}

function ethernetFrame(pg: number, ordinal: number, packet: Uint8Array): Uint8Array {
  const type = packet.length && packet[0]! >> 4 === 6 ? 0x86dd : 0x0800;
  return Buffer.concat([
    macAddress(0xfe, pg), macAddress(0, ordinal), Buffer.from([type >> 8, type & 0xff]), packet,
  ]);
}

type RecordPart =
  | { kind: "bind"; interface: number; endpoint: number }
  | { kind: "records"; bytes: Uint8Array };

/** Bind records one by one, and what stands between them. */
function splitRecords(records: Uint8Array): RecordPart[] {
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  const parts: RecordPart[] = [];
  let start = 0, at = 0;
  const flush = () => {
    if (at > start) parts.push({ kind: "records", bytes: records.subarray(start, at) });
  };
  while (at + RECORD_HEADER_BYTES <= records.length) {
    const length = view.getUint32(at + 4, true);
    const end = at + RECORD_HEADER_BYTES + Math.ceil(length / 8) * 8;
    if (view.getUint16(at, true) === RecordKind.Bind && length === 8 && end <= records.length) {
      flush();
      parts.push({
        kind: "bind", interface: view.getUint32(at + 8, true),
        endpoint: view.getUint32(at + 12, true),
      });
      start = end;
    }
    at = end;
  }
  at = records.length;
  flush();
  return parts;
}

export interface Replay extends ReplayOptions {
  /** Configure and Bind records. */
  configuration: Uint8Array;
  pushes: Push[];
  packets: TimedPacket[];
}

/** The whole of it: a VPP is started, fed and ended. */
export async function replayInVpp(replay: Replay): Promise<{
  results: VppResult[]; counters: Map<Reason, bigint>; sessions: SessionView[];
}> {
  const engine = await VppReplay.start(replay);
  try {
    await engine.stage(replay.configuration);
    for (const push of replay.pushes) await engine.push(push);
    const results = await engine.process(replay.packets);
    return { results, counters: await engine.counters(), sessions: await engine.sessions() };
  } finally {
    await engine.close();
  }
}
