// Blocks that workers may still be reading: what was taken out of a table is released once every
// worker has been outside since. Control side, one writer.
//
//   taken out ─► open list ─► closed list with the workers' epochs ─► all passed: released
//
// The arena's header in front of a block has the list's link and a count of who names the block.
import { release } from "./arena";
import {
  SETS, SETS_RETIRED_CLOSED, SETS_RETIRED_OPEN, SETS_SNAPSHOT, WORKER_EPOCH,
} from "./layout";
import { root } from "./root";
import { workerAt } from "./worker";

/** Before the payload, in the arena's header, which allocate() clears. */
const LINK: usize = 60;
const REFERENCES: usize = 56;

/** How many name a block. */
export function references(block: u32): u32 {
  return load<u32>(usize(block) - REFERENCES);
}
export function refer(block: u32, by: i32): void {
  const at = usize(block) - REFERENCES;
  store<u32>(at, load<u32>(at) + by);
}

/** Puts a block that no table names any more on its way to release. */
export function retireBlock(block: u32): void {
  store<u32>(usize(block) - LINK, load<u32>(SETS, SETS_RETIRED_OPEN));
  store<u32>(SETS, block, SETS_RETIRED_OPEN);
}

/** Moves retired blocks on by a step, if the workers allow it: at every stage(). */
export function reclaimBlocks(): void {
  const workers = root().workers;
  let closed = load<u32>(SETS, SETS_RETIRED_CLOSED);
  if (closed) {
    for (let i: u32 = 0; i < workers; i++) {
      const then = load<u32>(SETS + (usize(i) << 2), SETS_SNAPSHOT);
      const now = atomic.load<u32>(changetype<usize>(workerAt(i)), WORKER_EPOCH);
      if ((then & 1) && now == then) return;
    }
    while (closed) {
      const next = load<u32>(usize(closed) - LINK);
      release(closed);
      closed = next;
    }
    store<u32>(SETS, 0, SETS_RETIRED_CLOSED);
  }
  const open = load<u32>(SETS, SETS_RETIRED_OPEN);
  if (!open) return;
  store<u32>(SETS, open, SETS_RETIRED_CLOSED);
  store<u32>(SETS, 0, SETS_RETIRED_OPEN);
  for (let i: u32 = 0; i < workers; i++) {
    const epoch = atomic.load<u32>(changetype<usize>(workerAt(i)), WORKER_EPOCH);
    store<u32>(SETS + (usize(i) << 2), epoch, SETS_SNAPSHOT);
  }
}
