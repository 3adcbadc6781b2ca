// Addresses as text: printed as RFC 5952 wants it, and read back as the same bytes.

import { isIPv6 } from "node:net";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressBytes, addressText } from "../../../host/model/address.ts";
import { seedOf } from "../../seed.ts";

describe("addresses", () => {
  const written = ["::", "::1", "1::", "fd00:244::2", "1:0:2::3", "1:2:3:4:5:6:7:8",
    "2001:db8:0:1:1:1:1:1", "2001:db8::1:0:0:1"];
  it.each(written)("%s", (text) => {
    const groups = (part: string) => part === "" ? [] : part.split(":");
    const [head, tail] = text.split("::");
    const front = groups(head!), back = groups(tail ?? "");
    const zeros = Array<string>(8 - front.length - back.length).fill("0");
    const bytes = [...front, ...zeros, ...back].flatMap((word) =>
      [parseInt(word, 16) >> 8, parseInt(word, 16) & 255]);
    expect(addressText(Uint8Array.from(bytes))).toBe(text);
  });

  it("any address is printed as one, and two differ where their bytes do", () => {
    const zeros = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) =>
      bytes.map((value, index) => ((bytes[index & 1]! >> (index >> 1)) & 1 ? 0 : value)));
    fc.assert(fc.property(zeros, zeros, (a, b) => {
      expect(isIPv6(addressText(a))).toBe(true);
      expect(addressBytes(addressText(a))).toEqual(a);
      expect(addressText(a) === addressText(b)).toBe(Buffer.compare(a, b) === 0);
    }), { seed: seedOf("FUZZ_SEED") });
    expect(addressText(Uint8Array.of(10, 96, 0, 80))).toBe("10.96.0.80");
  });
});
