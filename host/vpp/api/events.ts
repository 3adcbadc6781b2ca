// Events: a registration with VPP (want_…), and streams of what comes.
//
//   open(want) ─► first of its kind: the request with enable = 1 ─► events ─► every open stream
//   a stream is left or closed ─► last of its kind: the request with enable = 0
//   a new connection ─► every registration is made anew
//
// Registrations with the same fields share one. Limits: what happens while no connection stands is
// not told afterwards; a program that follows a state reads it anew on "connect".

import type { Values } from "./codec.ts";
import type { Message } from "./schema.ts";
import { Stream } from "./stream.ts";

export class EventStream<T> extends Stream<T> {
  constructor(
    /** Settles when VPP has registered the client. */
    readonly ready: Promise<void>,
    left: () => void,
  ) {
    super(left);
  }

  close(): void {
    void this.return();
  }
}

interface Registration {
  name: string;
  /** What is asked; the field that turns it on and off is set apart. */
  fields: Values;
  toggle: string | undefined;
  isBoolean: boolean;
  events: string[];
  streams: Set<Stream<Values>>;
}

interface Wanted {
  events: string[];
  message: Message;
}

const TOGGLES = ["enable_disable", "enable", "is_enable", "enable_disable_events"];

export class Registrations {
  private readonly open_ = new Map<string, Registration>();

  constructor(private readonly request: (name: string, fields: Values) => Promise<Values>) {}

  open<T>(name: string, fields: Values, wanted: Promise<Wanted>): EventStream<T> {
    let registration: Registration | undefined;
    const key = `${name} ${JSON.stringify(fields, (_, each: unknown) =>
      (typeof each === "bigint" ? `${each}n` : each))}`;
    const join = async () => {
      const { events, message } = await wanted;
      registration = this.open_.get(key);
      if (registration) {
        registration.streams.add(stream as Stream<unknown> as Stream<Values>);
        return;
      }
      registration = make(name, fields, message, events);
      registration.streams.add(stream as Stream<unknown> as Stream<Values>);
      this.open_.set(key, registration);
      await this.ask(registration, true);
    };
    const leave = () => {
      if (!registration) return;
      registration.streams.delete(stream as Stream<unknown> as Stream<Values>);
      if (registration.streams.size > 0) return;
      this.open_.delete(key);
      // The connection may be gone: then there is nothing to end.
      if (registration.toggle) this.ask(registration, false).catch(() => {});
    };
    const ready = Promise.resolve().then(join);
    const stream = new EventStream<T>(ready, leave);
    ready.catch((error: unknown) => {
      if (registration) this.open_.delete(key);
      stream.fail(error);
    });
    return stream;
  }

  take(name: string, values: Values): void {
    for (const { events, streams } of this.open_.values()) {
      if (!events.includes(name)) continue;
      for (const stream of streams) stream.push({ _name: name, ...values });
    }
  }

  /** A new connection stands. */
  renew(): void {
    for (const registration of this.open_.values()) {
      this.ask(registration, true).catch((error: unknown) => {
        for (const stream of registration.streams) stream.fail(error);
      });
    }
  }

  end(error?: Error): void {
    for (const { streams } of this.open_.values()) {
      for (const stream of streams) {
        if (error) stream.fail(error);
        else stream.end();
      }
    }
    this.open_.clear();
  }

  private async ask({ name, fields, toggle, isBoolean }: Registration, on: boolean): Promise<void> {
    const value = isBoolean ? on : Number(on);
    await this.request(name, toggle ? { ...fields, [toggle]: value } : fields);
  }
}

function make(name: string, given: Values, message: Message, events: string[]): Registration {
  const fields = { ...given };
  const named = (field: string) => message.fields.find((each) => each.name === field);
  const toggle = TOGGLES.find((each) => named(each));
  if (named("pid") && fields["pid"] === undefined) fields["pid"] = process.pid;
  const isBoolean = toggle !== undefined && named(toggle)!.type === "bool";
  return { name, fields, toggle, isBoolean, events, streams: new Set() };
}
