// VPP's API as its .api.json files describe it: messages, types, services.
//
//   {prefix}/share/vpp/api/{core,plugins}/*.api.json ─┐
//   get_api_json of a running VPP (a list of the same) ┴► Schema ─► name ─► Message {fields, crc}
//
// A file holds all types that its messages name (imported ones are repeated in it), so a name is
// looked up in the message's own file: a plugin built for another version does not disturb others.
// A field is [type, name], [type, name, length], [type, name, 0, count field] (a variable array),
// ["string", name, 0] (a string with its length before it), and may end in {default, limit,
// discriminator, case}.
//
// Limits: only what the compiler of .api files is known to write; anything else is an error that
// names the file and the field.

import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { VppSchemaError } from "./errors.ts";

export interface FieldOptions {
  default?: number | string | boolean;
  limit?: number;
  /** Of a union: the field beside it whose value says which arm is meant. */
  discriminator?: string;
  /** Of a union's arm: the name of that value. */
  case?: string;
}

export interface Field {
  name: string;
  /** Without vl_api_ and _t: "u32", "address". */
  type: string;
  /** one value, a fixed array, an array counted by another field, or all that is left. */
  shape: "one" | "fixed" | "counted" | "rest";
  /** Of a fixed array or string. */
  length: number;
  /** Of a counted array: the field that holds its length. */
  count?: string;
  options: FieldOptions;
}

export type TypeDefinition =
  | { kind: "struct" | "union"; name: string; fields: Field[] }
  | { kind: "enum" | "enumflag"; name: string; base: string; members: [string, number][] }
  | { kind: "alias"; name: string; type: string; length: number };

export interface Message {
  name: string;
  /** Eight hex digits. */
  crc: string;
  /** All fields of the wire after the message's number. */
  fields: Field[];
  file: ApiFile;
}

export interface Service {
  request: string;
  /** The reply's name, or "null" where none comes; of a dump, the name of its details. */
  reply: string;
  stream: boolean;
  /** Of a get: the name of its details, which come before the reply. */
  details?: string;
  events: string[];
}

/** One .api.json. */
export interface ApiFile {
  /** What messages of errors call it. */
  origin: string;
  types: Map<string, TypeDefinition>;
  messages: Message[];
  services: Service[];
}

type Json = Record<string, unknown>;

export class Schema {
  readonly messages = new Map<string, Message>();
  readonly services = new Map<string, Service>();
  readonly files: ApiFile[] = [];

  /** Reads all .api.json files below these directories. */
  static readDirectories(directories: readonly string[]): Schema {
    const schema = new Schema();
    for (const directory of directories) {
      if (!existsSync(directory)) throw new VppSchemaError(`${directory}: not there`);
      for (const path of apiFiles(directory)) schema.add(parse(readFileSync(path, "utf8"), path));
    }
    if (schema.files.length === 0) {
      throw new VppSchemaError(`${directories.join(", ")}: no .api.json file there`);
    }
    return schema;
  }

  /** From the text of one file, or of the list that get_api_json answers. */
  static parse(text: string, origin: string): Schema {
    const schema = new Schema();
    schema.add(parse(text, origin));
    return schema;
  }

  /** Of two definitions of a name the later one is taken. */
  add(files: readonly ApiFile[]): void {
    for (const file of files) {
      this.files.push(file);
      for (const message of file.messages) this.messages.set(message.name, message);
      for (const service of file.services) this.services.set(service.request, service);
    }
  }

  message(name: string): Message {
    const message = this.messages.get(name);
    if (!message) throw new VppSchemaError(`${name}: no .api.json that was read defines it`);
    return message;
  }
}

function apiFiles(directory: string): string[] {
  return readdirSync(directory).sort().flatMap((name) => {
    const path = join(directory, name);
    if (statSync(path).isDirectory()) return apiFiles(path);
    return name.endsWith(".api.json") ? [path] : [];
  });
}

function parse(text: string, origin: string): ApiFile[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new VppSchemaError(`${origin}: not JSON (${(error as Error).message})`);
  }
  const list = Array.isArray(json) ? json as Json[] : [json as Json];
  return list.map((each) => readFile(
    each, list.length > 1 ? `${origin} (module ${String(each["module"])})` : origin,
  ));
}

