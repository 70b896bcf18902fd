/**
 * One call to the upstream and all who wait for it.
 *
 * Invariants
 * - `pieces` only grows, and everybody reads it from its start, at a pace of their own: a slow reader delays nobody.
 * - It ends once, well or badly, and what it ended with is the same for everybody.
 * - Who leaves takes only a share; when the last share is given back before the end, the call is aborted.
 */
import type { CacheResult } from "./cache-status.ts";
import type { JsonObject } from "./json.ts";
import { chunkPieces, documentOf, type Piece } from "./piece.ts";

/** Makes the call that a flight is about; gets the flight's signal. */
export type Lead<T> = (signal: AbortSignal) => Promise<T> | T;

/** What is remembered of a request that waits: how it came aboard, and when by the clock of who asks for it. */
export interface Ticket {
  readonly result: CacheResult;
  readonly startedAt: number;
  /** What it asks for; of the one who leads, what the call is made with. */
  readonly body?: JsonObject;
  /** Whether this failure, before the first piece, is not the end for it. */
  readonly asksAgain?: (error: unknown) => boolean;
}

/** A whole answer as one document. */
export interface WholeDocument {
  readonly value: Readonly<Record<string, unknown>>;
  readonly text: string;
  readonly bytes: Buffer;
}

export class Flight<T> {
  readonly pieces: Piece[] = [];
  /** Whether the answer is in the cache; known at the end. */
  stored = false;
  readonly #controller = new AbortController();
  readonly #shares = new Set<FlightShare<T>>();
  readonly #onAbandoned: () => void;
  #leader: FlightShare<T> | undefined;
  #isPromoted = false;
  #outcome: { readonly error: unknown } | "whole" | undefined;
  #wakers: (() => void)[] = [];
  #document: WholeDocument | undefined;
  #chunks: readonly Piece[] | undefined;

  /** @param onAbandoned called when the last one has left before the end, right before the signal aborts */
  constructor(onAbandoned: () => void) {
    this.#onAbandoned = onAbandoned;
  }

