// What the plugin's commands print, read back: traces, sessions, counters; and a packet as it was
// before VPP forwarded it. The other end is vpp-plugin/format.c.

import * as layout from "../../assembly/layout.ts";
import type { Reason, Verdict } from "../../assembly/layout.ts";
import { kebab } from "../model/names.ts";
import type { SessionView, StageRule } from "../dataplane/dataplane.ts";

/** Numbers of an enum by the text that C, metrics and CLI use: the name in kebab case. */
function numbersByText(name: "Reason" | "Stage" | "Verdict"): Map<string, number> {
  const members = (layout as unknown as Record<string, Record<string, string | number>>)[name]!;
  const numbers = Object.entries(members).filter(([, value]) => typeof value === "number");
  return new Map(numbers.map(([text, value]) => [kebab(text), value as number]));
}
const REASONS = numbersByText("Reason");
const STAGES = numbersByText("Stage");
const VERDICTS = numbersByText("Verdict");

function known(numbers: Map<string, number>, text: string | undefined, line: string): number {
  const value = numbers.get(text ?? "");
  if (value === undefined) throw new Error(`unknown name "${text}" in VPP's line: ${line}`);
  return value;
}

function fields(line: string): Map<string, string> {
  const pairs = line.trim().split(/\s+/).map((word) => word.split(/=(.*)/s) as [string, string]);
  return new Map(pairs.map(([key, value]) => [key, value]));
}

/** What `show trace` says of one packet. */
export interface TracedPacket {
  /** The number that the replay put into the packet's source MAC address. */
  ordinal: number;
  /** Undefined where the packet never came to the plugin. */
  judged: {
    verdict: Verdict; reason: Reason; policySlot: number; rule: number; direction: number;
    backend: number | undefined;
    /** Number of the node that the program passes it on to. */
    peer?: number;
    stages: StageRule[];
    /** Tuple after the rewrite, as printed: source:port>destination:port. */
    tuple: string;
  } | undefined;
  /** Number of the pg interface that sent it; undefined where VPP dropped it. */
  sentBy: number | undefined;
}

/** The text of `show trace`, a block for each packet. */
export function parseTrace(text: string): TracedPacket[] {
  return text.split(/^Packet \d+$/m).slice(1).map(parseTracedPacket);
}

function parseTracedPacket(block: string): TracedPacket {
  const mac = /: 02:00:(..):(..):(..):(..) -> /.exec(block);
  if (!mac) throw new Error(`a traced packet without the replay's source address:\n${block}`);
  const sent = /: pg(\d+)-tx$/m.exec(block);
  const line = /^\s*margay: (.*)$/m.exec(block)?.[1];
  return {
    ordinal: Number.parseInt(mac.slice(1).join(""), 16),
    judged: line === undefined ? undefined : parseVerdict(line),
    sentBy: sent ? Number(sent[1]) : undefined,
  };
}

function parseVerdict(line: string): NonNullable<TracedPacket["judged"]> {
  const field = fields(line);
  const [policySlot, rule] = (field.get("rule") ?? "").split(":").map(Number);
  const backend = field.get("backend")!;
  const rewrite = field.get("rewrite")!;
  const peer = field.get("peer");
  return {
    ...peer === undefined ? {} : { peer: Number(peer) },
    verdict: known(VERDICTS, field.get("verdict"), line),
    reason: known(REASONS, field.get("reason"), line),
    policySlot: policySlot!,
    rule: rule!,
    direction: field.get("direction") === "return" ? 1 : 0,
    backend: backend === "none" ? undefined : Number(backend),
    stages: parseStages(field.get("stages"), line),
    tuple: rewrite === "none" ? field.get("packet")! : rewrite,
  };
}

/** "egress:3:0,ingress:5:2", each a stage, a policy slot and a rule; or "none". */
function parseStages(text: string | undefined, line: string): StageRule[] {
  if (text === undefined || text === "none") return [];
  return text.split(",").map((each) => {
    const [name, policySlot, rule] = each.split(":");
    const stage = known(STAGES, name, line);
    return { stage, policySlot: Number(policySlot), rule: Number(rule) };
  });
}

/** The text of `show margay counters`. */
export function parseCounters(text: string): Map<Reason, bigint> {
  const lines = text.split("\n").filter(Boolean);
  return new Map(lines.map((line) => {
    const [name, packets] = line.trim().split(" ");
    return [known(REASONS, name, line) as Reason, BigInt(packets!)];
  }));
}

/** The lines of `show margay sessions`, in the order of every engine's dump (memory.ts). */
export function parseSessions(text: string): SessionView[] {
  const lines = text.split("\n").filter(Boolean);
  const cut = lines.find((line) => line.startsWith("..."));
  if (cut) throw new Error(`the session dump is cut: ${cut}`);
  const sessions = lines.map((line): SessionView => {
    const field = fields(line);
    const number = (name: string): number => {
      const value = Number(field.get(name) ?? Number.NaN);
      if (Number.isNaN(value)) throw new Error(`no ${name} in VPP's session: ${line}`);
      return value;
    };
    return {
      family: number("family") as 4 | 6, protocol: number("protocol"),
      source: field.get("source")!, sourcePort: number("source-port"),
      destination: field.get("destination")!, destinationPort: number("destination-port"),
      toSource: field.get("to-source")!, toSourcePort: number("to-source-port"),
      toDestination: field.get("to-destination")!,
      toDestinationPort: number("to-destination-port"),
      flags: number("flags"), seenMs: number("seen-ms"), rule: number("rule"),
      sourceEndpoint: number("source-endpoint"),
      destinationEndpoint: number("destination-endpoint"),
      generation: number("generation"), backend: number("backend"), peer: number("peer"),
    };
  });
  const key = new Map(sessions.map((session) => [session, JSON.stringify(session)]));
  return sessions.sort((a, b) => (key.get(a)! < key.get(b)! ? -1 : 1));
}

/**
 * A sent packet as it was before forwarding: ip4-rewrite and ip6-rewrite take one off the TTL, and
 * in IPv4 add 0x0100 to the header checksum, with end-around carry (RFC 1141). Both are undone; a
 * header checksum of 0xffff can't occur, so that the inverse is exact.
 */
export function beforeForwarding(bytes: Uint8Array): Uint8Array {
  const packet = Uint8Array.from(bytes);
  if (packet[0]! >> 4 === 6) {
    packet[7]! += 1;
    return packet;
  }
  const view = new DataView(packet.buffer);
  const checksum = view.getUint16(10);
  view.setUint16(10, checksum >= 0x0100 ? checksum - 0x0100 : checksum + 0xfeff);
  packet[8]! += 1;
  return packet;
}
