// What only some packets need beside their Packet: fragments, quoted packets, SNAT, answers. One
// cache line each, as Packets; cleared with them. Scratch: nothing of it outlives process().
import { FRAME_DETAILS } from "./layout";
import { Packet, PACKETS } from "./packet";

@unmanaged
export class Detail {
  /** The source that SNAT puts in, wire order; IPv4 in the first four bytes. */
  snatFirst: u64;
  snatLast: u64;
  /** enum Translation */
  translation: u8;
  /** enum Part: of a fragmented packet, which part */
  part: u8;
  /** Offset in the window of the packet that an ICMP error quotes, 0 = it is none. */
  quoted: u8;
  /** Offset of the quoted packet's upper header. */
  quotedL4: u8;
  /** Protocol of the quoted packet. */
  quotedProtocol: u8;
  /** enum Answer */
  answer: u8;
  /** Number of the node that it goes on to (DSR), 0 = none. */
  peer: u16;
  /** The identification that the fragments of a packet share. */
  fragment: u32;
  /** The quoted packet's ports turned round: those of the direction that the error goes in. */
  quotedPorts: u32;
  /** Address of the frontend that led to the backend, 0 = none. */
  frontend: u32;
  /** Of a packet that meets a restored session: the rule, and what was decided of the session. */
  readmissionRule: u32;
  readmission: u8;
  /** 1: it leaves as it is, being translated already (leaving.ts). */
  asItIs: u8;
  pad1: u16;
  pad3: u32;
  pad2: u64;
}
if (offsetof<Detail>() > 64) ERROR("Detail is longer than a cache line");

/** Where source NAT comes from. */
export const enum Translation { None, Masquerade }
/** A whole packet, the first of its fragments, a later one. */
export const enum Part { Whole, First, Later }
/** How a packet that is not let through is answered. */
export const enum Answer { None, Reject }

// @ts-ignore: decorator
@inline
export function detailOf(p: Packet): Detail {
  return changetype<Detail>(changetype<usize>(p) + (FRAME_DETAILS - PACKETS));
}
