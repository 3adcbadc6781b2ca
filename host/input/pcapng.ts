// pcapng: the block format of captures. Callers come in by pcap.ts.
//
//  ┌──────────┬──────────────┬────────────────────────────┬──────────────┐
//  │ type u32 │ length u32   │ body, padded to 4          │ length again │   a block
//  └──────────┴──────────────┴────────────────────────────┴──────────────┘
//  section header ─► interface description (0, 1, ...) ─► packets ... ─► section header ─► ...
//
// A section sets the byte order and starts its interfaces at 0 again; the reader counts them on
// over the whole file. Blocks and options that it doesn't know are skipped by their length.
//
// Limits: of the options only if_name, if_tsresol and if_tsoffset are read; a resolution finer than
// a nanosecond is cut to it. The obsolete packet block (type 2) is skipped as unknown.
// Source: draft-ietf-opsawg-pcapng (pcapng 1.0).

import { CaptureError, checkCaptured, NANOSECONDS_PER_SECOND } from "./capture.ts";
import type { CapturedPacket, CaptureInterface, Endian } from "./capture.ts";

const BLOCK_SECTION = 0x0a0d0d0a; // reads the same in both byte orders
const BLOCK_INTERFACE = 1;
const BLOCK_SIMPLE_PACKET = 3;
const BLOCK_ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const BLOCK_BYTES_MIN = 12;
const OPTION_END = 0;
const OPTION_IF_NAME = 2;
const OPTION_IF_TSRESOL = 9;
const OPTION_IF_TSOFFSET = 14;
const MICROSECONDS_PER_SECOND = 1_000_000n;
const TSRESOL_NANOSECONDS = 9;

interface SectionInterface {
  /** Index over the whole file. */
  index: number;
  face: CaptureInterface;
  unitsPerSecond: bigint;
  offsetSeconds: bigint;
}

/** A block's body stands at start..end, without the type and the two lengths. */
interface Block {
  offset: number;
  type: number;
  start: number;
  end: number;
}

/** The file and the section being read. */
interface Section {
  bytes: Uint8Array;
  view: DataView;
  file: string;
  little: boolean;
  interfaces: SectionInterface[];
}

export function isPcapng(bytes: Uint8Array): boolean {
  return bytes.length >= 4 &&
    new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) === BLOCK_SECTION;
}

export function* readPcapng(
  bytes: Uint8Array,
  file: string,
  interfaces: CaptureInterface[],
): Generator<CapturedPacket, void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const section: Section = { bytes, view, file, little: true, interfaces: [] };
  let offset = 0;
  while (offset < bytes.length) {
    const block = readBlock(section, offset);
    if (block.type === BLOCK_INTERFACE) {
      const one = readInterface(section, block, interfaces.length);
      section.interfaces.push(one);
      interfaces.push(one.face);
    } else if (block.type === BLOCK_ENHANCED_PACKET) {
      yield readEnhancedPacket(section, block);
    } else if (block.type === BLOCK_SIMPLE_PACKET) {
      yield readSimplePacket(section, block);
    }
    offset = block.end + 4;
  }
}

function readBlock(section: Section, offset: number): Block {
  const { view, file } = section;
  const left = view.byteLength - offset;
  if (left < BLOCK_BYTES_MIN) {
    throw new CaptureError(file, offset, `cut short: ${left} bytes, a block has at least 12`);
  }
  const type = view.getUint32(offset, section.little);
  if (type === BLOCK_SECTION) startSection(section, offset);
  const length = view.getUint32(offset + 4, section.little);
  if (length < BLOCK_BYTES_MIN || length % 4 !== 0) {
    const problem = `bad length: a block of ${length} bytes, not a multiple of 4 from 12 on`;
    throw new CaptureError(file, offset + 4, problem);
  }
  if (length > left) {
    throw new CaptureError(file, offset, `cut short: a block of ${length} bytes, ${left} are left`);
  }
  const end = offset + length - 4;
  const again = view.getUint32(end, section.little);
  if (again !== length) {
    const problem = `bad length: a block of ${length} bytes ends with the length ${again}`;
    throw new CaptureError(file, end, problem);
  }
  const block = { offset, type, start: offset + 8, end };
  if (type === BLOCK_SECTION) checkVersion(section, block);
  return block;
}

