import { createHistogram } from "@vg/internal";
import type { HttpPhase } from "./errors.ts";
import type { RetryCause } from "./exchange/retry-policy.ts";

/** A frozen snapshot; counters start at 0 with the pool. */
export interface HttpPoolStats {
  /** Requests begun; redirects, retries and resends belong to the request that caused them. */
  readonly request_count: number;
  /** Ended with a response that is no error: below 500 and none of 408, 425, 429. */
  readonly success_count: number;
  /** Ended with another response or with an error, the caller's own aborts apart. */
  readonly error_count: number;
  /** Given up by the caller: its signal, or a stream that it stopped reading. */
  readonly canceled_count: number;
  /** Attempts that were retries. */
  readonly retry_count: number;
  /** success / (success + error), 0 to 1; 1 before the first request has ended. */
  readonly success_rate: number;
  /** Mean over all ended requests that were not given up; a stream ends with its last byte. */
  readonly avg_latency_ms: number;
  /** Within 3.2 %, as the two below. */
  readonly p50_latency_ms: number;
  readonly p95_latency_ms: number;
  readonly p99_latency_ms: number;
  /** bytes_received + bytes_sent. */
  readonly total_bytes: number;
  /** Bytes of response bodies as they came over the wire, compressed ones included; no headers. */
  readonly bytes_received: number;
  /** Bytes of request bodies, those of retries included; no headers. */
  readonly bytes_sent: number;
  /** Requests that failed because a time limit passed. */
  readonly timeout_count: number;
  /** The same, by where the request was. */
  readonly timeouts_by_phase: Readonly<Record<HttpPhase, number>>;
  /** Requests begun and not ended; waiting ones and open streams included. */
  readonly in_flight: number;
  /** Requests that wait for a connection, for a dial included. */
  readonly queued: number;
  /** Connections and dials that count against the limits. */
  readonly open_connections: number;
  readonly idle_connections: number;
  /** Connections made, and dials that failed. */
  readonly connect_count: number;
  readonly connect_failure_count: number;
  /** Attempts repeated at once because a reused connection was dead; no retries. */
  readonly stale_resends: number;
  /** Waiting for a connection, per attempt; its own dial is not part of it. */
  readonly avg_queue_ms: number;
  readonly p50_queue_ms: number;
  readonly p95_queue_ms: number;
  readonly p99_queue_ms: number;
  /** `rejected`: 429 and 503. `status`: the other retried ones. `connect`: never sent. `network`, `timeout`: the attempt. */
  readonly retries_by_cause: Readonly<Record<RetryCause, number>>;
  /** Origins with requests in flight, and others up to 100 in all: the one that has had none for longest goes. */
  readonly per_origin: Readonly<Record<string, HttpOriginStats>>;
}

export interface HttpOriginStats {
  readonly request_count: number;
  readonly success_count: number;
  readonly error_count: number;
  readonly canceled_count: number;
  readonly retry_count: number;
  readonly avg_latency_ms: number;
  readonly in_flight: number;
  readonly queued: number;
  readonly open_connections: number;
  readonly idle_connections: number;
}

export interface ConnectionCounts {
  readonly queued: number;
  readonly open: number;
  readonly idle: number;
}

const MAX_ORIGINS = 100;

interface OriginCounters {
  requests: number;
  successes: number;
  errors: number;
  canceled: number;
  retries: number;
  latencySum: number;
}

