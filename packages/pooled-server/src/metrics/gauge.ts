import { Instrument, type InstrumentSettings } from "./instrument.ts";
import { braced } from "./label-text.ts";
import { numberText } from "./numbers.ts";

/** One series of a gauge: a number that rises and falls. */
export class GaugeChild {
  value = 0;
  readonly labels: string;

  constructor(labels: string) {
    this.labels = labels;
  }

  set(value: number): void {
    this.value = value;
  }

  add(amount: number = 1): void {
    this.value += amount;
  }

  subtract(amount: number = 1): void {
    this.value -= amount;
  }
}

/** Made by `metrics.gauge()`. */
export class GaugeFamily extends Instrument<GaugeChild> {
  constructor(settings: InstrumentSettings) {
    super(settings, (labels) => new GaugeChild(labels));
  }

  protected linesOf({ labels, value }: GaugeChild): string {
    return `${this.definition.name}${braced(labels)} ${numberText(value)}\n`;
  }
}
