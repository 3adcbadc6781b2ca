// What a program's declarations of VPP's messages look like to the client.
//
//   npm run vpp:types ─► vpp.d.ts: interface VppApi { calls, dumps, events }
//   VppClient<VppApi>.call("name", …) is then checked field by field; without, any name goes
//
// `calls` holds requests with one reply, `dumps` those with a stream of details (cursored gets
// too), `events` the registrations for events.

export interface ApiShape {
  calls: object;
  dumps: object;
  events: object;
}

export type AnyFields = Record<string, unknown>;

/** Read without declarations: the fields are what the program takes them for. */
export type AnyValues = Record<string, any>;

export interface AnyApi {
  calls: Record<string, { request: AnyFields; reply: AnyValues }>;
  dumps: Record<string, { request: AnyFields; details: AnyValues; reply: AnyValues }>;
  events: Record<string, { request: AnyFields; event: AnyValues & { _name: string } }>;
}

export type NameOf<T> = keyof T & string;
export type RequestOf<T> = T extends { request: infer R } ? R : never;
export type ReplyOf<T> = T extends { reply: infer R } ? R : never;
export type DetailsOf<T> = T extends { details: infer D } ? D : never;
export type EventOf<T> = T extends { event: infer E } ? E : never;
/** The fields may be left out where none is demanded. */
export type Fields<T> = Record<never, never> extends RequestOf<T>
  ? [fields?: RequestOf<T>] : [fields: RequestOf<T>];
