// Codecs of messages and types, made from their definitions.
//
//   Message ─► fields ─► Codec of each type, made once per .api.json and kept
//
//   struct   an object; a field that is left out is its default or zero; a foreign one is refused
//   array    fixed: as many as it says; counted: the count field follows the array's length
//   union    { arm: value }. Beside a discriminator that field says which arm, and is set by the
//            arm where it is left out. Without one, reading gives every arm, each read when it is
//            looked at; what was read so can be written again.
//   alias    the type behind it, or that many bytes; addresses are text (natural.ts)
//
// Limits: a count shared by several arrays demands arrays of one length.

import { Reader, Writer } from "./bytes.ts";
import { VppPathError, VppSchemaError, VppValueError } from "./errors.ts";
import { naturalCodec } from "./natural.ts";
import {
  asBytes, checkCount, enumCodec, fixedBytes, fixedString, scalarCodec, show, variableString,
} from "./scalars.ts";
import type { Codec, EnumCodec } from "./scalars.ts";
import type { ApiFile, Field, Message, TypeDefinition } from "./schema.ts";
import { UnionCodec, isUnion } from "./union.ts";

export type Values = Record<string, unknown>;

/** Fields that the client itself fills in or reads. */
const OWN = new Set(["client_index", "context"]);

const known = new WeakMap<ApiFile, Map<string, Codec>>();

/** The codec of a type as this file defines it. */
export function typeCodec(file: ApiFile, type: string, where: string): Codec {
  let codecs = known.get(file);
  if (!codecs) known.set(file, codecs = new Map());
  const made = codecs.get(type) ?? scalarCodec(type);
  if (made) return made;
  const definition = file.types.get(type);
  if (!definition) {
    throw new VppSchemaError(`${file.origin}: ${where}: type ${type} is not defined`);
  }
  // While it is made, a type inside itself would end here.
  const endless: Codec = {
    get size(): number {
      throw new VppSchemaError(`${file.origin}: type ${type} holds itself`);
    },
    write: () => {}, read: () => undefined,
  };
  codecs.set(type, endless);
  const codec = naturalCodec(type, definedCodec(file, definition));
  codecs.set(type, codec);
  return codec;
}

function definedCodec(file: ApiFile, definition: TypeDefinition): Codec {
  const { name } = definition;
  switch (definition.kind) {
    case "enum":
    case "enumflag":
      return enumCodec(name, definition.base, definition.members, definition.kind === "enumflag");
    case "struct":
      return new StructCodec(file, name, definition.fields);
    case "union":
      return new UnionCodec(name, definition.fields.map((field) => ({
        name: field.name, case: field.options.case, codec: fieldCodec(file, field, name),
      })));
    case "alias":
      if (definition.length === 0) return typeCodec(file, definition.type, name);
      if (definition.type === "u8") return fixedBytes(definition.length, true);
      return fixedArray(typeCodec(file, definition.type, name), definition.length);
  }
}

function fieldCodec(file: ApiFile, field: Field, owner: string): Codec {
  const where = `${owner}.${field.name}`;
  if (field.type === "string" && field.shape !== "counted" && field.shape !== "rest") {
    return field.length > 0 ? fixedString(field.length) : variableString(field.options.limit);
  }
  const one = typeCodec(file, field.type, where);
  switch (field.shape) {
    case "one":
      return field.options.default === undefined ? one : withDefault(one, field, where);
    case "fixed":
      return field.type === "u8" ? fixedBytes(field.length, false) : fixedArray(one, field.length);
    case "counted":
      return new ListCodec(one, field);
    case "rest":
      return restArray(one);
  }
}

function withDefault(codec: Codec, field: Field, where: string): Codec {
  const value = defaultOf(field);
  try {
    codec.write(new Writer(), value);
  } catch (error) {
    if (!(error instanceof VppValueError)) throw error;
    throw new VppSchemaError(`${where}: its default: ${error.problem}`);
  }
  // An enumeration keeps its numbers of names.
  return Object.assign(Object.create(codec) as Codec, {
    write: (to: Writer, given: unknown) => codec.write(to, given === undefined ? value : given),
  });
}

