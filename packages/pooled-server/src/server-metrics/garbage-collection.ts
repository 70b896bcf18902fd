import { constants, PerformanceObserver, type PerformanceEntry } from "node:perf_hooks";
import type { HistogramChild, HistogramFamily } from "../metrics/histogram.ts";

/** Seconds. */
export const GC_BUCKETS: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

/** OpenTelemetry's words for V8's kinds of collections, by Node's numbers. */
const TYPE_BY_KIND: ReadonlyMap<unknown, string> = new Map([
  [constants.NODE_PERFORMANCE_GC_MINOR, "minor"],
  [constants.NODE_PERFORMANCE_GC_MAJOR, "major"],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, "incremental"],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, "weakcb"],
]);

type GcEntry = PerformanceEntry & { detail?: { kind: number } };

/**
 * Observes how long each garbage collection took. At hundreds of collections a second this does not show in the process's
 * CPU time.
 */
export function watchGarbageCollection(durations: Pick<HistogramFamily, "child">): { stop(): void } {
  const byKind = new Map<unknown, HistogramChild>();
  for (const [kind, type] of TYPE_BY_KIND) byKind.set(kind, durations.child({ v8js_gc_type: type }));
  const observer = new PerformanceObserver((list) => {
    for (const { duration, detail } of list.getEntries() as GcEntry[])
      byKind.get(detail?.kind)?.observe(duration / 1000);
  });
  observer.observe({ entryTypes: ["gc"] });
  return { stop: () => observer.disconnect() };
}
