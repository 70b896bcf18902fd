import { performance } from "node:perf_hooks";
import { getHeapStatistics } from "node:v8";
import type { MetricFamily } from "../metrics/family.ts";
import { byLabel, counter, gauge } from "./families.ts";

/** Node's own start, which the clock of `performance` counts from. */
const START_TIME_SECONDS = Math.round(performance.timeOrigin) / 1000;

export function runtimeFamilies(loop: { utilization: number }): MetricFamily[] {
  const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  const { active, idle } = performance.eventLoopUtilization();
  return [
    counter("process_cpu_seconds_total", "User and system CPU time.", { value: (user + system) / 1e6 }),
    gauge("process_resident_memory_bytes", "Resident memory.", { value: rss }),
    gauge("process_start_time_seconds", "When the process started, in Unix time.", { value: START_TIME_SECONDS }),
    gauge("nodejs_heap_used_bytes", "JavaScript heap in use.", { value: heapUsed }),
    gauge("nodejs_heap_total_bytes", "JavaScript heap reserved.", { value: heapTotal }),
    gauge("nodejs_heap_limit_bytes", "JavaScript heap at most.", { value: getHeapStatistics().heap_size_limit }),
    gauge("nodejs_external_memory_bytes", "Buffers, and what else V8 keeps out of its heap.", { value: external }),
    counter(
      "nodejs_eventloop_time_seconds_total",
      "Time of the event loop by state: active, or idle in wait for events.",
      ...byLabel("nodejs_eventloop_state", { active: active / 1000, idle: idle / 1000 }),
    ),
    gauge("nodejs_eventloop_utilization_ratio", "Busy share of the event loop over the last 10 to 20 s.", {
      value: loop.utilization,
    }),
  ];
}
