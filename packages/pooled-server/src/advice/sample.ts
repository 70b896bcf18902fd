/**
 * The figures that advice rests on, as the pools and caches give them: counters since the start, and what is now. Each is
 * the part of its `getStats()` that the rules read.
 */
export interface DbFigures {
  readonly max_open_connections: number;
  readonly in_use: number;
  readonly acquire_count: number;
  readonly release_count: number;
  readonly rejected_count: number;
  readonly wait_count: number;
  readonly wait_duration_ms: number;
  readonly use_duration_ms: number;
  readonly timeout_count: number;
  readonly create_count: number;
}

export interface HttpFigures {
  readonly request_count: number;
  readonly success_count: number;
  readonly error_count: number;
  readonly retry_count: number;
  readonly timeout_count: number;
  readonly avg_latency_ms: number;
  readonly timeouts_by_phase: Readonly<Record<string, number>>;
  readonly per_origin: Readonly<Record<string, { readonly error_count: number; readonly retry_count: number }>>;
}

export interface CacheFigures {
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
  readonly evictions_bytes: number;
  readonly expirations: number;
  readonly entries: number;
  readonly capacity: number;
  readonly total_size_mb: number;
  /** 0: no limit. */
  readonly max_size_mb: number;
}

/** All figures at one time. */
export interface Sample {
  /** By the server's clock. */
  readonly atMs: number;
  readonly db?: DbFigures | undefined;
  readonly http: HttpFigures;
  readonly caches: Readonly<Record<"inference_cache" | "embedding_cache", CacheFigures>>;
  /** What the JavaScript heap may hold at most. */
  readonly heapLimitMb: number;
}

/** The samples of a window of time, the oldest first: two at least. */
export type SampleWindow = readonly [Sample, ...Sample[]];

export function lastOf(window: SampleWindow): Sample {
  return window.at(-1) as Sample;
}

/**
 * By how much counters rose. `undefined` where one of them fell: it has begun anew (statistics can be reset), and what it was
 * before says nothing.
 */
export function rises<K extends string>(
  before: Readonly<Record<K, number>>,
  after: Readonly<Record<K, number>>,
  ...keys: K[]
): Record<K, number> | undefined {
  const rise = Object.fromEntries(keys.map((key) => [key, after[key] - before[key]])) as Record<K, number>;
  return keys.every((key) => rise[key] >= 0) ? rise : undefined;
}

/** The key whose number rose most, if any did. */
export function mostRisen(
  before: Readonly<Record<string, number>>,
  after: Readonly<Record<string, number>>,
): string | undefined {
  let most: string | undefined;
  let by = 0;
  for (const [key, value] of Object.entries(after)) {
    const rise = value - (before[key] ?? 0);
    if (rise > by) [most, by] = [key, rise];
  }
  return most;
}
