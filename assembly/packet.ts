// The working record of a packet inside a frame, and the frame's lists. Scratch: nothing of it
// outlives process().
//
//   0      8      12      16     20        24      28       32     36          37       40
//   ┌──────┬──────┬───────┬──────┬─────────┬───────┬────────┬──────┬───────────┬────────┐
//   │ hash │ slot │window │ ports│endpoint │ entry │ session│ icmp │ protocol  │flags ..│
//   └──────┴──────┴───────┴──────┴─────────┴───────┴────────┴──────┴───────────┴────────┘
//   40       44               48      52       56         57        58        60       64
//   ┌────────┬────────────────┬───────┬────────┬──────────┬─────────┬─────────┬────────┐
//   │ sender │ destination ep.│ rule  │ backend│ decision │direction│ reason..│ length │
//   └────────┴────────────────┴───────┴────────┴──────────┴─────────┴─────────┴────────┘
//
// Ports and endpoint stand side by side as in a session's key, so that one comparison does for
// both.
import { FRAME_SCRATCH, FRAME_STAGES } from "./layout";

@unmanaged
export class Packet {
  hash: u64;
  slot: u32; // address of its slot
  window: u32; // address of its L3 header
  ports: u32; // wire order, source in the low half; ICMP's: parseIcmp()
  endpoint: u32; // identity of the sending workload or host, NO_ENDPOINT for an uplink
  entry: u32; // first candidate index entry
  session: u32; // address of the session record, 0 = none (yet)
  icmp: i32; // type << 8 | code, -1 when not ICMP
  protocol: u8;
  flags: u8; // TCP flags; FRAGMENTED for ICMPv6; 0 for others
  family: u8; // 4 or 6
  l4: u8; // offset of the L4 header in the window
  sender: u32; // address of the sending Endpoint record
  destinationEndpoint: u32; // identity of the receiving workload or host
  rule: u32; // deciding rule: policy slot << 16 | index
  backend: u32; // decide: address of the chosen Backend; then its id + 1; 0 = none
  decision: u8; // Reason of the verdict that the policies gave: Allowed or a drop's
  direction: u8; // 0 forward, 1 return
  reason: u8; // final reason; 0 = not settled
  rewritten: u8;
  length: u32; // packet length by its own header
}
export const PACKET_PORTS: usize = 16; // u64 with the endpoint
if (offsetof<Packet>() != 64) ERROR("Packet is not a cache line");
if (offsetof<Packet>("ports") != PACKET_PORTS) ERROR("Packet.ports is not at 16");
if (offsetof<Packet>("protocol") != 36) ERROR("Packet.protocol is not at 36");
if (offsetof<Packet>("rule") != 48) ERROR("Packet.rule is not at 48");
if (offsetof<Packet>("decision") != 56) ERROR("Packet.decision is not at 56");

// Frame scratch, by offset from the frame's base. u32 arrays of 256.
export const PACKETS: usize = FRAME_SCRATCH; // 256 x 64
export const LIST4: usize = PACKETS + 0x4000; // u32: addresses of Packets, in packet order
export const LIST6: usize = LIST4 + 0x400;
export const BUCKETS4: usize = LIST6 + 0x400; // u32: bucket numbers, as the lists, for prefetch
export const BUCKETS6: usize = BUCKETS4 + 0x400;
export const LINES: usize = BUCKETS6 + 0x400; // u32: record lines, for prefetch
export const UNFOUND: usize = LINES + 0x400; // u32: Packets that the fast look-up left
export const SLOW: usize = UNFOUND + 0x400; // u32: Packets for the slow path, in packet order
/** u32 pairs, IPv4 and IPv6: how many packets are listed before each chunk, and at the end. */
export const LISTED: usize = SLOW + 0x400;
/** u32: 1 once a SYN of this frame hit a session. */
export const REOPENED: usize = LISTED + 0x100;
/** u32: address of the Packet where the frame is cut, or of what is behind the last one. */
export const CUT: usize = REOPENED + 8;

// @ts-ignore: decorator
@inline
export function packetAt(list: usize, k: u32): Packet {
  return changetype<Packet>(load<u32>(list + (usize(k) << 2)));
}

/** u32 that nobody reads: what a touching loop has loaded. */
export const TOUCHED: usize = REOPENED + 4;

/** u32: 1 once a packet of this frame came from another node's passing on. */
export const PEERS: usize = REOPENED + 12;

// The fast lane's arrays, by packet.
export const HASHES: usize = REOPENED + 0x100; // upper half of the key's hash
export const ENTRIES: usize = HASHES + 0x400; // candidate index entry
export const ENDS: usize = ENTRIES + 0x400; // sender's identity
/** u32: windows of the packets that the fast lane left, in packet order. */
export const REST: usize = ENDS + 0x400;
/** A working record and a window for what is judged in a packet's stead (restored.ts). */
export const STANDIN: usize = REST + 0x400;
if (STANDIN + 0x100 > FRAME_STAGES) ERROR("a frame's scratch runs into its stages");