/** Counts what the exchanges report. Plain fields: recording costs a few additions. */
export class StatsRecorder {
  requests = 0;
  successes = 0;
  errors = 0;
  canceled = 0;
  retries = 0;
  staleResends = 0;
  bytesReceived = 0;
  bytesSent = 0;
  timeouts = 0;
  readonly #timeoutsByPhase: Record<HttpPhase, number> = {
    queue: 0,
    connect: 0,
    tls: 0,
    headers: 0,
    body: 0,
    backoff: 0,
  };
  readonly #retriesByCause: Record<RetryCause, number> = { rejected: 0, status: 0, connect: 0, network: 0, timeout: 0 };
  readonly #latency = createHistogram();
  readonly #queue = createHistogram();
  readonly #origins = new Map<string, OriginCounters>();
  /** Those without a request in flight, longest first; the others are not dropped, or their ends would count twice. */
  readonly #quiet = new Set<string>();

  begin(origin: string): void {
    this.requests++;
    this.#quiet.delete(origin);
    this.#of(origin).requests++;
    this.#dropQuiet();
  }

  end(origin: string, outcome: "success" | "error" | "canceled", latencyMs: number): void {
    const counters = this.#of(origin);
    if (counters.requests === counters.successes + counters.errors + counters.canceled + 1) {
      this.#quiet.add(origin);
      this.#dropQuiet();
    }
    if (outcome === "canceled") {
      this.canceled++;
      counters.canceled++;
      return;
    }
    if (outcome === "success") {
      this.successes++;
      counters.successes++;
    } else {
      this.errors++;
      counters.errors++;
    }
    this.#latency.record(latencyMs);
    counters.latencySum += latencyMs;
  }

  /** A success that became an error: all of the body has come, and it is more than its reader takes. */
  refused(origin: string): void {
    this.successes--;
    this.errors++;
    const counters = this.#origins.get(origin);
    if (counters === undefined) return;
    counters.successes--;
    counters.errors++;
  }

  retry(origin: string, cause: RetryCause): void {
    this.retries++;
    this.#of(origin).retries++;
    this.#retriesByCause[cause]++;
  }

  timeout(phase: HttpPhase): void {
    this.timeouts++;
    this.#timeoutsByPhase[phase]++;
  }

  waited(queueMs: number): void {
    this.#queue.record(queueMs);
  }

  snapshot(
    connections: ConnectionCounts & { connected: number; connectFailures: number },
    connectionsOf: (origin: string) => ConnectionCounts,
  ): HttpPoolStats {
    const ended = this.successes + this.errors;
    const perOrigin = Object.fromEntries(
      [...this.#origins].map(([origin, counters]) => [origin, originStats(counters, connectionsOf(origin))]),
    );
    return Object.freeze({
      request_count: this.requests,
      success_count: this.successes,
      error_count: this.errors,
      canceled_count: this.canceled,
      retry_count: this.retries,
      success_rate: ended === 0 ? 1 : this.successes / ended,
      avg_latency_ms: this.#latency.mean,
      p50_latency_ms: this.#latency.percentile(0.5),
      p95_latency_ms: this.#latency.percentile(0.95),
      p99_latency_ms: this.#latency.percentile(0.99),
      total_bytes: this.bytesReceived + this.bytesSent,
      bytes_received: this.bytesReceived,
      bytes_sent: this.bytesSent,
      timeout_count: this.timeouts,
      timeouts_by_phase: Object.freeze({ ...this.#timeoutsByPhase }),
      in_flight: this.requests - ended - this.canceled,
      queued: connections.queued,
      open_connections: connections.open,
      idle_connections: connections.idle,
      connect_count: connections.connected,
      connect_failure_count: connections.connectFailures,
      stale_resends: this.staleResends,
      avg_queue_ms: this.#queue.mean,
      p50_queue_ms: this.#queue.percentile(0.5),
      p95_queue_ms: this.#queue.percentile(0.95),
      p99_queue_ms: this.#queue.percentile(0.99),
      retries_by_cause: Object.freeze({ ...this.#retriesByCause }),
      per_origin: Object.freeze(perOrigin),
    });
  }

  #of(origin: string): OriginCounters {
    let counters = this.#origins.get(origin);
    if (counters === undefined) {
      counters = { requests: 0, successes: 0, errors: 0, canceled: 0, retries: 0, latencySum: 0 };
      this.#origins.set(origin, counters);
    }
    return counters;
  }

  #dropQuiet(): void {
    for (const origin of this.#quiet) {
      if (this.#origins.size <= MAX_ORIGINS) return;
      this.#quiet.delete(origin);
      this.#origins.delete(origin);
    }
  }
}

function originStats(counters: OriginCounters, connections: ConnectionCounts): HttpOriginStats {
  const ended = counters.successes + counters.errors;
  return Object.freeze({
    request_count: counters.requests,
    success_count: counters.successes,
    error_count: counters.errors,
    canceled_count: counters.canceled,
    retry_count: counters.retries,
    avg_latency_ms: ended === 0 ? 0 : counters.latencySum / ended,
    in_flight: counters.requests - ended - counters.canceled,
    queued: connections.queued,
    open_connections: connections.open,
    idle_connections: connections.idle,
  });
}
