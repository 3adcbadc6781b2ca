// The codec of VPP's messages: bytes by hand for each kind of type, values that do not fit, bytes
// that do not fit, and the property that what is read can be written again.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatIp6, parseIp6, parseMac } from "../../../host/vpp/api/address.ts";
import { decodeMessage, encodeMessage } from "../../../host/vpp/api/codec.ts";
import type { Values } from "../../../host/vpp/api/codec.ts";
import { ErrorNames } from "../../../host/vpp/api/errno.ts";
import { VppDecodeError, VppPathError, VppSchemaError } from "../../../host/vpp/api/errors.ts";
import { Schema } from "../../../host/vpp/api/schema.ts";
import { seedOf } from "../../seed.ts";
import { garden } from "./garden.ts";

const schema = garden();
const plant = schema.message("plant_set");

const FULL: Values = {
  petals: 5, frost: -2, leaves: 0x1234, depth: -3, seeds: 0xfffffffe, balance: -7,
  cells: 2n ** 64n - 2n, age: -9n, blooms: true, height: 1.5, colour: "COLOUR_BLUE",
  needs: ["NEEDS_SUN", "NEEDS_BEES"], tag: "02:fe:00:00:00:01", home: "10.0.0.1",
  bed: "fd00::/64", label: "rose", seal: Uint8Array.of(1, 2, 3, 4), rows: [1, 2, 3],
  soil: { data: { peat: { length: 9, water: "10.0.0.2" } } },
  notes: Uint8Array.of(8, 9), roots: [{ water: "10.0.0.3" }, { length: 1 }], story: "once",
};
const BYTES = [
  "0064", "00000000", "00000000",
  "05", "fe", "1234", "fffd", "fffffffe", "fffffff9", "fffffffffffffffe", "fffffffffffffff7", "01",
  "000000000000f83f",
  "0004", "09", "02fe00000001", "00", "0a000001000000000000000000000000",
  "01", "fd000000000000000000000000000000", "40",
  "726f736500000000", "01020304", "000100020003", "02", "00000002",
  "00000005", "00090a000002",
  "0809", "00070a000003", "000100000000", "00000004", "6f6e6365",
].join("");

describe("what a message's bytes are", () => {
  test("vpp-api-bytes: every kind of field, as it is in VPP's messages", () => {
    const bytes = encodeMessage(plant, 100, FULL);
    expect(bytes.toString("hex")).toBe(BYTES);
    expect(decodeMessage(plant, bytes)).toEqual({
      ...FULL, client_index: 0, context: 0, n_notes: 2, n_roots: 2,
      soil: { kind: "SOIL_PEAT", data: { peat: { length: 9, water: "10.0.0.2" } } },
      roots: [{ length: 7, water: "10.0.0.3" }, { length: 1, water: "0.0.0.0" }],
    });
  });

  test("a float in the other order, and defaults", () => {
    const height = Buffer.from("000000000000f83f", "hex").reverse().toString("hex");
    const bytes = encodeMessage(plant, 100, { height: 1.5 }, true);
    expect(bytes.toString("hex")).toContain(height);
    expect(decodeMessage(plant, bytes, true)["height"]).toBe(1.5);
    const all = encodeMessage(schema.message("plant_dump"), 1, {});
    expect(all.toString("hex")).toBe("00010000000000000000ffffffff");
  });

  test("what is left out is zero, and what has no name is a number", () => {
    const read = decodeMessage(plant, encodeMessage(plant, 1, { colour: 2, needs: [8, 32] }));
    expect(read).toMatchObject({ colour: 2, needs: ["NEEDS_BEES", 32], home: "0.0.0.0" });
    expect(read["soil"]).toMatchObject({ kind: 0, data: { sand: 0 } });
  });

  test("a union that nothing tells apart gives every arm, and writes again what was read", () => {
    const soil = { kind: 99, data: Uint8Array.of(0, 3, 10, 0, 0, 9) };
    const bytes = encodeMessage(plant, 1, { soil });
    const read = decodeMessage(plant, bytes);
    expect(read["soil"]).toEqual({
      kind: 99, data: { sand: 3, peat: { length: 3, water: "10.0.0.9" } },
    });
    expect(encodeMessage(plant, 1, read)).toEqual(bytes);
  });
});

