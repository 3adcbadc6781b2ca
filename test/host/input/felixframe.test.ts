// Frames of a Felix stream: cut anywhere, damaged, ended too soon; and the JSON form.
import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ToDataplaneSchema } from "../../../host/input/felixbackend_pb.ts";
import type { ToDataplane } from "../../../host/input/felixbackend_pb.ts";
import {
  FRAME_BYTES_MAX, FelixError, FrameReader, felixForm, frame, messageFromJson, readJsonLines,
} from "../../../host/input/felixframe.ts";
import { seedOf } from "../../seed.ts";

const messages = [
  { config_update: { config: { VXLANPort: "4789" } } },
  { sequence_number: 1, ipset_update: { id: "s:a", type: "NET", members: ["10.0.0.0/8"] } },
  { sequence_number: 2, ipset_update: { id: "s:b", members: Array(300).fill("10.0.0.1") } },
  { sequence_number: 3, in_sync: {} },
].map(messageFromJson);
const frames = messages.map(frame);
const stream = Buffer.concat(frames);

/** Runs chunks through a reader, to the end of the stream or the first error. */
function read(...chunks: Uint8Array[]): { out: ToDataplane[]; error: unknown } {
  const out: ToDataplane[] = [];
  const reader = new FrameReader((message) => out.push(message));
  try {
    for (const chunk of chunks) reader.push(chunk);
    reader.end();
    return { out, error: undefined };
  } catch (error) {
    return { out, error };
  }
}
function length(bytes: bigint): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, bytes, true);
  return out;
}

describe("felix-frames:", () => {
  test("a length in 8 bytes, little-endian, and the message", () => {
    const body = toBinary(ToDataplaneSchema, messages[1]!);
    expect([...frames[1]!]).toEqual([body.length, 0, 0, 0, 0, 0, 0, 0, ...body]);
    expect(read(stream)).toEqual({ out: messages, error: undefined });
    expect(read()).toEqual({ out: [], error: undefined });
  });

  test("an empty message is a frame of no bytes", () => {
    expect(read(length(0n)).out).toEqual([create(ToDataplaneSchema)]);
  });

  test("chunks may be cut anywhere", () => {
    expect(read(...[...stream].map((byte) => Uint8Array.of(byte))).out).toEqual(messages);
    fc.assert(fc.property(
      fc.array(fc.nat(stream.length), { maxLength: 12 }),
      (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), stream.length];
        const chunks = at.slice(1).map((to, i) => stream.subarray(at[i], to));
        expect(read(...chunks)).toEqual({ out: messages, error: undefined });
      },
    ));
  });

  test("a message is handed on as soon as it is whole", () => {
    const out: ToDataplane[] = [];
    const reader = new FrameReader((message) => out.push(message));
    reader.push(stream.subarray(0, frames[0]!.length - 1));
    expect(out).toHaveLength(0);
    reader.push(stream.subarray(frames[0]!.length - 1, frames[0]!.length + 3));
    expect(out).toHaveLength(1);
  });

  test("a stream that ends inside a frame names it", () => {
    for (let cut = 0; cut < stream.length; cut++) {
      const ends = frames.map((_, i) => Buffer.concat(frames.slice(0, i + 1)).length);
      const whole = ends.filter((end) => end <= cut).length, begin = ends[whole - 1] ?? 0;
      const { out, error } = read(stream.subarray(0, cut));
      expect(out).toEqual(messages.slice(0, whole));
      if (cut === begin) expect(error).toBeUndefined();
      else {
        const inside = cut - begin;
        const missing = inside < 8 ? `${inside} of the 8 bytes of a length`
          : `${inside - 8} of ${frames[whole]!.length - 8} bytes`;
        expect(error).toEqual(new FelixError(`frame ${whole + 1} at byte ${begin}`,
          `the stream ends after ${missing}`));
      }
    }
  });

  test("an over-long length names its frame, and nothing behind it is taken", () => {
    for (const bytes of [BigInt(FRAME_BYTES_MAX) + 1n, 2n ** 32n + 4n, 2n ** 64n - 1n]) {
      const { out, error } = read(frames[0]!, length(bytes), frames[1]!);
      expect(out).toEqual(messages.slice(0, 1));
      expect(String(error)).toContain(`frame 2 at byte ${frames[0]!.length}: a length of ${bytes}`);
    }
  });

  test("an undecodable frame names itself; what ran before stays, and the fault too", () => {
    const damaged = Buffer.concat([length(3n), Uint8Array.of(0x12, 0x7f, 0)]);
    const { out, error } = read(frames[0]!, frames[1]!, damaged, frames[3]!);
    const at = frames[0]!.length + frames[1]!.length;
    expect(out).toEqual(messages.slice(0, 2));
    expect(String(error)).toMatch(
      `FelixError: frame 3 at byte ${at}: 3 bytes that are no ToDataplane message`);
    const reader = new FrameReader(() => { throw new FelixError("in_sync", "no"); });
    expect(() => reader.push(frames[3]!)).toThrow("frame 1 at byte 0: in_sync: no");
    expect(() => reader.push(frames[3]!)).toThrow("frame 1 at byte 0: in_sync: no");
    expect(() => reader.end()).toThrow("frame 1 at byte 0: in_sync: no");
  });

  test("no bytes at all bring anything but messages or a FelixError", () => {
    const parts = fc.array(fc.uint8Array({ maxLength: 40 }));
    fc.assert(fc.property(parts, fc.boolean(), (parts, wrap) => {
      const chunks = wrap ? parts.flatMap((one) => [length(BigInt(one.length)), one]) : parts;
      const { error } = read(...chunks);
      if (error !== undefined) expect(error).toBeInstanceOf(FelixError);
    }), { seed: seedOf("FUZZ_SEED"), numRuns: 500 });
  });

  test("unknown fields, payloads and enum names are read over", () => {
    // Field 99 of the envelope, wire type 2; field 12 of an IPSetUpdate; payload 40.
    const known = toBinary(ToDataplaneSchema, messages[3]!);
    const unknown = Uint8Array.of(...known, 0x9a, 0x06, 2, 1, 2);
    expect(read(length(BigInt(unknown.length)), unknown).out).toEqual([messages[3]]);
    const set = Uint8Array.of(0x12, 7, 0x0a, 1, 0x61, 0x62, 2, 0x68, 0x69);
    const [update] = read(length(9n), set).out;
    expect(update).toEqual(messageFromJson({ ipset_update: { id: "a" } }));
    const payload = Uint8Array.of(0x78, 7, 0xc2, 0x02, 0);
    expect(read(length(5n), payload).out).toEqual([messageFromJson({ sequence_number: 7 })]);
    expect(messageFromJson({ licence_update: { valid: true }, in_sync: { soon: 1 } }))
      .toEqual(messageFromJson({ in_sync: {} }));
  });
});

