// One thread of the fragments' race: joins the shared memory as a worker and sends frames of random
// fragments, first and later ones, of more packets than the table holds, while the others do the
// same. Whatever passes must leave as it would alone. Started by fragmentrace.ts as a bundle.
import { parentPort, workerData } from "node:worker_threads";
import { FRAME_PACKETS_MAX, Reason, SLOT_REASON, SLOT_VERDICT, Verdict } from
  "../../assembly/layout.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import type { FragmentJob, FragmentReport } from "./fragmentrace.ts";

const { core, memory, worker, seed, fragments, clock, ms } = workerData as FragmentJob;
const engine = new NodeDataplane(core, { attach: memory });
engine.changeOver(1);
const report: FragmentReport = { frames: 0, followed: 0, unknown: 0, violations: [] };

let state = seed >>> 0;
/** xorshift32 */
function random(below: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

const until = performance.now() + ms;
while (performance.now() < until && report.violations.length === 0) {
  // A few packets' fragments at a time, so that their entries are found and overwritten in turn.
  const near = random(fragments.length), width = 2 + random(fragments.length);
  const chosen = Array.from({ length: FRAME_PACKETS_MAX }, () => {
    const of = fragments[(near + random(width)) % fragments.length]!;
    return { ...of, which: random(4) ? 1 : 0 };
  });
  chosen.forEach(({ interface: from, parts, which }, i) =>
    engine.memory.writePacket(worker, i, { interface: from, bytes: parts[which]! }));
  engine.run(worker, chosen.length, clock);
  report.frames += 1;
  chosen.forEach(({ leaves, which }, i) => {
    const slot = engine.memory.slotOf(worker, i);
    const reason = engine.memory.bytes[slot + SLOT_REASON]!;
    if (engine.memory.bytes[slot + SLOT_VERDICT] !== Verdict.Pass) {
      report.unknown += 1;
      if (which === 1 && reason === Reason.LaterFragment) return;
      report.violations.push(`a fragment is dropped: ${Reason[reason]}`);
      return;
    }
    if (which === 1) report.followed += 1;
    const at = engine.memory.windowOf(worker, i);
    const wanted = Buffer.from(leaves[which]!).toString("hex");
    const got = Buffer.from(engine.memory.bytes.slice(at, at + leaves[which]!.length))
      .toString("hex");
    if (got !== wanted) report.violations.push(`${Reason[reason]}: ${got}, not ${wanted}`);
  });
}
parentPort!.postMessage(report);