describe("what does not fit", () => {
  const cases: [string, Values, RegExp][] = [
    ["a number too large", { petals: 256 }, /^plant_set\.petals: 256 is no u8 \(0\.\.255\)$/],
    ["half a number", { seeds: 1.5 }, /plant_set\.seeds: 1\.5 is no u32/],
    ["a bigint too large", { cells: 2n ** 64n }, /\.cells: 18446744073709551616n is no u64/],
    ["no number", { depth: "4" }, /\.depth: "4" is no i16/],
    ["no boolean", { blooms: 1 }, /\.blooms: 1 is no boolean/],
    ["an unknown name", { colour: "RED" }, /\.colour: "RED" is no colour: one of COLOUR_RED, C/],
    ["flags of what is none", { colour: ["COLOUR_RED"] }, /\.colour: .* is one value, no flags/],
    ["an address that is none", { home: "10.0.0" }, /\.home: "10\.0\.0" is no IPv6 address/],
    ["a prefix too long", { bed: "10.0.0.0/33" }, /\.bed: "10\.0\.0\.0\/33" is no prefix/],
    ["a prefix without length", { bed: "10.0.0.0" }, /\.bed: "10\.0\.0\.0" is no prefix/],
    ["text too long", { label: "12345678" }, /\.label: 8 bytes of text, at most 7 fit/],
    ["bytes too many", { seal: new Uint8Array(5) }, /\.seal: 5 bytes where 4 belong/],
    ["too few elements", { rows: [1] }, /\.rows: 1 elements where 3 belong/],
    ["deep inside", { roots: [{}, { water: "x" }] }, /^plant_set\.roots\[1\]\.water: "x" is no/],
    ["a foreign field", { petal: 1 }, /^plant_set\.petal: plant_set has no such field; it has pe/],
    ["a foreign field inside", { roots: [{ size: 1 }] }, /roots\[0\]\.size: root has no such fie/],
    ["a wrong count", { n_roots: 2, roots: [{}] }, /n_roots: 2, but roots has 1 elements/],
    ["more than a count can say", { notes: new Uint8Array(256) }, /\.n_notes: 256 is no u8/],
    ["two arms", { soil: { data: { sand: 1, peat: {} } } }, /soil\.data: .* one of sand, peat/],
    ["another arm", { soil: { kind: "SOIL_SAND", data: { peat: {} } } }, /but data holds .*PEAT/],
  ];
  test.each(cases)("vpp-api-errors: %s names its field", (_, values, message) => {
    expect(() => encodeMessage(plant, 1, values)).toThrow(message);
  });

  test("bytes that end too early, or count more than there is", () => {
    const whole = encodeMessage(plant, 1, FULL);
    expect(() => decodeMessage(plant, whole.subarray(0, 20)))
      .toThrow(/^plant_set\.seeds: the message ends: 4 bytes wanted, 2 left|^plant_set\./);
    const more = Buffer.from(whole);
    more.writeUInt32BE(0xffff, BYTES.indexOf("00000002", 180) / 2);
    expect(() => decodeMessage(plant, more)).toThrow(VppDecodeError);
  });

  test("a description that is none, and types that are missing or endless", () => {
    expect(() => Schema.parse("{", "bad.api.json")).toThrow(/^bad\.api\.json: not JSON/);
    expect(() => Schema.parse("{}", "bad.api.json")).toThrow(/bad\.api\.json: .*"messages"/);
    const of = (field: unknown[], types: unknown[] = []) => Schema.parse(JSON.stringify({
      types, messages: [["m", ["u16", "_vl_msg_id"], field, { crc: "0x1" }]],
    }), "bad.api.json").message("m");
    expect(() => encodeMessage(of(["vl_api_tree_t", "t"]), 1, {}))
      .toThrow(/bad\.api\.json: m\.t: type tree is not defined/);
    const endless = of(["vl_api_a_t", "a"], [["a", ["vl_api_a_t", "a"]]]);
    expect(() => encodeMessage(endless, 1, {})).toThrow(/type a holds itself/);
    expect(() => of(["u8", "x", 0, "n"])).toThrow(/its count n is no field before it/);
    expect(() => Schema.readDirectories(["/nowhere"])).toThrow(VppSchemaError);
  });
});

