// Packets of flows, read back by the slow header reader of test/reference, and by tshark where it
// is installed: right headers, right checksums.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { buildPacket, type PacketFields } from "../../../host/cluster/packet.ts";
import { LINKTYPE_RAW, writeCapture } from "../../../host/input/pcap.ts";
import { headersOf, isFault } from "../../reference/header.ts";
import { BAD_CHECKSUM, tsharkFields, tsharkFilter, tsharkInstalled } from
  "../../reference/tshark.ts";
import { sum16 } from "../../packets.ts";

const ends = {
  4: { source: "10.65.0.1", destination: "192.0.2.200" },
  6: { source: "fd65::1", destination: "2001:db8::ff:1" },
};
const kinds: Omit<PacketFields, "source" | "destination">[] = [
  { protocol: 6, sourcePort: 40_000, port: 5432 },
  { protocol: 17, sourcePort: 65_535, port: 53 },
  { protocol: 132, sourcePort: 1, port: 3868 },
];
const icmp = (protocol: number, type: number, code: number) =>
  ({ protocol, icmp: { type, code } });
const all: PacketFields[] = ([4, 6] as const).flatMap((family) => [
  ...kinds,
  ...(family === 4
    ? [icmp(1, 8, 0), icmp(1, 0, 0), icmp(1, 3, 4), icmp(1, 13, 0), icmp(1, 255, 255)]
    : [icmp(58, 128, 0), icmp(58, 129, 0), icmp(58, 1, 3), icmp(58, 2, 0), icmp(58, 200, 1)]),
].map((kind) => ({ ...ends[family], ...kind })));

describe("flow-packets: the bytes that open a flow", () => {
  test.each(all)("%o", (fields) => {
    const bytes = buildPacket(fields);
    const headers = headersOf(bytes);
    if (isFault(headers)) return expect.unreachable(headers.fault);
    expect(headers).toMatchObject({ protocol: fields.protocol, firstFragment: false });
    if (fields.port !== undefined) {
      expect([headers.sourcePort, headers.port]).toEqual([fields.sourcePort, fields.port]);
    }
    if (fields.icmp) expect(headers.icmp).toEqual(fields.icmp);
    if (headers.family === 4) expect(sum16(bytes.subarray(0, 20))).toBe(0xffff);
  });

  test("any protocol by number; of two families none", () => {
    for (const protocol of [2, 4, 41, 47, 50, 89, 103, 112, 136, 253]) {
      const headers = headersOf(buildPacket({ ...ends[4], protocol, port: 9 }));
      expect(headers).toMatchObject({ protocol });
    }
    expect(() => buildPacket({ source: "10.0.0.1", destination: "fd00::1", protocol: 6 }))
      .toThrow(/two families/);
  });

  test.skipIf(!tsharkInstalled)("tshark finds no wrong checksum, and the fields", () => {
    const folder = mkdtempSync(join(tmpdir(), "margay-"));
    try {
      const file = join(folder, "flows.pcapng");
      const packets = all.map((fields, i) => ({
        interface: 0, timestampNs: BigInt(i), linkType: LINKTYPE_RAW, ...withBytes(fields),
      }));
      const at = { name: "any", linkType: LINKTYPE_RAW, snapLength: 0 };
      writeFileSync(file, writeCapture("pcapng", [at], packets));
      expect(tsharkFilter(file, `${BAD_CHECKSUM} || sctp.checksum.status == 0 || _ws.malformed`))
        .toEqual([]);
      const read = tsharkFields(file, ["ip.proto", "ipv6.nxt", "tcp.flags.syn", "sctp.chunk_type"]);
      expect(read).toHaveLength(all.length);
      expect(read[0]!.slice(0, 1).concat(read[0]![2]!)).toEqual(["6", "1"]);
      expect(read[2]![3]).toBe("1");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

function withBytes(fields: PacketFields): { bytes: Uint8Array; originalLength: number } {
  const bytes = buildPacket(fields);
  return { bytes, originalLength: bytes.length };
}