/** Defaults are written as a C compiler would take them: "true", 1 for true, -1 for all ones. */
function defaultOf(field: Field): unknown {
  const given = field.options.default;
  const { type } = field;
  if (type === "bool") return given === true || given === "true" || Number(given) > 0;
  if (/^u(8|16|32)$/.test(type) && typeof given === "number" && given < 0) {
    return given + 2 ** Number(type.slice(1));
  }
  return typeof given === "string" && /^-?(0x)?\d+$/.test(given) ? Number(given) : given;
}

function elements(value: unknown): ArrayLike<unknown> {
  if (value === undefined) return [];
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return value as unknown[];
  throw new VppValueError(`${show(value)} is no array`);
}

function writeAll(codec: Codec, to: Writer, list: ArrayLike<unknown>): void {
  for (let i = 0; i < list.length; i++) {
    try {
      codec.write(to, list[i]);
    } catch (error) {
      throw error instanceof VppPathError ? error.within(`[${i}]`) : error;
    }
  }
}

function readAll(codec: Codec, from: Reader, count: number): unknown[] {
  checkCount(from, count, codec.size);
  return Array.from({ length: count }, (_, i) => {
    try {
      return codec.read(from);
    } catch (error) {
      throw error instanceof VppPathError ? error.within(`[${i}]`) : error;
    }
  });
}

function fixedArray(codec: Codec, length: number): Codec {
  return {
    size: codec.size * length,
    write(to, value) {
      const list = value === undefined ? new Array<undefined>(length) : elements(value);
      if (list.length !== length) {
        throw new VppValueError(`${list.length} elements where ${length} belong`);
      }
      writeAll(codec, to, list);
    },
    read: (from) => readAll(codec, from, length),
  };
}

/** T x[0] without a count: all that is left of the message. */
function restArray(codec: Codec): Codec {
  return {
    size: 0,
    write: (to, value) => writeAll(codec, to, elements(value)),
    read: (from) => readAll(codec, from, codec.size > 0 ? Math.floor(from.left / codec.size) : 0),
  };
}

/** An array whose length another field says: read needs that number. */
class ListCodec implements Codec {
  readonly size = 0;
  private readonly areBytes: boolean;
  private readonly limit: number | undefined;

  constructor(private readonly codec: Codec, field: Field) {
    this.areBytes = field.type === "u8" || field.type === "string";
    this.limit = field.options.limit;
  }

  lengthOf(value: unknown): number {
    const { length } = elements(value);
    if (this.limit !== undefined && length > this.limit) {
      throw new VppValueError(`${length} elements, at most ${this.limit} are allowed`);
    }
    return length;
  }

  write(to: Writer, value: unknown): void {
    if (this.areBytes) to.put(value === undefined ? new Uint8Array(0) : asBytes(value));
    else writeAll(this.codec, to, elements(value));
  }

  read(): never {
    throw new VppSchemaError("a counted array outside of a struct");
  }

  readCounted(from: Reader, count: number): unknown {
    if (this.areBytes) return from.bytes(count);
    return readAll(this.codec, from, count);
  }
}

interface Part {
  name: string;
  codec: Codec;
  /** Of a counted array: its count field. */
  count: string | undefined;
  /** Of a count field: its arrays. */
  counts: { name: string; codec: ListCodec }[];
  /** Of a union: the part that says which arm. */
  discriminator: Part | undefined;
  /** Of such a part: the unions. */
  chooses: { name: string; union: UnionCodec }[];
}

export class StructCodec implements Codec {
  readonly size: number;
  private readonly parts: Part[] = [];
  private readonly names: Set<string>;

  constructor(file: ApiFile, private readonly name: string, fields: readonly Field[]) {
    for (const field of fields) {
      const codec = fieldCodec(file, field, name);
      const part: Part = {
        name: field.name, codec, count: field.count, counts: [], discriminator: undefined,
        chooses: [],
      };
      const named = (other: string | undefined) => this.parts.find((each) => each.name === other);
      if (codec instanceof ListCodec) named(field.count)?.counts.push({ name: field.name, codec });
      const chooser = named(field.options.discriminator);
      if (chooser && isUnion(codec)) {
        part.discriminator = chooser;
        chooser.chooses.push({ name: field.name, union: codec });
      }
      this.parts.push(part);
    }
    this.names = new Set(fields.map((field) => field.name));
    this.size = this.parts.reduce((sum, { codec }) => sum + codec.size, 0);
  }

