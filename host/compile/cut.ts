// Cuts a list of rules into segments, each for a slot of its own, joined by a chain. A slot says
// one thing of a pass: that it passes; so all passes that leave a segment go on at one place, and
// that place begins a segment.
//
//   rules  ├──── a ────┤m├── a ──┤── b ──┤    pass of a: on at b; m: another kind (a user's module)
//   steps     0         1    2       3         0 ─no match→ 1 ─no match→ 2 ─pass→ 3, 0 ─pass→ 3
//
// Limits: none; a list that jumps to and fro costs a segment a rule.

export interface Jump {
  /** Index of the rule that a pass goes on at; absent = it leaves the list. */
  next?: number;
  action: string;
}

export interface Segment {
  from: number;
  to: number;
  kind: string;
  /** Index in the list where its passes go on; undefined = they leave it. */
  target: number | undefined;
}

const LEAVES = -1;

/** `most`: rules of a segment of a kind. */
export function cut(
  rules: readonly Jump[], kindOf: (index: number) => string, most: (kind: string) => number,
): Segment[] {
  const begins = new Set(rules.flatMap(({ next }) => next ?? []));
  const pieces: Piece[] = [];
  rules.forEach((rule, i) => {
    const kind = kindOf(i);
    const target = rule.action === "pass" ? rule.next ?? LEAVES : undefined;
    const last = pieces.at(-1);
    const joins = last && !begins.has(i) && last.kind === kind && i - last.from < most(kind) &&
      (target === undefined || last.targets.size === 0 || last.targets.has(target));
    if (!joins) pieces.push({ from: i, to: i + 1, kind, targets: new Set() });
    const piece = pieces.at(-1)!;
    piece.to = i + 1;
    if (target !== undefined) piece.targets.add(target);
  });
  return join(pieces, most).map(({ from, to, kind, targets }): Segment => {
    const [target] = targets;
    return { from, to, kind, target: target === LEAVES ? undefined : target };
  });
}

interface Piece {
  from: number;
  to: number;
  kind: string;
  /** Where its passes go on outside it; one at most once it is finished. */
  targets: Set<number>;
}

/** Joins neighbours while all passes out of them go to one place and none comes in between. */
function join(pieces: Piece[], most: (kind: string) => number): Piece[] {
  const joined: Piece[] = [];
  const entered = new Set<number>();
  for (const piece of pieces) {
    const last = joined.at(-1);
    if (last && last.kind === piece.kind && piece.to - last.from <= most(piece.kind) &&
      !entered.has(piece.from)) {
      const targets = new Set([...last.targets, ...piece.targets]);
      targets.delete(piece.from);
      if (targets.size <= 1) {
        last.to = piece.to;
        last.targets = targets;
        continue;
      }
    }
    for (const target of last?.targets ?? []) entered.add(target);
    joined.push({ ...piece, targets: new Set(piece.targets) });
  }
  return joined;
}

/** The rules of a segment as a list of their own: jumps inside it rebased, the others leave it. */
export function rulesOf<T extends Jump>(rules: readonly T[], { from, to }: Segment): T[] {
  return rules.slice(from, to).map((rule) => {
    if (rule.next === undefined) return rule;
    const { next, ...rest } = rule;
    return (next < to ? { ...rest, next: next - from } : rest) as T;
  });
}
