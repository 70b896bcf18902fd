/** What is counted, for the pool and for each origin. Plain numbers: recording costs a few additions. */
import { createHistogram } from "@vg/internal";
import type { HttpPhase } from "../errors.ts";
import type { RetryCause } from "../exchange/retry-policy.ts";
import type { HttpHistogram } from "./document.ts";

/** Durations in milliseconds. */
interface Histogram {
  readonly count: number;
  readonly mean: number;
  record(value: number): void;
  /** Within 3.2 %. */
  percentile(p: number): number;
  snapshot(): HttpHistogram;
}

/** Sum and number: enough for a mean. */
class Mean {
  count = 0;
  sum = 0;

  record(value: number): void {
    this.count++;
    this.sum += value;
  }

  get mean(): number {
    return this.count === 0 ? 0 : this.sum / this.count;
  }
}

export class Counters {
  requests = 0;
  successes = 0;
  errors = 0;
  canceled = 0;
  attempts = 0;
  reused = 0;
  retries = 0;
  retriesDenied = 0;
  staleResends = 0;
  timeouts = 0;
  bytesReceived = 0;
  bytesSent = 0;
  connects = 0;
  connectFailures = 0;
  readonly retriesByCause: Record<RetryCause, number> = { rejected: 0, status: 0, connect: 0, network: 0, timeout: 0 };
  readonly latency: Histogram = createHistogram();

  get inFlight(): number {
    return this.requests - this.successes - this.errors - this.canceled;
  }
}

/** Those of the whole pool. */
export class PoolCounters extends Counters {
  leaks = 0;
  readonly timeoutsByPhase: Record<HttpPhase, number> = {
    queue: 0,
    connect: 0,
    tls: 0,
    headers: 0,
    body: 0,
    backoff: 0,
  };
  readonly queue: Histogram = createHistogram();
  readonly connect: Histogram = createHistogram();
  readonly tls: Histogram = createHistogram();
  readonly firstByte: Histogram = createHistogram();
}

/** Those of one origin. Whatever it is told counts for the pool as well. Requests hold it while they last. */
export class OriginCounters extends Counters {
  readonly origin: string;
  /** When its last request ended: a turn among the ends of all requests. */
  quietSince = 0;
  readonly queue: Mean = new Mean();
  readonly connect: Mean = new Mean();
  readonly tls: Mean = new Mean();
  readonly firstByte: Mean = new Mean();
  readonly #pool: PoolCounters;

  constructor(origin: string, pool: PoolCounters) {
    super();
    this.origin = origin;
    this.#pool = pool;
  }

  requestBegan(): void {
    this.requests++;
    this.#pool.requests++;
  }

  requestEnded(outcome: "success" | "error" | "canceled", latencyMs: number): void {
    const pool = this.#pool;
    if (outcome === "canceled") {
      this.canceled++;
      pool.canceled++;
      return;
    }
    if (outcome === "success") {
      this.successes++;
      pool.successes++;
    } else {
      this.errors++;
      pool.errors++;
    }
    this.latency.record(latencyMs);
    pool.latency.record(latencyMs);
  }

  /** A success that became an error: all of the body has come, and it is more than its reader takes. */
  refused(): void {
    this.successes--;
    this.errors++;
    this.#pool.successes--;
    this.#pool.errors++;
  }

  timedOut(phase: HttpPhase): void {
    this.timeouts++;
    this.#pool.timeouts++;
    this.#pool.timeoutsByPhase[phase]++;
  }

  attemptBegan(): void {
    this.attempts++;
    this.#pool.attempts++;
  }

  /** The wait for a connection is over, whether or not there is one now. */
  waited(queueMs: number): void {
    this.queue.record(queueMs);
    this.#pool.queue.record(queueMs);
  }

  /** An attempt goes over a connection that has served before. */
  reuses(): void {
    this.reused++;
    this.#pool.reused++;
  }

  responded(firstByteMs: number): void {
    this.firstByte.record(firstByteMs);
    this.#pool.firstByte.record(firstByteMs);
  }

  sent(bytes: number): void {
    this.bytesSent += bytes;
    this.#pool.bytesSent += bytes;
  }

  received(bytes: number): void {
    this.bytesReceived += bytes;
    this.#pool.bytesReceived += bytes;
  }

  retried(cause: RetryCause): void {
    this.retries++;
    this.retriesByCause[cause]++;
    this.#pool.retries++;
    this.#pool.retriesByCause[cause]++;
  }

  retryDenied(): void {
    this.retriesDenied++;
    this.#pool.retriesDenied++;
  }

  resent(): void {
    this.staleResends++;
    this.#pool.staleResends++;
  }
}
