// An API of our own, in the form of a .api.json, with every kind of type that the language has, and
// a server that speaks it: VPP's protocol without VPP.
//
//   GARDEN (schema) ─► Schema.parse        FakeVpp: hand-shake, control_ping, answers by name

import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeMessage, encodeMessage } from "../../../host/vpp/api/codec.ts";
import type { Values } from "../../../host/vpp/api/codec.ts";
import { Frames } from "../../../host/vpp/api/connection.ts";
import { Schema } from "../../../host/vpp/api/schema.ts";

const ID = ["u16", "_vl_msg_id"];
const ASK = [ID, ["u32", "client_index"], ["u32", "context"]];
const ANSWER = [ID, ["u32", "context"], ["i32", "retval"]];
const DETAILS = [ID, ["u32", "context"]];
const crc = (digits: string) => ({ crc: `0x${digits}`, options: {} });

/** What a plant has: one field of each kind. */
const PLANT: unknown[][] = [
  ["u8", "petals"], ["i8", "frost"], ["u16", "leaves"], ["i16", "depth"], ["u32", "seeds"],
  ["i32", "balance"], ["u64", "cells"], ["i64", "age"], ["bool", "blooms"], ["f64", "height"],
  ["vl_api_colour_t", "colour"], ["vl_api_needs_t", "needs"],
  ["vl_api_mac_address_t", "tag"], ["vl_api_address_t", "home"], ["vl_api_prefix_t", "bed"],
  ["string", "label", 8], ["u8", "seal", 4], ["u16", "rows", 3],
  ["u8", "n_notes"], ["u32", "n_roots"],
  ["vl_api_soil_t", "soil"],
  ["u8", "notes", 0, "n_notes"], ["vl_api_root_t", "roots", 0, "n_roots"],
  ["string", "story", 0],
];

export const GARDEN = JSON.stringify({
  types: [
    ["address", ["vl_api_address_family_t", "af"], ["vl_api_address_union_t", "un"]],
    ["prefix", ["vl_api_address_t", "address"], ["u8", "len"]],
    ["root", ["u16", "length", { default: 7 }], ["vl_api_ip4_address_t", "water"]],
    [
      "soil", ["vl_api_soil_kind_t", "kind"],
      ["vl_api_soil_data_t", "data", { discriminator: "kind" }],
    ],
  ],
  unions: [
    ["address_union", ["vl_api_ip4_address_t", "ip4"], ["vl_api_ip6_address_t", "ip6"]],
    [
      "soil_data", ["u16", "sand", { case: "SOIL_SAND" }],
      ["vl_api_root_t", "peat", { case: "SOIL_PEAT" }],
    ],
  ],
  enums: [
    ["address_family", ["ADDRESS_IP4", 0], ["ADDRESS_IP6", 1], { enumtype: "u8" }],
    ["colour", ["COLOUR_RED", 1], ["COLOUR_BLUE", 4], { enumtype: "u16" }],
    ["soil_kind", ["SOIL_SAND", 3], ["SOIL_PEAT", 5], { enumtype: "u32" }],
  ],
  enumflags: [["needs", ["NEEDS_SUN", 1], ["NEEDS_RAIN", 2], ["NEEDS_BEES", 8], {
    enumtype: "u8",
  }]],
  aliases: {
    ip4_address: { type: "u8", length: 4 }, ip6_address: { type: "u8", length: 16 },
    mac_address: { type: "u8", length: 6 },
  },
  messages: [
    ["control_ping", ...ASK, crc("51077d14")],
    ["control_ping_reply", ...ANSWER, ["u32", "client_index"], ["u32", "vpe_pid"], crc("f6b0b8ca")],
    ["plant_set", ...ASK, ...PLANT, crc("0a0b0c0d")],
    ["plant_set_reply", ...ANSWER, crc("e8d4e804")],
    ["plant_dump", ...ASK, ["u32", "from", { default: -1 }], crc("00000a01")],
    ["plant_details", ...DETAILS, ...PLANT, crc("00000a02")],
    ["bee_get", ...ASK, ["u32", "cursor"], crc("00000a03")],
    ["bee_get_reply", ...ANSWER, ["u32", "cursor"], crc("00000a04")],
    ["bee_details", ...DETAILS, ["u32", "bee"], crc("00000a05")],
    ["want_bee_events", ...ASK, ["bool", "enable"], ["u32", "pid"], crc("00000a06")],
    ["want_bee_events_reply", ...ANSWER, crc("00000a07")],
    ["bee_event", ID, ["u32", "client_index"], ["u32", "pid"], ["u32", "bee"], crc("00000a08")],
  ],
  services: {
    control_ping: { reply: "control_ping_reply" },
    plant_set: { reply: "plant_set_reply" },
    plant_dump: { reply: "plant_details", stream: true },
    bee_get: { reply: "bee_get_reply", stream: true, stream_msg: "bee_details" },
    want_bee_events: { reply: "want_bee_events_reply", events: ["bee_event"] },
  },
});

