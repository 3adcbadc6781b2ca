// tshark as a judge of captures: it reads them by code that shares nothing with this repository.

import { execFileSync, spawnSync } from "node:child_process";

/** False where it isn't installed: a suite then skips and says so. */
export const tsharkInstalled = spawnSync("tshark", ["--version"]).status === 0;

/** A display filter for packets with a checksum that is wrong. */
export const BAD_CHECKSUM = ["ip", "tcp", "udp", "icmp", "icmpv6"]
  .map((name) => `${name}.checksum.status == 0`).join(" || ");
/** And for those whose transport checksum was checked and is right. */
export const GOOD_CHECKSUM = ["tcp", "udp", "icmp", "icmpv6"]
  .map((name) => `${name}.checksum.status == 1`).join(" || ");

const CHECKED = ["ip", "tcp", "udp"].flatMap((name) => ["-o", `${name}.check_checksum:TRUE`]);

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
