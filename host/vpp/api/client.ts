// A client of VPP's binary API.
//
//   connect ─► hand-shake ─► schema (files, or VPP's own get_api_json) ─► call, dump, get, events
//      ▲                                                                   │ the connection ends
//      └── reconnect: waits 0.1 s, twice as long each time, at most 3 s ◄──┘ "close"
//
// Calls are pipelined: each is sent at once, and VPP answers in order. When a connection ends, what
// was awaited fails (it may have been carried out or not); with `reconnect` later calls wait for
// the next connection, and registrations for events are made anew.
//
//   on("close", (error) => …)     on("connect", () => …)     on("event", (name, fields) => …)

import { EventEmitter } from "node:events";
import type { Values } from "./codec.ts";
import { Connection } from "./connection.ts";
import { ErrorNames, RETVAL_AGAIN } from "./errno.ts";
import { VppCallError, VppConnectionError, VppSchemaError } from "./errors.ts";
import { EventStream, Registrations } from "./events.ts";
import { askSchema } from "./selfdescription.ts";
import { Schema } from "./schema.ts";
import type { Service } from "./schema.ts";
import { Session, one } from "./session.ts";
import { Stream } from "./stream.ts";
import type {
  AnyApi, ApiShape, DetailsOf, EventOf, Fields, NameOf, ReplyOf,
} from "./types.ts";

const WAIT_MS_MIN = 100;
const WAIT_MS_MAX = 3000;

export interface VppClientOptions {
  /** VPP's API socket; default /run/vpp/api.sock. */
  socket?: string;
  /** Where .api.json files are, such as /usr/share/vpp/api; default: the running VPP is asked. */
  apiDirectories?: readonly string[];
  /** A schema that was read already. */
  schema?: Schema;
  /** What VPP calls this client. */
  name?: string;
  /** Make the connection anew whenever it ends. */
  reconnect?: boolean;
  connectSecondsMax?: number;
  /** How long an answer is awaited. */
  replySecondsMax?: number;
}

export interface VppClientEvents {
  connect: [];
  close: [error: Error];
  event: [name: string, fields: Values];
}

export interface Page<Details, Reply> {
  details: Details[];
  reply: Reply;
}

export class VppClient<A extends ApiShape = AnyApi> {
  private readonly emitter = new EventEmitter();
  private readonly registrations: Registrations;
  private readonly errors = new ErrorNames();
  private session: Session | undefined;
  private next: Promise<Session> | undefined;
  private isClosed = false;
  private process = 0;

  private constructor(private readonly options: VppClientOptions) {
    this.errors.readBeside(options.apiDirectories ?? []);
    this.registrations = new Registrations((name, fields) => this.request(name, fields));
  }

  static async connect<A extends ApiShape = AnyApi>(
    options: VppClientOptions = {},
  ): Promise<VppClient<A>> {
    const client = new VppClient<A>(options);
    await client.open();
    return client;
  }

  /** A request with one reply. */
  async call<N extends NameOf<A["calls"]>>(
    name: N, ...[fields]: Fields<A["calls"][N]>
  ): Promise<ReplyOf<A["calls"][N]>> {
    return await this.request(name, (fields ?? {}) as Values) as ReplyOf<A["calls"][N]>;
  }

  /** All details of a dump; of a get page after page until there is no more. */
  async *dump<N extends NameOf<A["dumps"]>>(
    name: N, ...[fields]: Fields<A["dumps"][N]>
  ): AsyncGenerator<DetailsOf<A["dumps"][N]>, void> {
    type Details = DetailsOf<A["dumps"][N]>;
    const values = (fields ?? {}) as Values;
    const session = await this.ready();
    const service = serviceOf(session, name, "stream");
    if (service.details === undefined) {
      yield* dumpOf(session, service, values) as AsyncIterable<Details>;
      return;
    }
    for (let cursor: unknown = values["cursor"] ?? 0; ;) {
      const page = await this.page(name, { ...values, cursor });
      yield* page.details as Details[];
      if (page.reply["retval"] !== RETVAL_AGAIN) return;
      cursor = page.reply["cursor"];
    }
  }

