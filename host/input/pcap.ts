// Captures: one reader and one writer for pcap and pcapng, by the first four bytes of the file.
//
//   file ─► CaptureReader ─► CapturedPacket ─► networkLayer(): where the IP header starts
//   packets + interfaces ─► writeCapture("pcap" | "pcapng") ─► file
//
// The reader is lazy: it yields a packet at a time, so what stands before a damage is never lost;
// the damage itself is a CaptureError with the file's name and the byte offset of the damaged part.
//
// Limits: a file is held in memory (at most 2 GiB: Node's limit on a read). In pcap a timestamp is
// unsigned 32-bit seconds.
// Source: draft-ietf-opsawg-pcap (pcap 2.4), draft-ietf-opsawg-pcapng (pcapng 1.0).

import { readFileSync } from "node:fs";
import {
  CaptureError, checkCaptured, LINKTYPE_ETHERNET, NANOSECONDS_PER_SECOND, PACKET_BYTES_MAX,
} from "./capture.ts";
import type { CapturedPacket, CaptureFormat, CaptureInterface, Endian } from "./capture.ts";
import { isPcapng, readPcapng, writePcapng } from "./pcapng.ts";

export * from "./capture.ts";
export { networkLayer } from "./link.ts";

/** Walks a capture once; `interfaces` is filled as they come up in the file. */
export class CaptureReader implements Iterable<CapturedPacket> {
  readonly interfaces: CaptureInterface[] = [];
  readonly format: CaptureFormat;

  private readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array, readonly file: string) {
    // A plain view: slice() of a Buffer, unlike a Uint8Array's, doesn't copy.
    this.bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.format = isPcapng(bytes) ? "pcapng" : "pcap";
  }

  /** Each walk starts at the beginning and fills `interfaces` anew. */
  [Symbol.iterator](): Generator<CapturedPacket, void> {
    this.interfaces.length = 0;
    const read = this.format === "pcapng" ? readPcapng : readPcap;
    return read(this.bytes, this.file, this.interfaces);
  }
}

export interface Capture {
  format: CaptureFormat;
  interfaces: CaptureInterface[];
  packets: CapturedPacket[];
  /** Why reading ended before the file's end; the packets before it are all here. */
  error: CaptureError | undefined;
}

/** Reads all that can be read. */
export function readCapture(bytes: Uint8Array, file: string): Capture {
  const reader = new CaptureReader(bytes, file);
  const packets: CapturedPacket[] = [];
  let error: CaptureError | undefined;
  try {
    for (const packet of reader) packets.push(packet);
  } catch (thrown) {
    if (!(thrown instanceof CaptureError)) throw thrown;
    error = thrown;
  }
  return { format: reader.format, interfaces: reader.interfaces, packets, error };
}

/** As readCapture; a file that can't be opened at all throws Node's own error. */
export function readCaptureFile(path: string): Capture {
  return readCapture(readFileSync(path), path);
}

export interface WriteOptions {
  endian?: Endian;
  /** pcap only: microseconds, as old tools want them; pcapng and the default have nanoseconds. */
  microseconds?: boolean;
}

/** The bytes of a capture file. pcap knows one link type and no interface names. */
export function writeCapture(
  format: CaptureFormat,
  interfaces: CaptureInterface[],
  packets: Iterable<CapturedPacket>,
  options: WriteOptions = {},
): Uint8Array {
  if (format === "pcapng") return writePcapng(interfaces, packets, options.endian ?? "little");
  return writePcap(interfaces, packets, options);
}

// ---- pcap ---------------------------------------------------------------------------------------
//  header, 24 bytes: magic u32, major u16, minor u16, 8 unused, snap length u32, link type u32
//  record, 16 bytes: seconds u32, fraction u32, captured length u32, original length u32; bytes

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const HEADER_BYTES = 24;
const RECORD_BYTES = 16;
const SECONDS_END = 1n << 32n;

interface PcapKind {
  little: boolean;
  /** Nanoseconds in one unit of a record's fraction. */
  unitNs: bigint;
}

function pcapKind(view: DataView): PcapKind | undefined {
  for (const little of [true, false]) {
    const magic = view.getUint32(0, little);
    if (magic === MAGIC_MICROSECONDS) return { little, unitNs: 1000n };
    if (magic === MAGIC_NANOSECONDS) return { little, unitNs: 1n };
  }
  return undefined;
}

