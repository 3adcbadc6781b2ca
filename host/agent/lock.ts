// One agent for a state directory: a lock on `agent.lock` there, which ends with the process,
// however that ends. The kernel holds it with the open file, so agents in other namespaces see it.
//
//   open the file ─► flock(1) locks it through the descriptor that it is handed ─► kept open
//
// Source: flock(2); Node has no call of its own for it.
import { spawnSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { CommandError } from "../command-error.ts";

/** flock's status where another process has the lock; others are failures of its own. */
const HELD = 1;

/** Locks the directory until `unlock` is called or the process ends; an error says who has it. */
export function lockState(directory: string): () => void {
  const file = join(directory, "agent.lock");
  let held: number;
  try {
    held = openSync(file, "a", 0o600);
  } catch (error) {
    throw new CommandError(`${file}: ${(error as Error).message}`);
  }
  const { status, error, stderr } = spawnSync("flock", ["--nonblock", "3"], {
    stdio: ["ignore", "ignore", "pipe", held], encoding: "utf8",
  });
  if (status === 0) return () => closeSync(held);
  closeSync(held);
  if (status === HELD) {
    throw new CommandError(`${directory}: another agent keeps its state there (state:)`);
  }
  const why = error ? `${error.message} (flock is in the package util-linux)` : stderr.trim();
  throw new CommandError(`${file}: can't be locked: ${why}`);
}
