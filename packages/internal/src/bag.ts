/** What lies in a bag knows where, so that to take it out is a few assignments. It lies in one bag at most. */
export interface Bagged {
  /** Its bag's; `NOT_BAGGED` outside of one. */
  bagIndex: number;
}

export const NOT_BAGGED: number = -1;

/**
 * A set in no order, for things that come and go with each request: whoever goes leaves its place to the last one. Beside
 * a `Set` it saves about 0.2 µs for each that comes and goes.
 */
export class Bag<T extends Bagged> implements Iterable<T> {
  readonly #all: T[] = [];

  get size(): number {
    return this.#all.length;
  }

  add(item: T): void {
    if (item.bagIndex === NOT_BAGGED) item.bagIndex = this.#all.push(item) - 1;
  }

  delete(item: T): void {
    if (item.bagIndex === NOT_BAGGED) return;
    const last = this.#all.pop() as T;
    if (last !== item) {
      this.#all[item.bagIndex] = last;
      last.bagIndex = item.bagIndex;
    }
    item.bagIndex = NOT_BAGGED;
  }

  /** Over those of now, whoever comes and goes meanwhile. */
  [Symbol.iterator](): Iterator<T> {
    return [...this.#all].values();
  }
}
