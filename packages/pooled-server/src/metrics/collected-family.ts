import { Definition } from "./definition.ts";
import { exemplarText } from "./exemplars.ts";
import type { MetricFamily, Sample } from "./family.ts";
import { isLabelName, labelValueText, textOf } from "./label-text.ts";
import { MetricError } from "./metric-error.ts";
import { numberText } from "./numbers.ts";

/** What stands behind a family's name, by its type; anything else would be another family's line. */
const SUFFIXES: Readonly<Record<MetricFamily["type"], readonly string[]>> = {
  counter: [""],
  gauge: [""],
  unknown: [""],
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["", "_sum", "_count"],
};

/** The families of one name that collectors gave at a scrape: their lines under one head, no line twice. */
export class CollectedFamily {
  readonly definition: Definition;
  readonly #parts: Iterable<Sample>[] = [];
  readonly #labelNames = new Set<string>();

  /** @throws MetricError for a name, a help text or a unit that no scraper would take */
  constructor({ name, help, type, unit, samples }: MetricFamily) {
    this.definition = new Definition({ name, help, type, unit });
    this.#parts.push(samples);
  }

  /** More lines, from another collector. */
  add(samples: Iterable<Sample>): void {
    this.#parts.push(samples);
  }

  /**
   * Each line. Read and checked here, while the answer is being written, so that a long list is never one long task.
   *
   * @throws MetricError for a label or a suffix that cannot be, and whatever the collector's iterator throws
   */
  *lines(openMetrics: boolean): Iterable<string> {
    const { name, type } = this.definition;
    const seen = new Set<string>();
    for (const part of this.#parts) {
      for (const { suffix = "", labels, value, exemplar } of part) {
        if (!SUFFIXES[type].includes(suffix)) {
          throw new MetricError(`Metric ${name}: a ${type} has no line ${JSON.stringify(name + suffix)}`);
        }
        const series = `${name}${suffix}${labels === undefined ? "" : this.#labels(labels)}`;
        if (seen.has(series)) continue;
        seen.add(series);
        const marked = openMetrics && exemplar !== undefined && (suffix === "_bucket" || name.endsWith("_total"));
        yield `${series} ${numberText(value)}${marked ? exemplarText(exemplar) : ""}\n`;
      }
    }
  }

  /** In one pass without anything made on the way: this is most of the work of a collected line. */
  #labels(labels: Readonly<Record<string, unknown>>): string {
    let text = "";
    for (const name of Object.keys(labels)) {
      const value = textOf(labels[name]);
      // To Prometheus, an empty label is none.
      if (value === "") continue;
      if (!this.#labelNames.has(name)) this.#checkLabelName(name);
      text += `${text === "" ? "{" : ","}${name}="${labelValueText(value)}"`;
    }
    return text === "" ? "" : `${text}}`;
  }

  #checkLabelName(name: string): void {
    if (!isLabelName(name)) {
      throw new MetricError(`Metric ${this.definition.name}: ${JSON.stringify(name)} is no name for a label`);
    }
    this.#labelNames.add(name);
  }
}
