import { checkOptions } from "@vg/internal";
import type { Faults } from "./children.ts";
import { CounterFamily } from "./counter.ts";
import { defineInstrument, type Definition } from "./definition.ts";
import { write } from "./exposition.ts";
import type { MetricFamily, MetricType } from "./family.ts";
import { GaugeFamily } from "./gauge.ts";
import { FaultLog, gather, type FaultReport, type Source } from "./gathering.ts";
import { checkBuckets, HistogramFamily, type HistogramOptions } from "./histogram.ts";
import type { InstrumentOptions, InstrumentSettings } from "./instrument.ts";
import { MergedRegistry, type MergeableRegistry, type MergeOptions } from "./merged-registry.ts";
import { MetricError } from "./metric-error.ts";
import { checkQuantiles, SummaryFamily, type SummaryOptions } from "./summary.ts";

export type { CounterChild, CounterFamily } from "./counter.ts";
export type { MetricFamily, Sample } from "./family.ts";
export type { GaugeChild, GaugeFamily } from "./gauge.ts";
export type { HistogramChild, HistogramFamily } from "./histogram.ts";
export type { SummaryChild, SummaryFamily } from "./summary.ts";

/** How many series one instrument may have unless it says otherwise. */
const MAX_SERIES = 2_000;

type AnyInstrument = CounterFamily | GaugeFamily | HistogramFamily | SummaryFamily;

const LONGEST_WAIT_MS = 60_000;

export interface MetricsOptions {
  /** How many series one metric may have; what comes later shares one whose labels are `_overflow`. Default 2,000. */
  maxSeries?: number;
  /** Whether OpenMetrics gets `_created` lines, which say since when a series counts: a third more lines. Default false. */
  createdTimestamps?: boolean;
}

export interface ExposeOptions {
  /** Default false: Prometheus' text format 0.0.4. */
  openMetrics?: boolean;
  /** Only these metrics, by their names or those of their lines. Default all. */
  names?: readonly string[];
  /** Aborts when nobody waits for it any longer. */
  signal?: AbortSignal;
  /** How long registries that were merged may take; default a minute, and never above their own `timeoutMs`. */
  deadlineMs?: number;
}

/**
 * The metrics of one server. Figures that something else counts anyway (pools, caches) are read at the scrape by a
 * collector and cost nothing before it; the rest are instruments, whose bound children cost one addition.
 *
 * A name belongs to one metric, whatever the format: instruments come first, then collectors in the order of their
 * registration, then the registries that were merged.
 */
export class MetricsRegistry {
  readonly #options: Required<MetricsOptions>;
  readonly #instruments = new Map<string, AnyInstrument>();
  /** Names of lines, by the metric that has them. */
  readonly #owners = new Map<string, string>();
  readonly #collectors: Source[] = [];
  readonly #merged: Source[] = [];
  readonly #faults: Faults = { seriesDropped: 0, invalidValues: 0 };
  readonly #faultLog: FaultLog;

  /**
   * @param onFault gets what was left out of a scrape and why, when that begins and not again at each scrape: as an error
   *   where it should be there, as a warning where it gave way to a limit or to a name that came first
   * @throws MetricError for an option that cannot be
   */
  constructor(options: MetricsOptions = {}, onFault: FaultReport = () => undefined) {
    const check = checkOptions("MetricsRegistry", options, (message) => new MetricError(message));
    this.#options = {
      maxSeries: check.integer("maxSeries", { fallback: MAX_SERIES, min: 1, max: 10_000_000 }),
      createdTimestamps: check.boolean("createdTimestamps", { fallback: false }),
    };
    check.noOthers();
    this.#faultLog = new FaultLog(onFault);
    this.collect(() => this.#ownFamilies());
  }

  /**
   * A counter: it only grows, and its name ends in `_total`.
   *
   * @throws MetricError for a name, label or option that cannot be, and where the name is another metric's. A metric
   *   that is registered a second time in just the same way is the one that is there; so below.
   */
  counter(options: InstrumentOptions): CounterFamily {
    const settings = this.#settings(options, "counter");
    return this.#register(settings, CounterFamily, () => new CounterFamily(settings));
  }

  /** A gauge: it rises and falls. */
  gauge(options: InstrumentOptions): GaugeFamily {
    const settings = this.#settings(options, "gauge");
    return this.#register(settings, GaugeFamily, () => new GaugeFamily(settings));
  }

  /** A histogram: observations counted by upper bounds. */
  histogram(options: HistogramOptions): HistogramFamily {
    const settings = this.#settings(options, "histogram", "buckets");
    const bounds = checkBuckets(options.name, options.buckets);
    const same = (family: HistogramFamily): boolean => String(family.bounds) === String(bounds);
    return this.#register(settings, HistogramFamily, () => new HistogramFamily(settings, bounds), same);
  }

  /** A summary: count, sum, and quantiles of all observations since the start. */
  summary(options: SummaryOptions): SummaryFamily {
    const settings = this.#settings(options, "summary", "quantiles");
    const quantiles = checkQuantiles(options.name, options.quantiles);
    const same = (family: SummaryFamily): boolean => String(family.quantiles) === String(quantiles);
    return this.#register(settings, SummaryFamily, () => new SummaryFamily(settings, quantiles), same);
  }

