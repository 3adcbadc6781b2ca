// A path-compressed binary trie of prefixes, in one typed array: who covers whom. A node is a
// prefix that members name, or where two such part. Nodes are offsets into the array; 0 is none.
//
//   0        words   +1    +2     +3   +4     +5
//   ┌────────┬───────┬─────┬──────┬────┬──────┬───────┐   own:   list of the sets that name it
//   │  key   │length │left │right │own │class │ state │   class: own and those of all above it
//   └────────┴───────┴─────┴──────┴────┴──────┴───────┘   state: two flags, then a mark
//
// Limits: 2^27 words, some ten million prefixes. Source: Morrison, PATRICIA, 1968.

/** Flags of a node's state that keep it where it is: its owner has still to tell of it. */
export const PENDING = 1, MOVED = 2;
const FLAGS = PENDING | MOVED;
/** Where a state's mark begins. */
export const MARK_SHIFT = 2;

export class Trie {
  /** Offsets of a node's fields. */
  readonly length: number;
  readonly left: number;
  readonly own: number;
  readonly klass: number;
  readonly state: number;
  nodes: Int32Array;
  root = 0;
  private next: number;
  private free = 0;
  /** Nodes in use, those where members part included. */
  count = 0;
  private readonly stride: number;

  /** `words` of a key; the bits of a whole one. */
  constructor(readonly words: number, readonly bits: number) {
    this.length = words;
    this.left = words + 1;
    this.own = words + 3;
    this.klass = words + 4;
    this.state = words + 5;
    this.stride = Math.ceil((words + 6) / 4) * 4;
    this.next = this.stride;
    this.nodes = new Int32Array(this.stride * 64);
  }

  /** How many of the first `most` bits of a node's key and a key are equal. */
  private equalBits(node: number, key: Int32Array, most: number): number {
    for (let w = 0; w < this.words; w++) {
      const differing = this.nodes[node + w]! ^ key[w]!;
      if (differing !== 0) return Math.min(most, w * 32 + Math.clz32(differing));
    }
    return most;
  }

  /** The node of exactly this prefix, or 0. */
  find(key: Int32Array, length: number): number {
    let at = this.root;
    while (at) {
      const own = this.nodes[at + this.length]!;
      if (own > length || this.equalBits(at, key, own) < own) return 0;
      if (own === length) return at;
      at = this.nodes[at + this.left + bitOf(key, own)]!;
    }
    return 0;
  }

  /** The node of this prefix, made where it is not there. Bits behind `length` must be 0. */
  insert(key: Int32Array, length: number): number {
    let parent = 0, side = 0, at = this.root, equal = 0;
    while (at) {
      const own = this.nodes[at + this.length]!;
      equal = this.equalBits(at, key, Math.min(own, length));
      if (equal < own) break;
      if (own === length) return at;
      parent = at;
      side = bitOf(key, own);
      at = this.nodes[at + this.left + side]!;
    }
    const made = this.make(key, length);
    let top = made;
    if (at && equal === length) {
      this.nodes[made + this.left + this.bitOfNode(at, length)] = at;
    } else if (at) {
      top = this.make(key, equal);
      this.clearBehind(top, equal);
      this.nodes[top + this.left + bitOf(key, equal)] = made;
      this.nodes[top + this.left + this.bitOfNode(at, equal)] = at;
    }
    this.hang(parent, side, top);
    return made;
  }

  /** Takes a node without sets out, and the parting above it that parts nothing any more. */
  remove(node: number): void {
    const key = this.nodes.slice(node, node + this.words);
    const length = this.nodes[node + this.length]!;
    let grand = 0, grandSide = 0, parent = 0, side = 0, at = this.root;
    while (at !== node) {
      grand = parent;
      grandSide = side;
      parent = at;
      side = bitOf(key, this.nodes[at + this.length]!);
      at = this.nodes[at + this.left + side]!;
      if (!at) throw new Error(`no node of length ${length}`);
    }
    const left = this.nodes[node + this.left]!, right = this.nodes[node + this.left + 1]!;
    if (left && right) return;
    this.hang(parent, side, left || right);
    this.release(node);
    const isParting = parent !== 0 && !left && !right && this.nodes[parent + this.own] === 0 &&
      (this.nodes[parent + this.state]! & FLAGS) === 0;
    if (!isParting) return;
    this.hang(grand, grandSide, this.nodes[parent + this.left + (side ^ 1)]!);
    this.release(parent);
  }

  /** Class of the nearest prefix with sets above a node, 0 = none. */
  classAbove(node: number): number {
    let klass = 0, at = this.root;
    while (at !== node) {
      if (this.nodes[at + this.own]) klass = this.nodes[at + this.klass]!;
      const length = this.nodes[at + this.length]!;
      at = this.nodes[at + this.left + this.bitOfNode(node, length)]!;
    }
    return klass;
  }

  private bitOfNode(node: number, bit: number): number {
    return (this.nodes[node + (bit >> 5)]! >>> (31 - (bit & 31))) & 1;
  }
  private hang(parent: number, side: number, node: number): void {
    if (parent) this.nodes[parent + this.left + side] = node;
    else this.root = node;
  }
  private clearBehind(node: number, length: number): void {
    for (let w = 0; w < this.words; w++) {
      const bits = length - w * 32;
      if (bits <= 0) this.nodes[node + w] = 0;
      else if (bits < 32) this.nodes[node + w]! &= -1 << (32 - bits);
    }
  }
  private make(key: Int32Array, length: number): number {
    let node = this.free;
    if (node) {
      this.free = this.nodes[node]!;
    } else {
      node = this.next;
      this.next += this.stride;
      if (this.next > this.nodes.length) {
        const grown = new Int32Array(this.nodes.length * 2);
        grown.set(this.nodes);
        this.nodes = grown;
      }
    }
    this.nodes.fill(0, node, node + this.stride);
    for (let w = 0; w < this.words; w++) this.nodes[node + w] = key[w]!;
    this.nodes[node + this.length] = length;
    this.count++;
    return node;
  }
  private release(node: number): void {
    this.nodes.fill(0, node, node + this.stride);
    this.nodes[node] = this.free;
    this.free = node;
    this.count--;
  }
}

function bitOf(key: Int32Array, bit: number): number {
  return (key[bit >> 5]! >>> (31 - (bit & 31))) & 1;
}
