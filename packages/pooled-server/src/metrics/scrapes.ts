import { promisify } from "node:util";
import { constants, gzip } from "node:zlib";

/** How long after its beginning a scrape may be joined by another: pairs of Prometheus scrape at about the same time. */
const JOIN_MS = 100;

/** Scrapes under way at a time, however many scrapers share them. */
const MAX_IN_FLIGHT = 2;

/** Below it, compression saves no packet. */
const GZIP_ABOVE_BYTES = 4 * 1024;

const gzipped = promisify(gzip);

type Chunks = readonly Buffer<ArrayBuffer>[];

/** What a scrape came to; whoever shares it shares the compression too. */
export class ScrapeResult {
  readonly chunks: Chunks;
  readonly bytes: number;
  #gzipped: Promise<Buffer<ArrayBuffer>> | undefined;

  constructor(chunks: Chunks) {
    this.chunks = chunks;
    this.bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  }

  get worthCompressing(): boolean {
    return this.bytes > GZIP_ABOVE_BYTES;
  }

  /** On zlib's own threads. Names and labels repeat so much that the fastest level takes nine tenths away. */
  compressed(): Promise<Buffer<ArrayBuffer>> {
    this.#gzipped ??= gzipped(Buffer.concat(this.chunks), { level: constants.Z_BEST_SPEED });
    return this.#gzipped;
  }
}

interface Scrape {
  readonly startedAt: number;
  readonly result: Promise<ScrapeResult>;
  readonly abort: AbortController;
  waiters: number;
}

/**
 * The scrapes that are under way. Equal ones that begin within 100 ms of one another are one; a result that is complete is
 * never given again, so that whoever asks after an event sees it. A scrape that nobody waits for any longer ends.
 */
export class Scrapes {
  readonly #clock: { now(): number };
  readonly #joinable = new Map<string, Scrape>();
  #inFlight = 0;

  constructor(clock: { now(): number } = performance) {
    this.#clock = clock;
  }

  /**
   * Joins the scrape of that key, or begins one.
   *
   * @param left aborts when this waiter leaves
   * @param run makes the answer, until its signal aborts
   * @returns undefined where as many as there may be are under way
   */
  async join(
    key: string,
    left: AbortSignal,
    run: (signal: AbortSignal) => Promise<Chunks>,
  ): Promise<ScrapeResult | undefined> {
    let scrape = this.#joinable.get(key);
    if (scrape === undefined || this.#clock.now() - scrape.startedAt > JOIN_MS) {
      if (this.#inFlight >= MAX_IN_FLIGHT) return undefined;
      scrape = this.#begin(key, run);
    }
    scrape.waiters++;
    const leave = (): void => this.#leave(key, scrape);
    left.addEventListener("abort", leave, { once: true });
    try {
      return await scrape.result;
    } finally {
      left.removeEventListener("abort", leave);
    }
  }

  #begin(key: string, run: (signal: AbortSignal) => Promise<Chunks>): Scrape {
    const abort = new AbortController();
    this.#inFlight++;
    const result = run(abort.signal)
      .then((chunks) => new ScrapeResult(chunks))
      .finally(() => {
        this.#inFlight--;
        this.#forget(key, scrape);
      });
    const scrape: Scrape = { startedAt: this.#clock.now(), result, abort, waiters: 0 };
    this.#joinable.set(key, scrape);
    return scrape;
  }

  #leave(key: string, scrape: Scrape): void {
    scrape.waiters--;
    if (scrape.waiters > 0) return;
    // Nobody may join what is about to break off.
    this.#forget(key, scrape);
    scrape.abort.abort();
  }

  #forget(key: string, scrape: Scrape): void {
    if (this.#joinable.get(key) === scrape) this.#joinable.delete(key);
  }
}