/** The byte order stands inside the block whose length it decides: it has to be read first. */
function startSection(section: Section, offset: number): void {
  const { view, file } = section;
  section.interfaces = [];
  for (const little of [true, false]) {
    if (view.getUint32(offset + 8, little) === BYTE_ORDER_MAGIC) {
      section.little = little;
      return;
    }
  }
  throw new CaptureError(file, offset + 8, "bad section header: no byte-order magic");
}

function checkVersion(section: Section, block: Block): void {
  needBody(section, block, 16, "section header");
  const major = section.view.getUint16(block.start + 4, section.little);
  if (major === 1) return;
  const minor = section.view.getUint16(block.start + 6, section.little);
  const problem = `pcapng version ${major}.${minor}, only 1.x is read`;
  throw new CaptureError(section.file, block.start + 4, problem);
}

function needBody(section: Section, block: Block, bytes: number, what: string): void {
  const has = block.end - block.start;
  if (has >= bytes) return;
  const problem = `bad length: ${what} with a body of ${has} bytes, at least ${bytes}`;
  throw new CaptureError(section.file, block.offset, problem);
}

function readInterface(section: Section, block: Block, index: number): SectionInterface {
  needBody(section, block, 8, "an interface description");
  const { view, bytes, little } = section;
  const one: SectionInterface = {
    index,
    face: {
      linkType: view.getUint16(block.start, little),
      snapLength: view.getUint32(block.start + 4, little),
    },
    unitsPerSecond: MICROSECONDS_PER_SECOND,
    offsetSeconds: 0n,
  };
  for (const { code, start, length } of readOptions(section, block.start + 8, block.end)) {
    if (code === OPTION_IF_NAME) {
      one.face.name = Buffer.from(bytes.subarray(start, start + length)).toString("utf8");
    } else if (code === OPTION_IF_TSRESOL && length === 1) {
      one.unitsPerSecond = resolution(view.getUint8(start));
    } else if (code === OPTION_IF_TSOFFSET && length === 8) {
      one.offsetSeconds = view.getBigInt64(start, little);
    }
  }
  return one;
}

/** The top bit chooses between a power of 2 and of 10. */
function resolution(value: number): bigint {
  const exponent = BigInt(value & 0x7f);
  return (value & 0x80) !== 0 ? 2n ** exponent : 10n ** exponent;
}

function* readOptions(
  section: Section,
  from: number,
  end: number,
): Generator<{ code: number; start: number; length: number }> {
  const { view, file, little } = section;
  let at = from;
  while (at + 4 <= end) {
    const code = view.getUint16(at, little);
    const length = view.getUint16(at + 2, little);
    if (code === OPTION_END) return;
    const start = at + 4;
    if (start + length > end) {
      const problem = `bad length: option ${code} of ${length} bytes, ${end - start} are left`;
      throw new CaptureError(file, at, problem);
    }
    yield { code, start, length };
    at = start + padded(length);
  }
}

function sectionInterface(section: Section, block: Block, index: number): SectionInterface {
  const one = section.interfaces[index];
  if (one !== undefined) return one;
  const problem = `a packet of interface ${index}, the section describes ` +
    `${section.interfaces.length}`;
  throw new CaptureError(section.file, block.offset, problem);
}

function readEnhancedPacket(section: Section, block: Block): CapturedPacket {
  needBody(section, block, 20, "an enhanced packet");
  const { view, little, file } = section;
  const { start } = block;
  const one = sectionInterface(section, block, view.getUint32(start, little));
  const high = BigInt(view.getUint32(start + 4, little));
  const units = (high << 32n) | BigInt(view.getUint32(start + 8, little));
  const captured = view.getUint32(start + 12, little);
  checkCaptured(captured, block.end - start - 20, file, block.offset);
  return {
    timestampNs: one.offsetSeconds * NANOSECONDS_PER_SECOND +
      (units * NANOSECONDS_PER_SECOND) / one.unitsPerSecond,
    interface: one.index,
    linkType: one.face.linkType,
    originalLength: view.getUint32(start + 16, little),
    bytes: section.bytes.subarray(start + 20, start + 20 + captured),
  };
}