  write(to: Writer, value: unknown): void {
    if (value !== undefined && (typeof value !== "object" || value === null
      || Array.isArray(value) || ArrayBuffer.isView(value))) {
      throw new VppValueError(`${show(value)} where the fields of ${this.name} belong`);
    }
    const values = (value ?? {}) as Values;
    for (const name in values) {
      if (!this.names.has(name)) {
        const names = [...this.names].filter((each) => !OWN.has(each));
        throw new VppValueError(`${this.name} has no such field; it has ${names.join(", ")}`)
          .within(`.${name}`);
      }
    }
    for (const part of this.parts) {
      try {
        part.codec.write(to, this.valueOf(part, values));
      } catch (error) {
        throw error instanceof VppPathError ? error.within(`.${part.name}`) : error;
      }
    }
  }

  /** A part's value as given, or as other parts have it: counts and discriminators. */
  private valueOf(part: Part, values: Values): unknown {
    const given = values[part.name];
    if (part.counts.length > 0) return countOf(part, values);
    for (const { name, union } of part.chooses) {
      const arm = values[name] === undefined ? undefined : union.caseOf(values[name]);
      if (arm === undefined) continue;
      if (given === undefined) return arm;
      const codec = part.codec as EnumCodec;
      if (codec.number?.(given) !== codec.number?.(arm)) {
        throw new VppValueError(`${show(given)}, but ${name} holds what belongs to ${arm}`);
      }
    }
    return given;
  }

  read(from: Reader): Values {
    const values: Values = {};
    const chosen = new Map<Part, unknown>();
    for (const part of this.parts) {
      try {
        values[part.name] = this.readPart(part, from, values, chosen);
      } catch (error) {
        throw error instanceof VppPathError ? error.within(`.${part.name}`) : error;
      }
      if (part.chooses.length > 0) chosen.set(part, values[part.name]);
    }
    return values;
  }

  private readPart(
    part: Part, from: Reader, values: Values, chosen: ReadonlyMap<Part, unknown>,
  ): unknown {
    if (part.codec instanceof ListCodec) {
      return part.codec.readCounted(from, Number(values[part.count!]));
    }
    if (!part.discriminator || !isUnion(part.codec)) return part.codec.read(from);
    return part.codec.readArm(from, chosen.get(part.discriminator));
  }
}

function countOf(part: Part, values: Values): unknown {
  const given = values[part.name];
  let count: number | undefined;
  for (const { name, codec } of part.counts) {
    let length: number;
    try {
      length = codec.lengthOf(values[name]);
    } catch (error) {
      throw error instanceof VppPathError ? error.within(` (${name})`) : error;
    }
    if (count !== undefined && count !== length) {
      const names = part.counts.map((each) => each.name).join(" and ");
      throw new VppValueError(`it counts ${names}, which differ in length`);
    }
    count = length;
  }
  if (given !== undefined && Number(given) !== count) {
    const names = part.counts.map(({ name }) => name).join(" and ");
    throw new VppValueError(`${show(given)}, but ${names} has ${count} elements`);
  }
  return count;
}

const messages = new WeakMap<Message, StructCodec>();

function messageCodec(message: Message): StructCodec {
  let codec = messages.get(message);
  if (!codec) {
    codec = new StructCodec(message.file, message.name, message.fields);
    messages.set(message, codec);
  }
  return codec;
}

/** A message as it goes over the wire: its number, then its fields. */
export function encodeMessage(
  message: Message, number: number, fields: Values, bigFloats = false,
): Buffer {
  const to = new Writer(bigFloats);
  to.buffer.writeUInt16BE(number, to.reserve(2));
  try {
    messageCodec(message).write(to, fields);
  } catch (error) {
    throw error instanceof VppPathError ? error.within(message.name) : error;
  }
  return to.finish();
}

/** The fields of a message, without its number. */
export function decodeMessage(message: Message, bytes: Buffer, bigFloats = false): Values {
  try {
    return messageCodec(message).read(new Reader(bytes, 2, bigFloats));
  } catch (error) {
    throw error instanceof VppPathError ? error.within(message.name) : error;
  }
}
