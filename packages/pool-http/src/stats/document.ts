import type { HttpPhase } from "../errors.ts";
import type { RetryCause } from "../exchange/retry-policy.ts";
import type { CloseReason } from "../transport/connection-watcher.ts";

/** What the pool and each origin have in common. A request and all its attempts count for the origin it was made to. */
interface HttpTraffic {
  /** Requests begun; redirects, retries and resends belong to the request that caused them. */
  readonly request_count: number;
  /** Ended with a response that is no error: below 500 and none of 408, 425, 429. */
  readonly success_count: number;
  /** Ended with another response or with an error, the caller's own aborts apart. */
  readonly error_count: number;
  /** Given up by the caller: its signal, or a stream that it stopped reading. */
  readonly canceled_count: number;
  /** success / (success + error), 0 to 1; 1 before the first request has ended. */
  readonly success_rate: number;
  /** Attempts begun: first ones, retries, resends, and those that redirects led to. */
  readonly attempt_count: number;
  /** Attempts over a connection that had served before / attempt_count; 0 before the first. */
  readonly reuse_ratio: number;
  /** Attempts that were retries. */
  readonly retry_count: number;
  /** `rejected`: 429 and 503. `status`: the other retried ones. `connect`: never sent. `network`, `timeout`: the attempt. */
  readonly retries_by_cause: Readonly<Record<RetryCause, number>>;
  /** Retries that `retryBudget` did not allow. */
  readonly retries_denied: number;
  /** Attempts repeated at once because a reused connection was dead; no retries. */
  readonly stale_resends: number;
  /** Requests that failed because a time limit passed. */
  readonly timeout_count: number;
  /** Mean over all ended requests that were not given up; a stream ends with its last byte. */
  readonly avg_latency_ms: number;
  /** Within 3.2 %, as all percentiles. */
  readonly p50_latency_ms: number;
  readonly p95_latency_ms: number;
  readonly p99_latency_ms: number;
  readonly p999_latency_ms: number;
  /** Waiting for a connection, per attempt; its own dial is not part of it. */
  readonly avg_queue_ms: number;
  /** DNS and TCP, per connection made. */
  readonly avg_connect_ms: number;
  /** The handshake, per TLS connection made. */
  readonly avg_tls_ms: number;
  /** From having a connection to the complete headers, per attempt that got a response. */
  readonly avg_first_byte_ms: number;
  /** bytes_received + bytes_sent. */
  readonly total_bytes: number;
  /** Bytes of response bodies as they came over the wire, compressed ones included; no headers. */
  readonly bytes_received: number;
  /**
   * Bytes of request bodies that were handed to a connection, those of retries included; no headers. Where it broke, some
   * of them may not have left.
   */
  readonly bytes_sent: number;
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
}

/** A frozen snapshot; counters start at 0 with the pool and are exact. */
export interface HttpPoolStats extends HttpTraffic {
  /** `timeout_count` by where the request was. */
  readonly timeouts_by_phase: Readonly<Record<HttpPhase, number>>;
  readonly p50_queue_ms: number;
  readonly p95_queue_ms: number;
  readonly p99_queue_ms: number;
  readonly p999_queue_ms: number;
  readonly p50_connect_ms: number;
  readonly p95_connect_ms: number;
  readonly p99_connect_ms: number;
  readonly p999_connect_ms: number;
  readonly p50_tls_ms: number;
  readonly p95_tls_ms: number;
  readonly p99_tls_ms: number;
  readonly p999_tls_ms: number;
  readonly p50_first_byte_ms: number;
  readonly p95_first_byte_ms: number;
  readonly p99_first_byte_ms: number;
  readonly p999_first_byte_ms: number;
  /** Connections that were closed, by why. */
  readonly closed_by_reason: Readonly<Record<CloseReason, number>>;
  /** Streamed responses that nobody read: for longer than `leakThresholdMs`, or until they were garbage. */
  readonly leak_count: number;
  /** Origins with requests in flight, and others up to 100 in all: the one that has had none for longest goes. */
  readonly per_origin: Readonly<Record<string, HttpOriginStats>>;
}

export interface HttpOriginStats extends HttpTraffic {
  /** How many retries `retryBudget` would allow now; null where it is off. */
  readonly retry_budget_left: number | null;
}

/** Durations, as cumulative counts by upper bound: what Prometheus calls a histogram. */
export interface HttpHistogram {
  readonly count: number;
  readonly sum_ms: number;
  /** For each bound, how many took at most so long. The bounds are sharp to 3.2 %; longer ones are only in `count`. */
  readonly buckets: readonly { readonly le_ms: number; readonly count: number }[];
}

/** The distributions behind the percentiles of {@link HttpPoolStats}. */
export interface HttpPoolHistograms {
  /** Whole requests. */
  readonly latency: HttpHistogram;
  readonly queue: HttpHistogram;
  readonly connect: HttpHistogram;
  readonly tls: HttpHistogram;
  readonly first_byte: HttpHistogram;
}
