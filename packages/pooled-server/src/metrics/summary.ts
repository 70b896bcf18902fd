import { createHistogram } from "@vg/internal";
import type { Faults } from "./children.ts";
import { createdLine, Instrument, type InstrumentOptions, type InstrumentSettings } from "./instrument.ts";
import { braced, withLabel } from "./label-text.ts";
import { MetricError } from "./metric-error.ts";
import { canonicalFloat, numberText } from "./numbers.ts";

export interface SummaryOptions extends InstrumentOptions {
  /** From 0 to 1; default 0.5, 0.95 and 0.99. */
  quantiles?: readonly number[];
}

const DEFAULT_QUANTILES: readonly number[] = [0.5, 0.95, 0.99];

/** @throws MetricError */
export function checkQuantiles(name: string, quantiles: readonly number[] = DEFAULT_QUANTILES): readonly number[] {
  const allowed = (one: unknown): boolean => typeof one === "number" && one >= 0 && one <= 1;
  if (!Array.isArray(quantiles) || !quantiles.every(allowed) || new Set(quantiles).size < quantiles.length) {
    throw new MetricError(`Metric ${name}: quantiles must be different numbers from 0 to 1.`);
  }
  return quantiles.toSorted((a, b) => a - b);
}

/** One series of a summary. It takes about 9 KiB, for the quantiles; a histogram takes less, and can be added up. */
export class SummaryChild {
  readonly labels: string;
  readonly createdMs: number;
  readonly #faults: Faults;
  readonly #histogram = createHistogram();

  constructor(labels: string, faults: Faults) {
    this.labels = labels;
    this.createdMs = Date.now();
    this.#faults = faults;
  }

  /** As of a histogram. */
  observe(value: number): void {
    if (!(value >= 0 && value < Infinity)) {
      this.#faults.invalidValues++;
      if (!(value < 0 && value > -Infinity)) return;
    }
    this.#histogram.record(value);
  }

  get count(): number {
    return this.#histogram.count;
  }

  get sum(): number {
    return this.#histogram.sum;
  }

  /** Since the start, within 3.2 % from 0.001 to 67,000,000; NaN before the first observation. */
  quantile(quantile: number): number {
    return this.count === 0 ? NaN : this.#histogram.percentile(quantile);
  }
}

/** Made by `metrics.summary()`. */
export class SummaryFamily extends Instrument<SummaryChild> {
  readonly quantiles: readonly number[];

  constructor(settings: InstrumentSettings, quantiles: readonly number[]) {
    super(settings, (labels) => new SummaryChild(labels, settings.faults), "quantile");
    this.quantiles = quantiles;
  }

  protected linesOf(child: SummaryChild, openMetrics: boolean): string {
    const { name } = this.definition;
    const labels = braced(child.labels);
    let text = "";
    for (const quantile of this.quantiles) {
      const label = withLabel(child.labels, "quantile", canonicalFloat(quantile));
      text += `${name}{${label}} ${numberText(child.quantile(quantile))}\n`;
    }
    text += `${name}_sum${labels} ${numberText(child.sum)}\n${name}_count${labels} ${child.count}\n`;
    return openMetrics && this.createdTimestamps ? text + createdLine(name, labels, child.createdMs) : text;
  }
}