describe("text", () => {
  test.each([
    ["::", "::"], ["::1", "::1"], ["fd00::1:0:0:1", "fd00::1:0:0:1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"], ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
    ["FE80:0:0:0:0:0:0:A", "fe80::a"], ["::ffff:10.0.0.1", "::ffff:10.0.0.1"],
    ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
  ])("%s is written %s", (given, shown) => {
    expect(formatIp6(parseIp6(given))).toBe(shown);
  });

  test("MACs in three spellings", () => {
    const bytes = Uint8Array.of(2, 0xfe, 0, 0, 0, 0x1a);
    for (const text of ["02:fe:00:00:00:1a", "02-FE-00-00-00-1A", "02fe.0000.001a"]) {
      expect(parseMac(text)).toEqual(bytes);
    }
    expect(() => parseMac("02:fe:00:00:00")).toThrow(/no MAC address/);
  });

  test("VPP's error names come from its header where it is installed", () => {
    const names = new ErrorNames();
    expect(names.of(-2)?.name).toBe("INVALID_SW_IF_INDEX");
    names.readHeader('#define all \\\n  _ (TOO_WILTED, -777, "Too wilted") \\\n');
    expect(names.of(-777)).toEqual({ name: "TOO_WILTED", text: "Too wilted" });
    expect(names.of(-778)).toBeUndefined();
  });
});

/** Values of a plant as they are read. */
const text = (max: number) => fc.string({ unit: "binary", maxLength: max })
  .filter((each) => Buffer.byteLength(each) <= max && !each.includes("\0")
    && Buffer.from(each).toString() === each);
const bytes = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength });
const ip4 = bytes(4, 4).map((each) => each.join("."));
const ip6 = bytes(16, 16).map(formatIp6);
const root = fc.record({ length: fc.integer({ min: 0, max: 65535 }), water: ip4 });
const plants = fc.record({
  petals: fc.integer({ min: 0, max: 255 }), frost: fc.integer({ min: -128, max: 127 }),
  leaves: fc.integer({ min: 0, max: 65535 }), depth: fc.integer({ min: -32768, max: 32767 }),
  seeds: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  balance: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  cells: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  age: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  blooms: fc.boolean(), height: fc.double({ noNaN: true }),
  colour: fc.constantFrom("COLOUR_RED", "COLOUR_BLUE", 0, 2, 65535),
  needs: fc.subarray<string | number>(["NEEDS_SUN", "NEEDS_RAIN", "NEEDS_BEES", 16]),
  tag: bytes(6, 6).map((each) => Buffer.from(each).toString("hex").match(/../g)!.join(":")),
  home: fc.oneof(ip4, ip6),
  bed: fc.oneof(
    fc.tuple(ip4, fc.integer({ min: 0, max: 32 })), fc.tuple(ip6, fc.integer({ min: 0, max: 128 })),
  ).map(([address, length]) => `${address}/${length}`),
  label: text(7), seal: bytes(4, 4), rows: fc.tuple(fc.nat(65535), fc.nat(65535), fc.nat(65535)),
  soil: fc.oneof(
    fc.nat(65535).map((sand) => ({ kind: "SOIL_SAND", data: { sand } })),
    root.map((peat) => ({ kind: "SOIL_PEAT", data: { peat } })),
  ),
  notes: bytes(0, 255), roots: fc.array(root, { maxLength: 20 }), story: text(300),
});

describe("any value", () => {
  test("vpp-api-round-trip: what is written is read as it was given", () => {
    fc.assert(fc.property(plants, (values) => {
      const read = decodeMessage(plant, encodeMessage(plant, 9, values));
      expect(read).toEqual({
        ...values, client_index: 0, context: 0, n_notes: values.notes.length,
        n_roots: values.roots.length,
      });
    }), { seed: seedOf("FUZZ_SEED"), numRuns: 500 });
  });

  test("any bytes are read and can be written again, or are refused by a path", () => {
    let read = 0;
    fc.assert(fc.property(plants, fc.array(fc.tuple(fc.nat(), fc.nat(255))), (values, changes) => {
      const message = encodeMessage(plant, 9, values);
      for (const [at, byte] of changes) message[2 + at % (message.length - 2)] = byte;
      let first: Values;
      try {
        first = decodeMessage(plant, message);
      } catch (error) {
        expect(error).toBeInstanceOf(VppPathError);
        return;
      }
      // What cannot be said again: bytes that are no text, and text that leaves no room for a NUL.
      const isText = !JSON.stringify([first["label"], first["story"]]).match(/\ufffd|\\u0000/)
        && Buffer.byteLength(first["label"] as string) < 8;
      if (!isText) return;
      read++;
      expect(decodeMessage(plant, encodeMessage(plant, 9, first))).toEqual(first);
    }), { seed: seedOf("FUZZ_SEED"), numRuns: 1000 });
    expect(read).toBeGreaterThan(50);
  });
});
