// Captures: what is written is read back, in both formats and byte orders; foreign bytes, put
// together here by hand, are read as the drafts say; damages are named with their place; and
// tshark, where it is installed, reads what is written here as it was meant.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CaptureError, CaptureReader, LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2,
  LINKTYPE_RAW, networkLayer, PACKET_BYTES_MAX, readCapture, writeCapture,
} from "../../../host/input/pcap.ts";
import type { CapturedPacket, CaptureInterface, Endian } from "../../../host/input/pcap.ts";
import { tsharkFields, tsharkInstalled } from "../../reference/tshark.ts";
import { seedOf } from "../../seed.ts";

const LINK_TYPES = [LINKTYPE_ETHERNET, LINKTYPE_RAW, LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2];
const ENDIANS: Endian[] = ["little", "big"];
const linkType = fc.constantFrom(...LINK_TYPES);
const endian = fc.constantFrom(...ENDIANS);
const SECONDS_2106 = (1n << 32n) - 1n;

const content = fc.record({
  timestampNs: fc.bigInt({ min: 0n, max: SECONDS_2106 * 1_000_000_000n }),
  bytes: fc.uint8Array({ maxLength: 200 }),
  beyond: fc.nat(3000),
});

/** Interfaces and packets that fit them. */
const capture = fc
  .array(fc.record({ linkType, name: fc.option(fc.string({ unit: "grapheme", minLength: 1 })) }),
    { minLength: 1, maxLength: 4 })
  .chain((faces) => fc.record({
    interfaces: fc.constant(faces.map(({ linkType, name }): CaptureInterface =>
      name === null ? { linkType, snapLength: 0 } : { linkType, snapLength: 0, name })),
    packets: fc.array(fc.tuple(content, fc.nat(faces.length - 1)), { maxLength: 20 })
      .map((all) => all.map(([{ timestampNs, bytes, beyond }, index]): CapturedPacket => ({
        timestampNs,
        interface: index,
        linkType: faces[index]!.linkType,
        originalLength: bytes.length + beyond,
        bytes,
      }))),
  }));

function plain(packets: CapturedPacket[]): CapturedPacket[] {
  return packets.map((packet) => ({ ...packet, bytes: Uint8Array.from(packet.bytes) }));
}

function packet(bytes: number[], timestampNs = 0n, index = 0, type = LINKTYPE_RAW): CapturedPacket {
  const packetBytes = Uint8Array.from(bytes);
  return {
    timestampNs, interface: index, linkType: type, originalLength: bytes.length, bytes: packetBytes,
  };
}