export const garden = (): Schema => Schema.parse(GARDEN, "garden.api.json");

const CREATE = 15;
const CREATE_REPLY = 16;
const FIRST_NUMBER = 100;

/** A message as a frame. */
export function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(16);
  head.writeUInt32BE(message.length, 8);
  return Buffer.concat([head, message]);
}

/** The answer to the hand-shake with these "name_crc" and their numbers. */
export function createReply(entries: readonly (readonly [string, number])[]): Buffer {
  const bytes = Buffer.alloc(20 + 66 * entries.length);
  bytes.writeUInt16BE(CREATE_REPLY, 0);
  bytes.writeUInt32BE(77, 14);
  bytes.writeUInt16BE(entries.length, 18);
  entries.forEach(([name, number], i) => {
    bytes.writeUInt16BE(number, 20 + 66 * i);
    bytes.write(name, 22 + 66 * i);
  });
  return bytes;
}

type Send = (name: string, values: Values) => void;

export class FakeVpp {
  readonly asked: { name: string; values: Values }[] = [];
  /** What answers a request; control_ping answers itself. */
  readonly answers: Record<string, (values: Values, send: Send) => void> = {};
  private readonly directory = mkdtempSync(join(tmpdir(), "margay-fake-"));
  private readonly sockets = new Set<Socket>();
  private server: Server | undefined;

  constructor(
    private readonly schema: Schema,
    /** Changes what the table says of a message. */
    readonly crcs: Record<string, string> = {},
  ) {}

  get path(): string {
    return join(this.directory, "api.sock");
  }

  /** Begins to listen; numbers are others at every start, as VPP's may be. */
  async start(firstNumber = FIRST_NUMBER): Promise<this> {
    const messages = [...this.schema.messages.values()];
    const table = messages.map(({ name, crc: own }, i) =>
      [`${name}_${this.crcs[name] ?? own}`, firstNumber + i] as const);
    this.server = createServer((socket) => {
      this.sockets.add(socket);
      const frames = new Frames();
      const send: Send = (name, values) => {
        const message = this.schema.message(name);
        const number = firstNumber + messages.indexOf(message);
        // In two pieces: a stream keeps no bounds.
        const bytes = framed(encodeMessage(message, number, values));
        socket.write(bytes.subarray(0, 5));
        socket.write(bytes.subarray(5));
      };
      socket.on("error", () => {});
      socket.on("data", (chunk: Buffer) => {
        for (const bytes of frames.take(chunk)) {
          const number = bytes.readUInt16BE(0);
          if (number === CREATE) socket.write(framed(createReply(table)));
          else this.answer(messages[number - firstNumber]!.name, bytes, send);
        }
      });
    });
    await new Promise<void>((done) => { this.server!.listen(this.path, done); });
    return this;
  }

  private answer(name: string, bytes: Buffer, send: Send): void {
    const values = decodeMessage(this.schema.message(name), bytes);
    const { context } = values;
    if (name === "control_ping") {
      send("control_ping_reply", { context, client_index: 77, vpe_pid: 4711 });
      return;
    }
    this.asked.push({ name, values });
    const isAnswer = (reply: string) =>
      this.schema.message(reply).fields.some((field) => field.name === "context");
    this.answers[name]?.(values, (reply, more) =>
      send(reply, isAnswer(reply) ? { context, ...more } : more));
  }

  /** Ends as a VPP that is killed. */
  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
    await new Promise<void>((done) => { this.server!.close(() => done()); });
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
