import type { FaultReason } from "./client-fault.ts";
import type { ConcurrencyGate } from "./concurrency-gate.ts";
import type { FaultLog } from "./fault-log.ts";
import type { LoopPressure } from "./loop-pressure.ts";
import type { RateLimiter } from "./rate-limiter.ts";
import type { RefusalReason } from "./refusal.ts";

/** What admission has done since the start, and what it does now. Counters are exact; percentiles within 3.2 %. */
export interface AdmissionStats {
  /** How many requests may hold a place now; 0 is no limit. */
  readonly limit: number;
  /** How many do. */
  readonly in_flight: number;
  /** How many wait for one. */
  readonly queue_length: number;
  /** Requests that got a place, at once or after waiting. */
  readonly admitted_count: number;
  /** Requests that had to wait. */
  readonly wait_count: number;
  /** Those of them whose client left meanwhile. */
  readonly wait_left_count: number;
  /** Waits that ended with a place or at their deadline. */
  readonly avg_wait_ms: number;
  readonly wait_p95_ms: number;
  readonly wait_p99_ms: number;
  readonly refused_count: number;
  readonly refused_by_reason: Readonly<Record<RefusalReason, number>>;
  /** Whether requests that the event loop comes to too late are shed. */
  readonly event_loop_overloaded: boolean;
  /** Of the last 50 ms, and how late the loop was then; 0 where it is not measured. */
  readonly event_loop_utilization: number;
  readonly event_loop_delay_ms: number;
  /** Clients whose rate is remembered. */
  readonly rate_limited_clients: number;
  readonly open_connections: number;
  /** Of these, those that an upgrade has handed over. */
  readonly upgraded_connections: number;
  /** What clients did wrong, by what it was. */
  readonly client_faults: Readonly<Record<FaultReason, number>>;
}

interface Counters {
  readonly gate: ConcurrencyGate;
  readonly guard: { readonly size: number; readonly faults: FaultLog };
  readonly pressure: LoopPressure;
  readonly limiter: RateLimiter | undefined;
  readonly upgraded: number;
  readonly refused: Readonly<Record<RefusalReason, number>>;
}

export function snapshot({ gate, guard, pressure, limiter, upgraded, refused }: Counters): AdmissionStats {
  return Object.freeze({
    limit: Number.isFinite(gate.limit) ? gate.limit : 0,
    in_flight: gate.inFlight,
    queue_length: gate.queueLength,
    admitted_count: gate.admitted,
    wait_count: gate.queued,
    wait_left_count: gate.leftQueue,
    avg_wait_ms: gate.waits.mean,
    wait_p95_ms: gate.waits.percentile(0.95),
    wait_p99_ms: gate.waits.percentile(0.99),
    refused_count: Object.values(refused).reduce((sum, count) => sum + count, 0),
    refused_by_reason: Object.freeze({ ...refused }),
    event_loop_overloaded: pressure.overloaded,
    event_loop_utilization: pressure.utilization,
    event_loop_delay_ms: pressure.delayMs,
    rate_limited_clients: limiter?.clients ?? 0,
    open_connections: guard.size,
    upgraded_connections: upgraded,
    client_faults: Object.freeze({ ...guard.faults.counts }),
  });
}