describe("pcap-formats: captures round-trip", () => {
  it("pcapng, both byte orders, several interfaces", () => {
    fc.assert(fc.property(capture, endian, ({ interfaces, packets }, endian) => {
      const read = readCapture(writeCapture("pcapng", interfaces, packets, { endian }), "a.pcapng");
      expect(read.error).toBeUndefined();
      expect(read.format).toBe("pcapng");
      expect(read.interfaces).toEqual(interfaces);
      expect(plain(read.packets)).toEqual(packets);
    }), { seed: seedOf("FUZZ_SEED") });
  });

  it("pcap, both byte orders, nanoseconds and microseconds", () => {
    const input = fc.tuple(fc.array(content, { maxLength: 20 }), linkType, endian, fc.boolean());
    fc.assert(fc.property(input, ([contents, linkType, endian, microseconds]) => {
      const packets = contents.map(({ timestampNs, bytes, beyond }) => ({
        timestampNs, interface: 0, linkType, originalLength: bytes.length + beyond, bytes,
      }));
      const faces = [{ linkType, snapLength: PACKET_BYTES_MAX }];
      const written = writeCapture("pcap", faces, packets, { endian, microseconds });
      const read = readCapture(written, "a.pcap");
      const unitNs = microseconds ? 1000n : 1n;
      expect(read.error).toBeUndefined();
      expect(read.interfaces).toEqual(faces);
      expect(plain(read.packets)).toEqual(packets.map((one) => ({
        ...one, timestampNs: (one.timestampNs / unitNs) * unitNs,
      })));
    }), { seed: seedOf("FUZZ_SEED") });
  });

  it("a file cut anywhere gives the packets before the cut, and the place", () => {
    const format = fc.constantFrom("pcap" as const, "pcapng" as const);
    fc.assert(fc.property(capture, format, endian, fc.nat(), (made, format, endian, cutAt) => {
      const packets = format === "pcap"
        ? made.packets.filter((one) => one.interface === 0) : made.packets;
      const faces = format === "pcap" ? made.interfaces.slice(0, 1) : made.interfaces;
      const whole = writeCapture(format, faces, packets, { endian });
      const cut = cutAt % whole.length;
      const read = readCapture(whole.subarray(0, cut), "cut");
      expect(plain(read.packets)).toEqual(packets.slice(0, read.packets.length));
      if (read.error === undefined) {
        // Cut between two packets: nothing shows that there was more.
        const again = writeCapture(format, read.interfaces, read.packets, { endian });
        expect(again.length).toBe(cut);
      } else {
        expect(read.error.file).toBe("cut");
        expect(read.error.offset).toBeLessThanOrEqual(cut);
        expect(read.error.message).toMatch(/^cut: byte \d+: (cut short|no capture|bad section)/);
      }
    }), { seed: seedOf("FUZZ_SEED") });
  });

  it("arbitrary damage never throws but as a capture error", () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 });
    fc.assert(fc.property(capture, endian, damage, ({ interfaces, packets }, endian, damage) => {
      const bytes = writeCapture("pcapng", interfaces, packets, { endian });
      for (const [at, value] of damage) bytes[at % bytes.length] = value;
      const read = readCapture(bytes, "damaged");
      for (const one of read.packets) expect(one.bytes.length).toBeLessThanOrEqual(bytes.length);
    }), { seed: seedOf("FUZZ_SEED") });
  });
});

// Bytes put together by hand, so that a fault shared by reader and writer shows.
function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replace(/\s|\|/g, ""), "hex"));
}

