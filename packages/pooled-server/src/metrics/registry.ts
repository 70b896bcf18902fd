/** One line of a metric: `name + suffix {labels} value`. */
export interface Sample {
  suffix?: string;
  labels?: Readonly<Record<string, string>>;
  value: number;
}

/** A metric with all its lines. Counters' names end in `_total`, sizes and times in their unit. */
export interface MetricFamily {
  name: string;
  help: string;
  type: "counter" | "gauge" | "histogram" | "summary";
  samples: Iterable<Sample>;
}

/** How many series one instrument may have; what comes later shares one series of `_overflow` labels. */
const MAX_SERIES = 2_000;

/**
 * The metrics of one server. Figures that something else counts anyway (pools, caches) are read at the scrape by a
 * collector and cost nothing before it; the rest are histograms and counters, whose bound children cost one addition.
 */
export class MetricsRegistry {
  readonly #collectors: (() => Iterable<MetricFamily>)[] = [];

  /** Registers a function that is asked for its families at every scrape. */
  collect(collector: () => Iterable<MetricFamily>): void {
    this.#collectors.push(collector);
  }

  /** A family of histograms with the given upper bounds (ascending, without +Inf). */
  histogram(options: { name: string; help: string; buckets: readonly number[] }): HistogramFamily {
    const family = new HistogramFamily(options);
    this.collect(() => [family]);
    return family;
  }

  /** A family of counters; the name must end in `_total`. */
  counter(options: { name: string; help: string }): CounterFamily {
    const family = new CounterFamily(options);
    this.collect(() => [family]);
    return family;
  }

  /** All families, complete. A collector that throws is left out, so that one of them cannot hide the rest. */
  families(onError: (error: unknown) => void): MetricFamily[] {
    return this.#collectors.flatMap((collector) => {
      try {
        return [...collector()].map((family) => ({ ...described(family), samples: [...family.samples] }));
      } catch (error) {
        onError(error);
        return [];
      }
    });
  }
}

/** The fields by name: an instrument has them as properties of a class. */
function described({ name, help, type }: MetricFamily): Pick<MetricFamily, "name" | "help" | "type"> {
  return { name, help, type };
}

/** The children of one instrument, by their labels. */
class Children<C> {
  readonly #children = new Map<string, { labels: Readonly<Record<string, string>>; child: C }>();
  readonly #create: () => C;

  constructor(create: () => C) {
    this.#create = create;
  }

  get(labels: Readonly<Record<string, string>>): C {
    // JSON keeps apart what a plain join would merge: {a: "x,b:y"} and {a: "x", b: "y"}.
    let key = JSON.stringify(labels);
    let entry = this.#children.get(key);
    if (entry === undefined) {
      if (this.#children.size >= MAX_SERIES) {
        labels = Object.fromEntries(Object.keys(labels).map((name) => [name, "_overflow"]));
        key = JSON.stringify(labels);
        entry = this.#children.get(key);
      }
      if (entry === undefined) {
        entry = { labels: Object.freeze({ ...labels }), child: this.#create() };
        this.#children.set(key, entry);
      }
    }
    return entry.child;
  }

  values(): Iterable<{ labels: Readonly<Record<string, string>>; child: C }> {
    return this.#children.values();
  }
}

class HistogramFamily implements MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type = "histogram";
  readonly #buckets: readonly number[];
  readonly #children: Children<HistogramChild>;

  constructor({ name, help, buckets }: { name: string; help: string; buckets: readonly number[] }) {
    this.name = name;
    this.help = help;
    this.#buckets = buckets;
    this.#children = new Children(() => new HistogramChild(buckets));
  }

  /** The histogram for these labels. Keep it where the labels are known early. */
  child(labels: Readonly<Record<string, string>>): HistogramChild {
    return this.#children.get(labels);
  }

  get samples(): Iterable<Sample> {
    return this.#samples();
  }

  *#samples(): Iterable<Sample> {
    for (const { labels, child } of this.#children.values()) {
      let cumulative = 0;
      for (const [i, bound] of this.#buckets.entries()) {
        cumulative += child.counts[i] as number;
        yield { suffix: "_bucket", labels: { ...labels, le: String(bound) }, value: cumulative };
      }
      yield { suffix: "_bucket", labels: { ...labels, le: "+Inf" }, value: child.count };
      yield { suffix: "_sum", labels, value: child.sum };
      yield { suffix: "_count", labels, value: child.count };
    }
  }
}

class HistogramChild {
  count = 0;
  sum = 0;
  readonly counts: Float64Array;
  readonly #buckets: readonly number[];

  constructor(buckets: readonly number[]) {
    this.#buckets = buckets;
    this.counts = new Float64Array(buckets.length);
  }

  observe(value: number): void {
    this.count++;
    this.sum += value;
    const buckets = this.#buckets;
    for (let i = 0; i < buckets.length; i++) {
      if (value <= (buckets[i] as number)) {
        this.counts[i] = (this.counts[i] as number) + 1;
        return;
      }
    }
  }
}

class CounterFamily implements MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type = "counter";
  readonly #children = new Children(() => new CounterChild());

  constructor({ name, help }: { name: string; help: string }) {
    this.name = name;
    this.help = help;
  }

  child(labels: Readonly<Record<string, string>> = {}): CounterChild {
    return this.#children.get(labels);
  }

  get samples(): Iterable<Sample> {
    return [...this.#children.values()].map(({ labels, child }) => ({ labels, value: child.value }));
  }
}

class CounterChild {
  value = 0;

  add(amount = 1): void {
    this.value += amount;
  }
}

export type { HistogramFamily, HistogramChild, CounterFamily, CounterChild };
