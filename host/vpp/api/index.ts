// A client of VPP's binary API and of its statistics, for Node alone: docs/vpp-api.md.

export { VppClient } from "./client.ts";
export type { Page, VppClientEvents, VppClientOptions } from "./client.ts";
export * from "./errors.ts";
export type { ErrorName } from "./errno.ts";
export { EventStream } from "./events.ts";
export { Schema } from "./schema.ts";
export type { AnyApi, ApiShape } from "./types.ts";
export { StatsSegment, VppStatsError, total } from "./stats.ts";
export type { Stat } from "./stats.ts";
export { declarationsOf } from "./declarations.ts";