  /** One page of a get: its details, and the reply with the next page's cursor. */
  async get<N extends NameOf<A["dumps"]>>(
    name: N, ...[fields]: Fields<A["dumps"][N]>
  ): Promise<Page<DetailsOf<A["dumps"][N]>, ReplyOf<A["dumps"][N]>>> {
    type Got = Page<DetailsOf<A["dumps"][N]>, ReplyOf<A["dumps"][N]>>;
    return await this.page(name, (fields ?? {}) as Values) as Got;
  }

  /** Registers for events and gives them as they come, under `_name` their message's name. */
  events<N extends NameOf<A["events"]>>(
    name: N, ...[fields]: Fields<A["events"][N]>
  ): EventStream<EventOf<A["events"][N]>> {
    const opened = this.ready().then((session) => {
      const { events } = serviceOf(session, name, "events");
      return { events, message: session.schema.message(name) };
    });
    return this.registrations.open<EventOf<A["events"][N]>>(name, (fields ?? {}) as Values, opened);
  }

  on<E extends keyof VppClientEvents>(
    event: E, listener: (...values: VppClientEvents[E]) => void,
  ): this {
    this.emitter.on(event, listener);
    return this;
  }

  off<E extends keyof VppClientEvents>(
    event: E, listener: (...values: VppClientEvents[E]) => void,
  ): this {
    this.emitter.off(event, listener);
    return this;
  }

  get connected(): boolean {
    return this.session !== undefined;
  }

  /** The process number of the VPP that was connected last. */
  get pid(): number {
    return this.process;
  }

  /** What is known of the API. */
  async schema(): Promise<Schema> {
    return (await this.ready()).schema;
  }

  /** Whether the running VPP has this message in the version that is known. */
  async has(name: string): Promise<boolean> {
    const session = await this.ready();
    const message = session.schema.messages.get(name);
    return message !== undefined
      && session.connection.table.number(name, message.crc) !== undefined;
  }

  /** Ends it for good. */
  close(): void {
    this.isClosed = true;
    this.session?.connection.close();
    this.registrations.end();
  }

  private async request(name: string, fields: Values): Promise<Values> {
    const session = await this.ready();
    const service = serviceOf(session, name, "reply");
    if (service.reply === "null") {
      session.tell(name, fields);
      return {};
    }
    const reply = await new Promise<Values>((done, fail) => {
      session.ask(name, fields, one(service.reply, done, fail));
    });
    this.check(name, reply);
    return reply;
  }

  private check(name: string, reply: Values): void {
    const retval = reply["retval"];
    if (typeof retval === "number" && retval < 0) {
      throw new VppCallError(name, retval, this.errors.of(retval), reply);
    }
  }

  private async page(name: string, fields: Values): Promise<Page<Values, Values>> {
    const session = await this.ready();
    const service = serviceOf(session, name, "stream");
    if (service.details === undefined) {
      throw new VppSchemaError(`${name} is a dump without a cursor: use dump()`);
    }
    const details: Values[] = [];
    const reply = await new Promise<Values>((done, fail) => {
      const last = one(service.reply, done, fail);
      session.ask(name, fields, {
        take(message, values) {
          if (message.name !== service.details) return last.take(message, values);
          details.push(values);
          return false;
        },
        fail,
      });
    });
    if (reply["retval"] !== RETVAL_AGAIN) this.check(name, reply);
    return { details, reply };
  }

