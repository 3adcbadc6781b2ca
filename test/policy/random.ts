// A generator of random choices that a printed seed repeats (splitmix32).

export class Random {
  constructor(private state: number) {}

  /** 0 to 2^32 - 1. */
  word(): number {
    this.state = (this.state + 0x9e3779b9) >>> 0;
    let z = this.state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }
  /** 0 to n - 1. */
  below(n: number): number {
    return Math.floor((this.word() / 2 ** 32) * n);
  }
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }
  chance(share: number): boolean {
    return this.word() / 2 ** 32 < share;
  }
  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new Error("nothing to pick from");
    return list[this.below(list.length)]!;
  }
  /** `least` to `most` of them, in their order. */
  some<T>(list: readonly T[], least: number, most: number): T[] {
    const wanted = Math.min(this.between(least, most), list.length);
    const places = new Set<number>();
    while (places.size < wanted) places.add(this.below(list.length));
    return list.filter((_, i) => places.has(i));
  }
  /** A key, as often as its weight says. */
  weighted<K extends string>(weights: Record<K, number>): K {
    const entries = Object.entries(weights) as [K, number][];
    let at = (this.word() / 2 ** 32) * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [key, weight] of entries) if ((at -= weight) < 0) return key;
    return entries.at(-1)![0];
  }
  /** A generator of its own, for a part that must not shift with what comes before it. */
  fork(): Random {
    return new Random(this.word());
  }
}