function readFile(json: Json, origin: string): ApiFile {
  if (typeof json !== "object" || json === null || !Array.isArray(json["messages"])) {
    throw new VppSchemaError(`${origin}: not a description of an API: it has no "messages"`);
  }
  const file: ApiFile = { origin, types: new Map(), messages: [], services: [] };
  const list = (key: string) => (json[key] ?? []) as unknown[][];
  const put = (type: TypeDefinition) => { file.types.set(type.name, type); };
  for (const kind of ["struct", "union"] as const) {
    for (const [name, ...rest] of list(kind === "struct" ? "types" : "unions")) {
      put({ kind, name: name as string, fields: readFields(rest, `${origin}: ${name}`) });
    }
  }
  for (const kind of ["enum", "enumflag"] as const) {
    for (const [name, ...rest] of list(kind === "enum" ? "enums" : "enumflags")) {
      const tail = rest.find((each) => !Array.isArray(each)) as { enumtype?: string } | undefined;
      const members = rest.filter(Array.isArray) as [string, number][];
      put({
        kind: isFlags(name as string, members) ? "enumflag" : kind,
        name: name as string, base: tail?.enumtype ?? "u32", members,
      });
    }
  }
  const aliases = (json["aliases"] ?? {}) as Record<string, { type: string; length?: number }>;
  for (const [name, { type, length }] of Object.entries(aliases)) {
    put({ kind: "alias", name, type: plain(type), length: length ?? 0 });
  }
  for (const [name, ...rest] of list("messages")) {
    file.messages.push(readMessage(name as string, rest, file));
  }
  for (const [request, service] of Object.entries((json["services"] ?? {}) as Json)) {
    file.services.push(readService(request, service as Json));
  }
  return file;
}

/** Most enumerations of bits are declared as plain ones: their names or numbers tell. */
function isFlags(name: string, members: readonly [string, number][]): boolean {
  const numbers = members.map(([, number]) => number);
  const areBits = numbers.every((number) => (number & (number - 1)) === 0);
  return /_flags$/.test(name) || (areBits && Math.max(...numbers) >= 8);
}

function readMessage(name: string, rest: unknown[], file: ApiFile): Message {
  const tail = rest.find((each) => !Array.isArray(each)) as { crc?: string } | undefined;
  if (typeof tail?.crc !== "string") {
    throw new VppSchemaError(`${file.origin}: ${name}: it has no crc`);
  }
  const fields = readFields(rest, `${file.origin}: ${name}`)
    .filter((field) => field.name !== "_vl_msg_id");
  return { name, crc: tail.crc.replace(/^0x/, "").padStart(8, "0"), fields, file };
}

function readService(request: string, json: Json): Service {
  const details = json["stream_msg"] as string | undefined;
  return {
    request,
    reply: String(json["reply"] ?? "null"),
    stream: json["stream"] === true,
    events: (json["events"] ?? []) as string[],
    ...(details === undefined ? {} : { details }),
  };
}

function readFields(list: unknown[], where: string): Field[] {
  const fields: Field[] = [];
  for (const each of list) {
    if (Array.isArray(each)) fields.push(readField(each, where, fields));
  }
  return fields;
}

function readField(parts: unknown[], where: string, before: readonly Field[]): Field {
  const last = parts.at(-1);
  const hasOptions = typeof last === "object" && last !== null;
  const options = (hasOptions ? last : {}) as FieldOptions;
  const [type, name, length, count] = hasOptions ? parts.slice(0, -1) : parts;
  if (typeof type !== "string" || typeof name !== "string") {
    throw new VppSchemaError(`${where}: a field without type and name: ${JSON.stringify(parts)}`);
  }
  const field: Field = { name, type: plain(type), shape: "one", length: 0, options };
  if (length === undefined) return field;
  if (typeof length !== "number") {
    throw new VppSchemaError(`${where}.${name}: its length is not a number`);
  }
  field.length = length;
  if (typeof count === "string") {
    if (!before.some((each) => each.name === count)) {
      throw new VppSchemaError(`${where}.${name}: its count ${count} is no field before it`);
    }
    return { ...field, shape: "counted", count };
  }
  if (length > 0) return { ...field, shape: "fixed" };
  return { ...field, shape: field.type === "string" ? "one" : "rest" };
}

/** vl_api_address_t is defined as address. */
function plain(type: string): string {
  return type.startsWith("vl_api_") && type.endsWith("_t") ? type.slice(7, -2) : type;
}
