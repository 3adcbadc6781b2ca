// A classifier block read slowly: rule by rule, vector by vector, as assembly/layout.ts describes
// the format.
import {
  Action, CLASSIFIER_ACTIONS, CLASSIFIER_DESTINATION, CLASSIFIER_FAMILY4, CLASSIFIER_FAMILY6,
  CLASSIFIER_RULES, CLASSIFIER_SERVICES, CLASSIFIER_SETS, CLASSIFIER_SET_ADDS,
  CLASSIFIER_SET_BYTES, CLASSIFIER_SET_CLEARS, CLASSIFIER_SET_HASH, CLASSIFIER_SET_KEY,
  CLASSIFIER_SET_MASK, CLASSIFIER_SOURCE, CLASSIFIER_SOURCES, CLASSIFIER_VECTOR, DELTA_DENSE,
  DIMENSION_BASE, DIMENSION_COUNT, DIMENSION_DELTAS, DIMENSION_STARTS,
} from "../../../assembly/layout.ts";
import type { Question } from "./matches.ts";
import type { Decision } from "./random.ts";

const ACTIONS = { [Action.Allow]: "allow", [Action.Deny]: "deny", [Action.Pass]: "pass" } as const;

/** `classes`: set numbers of source, destination and their ports. */
export function interpret(block: Uint8Array, q: Question, classes: number[][]): Decision {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  const word = (at: number): number => view.getUint32(at, true);
  const rules = word(CLASSIFIER_RULES), bytes = word(CLASSIFIER_VECTOR);
  const vector = (at: number): Set<number> => {
    const found = new Set<number>();
    for (let i = 0; i < bytes * 8; i++) {
      if ((block[at + (i >> 3)]! >> (i & 7)) & 1) found.add(i);
    }
    return found;
  };
  const delta = (at: number): Iterable<number> => {
    const offset = word(at), count = word(at + 4);
    if (count >= DELTA_DENSE) return vector(offset);
    return Array.from({ length: count }, (_, i) => view.getUint16(offset + i * 2, true));
  };
  const dimension = (at: number, value: number): Set<number> => {
    const found = vector(word(at + DIMENSION_BASE));
    let last = 0;
    for (let i = 0; i < word(at + DIMENSION_COUNT); i++) {
      if (view.getUint16(word(at + DIMENSION_STARTS) + i * 2, true) <= value) last = i;
    }
    for (const rule of delta(word(at + DIMENSION_DELTAS) + last * 8)) found.add(rule);
    return found;
  };
  const entry = (side: number, set: number): number => {
    const key = ((side << 16) | set) + 1, mask = word(CLASSIFIER_SET_MASK);
    for (let at = (Math.imul(key, CLASSIFIER_SET_HASH) >>> 16) & mask; ; at = (at + 1) & mask) {
      const place = word(CLASSIFIER_SETS) + at * CLASSIFIER_SET_BYTES;
      if (word(place + CLASSIFIER_SET_KEY) === key) return place;
      if (word(place + CLASSIFIER_SET_KEY) === 0) return 0;
    }
  };

  const nothing: Decision = { action: "none", rule: rules };
  const service = word(word(CLASSIFIER_SERVICES) + q.protocol * 4);
  if (!service) return nothing;
  const value = q.port ?? (q.icmp ? (q.icmp.type << 8) | q.icmp.code : 0);
  const vectors = [
    vector(word(CLASSIFIER_SOURCE)), vector(word(CLASSIFIER_DESTINATION)),
    new Set(Array.from({ length: rules }, (_, i) => i)), dimension(service, value),
  ];
  if (word(CLASSIFIER_SOURCES)) {
    const source = word(word(CLASSIFIER_SOURCES) + q.protocol * 4);
    if (!source) return nothing;
    vectors[2] = dimension(source, q.sourcePort ?? 0);
  }
  const acts = [[0, 0], [1, 1], [2, 2], [3, 3], [4, 3]] as const;
  for (const what of [CLASSIFIER_SET_ADDS, CLASSIFIER_SET_CLEARS]) {
    for (const [side, facts] of acts) {
      for (const set of classes[facts]!) {
        const place = entry(side, set);
        if (!place || (side === 2 && !word(CLASSIFIER_SOURCES))) continue;
        for (const rule of delta(place + what)) {
          const to = vectors[side === 4 ? 1 : side]!;
          if (what === CLASSIFIER_SET_ADDS) to.add(rule);
          else to.delete(rule);
        }
      }
    }
  }
  vectors.push(vector(word(q.family === 4 ? CLASSIFIER_FAMILY4 : CLASSIFIER_FAMILY6)));
  for (let rule = 0; rule < rules; rule++) {
    if (!vectors.every((each) => each.has(rule))) continue;
    const at = word(CLASSIFIER_ACTIONS) + rule * 8;
    const list = word(at + 4);
    const verified = !list || Array.from({ length: word(list) }, (_, i) => word(list + 4 + i * 4))
      .every((each) =>
        classes[(each >> 16) & 0xff]!.includes(each & 0xffff) === (each >> 24 === 0));
    if (!verified) continue;
    const action = (word(at) & 0xff) as Action.Allow, next = word(at) >>> 8;
    if (ACTIONS[action] !== ACTIONS[Action.Pass as never]) return { action: ACTIONS[action], rule };
    if (next >= rules) return { action: "pass", rule };
    rule = next - 1;
  }
  return nothing;
}
