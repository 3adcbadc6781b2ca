// The source port of a masqueraded flow: its own where that is free and none of a server's; else
// the program's choice, of which this says whether it was one to choose.
// Source: RFC 4787 (port preservation), RFC 6056; assembly/nat.ts' limits.
import type { Headers } from "./header.ts";
import type { Told } from "./passage.ts";
import type { Session, Sessions } from "./sessions.ts";

export const PORTED = [6, 17, 132];
/** Ports below are those that servers listen at. */
const KEPT_FROM = 1024;
/** How many ports the program tries before it gives up. */
const PORTS_TRIED = 128;

/**
 * Puts the port into the session's reply key. "none": all are taken, or so many that the program
 * may say so. Where it chose one that is not to be chosen, or none though it had to, another port
 * than its own is put in, so that the two differ.
 */
export function choosePort(
  session: Session, sessions: Sessions, headers: Headers, [first, last]: [number, number],
  masked: boolean, told: Told | undefined,
): "own" | "other" | "none" {
  const [, reply] = session.keys;
  const ported = PORTED.includes(headers.protocol);
  const isFree = (): boolean => !sessions.isTaken(session) && !sessions.isOwnReply(session);
  if ((!ported || !masked || reply.port >= KEPT_FROM) && isFree()) return "own";
  if (!ported && !headers.echo) return "none";
  const isFreeAt = (port: number): boolean => {
    if (headers.echo) reply.sourcePort = 0;
    reply.port = port;
    return isFree();
  };
  const at = headers.at + (ported ? 0 : 4);
  const chosen = told?.bytes ? (told.bytes[at]! << 8) | told.bytes[at + 1]! : -1;
  if (chosen >= first && chosen <= last && isFreeAt(chosen)) return "other";
  const all = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  const used = all.filter((port) => !isFreeAt(port)).length;
  if (used >= Math.min(all.length, PORTS_TRIED)) return "none";
  isFreeAt(all.find(isFreeAt)!);
  return "other";
}
