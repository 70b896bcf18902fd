import type { Faults } from "./children.ts";
import { Exemplars } from "./exemplars.ts";
import { createdLine, Instrument, type InstrumentOptions, type InstrumentSettings } from "./instrument.ts";
import { braced, withLabel } from "./label-text.ts";
import { MetricError } from "./metric-error.ts";
import { canonicalFloat, numberText } from "./numbers.ts";

export interface HistogramOptions extends InstrumentOptions {
  /** Upper bounds, ascending, 0 and more, without infinity; at most 200. Default: 0.005 to 10, OpenTelemetry's advice for HTTP in seconds. */
  buckets?: readonly number[];
}

const DEFAULT_BUCKETS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

const MAX_BUCKETS = 200;

/** @throws MetricError */
export function checkBuckets(name: string, buckets: readonly number[] = DEFAULT_BUCKETS): Float64Array {
  const rising = (bound: unknown, i: number): boolean =>
    typeof bound === "number" && bound >= 0 && bound < Infinity && (i === 0 || bound > (buckets[i - 1] as number));
  if (!Array.isArray(buckets) || buckets.length === 0 || buckets.length > MAX_BUCKETS || !buckets.every(rising)) {
    throw new MetricError(
      `Metric ${name}: buckets must be 1 to ${MAX_BUCKETS} upper bounds, 0 and more, each above the one before it, without infinity.`,
    );
  }
  return Float64Array.from(buckets);
}

/** One series of a histogram. */
export class HistogramChild {
  /** The sum of all observations. */
  sum = 0;
  /** Observations by bucket, each in its own only; the last is for those above all bounds. */
  readonly counts: Float64Array;
  readonly labels: string;
  readonly createdMs: number;
  readonly #bounds: Float64Array;
  readonly #faults: Faults;
  #exemplars: Exemplars | undefined;

  constructor(labels: string, bounds: Float64Array, faults: Faults) {
    this.labels = labels;
    this.createdMs = Date.now();
    this.counts = new Float64Array(bounds.length + 1);
    this.#bounds = bounds;
    this.#faults = faults;
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }

  /**
   * Counts an observation in the first bucket whose bound is not below it. Less than nothing (a clock that jumped) counts
   * as 0, NaN and infinity not at all; all three are in `vg_metrics_invalid_values_total`.
   *
   * @param traceId of a trace that is sampled: OpenMetrics then shows it beside the bucket
   */
  observe(value: number, traceId?: string, spanId?: string): void {
    if (!(value >= 0 && value < Infinity)) {
      this.#faults.invalidValues++;
      if (!(value < 0 && value > -Infinity)) return;
      value = 0;
    }
    const bounds = this.#bounds;
    let low = 0;
    let high = bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (value <= (bounds[middle] as number)) high = middle;
      else low = middle + 1;
    }
    const { counts } = this;
    counts[low] = (counts[low] as number) + 1;
    this.sum += value;
    if (traceId !== undefined) (this.#exemplars ??= new Exemplars(counts.length)).set(low, value, traceId, spanId);
  }

  exemplarText(bucket: number): string {
    return this.#exemplars?.text(bucket) ?? "";
  }
}

/** Made by `metrics.histogram()`. */
export class HistogramFamily extends Instrument<HistogramChild> {
  readonly bounds: Float64Array;
  /** The `le` label of each bucket, and of the one above all. */
  readonly #les: readonly string[];

  constructor(settings: InstrumentSettings, bounds: Float64Array) {
    super(settings, (labels) => new HistogramChild(labels, bounds, settings.faults), "le");
    this.bounds = bounds;
    this.#les = [...bounds, Infinity].map(canonicalFloat);
  }

  protected linesOf(child: HistogramChild, openMetrics: boolean): string {
    const { name } = this.definition;
    const { counts } = child;
    const bucket = `${name}_bucket{${withLabel(child.labels, "le", "")}`.slice(0, -1);
    let text = "";
    let cumulative = 0;
    for (let i = 0; i < counts.length; i++) {
      cumulative += counts[i] as number;
      const exemplar = openMetrics ? child.exemplarText(i) : "";
      text += `${bucket}${this.#les[i]}"} ${cumulative}${exemplar}\n`;
    }
    const labels = braced(child.labels);
    text += `${name}_sum${labels} ${numberText(child.sum)}\n${name}_count${labels} ${cumulative}\n`;
    return openMetrics && this.createdTimestamps ? text + createdLine(name, labels, child.createdMs) : text;
  }
}
