import type { Definition } from "./definition.ts";
import type { Labels } from "./family.ts";
import { checkLabelName, labelText, sendable, textOf } from "./label-text.ts";
import { MetricError } from "./metric-error.ts";

/** The value of every label of the one series that stands for all that found the metric full. */
const OVERFLOW = "_overflow";

/** What went wrong with figures, in all instruments of one registry; read at the scrape. */
export interface Faults {
  /** Look-ups of a child that ended at the overflow series. */
  seriesDropped: number;
  /** Observations and additions that no metric can take: NaN, infinities, less than nothing. */
  invalidValues: number;
}

interface Settings {
  definition: Definition;
  /** The names of all labels, or undefined where each child says its own. */
  labelNames: readonly string[] | undefined;
  /** A label that the type itself adds to its lines. */
  reserved: string | undefined;
  maxSeries: number;
  faults: Faults;
}

/** The children of one instrument, by their labels. */
export class Children<C> {
  readonly #settings: Settings;
  readonly #create: (labelText: string) => C;
  readonly #children = new Map<string, C>();
  #overflow: C | undefined;

  /** @throws MetricError for a label's name that cannot be */
  constructor(settings: Settings, create: (labelText: string) => C) {
    for (const name of settings.labelNames ?? []) {
      checkLabelName(settings.definition.name, name, settings.reserved);
    }
    this.#settings = settings;
    this.#create = create;
    // Without labels there is one series, and 0 is a figure too.
    if (settings.labelNames?.length === 0) this.get({});
  }

  /** @throws MetricError where the labels are not the metric's */
  get(labels: Labels): C {
    const key = this.#keyOf(labels);
    return this.#children.get(key) ?? this.#add(key, labels);
  }

  /** Forgets a series; a child that somebody keeps goes on counting for nobody. */
  remove(labels: Labels): boolean {
    return this.#children.delete(this.#keyOf(labels));
  }

  /** Whether some labels had to share the overflow series. */
  get overflowed(): boolean {
    return this.#overflow !== undefined;
  }

  values(): Iterable<C> {
    return this.#children.values();
  }

  #keyOf(labels: Labels): string {
    const { labelNames } = this.#settings;
    let key = "";
    if (labelNames === undefined) {
      // In the order of the names: the same labels are the same series in whatever order they were written.
      for (const name of Object.keys(labels).toSorted()) {
        const value = valueOf(labels[name]);
        // To Prometheus, an empty label is none.
        if (value !== "") key += counted(name) + counted(value);
      }
      return key;
    }
    let given = 0;
    for (const name in labels) if (labels[name] !== undefined) given++;
    for (const name of labelNames) {
      const value = labels[name];
      if (value === undefined) throw this.#otherLabels(labels);
      key += counted(valueOf(value));
    }
    if (given !== labelNames.length) throw this.#otherLabels(labels);
    return key;
  }

  #add(key: string, labels: Labels): C {
    const { definition, labelNames, reserved, maxSeries, faults } = this.#settings;
    const names = labelNames ?? Object.keys(labels).filter((name) => valueOf(labels[name]) !== "");
    if (labelNames === undefined) for (const name of names) checkLabelName(definition.name, name, reserved);
    if (this.#children.size >= maxSeries) {
      faults.seriesDropped++;
      this.#overflow ??= this.#overflowChild(names);
      return this.#overflow;
    }
    const child = this.#create(labelText(names.map((name) => [name, valueOf(labels[name])])));
    this.#children.set(key, child);
    return child;
  }

  /** Somebody's own label may have that very value, and a series stands for itself only once. */
  #overflowChild(names: readonly string[]): C {
    const labels = Object.fromEntries(names.map((name) => [name, OVERFLOW]));
    const key = this.#keyOf(labels);
    const child = this.#children.get(key) ?? this.#create(labelText(Object.entries(labels)));
    this.#children.set(key, child);
    return child;
  }

  #otherLabels(labels: Labels): MetricError {
    const { definition, labelNames = [] } = this.#settings;
    const list = (names: readonly string[]): string => (names.length === 0 ? "none" : names.join(", "));
    return new MetricError(
      `Metric ${definition.name}: its labels are ${list(labelNames)}, got ${list(Object.keys(labels))}. Every child has all of them.`,
    );
  }
}

/** A length in front keeps apart what a separator would merge: {a: "x,b:y"} and {a: "x", b: "y"}. */
function counted(text: string): string {
  return `${text.length}:${text}`;
}

function valueOf(value: string | undefined): string {
  return sendable(textOf(value));
}
