import { OriginCounters, PoolCounters } from "./stats/counters.ts";
import type { HttpPoolHistograms, HttpPoolStats } from "./stats/document.ts";
import { histogramsOf, statsOf, type StatsSources } from "./stats/snapshot.ts";
import type { CloseReason } from "./transport/connection-watcher.ts";
import type { DialTimes } from "./transport/dial.ts";

const MAX_ORIGINS = 100;

/** Counts what the requests of a pool and its connections report. */
export class StatsRecorder {
  readonly pool: PoolCounters = new PoolCounters();
  readonly closed: Record<CloseReason, number> = {
    idle_timeout: 0,
    max_lifetime: 0,
    max_idle: 0,
    max_total: 0,
    asked: 0,
    stale: 0,
    not_kept: 0,
    request_failed: 0,
    tls_replaced: 0,
    server: 0,
    pool_closed: 0,
  };
  /** Those with requests in flight, and others up to MAX_ORIGINS in all. */
  readonly #origins = new Map<string, OriginCounters>();
  /** How many of them have no request in flight; 0 while there are more than MAX_ORIGINS. */
  #quiet = 0;
  #turn = 0;

  /** A request begins; it tells the rest to what this returns. */
  begin(origin: string): OriginCounters {
    let counters = this.#origins.get(origin);
    if (counters === undefined) {
      counters = new OriginCounters(origin, this.pool);
      if (this.#origins.size >= MAX_ORIGINS) this.#dropLongestQuiet();
      this.#origins.set(origin, counters);
    } else if (counters.inFlight === 0) {
      this.#quiet--;
    }
    counters.requestBegan();
    return counters;
  }

  end(counters: OriginCounters, outcome: "success" | "error" | "canceled", latencyMs: number): void {
    counters.requestEnded(outcome, latencyMs);
    if (counters.inFlight > 0) return;
    if (this.#origins.size > MAX_ORIGINS) {
      this.#origins.delete(counters.origin);
      return;
    }
    counters.quietSince = ++this.#turn;
    this.#quiet++;
  }

  connected(origin: string, { connectMs, tlsMs }: DialTimes): void {
    for (const counters of [this.pool, this.#origins.get(origin)]) {
      if (counters === undefined) continue;
      counters.connects++;
      counters.connect.record(connectMs);
      if (tlsMs > 0) counters.tls.record(tlsMs);
    }
  }

  connectFailed(origin: string): void {
    this.pool.connectFailures++;
    const counters = this.#origins.get(origin);
    if (counters !== undefined) counters.connectFailures++;
  }

  snapshot(sources: StatsSources): HttpPoolStats {
    return statsOf(this.pool, this.closed, this.#origins, sources);
  }

  histograms(): HttpPoolHistograms {
    return histogramsOf(this.pool);
  }

  #dropLongestQuiet(): void {
    if (this.#quiet === 0) return;
    let longest: OriginCounters | undefined;
    for (const counters of this.#origins.values()) {
      if (counters.inFlight > 0) continue;
      if (longest === undefined || counters.quietSince < longest.quietSince) longest = counters;
    }
    if (longest === undefined) return;
    this.#origins.delete(longest.origin);
    this.#quiet--;
  }
}
