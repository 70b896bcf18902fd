import { describeValue } from "@vg/internal";
import type { Exemplar, MetricFamily, MetricType, Sample } from "./family.ts";
import type { Source } from "./gathering.ts";
import { textOf } from "./label-text.ts";
import { MetricError } from "./metric-error.ts";
import { canonicalFloat } from "./numbers.ts";
import { parseText } from "./text-parser.ts";

/** A registry of another library: prom-client's, or whatever has one of its two methods. */
export interface MergeableRegistry {
  /** The metrics as documents, as prom-client has them; taken where there are both. */
  getMetricsAsJSON?(): unknown;
  /** The metrics in Prometheus' text format 0.0.4. */
  metrics?(): unknown;
  /** Says whether prom-client has taken the `_total` off its counters' names, as it does for OpenMetrics. */
  readonly contentType?: unknown;
}

export interface MergeOptions {
  /** For the log; default "merged registry". */
  name?: string;
  /** How long a scrape waits for it before it goes on without; default 1,000 ms. */
  timeoutMs?: number;
}

const TYPES: readonly unknown[] = ["counter", "gauge", "histogram", "summary"] satisfies MetricType[];

/** Asks the registry at every scrape. One that fails or hangs costs its own metrics, and nobody else's. */
export class MergedRegistry implements Source {
  readonly name: string;
  readonly foreign = true;
  readonly #registry: MergeableRegistry;
  readonly #timeoutMs: number;
  /** An answer that did not come in time is waited for again, and not asked for a second time. */
  #pending: Promise<MetricFamily[]> | undefined;

  /** @throws MetricError for something that is no registry */
  constructor(registry: MergeableRegistry, { name = "merged registry", timeoutMs = 1_000 }: MergeOptions = {}) {
    const methods = registry as Partial<Record<string, unknown>> | null | undefined;
    if (typeof methods?.["getMetricsAsJSON"] !== "function" && typeof methods?.["metrics"] !== "function") {
      throw new MetricError(
        `merge: a registry has getMetricsAsJSON() or metrics(), as prom-client's has; got ${describeValue(registry)}.`,
      );
    }
    if (typeof timeoutMs !== "number" || !(timeoutMs > 0 && timeoutMs <= 60_000)) {
      throw new MetricError(`merge: timeoutMs must be above 0 and at most 60,000, got ${describeValue(timeoutMs)}`);
    }
    this.name = name;
    this.#registry = registry;
    this.#timeoutMs = timeoutMs;
  }

  async families(deadlineMs: number): Promise<MetricFamily[]> {
    this.#pending ??= this.#ask().finally(() => (this.#pending = undefined));
    const limitMs = Math.min(this.#timeoutMs, deadlineMs);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new MetricError(`The ${this.name} did not answer within ${limitMs} ms; its metrics are left out.`);
      timer = setTimeout(() => reject(error), limitMs);
    });
    // Whoever stopped waiting is not there to see it fail.
    this.#pending.catch(() => undefined);
    try {
      return await Promise.race([this.#pending, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #ask(): Promise<MetricFamily[]> {
    try {
      if (this.#registry.getMetricsAsJSON !== undefined) {
        return familiesOfDocuments(await this.#registry.getMetricsAsJSON(), this.#namesAreBare);
      }
      const text = await this.#registry.metrics?.();
      if (typeof text !== "string") throw new TypeError(`metrics() gave ${describeValue(text)}, not a text`);
      return parseText(text).map((family) => ({ ...family, samples: family.samples.map(withBounds) }));
    } catch (cause) {
      throw new MetricError(`The ${this.name} failed; its metrics are left out: ${messageOf(cause)}`, { cause });
    }
  }

  get #namesAreBare(): boolean {
    return String(this.#registry.contentType).startsWith("application/openmetrics-text");
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function familiesOfDocuments(documents: unknown, namesAreBare: boolean): MetricFamily[] {
  if (!Array.isArray(documents)) throw new TypeError(`getMetricsAsJSON() gave ${describeValue(documents)}, not a list`);
  return documents.map((document) => familyOf(record(document), namesAreBare));
}

function familyOf(
  { name: given, help, type: word, values }: Record<string, unknown>,
  namesAreBare: boolean,
): MetricFamily {
  const type = TYPES.includes(word) ? (word as MetricType) : "unknown";
  const name = String(given);
  const samples = Array.isArray(values) ? values.map((value) => sampleOf(name, record(value))) : [];
  const total = type === "counter" && namesAreBare && !name.endsWith("_total");
  return { name: total ? `${name}_total` : name, help: textOf(help), type, samples };
}

function sampleOf(name: string, { metricName, labels, value, exemplar }: Record<string, unknown>): Sample {
  const shown = typeof metricName === "string" ? metricName : name;
  if (!shown.startsWith(name)) throw new TypeError(`a line ${JSON.stringify(shown)} of the metric ${name}`);
  const sample: Sample = {
    suffix: shown.slice(name.length),
    labels: Object.fromEntries(
      Object.entries(record(labels ?? {})).map(([label, text]) => [label, labelOf(label, text)]),
    ),
    value: Number(value),
  };
  const example = exemplarOf(exemplar);
  return example === undefined ? sample : { ...sample, exemplar: example };
}

/** Bounds and quantiles come as numbers, or as some spelling of them. */
function labelOf(name: string, value: unknown): string {
  const text = textOf(value);
  const bound = (name === "le" || name === "quantile") && text.trim() !== "" && Number.isFinite(Number(text));
  return bound ? canonicalFloat(Number(text)) : text;
}

function withBounds({ labels = {}, ...sample }: Sample): Sample {
  return {
    ...sample,
    labels: Object.fromEntries(Object.entries(labels).map(([name, text]) => [name, labelOf(name, text)])),
  };
}

function exemplarOf(value: unknown): Exemplar | undefined {
  if (value === null || value === undefined) return undefined;
  const { labelSet, value: observed, timestamp } = record(value);
  const labels = Object.entries(record(labelSet ?? {})).map(([label, text]) => [label, textOf(text)] as const);
  const time = typeof timestamp === "number" ? { timestampSeconds: timestamp } : {};
  return { labels: Object.fromEntries(labels), value: Number(observed), ...time };
}

function record(value: unknown): Record<string, unknown> {
  if (value === null || typeof value !== "object")
    throw new TypeError(`${describeValue(value)} where an object belongs`);
  return value as Record<string, unknown>;
}
