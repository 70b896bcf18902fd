/**
 * How origins share `maxTotalConns`. An origin that may not dial because of it is starved, until a place is free. The
 * longest idle connection is closed for it; where none is idle, the next connection that nobody of its own origin waits
 * for; or one of an origin that has more, or, where the starved one has none at all, whose first waiter came later. That
 * leads to equal shares and stops there: two busy origins do not take connections from each other for ever.
 *
 * A place is free when its socket has closed, and not before. Until then it is promised to whom it was given up for, so
 * that nobody closes two connections for the want of one.
 */
import { lacking, type Host, type Leaving, type Waiter } from "./host.ts";

export class FairShares {
  readonly #maxConnsPerHost: number;
  /** In the order in which they came. */
  readonly #starved = new Set<Host>();
  readonly #leaving = new Set<Leaving>();

  constructor(maxConnsPerHost: number) {
    this.#maxConnsPerHost = maxConnsPerHost;
  }

  get anyoneWaits(): boolean {
    return this.#starved.size > 0;
  }

  /** Places that will be free. */
  get leavingCount(): number {
    return this.#leaving.size;
  }

  add(host: Host): void {
    this.#starved.add(host);
  }

  delete(host: Host): void {
    this.#starved.delete(host);
  }

  clear(): void {
    this.#starved.clear();
    this.#leaving.clear();
  }

  [Symbol.iterator](): IterableIterator<Host> {
    return this.#starved.values();
  }

  /** Its place will be free soon. Without effect where that is known. */
  leaves(leaving: Leaving): void {
    if (this.#leaving.has(leaving)) return;
    this.#leaving.add(leaving);
    leaving.host.leaving++;
  }

  /** It leaves for the sake of `heir`. */
  promise(leaving: Leaving, heir: Host): void {
    this.leaves(leaving);
    leaving.heir = heir;
    heir.promised++;
  }

  /** Its place is free; returns for whom, if that one still wants it. */
  left(leaving: Leaving): Host | undefined {
    if (!this.#leaving.delete(leaving)) return undefined;
    leaving.host.leaving--;
    const { heir } = leaving;
    if (heir === undefined) return undefined;
    heir.promised--;
    return this.#starved.has(heir) ? heir : undefined;
  }

  /** Whether it wants more than it was promised, with all that leaves anyway. */
  wantsMore(host: Host): boolean {
    if (!this.#lacks(host)) return false;
    for (const leaving of this.#leaving) {
      if (leaving.heir !== undefined) continue;
      this.promise(leaving, host);
      if (!this.#lacks(host)) return false;
    }
    return true;
  }

  /** The starved origin for which a connection of `host` is closed, instead of going to `waiter`. */
  yieldsTo(host: Host, waiter: Waiter | undefined): Host | undefined {
    for (const starved of this.#starved) {
      if (starved === host || !this.#lacks(starved)) continue;
      if (waiter === undefined) return starved;
      const first = starved.queue.first;
      const longer = first !== undefined && first.turn < waiter.turn;
      const has = shareOf(starved);
      if (has === 0) return longer ? starved : undefined;
      if (longer && has + 1 < shareOf(host)) return starved;
    }
    return undefined;
  }

  #lacks(host: Host): boolean {
    return host.promised < lacking(host, this.#maxConnsPerHost);
  }
}

/** What it has when everything that is under way has happened. */
function shareOf({ open, leaving, promised }: Host): number {
  return open - leaving + promised;
}