describe("felix-json:", () => {
  const lines = (...texts: string[]): ToDataplane[] => {
    const out: ToDataplane[] = [];
    readJsonLines(texts.join("\n"), (message) => out.push(message));
    return out;
  };

  test("a line a message; no number is 0, unless no line has one", () => {
    const numbers = (...texts: string[]): bigint[] =>
      lines(...texts).map(({ sequenceNumber }) => sequenceNumber);
    expect(numbers('{"in_sync":{}}', "", '{"in_sync":{},"sequence_number":"1"}', '{"in_sync":{}}'))
      .toEqual([0n, 1n, 0n]);
    expect(numbers('{"in_sync":{}}', '{"in_sync":{}}', " ", '{"in_sync":{}}'))
      .toEqual([0n, 1n, 2n]);
    expect(lines('{"ipset_update":{"id":"a","type":"IP_AND_PORT"}}')[0])
      .toEqual(messageFromJson({ ipset_update: { id: "a", type: 1 } }));
  });

  test("what is wrong names its line", () => {
    expect(() => lines('{"in_sync":{}}', "", "{")).toThrow(/^line 3: no JSON \(/);
    expect(() => lines("[]")).toThrow("line 1: a ToDataplane message is a JSON object");
    expect(() => lines('{"ipset_update":{"id":7}}'))
      .toThrow(/^line 1: no ToDataplane message \(.*IPSetUpdate\.id/);
  });

  test("the form of a file is told by its bytes", () => {
    const form = (text: string): unknown => felixForm(new TextEncoder().encode(text));
    expect(felixForm(stream)).toBe("frames");
    // A length of 123 is "{" in text.
    expect(felixForm(Uint8Array.of(0x7b, 0, 0, 0, 0, 0, 0, 0, 1))).toBe("frames");
    // Damaged ones are frames too, so that reading them names the damage.
    expect(felixForm(length(2n ** 64n - 1n))).toBe("frames");
    expect(felixForm(length(3n).subarray(0, 3))).toBe("frames");
    expect(form('{"in_sync":{}}\n{"in_sync":{}}')).toBe("json");
    expect(form(`${" ".repeat(4095)}é: 1`)).toBeUndefined();
    expect(form('{"apiVersion":"v1","kind":"List"}')).toBeUndefined();
    expect(form("apiVersion: v1\nkind: Pod\n")).toBeUndefined();
    expect(form("")).toBeUndefined();
  });
});