describe("pcap-formats: captures by hand", () => {
  it("a big-endian pcap in microseconds", () => {
    const read = readCapture(hex(`
      a1b2c3d4 0002 0004 00000000 00000000 00040000 00000065
      00000002 00000003 00000004 00000009 45aabbcc`), "hand.pcap");
    expect(read.error).toBeUndefined();
    expect(read.interfaces).toEqual([{ linkType: LINKTYPE_RAW, snapLength: 0x40000 }]);
    expect(plain(read.packets)).toEqual([
      { ...packet([0x45, 0xaa, 0xbb, 0xcc], 2_000_003_000n), originalLength: 9 },
    ]);
  });

  it("pcapng: two sections, byte orders, resolutions, offsets, unknown blocks",
    () => {
      const read = readCapture(hex(`
        0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffffffffffff 0000001c
        00000001 00000038 0001 0000 00000000
          0002 0003 65746800 | 0001 0002 68690000 | 0009 0001 8a000000
          000e 0008 0000000000000064 | 00000038
        00000bad 00000010 deadbeef 00000010
        00000006 00000024 00000000 00000000 00000800 00000002 00000002 abcd0000 00000024
        0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000
        01000000 14000000 6500 0000 03000000 14000000
        03000000 14000000 09000000 45010200 14000000`), "hand.pcapng");
      expect(read.error).toBeUndefined();
      expect(read.interfaces).toEqual([
        { linkType: LINKTYPE_ETHERNET, snapLength: 0, name: "eth" },
        { linkType: LINKTYPE_RAW, snapLength: 3 },
      ]);
      // 2^-10 s units: 2048 are 2 s; 100 s are added.
      expect(plain(read.packets)).toEqual([
        packet([0xab, 0xcd], 102_000_000_000n, 0, LINKTYPE_ETHERNET),
        { ...packet([0x45, 0x01, 0x02], 0n, 1), originalLength: 9 },
      ]);
    });

  const section = "0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000";
  const face = "01000000 14000000 6500 0000 00000000 14000000";
  const header = "d4c3b2a1 0200 0400 00000000 00000000 00000400 65000000";
  const good = "01000000 00000000 01000000 01000000 45";
  const damages: [string, string, number, number, RegExp][] = [
    ["an empty file", "", 0, 0, /no capture: the file has 0 bytes/],
    ["another file", "7f454c46 00000000", 0, 0, /no capture: starts with 0x7f454c46/],
    ["a short pcap header", "d4c3b2a1 0200", 0, 0, /cut short: 6 of 24 bytes of the file header/],
    ["another pcap version", header.replace("0200", "0300"), 4, 0, /pcap version 3.4/],
    ["a cut record header", `${header} ${good} 0100`, 41, 1, /cut short: 2 of 16/],
    ["a length past the end", `${header} ${good} 01000000 00000000 05000000 05000000 45`,
      41, 1, /cut short: a packet of 5 captured bytes, 1 are left/],
    ["an absurd length", `${header} ${good} 01000000 00000000 ffffff7f 05000000 45`,
      41, 1, /bad length: 2147483647 captured bytes, at most 262144/],
    ["a block length that is no multiple of 4", `${section} 01000000 15000000 00000000 15000000`,
      32, 0, /bad length: a block of 21 bytes/],
    ["a block length of 0", `${section} 01000000 00000000 00000000 00000000`, 32, 0, /of 0 bytes/],
    ["two lengths that differ", `${section} 01000000 14000000 6500 0000 00000000 18000000`,
      44, 0, /a block of 20 bytes ends with the length 24/],
    ["no byte-order magic", section.replace("4d3c2b1a", "00000000"), 8, 0, /no byte-order magic/],
    ["another pcapng version", section.replace("0100", "0200"), 12, 0, /pcapng version 2.0/],
    ["an interface nobody described", `${section} ${face}
      06000000 20000000 01000000 00000000 00000000 00000000 00000000 20000000`,
      48, 0, /a packet of interface 1, the section describes 1/],
    ["more captured bytes than the block has", `${section} ${face}
      06000000 20000000 00000000 00000000 00000000 01000000 01000000 20000000`,
      48, 0, /cut short: a packet of 1 captured bytes, 0 are left/],
    ["an option past its block", `${section} 01000000 1c000000 6500 0000 00000000
      0200 0900 61626300 1c000000`, 44, 0, /option 2 of 9 bytes, 4 are left/],
  ];
  it.each(damages)("%s is named with its place",
    (_name, text, offset, packets, problem) => {
      const read = readCapture(hex(text), "bad.cap");
      expect(read.error).toBeInstanceOf(CaptureError);
      expect(read.error!.message).toMatch(problem);
      expect(read.error!.message.startsWith(`bad.cap: byte ${offset}: `)).toBe(true);
      expect(read.packets.length).toBe(packets);
    });

  it("the reader is lazy: packets before a damage come out first", () => {
    const walk = new CaptureReader(hex(`${header} ${good} 0100`), "lazy.pcap")[Symbol.iterator]();
    expect(walk.next().done).toBe(false);
    expect(() => walk.next()).toThrow(CaptureError);
  });

  it("the writer refuses what a format can't hold", () => {
    const two = [
      { linkType: LINKTYPE_RAW, snapLength: 0 }, { linkType: LINKTYPE_ETHERNET, snapLength: 0 },
    ];
    const raw = two.slice(0, 1);
    expect(() => writeCapture("pcap", two, [])).toThrow("pcap holds one link type, not 101 and 1");
    expect(() => writeCapture("pcap", raw, [packet([1], 1n << 63n)])).toThrow("doesn't fit a pcap");
    expect(() => writeCapture("pcapng", raw, [packet([1], 0n, 3)])).toThrow("interface 3");
    expect(() => writeCapture("pcapng", raw, [packet([1], 0n, 0, LINKTYPE_ETHERNET)]))
      .toThrow("link type 1 at interface 0 of 101");
  });
});

