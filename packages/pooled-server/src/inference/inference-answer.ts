import { cacheHeaders, cacheStatusText, type CacheOutcome, type CacheResult } from "./cache-status.ts";
import type { Flight, FlightShare } from "./flight.ts";
import type { JsonObject } from "./json.ts";
import { DONE_FRAME, type Piece } from "./piece.ts";
import type { StoredAnswer } from "./stored-answer.ts";
import type { Forwarded } from "./upstream-pieces.ts";

/** Where an answer's pieces come from: the cache, or a call that may still be under way. */
export type AnswerSource =
  | { readonly stored: StoredAnswer }
  | { readonly flight: Flight<Forwarded>; readonly share: FlightShare<Forwarded> };

/** How a stream is wanted. */
export interface StreamOptions {
  /** Whether the stream ends with a chunk that counts the tokens (OpenAI's `stream_options.include_usage`). */
  includeUsage?: boolean | undefined;
}

/**
 * An answer whose first piece is there. Read it in either form, and once; who does not want it any more calls `leave()`,
 * or aborts the signal that came with the request. What it holds is shared: do not change it.
 */
export class InferenceAnswer {
  readonly #source: AnswerSource;
  readonly #outcome: CacheOutcome;

  constructor(source: AnswerSource, outcome: CacheOutcome) {
    this.#source = source;
    this.#outcome = outcome;
  }

  /** Where it comes from. */
  get cache(): CacheResult {
    return this.#outcome.result;
  }

  /** Seconds since it was stored; undefined for an answer that is new. */
  get ageSeconds(): number | undefined {
    return this.#outcome.ageSeconds;
  }

  /** The value of `Cache-Status` (RFC 9211). It says `stored` only once that is known, which is after `document()`. */
  get cacheStatus(): string {
    return cacheStatusText(this.#outcomeNow());
  }

  /** `cache-status`, `x-vg-cache` and, of a stored answer, `age`. */
  get headers(): Record<string, string> {
    return cacheHeaders(this.#outcomeNow());
  }

  /** The whole answer as OpenAI's document, made of the chunks where the upstream streamed. @throws what broke it off */
  async document(): Promise<JsonObject> {
    const source = this.#source;
    return "stored" in source ? source.stored.parse() : (await source.share.document()).value;
  }

  /** `document()` as JSON, in the upstream's own spelling where it sent a document. */
  documentBytes(): Buffer | Promise<Buffer> {
    const source = this.#source;
    return "stored" in source ? source.stored.document : source.share.document().then(({ bytes }) => bytes);
  }

  /**
   * The answer as OpenAI's chunks, each as soon as it is there; made of the document where the upstream did not stream.
   *
   * @throws what broke the answer off, after the chunks before that
   */
  async *chunks({ includeUsage = false }: StreamOptions = {}): AsyncGenerator<JsonObject> {
    if ("stored" in this.#source) {
      for (const frame of this.#source.stored.frames(includeUsage)) {
        yield JSON.parse(frame.toString("utf8", "data: ".length)) as JsonObject;
      }
      return;
    }
    for await (const pieces of this.#batches()) {
      for (const piece of pieces) {
        if (includeUsage || !piece.isUsage) yield piece.value;
      }
    }
  }

  /** The answer as server-sent events, [DONE] included; several at a time where several are there. @throws as `chunks` */
  async *events({ includeUsage = false }: StreamOptions = {}): AsyncGenerator<Buffer> {
    if ("stored" in this.#source) {
      yield Buffer.concat([...this.#source.stored.frames(includeUsage), DONE_FRAME]);
      return;
    }
    for await (const pieces of this.#batches()) {
      const frames = pieces.filter((piece) => includeUsage || !piece.isUsage).map((piece) => piece.frame);
      if (frames.length > 0) yield frames.length === 1 ? (frames[0] as Buffer) : Buffer.concat(frames);
    }
    yield DONE_FRAME;
  }

  /** Gives back this request's part in the call. Whoever reads the answer to its end need not. */
  leave(): void {
    if (!("stored" in this.#source)) this.#source.share.leave();
  }

  async *#batches(): AsyncGenerator<readonly Piece[]> {
    if ("stored" in this.#source) return;
    const { flight, share } = this.#source;
    for await (const pieces of share.batches()) {
      // A document is one piece, and the whole flight's.
      yield pieces[0]?.kind === "document" ? flight.chunks() : pieces;
    }
  }

  #outcomeNow(): CacheOutcome {
    if ("stored" in this.#source || this.#outcome.result === "collapsed") return this.#outcome;
    return { ...this.#outcome, stored: this.#source.flight.stored };
  }
}
