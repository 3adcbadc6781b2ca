// An explicit-state model checker, as small as one can be: depth first over every interleaving of a
// few processes, each state visited once.
//
//   state ──process 0, choice 0──► state'      a process with several choices branches;
//     ├────process 0, choice 1──► state''      one with none is blocked or has finished
//     └────process 1, choice 0──► state'''
//
// States are byte strings of one length. Visited ones are kept as 64-bit hashes (hash compaction:
// with n states about n^2 / 2^65 are missed, 3e-6 of one at ten million), so memory is 8 bytes a
// state, and the depth-first stack is the counterexample. Limits: depth 4,096, states 2^26.
// Source: Holzmann, "The SPIN Model Checker", chapter 8 (search) and 9 (hash compaction).

/** What is checked: a transition system over byte strings, with invariants. */
export interface Model {
  readonly stateBytes: number;
  readonly processes: number;
  initial(): Uint8Array;
  /** How many ways process p can go on from here; 0 = it waits or has finished. */
  choices(state: Uint8Array, p: number): number;
  /** Makes the step in place. */
  step(state: Uint8Array, p: number, choice: number): void;
  /** True where stopping is right; a state without a way on that is not final is a deadlock. */
  final(state: Uint8Array): boolean;
  /** A sentence where the state is wrong. */
  violation(state: Uint8Array): string | undefined;
  /** One line for a counterexample: what process p is about to do. */
  describe(state: Uint8Array, p: number): string;
}

export interface Verdict {
  states: number;
  transitions: number;
  finals: number;
  deepest: number;
  violation: string | undefined;
  /** The steps that lead to the violation. */
  trace: string[];
}

const DEPTH_MAX = 4096;

/** Searches until a violation, the whole space, or statesMax (which is an error: say so). */
export function check(model: Model, statesMax = 1 << 24): Verdict {
  const visited = new Visited(1 << 16);
  const stack: Frame[] = [];
  const verdict: Verdict = {
    states: 0, transitions: 0, finals: 0, deepest: 0, violation: undefined, trace: [],
  };
  const frameAt = (depth: number): Frame => {
    if (depth >= DEPTH_MAX) throw new Error(`model: deeper than ${DEPTH_MAX} steps`);
    return (stack[depth] ??= new Frame(model.stateBytes));
  };
  const fail = (depth: number, sentence: string): Verdict => {
    verdict.violation = sentence;
    verdict.trace = stack.slice(0, depth).map((f) => f.describe(model));
    return verdict;
  };

  const root = frameAt(0);
  root.state.set(model.initial());
  root.reset();
  visited.add(root.state);
  let depth = 0;
  let sentence = enter(model, root, verdict);
  if (sentence !== undefined) return fail(0, sentence);
  while (depth >= 0) {
    const frame = stack[depth]!;
    if (!frame.advance(model)) {
      if (!frame.moved && !model.final(frame.state)) {
        return fail(depth, "deadlock: no process can go on");
      }
      depth -= 1;
      continue;
    }
    const next = frameAt(depth + 1);
    next.state.set(frame.state);
    model.step(next.state, frame.process, frame.choice);
    verdict.transitions += 1;
    if (!visited.add(next.state)) continue;
    if (visited.size > statesMax) throw new Error(`model: more than ${statesMax} states`);
    next.reset();
    depth += 1;
    if (depth > verdict.deepest) verdict.deepest = depth;
    sentence = enter(model, next, verdict);
    if (sentence !== undefined) return fail(depth, sentence);
  }
  return verdict;
}

function enter(model: Model, frame: Frame, verdict: Verdict): string | undefined {
  verdict.states += 1;
  if (model.final(frame.state)) verdict.finals += 1;
  return model.violation(frame.state);
}

/** One state on the stack and the step being tried from it. */
class Frame {
  readonly state: Uint8Array;
  process = 0;
  choice = -1;
  moved = false;
  constructor(bytes: number) {
    this.state = new Uint8Array(bytes);
  }
  reset(): void {
    this.process = 0;
    this.choice = -1;
    this.moved = false;
  }
  /** Moves on to the next step that can be made; false when there is none left. */
  advance(model: Model): boolean {
    this.choice += 1;
    while (this.process < model.processes) {
      if (this.choice < model.choices(this.state, this.process)) {
        this.moved = true;
        return true;
      }
      this.process += 1;
      this.choice = 0;
    }
    return false;
  }
  describe(model: Model): string {
    return `process ${this.process}: ${model.describe(this.state, this.process)}`
      + (this.choice > 0 ? ` (choice ${this.choice})` : "");
  }
}

/** A set of 64-bit hashes, open addressing, doubled at load 0.5. */
class Visited {
  size = 0;
  private slots: Uint32Array;
  private mask: number;
  constructor(capacity: number) {
    this.slots = new Uint32Array(capacity * 2);
    this.mask = capacity - 1;
  }
  /** False when it was there. */
  add(state: Uint8Array): boolean {
    let a = 0x9e3779b9;
    let b = 0x85ebca6b;
    for (let i = 0; i < state.length; i++) {
      const byte = state[i]!;
      a = Math.imul(a ^ byte, 0x01000193);
      a ^= a >>> 15;
      b = Math.imul(b + byte + i, 0xc2b2ae35);
      b = (b << 13) | (b >>> 19);
    }
    a = Math.imul(a ^ (a >>> 16), 0x7feb352d) >>> 0;
    b = (Math.imul(b ^ (b >>> 15), 0x846ca68b) | 1) >>> 0; // never zero: zero is an empty slot
    if (!this.insert(a, b)) return false;
    this.size += 1;
    if (this.size * 2 > this.mask) this.grow();
    return true;
  }
  private insert(a: number, b: number): boolean {
    const { slots, mask } = this;
    let at = (a ^ (b >>> 1)) & mask;
    while (slots[at * 2 + 1] !== 0) {
      if (slots[at * 2] === a && slots[at * 2 + 1] === b) return false;
      at = (at + 1) & mask;
    }
    slots[at * 2] = a;
    slots[at * 2 + 1] = b;
    return true;
  }
  private grow(): void {
    const old = this.slots;
    this.slots = new Uint32Array(old.length * 2);
    this.mask = this.slots.length / 2 - 1;
    for (let i = 0; i < old.length; i += 2) {
      if (old[i + 1] !== 0) this.insert(old[i]!, old[i + 1]!);
    }
  }
}
