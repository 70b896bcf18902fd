import type { CacheFigures, DbFigures, HttpFigures, Sample, SampleWindow } from "../../src/advice/sample.ts";

export const DB: DbFigures = {
  max_open_connections: 25,
  in_use: 12,
  acquire_count: 0,
  release_count: 0,
  rejected_count: 0,
  wait_count: 0,
  wait_duration_ms: 0,
  use_duration_ms: 0,
  timeout_count: 0,
  create_count: 0,
};

export const HTTP: HttpFigures = {
  request_count: 0,
  success_count: 0,
  error_count: 0,
  retry_count: 0,
  timeout_count: 0,
  avg_latency_ms: 0,
  timeouts_by_phase: { queue: 0, headers: 0 },
  per_origin: {},
};

export const CACHE: CacheFigures = {
  hits: 0,
  misses: 0,
  evictions: 0,
  evictions_bytes: 0,
  expirations: 0,
  entries: 100,
  capacity: 1_000,
  total_size_mb: 1,
  max_size_mb: 0,
};

export interface Figures {
  db?: Partial<DbFigures>;
  http?: Partial<HttpFigures>;
  inference?: Partial<CacheFigures>;
  embedding?: Partial<CacheFigures>;
}

export function sampleOf({ db, http, inference, embedding }: Figures, atMs: number = 0): Sample {
  return {
    atMs,
    db: { ...DB, ...db },
    http: { ...HTTP, ...http },
    caches: { inference_cache: { ...CACHE, ...inference }, embedding_cache: { ...CACHE, ...embedding } },
    heapLimitMb: 4_000,
  };
}

/** Five minutes, of which the first sample is `before` and all others `after`. */
export function windowOf(after: Figures, before: Figures = {}): SampleWindow {
  const samples = Array.from({ length: 31 }, (_, i) => sampleOf(i === 0 ? before : after, i * 10_000));
  return samples as unknown as SampleWindow;
}
