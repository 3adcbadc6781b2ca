// Recorded exchanges with a running VPP: made by a proxy, kept as text, played by a server.
//
//   client ─► proxy ─► VPP       a line a frame: "> name" or "< name", then its bytes in hex
//   client ─► player             what the client sends must be what was sent, byte for byte
//
// Of the table of the hand-shake only the messages below are kept. Their fields are written here,
// by hand; names, numbers and CRCs are those that VPP told.

import { createServer, connect } from "node:net";
import type { Server } from "node:net";
import { Frames } from "../../../host/vpp/api/connection.ts";
import type { VppClient } from "../../../host/vpp/api/index.ts";
import { Schema } from "../../../host/vpp/api/schema.ts";
import { createReply, framed } from "./garden.ts";

const ID = ["u16", "_vl_msg_id"];
const ASK = [ID, ["u32", "client_index"], ["u32", "context"]];
const ANSWER = [ID, ["u32", "context"], ["i32", "retval"]];

/** Their fields, by name. */
export const MESSAGES: Record<string, unknown[][]> = {
  control_ping: ASK,
  control_ping_reply: [...ANSWER, ["u32", "client_index"], ["u32", "vpe_pid"]],
  create_loopback: [...ASK, ["vl_api_mac_address_t", "mac_address"]],
  create_loopback_reply: [...ANSWER, ["u32", "sw_if_index"]],
  sw_interface_set_flags: [...ASK, ["u32", "sw_if_index"], ["vl_api_status_flags_t", "flags"]],
  sw_interface_set_flags_reply: ANSWER,
  sw_interface_add_del_address: [
    ...ASK, ["u32", "sw_if_index"], ["bool", "is_add"], ["bool", "del_all"],
    ["vl_api_prefix_t", "prefix"],
  ],
  sw_interface_add_del_address_reply: ANSWER,
  ip_address_dump: [...ASK, ["u32", "sw_if_index"], ["bool", "is_ipv6"]],
  ip_address_details: [
    ID, ["u32", "context"], ["u32", "sw_if_index"], ["vl_api_prefix_t", "prefix"],
  ],
  ip_path_mtu_get: [...ASK, ["u32", "cursor"]],
  ip_path_mtu_get_reply: [...ANSWER, ["u32", "cursor"]],
  want_interface_events: [...ASK, ["u32", "enable_disable"], ["u32", "pid"]],
  want_interface_events_reply: ANSWER,
  sw_interface_event: [
    ID, ["u32", "client_index"], ["u32", "pid"], ["u32", "sw_if_index"],
    ["vl_api_status_flags_t", "flags"], ["bool", "deleted"],
  ],
  cli_inband: [...ASK, ["string", "cmd", 0]],
  cli_inband_reply: [...ANSWER, ["string", "reply", 0]],
};

/** The schema of those messages, with the CRCs that a VPP told. */
export function schemaOf(crcs: ReadonlyMap<string, string>): Schema {
  const isRequest = (name: string) => `${name}_reply` in MESSAGES;
  const services = Object.keys(MESSAGES).filter(isRequest)
    .map((name) => [name, { reply: `${name}_reply` }] as [string, object]);
  return Schema.parse(JSON.stringify({
    types: [
      ["address", ["u8", "af"], ["vl_api_ip6_address_t", "un"]],
      ["prefix", ["vl_api_address_t", "address"], ["u8", "len"]],
    ],
    enumflags: [["status_flags", ["UP", 1], ["LINK", 2], { enumtype: "u32" }]],
    aliases: {
      mac_address: { type: "u8", length: 6 }, ip6_address: { type: "u8", length: 16 },
    },
    messages: Object.entries(MESSAGES)
      .map(([name, fields]) => [name, ...fields, { crc: `0x${crcs.get(name) ?? ""}` }]),
    services: {
      ...Object.fromEntries(services),
      ip_address_dump: { reply: "ip_address_details", stream: true },
      ip_path_mtu_get: {
        reply: "ip_path_mtu_get_reply", stream: true, stream_msg: "ip_path_mtu_details",
      },
      want_interface_events: {
        reply: "want_interface_events_reply", events: ["sw_interface_event"],
      },
    },
  }), "messages written by hand");
}

