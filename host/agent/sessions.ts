// Sessions out of VPP and back: a checkpoint file in the state directory, and from one dataplane
// in VPP to the one beside it.
//
//   margay_save, piece by piece ─► savedsessions.ts ─► checkpoint.ts: with names ─► file
//   file ─► checkpoint.ts: the new numbers ─► margay_restore, piece by piece
//
// Between the first piece and the last, sessions come and go: each record is whole, their set is of
// no one moment. A session that was saved with `seen` of VPP's clock comes back as old as it was.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  checkpointOf, renamedSessions, type Names, type Numbers, type Restored,
} from "../dataplane/checkpoint.ts";
import { restoreChunks, savedRecords, savedSessions } from "../dataplane/savedsessions.ts";
import { LAYOUT_VERSION } from "../../assembly/layout.ts";
import { replaceFile } from "./kept.ts";
import { counted } from "./log.ts";
import type { Asking } from "./observed.ts";

const FILE = "sessions.checkpoint";
const END = 0xffff_ffff;

/** Of the running dataplane; those that were saved, and how many. */
export async function saveFrom(
  vpp: Asking, names: Names,
): Promise<{ checkpoint: Uint8Array; count: number }> {
  const sessions = await sessionsFrom(vpp);
  return { checkpoint: checkpointOf(sessions, names), count: savedRecords(sessions).length };
}

/** All live ones of the running dataplane, as savedsessions.ts reads them. */
export async function sessionsFrom(vpp: Asking): Promise<Uint8Array> {
  const pieces: Record<4 | 6, Uint8Array[]> = { 4: [], 6: [] };
  let savedMs = 0;
  for (const family of [4, 6] as const) {
    for (let cursor = 0; cursor !== END;) {
      const reply = await vpp.call("margay_save", { family, cursor, records_max: 0 });
      const version = reply["layout_version"];
      if (version !== LAYOUT_VERSION) {
        throw new Error(`VPP's sessions are of layout version ${version}; ` +
          `this program's is ${LAYOUT_VERSION}`);
      }
      pieces[family].push(Uint8Array.from(reply["records"] as Uint8Array));
      savedMs = reply["now_ms"] as number;
      cursor = reply["next_cursor"] as number;
    }
  }
  return savedSessions(pieces, savedMs);
}

/** Into the dataplane beside, where there is one, else into the running one. */
export async function restoreInto(
  vpp: Asking, checkpoint: Uint8Array, numbers: Numbers, nowMs: number,
): Promise<Restored> {
  const { sessions, restored } = renamedSessions(checkpoint, numbers);
  const kept = restored.taken;
  restored.taken = 0;
  for (const { family, records } of restoreChunks(sessions, nowMs)) {
    const reply = await vpp.call("margay_restore", {
      family, layout_version: LAYOUT_VERSION, length: records.length, records,
    });
    restored.taken += reply["taken"] as number;
  }
  restored.refused = kept - restored.taken;
  return restored;
}

export function writeCheckpoint(directory: string, checkpoint: Uint8Array): void {
  replaceFile(join(directory, FILE), checkpoint);
}
/** Undefined where there is none. */
export function readCheckpoint(directory: string): Uint8Array | undefined {
  try {
    return readFileSync(join(directory, FILE));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** "12 sessions came back; not: 1 of endpoints that are gone". */
export function restoredText(restored: Restored): string {
  const { taken, endpointGone, peerGone, backendGone, refused } = restored;
  const left = [
    [endpointGone, "of endpoints that are gone"], [peerGone, "to nodes that are gone"],
    [backendGone, "to backends that are gone"], [refused, "known already, or without room"],
  ].filter(([count]) => count !== 0).map(([count, why]) => `${count} ${why}`);
  return `${counted(taken, "session")} came back` +
    (left.length === 0 ? "" : `; not: ${left.join(", ")}`);
}
