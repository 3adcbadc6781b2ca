// What is asked of VPP over one connection, and what comes back.
//
//   ask(message, fields, taker) ─► context ─► ... ─► taker.take(reply) until it answers true
//   a message without a context of ours is an event
//
// Every message's CRC is compared with the running VPP's before it is sent or read: fields of
// another version would be read wrongly, in silence.
// Limits: contexts are 32 bits and begin anew after four thousand million requests.

import { decodeMessage, encodeMessage } from "./codec.ts";
import type { Values } from "./codec.ts";
import type { Connection } from "./connection.ts";
import { VppDecodeError, VppSchemaError, VppTimeoutError } from "./errors.ts";
import type { Message, Schema } from "./schema.ts";

export interface Taker {
  /** A message with the request's context; true when it is the last. */
  take(message: Message, values: Values): boolean;
  fail(error: Error): void;
}

interface Pending {
  request: string;
  taker: Taker;
  timer: NodeJS.Timeout;
}

export class Session {
  private readonly pending = new Map<number, Pending>();
  private lastContext = 0;
  /** Floats big-endian: see bytes.ts. */
  bigFloats = false;

  constructor(
    readonly connection: Connection,
    readonly schema: Schema,
    private readonly secondsMax: number,
    private readonly event: (name: string, values: Values) => void,
    closed: (error: Error) => void,
  ) {
    connection.start({
      message: (bytes) => this.receive(bytes),
      close: (error) => {
        for (const { request, taker, timer } of this.pending.values()) {
          clearTimeout(timer);
          error.cause = request;
          taker.fail(error);
        }
        this.pending.clear();
        closed(error);
      },
    });
  }

  /** The number of a message in this VPP; throws where it has none, or is another version's. */
  numberOf(message: Message): number {
    const { table } = this.connection;
    const number = table.number(message.name, message.crc);
    if (number !== undefined) return number;
    const crc = table.crc(message.name);
    if (crc === undefined) {
      throw new VppSchemaError(
        `${message.name} (${message.file.origin}): the running VPP has no such message; `
        + "its plugin is not loaded, or another version runs",
      );
    }
    throw new VppSchemaError(
      `${message.name}: the running VPP has CRC ${crc}, ${message.file.origin} has `
      + `${message.crc}: this file is of another version`,
    );
  }

  /** Sends a request; what comes back goes to the taker. Answers its context. */
  ask(name: string, fields: Values, taker: Taker): number {
    const message = this.schema.message(name);
    const number = this.numberOf(message);
    const context = this.lastContext = (this.lastContext + 1) >>> 0;
    const own = { client_index: this.connection.clientIndex, context };
    const bytes = encodeMessage(message, number, withOwn(message, fields, own), this.bigFloats);
    const timer = setTimeout(() => {
      this.pending.delete(context);
      taker.fail(new VppTimeoutError(`${name}: no answer in ${this.secondsMax} s`));
    }, this.secondsMax * 1000);
    this.pending.set(context, { request: name, taker, timer });
    try {
      this.connection.send(bytes);
    } catch (error) {
      this.forget(context);
      throw error;
    }
    return context;
  }

  /** Sends what is not answered. */
  tell(name: string, fields: Values, context = 0): void {
    const message = this.schema.message(name);
    const own = { client_index: this.connection.clientIndex, context };
    const all = withOwn(message, fields, own);
    this.connection.send(encodeMessage(message, this.numberOf(message), all, this.bigFloats));
  }

  private receive(bytes: Buffer): void {
    const name = this.connection.table.name(bytes.readUInt16BE(0));
    const message = name === undefined ? undefined : this.schema.messages.get(name);
    // What no .api.json describes is nothing that one asked for.
    if (!message) return;
    const hasContext = message.fields[0]?.name === "context";
    const context = hasContext && bytes.length >= 6 ? bytes.readUInt32BE(2) : undefined;
    const pending = context === undefined ? undefined : this.pending.get(context);
    try {
      this.numberOf(message);
      const values = decodeMessage(message, bytes, this.bigFloats);
      if (message.name === "memclnt_keepalive") {
        this.tell("memclnt_keepalive_reply", { retval: 0 }, values["context"] as number);
      } else if (hasContext) {
        delete values["context"];
        if (pending) this.hand(context!, pending, message, values);
      } else {
        delete values["client_index"];
        this.event(message.name, values);
      }
    } catch (error) {
      if (!pending) return;
      this.forget(context!);
      pending.taker.fail(error as Error);
    }
  }

  private hand(context: number, pending: Pending, message: Message, values: Values): void {
    if (pending.taker.take(message, values)) this.forget(context);
    else pending.timer.refresh();
  }

  /** Nothing more is awaited for it. */
  forget(context: number): void {
    clearTimeout(this.pending.get(context)?.timer);
    this.pending.delete(context);
  }
}

function withOwn(message: Message, fields: Values, own: Values): Values {
  const all = { ...fields };
  for (const { name } of message.fields) if (name in own) all[name] = own[name];
  return all;
}

/** A taker of one reply of this name. */
export function one(
  name: string, done: (values: Values) => void, fail: (error: Error) => void,
): Taker {
  return {
    take(message, values) {
      if (message.name === name) done(values);
      else fail(new VppDecodeError(`${message.name} came where ${name} was awaited`));
      return true;
    },
    fail,
  };
}
