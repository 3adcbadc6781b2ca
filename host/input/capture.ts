// What a capture holds, whatever its file format: the types that pcap.ts, pcapng.ts and their
// callers share, and the one error of a damaged file.
//
// Limit: a packet has at most 262,144 captured bytes, as in libpcap; more is taken for a damage.

export const LINKTYPE_ETHERNET = 1;
export const LINKTYPE_RAW = 101;
export const LINKTYPE_LINUX_SLL = 113;
export const LINKTYPE_LINUX_SLL2 = 276;

export const PACKET_BYTES_MAX = 262_144;
export const NANOSECONDS_PER_SECOND = 1_000_000_000n;

export type CaptureFormat = "pcap" | "pcapng";
export type Endian = "little" | "big";

export interface CaptureInterface {
  linkType: number;
  /** Most bytes captured of a packet; 0 = no limit. */
  snapLength: number;
  name?: string;
}

export interface CapturedPacket {
  /** Since the epoch; 0 for a simple packet block, which has none. */
  timestampNs: bigint;
  /** Index into the capture's interfaces, counted over all sections of the file. */
  interface: number;
  linkType: number;
  /** Length on the wire; `bytes` is shorter where the capture cut the packet. */
  originalLength: number;
  bytes: Uint8Array;
}

/** The file is no capture, is cut short or holds a length that can't be. */
export class CaptureError extends Error {
  constructor(readonly file: string, readonly offset: number, readonly problem: string) {
    super(`${file}: byte ${offset}: ${problem}`);
    this.name = "CaptureError";
  }
}

/** Throws where a packet of that many captured bytes can't stand in the bytes that are left. */
export function checkCaptured(captured: number, left: number, file: string, offset: number): void {
  if (captured > PACKET_BYTES_MAX) {
    const problem = `bad length: ${captured} captured bytes, at most ${PACKET_BYTES_MAX}`;
    throw new CaptureError(file, offset, problem);
  }
  if (captured > left) {
    const problem = `cut short: a packet of ${captured} captured bytes, ${left} are left`;
    throw new CaptureError(file, offset, problem);
  }
}
