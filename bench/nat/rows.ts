// Rows of nanoseconds a packet. A bed is a program with its streams, in every engine there is; a
// round opens a stream's flows (new) and carries them again (established), for all beds, streams
// and engines by turns, so that what disturbs the machine disturbs all alike. Medians of the
// rounds.
//
// Before a round the sessions are aged away; so records come from the free list, as they do in a
// node that has run for a while. Each engine's results are hashed once and must be equal.
import { Reason } from "../../assembly/layout.ts";
import { bindRecords, Compiler } from "../../host/compile/program.ts";
import { configureRecord } from "../../host/compile/records.ts";
import type { Budgets, Program } from "../../host/model/program.ts";
import { engines, hashPass, pass, type Engine } from "./engine.ts";
import { ACK, FRAME_IN, framesOf, SYN, TCP, type Stream } from "./frames.ts";

export interface Traffic extends Stream {
  name: string;
  /** What becomes of its flows: a session, or a drop by policy. */
  opens: boolean;
}
export interface BedSpec {
  program: Program;
  budgets: Budgets;
  memoryPages: number;
  streams: Traffic[];
  /** The C twin knows what is asked here: IPv4, UDP, no policies. */
  twin?: boolean;
}
export interface Row {
  name: string;
  /** Median ns a packet by engine; [] where a stream opens nothing. */
  opening: Record<string, number>;
  established: Record<string, number>;
  /** native / twin of the same round, median. */
  ratio: { opening?: number; established?: number };
  hash: string;
}
export interface RowOptions {
  core: Uint8Array;
  rounds: number;
  /** Packets of a pass over established flows; at least every flow once. */
  packets: number;
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
export const quantile = (values: readonly number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))]!;

/** Longer than any session idles. */
const ALL_IDLE_MS = 2 * 3_600_000;
const OPENS = new Set([Reason.Allowed, Reason.Established]);
const CARRIED = new Set([Reason.Established]);
const DENIED = new Set([Reason.PolicyDenied]);

class Lane {
  readonly times = { opening: [] as number[], established: [] as number[] };
  constructor(readonly engine: Engine) {}
}
class Bed {
  private nowMs = 1_000_000;
  constructor(private readonly spec: BedSpec, private readonly engines: Engine[]) {}

  static async make(spec: BedSpec, core: Uint8Array): Promise<Bed> {
    const all = engines(core, spec.memoryPages, spec.twin ?? false);
    const push = await new Compiler(spec.budgets).compile(spec.program, 1);
    for (const engine of all) {
      engine.stage(configureRecord(spec.budgets));
      engine.push(push);
      engine.stage(bindRecords(spec.program));
    }
    return new Bed(spec, all);
  }
  lines(options: RowOptions): Line[] {
    return this.spec.streams.map((stream) => new Line(this, stream, this.engines, options));
  }
  /** No session is left in any engine; limbo is over. */
  clear(): number {
    this.nowMs += ALL_IDLE_MS;
    const { sessions4Max, sessions6Max } = this.spec.budgets;
    for (const engine of this.engines) {
      for (let i = 0; i < 3; i++) engine.age(this.nowMs, sessions4Max + sessions6Max);
    }
    return this.nowMs;
  }
  close(): void {
    for (const engine of [...this.engines].reverse()) engine.close();
  }
}

/** A stream in a bed: its frames, its times by engine. */
class Line {
  private readonly lanes: Lane[];
  private readonly first: Uint8Array;
  private readonly again: Uint8Array;
  private readonly longer: number;
  /** Packets of a pass that opens: few flows are opened, aged away and opened again. */
  private readonly openedMin: number;
  private hash = 0;

  constructor(
    private readonly bed: Bed, private readonly stream: Traffic, engines: Engine[],
    options: RowOptions,
  ) {
    this.lanes = engines.map((engine) => new Lane(engine));
    this.first = framesOf(stream, 1, SYN);
    this.again = stream.protocol === TCP ? framesOf(stream, 1, ACK) : this.first;
    this.longer = Math.max(1, Math.ceil(options.packets / this.packets));
    this.openedMin = options.packets / 4;
  }
  private get packets(): number {
    return (this.first.length / FRAME_IN) * 256;
  }

  /** Are the results right, and the same in all engines? Warms them, too. */
  check(): void {
    const hashes = new Map<string, number>();
    const now = this.bed.clear();
    for (const { engine } of this.lanes) {
      const allowed = this.stream.opens ? OPENS : DENIED;
      let hash = hashPass(engine, this.first, now, allowed);
      if (this.stream.opens) {
        hash = Math.imul(hash, 31) + hashPass(engine, this.again, now, CARRIED);
      }
      hashes.set(engine.name, hash >>> 0);
    }
    this.hash = hashes.get("node")!;
    for (const [name, hash] of hashes) {
      if (hash === this.hash) continue;
      throw new Error(`bench: ${this.stream.name}: ${name}'s results differ from node's: hash `
        + `${hash.toString(16)} and ${this.hash.toString(16)}`);
    }
    for (const lane of this.lanes) pass(lane.engine, this.again, now);
  }
  /** A round's figure is the median of its frames: a frame that another process cut in two is
   * left out. */
  round(): void {
    const spent = this.lanes.map((): number[] => []);
    let now = 0;
    for (let packets = 0; packets < this.openedMin; packets += this.packets) {
      now = this.bed.clear();
      this.lanes.forEach(({ engine }, i) => spent[i]!.push(...pass(engine, this.first, now)));
    }
    this.lanes.forEach(({ times }, i) => times.opening.push(median(spent[i]!)));
    if (!this.stream.opens) return;
    for (const { engine, times } of this.lanes) {
      const all: number[] = [];
      for (let k = 0; k < this.longer; k++) all.push(...pass(engine, this.again, now));
      times.established.push(median(all));
    }
  }
  row(): Row {
    const of = (what: "opening" | "established"): Record<string, number> =>
      Object.fromEntries(this.lanes.filter(({ times }) => times[what].length > 0)
        .map(({ engine, times }) => [engine.name, median(times[what])]));
    const lane = (name: string): Lane | undefined =>
      this.lanes.find(({ engine }) => engine.name === name);
    const native = lane("native"), twin = lane("twin");
    const ratio = (what: "opening" | "established"): number | undefined =>
      native && twin && median(native.times[what].map((ns, i) => ns / twin.times[what][i]!));
    // A frame of one flow opens it once: the figure says nothing of new flows.
    const opening = this.stream.flows < 256 ? {} : of("opening");
    return {
      name: this.stream.name, opening, established: of("established"),
      ratio: {
        ...(twin && this.stream.flows >= 256 ? { opening: ratio("opening")! } : {}),
        ...(twin && this.stream.opens ? { established: ratio("established")! } : {}),
      },
      hash: this.hash.toString(16),
    };
  }
}

/** Rows of all beds' streams. Throws where a packet's reason is wrong or engines differ. */
export async function rows(specs: BedSpec[], options: RowOptions): Promise<Row[]> {
  const beds: Bed[] = [];
  try {
    for (const spec of specs) beds.push(await Bed.make(spec, options.core));
    const lines = beds.flatMap((bed) => bed.lines(options));
    for (const line of lines) line.check();
    for (let i = 0; i < options.rounds; i++) for (const line of lines) line.round();
    return lines.map((line) => line.row());
  } finally {
    for (const bed of beds) bed.close();
  }
}