describe("the network layer", () => {
  const ethernet = "ffffffffffff 020000000001";
  const sll = "0000 0001 0006 0200000000010000";
  const layers: [string, number, string, number, number][] = [
    ["Ethernet, IPv4", LINKTYPE_ETHERNET, `${ethernet} 0800 45`, 14, 4],
    ["Ethernet, IPv6", LINKTYPE_ETHERNET, `${ethernet} 86dd 60`, 14, 6],
    ["one VLAN tag", LINKTYPE_ETHERNET, `${ethernet} 8100 0005 0800 45`, 18, 4],
    ["two VLAN tags", LINKTYPE_ETHERNET, `${ethernet} 88a8 0005 8100 0006 86dd 60`, 22, 6],
    ["raw IPv4", LINKTYPE_RAW, "45", 0, 4],
    ["raw IPv6", LINKTYPE_RAW, "60", 0, 6],
    ["SLL", LINKTYPE_LINUX_SLL, `${sll} 0800 45`, 16, 4],
    ["SLL2", LINKTYPE_LINUX_SLL2, "86dd 0000 00000002 0001 00 06 0200000000010000 60", 20, 6],
  ];
  it.each(layers)("%s", (_name, type, text, offset, family) => {
    const bytes = hex(text);
    expect(networkLayer(type, bytes)).toEqual({ offset, family });
    for (let length = 0; length <= offset; length += 1) {
      expect(networkLayer(type, bytes.subarray(0, length))).toBeUndefined();
    }
  });

  const none: [string, number, string][] = [
    ["ARP", LINKTYPE_ETHERNET, `${ethernet} 0806 00`],
    ["802.3 with LLC", LINKTYPE_ETHERNET, `${ethernet} 0026 42`],
    ["raw, version 5", LINKTYPE_RAW, "55"],
    ["another link type", 105, `${ethernet} 0800 45`],
  ];
  it.each(none)("%s is no IP packet", (_name, type, text) => {
    expect(networkLayer(type, hex(text))).toBeUndefined();
  });
});

if (!tsharkInstalled) console.log("skipped: captures judged by tshark (not installed)");

describe.skipIf(!tsharkInstalled)("tshark reads what is written", () => {
  const contents = [
    { timestampNs: 1_700_000_000_123_456_789n, bytes: hex("45000014000000004011000001020304"),
      originalLength: 20 },
    { timestampNs: 1_700_000_001_000_000_001n, bytes: hex("6000"), originalLength: 2 },
  ];
  const cases = ENDIANS.flatMap((endian) => [
    { format: "pcap" as const, endian, microseconds: false },
    { format: "pcap" as const, endian, microseconds: true },
    { format: "pcapng" as const, endian, microseconds: false },
  ]);
  it.each(cases)("$format, $endian, microseconds $microseconds",
    ({ format, endian, microseconds }) => {
      const faces = [LINKTYPE_RAW, LINKTYPE_RAW].map((linkType, index) =>
        ({ linkType, snapLength: 0, name: `pod-${index}` }));
      const packets = contents.map((one, index) => ({
        ...one, interface: format === "pcap" ? 0 : index, linkType: LINKTYPE_RAW,
      }));
      const folder = mkdtempSync(join(tmpdir(), "margay-pcap-"));
      try {
        const file = join(folder, "a.cap");
        writeFileSync(file, writeCapture(format, faces, packets, { endian, microseconds }));
        const fields = ["time_epoch", "len", "cap_len", ...(format === "pcapng" ?
          ["interface_name"] : [])];
        const lines = tsharkFields(file, fields.map((field) => `frame.${field}`));
        const name = (index: number) => (format === "pcapng" ? [`pod-${index}`] : []);
        expect(lines).toEqual([
          [microseconds ? "1700000000.123456000" : "1700000000.123456789", "20", "16", ...name(0)],
          [microseconds ? "1700000001.000000000" : "1700000001.000000001", "2", "2", ...name(1)],
        ]);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
});
