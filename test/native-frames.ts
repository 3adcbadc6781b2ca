// Frames as the addon's traffic threads take them (native/traffic.h).

import * as L from "../assembly/layout.ts";
import { SLOT_BYTES, Verdict, WINDOW_BYTES } from "../assembly/layout.ts";
import type { TrafficFrame } from "../host/dataplane/addon.ts";
import type { Packet } from "../host/dataplane/dataplane.ts";

export const PASS = 1 << Verdict.Pass;
export const DROP = 1 << Verdict.Drop;

/**
 * @param allowed mask of the verdicts that are right, for every packet
 * @param expected the packets as they must leave where they pass
 * @param fresh every packet is a new flow each time; only for IPv4 without a UDP checksum
 */
export function trafficFrame(
  packets: Packet[], allowed: number, expected?: Uint8Array[], fresh = false,
): TrafficFrame {
  const count = packets.length;
  const slots = new Uint8Array(count * SLOT_BYTES);
  const windows = new Uint8Array(count * WINDOW_BYTES);
  const wanted = new Uint8Array(count * WINDOW_BYTES);
  const view = new DataView(slots.buffer);
  packets.forEach(({ interface: from, bytes }, i) => {
    const length = Math.min(bytes.length, WINDOW_BYTES);
    view.setUint32(i * SLOT_BYTES + L.SLOT_INTERFACE, from, true);
    view.setUint32(i * SLOT_BYTES + L.SLOT_PACKET_LENGTH, bytes.length, true);
    view.setUint16(i * SLOT_BYTES + L.SLOT_WINDOW_LENGTH, length, true);
    view.setUint8(i * SLOT_BYTES + L.SLOT_FLAGS, fresh ? L.SlotFlag.Checked : 0);
    windows.set(bytes.subarray(0, length), i * WINDOW_BYTES);
    if (expected) wanted.set(expected[i]!.subarray(0, length), i * WINDOW_BYTES);
  });
  return {
    count, slots, windows, fresh, allowed: new Uint8Array(count).fill(allowed),
    ...(expected ? { expected: wanted } : {}),
  };
}
