// Before a row is timed: the same packets through both sides, and what came out compared. Both must
// let the same flows through, and the packets must be alike but for the backend that each chose.
//
//   flows ─► margay ─► pg2 ─► packets ─┐
//         └► peer   ─► pg3 ─► packets ─┴► same clients? a backend each? checksums? the rest equal?

import { addressOf, BACKEND_PORT, checksumsHold, destinationAt, type Family, sourceAt }
  from "./packets.ts";
import type { Flows, Rig } from "./rig.ts";
import type { Traffic } from "./packets.ts";

/** What is right: the flows that pass, and where they may go. */
export interface Expected {
  passed: number;
  family: Family;
  /** Are destinations rewritten to a backend? */
  translated: boolean;
  services: number;
  /** ICMP errors: their quotes must be rewritten too. */
  icmp?: boolean;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

function bytesOfAddress(family: Family, text: string): string {
  if (family === 4) return hex(Uint8Array.from(text.split(".").map(Number)));
  const [high, low] = text.split("::") as [string, string];
  const words = low.split(":").map((word) => word.padStart(4, "0")).join("");
  return high.padStart(4, "0") + words.padStart(28, "0");
}

/** Compares what left both sides; throws where one is wrong or they differ. Returns a sentence. */
export function compare(
  margay: Uint8Array[], peer: Uint8Array[], name: string, expected: Expected,
): string {
  const { family, translated, services } = expected;
  const l4 = family === 4 ? 20 : 40, bytes = family === 4 ? 4 : 16;
  const from = sourceAt(family), to = destinationAt(family);
  const client = (packet: Uint8Array) => hex(packet.subarray(from, from + bytes));
  const backends = new Set(Array.from({ length: 2 * Math.max(services, 1) }, (_, n) =>
    bytesOfAddress(family, addressOf(family, "backend", n))));
  const check = (side: string, packet: Uint8Array): void => {
    const backend = hex(packet.subarray(to, to + bytes));
    // An ICMP error bears the port in its quote: the source of the reply.
    const port = expected.icmp ? 48 : l4 + 2;
    const right = !translated || (backends.has(backend) &&
      ((packet[port]! << 8) | packet[port + 1]!) === BACKEND_PORT);
    const quoted = !expected.icmp || hex(packet.subarray(40, 44)) === backend;
    if (!right || !quoted) throw new Error(`${side}: not rewritten to a backend: ${hex(packet)}`);
    if (!checksumsHold(packet)) throw new Error(`${side}: a checksum is wrong: ${hex(packet)}`);
  };
  /** All that no choice of a backend changes. */
  const rest = (packet: Uint8Array): string => {
    const copy = Uint8Array.from(packet);
    copy.fill(0, to, to + bytes);
    if (family === 4) copy.fill(0, 10, 12);
    if (expected.icmp) {
      copy.fill(0, 22, 24);
      copy.fill(0, 38, 44);
      copy.fill(0, 54, 56);
    } else {
      copy.fill(0, l4 + 6, l4 + 8);
    }
    return hex(copy);
  };
  const theirs = new Map(peer.map((packet) => [client(packet), packet]));
  let same = 0;
  for (const packet of margay) {
    const other = theirs.get(client(packet));
    if (!other) throw new Error(`${name}: no packet from ${client(packet)}, of margay one`);
    check("margay", packet);
    check(name, other);
    if (rest(packet) !== rest(other)) {
      throw new Error(`packets differ: margay ${hex(packet)}, ${name} ${hex(other)}`);
    }
    if (hex(packet.subarray(to, to + bytes)) === hex(other.subarray(to, to + bytes))) same++;
  }
  const { passed } = expected;
  if (margay.length !== passed || peer.length !== passed || theirs.size !== passed) {
    throw new Error(`${passed} packets expected: margay passed ${margay.length}, ${name} `
      + `${peer.length}`);
  }
  if (!translated || passed === 0) return `${passed} packets passed by both, alike`;
  return `${passed} packets rewritten by both to one of the same backends, checksums right, the `
    + `rest alike; the same backend for ${same} of them`;
}

/** Sends flows through both sides and compares; the sentence says how many. */
export async function proveEqual(
  rig: Rig, traffic: Traffic, flows: Flows, expected: Omit<Expected, "family" | "services">,
): Promise<string> {
  const margay = await rig.capture("margay", traffic, flows);
  const peer = await rig.capture("peer", traffic, flows);
  const { family, services } = rig.bed;
  return compare(margay, peer, rig.peer.name, { ...expected, family, services });
}
