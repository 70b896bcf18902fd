/**
 * How many accesses hit at best in a cache of so many entries, by an oracle that knows all that is to come: of the
 * entries held and the one that was just read, the one that is read again last goes. It need not keep what was just read,
 * as a policy with an admission filter need not.
 * From "A Study of Replacement Algorithms for a Virtual-Storage Computer" (Belady, 1966). O(n log n).
 *
 * @param accesses keys, numbered from 0
 */
export function optimalHits(accesses: Uint32Array, capacity: number): number {
  const never = accesses.length;
  const next = nextAccesses(accesses);
  // An entry is known by the place of its next access, which no two entries share.
  const held = new Uint8Array(never);
  const heap = new MaxHeap();
  let size = 0;
  let hits = 0;
  for (let place = 0; place < accesses.length; place++) {
    if (held[place] === 1) {
      hits++;
      held[place] = 0;
      size--;
    }
    const again = next[place]!;
    if (again === never) continue;
    held[again] = 1;
    heap.push(again);
    // What was read since lies before this place, and the greatest of the heap never does when there are too many.
    if (++size > capacity) {
      held[heap.pop()] = 0;
      size--;
    }
  }
  return hits;
}

/** For each access the place of the next one of the same key; the length when there is none. */
function nextAccesses(accesses: Uint32Array): Uint32Array {
  const next = new Uint32Array(accesses.length);
  const latest = new Map<number, number>();
  for (let place = accesses.length - 1; place >= 0; place--) {
    const key = accesses[place]!;
    next[place] = latest.get(key) ?? accesses.length;
    latest.set(key, place);
  }
  return next;
}

/** A binary heap of numbers, the greatest one on top. */
class MaxHeap {
  readonly #items: number[] = [];

  push(item: number): void {
    const items = this.#items;
    let place = items.length;
    for (; place > 0;) {
      const parent = (place - 1) >> 1;
      if (items[parent]! >= item) break;
      items[place] = items[parent]!;
      place = parent;
    }
    items[place] = item;
  }

  /** Takes the greatest one out. There must be one. */
  pop(): number {
    const items = this.#items;
    const top = items[0]!;
    const item = items.pop()!;
    if (items.length === 0) return top;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && items[child + 1]! > items[child]!) child++;
      if (items[child]! <= item) break;
      items[place] = items[child]!;
      place = child;
    }
    items[place] = item;
    return top;
  }
}
