/** `unknown` is what Prometheus' text format calls untyped. */
export type MetricType = "counter" | "gauge" | "histogram" | "summary" | "unknown";

export type Labels = Readonly<Record<string, string>>;

/** Where one observation came from; OpenMetrics shows it, Prometheus links it to the trace. */
export interface Exemplar {
  readonly labels: Labels;
  readonly value: number;
  /** Unix time. */
  readonly timestampSeconds?: number;
}

/** One line of a metric: `name + suffix {labels} value`. */
export interface Sample {
  /** Of a histogram `_bucket`, `_sum` or `_count`; of a summary `_sum`, `_count` or none; else none. */
  suffix?: string;
  labels?: Labels;
  value: number;
  /** Only of a counter and of `_bucket`. */
  exemplar?: Exemplar;
}

/** A metric with all its lines, as a collector gives it at a scrape. */
export interface MetricFamily {
  /** Counters' names end in `_total`, sizes and times in their unit. */
  name: string;
  help: string;
  type: MetricType;
  /** The unit that the name ends in (before `_total`); default: `seconds`, `bytes` or `ratio`, where it ends in one. */
  unit?: string;
  samples: Iterable<Sample>;
}
