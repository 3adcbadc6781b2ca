// Set numbers as a compiler hands them out, and a memory with a packet's facts: the four classes
// that a policy reads.
import { netsId } from "../../../host/compile/match.ts";
import type { SetNumbers } from "../../../host/compile/policy.ts";
import type { Question } from "./matches.ts";
import { holds, type Pool } from "./random.ts";

export class Numbered implements SetNumbers {
  readonly nets_ = new Map<string, string[]>();
  private readonly numbers = new Map<string, number>();

  private number(id: string): number {
    // Far apart, so that more than one byte of a class matters.
    if (!this.numbers.has(id)) this.numbers.set(id, this.numbers.size * 3);
    return this.numbers.get(id)!;
  }
  addresses(id: string): number {
    return this.number(id);
  }
  ports(id: string): number {
    return this.number(id);
  }
  nets(prefixes: string[]): string {
    const id = netsId(prefixes);
    this.nets_.set(id, prefixes);
    return id;
  }

  /** Numbers of the sets that hold each side: source, destination, their ports. */
  classes(q: Question, pool: Pool): number[][] {
    return ([["source", false], ["destination", false], ["source", true], ["destination", true]] as
      const).map(([side, ports]) =>
      holds(q, pool, side, ports, this.nets_).filter((id) => this.numbers.has(id))
        .map((id) => this.numbers.get(id)!).sort((a, b) => a - b));
  }
}

const FACTS = 1024, CLASS = 4096, CLASS_BYTES = 64;

/** The memory of a core, as far as a policy reads it. */
export class Facts {
  readonly memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true });
  private readonly view = new DataView(this.memory.buffer);

  /** Puts the classes there; returns the address of the facts. */
  put(classes: number[][]): number {
    classes.forEach((sets, side) => {
      const at = CLASS + side * CLASS_BYTES;
      for (let i = 0; i < CLASS_BYTES; i++) this.view.setUint8(at + i, 0);
      for (const set of sets) {
        this.view.setUint8(at + (set >> 3), this.view.getUint8(at + (set >> 3)) | (1 << (set & 7)));
      }
      this.view.setUint32(FACTS + side * 4, at, true);
    });
    return FACTS;
  }
}
