// A mirror of what Felix has said: takes its messages in order and gives the state of the node.
//
//   frames, JSON ─ felixframe.ts ─► ToDataplane ─► FelixMirror ─┬─► NodeState (model/state.ts)
//                                                              └─► network (felixnetwork.ts)
//
// A stream begins at sequence number 0. When Felix starts again it tells everything anew: the old
// state stands until the new stream is in sync, and what was not told again is gone then.
//
//   ─► first ─in_sync─► synced ─number 0, restart()─► second beside first ─in_sync─► second alone
//
// A message is taken whole or not at all: at an error the mirror is as it was before it.
// Source: projectcalico felix/calc/event_sequencer.go (order), felix/design/dataplane.md.
import { readFile } from "node:fs/promises";
import type { NodeState } from "../model/state.ts";
import { ToDataplaneSchema } from "./felixbackend_pb.ts";
import type { ToDataplane, WorkloadEndpoint } from "./felixbackend_pb.ts";
import { FelixError, FrameReader, at, felixForm, readJsonLines } from "./felixframe.ts";
import { FelixTables } from "./felixtables.ts";
import type { FelixNetwork } from "./felixnetwork.ts";

export { FelixError, FrameReader } from "./felixframe.ts";

export class FelixMirror {
  private tables = new FelixTables();
  /** Of a stream that is not yet in sync, while `tables` are of the one before. */
  private next: FelixTables | undefined;
  /** Sequence number that the next message must have. */
  private expected = 0n;
  private synced = false;

  /** Has Felix told all that there was, in this stream or in one before? */
  get inSync(): boolean {
    return this.synced;
  }

  /** What is in the state but not enforced: "NetworkPolicy shop/db ingress[0]: http_match …". */
  get warnings(): string[] {
    return [...this.tables.warnings.values()].flat();
  }

  get network(): FelixNetwork {
    return this.tables.network;
  }

  /** Workloads as Felix told them, with what no state bears: MAC, floating addresses. */
  get workloadEndpoints(): Map<string, WorkloadEndpoint> {
    return this.tables.workloadEndpoints;
  }

  /** Felix's stream begins again; the next message has the number 0. */
  restart(): void {
    this.expected = 0n;
    // Nothing was told yet: then there is nothing to keep.
    if (this.tables.untouched) return;
    this.next = new FelixTables();
  }

  /** Throws a FelixError that names the payload, its object and the field. */
  apply(message: ToDataplane): void {
    const { sequenceNumber, payload } = message;
    if (sequenceNumber === 0n && this.expected !== 0n) this.restart();
    if (sequenceNumber !== this.expected) {
      const problem = `sequence number ${sequenceNumber}, but ${this.expected} comes next`;
      throw new FelixError("", problem);
    }
    at(payload.case === undefined ? "" : payloadName(payload.case), () =>
      (this.next ?? this.tables).apply(payload));
    this.expected++;
    if (payload.case !== "inSync") return;
    this.synced = true;
    if (this.next) this.tables = this.next;
    this.next = undefined;
  }

  /**
   * The state as of now. Its maps are its own; later messages put new objects into the mirror and
   * change none that was given out, so that objects which are the same have not changed.
   */
  state(): NodeState {
    return this.tables.state();
  }
}

/** "ipset_update", as Felix calls it. */
function payloadName(kind: string): string {
  return ToDataplaneSchema.fields.find(({ localName }) => localName === kind)!.name;
}

/** A file of Felix's messages, framed or as JSON lines; what is wrong names the file. */
export async function readFelixFile(path: string): Promise<FelixMirror> {
  const bytes = await readFile(path);
  return at(path, () => readFelix(bytes));
}

/** Do these bytes look like a stream of Felix's? */
export function isFelix(bytes: Uint8Array): boolean {
  return felixForm(bytes) !== undefined;
}

/** Throws a FelixError at the first fault, and where the stream holds no message. */
export function readFelix(bytes: Uint8Array): FelixMirror {
  const mirror = new FelixMirror();
  let messages = 0;
  const each = (message: ToDataplane): void => {
    mirror.apply(message);
    messages++;
  };
  // What looks like neither is read as frames, whose errors tell most.
  if (felixForm(bytes) === "json") {
    readJsonLines(new TextDecoder().decode(bytes), each);
  } else {
    const reader = new FrameReader(each);
    reader.push(bytes);
    reader.end();
  }
  if (messages === 0) throw new FelixError("", "holds no message of Felix's");
  return mirror;
}