function pcapHeader(view: DataView, file: string): PcapKind & { face: CaptureInterface } {
  if (view.byteLength < 4) {
    throw new CaptureError(file, 0, `no capture: the file has ${view.byteLength} bytes`);
  }
  const kind = pcapKind(view);
  if (kind === undefined) {
    const magic = view.getUint32(0).toString(16).padStart(8, "0");
    throw new CaptureError(file, 0, `no capture: starts with 0x${magic}, not pcap or pcapng`);
  }
  if (view.byteLength < HEADER_BYTES) {
    const problem = `cut short: ${view.byteLength} of ${HEADER_BYTES} bytes of the file header`;
    throw new CaptureError(file, 0, problem);
  }
  const major = view.getUint16(4, kind.little);
  const minor = view.getUint16(6, kind.little);
  if (major !== 2 || minor !== 4) {
    throw new CaptureError(file, 4, `pcap version ${major}.${minor}, only 2.4 is read`);
  }
  // The upper half of the word tells of a frame check sequence, which nothing here needs.
  const linkType = view.getUint32(20, kind.little) & 0xffff;
  return { ...kind, face: { linkType, snapLength: view.getUint32(16, kind.little) } };
}

function* readPcap(
  bytes: Uint8Array,
  file: string,
  interfaces: CaptureInterface[],
): Generator<CapturedPacket, void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { little, unitNs, face } = pcapHeader(view, file);
  interfaces.push(face);
  let offset = HEADER_BYTES;
  while (offset < bytes.length) {
    const left = bytes.length - offset;
    if (left < RECORD_BYTES) {
      const problem = `cut short: ${left} of ${RECORD_BYTES} bytes of a record header`;
      throw new CaptureError(file, offset, problem);
    }
    const captured = view.getUint32(offset + 8, little);
    checkCaptured(captured, left - RECORD_BYTES, file, offset);
    const seconds = BigInt(view.getUint32(offset, little));
    const fraction = BigInt(view.getUint32(offset + 4, little));
    const start = offset + RECORD_BYTES;
    yield {
      timestampNs: seconds * NANOSECONDS_PER_SECOND + fraction * unitNs,
      interface: 0,
      linkType: face.linkType,
      originalLength: view.getUint32(offset + 12, little),
      bytes: bytes.subarray(start, start + captured),
    };
    offset = start + captured;
  }
}

function writePcap(
  interfaces: CaptureInterface[],
  packets: Iterable<CapturedPacket>,
  options: WriteOptions,
): Uint8Array {
  const little = options.endian !== "big";
  const unitNs = options.microseconds ? 1000n : 1n;
  const linkType = interfaces[0]?.linkType ?? LINKTYPE_ETHERNET;
  const other = interfaces.find((one) => one.linkType !== linkType);
  if (other !== undefined) {
    throw new RangeError(`pcap holds one link type, not ${linkType} and ${other.linkType}: pcapng`);
  }
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  header.setUint32(0, unitNs === 1n ? MAGIC_NANOSECONDS : MAGIC_MICROSECONDS, little);
  header.setUint16(4, 2, little);
  header.setUint16(6, 4, little);
  header.setUint32(16, PACKET_BYTES_MAX, little);
  header.setUint32(20, linkType, little);
  const parts: Uint8Array[] = [new Uint8Array(header.buffer)];
  for (const packet of packets) {
    if (packet.linkType !== linkType) {
      throw new RangeError(`a packet of link type ${packet.linkType} in a pcap of ${linkType}`);
    }
    const ns = packet.timestampNs;
    if (ns < 0n || ns >= SECONDS_END * NANOSECONDS_PER_SECOND) {
      throw new RangeError(`a timestamp of ${ns} ns doesn't fit a pcap: pcapng`);
    }
    const record = new DataView(new ArrayBuffer(RECORD_BYTES));
    record.setUint32(0, Number(ns / NANOSECONDS_PER_SECOND), little);
    record.setUint32(4, Number((ns % NANOSECONDS_PER_SECOND) / unitNs), little);
    record.setUint32(8, packet.bytes.length, little);
    record.setUint32(12, packet.originalLength, little);
    parts.push(new Uint8Array(record.buffer), packet.bytes);
  }
  return Buffer.concat(parts);
}
