import type { LoggerStats } from "@vg/logging";
import type { MetricFamily } from "../metrics/family.ts";
import { byLabel, counter, gauge } from "./families.ts";

export function logFamilies(stats: LoggerStats): MetricFamily[] {
  return [
    counter("vg_log_lines_total", "Log lines handed to the destination.", ...byLabel("level", stats.lines_total)),
    counter("vg_log_dropped_total", "Log lines that the destination did not take.", { value: stats.dropped_total }),
    counter("vg_log_truncated_total", "Log lines that left something out to keep within their size.", {
      value: stats.truncated_total,
    }),
    counter(
      "vg_log_suppressed_total",
      "Log lines that were left out on purpose, by what said so.",
      ...byLabel("reason", { rate_limit: stats.suppressed_total, sampling: stats.sampled_out_total }),
    ),
    gauge("vg_log_buffered_bytes", "Bytes that wait for the destination to take them.", {
      value: stats.buffered_bytes,
    }),
  ];
}
