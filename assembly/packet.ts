// The working record of a packet inside a frame, and the frame's lists. Scratch: nothing of it
// outlives process().
//
//   0        8       12      16      20        24       28        32        36
//   ┌────────┬───────┬───────┬───────┬─────────┬────────┬─────────┬─────────┬──────┐
//   │ hash   │ slot  │window │ ports │proto .. │session │ entry   │endpoint │sender│
//   └────────┴───────┴───────┴───────┴─────────┴────────┴─────────┴─────────┴──────┘
//   40       44      48       52                56        57         60          64
//   ┌────────┬───────┬────────┬─────────────────┬─────────┬──────────┬───────────┐
//   │ icmp   │ rule  │ backend│ destination ep. │decision │ direction│           │
//   └────────┴───────┴────────┴─────────────────┴─────────┴──────────┴───────────┘
import { FRAME_SCRATCH } from "./layout";

@unmanaged
export class Packet {
  hash: u64;
  slot: u32; // address of its slot
  window: u32; // address of its L3 header
  ports: u32; // wire order, source in the low half; an ICMP echo's identifier twice
  protocol: u8;
  flags: u8; // TCP flags, 0 for others
  family: u8; // 4 or 6
  l4: u8; // offset of the L4 header in the window
  session: u32; // address of the session record, 0 = none (yet)
  entry: u32; // first candidate index entry
  endpoint: u32; // identity of the sending workload, NO_ENDPOINT for an uplink
  sender: u32; // address of the sending Endpoint record
  icmp: i32; // type << 8 | code, -1 when not ICMP
  rule: u32; // deciding rule: policy slot << 16 | index
  backend: u32; // address of the chosen Backend, 0 = none
  destinationEndpoint: u32; // identity of the receiving workload
  decision: u8; // Reason of the verdict that the policies gave: Allowed or a drop's
  direction: u8; // 0 forward, 1 return
  reason: u8; // final reason; 0 = not settled
  rewritten: u8;
  length: u32; // packet length by its own header
}
if (offsetof<Packet>() != 64) ERROR("Packet is not a cache line");
if (offsetof<Packet>("protocol") != 20) ERROR("Packet.protocol is not at 20");
if (offsetof<Packet>("decision") != 56) ERROR("Packet.decision is not at 56");

// Frame scratch, by offset from the frame's base.
export const PACKETS: usize = FRAME_SCRATCH; // 256 x 64
export const LIST4: usize = PACKETS + 0x4000; // u32: addresses of Packets, in packet order
export const LIST6: usize = LIST4 + 0x400;
export const BUCKETS: usize = LIST6 + 0x400; // u32: bucket numbers, for prefetch
export const LINES: usize = BUCKETS + 0x400; // u32: record lines, for prefetch
export const UNFOUND: usize = LINES + 0x400; // u32: Packets that the fast look-up left
export const SLOW: usize = UNFOUND + 0x400; // u32: Packets for the slow path, in packet order

// @ts-ignore: decorator
@inline
export function packetAt(list: usize, k: u32): Packet {
  return changetype<Packet>(load<u32>(list + (usize(k) << 2)));
}