/** What is done while it is recorded, and done again when it is played. */
export async function exchange(vpp: VppClient): Promise<unknown> {
  const { sw_if_index } = await vpp.call("create_loopback", { mac_address: "02:fe:00:00:00:01" });
  const events = vpp.events("want_interface_events", { pid: 4242 });
  await events.ready;
  const add = (prefix: string) =>
    vpp.call("sw_interface_add_del_address", { sw_if_index, is_add: true, prefix });
  await Promise.all([add("10.9.0.1/24"), add("10.9.1.1/32")]);
  await add("fd09::1/64");
  await vpp.call("sw_interface_set_flags", { sw_if_index, flags: ["UP"] });
  const { value: event } = await events.next();
  const addresses: unknown[] = [];
  for (const is_ipv6 of [false, true]) {
    for await (const { prefix } of vpp.dump("ip_address_dump", { sw_if_index, is_ipv6 })) {
      addresses.push(prefix);
    }
  }
  const refused: unknown = await vpp.call("sw_interface_set_flags", { sw_if_index: 999 })
    .then(() => "taken", (error: Error) => error.message);
  const { reply } = await vpp.call("cli_inband", { cmd: "show interface loop0" });
  const { details } = await vpp.get("ip_path_mtu_get", { cursor: 0 });
  return { sw_if_index, event, addresses, refused, reply, details };
}

type Line = { from: "client" | "vpp"; bytes: Buffer };

/** Writes down what goes through it. */
export class Recorder {
  private readonly lines: Line[] = [];
  private readonly server: Server;

  constructor(path: string, real: string) {
    this.server = createServer((client) => {
      const vpp = connect(real);
      const pass = (from: Line["from"], to: typeof vpp) => {
        const frames = new Frames();
        return (chunk: Buffer) => {
          for (const bytes of frames.take(chunk)) {
            this.lines.push({ from, bytes: Buffer.from(bytes) });
          }
          to.write(chunk);
        };
      };
      client.on("data", pass("client", vpp)).on("close", () => vpp.destroy());
      vpp.on("data", pass("vpp", client)).on("close", () => client.destroy());
    }).listen(path);
  }

  close(): void {
    this.server.close();
  }

  text(): string {
    const table = readTable(this.lines[1]!.bytes).filter(([name]) => nameOf(name) in MESSAGES);
    const names = new Map(table.map(([name, number]) => [number, nameOf(name)]));
    names.set(15, "sockclnt_create").set(16, "sockclnt_create_reply");
    return this.lines.map(({ from, bytes }) => {
      const number = bytes.readUInt16BE(0);
      if (number === 16) bytes = withTable(bytes, table);
      const hex = bytes.toString("hex").replace(/.{1,96}/g, "  $&\n");
      return `${from === "client" ? ">" : "<"} ${names.get(number) ?? number}\n${hex}`;
    }).join("");
  }
}

const nameOf = (nameAndCrc: string): string => nameAndCrc.slice(0, nameAndCrc.lastIndexOf("_"));

function readTable(bytes: Buffer): [string, number][] {
  return Array.from({ length: bytes.readUInt16BE(18) }, (_, i) => {
    const at = 20 + 66 * i;
    const name = bytes.toString("latin1", at + 2, bytes.indexOf(0, at + 2));
    return [name, bytes.readUInt16BE(at)];
  });
}

function withTable(bytes: Buffer, table: readonly [string, number][]): Buffer {
  const reply = createReply(table);
  bytes.copy(reply, 0, 0, 18);
  return reply;
}

export function parseRecording(text: string): Line[] {
  const lines: Line[] = [];
  for (const line of text.split("\n")) {
    if (/^[<>]/.test(line)) {
      lines.push({ from: line[0] === ">" ? "client" : "vpp", bytes: Buffer.alloc(0) });
    } else if (line.startsWith("  ")) {
      const last = lines.at(-1)!;
      last.bytes = Buffer.concat([last.bytes, Buffer.from(line.trim(), "hex")]);
    }
  }
  return lines;
}

/** The hand-written schema with the CRCs of a recording's hand-shake. */
export function schemaOfRecording(lines: readonly Line[]): Schema {
  const table = readTable(lines.find(({ from }) => from === "vpp")!.bytes);
  return schemaOf(new Map(table.map(([name]) => [nameOf(name), name.slice(-8)])));
}

/** Answers as it was recorded; what the client sends otherwise than then is an error. */
export class Player {
  readonly differences: string[] = [];
  private at = 0;
  private readonly server: Server;

  constructor(path: string, private readonly lines: readonly Line[]) {
    this.server = createServer((socket) => {
      const frames = new Frames();
      socket.on("error", () => {});
      socket.on("data", (chunk: Buffer) => {
        for (const bytes of frames.take(chunk)) {
          this.compare(bytes);
          while (this.lines[this.at]?.from === "vpp") {
            socket.write(framed(this.lines[this.at++]!.bytes));
          }
        }
      });
    }).listen(path);
  }

  private compare(bytes: Buffer): void {
    const wanted = this.lines[this.at++];
    if (!wanted?.bytes.equals(bytes)) {
      this.differences.push(`${bytes.toString("hex")}\n${wanted?.bytes.toString("hex")}`);
    }
  }

  get isDone(): boolean {
    return this.at === this.lines.length;
  }

  close(): void {
    this.server.close();
  }
}
