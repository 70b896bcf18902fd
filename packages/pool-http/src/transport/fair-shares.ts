/**
 * How origins share `maxTotalConns`. An origin that may not dial because of it, and finds no idle connection to close,
 * is starved: the next connection that nobody of its own origin waits for is closed for it; so is one of an origin that
 * has more, or, where the starved one has none at all, whose first waiter came later. That leads to equal shares and
 * stops there: two busy origins do not take connections from each other for ever.
 */
import type { Connection } from "./connection.ts";
import type { Host, Waiter } from "./host.ts";

export class FairShares {
  /** In the order in which they came. */
  readonly #starved = new Set<Host>();
  /** HTTP/2 connections that take no more requests, so that they can be closed for somebody. */
  readonly #emptied = new Set<Connection>();

  get anyoneWaits(): boolean {
    return this.#starved.size > 0;
  }

  /** Nobody whom a connection is being emptied for already. */
  get anyoneWaitsForMore(): boolean {
    return this.#starved.size > this.#emptied.size;
  }

  add(host: Host): void {
    this.#starved.add(host);
  }

  delete(host: Host): void {
    this.#starved.delete(host);
  }

  emptying(connection: Connection): void {
    this.#emptied.add(connection);
  }

  closed(connection: Connection): void {
    this.#emptied.delete(connection);
  }

  clear(): void {
    this.#starved.clear();
    this.#emptied.clear();
  }

  [Symbol.iterator](): IterableIterator<Host> {
    return this.#starved.values();
  }

  /** The starved origin for which a connection of `host` is closed, instead of going to `waiter`. */
  yieldsTo(host: Host, waiter: Waiter | undefined): Host | undefined {
    for (const starved of this.#starved) {
      if (starved === host) continue;
      if (waiter === undefined) return starved;
      const first = starved.queue.first;
      const longer = first !== undefined && first.turn < waiter.turn;
      if (starved.open === 0) return longer ? starved : undefined;
      if (longer && starved.open + 1 < host.open) return starved;
    }
    return undefined;
  }
}
