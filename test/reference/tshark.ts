// tshark as a judge of captures: it reads them by code that shares nothing with this repository.

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LINKTYPE_RAW, writeCapture } from "../../host/input/pcap.ts";

/** False where it isn't installed: a suite then skips and says so. */
export const tsharkInstalled = spawnSync("tshark", ["--version"]).status === 0;

/**
 * A display filter for packets with a checksum that is wrong. Not SCTP's where an ICMP error quotes
 * it: tshark sums what is left of a packet that is quoted in part.
 */
export const BAD_CHECKSUM = ["ip", "tcp", "udp", "icmp", "icmpv6"]
  .map((name) => `${name}.checksum.status == 0`)
  .concat("(sctp.checksum.status == 0 && !icmp && !icmpv6)").join(" || ");
/** And for those whose transport checksum was checked and is right. */
export const GOOD_CHECKSUM = ["tcp", "udp", "sctp", "icmp", "icmpv6"]
  .map((name) => `${name}.checksum.status == 1`).join(" || ");

const CHECKED = ["ip", "tcp", "udp"].flatMap((name) => ["-o", `${name}.check_checksum:TRUE`])
  .concat("-o", "sctp.checksum:CRC 32c");

function tshark(...args: string[]): string {
  return execFileSync("tshark", ["-n", ...CHECKED, ...args],
    { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

/** A line for each packet that the filter takes, checksums checked. */
export function tsharkFilter(file: string, filter: string): string[] {
  return tshark("-r", file, "-Y", filter).split("\n").filter((line) => line !== "");
}

/** The fields of each packet. */
export function tsharkFields(file: string, fields: string[]): string[][] {
  const args = fields.flatMap((field) => ["-e", field]);
  const text = tshark("-r", file, "-T", "fields", ...args);
  return text.replace(/\n$/, "").split("\n").map((line) => line.split("\t"));
}

/** How many packets, from their L3 header on, have a wrong checksum, how many a right one. */
export function judgedByTshark(packets: Uint8Array[]): { bad: number; good: number } {
  const link = { linkType: LINKTYPE_RAW, snapLength: 0 };
  const folder = mkdtempSync(join(tmpdir(), "margay-"));
  try {
    const file = join(folder, "packets.pcap");
    writeFileSync(file, writeCapture("pcap", [link], packets.map((bytes, i) => ({
      ...link, interface: 0, timestampNs: BigInt(i), originalLength: bytes.length, bytes,
    }))));
    const [bad, good] = [BAD_CHECKSUM, GOOD_CHECKSUM].map((filter) => tsharkFilter(file, filter));
    return { bad: bad!.length, good: good!.length };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
