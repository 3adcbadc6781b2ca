// The committed capture and what its maker asks the program: real bytes with right checksums, each
// packet from the pod that its interface belongs to, and openings that are well-formed packets.

import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MANIFESTS } from "../../examples/capture/choose.ts";
import { openingPacket } from "../../examples/capture/opening.ts";
import { SPOOFED, WORLD } from "../../examples/capture/visits.ts";
import { LINKTYPE_RAW, networkLayer, readCaptureFile, writeCapture } from
  "../../host/input/pcap.ts";
import { printTuple, readTuple } from "../../host/observe/tuple.ts";
import { stateSource } from "../../host/replay/source.ts";
import { BAD_CHECKSUM, GOOD_CHECKSUM, tsharkFilter, tsharkInstalled } from
  "../reference/tshark.ts";

const CAPTURE = "examples/capture/shop.pcapng";
const BYTES_MAX = 200_000;

if (!tsharkInstalled) console.log("skipped: checksums judged by tshark (not installed)");

describe("the capture of the shop", async () => {
  const { program, interfaces } = await stateSource([MANIFESTS], undefined);
  const capture = readCaptureFile(CAPTURE);
  const sources = (index: number): string[] => {
    const { name } = capture.interfaces[index]!;
    if (name === "eth0") return WORLD;
    const number = interfaces.get(name!);
    const owner = program.endpoints.find((one) => one.interfaces.includes(number ?? -1));
    expect(owner, `${name} is a pod's: npm run capture makes it anew`).toBeDefined();
    return owner!.addresses.map((address) => address.split("/")[0]!);
  };

  it("is whole, small, by time, and has both families and protocols", () => {
    expect(capture.error).toBeUndefined();
    expect(statSync(CAPTURE).size).toBeLessThanOrEqual(BYTES_MAX);
    const kinds = new Set<string>();
    let last = 0n;
    for (const { timestampNs, linkType, bytes } of capture.packets) {
      expect(timestampNs >= last).toBe(true);
      last = timestampNs;
      const tuple = readTuple(bytes.subarray(networkLayer(linkType, bytes)!.offset))!;
      kinds.add(`${tuple.family} ${tuple.protocol}`);
    }
    expect([...kinds].sort()).toEqual(["4 1", "4 17", "4 6", "6 17", "6 58", "6 6"]);
  });

  it("holds at each interface what that pod sent, and one spoofed visit", () => {
    const owned = capture.interfaces.map((_, index) => new Set(sources(index)));
    const foreign = capture.packets.flatMap(({ interface: index, linkType, bytes }) => {
      const { source } = readTuple(bytes.subarray(networkLayer(linkType, bytes)!.offset))!;
      return owned[index]!.has(source) ? [] : [source];
    });
    expect(new Set(foreign)).toEqual(new Set([SPOOFED]));
  });

  it.skipIf(!tsharkInstalled)("has no wrong checksum, says tshark", () => {
    expect(tsharkFilter(CAPTURE, BAD_CHECKSUM)).toEqual([]);
  });
});

describe("openings", () => {
  const openings = (["tcp", "udp"] as const).flatMap((protocol) => [
    { protocol, source: "10.244.0.2", sourcePort: 40001, destination: "10.96.0.80",
      destinationPort: 80 },
    { protocol, source: "fd00:244::2", sourcePort: 40002, destination: "fd00:96::80",
      destinationPort: 80 },
  ]);

  it("are read back as the tuple that was asked for", () => {
    expect(openings.map((one) => printTuple(readTuple(openingPacket(one))!))).toEqual([
      "tcp 10.244.0.2:40001 > 10.96.0.80:80", "tcp [fd00:244::2]:40002 > [fd00:96::80]:80",
      "udp 10.244.0.2:40001 > 10.96.0.80:80", "udp [fd00:244::2]:40002 > [fd00:96::80]:80",
    ]);
  });

  it.skipIf(!tsharkInstalled)("have the checksums that tshark wants", () => {
    const folder = mkdtempSync(join(tmpdir(), "margay-opening-"));
    try {
      const file = join(folder, "openings.pcap");
      const packets = openings.map(openingPacket).map((bytes) => ({
        timestampNs: 0n, interface: 0, linkType: LINKTYPE_RAW, originalLength: bytes.length, bytes,
      }));
      const face = { linkType: LINKTYPE_RAW, snapLength: 0 };
      writeFileSync(file, writeCapture("pcap", [face], packets));
      expect(tsharkFilter(file, BAD_CHECKSUM)).toEqual([]);
      expect(tsharkFilter(file, GOOD_CHECKSUM).length).toBe(openings.length);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