  /**
   * Registers a function that is asked for its families at every scrape. Two collectors may give lines of one family; of
   * two lines with the same labels the first counts. What it throws costs what it would have given, is counted in
   * `vg_metrics_faults_total`, and logged when it begins.
   *
   * @returns ends it
   */
  collect(collector: () => Iterable<MetricFamily>): () => void {
    if (typeof collector !== "function")
      throw new MetricError("collect: a collector is a function that gives families");
    const name = `collector ${collector.name || this.#collectors.length + 1}`;
    return added(this.#collectors, { name, foreign: false, families: () => collector() });
  }

  /**
   * Shows the metrics of another registry too, such as prom-client's, in whatever format is asked for. A metric of it whose
   * name is taken (`process_cpu_seconds_total` of prom-client's default metrics) is left out, and the log says so once: ours stands.
   *
   * @returns ends it
   * @throws MetricError for something that is no registry
   */
  merge(registry: MergeableRegistry, options: MergeOptions = {}): () => void {
    const name =
      options.name ?? (this.#merged.length === 0 ? "merged registry" : `merged registry ${this.#merged.length + 1}`);
    return added(this.#merged, new MergedRegistry(registry, { ...options, name }));
  }

  /** What `/metrics` shows, as one text. */
  async expose(options: ExposeOptions = {}): Promise<string> {
    return Buffer.concat(await this.exposeInPieces(options)).toString();
  }

  /**
   * The same in UTF-8, in pieces of about 64 KiB, with a turn of the event loop after each.
   *
   * @throws the signal's reason, and nothing else
   */
  async exposeInPieces({
    openMetrics = false,
    names,
    signal,
    deadlineMs = LONGEST_WAIT_MS,
  }: ExposeOptions = {}): Promise<Buffer<ArrayBuffer>[]> {
    signal?.throwIfAborted();
    const sources = [...this.#collectors, ...this.#merged];
    for (const { definition, overflowed } of this.#instruments.values()) {
      if (overflowed) this.#faultLog.add(definition.name, overflowError(definition), "warn");
    }
    let metrics = await gather(this.#instruments.values(), sources, this.#faultLog, deadlineMs);
    if (names !== undefined) {
      const wanted = new Set(names);
      metrics = metrics.filter(({ definition }) => definition.names.some((name) => wanted.has(name)));
    }
    return await write(metrics, {
      openMetrics,
      signal,
      failed: (metric, error) => this.#faultLog.add(metric, error),
    });
  }

  #settings(options: InstrumentOptions, type: MetricType, extra?: string): InstrumentSettings {
    const fail = (message: string): MetricError => new MetricError(message);
    const check = checkOptions(`metrics.${type}`, options, fail);
    const known = ["name", "help", "unit", "labelNames", ...(extra === undefined ? [] : [extra])];
    for (const name of known) check.raw(name);
    const maxSeries = check.integer("maxSeries", { fallback: this.#options.maxSeries, min: 1, max: 10_000_000 });
    check.noOthers();
    const { name, help, unit, labelNames } = options;
    const definition = defineInstrument({ name, help, type, unit });
    if (labelNames !== undefined && (!Array.isArray(labelNames) || new Set(labelNames).size < labelNames.length)) {
      throw new MetricError(`Metric ${name}: labelNames must be a list of different names`);
    }
    return {
      definition,
      labelNames: labelNames === undefined ? undefined : [...labelNames],
      maxSeries,
      faults: this.#faults,
      createdTimestamps: this.#options.createdTimestamps,
    };
  }

  #register<F extends AnyInstrument>(
    { definition, labelNames }: InstrumentSettings,
    kind: abstract new (...args: never[]) => F,
    make: () => F,
    same: (family: F) => boolean = () => true,
  ): F {
    const { name, help, type } = definition;
    const there = this.#instruments.get(name);
    if (there !== undefined) {
      const alike =
        there instanceof kind &&
        there.definition.help === help &&
        String(there.labelNames) === String(labelNames) &&
        same(there);
      if (alike) return there;
      throw new MetricError(
        `Metric ${name} is registered already, ${there.definition.type === type ? "with another help text, other labels or other buckets" : `as a ${there.definition.type}`}. Choose another name, or register it once and share it.`,
      );
    }
    const taken = definition.names.find((one) => this.#owners.has(one));
    if (taken !== undefined) {
      throw new MetricError(
        `Metric ${name}: ${taken} is a name of the metric ${this.#owners.get(taken)}. Choose another name.`,
      );
    }
    const family = make();
    this.#instruments.set(name, family);
    for (const one of definition.names) this.#owners.set(one, name);
    return family;
  }

  #ownFamilies(): MetricFamily[] {
    const { seriesDropped, invalidValues } = this.#faults;
    const family = (name: string, help: string, value: number): MetricFamily => ({
      name: `vg_metrics_${name}_total`,
      help,
      type: "counter",
      samples: [{ value }],
    });
    return [
      family(
        "series_dropped",
        "Look-ups of a series that ended at the overflow series, as its metric was full.",
        seriesDropped,
      ),
      family(
        "invalid_values",
        "Observations and additions that no metric can take: NaN, infinities, negative ones.",
        invalidValues,
      ),
      family(
        "faults",
        "Collectors, merged registries and metrics that were left out of a scrape.",
        this.#faultLog.count,
      ),
    ];
  }
}

function added(list: Source[], source: Source): () => void {
  list.push(source);
  return () => {
    const index = list.indexOf(source);
    if (index !== -1) list.splice(index, 1);
  };
}

function overflowError({ name }: Definition): MetricError {
  return new MetricError(
    `Metric ${name} has as many series as it may have; further labels share one series of _overflow. Take a label away whose values have no end, or raise maxSeries.`,
  );
}
