import type { Finding } from "../advice/finding.ts";
import type { LifecycleState } from "../lifecycle/lifecycle.ts";
import type { CheckResult } from "./background-check.ts";

/** Latency of the base server's requests since the start; percentiles within 3.2 %. */
export interface LatencySummary {
  readonly avg_ms: number;
  readonly min_ms: number;
  readonly max_ms: number;
  readonly p50_ms: number;
  readonly p95_ms: number;
  readonly p99_ms: number;
}

/** The document of `/v2/health`. */
export interface HealthDocument {
  readonly status: "ok" | Exclude<LifecycleState, "ready">;
  readonly version: string;
  /** ISO 8601. */
  readonly timestamp: string;
  readonly service: { readonly name: string; readonly version: string; readonly uptime: string };
  readonly metrics: { readonly requests_total: number };
  readonly features: readonly string[];
  readonly profiler: {
    readonly uptime_seconds: number;
    readonly request_count: number;
    /** Answers with a status of 500 and above. */
    readonly error_count: number;
    /** error_count / request_count, 0..1. */
    readonly error_rate: number;
    readonly latency: LatencySummary;
  };
  readonly checks: Readonly<Record<string, CheckResult>>;
  readonly pools: PoolStats;
  /** What the figures of the last minutes say could be better; see `advise()`. */
  readonly findings: readonly Finding[];
}

/** The statistics of everything that the server pools or caches; `db_pool` only where a database is configured. */
export interface PoolStats {
  readonly db_pool?: Readonly<Record<string, unknown>>;
  readonly http_pool: Readonly<Record<string, unknown>>;
  readonly inference_cache: Readonly<Record<string, unknown>>;
  readonly embedding_cache: Readonly<Record<string, unknown>>;
}

/** What the document is made of. */
export interface HealthSources {
  readonly state: LifecycleState;
  readonly name: string;
  readonly version: string;
  readonly uptimeMs: number;
  readonly requests: { readonly requestCount: number; readonly errorCount: number; latency(): LatencySummary };
  readonly limitsRate: boolean;
  readonly shedsLoad: boolean;
  readonly findings: readonly Finding[];
  readonly checks: Readonly<Record<string, CheckResult>>;
  readonly pools: PoolStats;
}

export function healthDocument(sources: HealthSources): HealthDocument {
  const { state, name, version, uptimeMs, requests, checks, pools, findings } = sources;
  const { requestCount, errorCount } = requests;
  return {
    status: state === "ready" ? "ok" : state,
    version,
    timestamp: new Date().toISOString(),
    service: { name, version, uptime: uptimeText(uptimeMs / 1000) },
    metrics: { requests_total: requestCount },
    features: features(sources),
    profiler: {
      uptime_seconds: Math.round(uptimeMs) / 1000,
      request_count: requestCount,
      error_count: errorCount,
      error_rate: requestCount === 0 ? 0 : errorCount / requestCount,
      latency: requests.latency(),
    },
    checks,
    pools,
    findings,
  };
}

function features({ pools, limitsRate, shedsLoad }: HealthSources): string[] {
  return [
    "structured_logging",
    "inference_cache",
    "embedding_cache",
    "http_pool",
    ...(pools.db_pool === undefined ? [] : ["db_pool"]),
    ...(limitsRate ? ["rate_limit"] : []),
    ...(shedsLoad ? ["load_shedding"] : []),
    "metrics",
  ];
}

/** 3723 -> "1h2m3s", as Go prints durations. */
function uptimeText(seconds: number): string {
  const whole = Math.floor(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return `${h > 0 ? `${h}h` : ""}${h > 0 || m > 0 ? `${m}m` : ""}${s}s`;
}
