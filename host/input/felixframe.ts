// Felix's messages out of bytes: frames as Felix writes them on its pipe, or JSON, a message a line
// with proto field names.
//
//   ┌───────────────┬─────────────────┐ ┌───────────────┬─────
//   │ length, u64 LE│ ToDataplane     │ │ length        │ …       chunks may be cut anywhere
//   └───────────────┴─────────────────┘ └───────────────┴─────
//
// Each message is handed on as soon as it is whole. At the first fault the reader throws a
// FelixError with the frame's number and its place in the stream, and takes no more: behind a bad
// length nothing can be told apart. What was handed on before stays.
//
// Limits: a frame has at most FRAME_BYTES_MAX bytes. Unknown fields, payloads and enum names are
// left out.
// Source: projectcalico felix/dataplane/external/ext_dataplane.go.
import { fromBinary, fromJson, toBinary } from "@bufbuild/protobuf";
import type { JsonValue } from "@bufbuild/protobuf";
import { ToDataplaneSchema } from "./felixbackend_pb.ts";
import type { ToDataplane } from "./felixbackend_pb.ts";

/** A set of some ten million members; beyond it, it is no length. */
export const FRAME_BYTES_MAX = 256 * 1024 * 1024;
const HEADER_BYTES = 8;

/** What is wrong with a stream of Felix's, and where. */
export class FelixError extends Error {
  /** "frame 3 at byte 512", "ipset_update s:abc: members[2]": outermost place first. */
  constructor(readonly place: string, readonly problem: string) {
    super(place === "" ? problem : `${place}: ${problem}`);
    this.name = "FelixError";
  }

  /** The same, seen from further out. */
  within(place: string): FelixError {
    return new FelixError(this.place === "" ? place : `${place}: ${this.place}`, this.problem);
  }
}

/** Runs `step`; a FelixError of its bears the place too. */
export function at<T>(place: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw error instanceof FelixError ? error.within(place) : error;
  }
}

export class FrameReader {
  private chunks: Uint8Array[] = [];
  /** Bytes in `chunks`. */
  private held = 0;
  /** Bytes of all frames before the one in hand. */
  private offset = 0;
  /** Frames before the one in hand. */
  private frames = 0;
  private fault: FelixError | undefined;

  /** `each` may throw too: the frame that it threw at is named, and is the last. */
  constructor(private readonly each: (message: ToDataplane) => void) {}

  /** Bytes as they come; throws a FelixError, the same one again once it has. */
  push(chunk: Uint8Array): void {
    if (this.fault) throw this.fault;
    this.chunks.push(chunk);
    this.held += chunk.length;
    try {
      while (this.frame());
    } catch (error) {
      this.fault = error as FelixError;
      throw error;
    }
  }

  /** The stream has ended: throws where it ended inside a frame. */
  end(): void {
    if (this.fault) throw this.fault;
    if (this.held === 0) return;
    const missing = this.held < HEADER_BYTES
      ? `${this.held} of the ${HEADER_BYTES} bytes of a length`
      : `${this.held - HEADER_BYTES} of ${this.length()} bytes`;
    throw new FelixError(this.place(), `the stream ends after ${missing}`);
  }

  /** Hands on one frame; false where it is not yet whole. */
  private frame(): boolean {
    if (this.held < HEADER_BYTES) return false;
    const size = HEADER_BYTES + this.length();
    if (this.held < size) return false;
    const all = this.joined();
    const body = all.subarray(HEADER_BYTES, size);
    at(this.place(), () => this.each(decode(body)));
    this.chunks = size < all.length ? [all.subarray(size)] : [];
    this.held -= size;
    this.offset += size;
    this.frames++;
    return true;
  }

  private length(): number {
    // Small chunks before the header is whole are joined once; later ones wait in the list.
    if (this.chunks[0]!.length < HEADER_BYTES) this.joined();
    const head = this.chunks[0]!;
    const length = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true);
    if (length <= BigInt(FRAME_BYTES_MAX)) return Number(length);
    throw new FelixError(this.place(), `a length of ${length} bytes (at most ${FRAME_BYTES_MAX}): `
      + "not a stream of Felix's, or out of step");
  }

  private joined(): Uint8Array {
    if (this.chunks.length > 1) this.chunks = [Buffer.concat(this.chunks)];
    return this.chunks[0]!;
  }

  private place(): string {
    return `frame ${this.frames + 1} at byte ${this.offset}`;
  }
}

function decode(body: Uint8Array): ToDataplane {
  try {
    return fromBinary(ToDataplaneSchema, body, { readUnknownFields: false });
  } catch (error) {
    const why = (error as Error).message;
    throw new FelixError("", `${body.length} bytes that are no ToDataplane message (${why})`);
  }
}

/** A message as Felix frames it. */
export function frame(message: ToDataplane): Uint8Array {
  const body = toBinary(ToDataplaneSchema, message);
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(body.length), true);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

/** A message from its JSON form: proto field names, enums as names, u64 as text. */
export function messageFromJson(json: unknown): ToDataplane {
  try {
    return fromJson(ToDataplaneSchema, json as JsonValue, { ignoreUnknownFields: true });
  } catch (error) {
    throw new FelixError("", `no ToDataplane message (${(error as Error).message})`);
  }
}

/**
 * JSON lines. A line that gives no sequence number has 0, as everywhere in this form; where no line
 * gives one, they count in order.
 */
export function readJsonLines(text: string, each: (message: ToDataplane) => void): void {
  const numbered = /"sequence_number"|"sequenceNumber"/.test(text);
  let messages = 0n;
  text.split("\n").forEach((line, index) => at(`line ${index + 1}`, () => {
    if (line.trim() === "") return;
    const message = messageFromJson(object(line));
    if (!numbered) message.sequenceNumber = messages;
    each(message);
    messages++;
  }));
}

function object(line: string): object {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (error) {
    throw new FelixError("", `no JSON (${(error as Error).message})`);
  }
  if (typeof json === "object" && json !== null && !Array.isArray(json)) return json;
  throw new FelixError("", "a ToDataplane message is a JSON object");
}

const PAYLOADS = new Set(ToDataplaneSchema.oneofs[0]!.fields.map(({ name }) => name));

/** Bytes looked at to tell text from frames. */
const TOLD_BY = 4096;

/** Which form these bytes are in, if they look like a stream of Felix's: frames are no text. */
export function felixForm(bytes: Uint8Array): "frames" | "json" | undefined {
  const head = bytes.subarray(0, TOLD_BY);
  const text = new TextDecoder().decode(head, { stream: true });
  if (/[\0-\x08\x0e-\x1a]|\ufffd/.test(text)) return "frames";
  const newline = bytes.indexOf(10);
  const first = new TextDecoder().decode(newline < 0 ? bytes : bytes.subarray(0, newline));
  try {
    const names = Object.keys(object(first));
    return names.some((name) => PAYLOADS.has(name)) ? "json" : undefined;
  } catch {
    return undefined;
  }
}