/**
 * It names neither interface nor captured length: both follow from the section's first interface.
 */
function readSimplePacket(section: Section, block: Block): CapturedPacket {
  needBody(section, block, 4, "a simple packet");
  const one = sectionInterface(section, block, 0);
  const originalLength = section.view.getUint32(block.start, section.little);
  const { snapLength } = one.face;
  const captured = snapLength === 0 ? originalLength : Math.min(originalLength, snapLength);
  const start = block.start + 4;
  checkCaptured(captured, block.end - start, section.file, block.offset);
  return {
    timestampNs: 0n,
    interface: one.index,
    linkType: one.face.linkType,
    originalLength,
    bytes: section.bytes.subarray(start, start + captured),
  };
}

// ---- Writing ------------------------------------------------------------------------------------

export function writePcapng(
  interfaces: CaptureInterface[],
  packets: Iterable<CapturedPacket>,
  endian: Endian,
): Uint8Array {
  const little = endian === "little";
  const parts = [sectionHeader(little)];
  for (const face of interfaces) parts.push(interfaceDescription(face, little));
  for (const packet of packets) {
    const face = interfaces[packet.interface];
    if (face === undefined) {
      const many = `${interfaces.length} interfaces`;
      throw new RangeError(`a packet of interface ${packet.interface}, the capture has ${many}`);
    }
    if (face.linkType !== packet.linkType) {
      const problem = `a packet of link type ${packet.linkType} at interface ${packet.interface}`;
      throw new RangeError(`${problem} of ${face.linkType}`);
    }
    parts.push(enhancedPacket(packet, little));
  }
  return Buffer.concat(parts);
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

function newBlock(type: number, bodyBytes: number, little: boolean): DataView {
  const length = BLOCK_BYTES_MIN + padded(bodyBytes);
  const view = new DataView(new ArrayBuffer(length));
  view.setUint32(0, type, little);
  view.setUint32(4, length, little);
  view.setUint32(length - 4, length, little);
  return view;
}

function sectionHeader(little: boolean): Uint8Array {
  const view = newBlock(BLOCK_SECTION, 16, little);
  view.setUint32(8, BYTE_ORDER_MAGIC, little);
  view.setUint16(12, 1, little);
  view.setBigInt64(16, -1n, little); // the section's length, not said
  return new Uint8Array(view.buffer);
}

function interfaceDescription(face: CaptureInterface, little: boolean): Uint8Array {
  const name = Buffer.from(face.name ?? "", "utf8");
  const nameBytes = face.name === undefined ? 0 : 4 + padded(name.length);
  const view = newBlock(BLOCK_INTERFACE, 8 + nameBytes + 8 + 4, little);
  view.setUint16(8, face.linkType, little);
  view.setUint32(12, face.snapLength, little);
  const block = new Uint8Array(view.buffer);
  if (face.name !== undefined) {
    view.setUint16(16, OPTION_IF_NAME, little);
    view.setUint16(18, name.length, little);
    block.set(name, 20);
  }
  const at = 16 + nameBytes;
  view.setUint16(at, OPTION_IF_TSRESOL, little);
  view.setUint16(at + 2, 1, little);
  view.setUint8(at + 4, TSRESOL_NANOSECONDS);
  return block; // the last option, end, is four bytes of zero
}

function enhancedPacket(packet: CapturedPacket, little: boolean): Uint8Array {
  const view = newBlock(BLOCK_ENHANCED_PACKET, 20 + packet.bytes.length, little);
  view.setUint32(8, packet.interface, little);
  view.setUint32(12, Number(packet.timestampNs >> 32n), little);
  view.setUint32(16, Number(packet.timestampNs & 0xffff_ffffn), little);
  view.setUint32(20, packet.bytes.length, little);
  view.setUint32(24, packet.originalLength, little);
  const block = new Uint8Array(view.buffer);
  block.set(packet.bytes, 28);
  return block;
}