  /** Aborts when nobody waits any more. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get waiters(): number {
    return this.#shares.size;
  }

  /** Of those who wait. */
  *tickets(): Iterable<Ticket> {
    for (const { ticket } of this.#shares) yield ticket;
  }

  /** Of the one whose call it is, who may have left. */
  get leader(): Ticket | undefined {
    return this.#leader?.ticket;
  }

  /** `whole`, or what it failed with, or undefined while it is on its way. */
  get outcome(): { readonly error: unknown } | "whole" | undefined {
    return this.#outcome;
  }

  /** Takes a share. The first one to join leads. */
  join(lead: Lead<T>, signal: AbortSignal | undefined, ticket: Ticket): FlightShare<T> {
    const share: FlightShare<T> = new FlightShare(this, lead, signal, ticket, () => this.#left(share));
    this.#shares.add(share);
    this.#leader ??= share;
    // Only now: the share of somebody who has left already is given back at once.
    share.watch();
    return share;
  }

  /**
   * Another one's lead, where the leader has left and the call has failed before it said anything: what ended it may have
   * been the leader's own (a handler's timer, a signal of its request). Once a flight.
   */
  promote(): Lead<T> | undefined {
    const leader = this.#leader;
    if (this.#isPromoted || this.pieces.length > 0) return undefined;
    if (leader === undefined || this.#shares.has(leader)) return undefined;
    const [next] = this.#shares;
    if (next === undefined) return undefined;
    this.#isPromoted = true;
    this.#leader = next;
    return next.lead;
  }

  append(piece: Piece): void {
    if (this.#outcome !== undefined) return;
    this.pieces.push(piece);
    this.#wake();
  }

  /** The answer is whole. */
  end(): void {
    this.#settle("whole");
  }

  fail(error: unknown): void {
    this.#settle({ error });
  }

  /** The whole answer as one document; made once. */
  document(): WholeDocument {
    if (this.#document === undefined) {
      const { value, text } = documentOf(this.pieces);
      this.#document = { value, text, bytes: Buffer.from(text) };
    }
    return this.#document;
  }

  /** The pieces as chunks, also where the upstream sent a document; made once. */
  chunks(): readonly Piece[] {
    if (this.pieces[0]?.kind !== "document") return this.pieces;
    this.#chunks ??= chunkPieces(this.pieces);
    return this.#chunks;
  }

  /** Calls `wake` once, at the next piece or at the end. */
  onChange(wake: () => void): void {
    this.#wakers.push(wake);
  }

  #left(share: FlightShare<T>): void {
    this.#shares.delete(share);
    if (this.#shares.size > 0 || this.#outcome !== undefined) return;
    this.#onAbandoned();
    const reason = new DOMException("Everybody who waited for this answer has left", "AbortError");
    this.#settle({ error: reason });
    this.#controller.abort(reason);
  }

  #settle(outcome: { readonly error: unknown } | "whole"): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    this.#wake();
  }

  #wake(): void {
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const wake of wakers) wake();
  }
}

/** What a reader gets at a time: enough to be worth a write, and not more than a slow client's buffer should hold. */
const BATCH_CHARS = 65_536;

/** One waiter's part in a flight. Give it back with `leave()`; the signal's abort does that, too. */
export class FlightShare<T> {
  readonly lead: Lead<T>;
  readonly ticket: Ticket;
  readonly #flight: Flight<T>;
  readonly #signal: AbortSignal | undefined;
  readonly #onLeave: () => void;
  #held = true;
  /** Ends the wait that is under way. */
  #wake: (() => void) | undefined;

  constructor(flight: Flight<T>, lead: Lead<T>, signal: AbortSignal | undefined, ticket: Ticket, onLeave: () => void) {
    this.#flight = flight;
    this.lead = lead;
    this.ticket = ticket;
    this.#signal = signal;
    this.#onLeave = onLeave;
  }

  /** Listens to the signal, from the moment on that the share is counted. */
  watch(): void {
    if (this.#signal?.aborted === true) this.leave();
    else this.#signal?.addEventListener("abort", this.leave, { once: true });
  }

  /** Idempotent. */
  readonly leave = (): void => {
    if (!this.#held) return;
    this.#held = false;
    this.#signal?.removeEventListener("abort", this.leave);
    this.#onLeave();
    this.#wake?.();
  };

  /**
   * Resolves when the first piece is there.
   *
   * @throws what the flight failed with before it, or the signal's reason
   */
  async started(): Promise<void> {
    await this.#change(0);
    this.#check(0);
  }

  /** The pieces from the first one on, as many at a time as have come. @throws as `started`, at whatever place */
  async *batches(): AsyncGenerator<readonly Piece[]> {
    try {
      for (let seen = 0; ;) {
        await this.#change(seen);
        if (!this.#check(seen)) return;
        const end = this.#batchEnd(seen);
        yield this.#flight.pieces.slice(seen, end);
        seen = end;
      }
    } finally {
      this.leave();
    }
  }

  /** The whole answer as one document. @throws as `started` */
  async document(): Promise<WholeDocument> {
    try {
      for (let seen = 0; this.#check(seen); seen = this.#flight.pieces.length) {
        await this.#change(this.#flight.pieces.length);
      }
      return this.#flight.document();
    } finally {
      this.leave();
    }
  }

  /** Resolves at the next change, or at once where there is something to see beyond so many pieces. */
  async #change(seen: number): Promise<void> {
    const { pieces, outcome } = this.#flight;
    if (pieces.length > seen || outcome !== undefined || !this.#held) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.#flight.onChange(resolve);
    });
  }

  /** Whether there may be more than so many pieces. */
  #check(seen: number): boolean {
    const { pieces, outcome } = this.#flight;
    // A whole answer is anybody's who has ever had a share.
    if (!this.#held && outcome !== "whole") throw this.#signal?.reason ?? new DOMException("Left", "AbortError");
    if (pieces.length > seen || outcome === undefined) return true;
    if (outcome === "whole") return false;
    throw outcome.error;
  }

  #batchEnd(start: number): number {
    const { pieces } = this.#flight;
    let end = start;
    for (let size = 0; end < pieces.length && size < BATCH_CHARS; end++) size += (pieces[end] as Piece).text.length;
    return end;
  }
}