  /** The session, once there is one. */
  private ready(): Promise<Session> {
    if (this.session) return Promise.resolve(this.session);
    if (this.isClosed || !this.next) {
      const why = this.isClosed ? "the client was closed" : "VPP closed the connection";
      return Promise.reject(new VppConnectionError(`${this.path}: ${why}`));
    }
    const { next } = this;
    const secondsMax = this.options.replySecondsMax ?? 30;
    return new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new VppConnectionError(
        `${this.path}: no connection in ${secondsMax} s`,
      )), secondsMax * 1000);
      next.then(done, fail).finally(() => clearTimeout(timer));
    });
  }

  private get path(): string {
    return this.options.socket ?? "/run/vpp/api.sock";
  }

  private async open(): Promise<Session> {
    const { options } = this;
    const { name = "vpp-api", connectSecondsMax = 10, replySecondsMax = 30 } = options;
    const connection = await Connection.open(this.path, name, connectSecondsMax);
    let session: Session | undefined;
    const begin = (schema: Schema) => new Session(
      connection, schema, replySecondsMax,
      (event, values) => this.emit(event, values),
      (error) => { if (session) this.lost(error); },
    );
    try {
      const known = options.schema
        ?? (options.apiDirectories && Schema.readDirectories(options.apiDirectories));
      const opened = known ? begin(known) : await askSchema(begin, connection.table);
      this.process = await getAcquainted(opened);
      if (this.isClosed) throw new VppConnectionError(`${this.path}: the client was closed`);
      session = opened;
    } catch (error) {
      connection.close();
      throw error;
    }
    this.session = session;
    this.next = undefined;
    this.registrations.renew();
    this.emitter.emit("connect");
    return session;
  }

  private emit(name: string, values: Values): void {
    this.registrations.take(name, values);
    this.emitter.emit("event", name, values);
  }

  private lost(error: Error): void {
    this.session = undefined;
    if (!this.isClosed && this.options.reconnect) this.next = this.openAgain();
    else this.registrations.end(this.isClosed ? undefined : error);
    this.emitter.emit("close", error);
  }

  /** Tries until it succeeds or the client is closed. */
  private async openAgain(): Promise<Session> {
    for (let waitMs = WAIT_MS_MIN; ; waitMs = Math.min(2 * waitMs, WAIT_MS_MAX)) {
      await new Promise((done) => { setTimeout(done, waitMs); });
      if (this.isClosed) throw new VppConnectionError(`${this.path}: the client was closed`);
      try {
        return await this.open();
      } catch (error) {
        // VPP may be starting; a schema that does not fit never will.
        if (error instanceof VppSchemaError) throw error;
      }
    }
  }
}

/** VPP's process number, and how it writes floats. */
async function getAcquainted(session: Session): Promise<number> {
  const ask = (name: string, fields: Values) => new Promise<Values>((done, fail) => {
    session.ask(name, fields, one(`${name}_reply`, done, fail));
  });
  const question = session.schema.messages.get("get_f64_endian_value");
  const [ping, float] = await Promise.all([
    ask("control_ping", {}),
    question && session.connection.table.crc(question.name) === question.crc
      ? ask(question.name, { f64_one: 1 }) : undefined,
  ]);
  session.bigFloats = Number(float?.["retval"] ?? 0) < 0;
  return Number(ping["vpe_pid"]);
}

/** A dump: its details until the answer to a ping that was sent right behind it. */
function dumpOf(session: Session, service: Service, fields: Values): Stream<Values> {
  const stream = new Stream<Values>();
  const fail = (error: Error) => stream.fail(error);
  const context = session.ask(service.request, fields, {
    take(message, values) {
      if (message.name === service.reply) stream.push(values);
      return false;
    },
    fail,
  });
  session.ask("control_ping", {}, one("control_ping_reply", () => {
    session.forget(context);
    stream.end();
  }, fail));
  return stream;
}

function serviceOf(session: Session, name: string, kind: "reply" | "stream" | "events"): Service {
  const service = session.schema.services.get(name);
  if (!service) {
    session.schema.message(name);
    throw new VppSchemaError(`${name} is no request`);
  }
  if (kind === "reply" && service.stream) {
    throw new VppSchemaError(`${name} answers with a stream: use dump()`);
  }
  if (kind === "stream" && !service.stream) {
    throw new VppSchemaError(`${name} answers with one reply: use call()`);
  }
  if (kind === "events" && service.events.length === 0) {
    throw new VppSchemaError(`${name} registers for no events: use call()`);
  }
  return service;
}
