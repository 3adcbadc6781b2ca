// The traffic of the pipeline bench: UDP flows from clients behind an uplink to one VIP with ten
// backends (nat/beds.ts), 64-byte Ethernet frames, in a random order.
import { bindRecords, Compiler } from "../host/compile/program.ts";
import { configureRecord } from "../host/compile/records.ts";
import { concat } from "../host/dataplane/record.ts";
import type { Budgets } from "../host/model/program.ts";
import { clients, oneService } from "./nat/beds.ts";
import { FRAME_IN, framesOf } from "./nat/frames.ts";

export const GENERATION = 1;
export { FRAME_IN };

/** Stage records of the whole set-up, Configure first. */
export async function setup(flows: number): Promise<Uint8Array> {
  const budgets: Budgets = {
    workers: 1, sessions4Max: Math.ceil(flows * 1.25) + 1024, sessions6Max: 0, endpointsMax: 64,
    servicesMax: 64,
  };
  const program = oneService(4, "udp");
  const { records } = await new Compiler(budgets).compile(program, GENERATION);
  return concat([configureRecord(budgets), bindRecords(program), records]);
}

/** Pages of memory that the set-up needs. */
export function pagesFor(flows: number): number {
  return 256 + Math.ceil(((Math.ceil(flows * 1.25) + 1024) * (64 + 17)) / 65_536);
}

/** Frames as slots and windows, one behind the other; at least `framesMin`. */
export function makeFrames(flows: number, framesMin: number): Uint8Array {
  return framesOf(clients("", 4, flows), framesMin);
}
