// A sequence of steps through the program and through the slow twin: what differs first, as text.
import type { Result } from "../../host/dataplane/dataplane.ts";
import { Tracker, type Arrival, type Outcome } from "../reference/conntrack.ts";
import type { Site } from "../reference/site.ts";
import { Engine, MAGLEV_SEED, reasonOf, TIMEOUTS_MS, verdictOf } from "./engine.ts";
import { dumpOfEngine, dumpOfTwin } from "./dump.ts";

export type Step =
  | { do: "packet"; arrival: Arrival }
  | { do: "clock"; nowMs: number }
  | { do: "push"; site: Site }
  | { do: "age" }
  | { do: "restart" }
  /** Compares the session tables. */
  | { do: "look" };

const hex = (bytes: Uint8Array | undefined): string =>
  bytes ? Buffer.from(bytes).toString("hex") : "-";

/** What both must say of a packet. */
export function lineOfTwin(outcome: Outcome): string {
  const { verdict, reason, bytes, direction, backend, peer } = outcome;
  if (verdict === "drop") return `drop ${reason}`;
  if (verdict === "reply") return `reply ${reason} ${hex(bytes)}`;
  return `pass ${reason} ${direction} [${backend?.name ?? ""}] peer ${peer} ${hex(bytes)}`;
}
export function lineOfEngine(engine: Engine, result: Result): string {
  const reason = reasonOf(result), verdict = verdictOf(result);
  const { bytes, direction, backend, peer = 0 } = result;
  if (verdict === "drop") return `drop ${reason}`;
  if (verdict === "reply") return `reply ${reason} ${hex(bytes)}`;
  const name = engine.backendName(backend);
  return `${verdict} ${reason} ${direction} [${name}] peer ${peer} ${hex(bytes)}`;
}

/** Both at once, a packet at a time; the clock stands in between. */
export class Pair {
  readonly engine = new Engine();
  twin!: Tracker;
  private site!: Site;
  nowMs = 1_000_000;
  /** What the engine said of each packet, for other cuts of the same. */
  readonly lines: string[] = [];

  /** Undefined where both agree. */
  async step(step: Step): Promise<string | undefined> {
    const { engine } = this;
    switch (step.do) {
      case "clock":
        this.nowMs = step.nowMs;
        return undefined;
      case "push":
        this.site = step.site;
        await engine.push(step.site);
        this.twin ??= new Tracker(step.site, MAGLEV_SEED, TIMEOUTS_MS);
        this.twin.push(step.site, engine.generation);
        return undefined;
      case "age": return this.differ("ended", this.sweep(), this.twin.age(this.nowMs));
      case "restart": {
        const taken = await engine.restart(this.site, this.nowMs);
        this.twin = this.twin.restarted(this.site, engine.generation);
        return this.differ("restored", taken, this.twin.sessions.all().length);
      }
      case "look": return this.look();
      default: return this.packet(step.arrival).report;
    }
  }
  private sweep(): number {
    return this.engine.dataplane.age(0, this.nowMs, 1 << 20);
  }
  /** Lines of the two session tables that the other has not. */
  private look(): string | undefined {
    const program = dumpOfEngine(this.engine), twin = dumpOfTwin(this.twin);
    const only = (own: string[], other: string[]): string =>
      own.filter((line) => !other.includes(line)).join("; ");
    return this.differ("sessions", only(program, twin), only(twin, program));
  }
  private differ(what: string, program: unknown, twin: unknown): string | undefined {
    if (program === twin) return undefined;
    return `${what}:\n  program ${String(program)}\n  twin    ${String(twin)}`;
  }

  packet(arrival: Arrival): { outcome: Outcome; report: string | undefined } {
    const { engine } = this;
    const [result] = engine.run([arrival], this.nowMs) as [Result];
    const traps = engine.dataplane.traps();
    const told = { reason: reasonOf(result), bytes: result.bytes };
    const outcome = this.twin.run(arrival, this.nowMs, told);
    const program = lineOfEngine(engine, result), twin = lineOfTwin(outcome);
    this.lines.push(program);
    const report = traps.length ? JSON.stringify(traps) : this.differ("packet", program, twin);
    return { outcome, report };
  }
}

/** Runs steps from the start; the first disagreement, and where. */
export async function runAll(
  steps: readonly Step[],
): Promise<{ at: number; report: string } | undefined> {
  const pair = new Pair();
  for (const [at, step] of steps.entries()) {
    if (!pair.twin && step.do !== "push" && step.do !== "clock") return undefined;
    const report = await pair.step(step);
    if (report) return { at, report };
  }
  return undefined;
}

/** The same steps, packets in frames of `cut()`: the lines of all packets, and the sessions. */
export async function runCut(
  steps: readonly Step[], cut: () => number,
): Promise<{ lines: string[]; sessions: string[] }> {
  const engine = new Engine();
  const lines: string[] = [];
  let site: Site | undefined, nowMs = 1_000_000, frame: Arrival[] = [], size = cut();
  const flush = (): void => {
    if (frame.length === 0) return;
    for (const each of engine.run(frame, nowMs)) lines.push(lineOfEngine(engine, each));
    frame = [];
    size = cut();
  };
  for (const step of steps) {
    if (step.do === "packet") {
      frame.push(step.arrival);
      if (frame.length >= size) flush();
      continue;
    }
    flush();
    if (step.do === "clock") nowMs = step.nowMs;
    else if (step.do === "push") await engine.push(site = step.site);
    else if (step.do === "age") engine.dataplane.age(0, nowMs, 1 << 20);
    else if (step.do === "restart") await engine.restart(site!, nowMs);
  }
  flush();
  return { lines, sessions: dumpOfEngine(engine) };
}
