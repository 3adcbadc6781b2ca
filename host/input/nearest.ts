// "did you mean": the known word that a misspelt one is nearest to, by edit distance with
// transpositions (optimal string alignment), where it is near enough to be meant.

/** The known word that was meant: the same but for case, else a third of the letters may differ. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  const words = [...known];
  const same = words.find((each) => each.toLowerCase() === word.toLowerCase());
  if (same !== undefined) return same;
  let best: string | undefined;
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const each of words) {
    if (Math.abs(each.length - word.length) >= least) continue;
    const distance = editDistance(word, each);
    if (distance < least) [best, least] = [each, distance];
  }
  return best;
}

/** "; did you mean db?", or "" where nothing is near. */
export function didYouMean(word: string, known: Iterable<string>): string {
  const near = nearest(word, known);
  return near === undefined ? "" : `; did you mean ${near}?`;
}

/** "a, b or c". */
export function oneOf(words: readonly string[]): string {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

export function editDistance(a: string, b: string): number {
  let [older, old] = [[] as number[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(old[j]! + 1, row[j - 1]! + 1, old[j - 1]! + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) cost = Math.min(cost, older[j - 2]! + 1);
      row.push(cost);
    }
    [older, old] = [old, row];
  }
  return old[b.length]!;
}
