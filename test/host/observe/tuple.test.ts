// Tuples of reports: read from packets whose bytes stand here and printed.

import { describe, expect, it } from "vitest";
import { printTuple, readTuple, reversed } from "../../../host/observe/tuple.ts";

function packet(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replace(/\s/g, ""), "hex"));
}
const v4 = (protocol: string, rest: string, fragment = "0000") =>
  packet(`45000000 0000 ${fragment} 40 ${protocol} 0000 0af40002 0a600050 ${rest}`);
const v6 = (next: string, rest: string) => packet(`60000000 0000 ${next} 40
  fd000244000000000000000000000002 fd000096000000000000000000000080 ${rest}`);

describe("tuples of packets", () => {
  const cases: [string, Uint8Array, string][] = [
    ["TCP", v4("06", "9c420050 00000000"), "tcp 10.244.0.2:40002 > 10.96.0.80:80"],
    ["UDP over IPv6", v6("11", "9c430035 00000000"),
      "udp [fd00:244::2]:40003 > [fd00:96::80]:53"],
    ["an echo, by its identifier", v4("01", "08000000 00070001"),
      "icmp 10.244.0.2:7 > 10.96.0.80"],
    ["another ICMPv6", v6("3a", "01000000 00070001"), "icmp6 fd00:244::2 > fd00:96::80"],
    ["a later fragment has no ports", v4("06", "9c420050 00000000", "0003"),
      "tcp 10.244.0.2 > 10.96.0.80"],
    ["a cut transport header has none", v4("06", "9c42"), "tcp 10.244.0.2 > 10.96.0.80"],
    ["another protocol", v4("2f", "9c420050 00000000"),
      "protocol 47 10.244.0.2 > 10.96.0.80"],
  ];
  it.each(cases)("%s", (_name, bytes, printed) => {
    expect(printTuple(readTuple(bytes)!)).toBe(printed);
  });

  it("options move the ports; no IP header is no tuple", () => {
    const options = v4("06", "01010101 9c420050 00000000");
    options[0] = 0x46;
    expect(readTuple(options)).toMatchObject({ sourcePort: 40002, destinationPort: 80 });
    expect(readTuple(new Uint8Array())).toBeUndefined();
    expect(readTuple(v4("06", "").subarray(0, 19))).toBeUndefined();
    expect(readTuple(v6("06", "").subarray(0, 39))).toBeUndefined();
  });

  it("the other end's view: ports change places, an echo's identifier stays", () => {
    const tcp = readTuple(v4("06", "9c420050 00000000"))!;
    expect(printTuple(reversed(tcp))).toBe("tcp 10.96.0.80:80 > 10.244.0.2:40002");
    const echo = readTuple(v4("01", "08000000 00070001"))!;
    expect(printTuple(reversed(echo))).toBe("icmp 10.96.0.80:7 > 10.244.0.2");
    expect(reversed(reversed(echo))).toEqual(echo);
  });
});
