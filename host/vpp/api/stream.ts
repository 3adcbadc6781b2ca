// Values that come when they come, taken by `for await`.
//
//   push(value) ─► queue ─► next()          end(), fail(error): after what is queued
//   a loop that is left early calls `left` once
//
// Limits: the queue has no bound: VPP sends whether one reads or not, and what other calls wait
// for comes on the same socket. Large tables are better read page by page (gets with a cursor).

export class Stream<T> implements AsyncIterableIterator<T> {
  private queue: T[] = [];
  /** How many of the queue are gone: shifting a long array would cost its length each time. */
  private taken = 0;
  private readonly takers: {
    done(result: IteratorResult<T>): void;
    fail(error: unknown): void;
  }[] = [];
  private over = false;
  private error: unknown;

  constructor(private readonly left: () => void = () => {}) {}

  push(value: T): void {
    if (this.over) return;
    const taker = this.takers.shift();
    if (taker) taker.done({ done: false, value });
    else this.queue.push(value);
  }

  end(): void {
    this.over = true;
    for (const taker of this.takers.splice(0)) taker.done({ done: true, value: undefined });
  }

  fail(error: unknown): void {
    if (this.over) return;
    this.over = true;
    const [first, ...others] = this.takers.splice(0);
    if (first) first.fail(error);
    else this.error = error;
    for (const taker of others) taker.done({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<T>> {
    if (this.taken < this.queue.length) {
      const value = this.queue[this.taken++] as T;
      if (this.taken === this.queue.length) this.drop();
      return Promise.resolve({ done: false, value });
    }
    if (this.error !== undefined) {
      const { error } = this;
      this.error = undefined;
      return Promise.reject(error as Error);
    }
    if (this.over) return Promise.resolve({ done: true, value: undefined });
    return new Promise((done, fail) => { this.takers.push({ done, fail }); });
  }

  return(): Promise<IteratorResult<T>> {
    const wasOpen = !this.over;
    this.drop();
    this.error = undefined;
    this.end();
    if (wasOpen) this.left();
    return Promise.resolve({ done: true, value: undefined });
  }

  private drop(): void {
    this.queue = [];
    this.taken = 0;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
