import type { Faults } from "./children.ts";
import { Exemplars } from "./exemplars.ts";
import { createdLine, Instrument, type InstrumentSettings } from "./instrument.ts";
import { braced } from "./label-text.ts";
import { numberText } from "./numbers.ts";

/** One series of a counter: a number that only grows. */
export class CounterChild {
  value = 0;
  readonly labels: string;
  readonly createdMs: number;
  readonly #faults: Faults;
  #exemplars: Exemplars | undefined;

  constructor(labels: string, faults: Faults) {
    this.labels = labels;
    this.createdMs = Date.now();
    this.#faults = faults;
  }

  /**
   * Adds. What no counter can take (less than nothing, NaN, infinity) is not added but counted in
   * `vg_metrics_invalid_values_total`.
   *
   * @param traceId of a trace that is sampled: OpenMetrics then shows it beside the value
   */
  add(amount: number = 1, traceId?: string, spanId?: string): void {
    if (!(amount >= 0 && amount < Infinity)) {
      this.#faults.invalidValues++;
      return;
    }
    this.value += amount;
    if (traceId !== undefined) (this.#exemplars ??= new Exemplars(1)).set(0, amount, traceId, spanId);
  }

  exemplarText(): string {
    return this.#exemplars?.text(0) ?? "";
  }
}

/** Made by `metrics.counter()`. */
export class CounterFamily extends Instrument<CounterChild> {
  constructor(settings: InstrumentSettings) {
    super(settings, (labels) => new CounterChild(labels, settings.faults));
  }

  protected linesOf(child: CounterChild, openMetrics: boolean): string {
    const { name, openMetricsName } = this.definition;
    const labels = braced(child.labels);
    const line = `${name}${labels} ${numberText(child.value)}`;
    if (!openMetrics) return `${line}\n`;
    const created = this.createdTimestamps ? createdLine(openMetricsName, labels, child.createdMs) : "";
    return `${line}${child.exemplarText()}\n${created}`;
  }
}
