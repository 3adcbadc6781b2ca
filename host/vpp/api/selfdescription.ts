// The schema of a running VPP, from itself.
//
//   hand-shake's table ─► CRCs of the three exchanges below ─► get_api_json ─► Schema
//
// get_api_json tells all but the messages of memclnt.api, to which it belongs. What of those a
// client needs is known here, with whichever CRC the running VPP has for them: their fields have
// been the same since they exist.

import { VppSchemaError } from "./errors.ts";
import type { MessageTable } from "./connection.ts";
import { Schema } from "./schema.ts";
import { one } from "./session.ts";
import type { Session } from "./session.ts";

const NAME = "get_api_json";
const REQUEST = [["u32", "client_index"], ["u32", "context"]];
const REPLY = [["u32", "context"], ["i32", "retval"]];

const BEFOREHAND: [name: string, fields: unknown[][]][] = [
  [NAME, REQUEST],
  [`${NAME}_reply`, [...REPLY, ["string", "json", 0]]],
  ["control_ping", REQUEST],
  ["control_ping_reply", [...REPLY, ["u32", "client_index"], ["u32", "vpe_pid"]]],
  ["memclnt_keepalive", REQUEST],
  ["memclnt_keepalive_reply", REPLY],
];

function firstSchema(table: MessageTable): Schema {
  const messages = BEFOREHAND.map(([name, fields]) => [
    name, ["u16", "_vl_msg_id"], ...fields, { crc: `0x${table.crc(name) ?? ""}` },
  ]);
  const services = Object.fromEntries(BEFOREHAND.map(([name]) => name)
    .filter((name) => !name.endsWith("_reply"))
    .map((name) => [name, { reply: `${name}_reply` }]));
  return Schema.parse(JSON.stringify({ messages, services }), "what every VPP answers");
}

/** Begins the session with what is known, and goes on with what VPP tells. */
export async function askSchema(
  begin: (schema: Schema) => Session, table: MessageTable,
): Promise<Session> {
  if (table.crc(NAME) === undefined) {
    throw new VppSchemaError(
      `the running VPP has no ${NAME}: name the directories of its .api.json files`,
    );
  }
  const session = begin(firstSchema(table));
  const reply = await new Promise<Record<string, unknown>>((done, fail) => {
    session.ask(NAME, {}, one(`${NAME}_reply`, done, fail));
  });
  if (Number(reply["retval"]) < 0) throw new VppSchemaError(`${NAME}: VPP gave nothing`);
  session.schema.add(Schema.parse(String(reply["json"]), "the running VPP").files);
  return session;
}
