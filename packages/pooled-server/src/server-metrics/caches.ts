import type { CacheStats } from "@vg/cache";
import type { MetricFamily, Sample } from "../metrics/family.ts";
import { counter, gauge } from "./families.ts";

const BYTES_PER_MB = 1024 * 1024;

export function cacheFamilies(caches: Readonly<Record<string, CacheStats>>): MetricFamily[] {
  const each = (value: (stats: CacheStats) => number): Sample[] =>
    Object.entries(caches).map(([cache, stats]) => ({ labels: { cache }, value: value(stats) }));
  const split = (label: string, values: (stats: CacheStats) => Readonly<Record<string, number>>): Sample[] =>
    Object.entries(caches).flatMap(([cache, stats]) =>
      Object.entries(values(stats)).map(([key, value]) => ({ labels: { cache, [label]: key }, value })),
    );
  return [
    counter(
      "vg_cache_requests_total",
      "Look-ups by result.",
      ...split("result", ({ hits, misses }) => ({ hit: hits, miss: misses })),
    ),
    gauge("vg_cache_hit_ratio", "Hits / look-ups since the start, 0 to 1.", ...each((stats) => stats.hit_rate)),
    gauge("vg_cache_entries", "Live entries.", ...each((stats) => stats.entries)),
    gauge("vg_cache_capacity_entries", "Entries at most.", ...each((stats) => stats.capacity)),
    gauge("vg_cache_size_bytes", "Size of the values.", ...each((stats) => stats.total_size_mb * BYTES_PER_MB)),
    gauge(
      "vg_cache_capacity_bytes",
      "Size of the values at most; 0 is no limit.",
      ...each((stats) => stats.max_size_mb * BYTES_PER_MB),
    ),
    counter(
      "vg_cache_evictions_total",
      "Live entries that left for want of room, by what was full.",
      ...split("reason", (stats) => ({ capacity: stats.evictions_capacity, bytes: stats.evictions_bytes })),
    ),
    counter("vg_cache_expirations_total", "Entries whose time was over.", ...each((stats) => stats.expirations)),
    counter(
      "vg_cache_loads_total",
      "Loads by how they ended; joined is a look-up that shared a running one.",
      ...split("result", (stats) => ({
        ok: stats.loads_ok,
        failed: stats.loads_failed,
        abandoned: stats.loads_abandoned,
        joined: stats.loads_deduplicated,
      })),
    ),
    gauge("vg_cache_loads_active", "Loads that run.", ...each((stats) => stats.loads_in_flight)),
    counter(
      "vg_cache_rejected_total",
      "Values that were not stored since they alone exceed the size at most.",
      ...each((stats) => stats.rejected_too_large),
    ),
  ];
}
