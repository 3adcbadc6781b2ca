// DNAT of packets whose transport header does not stand where it mostly does: behind options,
// behind extension headers, in a first fragment. The backend's address and port are in, checksums
// stay as right as they were, nothing else has changed.
import { describe, expect, test } from "vitest";
import { Reason } from "../../assembly/layout.ts";
import { addressBytes } from "../../host/model/address.ts";
import { sum16, type Spec } from "../packets.ts";
import { Cell, sent } from "./cells.ts";
import { Runner } from "./runner.ts";

const pad = { number: 60, body: Uint8Array.of(0, 1, 4, 0, 0, 0, 0) };
/** IPv4 options that do nothing. */
const idle = (bytes: number): Partial<Spec> => ({ options: new Uint8Array(bytes).fill(1) });
const authentication = { number: 51, body: Uint8Array.of(1, ...new Array<number>(10).fill(7)) };
/** What is dressed how, and where its transport header is then. */
const DRESSES: { title: string; family: 4 | 6; more: Partial<Spec>; l4: number }[] = [
  { title: "as it is", family: 4, more: {}, l4: 20 },
  { title: "as it is", family: 6, more: {}, l4: 40 },
  { title: "4 bytes of options", family: 4, more: idle(4), l4: 24 },
  { title: "40 bytes of options", family: 4, more: idle(40), l4: 60 },
  { title: "an extension header", family: 6, more: { extensions: [pad] }, l4: 48 },
  { title: "two and AH", family: 6, more: { extensions: [pad, pad, authentication] }, l4: 68 },
  { title: "a first fragment", family: 4, more: { fragment: { offset: 0, more: true } }, l4: 20 },
  { title: "a first fragment", family: 6, more: { fragment: { offset: 0, more: true } }, l4: 48 },
];

/** The transport's sum with its pseudo-header; 0xffff where the checksum is right. */
function sumOf(bytes: Uint8Array, family: 4 | 6, l4: number, protocol: number): number {
  const addresses = family === 4 ? bytes.subarray(12, 20) : bytes.subarray(8, 40);
  const pseudo = new Uint8Array(8);
  new DataView(pseudo.buffer).setUint32(0, bytes.length - l4);
  pseudo[7] = protocol;
  return sum16(addresses, pseudo, bytes.subarray(l4)) % 0xffff;
}

describe.each([["tcp", 6, 16], ["udp", 17, 6]] as const)("%s", (name, protocol, field) => {
  test.each(DRESSES)("policy-rewrite: IPv$family, $title", async ({ family, more, l4 }) => {
    const cell = new Cell(family).service();
    cell.state.services[0]!.protocol = name;
    const runner = new Runner();
    await runner.load(cell.state, cell.devices);
    const packet = sent(cell, "a", "vip", { protocol: name, port: 80, ...more });
    if (more.fragment && protocol === 17) packet.bytes[l4 + 5]! += 8; // more is to come
    const [result] = runner.raw([packet]);
    expect(result!.reason).toBe(Reason.Allowed);
    const out = result!.bytes!;
    const wanted = packet.bytes.slice();
    const address = addressBytes(cell.address("b")).subarray(family === 4 ? 12 : 0);
    wanted.set(address, family === 4 ? 16 : 24);
    wanted.set([8080 >> 8, 8080 & 255], l4 + 2);
    wanted.set(out.subarray(l4 + field, l4 + field + 2), l4 + field);
    if (family === 4) wanted.set(out.subarray(10, 12), 10);
    expect(out).toEqual(wanted);
    if (family === 4) expect(sum16(out.subarray(0, l4))).toBe(0xffff);
    const [before, after] = [packet.bytes, out].map((each) => sumOf(each, family, l4, protocol));
    expect(after).toBe(before);
  });
});
